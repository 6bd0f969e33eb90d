//! What workers tell the master.

use std::sync::Arc;

use rainstorm_engine::{Attempt, Generation};
use rainstorm_proto::master::master_server::Master as MasterService;
use rainstorm_proto::master::{
    HeartbeatReply, HeartbeatRequest, LeaveReply, LeaveRequest, RegisterReply, RegisterRequest,
    ReportReply, ReportRequest,
};
use tonic::{Request, Response, Status};

use super::Shared;
use super::convert;
use crate::job::{Message, WorkerId};
use crate::membership::{Member, NodeId, Role};

/// Takes registrations, heartbeats and reports.
pub(super) struct WorkerFacing(pub(super) Arc<Shared>);

#[tonic::async_trait]
impl MasterService for WorkerFacing {
    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterReply>, Status> {
        let request = request.into_inner();
        tracing::info!(node = request.worker_id, peer = request.address, "worker registered");
        self.0.registration.register(Member {
            id: NodeId::new(&request.worker_id),
            incarnation: request.incarnation,
            address: request.address,
            slots: request.slots as usize,
            roles: vec![Role::Worker],
        });
        let interval = self.0.registration.interval().as_millis() as u64;
        Ok(Response::new(RegisterReply { heartbeat_interval_ms: interval }))
    }

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatReply>, Status> {
        let HeartbeatRequest { worker_id, incarnation } = request.into_inner();
        let known = self.0.registration.heartbeat(&NodeId::new(&worker_id), incarnation);
        Ok(Response::new(HeartbeatReply { unknown: !known }))
    }

    async fn leave(&self, request: Request<LeaveRequest>) -> Result<Response<LeaveReply>, Status> {
        let LeaveRequest { worker_id, incarnation } = request.into_inner();
        self.0.registration.leave(&NodeId::new(&worker_id), incarnation);
        Ok(Response::new(LeaveReply {}))
    }

    async fn report(
        &self,
        request: Request<ReportRequest>,
    ) -> Result<Response<ReportReply>, Status> {
        let request = request.into_inner();
        let attempt =
            request.attempt.ok_or_else(|| Status::invalid_argument("a report without a job"))?;
        let over = || Status::failed_precondition(format!("job {} is over", attempt.job_id));
        let id = (Generation(attempt.generation), Attempt(attempt.attempt));
        let job = self.0.jobs.find(&attempt.job_id).filter(|job| job.runs(id));
        let job = job.ok_or_else(over)?;
        let worker = WorkerId::new(&request.worker_id);
        if let Some(progress) = request.progress {
            job.progressed(worker.clone(), progress);
        }
        if let Some(message) = convert::report(request.report)? {
            job.send(Message::Worker(worker, id.0, id.1, message));
        }
        Ok(Response::new(ReportReply {}))
    }
}
