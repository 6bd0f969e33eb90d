//! What every stateless operator has in common.

use super::{Operator, Output, Transform};
use crate::Result;
use crate::batch::Batch;
use crate::state::{StateReader, StateWriter};
use crate::time::{TimestampMs, Watermark};

/// Runs a [`Transform`] as an [`Operator`]: watermarks pass through and there is nothing to keep.
pub(super) struct TransformOperator<T>(pub(super) T);

impl<T: Transform> Operator for TransformOperator<T> {
    fn name(&self) -> &'static str {
        self.0.name()
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
        out.push(self.0.transform(batch, now)?)
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
        false
    }

    fn snapshot(&mut self, _writer: &mut StateWriter) -> Result<()> {
        Ok(())
    }

    fn restore(&mut self, _state: &StateReader) -> Result<()> {
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
