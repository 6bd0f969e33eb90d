//! The commands for one worker about one job, performed in their order.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use rainstorm_engine::{Attempt, Epoch, ErrorKind, Generation, StageId};
use rainstorm_proto::worker::results_event::Event;
use rainstorm_proto::worker::worker_client::WorkerClient;
use rainstorm_proto::worker::{
    self as wire, CancelRequest, DeployRequest, EndSourcesRequest, ResultsEvent, ResultsRequest,
    StartRequest, TriggerCheckpointRequest,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use super::convert;
use super::jobs::Job;
use crate::job::{Failure, Message, WorkerId, WorkerMessage};
use std::sync::Arc;

/// How long a worker may take to answer a command.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// The rows for the client on their way, until the lane ends: a worker that has stopped answering
/// would never end their stream.
type Forwarding = AbortOnDropHandle<Result<(), Status>>;

/// What a worker is told.
pub(super) enum Command {
    /// With whether a subtask there sends rows to the client.
    Deploy(Box<DeployRequest>, bool),
    Start,
    Trigger(Epoch),
    EndSources(BTreeSet<StageId>),
    Stop,
    Release,
}

/// Everything about one worker of one attempt.
pub(super) struct Lane {
    pub(super) job: Arc<Job>,
    pub(super) worker: WorkerId,
    pub(super) generation: Generation,
    pub(super) attempt: Attempt,
    /// The client, or the reason why there is none.
    pub(super) client: Result<WorkerClient<Channel>, String>,
    /// Where the rows for the client go.
    pub(super) results: Option<mpsc::Sender<Bytes>>,
    /// Set when the worker is gone: then nothing more is awaited of it.
    pub(super) lost: CancellationToken,
}

impl Lane {
    /// Performs commands until there are no more.
    ///
    /// # Errors
    /// Where rows for the client were lost after all tasks had finished.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
    ) -> Result<(), Failure> {
        let mut forwarding = None;
        let lost = self.lost.clone();
        while let Some(command) = commands.recv().await {
            if matches!(command, Command::Release) {
                return self.release(forwarding).await;
            }
            // What is asked of a worker that is gone needs no answer: the job knows of the loss.
            let answer = tokio::select! {
                biased;
                () = lost.cancelled() => continue,
                answer = self.perform(command, &mut forwarding) => answer,
            };
            if let Some(message) = answer {
                let worker = self.worker.clone();
                self.job.send(Message::Worker(worker, self.generation, self.attempt, message));
            }
        }
        Ok(())
    }

    /// Waits for the rows that are still to come and frees what the worker holds.
    async fn release(mut self, forwarding: Option<Forwarding>) -> Result<(), Failure> {
        let lost = self.lost.clone();
        if let Some(rows) = forwarding {
            tokio::select! {
                // Rows that have all come are not lost with their worker.
                biased;
                rows = self.last_rows(rows) => rows?,
                () = lost.cancelled() => {
                    let worker = &self.worker;
                    let text = format!("worker {worker} is gone, and with it rows of the result");
                    return Err(Failure::new(ErrorKind::Unavailable, text));
                }
            }
        }
        // The end of the job does not wait for this.
        tokio::spawn(async move {
            tokio::select! {
                () = lost.cancelled() => {}
                _ = self.cancel() => {}
            }
        });
        Ok(())
    }

    /// Waits for the last row.
    async fn last_rows(&self, rows: Forwarding) -> Result<(), Failure> {
        match rows.await {
            Ok(forwarded) => forwarded.map_err(|status| self.failure(&status)),
            Err(error) => Err(Failure::new(ErrorKind::Bug, format!("hand rows on: {error}"))),
        }
    }

    async fn perform(
        &mut self,
        command: Command,
        forwarding: &mut Option<Forwarding>,
    ) -> Option<WorkerMessage> {
        let result = match command {
            Command::Deploy(request, has_results) => {
                match self.deploy(*request, has_results).await {
                    Ok(task) => {
                        *forwarding = task;
                        return Some(WorkerMessage::Deployed);
                    }
                    Err(status) => Err(status),
                }
            }
            Command::Start => self.start().await,
            Command::Trigger(epoch) => self.trigger(epoch).await,
            Command::EndSources(stages) => self.end_sources(&stages).await,
            Command::Stop => {
                // Whatever comes of it: a worker that does not answer is found dead.
                if self.cancel().await.is_err_and(|status| is_connection(&status)) {
                    self.job.lost(self.worker.clone());
                }
                return Some(WorkerMessage::Stopped);
            }
            Command::Release => return None,
        };
        result.err().map(|status| WorkerMessage::Failed(self.failure(&status)))
    }

    async fn deploy(
        &mut self,
        request: DeployRequest,
        has_results: bool,
    ) -> Result<Option<Forwarding>, Status> {
        self.client()?.deploy(timed(request)).await?;
        let Some(results) = self.results.clone().filter(|_| has_results) else { return Ok(None) };
        let request = ResultsRequest { attempt: Some(self.wire_attempt()) };
        let rows = self.client()?.results(request).await?.into_inner();
        let forwarding = tokio::spawn(forward(rows, results, Arc::clone(&self.job)));
        Ok(Some(AbortOnDropHandle::new(forwarding)))
    }

    async fn start(&mut self) -> Result<(), Status> {
        let attempt = Some(self.wire_attempt());
        self.client()?.start(timed(StartRequest { attempt })).await.map(drop)
    }

    async fn trigger(&mut self, epoch: Epoch) -> Result<(), Status> {
        let attempt = Some(self.wire_attempt());
        let request = TriggerCheckpointRequest { attempt, epoch: epoch.0 };
        self.client()?.trigger_checkpoint(timed(request)).await.map(drop)
    }

    async fn end_sources(&mut self, stages: &BTreeSet<StageId>) -> Result<(), Status> {
        let attempt = Some(self.wire_attempt());
        let stages = stages.iter().map(|stage| stage.0).collect();
        self.client()?.end_sources(timed(EndSourcesRequest { attempt, stages })).await.map(drop)
    }

    async fn cancel(&mut self) -> Result<(), Status> {
        let attempt = Some(self.wire_attempt());
        self.client()?.cancel(timed(CancelRequest { attempt })).await.map(drop)
    }

    fn client(&mut self) -> Result<&mut WorkerClient<Channel>, Status> {
        self.client.as_mut().map_err(|reason| Status::unavailable(reason.clone()))
    }

    fn wire_attempt(&self) -> wire::Attempt {
        convert::attempt(&self.job.id, self.generation, self.attempt)
    }

    fn failure(&self, status: &Status) -> Failure {
        let kind = match status.code() {
            tonic::Code::InvalidArgument => ErrorKind::Invalid,
            tonic::Code::Internal => ErrorKind::Bug,
            _ => ErrorKind::Unavailable,
        };
        let (message, cause) = if is_connection(status) {
            let message = format!("worker {} is gone or cannot be reached", self.worker);
            (message, status.message().to_owned())
        } else {
            (status.message().to_owned(), format!("on worker {}", self.worker))
        };
        let mut failure = Failure::new(kind, message);
        failure.causes.push(cause);
        failure
    }
}

/// Tells whether it is the connection's fault and not the worker's answer.
fn is_connection(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER_TIMEOUT);
    request
}

/// Hands rows on to the client; one that is gone ends the job.
///
/// # Errors
/// Where the stream breaks before its end: a consequence of the attempt's end, which is reported
/// otherwise, unless all tasks have finished.
async fn forward(
    mut rows: Streaming<ResultsEvent>,
    results: mpsc::Sender<Bytes>,
    job: Arc<Job>,
) -> Result<(), Status> {
    while let Some(event) = rows.message().await? {
        match event.event {
            Some(Event::Rows(batches)) => {
                let sent = results.send(batches).await;
                if sent.is_err() {
                    job.send(Message::Cancel);
                    return Ok(());
                }
            }
            Some(Event::End(_)) => return Ok(()),
            None => {}
        }
    }
    Err(Status::unavailable("rows of the result are missing: their stream ended too early"))
}
