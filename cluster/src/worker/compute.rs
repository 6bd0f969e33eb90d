//! The threads that tasks run on.

use std::future::Future;

use rainstorm_engine::{Error, Result};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// Expressions are trees that are walked recursively, and the planner takes deep ones. Of a stack
/// only what is used takes memory.
const STACK_BYTES: usize = 64 << 20;

/// A runtime of its own, with one thread per slot. Dropping it stops its tasks without waiting.
pub(super) struct Compute {
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Compute {
    pub(super) fn new(slots: usize) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(slots.max(1))
            .thread_name("compute")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| Error::io("start the compute threads", error))?;
        let handle = runtime.handle().clone();
        Ok(Self { runtime: Some(runtime), handle })
    }

    /// Runs a task.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.handle.spawn(task)
    }

    /// Runs work that does not belong to a task, beside them.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let done = self.handle.spawn_blocking(work).await;
        done.map_err(|error| Error::Internal(format!("background work stopped: {error}")))?
    }
}

impl Drop for Compute {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
