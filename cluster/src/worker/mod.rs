//! A worker: runs the tasks that the master places on it.
//!
//! [`Worker`] implements the Worker service. Tasks run on a [compute runtime](compute) of their
//! own with one thread per slot, apart from the runtime that serves the network: a busy operator
//! must not look like a dead node. In the order in which an attempt of a job meets them:
//!
//! - `service`: takes the master's commands, refuses those of older attempts
//! - `deploy`: builds tasks and channels, fetches the state to start from
//! - `attempt`: what of one attempt is here, and how it is started and stopped
//! - `results`: hands the rows of a query to whoever runs it
//! - `reporter`: turns what tasks say into reports to the master
//! - `snapshots`: gathers the snapshots of all tasks into one per checkpoint
//! - `link`: registers with the master, sends heartbeats and reports

mod attempt;
mod compute;
mod deploy;
mod identity;
mod link;
mod progress;
mod reporter;
mod results;
mod service;
mod snapshots;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::execution::TaskContext;
use object_store::ObjectStore;
use rainstorm_engine::connector::ConnectorContext;
use rainstorm_engine::{Error, JobId, Result};
use rainstorm_proto::worker::worker_server::WorkerServer;
use tonic::Status;

use crate::exchange::{MAX_MESSAGE_BYTES, Peers};
use attempt::Attempt;
use compute::Compute;
pub use identity::AttemptId;
pub use link::{GrpcMaster, MasterLink};

pub use crate::exchange::{incoming, tuned};

/// Ended jobs that are remembered, the newest ones, so that late commands of their attempts are
/// refused.
const REMEMBERED_JOBS: usize = 1024;

/// What a worker works with.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The worker's name, unique in the cluster.
    pub id: String,
    /// How many tasks of a stage it is meant to run at a time, at least 1; also the number of
    /// compute threads.
    pub slots: usize,
    /// Where state files are.
    pub state: Arc<dyn ObjectStore>,
    /// Files and time.
    pub connectors: ConnectorContext,
    /// The functions that job graphs refer to by name.
    pub functions: Arc<TaskContext>,
}

/// Runs tasks. Cheap to clone.
#[derive(Clone)]
pub struct Worker {
    shared: Arc<Shared>,
}

struct Shared {
    config: WorkerConfig,
    compute: Compute,
    peers: Peers,
    master: Arc<dyn MasterLink>,
    jobs: Mutex<HashMap<JobId, Known>>,
}

/// The newest attempt of a job that was heard of.
struct Known {
    id: AttemptId,
    /// `None` while it is being deployed and after it is over.
    running: Option<Arc<Attempt>>,
    over: bool,
    /// Grows with each attempt that is heard of.
    number: u64,
}

impl Worker {
    /// Makes a worker that reports to `master`.
    ///
    /// # Errors
    /// `Io` where its threads cannot be started.
    pub fn new(config: WorkerConfig, master: Arc<dyn MasterLink>) -> Result<Self> {
        let compute = Compute::new(config.slots)?;
        let (peers, jobs) = (Peers::default(), Mutex::default());
        Ok(Self { shared: Arc::new(Shared { config, compute, peers, master, jobs }) })
    }

