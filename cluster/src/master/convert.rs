//! Between the job manager's types and the wire.

use std::collections::BTreeMap;
use std::sync::Arc;

use rainstorm_engine::connector::{Committable, Split, SplitState};
use rainstorm_engine::graph::JobGraph;
use rainstorm_engine::task::TaskId;
use rainstorm_engine::{Attempt, Epoch, ErrorKind, Generation, JobId, OperatorId, Result, StageId};
use rainstorm_proto::master::report_request::Report;
use rainstorm_proto::master::{FailedReport, FailureKind, SnapshotReport};
use rainstorm_proto::worker::state_reference::Location;
use rainstorm_proto::worker::{self as wire, StateReference};
use tonic::Status;

use crate::codec::encode_graph;
use crate::job::{Deployment, Failure, StatePlace, WorkerId, WorkerMessage, WorkerSnapshot};

/// Writes an attempt.
pub(super) fn attempt(job: &JobId, generation: Generation, attempt: Attempt) -> wire::Attempt {
    wire::Attempt { job_id: job.as_str().to_owned(), generation: generation.0, attempt: attempt.0 }
}

/// Writes the deployment of a job's tasks on one worker. `peers` are the addresses of all workers
/// that take part.
pub(super) fn deploy_request(
    job: &JobId,
    graph: &JobGraph,
    worker: &WorkerId,
    deployment: &Deployment,
    peers: &BTreeMap<WorkerId, String>,
    state_directory: &str,
) -> Result<wire::DeployRequest> {
    let here = |task: &TaskId| deployment.placement.get(task) == Some(worker);
    let placement = |(task, worker): (&TaskId, &WorkerId)| wire::Placement {
        task: Some(task_id(*task)),
        worker_id: worker.as_str().to_owned(),
    };
    let peer = |(worker, address): (&WorkerId, &String)| wire::Peer {
        worker_id: worker.as_str().to_owned(),
        address: address.clone(),
    };
    let splits = deployment.splits.iter().filter(|(task, _)| here(task));
    Ok(wire::DeployRequest {
        attempt: Some(attempt(job, deployment.generation, deployment.attempt)),
        graph: Some(encode_graph(graph)?),
        tasks: deployment.placement.iter().map(placement).collect(),
        workers: peers.iter().map(peer).collect(),
        splits: splits
            .map(|(task, splits)| wire::TaskSplits {
                task: Some(task_id(*task)),
                splits: splits.iter().map(split_to_wire).collect(),
            })
            .collect(),
        state: deployment.state.iter().map(state_to_wire).collect(),
        state_directory: state_directory.to_owned(),
    })
}

/// Reads what a worker reports; `None` for progress alone.
pub(super) fn report(report: Option<Report>) -> Result<Option<WorkerMessage>, Status> {
    Ok(match report {
        None => None,
        Some(Report::Snapshot(report)) => {
            let epoch = Epoch(report.epoch);
            Some(WorkerMessage::Snapshot(epoch, Box::new(snapshot(report)?)))
        }
        Some(Report::Satisfied(report)) => Some(WorkerMessage::Satisfied(task(report.task)?)),
        Some(Report::Finished(report)) => Some(WorkerMessage::Finished(task(report.task)?)),
        Some(Report::Failed(report)) => Some(WorkerMessage::Failed(failure(report))),
    })
}

fn task(task: Option<wire::TaskId>) -> Result<TaskId, Status> {
    let task = task.ok_or_else(|| Status::invalid_argument("a report of no task"))?;
    Ok(TaskId { stage: StageId(task.stage), subtask: task.subtask as usize })
}

fn snapshot(report: SnapshotReport) -> Result<WorkerSnapshot, Status> {
    let state = report.state.map(state_from_wire).transpose()?;
    let sources = report.sources.into_iter();
    let sinks = report.sinks.into_iter();
    Ok(WorkerSnapshot {
        state,
        splits: sources
            .map(|source| {
                let splits = source.splits.into_iter().map(split_from_wire).collect();
                (OperatorId(source.operator_id), splits)
            })
            .collect(),
        committables: sinks
            .map(|sink| {
                let made_ready = sink.committables.into_iter().map(Committable).collect();
                (OperatorId(sink.operator_id), made_ready)
            })
            .collect(),
    })
}

fn failure(report: FailedReport) -> Failure {
    let kind = match report.kind() {
        FailureKind::Retry => ErrorKind::Retry,
        FailureKind::Invalid => ErrorKind::Invalid,
        FailureKind::Data => ErrorKind::Data,
        FailureKind::Unavailable => ErrorKind::Unavailable,
        FailureKind::Bug | FailureKind::Unspecified => ErrorKind::Bug,
    };
    Failure { message: report.message, causes: report.causes, kind }
}

fn task_id(task: TaskId) -> wire::TaskId {
    wire::TaskId { stage: task.stage.0, subtask: task.subtask as u32 }
}

fn split_to_wire(state: &SplitState) -> wire::SplitState {
    wire::SplitState {
        id: state.split.id.clone(),
        position: state.split.position.clone(),
        watermark_ms: state.watermark,
        finished: state.finished,
    }
}

fn split_from_wire(state: wire::SplitState) -> SplitState {
    SplitState {
        split: Split { id: state.id, position: state.position },
        watermark: state.watermark_ms,
        finished: state.finished,
    }
}

fn state_to_wire(state: &StatePlace) -> StateReference {
    match state {
        StatePlace::Inline(bytes) => StateReference {
            location: Some(Location::Inline(bytes.clone())),
            size_bytes: bytes.len() as u64,
        },
        StatePlace::File { path, size_bytes } => {
            StateReference { location: Some(Location::Path(path.clone())), size_bytes: *size_bytes }
        }
    }
}

fn state_from_wire(reference: StateReference) -> Result<StatePlace, Status> {
    match reference.location {
        Some(Location::Inline(bytes)) => Ok(StatePlace::Inline(bytes)),
        Some(Location::Path(path)) => {
            Ok(StatePlace::File { path, size_bytes: reference.size_bytes })
        }
        None => Err(Status::invalid_argument("a state file without a place")),
    }
}

/// A job's graph, shared by everything that drives it.
pub(super) type SharedGraph = Arc<JobGraph>;
