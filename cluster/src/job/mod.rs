//! Jobs: where their tasks run, how their checkpoints are taken and committed, and how they end.
//!
//! [`JobManager`] is a state machine without I/O: messages and time go in, [`Effect`]s come out.
//! The master's driver performs them against workers and a [`CheckpointStore`], and reports back
//! what came of them. In the order in which a job meets them:
//!
//! - `store`: `head` and manifests as objects, written conditionally
//! - `restore`: which state and which splits each subtask begins with
//! - `placement`: which worker runs which subtask
//! - `manager`: the machine
//! - `checkpoint`: the one checkpoint that is being taken

mod checkpoint;
#[cfg(test)]
mod lossy_store;
mod manager;
mod manifest;
mod message;
mod placement;
pub(crate) mod restore;
#[cfg(test)]
mod satisfied_tests;
#[cfg(test)]
mod simulated_sink;
#[cfg(test)]
mod simulation;
mod store;

pub use manager::JobManager;
pub use manifest::{Ancestor, CheckpointRef, Head, Manifest, OperatorKey, SourceState, StatePlace};
pub use message::{
    Deployment, Effect, Failure, JobConfig, JobState, Message, Prepared, RestorePoint, WorkerId,
    WorkerMessage, WorkerSlots, WorkerSnapshot,
};
pub use store::{CheckpointStore, HeldHead};
