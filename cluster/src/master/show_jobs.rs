//! `SHOW JOBS`.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampSecondArray, UInt64Array};
use rainstorm_engine::{Error, Result};
use rainstorm_proto::client::Job;

/// Returns a row per job.
///
/// # Errors
/// `Compute` where the columns do not fit together, which would be a bug.
pub(super) fn rows(jobs: &[Job]) -> Result<RecordBatch> {
    let text = |get: fn(&Job) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(jobs.iter().map(get)))
    };
    let number = |get: fn(&Job) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(jobs.iter().map(get)))
    };
    let started = TimestampSecondArray::from_iter_values(
        jobs.iter().map(|job| job.started_ms.div_euclid(1000)),
    );
    RecordBatch::try_from_iter([
        ("job", text(|job| &job.id)),
        ("state", text(|job| &job.state)),
        ("started", Arc::new(started) as ArrayRef),
        ("rows_in", number(|job| job.rows_in)),
        ("rows_out", number(|job| job.rows_out)),
        ("epoch", number(|job| job.epoch)),
        ("error", text(|job| &job.error)),
    ])
    .map_err(|error| Error::compute("list jobs", error))
}
