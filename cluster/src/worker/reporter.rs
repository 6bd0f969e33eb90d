//! Turns what the tasks of an attempt say into reports to the master.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use rainstorm_engine::memory::Hold;
use rainstorm_engine::state::{StateTable, file};
use rainstorm_engine::task::{TaskEvent, TaskId};
use rainstorm_engine::{Epoch, Error, ErrorKind, OperatorId, Result};
use rainstorm_proto::master::report_request::Report;
use rainstorm_proto::master::{
    FailedReport, FailureKind, FinishedReport, ReportRequest, SatisfiedReport, SinkCommittables,
    SnapshotReport, SourceSplits,
};
use rainstorm_proto::worker::state_reference::Location;
use rainstorm_proto::worker::{SplitState, StateReference};
use tokio::sync::mpsc;
use tonic::{Code, Status};

use super::attempt::{Attempt, Client, News};
use super::results::Item;
use super::snapshots::{Gathered, Snapshots};
use super::{Shared, Worker, identity, progress};

/// Smaller state files travel inside the report, in bytes.
const INLINE_BYTES: usize = 64 << 10;

/// Time between two reports of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Time between two tries to reach the master.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// Reports on one attempt. One report is under way at a time, in the order of events.
pub(super) struct Reporter {
    attempt: Arc<Attempt>,
    shared: Arc<Shared>,
    client: Option<Client>,
    snapshots: Snapshots,
    /// Tasks that have not had their last word.
    running: BTreeSet<TaskId>,
    failure: Failure,
}

/// Why the attempt has failed here.
enum Failure {
    None,
    /// A task lost a channel. That follows from a failure that is still to be heard of, unless
    /// all tasks end without one.
    Closed(TaskId),
    Reported,
}

/// The attempt is over: nothing more is to be reported.
struct Over;

/// What became of a report.
enum Sent {
    Taken,
    /// The master will never take it, such as one that is larger than a message may be.
    Refused(String),
}

/// What is told of a failure whose own report is refused, in bytes.
const SHORT_MESSAGE_BYTES: usize = 4096;

impl Reporter {
    pub(super) fn new(attempt: Arc<Attempt>, shared: Arc<Shared>, client: Option<Client>) -> Self {
        let running: BTreeSet<TaskId> = attempt.metrics().keys().copied().collect();
        let snapshots = Snapshots::new(attempt.graph(), running.iter().copied());
        Self { attempt, shared, client, snapshots, running, failure: Failure::None }
    }

    /// Reports until the attempt is stopped.
    pub(super) async fn run(mut self, mut queue: mpsc::UnboundedReceiver<News>) {
        let stopping = self.attempt.stopping().clone();
        tokio::select! {
            // What breaks while the attempt is being stopped is no failure.
            biased;
            () = stopping.cancelled() => {}
            Over = self.report_all(&mut queue) => {
                // The master has given the attempt up; its command to stop may never come.
                tracing::info!(job_id = %self.attempt.id().job, "the master refused a report");
                let worker = Worker { shared: Arc::clone(&self.shared) };
                if let Some(attempt) = worker.end(self.attempt.id()) {
                    attempt.stop().await;
                }
            }
        }
    }

    async fn report_all(&mut self, queue: &mut mpsc::UnboundedReceiver<News>) -> Over {
        let clock = Arc::clone(&self.shared.config.connectors.clock);
        let mut next = clock.now_ms();
        loop {
            let news = tokio::select! {
                biased;
                news = queue.recv() => news,
                () = clock.sleep_until(next) => {
                    next = clock.now_ms() + PROGRESS_INTERVAL.as_millis() as i64;
                    if let Err(over) = self.send(None).await {
                        return over;
                    }
                    continue;
                }
            };
            // The attempt holds a sender, so the queue does not end.
            let Some(news) = news else { return Over };
            if let Err(over) = self.handle(news).await {
                return over;
            }
        }
    }

