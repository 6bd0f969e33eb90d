//! One line on standard error that tells how a job is getting on.

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use rainstorm_proto::client::Progress;

/// Shows progress where standard error is a terminal, and nothing elsewhere.
pub(crate) struct ProgressLine {
    enabled: bool,
    shown: bool,
    started: Option<Instant>,
}

impl ProgressLine {
    pub(crate) fn new() -> Self {
        Self { enabled: io::stderr().is_terminal(), shown: false, started: None }
    }

    /// Begins to measure a job.
    pub(crate) fn start(&mut self, _job_id: &str) {
        self.started = Some(Instant::now());
    }

    /// Shows how far a job has come.
    pub(crate) fn show(&mut self, progress: &Progress) {
        if !self.enabled {
            return;
        }
        let seconds = self.started.map_or(0.0, |started| started.elapsed().as_secs_f64());
        let line = line(progress, seconds);
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

fn line(progress: &Progress, seconds: f64) -> String {
    let mut parts = vec![format!(
        "{}: {} rows in, {} out",
        progress.job_id,
        short(progress.rows_in),
        short(progress.rows_out)
    )];
    if seconds >= 0.1 {
        parts.push(format!("{} rows/s", short((progress.rows_in as f64 / seconds) as u64)));
    }
    if let Some(watermark) = progress.watermark_ms.and_then(chrono::DateTime::from_timestamp_millis)
    {
        parts.push(format!("watermark {}", watermark.format("%Y-%m-%d %H:%M:%S")));
    }
    if progress.late_rows > 0 {
        parts.push(format!("{} late", short(progress.late_rows)));
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
            line(&progress, 2.0),
            "flights: 2.5M rows in, 120 out, 1.2M rows/s, watermark 2001-01-01 00:00:00, 3 late"
        );
    }
}
