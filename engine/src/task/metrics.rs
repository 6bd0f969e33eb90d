//! What a task counts while it runs.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize};

/// Counters of one task, written by it and read by anyone. All start at zero, the watermark at
/// `i64::MIN`.
#[derive(Debug)]
pub struct TaskMetrics {
    /// Rows taken from the source or the input channels.
    pub rows_in: AtomicU64,
    /// Rows given to the sink or the output channels (once per edge).
    pub rows_out: AtomicU64,
    /// Rows dropped for being late.
    pub late_rows: AtomicU64,
    /// Rows dropped for having no event time.
    pub untimed_rows: AtomicU64,
    /// Malformed rows that were skipped.
    pub skipped_rows: AtomicU64,
    /// Bytes of state held.
    pub state_bytes: AtomicUsize,
    /// The task's watermark, in milliseconds.
    pub watermark_ms: AtomicI64,
}

impl Default for TaskMetrics {
    fn default() -> Self {
        Self {
            rows_in: AtomicU64::new(0),
            rows_out: AtomicU64::new(0),
            late_rows: AtomicU64::new(0),
            untimed_rows: AtomicU64::new(0),
            skipped_rows: AtomicU64::new(0),
            state_bytes: AtomicUsize::new(0),
            watermark_ms: AtomicI64::new(i64::MIN),
        }
    }
}