    async fn handle(&mut self, news: News) -> Result<(), Over> {
        match news {
            News::Trigger(epoch) => self.snapshots.trigger(epoch),
            News::Broken(error) => return self.fail(None, error).await,
            News::Task(task, TaskEvent::Snapshot { epoch, snapshot, committables }) => {
                self.snapshots.snapshot(task, epoch, snapshot, committables);
            }
            News::Task(task, TaskEvent::Satisfied) => {
                let task = Some(identity::task_to_wire(task));
                self.send_or_fail(Report::Satisfied(SatisfiedReport { task })).await?;
            }
            News::Task(task, TaskEvent::Finished { snapshot, committables }) => {
                self.running.remove(&task);
                self.snapshots.finished(task, snapshot, committables);
                self.end_results(task);
                let task = Some(identity::task_to_wire(task));
                self.send_or_fail(Report::Finished(FinishedReport { task })).await?;
            }
            News::Task(task, TaskEvent::Failed(error)) => {
                self.running.remove(&task);
                self.task_failed(task, error).await?;
            }
        }
        self.report_snapshots().await
    }

    async fn task_failed(&mut self, task: TaskId, error: Error) -> Result<(), Over> {
        match (&self.failure, error) {
            (Failure::Reported, _) => return Ok(()),
            (_, Error::Cancelled) => {}
            (Failure::None, Error::Closed) => {
                self.failure = Failure::Closed(task);
                self.attempt.cancel_tasks();
            }
            (Failure::Closed(_), Error::Closed) => {}
            (_, error) => return self.fail(Some(task), error).await,
        }
        match self.failure {
            Failure::Closed(first) if self.running.is_empty() => {
                self.fail(Some(first), Error::Closed).await
            }
            _ => Ok(()),
        }
    }

    async fn fail(&mut self, task: Option<TaskId>, error: Error) -> Result<(), Over> {
        if matches!(self.failure, Failure::Reported) {
            return Ok(());
        }
        self.failure = Failure::Reported;
        self.client = None;
        self.attempt.cancel_tasks();
        let report = failed_report(task, &error);
        if let Sent::Refused(reason) = self.send(Some(Report::Failed(report.clone()))).await? {
            tracing::warn!(error = reason, "a failure is reported without its causes");
            let mut message = report.message;
            message.truncate(message.floor_char_boundary(SHORT_MESSAGE_BYTES));
            let short = FailedReport { message, causes: Vec::new(), ..report };
            self.send(Some(Report::Failed(short))).await?;
        }
        Ok(())
    }

    /// Sends a report without which the job cannot go on.
    async fn send_or_fail(&mut self, report: Report) -> Result<(), Over> {
        match self.send(Some(report)).await? {
            Sent::Taken => Ok(()),
            Sent::Refused(reason) => {
                let reason = format!("the master refuses a report: {reason}");
                self.fail(None, Error::Internal(reason)).await
            }
        }
    }

    async fn report_snapshots(&mut self) -> Result<(), Over> {
        while matches!(self.failure, Failure::None)
            && let Some((epoch, gathered)) = self.snapshots.next_complete()
        {
            match self.snapshot_report(epoch, gathered).await {
                Ok(report) => self.send_or_fail(Report::Snapshot(report)).await?,
                Err(error) => self.fail(None, error).await?,
            }
        }
        Ok(())
    }

    async fn snapshot_report(&self, epoch: Epoch, gathered: Gathered) -> Result<SnapshotReport> {
        let Gathered { tables, splits, committables, holds } = gathered;
        Ok(SnapshotReport {
            epoch: epoch.0,
            state: self.store_state(epoch, tables, holds).await?,
            sources: splits.into_iter().map(|(id, splits)| source_splits(id, splits)).collect(),
            sinks: committables
                .into_iter()
                .map(|(id, made)| SinkCommittables {
                    operator_id: id.0,
                    committables: made.into_iter().map(|committable| committable.0).collect(),
                })
                .collect(),
        })
    }

