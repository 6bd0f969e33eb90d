//! The clock of windows of processing time, and the watermark that it gives their rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::compute::max;

use super::partial_groups::part;
use super::window_slices::numbers;
use crate::Result;
use crate::graph::Window;
use crate::state::{StateReader, StateWriter};
use crate::time::TimestampMs;

const NAME: &str = "clock";
const VERSION: u16 = 1;

/// How far the clock has got for an operator that puts rows into windows of processing time.
///
/// Everything at or below the time that has passed is done with, which is a promise to those that
/// come after: rows get later times, also when the clock is set back, over a restore as well. It
/// is looked at when the operator starts and whenever a window may end, whether or not there are
/// rows, so that an operator without any holds nobody back.
pub(super) struct WindowClock {
    window: Window,
    passed: TimestampMs,
    looked: bool,
}

impl WindowClock {
    /// Makes a clock that has not been looked at.
    pub(super) fn new(window: Window) -> Self {
        Self { window, passed: TimestampMs::MIN, looked: false }
    }

    /// Returns the time of rows that come now.
    pub(super) fn time_of_rows(&self, now: TimestampMs) -> TimestampMs {
        now.max(self.passed.saturating_add(1))
    }

    /// Looks at the time and returns what has passed: rows may still come at `now` itself.
    pub(super) fn advance(&mut self, now: TimestampMs) -> TimestampMs {
        self.looked = true;
        self.passed = self.passed.max(now.saturating_sub(1));
        self.passed
    }

    /// Returns when to look at the time next.
    pub(super) fn next_timer(&self) -> TimestampMs {
        if self.looked {
            self.window.slice(self.passed.saturating_add(1)).end
        } else {
            TimestampMs::MIN
        }
    }

    /// Writes the time that has passed.
    pub(super) fn write(&self, writer: &mut StateWriter) -> Result<()> {
        let passed: ArrayRef = Arc::new(Int64Array::from(vec![self.passed]));
        writer.list(NAME, VERSION, part(vec![passed], 1)?);
        Ok(())
    }

    /// Goes on from where the subtasks of a checkpoint were, after the furthest of them.
    pub(super) fn restore(&mut self, state: &StateReader) -> Result<()> {
        for rows in state.list(NAME, VERSION)? {
            self.passed = self.passed.max(max(&numbers(&rows, 0)?).unwrap_or(TimestampMs::MIN));
        }
        Ok(())
    }
}
