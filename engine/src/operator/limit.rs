//! The first rows of a stream.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};

use super::partial_groups::part;
use super::window_slices::numbers;
use super::{Operator, Output};
use crate::batch::Batch;
use crate::graph::LimitSpec;
use crate::state::{StateReader, StateWriter};
use crate::time::{TimestampMs, Watermark};
use crate::{Error, Result};

const NAME: &str = "taken";
const VERSION: u16 = 1;

/// Passes on `count` rows after the first `offset` ones and drops the others. Runs in one subtask.
///
/// Once it has them all it is satisfied: nothing that is still to come makes a difference, and the
/// sources that feed nothing else may end.
pub(super) struct Limit {
    spec: LimitSpec,
    /// The rows that have come, as far as they matter.
    taken: u64,
}

impl Limit {
    /// Makes the operator.
    pub(super) fn new(spec: LimitSpec) -> Self {
        Self { spec, taken: 0 }
    }

    /// Returns the number of the first row that makes no difference.
    fn enough(&self) -> u64 {
        self.spec.offset.saturating_add(self.spec.count)
    }
}

impl Operator for Limit {
    fn name(&self) -> &'static str {
        "Limit"
    }

    fn accepts(&self, _port: usize) -> bool {
        true
    }

    fn process(
        &mut self,
        _port: usize,
        batch: Batch,
        _now: TimestampMs,
        out: &mut Output,
    ) -> Result<()> {
        let (rows, weights) = batch.into_parts();
        if weights.is_some_and(|weights| weights.values().iter().any(|weight| *weight < 0)) {
            return Err(Error::Internal("a limit takes no rows back".to_owned()));
        }
        let (before, length) = (self.taken, rows.num_rows() as u64);
        self.taken = before.saturating_add(length).min(self.enough());
        let skipped = self.spec.offset.saturating_sub(before).min(length);
        let passed = (self.taken - before).saturating_sub(skipped);
        // Both are at most the number of rows.
        out.push(Batch::insert(rows.slice(skipped as usize, passed as usize)))
    }

    fn watermark(&mut self, watermark: Watermark, _out: &mut Output) -> Result<Watermark> {
        Ok(watermark)
    }

    fn processing_time(
        &mut self,
        _now: TimestampMs,
        _out: &mut Output,
    ) -> Result<Option<Watermark>> {
        Ok(None)
    }

    fn next_timer(&self) -> Option<TimestampMs> {
        None
    }

    fn end(&mut self, _port: usize, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    fn flush(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    fn is_satisfied(&self) -> bool {
        self.taken == self.enough()
    }

    fn snapshot(&mut self, writer: &mut StateWriter) -> Result<()> {
        // The bits count, not the sign.
        let taken: ArrayRef = Arc::new(Int64Array::from(vec![self.taken as i64]));
        writer.list(NAME, VERSION, part(vec![taken], 1)?);
        Ok(())
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        for rows in state.list(NAME, VERSION)? {
            let taken = numbers(&rows, 0)?;
            let taken = taken.values().iter().map(|taken| *taken as u64).sum::<u64>();
            self.taken = taken.min(self.enough());
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn late_rows(&self) -> u64 {
        0
    }

    fn untimed_rows(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Harness;
    use super::*;
    use crate::graph::OperatorSpec;

    fn limit(offset: u64, count: u64) -> Harness {
        let spec = OperatorSpec::Limit(LimitSpec { offset, count });
        Harness::new(spec, &["a:int"], "a:int")
    }

    #[test]
    fn rows_after_the_offset_pass_until_there_are_enough() {
        let mut test = limit(3, 4);
        test.rows("+ 1\n + 2");
        test.rows("+ 3\n + 4\n + 5");
        test.expect("+ 4\n + 5");
        assert!(!test.operator().is_satisfied());
        test.rows("+ 6\n + 7\n + 8");
        test.expect("+ 6\n + 7");
        assert!(test.operator().is_satisfied());
        test.rows("+ 9");
        test.expect("");
    }

    #[test]
    fn a_limit_of_nothing_is_satisfied_from_the_start() {
        let mut test = limit(0, 0);
        assert!(test.operator().is_satisfied());
        test.rows("+ 1");
        test.expect("");
    }

    #[test]
    fn the_count_goes_on_after_a_restore() {
        let mut test = limit(1, 3);
        test.rows("+ 1\n + 2\n + 3");
        test.expect("+ 2\n + 3");
        let state = test.snapshot();
        let mut restored = test.restored(&state, 0, 1);
        restored.rows("+ 4\n + 5");
        restored.expect("+ 4");
        let state = restored.snapshot();
        assert!(test.restored(&state, 0, 1).operator().is_satisfied());
    }

    #[test]
    fn rows_that_are_taken_back_are_refused() {
        let mut test = limit(0, 9);
        let batch = super::super::testing::batch(&super::super::testing::schema("a:int"), "- 1");
        let mut out = Output::default();
        let refused = test.operator().process(0, batch, 0, &mut out).expect_err("a row taken back");
        assert!(refused.to_string().contains("takes no rows back"), "{refused}");
    }
}