    /// Writes the state of all tasks as one file. The tables go as soon as it is made of them.
    async fn store_state(
        &self,
        epoch: Epoch,
        tables: Vec<(OperatorId, StateTable)>,
        holds: Vec<Arc<Hold>>,
    ) -> Result<Option<StateReference>> {
        if tables.is_empty() {
            return Ok(None);
        }
        let encode = move || {
            let mut of_file = Vec::new();
            let tables = tables.iter().map(|(id, table)| (*id, table));
            let pieces = file::encode(tables, |bytes| {
                of_file.extend(holds.first().map(|hold| hold.beside(bytes)).transpose()?);
                Ok(())
            })?;
            let bytes = pieces.iter().map(Bytes::len).sum::<usize>();
            Ok((pieces, bytes, of_file))
        };
        let (pieces, bytes, _holds) = self.shared.compute.run(encode).await?;
        let size_bytes = bytes as u64;
        if bytes < INLINE_BYTES {
            let location = Some(Location::Inline(pieces.concat().into()));
            return Ok(Some(StateReference { location, size_bytes }));
        }
        let path = self.state_path(epoch);
        let payload = pieces.into_iter().collect::<PutPayload>();
        self.shared
            .config
            .state
            .put(&path, payload)
            .await
            .map_err(|error| Error::storage(format!("write state file {path}"), error))?;
        let location = Some(Location::Path(path.to_string()));
        Ok(Some(StateReference { location, size_bytes }))
    }

    /// The name is never used twice.
    fn state_path(&self, epoch: Epoch) -> Path {
        let id = self.attempt.id();
        let worker = &self.shared.config.id;
        let name = format!("{}-{}-{epoch}-{worker}.state", id.generation, id.attempt);
        self.attempt.state_directory().clone().join(name)
    }

    /// Tells the client's reader that nothing follows, once all tasks of its sink have ended.
    fn end_results(&mut self, task: TaskId) {
        if let Some(client) = &mut self.client {
            client.tasks.remove(&task);
            if client.tasks.is_empty()
                && let Some(client) = self.client.take()
            {
                // The reader may be slow, and reports must not wait for it.
                tokio::spawn(async move { client.sender.send(Item::End).await });
            }
        }
    }

    /// Sends a report until the master has taken it, or has refused it for good.
    async fn send(&self, report: Option<Report>) -> Result<Sent, Over> {
        let mut progress = progress::gather(self.attempt.graph(), self.attempt.metrics());
        progress.state_bytes = self.attempt.memory().held_bytes() as u64;
        let progress_only = report.is_none();
        let request = ReportRequest {
            worker_id: self.shared.config.id.clone(),
            attempt: Some(self.attempt.id().to_wire()),
            progress: Some(progress),
            report,
        };
        let clock = &self.shared.config.connectors.clock;
        let mut told = false;
        loop {
            match self.shared.master.report(request.clone()).await {
                Ok(()) => return Ok(Sent::Taken),
                Err(status) if status.code() == Code::FailedPrecondition => return Err(Over),
                // The next one says more.
                Err(_) if progress_only => return Ok(Sent::Taken),
                Err(status) if is_final(&status) => {
                    return Ok(Sent::Refused(status.message().to_owned()));
                }
                Err(status) => {
                    // Once for each report, however long the master is away.
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(
                            error = status.message(),
                            "the master does not take a report, repeating"
                        );
                    }
                    let retry_ms = RETRY_INTERVAL.as_millis() as i64;
                    clock.sleep_until(clock.now_ms() + retry_ms).await;
                }
            }
        }
    }
}

/// Tells whether sending the same once more would end the same way. Larger messages than both
/// sides take are `OUT_OF_RANGE`.
fn is_final(status: &Status) -> bool {
    matches!(status.code(), Code::OutOfRange | Code::InvalidArgument | Code::Unimplemented)
}

fn source_splits(
    id: OperatorId,
    splits: Vec<rainstorm_engine::connector::SplitState>,
) -> SourceSplits {
    let split = |state: rainstorm_engine::connector::SplitState| SplitState {
        id: state.split.id,
        position: state.split.position,
        watermark_ms: state.watermark,
        finished: state.finished,
    };
    SourceSplits { operator_id: id.0, splits: splits.into_iter().map(split).collect() }
}

fn failed_report(task: Option<TaskId>, error: &Error) -> FailedReport {
    let kind = match error.kind() {
        ErrorKind::Retry => FailureKind::Retry,
        ErrorKind::Invalid => FailureKind::Invalid,
        ErrorKind::Data => FailureKind::Data,
        ErrorKind::Unavailable => FailureKind::Unavailable,
        ErrorKind::Bug => FailureKind::Bug,
    };
    FailedReport {
        task: task.map(identity::task_to_wire),
        message: error.to_string(),
        causes: error.causes(),
        kind: kind.into(),
    }
}
