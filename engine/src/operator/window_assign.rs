//! The windows of each row, as columns.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;

use super::window::{Span, milliseconds, window_columns};
use super::window_clock::WindowClock;
use super::{Operator, Output};
use crate::batch::Batch;
use crate::graph::{Window, WindowSpec};
use crate::state::{StateReader, StateWriter};
use crate::time::{TimestampMs, Watermark};
use crate::{Error, Result};

/// Appends `window_start`, `window_end` and `window_time` to each row, once per window of the
/// row. Rows without a time belong to no window: they are dropped and counted.
///
/// By the clock, the output has a watermark of its own, and that of the input goes no further.
pub(super) struct WindowAssign {
    window: Window,
    /// The event time's column; `None` for processing time.
    time: Option<usize>,
    clock: WindowClock,
    schema: SchemaRef,
    untimed_rows: u64,
}

impl WindowAssign {
    /// Makes the operator.
    ///
    /// # Errors
    /// `Invalid` where the windows' lengths are, or where rows carry their windows already.
    pub(super) fn new(spec: &WindowSpec, schema: &SchemaRef) -> Result<Self> {
        let (window, time) = match *spec {
            WindowSpec::EventTime { window, time } => (window, Some(time)),
            WindowSpec::ProcessingTime { window } => (window, None),
            WindowSpec::Attached { .. } => {
                return Err(Error::Invalid("rows that carry windows get none again".to_owned()));
            }
        };
        window.validate()?;
        let clock = WindowClock::new(window);
        Ok(Self { window, time, clock, schema: Arc::clone(schema), untimed_rows: 0 })
    }

    /// Returns per output row the input row and its window.
    fn assign(&mut self, batch: &Batch, now: TimestampMs) -> Result<(Vec<u32>, Vec<Span>)> {
        let mut rows = Vec::with_capacity(batch.num_rows());
        let mut windows = Vec::with_capacity(batch.num_rows());
        let now = self.clock.time_of_rows(now);
        let times = self.time.map(|time| milliseconds(batch.column(time))).transpose()?;
        for row in 0..batch.num_rows() {
            let time = match &times {
                None => now,
                Some(times) if times.is_valid(row) => times.value(row),
                Some(_) => {
                    self.untimed_rows += 1;
                    continue;
                }
            };
            self.window.windows(self.window.slice(time), |window| {
                rows.push(row as u32);
                windows.push(window);
            });
        }
        Ok((rows, windows))
    }
}

