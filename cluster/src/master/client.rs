//! What clients ask of the master.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use rainstorm_proto::client::client_server::Client as ClientService;
use rainstorm_proto::client::{
    CancelJobReply, CancelJobRequest, ExecuteEvent, ExecuteRequest, ListJobsReply, ListJobsRequest,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Shared, script};
use crate::job::{JobState, Message};

/// Events that wait for a client.
const QUEUED_EVENTS: usize = 16;

/// Runs statements and looks after jobs.
pub(super) struct ClientFacing(pub(super) Arc<Shared>);

#[tonic::async_trait]
impl ClientService for ClientFacing {
    type ExecuteStream = Pin<Box<dyn Stream<Item = Result<ExecuteEvent, Status>> + Send>>;

    async fn execute(
        &self,
        request: Request<ExecuteRequest>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        let (events, receiver) = mpsc::channel(QUEUED_EVENTS);
        tokio::spawn(script::execute(Arc::clone(&self.0), request.into_inner(), events));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn list_jobs(
        &self,
        _request: Request<ListJobsRequest>,
    ) -> Result<Response<ListJobsReply>, Status> {
        Ok(Response::new(ListJobsReply { jobs: self.0.jobs.list() }))
    }

    async fn cancel_job(
        &self,
        request: Request<CancelJobRequest>,
    ) -> Result<Response<CancelJobReply>, Status> {
        let CancelJobRequest { job_id } = request.into_inner();
        let job = self.0.jobs.find_by_name(&job_id);
        let job = job.ok_or_else(|| Status::not_found(format!("there is no job {job_id}")))?;
        if job.state().is_end() {
            let verb = if job.state() == JobState::Cancelled { "was" } else { "has" };
            let text = format!("job {job_id} {verb} {} already", job.state().name());
            return Err(Status::failed_precondition(text));
        }
        let mut running = self.0.jobs.running_inserts(&job_id);
        if running.is_empty() {
            running.push(job);
        }
        for job in &running {
            job.send(Message::Cancel);
        }
        for job in &running {
            job.ended().await;
        }
        Ok(Response::new(CancelJobReply {}))
    }
}
