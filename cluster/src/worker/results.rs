//! The rows of a query on their way to whoever runs it.

use std::collections::BTreeSet;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use rainstorm_engine::batch::Batch;
use rainstorm_engine::graph::ChangelogMode;
use rainstorm_engine::task::{ClientSink, TaskId};
use rainstorm_engine::{Error, Result};
use rainstorm_proto::worker as proto;
use rainstorm_proto::worker::results_event::{End, Event};
use tokio::sync::mpsc;
use tonic::Status;

use crate::exchange::encode_rows;

/// Batches that wait for the reader.
const QUEUED_BATCHES: usize = 4;

/// What waits for the reader.
pub(super) enum Item {
    /// An Arrow IPC stream.
    Rows(Bytes),
    /// All tasks have ended; nothing follows.
    End,
}

/// The queue from the client's sink to its reader.
pub(super) struct ResultQueue {
    pub(super) sender: mpsc::Sender<Item>,
    pub(super) receiver: mpsc::Receiver<Item>,
    /// The tasks that have not ended.
    pub(super) tasks: BTreeSet<TaskId>,
}

impl ResultQueue {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(QUEUED_BATCHES);
        Self { sender, receiver, tasks: BTreeSet::new() }
    }
}

/// Puts the rows of one task into the queue.
pub(super) struct ResultSink {
    schema: SchemaRef,
    changelog: ChangelogMode,
    queue: mpsc::Sender<Item>,
}

impl ResultSink {
    pub(super) fn new(
        schema: SchemaRef,
        changelog: ChangelogMode,
        queue: mpsc::Sender<Item>,
    ) -> Self {
        Self { schema, changelog, queue }
    }
}

#[async_trait]
impl ClientSink for ResultSink {
    async fn send(&mut self, batch: Batch) -> Result<()> {
        for rows in encode_rows(&self.schema, self.changelog, &batch)? {
            self.queue.send(Item::Rows(rows)).await.map_err(|_| Error::Closed)?;
        }
        Ok(())
    }
}

/// Returns the stream that the reader gets. It ends with an error where the tasks go away before
/// their end.
pub(super) fn stream(
    queue: mpsc::Receiver<Item>,
) -> impl Stream<Item = Result<proto::ResultsEvent, Status>> + Send + 'static {
    futures::stream::unfold(Some(queue), |queue| async {
        let mut queue = queue?;
        match queue.recv().await {
            Some(Item::Rows(rows)) => Some((Ok(event(Event::Rows(rows))), Some(queue))),
            Some(Item::End) => Some((Ok(event(Event::End(End {}))), None)),
            None => Some((Err(Status::aborted("the job has stopped")), None)),
        }
    })
}

fn event(event: Event) -> proto::ResultsEvent {
    proto::ResultsEvent { event: Some(event) }
}
