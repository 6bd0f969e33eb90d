//! `rainstorm jobs` and `rainstorm cancel`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, RecordBatch, StringArray, TimestampMillisecondArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::error::ArrowError;
use rainstorm_proto::client::{CancelJobRequest, Job, ListJobsRequest};

use crate::cli::Context;
use crate::cli::args::{Cancel, Jobs};
use crate::cli::error::{CliError, Result};
use crate::cli::output::{Format, show_batch, write_pages};
use crate::cli::reach::reach_running;

/// Lists jobs, newest first.
pub(crate) async fn jobs(jobs: &Jobs, context: &Context) -> Result<()> {
    let list = async {
        let mut client = reach_running(&jobs.target).await?.client;
        let reply = client.list_jobs(ListJobsRequest {}).await;
        reply.map_err(|status| CliError::status(&status))
    };
    let reply = context.interrupt.begin().or_interrupted(list).await?.into_inner();
    let failed = |error: ArrowError| CliError::failed("show jobs", &error);
    let all = table(&reply.jobs).map_err(failed)?;
    let rows = if jobs.format == Format::Table { brief(&all).map_err(failed)? } else { all };
    write_pages(&show_batch(&rows, jobs.format)?)
}

/// Cancels a job and waits until it has stopped.
pub(crate) async fn cancel(cancel: &Cancel, context: &Context) -> Result<()> {
    let stop = async {
        let mut client = reach_running(&cancel.target).await?.client;
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

/// Returns what people look for first, in few enough columns for a terminal of 80 places: without
/// what is the same as the id or empty, and with times in seconds.
fn brief(all: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let column = |name: &str| all.column_by_name(name).map(Arc::clone);
    let seconds = DataType::Timestamp(TimeUnit::Second, None);
    let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
    for name in ["job", "name", "state", "rows_in", "rows_out", "checkpoint", "started", "error"] {
        let Some(values) = column(name) else { continue };
        let is_empty = |values: &ArrayRef| {
            let texts = values.as_any().downcast_ref::<StringArray>();
            texts.is_some_and(|texts| texts.iter().flatten().all(str::is_empty))
        };
        match name {
            "name" if column("job").is_some_and(|ids| *ids == *values) => {}
            "error" if is_empty(&values) => {}
            "checkpoint" => columns.push(("epoch", values)),
            "started" => columns.push((name, cast(&values, &seconds)?)),
            _ => columns.push((name, values)),
        }
    }
    RecordBatch::try_from_iter(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_of_80_places_shows_ids_whole() {
        let job = |id: &str, name: &str, error: &str| Job {
            id: id.into(),
            name: name.into(),
            state: "cancelled".into(),
            started_ms: 978_307_200_000,
            rows_in: 2_500_000,
            rows_out: 120,
            error: error.into(),
            ..Job::default()
        };
        let shown = |jobs: &[Job]| {
            let rows = brief(&table(jobs).unwrap()).unwrap();
            String::from_utf8(crate::cli::output::show_in(&rows, Format::Table, 80)).unwrap()
        };
        assert_eq!(
            shown(&[job("query-0a1b2c3d", "query-0a1b2c3d", "")]),
            " job            | state     | rows_in | rows_out | epoch | started\n\
             ----------------+-----------+---------+----------+-------+---------------------\n \
             query-0a1b2c3d | cancelled | 2500000 |      120 |     0 | 2001-01-01 00:00:00\n\
             (1 row)\n"
        );
        let text = shown(&[job("copy-2", "copy", "worker w1 is gone")]);
        assert!(
            text.contains("copy-2|copy|cancelled") && text.contains("|worker w1 is gone"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn jobs_are_listed_even_when_there_are_none() {
        assert_eq!(table(&[]).unwrap().num_rows(), 0);
        let job = Job { id: "a-1".into(), started_ms: 1, ..Job::default() };
        assert_eq!(table(&[job]).unwrap().num_rows(), 1);
    }
}