    /// Returns the service to be served at the worker's address.
    #[must_use]
    pub fn service(&self) -> WorkerServer<Self> {
        WorkerServer::new(self.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Stops all tasks, without snapshots, and returns when they have stopped.
    pub async fn shut_down(&self) {
        let running: Vec<_> = {
            let mut jobs = self.jobs();
            jobs.values_mut().filter_map(Known::finish).collect()
        };
        for attempt in running {
            attempt.stop().await;
        }
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<JobId, Known>> {
        // Nothing panics while the lock is held.
        self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an attempt that is to be deployed. Returns the older one that has to be stopped
    /// first, or `None` for an attempt that is here already.
    fn begin(&self, id: &AttemptId) -> Result<Option<Begin>, Status> {
        let mut jobs = self.jobs();
        if let Some(known) = jobs.get(&id.job) {
            known.check_not_older(id)?;
            if known.id == *id {
                return match &known.running {
                    Some(_) => Ok(None),
                    None if known.over => Err(known.refusal(id)),
                    // The deployment before was given up by its caller, or will come second.
                    None => Ok(Some(Begin { older: None })),
                };
            }
        }
        let older = remember(&mut jobs, id, false);
        Ok(Some(Begin { older }))
    }

    /// Makes a deployed attempt known, unless it has been cancelled meanwhile.
    fn deployed(&self, attempt: Arc<Attempt>) -> Result<(), Status> {
        let mut jobs = self.jobs();
        match jobs.get_mut(&attempt.id().job) {
            Some(known) if known.id == *attempt.id() && !known.over => {
                known.running.get_or_insert(attempt).report();
                Ok(())
            }
            _ => Err(Status::failed_precondition(format!("{} is over", attempt.id()))),
        }
    }

    fn find(&self, id: &AttemptId) -> Result<Arc<Attempt>, Status> {
        let jobs = self.jobs();
        let unknown = || Status::not_found(format!("{id} is not deployed here"));
        let known = jobs.get(&id.job).ok_or_else(unknown)?;
        known.check_not_older(id)?;
        if known.id != *id {
            return Err(unknown());
        }
        match &known.running {
            Some(attempt) => Ok(Arc::clone(attempt)),
            None if known.over => Err(known.refusal(id)),
            None => Err(unknown()),
        }
    }

    /// Marks an attempt as over and returns it if it is here.
    fn end(&self, id: &AttemptId) -> Option<Arc<Attempt>> {
        let mut jobs = self.jobs();
        match jobs.get_mut(&id.job) {
            Some(known) if known.id > *id => None,
            Some(known) if known.id == *id => known.finish(),
            // Its deployment may still be on the way.
            _ => remember(&mut jobs, id, true),
        }
    }
}

/// Remembers an attempt in place of its job's older one, which is returned if it is here.
fn remember(jobs: &mut HashMap<JobId, Known>, id: &AttemptId, over: bool) -> Option<Arc<Attempt>> {
    let number = jobs.values().map(|known| known.number).max().unwrap_or(0) + 1;
    let mut ended: Vec<_> = jobs.values().filter(|known| known.over).map(|it| it.number).collect();
    if ended.len() >= 2 * REMEMBERED_JOBS {
        // Half of them at a time, so that this is seldom.
        ended.sort_unstable();
        let oldest_kept = ended[ended.len() - REMEMBERED_JOBS];
        jobs.retain(|_, known| !known.over || known.number >= oldest_kept);
    }
    let known = Known { id: id.clone(), running: None, over, number };
    jobs.insert(known.id.job.clone(), known).and_then(|mut older| older.finish())
}

/// An attempt to be deployed, and the older one of its job that is in the way.
struct Begin {
    older: Option<Arc<Attempt>>,
}

impl Known {
    fn finish(&mut self) -> Option<Arc<Attempt>> {
        self.over = true;
        self.running.take()
    }

    fn check_not_older(&self, id: &AttemptId) -> Result<(), Status> {
        if *id < self.id { Err(self.refusal(id)) } else { Ok(()) }
    }

    fn refusal(&self, id: &AttemptId) -> Status {
        let state = if self.over { "is over" } else { "is here" };
        Status::failed_precondition(format!("{id} is refused: {} {state}", self.id))
    }
}

/// Turns an error into the answer to a command.
fn to_status(error: &Error) -> Status {
    use rainstorm_engine::ErrorKind;
    let mut message = error.to_string();
    for cause in error.causes() {
        message = format!("{message}: {cause}");
    }
    match error.kind() {
        ErrorKind::Retry | ErrorKind::Unavailable => Status::unavailable(message),
        ErrorKind::Invalid | ErrorKind::Data => Status::invalid_argument(message),
        ErrorKind::Bug => Status::internal(message),
    }
}
