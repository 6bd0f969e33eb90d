//! What goes into a [`JobManager`](super::JobManager) and what comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rainstorm_engine::connector::{CommitId, Committable, SplitState};
use rainstorm_engine::task::TaskId;
use rainstorm_engine::{Attempt, Epoch, Error, ErrorKind, Generation, JobId, OperatorId, StageId};

use super::manifest::{CheckpointRef, Manifest, StatePlace};
/// Names a worker.
pub use crate::membership::NodeId as WorkerId;

/// How much a worker can run and how much it runs already, for other jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSlots {
    /// The worker.
    pub worker: WorkerId,
    /// How many subtasks of a stage it is meant to run at the same time, at least 1.
    pub slots: usize,
    /// How many of them other jobs use.
    pub used: usize,
}

/// Which checkpoint a job starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestorePoint {
    /// The latest committed one; the job starts from the beginning where there is none.
    Latest,
    /// This one, which must still be kept.
    Epoch(Epoch),
}

/// How one job is managed.
#[derive(Debug, Clone)]
pub struct JobConfig {
    /// The job; the same after each restore, since commits are known by it.
    pub job: JobId,
    /// Whether checkpoints are kept. Queries whose rows only a client sees have none: nothing of
    /// them touches the store, and they are finished when their tasks are.
    pub durable: bool,
    /// Whether the job starts from a checkpoint.
    pub restore: Option<RestorePoint>,
    /// How long workers may take to appear before the job fails. Default 30 s.
    pub scheduling_timeout: Duration,
    /// How long a checkpoint may take before the job fails. Default 10 min. It is not given up
    /// alone, because what sinks made ready for it exists only in its acknowledgements.
    pub checkpoint_timeout: Duration,
    /// How long tasks may take to stop before they are taken for gone. Default 10 s.
    pub cancel_timeout: Duration,
}

impl JobConfig {
    /// Makes the default configuration of a job.
    #[must_use]
    pub fn new(job: JobId) -> Self {
        Self {
            job,
            durable: true,
            restore: None,
            scheduling_timeout: Duration::from_secs(30),
            checkpoint_timeout: Duration::from_mins(10),
            cancel_timeout: Duration::from_secs(10),
        }
    }
}

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobState {
    /// It exists.
    Created,
    /// Its tasks are being placed.
    Scheduling,
    /// Its tasks are being placed with the state of a checkpoint.
    Restoring,
    /// Its tasks run, or have finished and the last checkpoint is being committed.
    Running,
    /// Its tasks are being stopped, because of a failure or because someone asked.
    Cancelling,
    /// It was stopped because someone asked. The end.
    Cancelled,
    /// All of its output is published. The end.
    Finished,
    /// It failed. The end.
    Failed,
}

impl JobState {
    /// Tells whether nothing follows.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, Self::Cancelled | Self::Finished | Self::Failed)
    }

    /// Returns the name that people see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Scheduling => "scheduling",
            Self::Restoring => "restoring",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }
}

/// Why something failed, in a form that crosses processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub message: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// What can be done about it.
    pub kind: ErrorKind,
}

impl Failure {
    /// Returns message and causes in one line.
    #[must_use]
    pub fn text(self) -> String {
        let all = std::iter::once(self.message).chain(self.causes);
        all.collect::<Vec<_>>().join(": ")
    }

    /// Makes a failure without further causes.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { message: message.into(), causes: Vec::new(), kind }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { message: error.to_string(), causes: error.causes(), kind: error.kind() }
    }
}

/// What one worker hands in for a checkpoint, on behalf of all its tasks of the job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkerSnapshot {
    /// Where the state is, if there is any.
    pub state: Option<StatePlace>,
    /// By source: all its splits, finished ones too.
    pub splits: BTreeMap<OperatorId, Vec<SplitState>>,
    /// By sink: what its writers made ready since the last snapshot.
    pub committables: BTreeMap<OperatorId, Vec<Committable>>,
}

/// What is known once a job's preparations are done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prepared {
    /// The generation that was claimed.
    pub generation: Generation,
    /// The number that the next checkpoint gets.
    pub next_epoch: Epoch,
    /// The checkpoint to start from.
    pub restored: Option<Arc<Manifest>>,
    /// The splits of each source's stage, at their first positions; empty where `restored` has
    /// them.
    pub splits: BTreeMap<StageId, Vec<SplitState>>,
}

