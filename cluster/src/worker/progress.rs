//! What the tasks of an attempt have done so far, as one message.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rainstorm_engine::graph::JobGraph;
use rainstorm_engine::task::{TaskId, TaskMetrics};
use rainstorm_proto::master::Progress;

/// Adds up the counters of tasks. Rows that are read count at sources, rows that are written at
/// sinks.
pub(super) fn gather(graph: &JobGraph, metrics: &BTreeMap<TaskId, Arc<TaskMetrics>>) -> Progress {
    let mut progress = Progress::default();
    let mut watermark = None;
    for (task, counters) in metrics {
        let stage = graph.stage(task.stage);
        progress.late_rows += counters.late_rows.load(Relaxed);
        progress.untimed_rows += counters.untimed_rows.load(Relaxed);
        progress.skipped_rows += counters.skipped_rows.load(Relaxed);
        if let Some(source) = &stage.source {
            progress.rows_in += counters.rows_in.load(Relaxed);
            if source.watermark.is_some() {
                let mark = counters.watermark_ms.load(Relaxed);
                watermark = Some(watermark.map_or(mark, |lowest: i64| lowest.min(mark)));
            }
        }
        if stage.sink.is_some() {
            progress.rows_out += counters.rows_out.load(Relaxed);
        }
    }
    progress.watermark_ms = watermark.filter(|mark| *mark > i64::MIN);
    progress
}
