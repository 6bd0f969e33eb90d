//! How a subtask runs.
//!
//! A task takes messages from its input channels, pushes batches through its chain and hands on
//! what comes out. It never blocks a thread: where an output is full it waits without holding
//! the core. All tasks run on a runtime of their own, apart from the one that serves the network.

mod chain;
mod channel;
mod gate;
mod local;
mod metrics;
mod outlet;
mod output;
mod run;
mod source;
mod split;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::batch::Batch;
use crate::connector::{Committable, ConnectorContext, SplitState};
use crate::graph::JobGraph;
use crate::memory::MemoryBudget;
use crate::state::{StateTable, TaskSnapshot};
use crate::time::Watermark;
pub use channel::{Receiver, Sender, channel};
pub use local::{run_local, run_local_to};
pub use metrics::TaskMetrics;
pub use run::run;
pub use wire::{CHANNEL_BYTES, ChannelId, RemoteEnd, TaskChannels, channels_of, wire};

use crate::{Attempt, Epoch, Error, Generation, JobId, OperatorId, Result, StageId};

/// Names a subtask within its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    /// The stage.
    pub stage: StageId,
    /// The subtask's number, from 0.
    pub subtask: usize,
}

/// What travels over a channel between two subtasks, in this order. Channels are FIFO.
#[derive(Debug, Clone)]
pub enum Message {
    /// Rows.
    Data(Batch),
    /// The sender's watermark has risen.
    Watermark(Watermark),
    /// The sender has no rows for now and does not hold watermarks back until it sends again.
    Idle,
    /// All messages before belong to the checkpoint of this epoch, all after do not.
    Barrier(Epoch),
    /// The sender has finished; nothing follows.
    End,
}

/// An input of a task: the receiving end of one channel.
#[derive(Debug)]
pub struct InputChannel {
    /// The input port of the chain's first operator.
    pub port: usize,
    /// Where messages come from.
    pub receiver: Receiver,
}

/// An output edge of a task: the sending ends of its channels, one per receiving subtask. With
/// forward partitioning there is exactly one.
#[derive(Debug)]
pub struct OutputChannels {
    /// Index of the edge in [`JobGraph::edges`].
    pub edge: usize,
    /// Where messages go, by receiving subtask.
    pub senders: Vec<Sender>,
}

/// Everything that a subtask needs to run.
pub struct Task {
    /// The job.
    pub job: JobId,
    /// The job's generation.
    pub generation: Generation,
    /// The deployment within the generation.
    pub attempt: Attempt,
    /// Which subtask.
    pub id: TaskId,
    /// The whole graph.
    pub graph: Arc<JobGraph>,
    /// The input channels, in any order.
    pub inputs: Vec<InputChannel>,
    /// The output edges, in the order of [`JobGraph::outputs`].
    pub outputs: Vec<OutputChannels>,
    /// For a source: its splits and where each begins.
    pub splits: Vec<SplitState>,
    /// On restore: the tables that all subtasks of each operator of this stage wrote.
    pub state: BTreeMap<OperatorId, Vec<StateTable>>,
    /// What to do, until the task ends.
    pub commands: mpsc::UnboundedReceiver<TaskCommand>,
    /// Files and time.
    pub connectors: ConnectorContext,
    /// Where rows for the client go, in a stage whose sink is the client.
    pub client: Option<Box<dyn ClientSink>>,
    /// The worker's budget for state.
    pub memory: Arc<MemoryBudget>,
    /// What the task counts.
    pub metrics: Arc<TaskMetrics>,
}

/// What a task is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskCommand {
    /// To a source: send this barrier. Epochs rise.
    Checkpoint(Epoch),
    /// To a source: end where it is, as if there were no more rows.
    End,
    /// Stop at once, without a snapshot.
    Cancel,
}

/// What a task has to say.
#[derive(Debug)]
pub enum TaskEvent {
    /// The barrier has passed; this is the task's state at it.
    Snapshot {
        /// The checkpoint.
        epoch: Epoch,
        /// The state, split positions included.
        snapshot: TaskSnapshot,
        /// What the sink's writer made ready.
        committables: Vec<Committable>,
    },
    /// No further row makes a difference to what the task hands on. Said once.
    Satisfied,
    /// The input has ended and everything has been handed on. This is the task's last word; it
    /// stands in for a snapshot of every later epoch.
    Finished {
        /// The state at the end, split positions included.
        snapshot: TaskSnapshot,
        /// What the sink's writer made ready since its last barrier.
        committables: Vec<Committable>,
    },
    /// The task has failed or was cancelled. This is its last word.
    Failed(Error),
}

/// Takes rows for the client that runs a query.
#[async_trait]
pub trait ClientSink: Send {
    /// Hands rows on, waiting while the client is behind.
    ///
    /// # Errors
    /// `Closed` where the client is gone.
    async fn send(&mut self, batch: Batch) -> Result<()>;
}
