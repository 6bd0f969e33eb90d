//! Names one deployment of a job.

use std::fmt;

use rainstorm_engine::task::TaskId;
use rainstorm_engine::{Attempt, Generation, JobId, StageId};
use rainstorm_proto::worker as proto;
use tonic::Status;

/// One deployment of a job; of one job, newer ones are greater.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId {
    /// The job.
    pub job: JobId,
    /// How often it was started or taken over.
    pub generation: Generation,
    /// The deployment within the generation.
    pub attempt: Attempt,
}

impl AttemptId {
    /// Reads the attempt that a command is for.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` where it has none.
    pub(super) fn from_wire(message: Option<&proto::Attempt>) -> Result<Self, Status> {
        let message = message.ok_or_else(|| Status::invalid_argument("a command without a job"))?;
        Ok(Self {
            job: JobId::new(&message.job_id),
            generation: Generation(message.generation),
            attempt: Attempt(message.attempt),
        })
    }

    /// Writes the attempt for the wire.
    #[must_use]
    pub fn to_wire(&self) -> proto::Attempt {
        proto::Attempt {
            job_id: self.job.as_str().to_owned(),
            generation: self.generation.0,
            attempt: self.attempt.0,
        }
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {}, generation {}, attempt {}", self.job, self.generation, self.attempt)
    }
}

pub(super) fn task_from_wire(message: proto::TaskId) -> TaskId {
    TaskId { stage: StageId(message.stage), subtask: message.subtask as usize }
}

pub(super) fn task_to_wire(task: TaskId) -> proto::TaskId {
    proto::TaskId { stage: task.stage.0, subtask: task.subtask as u32 }
}
