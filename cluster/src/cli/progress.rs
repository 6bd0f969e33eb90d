//! One line on standard error that tells how a job is getting on.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use rainstorm_proto::client::Progress;

/// Shows progress where standard error is a terminal, and nothing elsewhere.
pub(crate) struct ProgressLine {
    enabled: bool,
    shown: bool,
    /// The jobs that may run: several do side by side.
    jobs: Vec<Running>,
}

/// A job of which progress is shown.
struct Running {
    job_id: String,
    /// Whether it ends by itself.
    bounded: bool,
    started: Instant,
    rate: Rate,
    /// The last news of it.
    line: String,
}

impl ProgressLine {
    pub(crate) fn new() -> Self {
        Self { enabled: io::stderr().is_terminal(), shown: false, jobs: Vec::new() }
    }

    /// Begins to measure a job. One that ends by itself has ended by now.
    pub(crate) fn start(&mut self, job_id: &str, bounded: bool) {
        self.jobs.retain(|job| !job.bounded && job.job_id != job_id);
        self.jobs.push(Running {
            job_id: job_id.to_owned(),
            bounded,
            started: Instant::now(),
            rate: Rate::default(),
            line: String::new(),
        });
    }

    /// Shows how far a job has come.
    pub(crate) fn show(&mut self, progress: &Progress) {
        if !self.enabled {
            return;
        }
        let Some(job) = self.jobs.iter_mut().find(|job| job.job_id == progress.job_id) else {
            return;
        };
        let rate = job.rate.add(job.started.elapsed().as_secs_f64(), progress.rows_in);
        job.line = line(progress, rate);
        let lines = self.jobs.iter().map(|job| job.line.as_str()).filter(|line| !line.is_empty());
        let line = lines.collect::<Vec<_>>().join(" | ");
        let width = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
        let line = line.chars().take(width.saturating_sub(1)).collect::<String>();
        // Where standard error is closed, there is nobody to show it to.
        let _ = write!(io::stderr().lock(), "\r\x1b[K{line}");
        self.shown = true;
    }

    /// Takes the line away, so that other text can be written.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// How many rows have come lately.
struct Rate {
    /// Seconds since the start, and the rows in until then.
    samples: VecDeque<(f64, u64)>,
}

/// What counts as lately, in seconds.
const LATELY: f64 = 2.0;

impl Default for Rate {
    fn default() -> Self {
        Self { samples: VecDeque::from([(0.0, 0)]) }
    }
}

impl Rate {
    /// Returns the rows per second, once enough time has passed to tell.
    fn add(&mut self, seconds: f64, rows: u64) -> Option<u64> {
        self.samples.push_back((seconds, rows));
        while self.samples.get(1).is_some_and(|(then, _)| *then <= seconds - LATELY) {
            self.samples.pop_front();
        }
        let (then, before) = *self.samples.front()?;
        let passed = seconds - then;
        (passed >= 0.1).then(|| (rows.saturating_sub(before) as f64 / passed) as u64)
    }
}

fn line(progress: &Progress, rate: Option<u64>) -> String {
    let mut parts = vec![format!(
        "{}: {} rows in, {} out",
        progress.job_id,
        short(progress.rows_in),
        short(progress.rows_out)
    )];
    if let Some(rate) = rate {
        parts.push(format!("{} rows/s", short(rate)));
    }
    if let Some(watermark) = progress.watermark_ms.and_then(chrono::DateTime::from_timestamp_millis)
    {
        parts.push(format!("watermark {}", watermark.format("%Y-%m-%d %H:%M:%S")));
    }
    if progress.late_rows > 0 {
        parts.push(format!("{} late", short(progress.late_rows)));
    }
    if progress.untimed_rows > 0 {
        parts.push(format!("{} without time", short(progress.untimed_rows)));
    }
    if progress.skipped_rows > 0 {
        parts.push(format!("{} skipped", short(progress.skipped_rows)));
    }
    parts.join(", ")
}

/// Returns a number in at most five places.
fn short(number: u64) -> String {
    let number = number as f64;
    let scaled = [(1e9, "G"), (1e6, "M"), (1e4, "k")];
    for (unit, suffix) in scaled {
        if number >= unit {
            let unit = if suffix == "k" { 1e3 } else { unit };
            return format!("{:.1}{suffix}", number / unit);
        }
    }
    format!("{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut rate = Rate::default();
        assert_eq!(rate.add(0.05, 10), None);
        assert_eq!(rate.add(1.0, 100), Some(100));
        assert_eq!(rate.add(2.0, 1100), Some(550));
        assert_eq!(rate.add(3.0, 2100), Some(1000));
        assert_eq!(rate.add(5.0, 2100), Some(0));
    }

    #[test]
    fn the_line_tells_rows_rate_and_watermark() {
        let progress = Progress {
            job_id: "flights".to_owned(),
            rows_in: 2_500_000,
            rows_out: 120,
            late_rows: 3,
            watermark_ms: Some(978_307_200_000),
            ..Progress::default()
        };
        assert_eq!(
            line(&progress, Some(1_250_000)),
            "flights: 2.5M rows in, 120 out, 1.2M rows/s, watermark 2001-01-01 00:00:00, 3 late"
        );
    }
}
