//! `rainstorm jobs` and `rainstorm cancel`.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMillisecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::error::ArrowError;
use rainstorm_proto::client::{CancelJobRequest, Job, ListJobsRequest};

use crate::cli::Context;
use crate::cli::args::{Cancel, Jobs};
use crate::cli::error::{CliError, Result};
use crate::cli::output::{show_batch, write_results};
use crate::cli::reach::reach_running;

/// Lists jobs, newest first.
pub(crate) async fn jobs(jobs: &Jobs, context: &Context) -> Result<()> {
    let list = async {
        let mut client = reach_running(&jobs.target).await?;
        let reply = client.list_jobs(ListJobsRequest {}).await;
        reply.map_err(|status| CliError::status(&status))
    };
    let reply = context.interrupt.begin().or_interrupted(list).await?.into_inner();
    let failed = |error: ArrowError| CliError::failed("show jobs", &error);
    let rows = table(&reply.jobs).map_err(failed)?;
    write_results(&show_batch(&rows, jobs.format)?)
}

/// Cancels a job and waits until it has stopped.
pub(crate) async fn cancel(cancel: &Cancel, context: &Context) -> Result<()> {
    let stop = async {
        let mut client = reach_running(&cancel.target).await?;
        let request = CancelJobRequest { job_id: cancel.job.clone() };
        client.cancel_job(request).await.map_err(|status| CliError::status(&status))
    };
    context.interrupt.begin().or_interrupted(stop).await.map(drop)
}

fn table(jobs: &[Job]) -> Result<RecordBatch, ArrowError> {
    let text = |of: fn(&Job) -> &str| -> ArrayRef {
        Arc::new(jobs.iter().map(|job| Some(of(job))).collect::<StringArray>())
    };
    let time = |of: fn(&Job) -> i64| -> ArrayRef {
        let times = jobs.iter().map(|job| Some(of(job)).filter(|time| *time > 0));
        Arc::new(times.collect::<TimestampMillisecondArray>())
    };
    let number = |of: fn(&Job) -> u64| -> ArrayRef {
        Arc::new(jobs.iter().map(|job| Some(of(job))).collect::<UInt64Array>())
    };
    let timestamp = DataType::Timestamp(TimeUnit::Millisecond, None);
    let columns = [
        ("job", DataType::Utf8, text(|job| &job.id)),
        ("name", DataType::Utf8, text(|job| &job.name)),
        ("state", DataType::Utf8, text(|job| &job.state)),
        ("started", timestamp.clone(), time(|job| job.started_ms)),
        ("ended", timestamp, time(|job| job.ended_ms)),
        ("rows_in", DataType::UInt64, number(|job| job.rows_in)),
        ("rows_out", DataType::UInt64, number(|job| job.rows_out)),
        ("checkpoint", DataType::UInt64, number(|job| job.epoch)),
        ("error", DataType::Utf8, text(|job| &job.error)),
    ];
    let fields = columns.iter().map(|(name, kind, _)| Field::new(*name, kind.clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns.into_iter().map(|(_, _, column)| column).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_listed_even_when_there_are_none() {
        assert_eq!(table(&[]).unwrap().num_rows(), 0);
        let job = Job { id: "a-1".into(), started_ms: 1, ..Job::default() };
        assert_eq!(table(&[job]).unwrap().num_rows(), 1);
    }
}