/// What the machine learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// These workers are alive now.
    Workers(Vec<WorkerSlots>),
    /// A worker is gone and does not come back.
    WorkerLost(WorkerId),
    /// [`Effect::Prepare`] is done.
    Prepared(Box<Prepared>),
    /// A worker that tasks were placed on says something. Messages of one worker arrive in the
    /// order in which they were sent, and may arrive twice.
    Worker(WorkerId, Generation, Attempt, WorkerMessage),
    /// [`Effect::WriteManifest`] is done.
    ManifestWritten,
    /// [`Effect::SwingHead`] is done: the checkpoint is committed.
    HeadSwung,
    /// [`Effect::CommitSinks`] is done.
    SinksCommitted,
    /// The effect on the store that is under way failed. Of [`Effect::SwingHead`] this says that
    /// the head does not name the checkpoint, or that another generation has claimed the job.
    StoreFailed(Failure),
    /// Someone wants the job stopped.
    Cancel,
}

/// What a worker says about an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerMessage {
    /// Its tasks are set up and others may connect to them.
    Deployed,
    /// All its tasks have passed the barrier of this epoch, or had finished before.
    Snapshot(Epoch, Box<WorkerSnapshot>),
    /// No further row makes a difference to what one of its tasks hands on.
    Satisfied(TaskId),
    /// One of its tasks has ended well.
    Finished(TaskId),
    /// The attempt has failed there, at any time from its deployment on.
    Failed(Failure),
    /// Its tasks have stopped, as [`Effect::Stop`] asked.
    Stopped,
}

/// What the machine wants done. Each names the message that answers it; those on the store
/// (`Prepare`, `WriteManifest`, `SwingHead`, `CommitSinks`) are never under way together. Those
/// for one worker are to be performed in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Read the checkpoint to start from and check that it fits the query, claim a new generation
    /// of the job, have the sinks take back what was published after the checkpoint, list the
    /// sources' splits. Answer: `Prepared` or `StoreFailed`.
    Prepare,
    /// Set up tasks on a worker. Answer: `Deployed` or `Failed`.
    Deploy(WorkerId, Arc<Deployment>),
    /// Let a worker's tasks run; all have been set up. Answer: `Failed` where that fails.
    Start(WorkerId, Generation, Attempt),
    /// Have a worker's sources send a barrier. Answer: `Snapshot` or `Failed`.
    TriggerCheckpoint(WorkerId, Generation, Attempt, Epoch),
    /// Have a worker's sources of these stages end where they are. Answer: `Finished` of each, or
    /// `Failed`.
    EndSources(WorkerId, Generation, Attempt, BTreeSet<StageId>),
    /// Write a manifest under its name. Answer: `ManifestWritten` or `StoreFailed`.
    WriteManifest(Arc<Manifest>),
    /// Make `head` name the checkpoint, if it is still what this generation wrote. Answer:
    /// `HeadSwung` or `StoreFailed`.
    SwingHead(CheckpointRef),
    /// Publish what sinks made ready: for every sink of the job where the commit is the last,
    /// else for those named. Answer: `SinksCommitted` or `StoreFailed`.
    CommitSinks(CommitId, BTreeMap<OperatorId, Vec<Committable>>),
    /// Delete what `head` does not reach. No answer.
    CollectGarbage,
    /// Stop the job's tasks on a worker. Answer: `Stopped`.
    Stop(WorkerId, Generation, Attempt),
    /// Free what a worker holds of the job, whose tasks have all finished; rows for the client
    /// that are still on their way come first. No answer.
    Release(WorkerId, Generation, Attempt),
    /// Tell whoever is interested that the job's state changed. No answer.
    Report(JobState, Option<Failure>),
}

/// One deployment of all tasks of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Of which generation.
    pub generation: Generation,
    /// Which deployment within it.
    pub attempt: Attempt,
    /// Where all tasks run.
    pub placement: BTreeMap<TaskId, WorkerId>,
    /// For the tasks of sources: their splits.
    pub splits: BTreeMap<TaskId, Vec<SplitState>>,
    /// All state of the checkpoint to start from.
    pub state: Vec<StatePlace>,
}
