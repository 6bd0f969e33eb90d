//! Where queries are planned: on threads of their own with deep stacks, since plans are trees
//! that are walked recursively, and away from the threads that serve the network.

use std::sync::Arc;

use rainstorm_engine::{Error, Result};
use rainstorm_planner::STACK_BYTES;
use tokio::runtime::{Builder, Runtime};

const THREADS: usize = 2;

/// A runtime for planning and for DataFusion's batch queries.
#[derive(Debug, Clone)]
pub(super) struct Planning {
    /// Taken out when the last clone is dropped, since a runtime must not wait inside another.
    runtime: Arc<Background>,
}

#[derive(Debug)]
struct Background(Option<Runtime>);

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Planning {
    /// Starts the threads.
    ///
    /// # Errors
    /// `Io` where the system has none to give.
    pub(super) fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_stack_size(STACK_BYTES)
            .thread_name("planning")
            .enable_all()
            .build()
            .map_err(|error| Error::io("start the planning threads", error))?;
        Ok(Self { runtime: Arc::new(Background(Some(runtime))) })
    }

    /// Runs a function there.
    ///
    /// # Errors
    /// `Internal` where it panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        function: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        self.spawn(async move { function() }).await
    }

    /// Runs a future there.
    ///
    /// # Errors
    /// `Internal` where it panics.
    pub(super) async fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        let Some(runtime) = &self.runtime.0 else {
            return Err(Error::Internal("planning after the end".to_owned()));
        };
        let joined = runtime.spawn(future).await;
        joined.map_err(|error| Error::Internal(format!("planning a query failed: {error}")))
    }
}