impl Operator for WindowAssign {
    fn name(&self) -> &'static str {
        "WindowAssign"
    }

    fn accepts(&self, _port: usize) -> bool {
        true
    }

    fn process(
        &mut self,
        _port: usize,
        batch: Batch,
        now: TimestampMs,
        out: &mut Output,
    ) -> Result<()> {
        let before = self.untimed_rows;
        let (rows, windows) = self.assign(&batch, now)?;
        let once_each = rows.len() == batch.num_rows() && self.untimed_rows == before;
        let batch = if once_each { batch } else { batch.take(&UInt32Array::from(rows))? };
        let mut columns = batch.rows().columns().to_vec();
        columns.extend(window_columns(&windows));
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| Error::compute("append the windows of rows", error))?;
        out.push(batch.with_rows(rows)?)
    }

    fn watermark(&mut self, watermark: Watermark, _out: &mut Output) -> Result<Watermark> {
        let ended = watermark == Watermark::MAX;
        Ok(if self.time.is_some() || ended { watermark } else { Watermark::MIN })
    }

    fn processing_time(
        &mut self,
        now: TimestampMs,
        _out: &mut Output,
    ) -> Result<Option<Watermark>> {
        Ok(self.time.is_none().then(|| Watermark(self.clock.advance(now))))
    }

    fn next_timer(&self) -> Option<TimestampMs> {
        self.time.is_none().then(|| self.clock.next_timer())
    }

    fn end(&mut self, _port: usize, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    fn flush(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    fn is_satisfied(&self) -> bool {
        false
    }

    fn snapshot(&mut self, writer: &mut StateWriter) -> Result<()> {
        if self.time.is_none() { self.clock.write(writer) } else { Ok(()) }
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        self.clock.restore(state)
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn late_rows(&self) -> u64 {
        0
    }

    fn untimed_rows(&self) -> u64 {
        self.untimed_rows
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Harness;
    use super::*;
    use crate::graph::OperatorSpec;

    const OUTPUT: &str = "id:int t:ts window_start:ts window_end:ts window_time:ts";

    fn assign(window: WindowSpec) -> Harness {
        Harness::new(OperatorSpec::WindowAssign(window), &["id:int t:ts"], OUTPUT)
    }

    #[test]
    fn a_row_gets_its_tumbling_window() {
        let window = Window::Tumble { size_ms: 10, offset_ms: 0 };
        let mut test = assign(WindowSpec::EventTime { window, time: 1 });
        test.rows(
            "+ 1 12
             - 2 20",
        );
        test.expect(
            "+ 1 12 10 20 19
             - 2 20 20 30 29",
        );
    }

    #[test]
    fn a_row_is_repeated_for_each_of_its_windows() {
        let window = Window::Hop { size_ms: 10, slide_ms: 5, offset_ms: 0 };
        let mut test = assign(WindowSpec::EventTime { window, time: 1 });
        test.rows(
            "+ 1 12
             - 2 4",
        );
        test.expect(
            "+ 1 12 5 15 14
             + 1 12 10 20 19
             - 2 4 -5 5 4
             - 2 4 0 10 9",
        );
        assert_eq!(test.watermark(7), 7);
    }

    #[test]
    fn rows_without_a_time_are_dropped_and_counted() {
        let window = Window::Cumulate { size_ms: 6, step_ms: 3, offset_ms: 0 };
        let mut test = assign(WindowSpec::EventTime { window, time: 1 });
        test.rows(
            "+ 1 ~
             + 2 4",
        );
        test.expect("+ 2 4 0 6 5");
        assert_eq!(test.operator().untimed_rows(), 1);
    }

    #[test]
    fn processing_time_takes_the_clock() {
        let window = Window::Tumble { size_ms: 10, offset_ms: 0 };
        let mut test = assign(WindowSpec::ProcessingTime { window });
        test.time(25);
        test.rows("+ 1 ~");
        test.expect("+ 1 ~ 20 30 29");
    }

    #[test]
    fn the_clock_gives_the_watermark_at_the_start_and_at_each_end_of_a_window() {
        let window = Window::Hop { size_ms: 10, slide_ms: 5, offset_ms: 1 };
        let mut test = assign(WindowSpec::ProcessingTime { window });
        assert_eq!(test.time(22), Some(21), "though there has been no row");
        assert_eq!(test.watermark(1_000), i64::MIN, "the input's watermark is of another time");
        assert_eq!(test.time(25), None);
        assert_eq!(test.time(26), Some(25));
        assert_eq!(test.time(40), Some(39));
        assert_eq!(test.watermark(i64::MAX), i64::MAX);
    }

    #[test]
    fn rows_stay_ahead_of_the_watermark_when_the_clock_is_set_back_over_a_restore() {
        let window = Window::Tumble { size_ms: 10, offset_ms: 0 };
        let assign = || assign(WindowSpec::ProcessingTime { window });
        let (mut behind, mut ahead) = (assign(), assign());
        behind.time(25);
        ahead.time(40);
        let state = [behind.snapshot(), ahead.snapshot()].concat();
        let mut restored = behind.restored(&state, 0, 1);
        assert_eq!(restored.time(12), Some(39));
        restored.rows("+ 1 ~");
        restored.expect("+ 1 ~ 40 50 49");
        assert_eq!(restored.time(49), None);
        assert_eq!(restored.time(50), Some(49));
    }
}
