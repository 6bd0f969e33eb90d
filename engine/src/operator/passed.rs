//! How far time has passed for an operator, in checkpoints.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::compute::max;

use super::partial_groups::part;
use super::window_slices::numbers;
use crate::Result;
use crate::state::{StateReader, StateWriter};
use crate::time::TimestampMs;

const NAME: &str = "passed";
const VERSION: u16 = 1;

/// Writes the time at and below which rows are late.
pub(super) fn write(passed: TimestampMs, writer: &mut StateWriter) -> Result<()> {
    let passed: ArrayRef = Arc::new(Int64Array::from(vec![passed]));
    writer.list(NAME, VERSION, part(vec![passed], 1)?);
    Ok(())
}

/// Reads what the subtasks have written.
pub(super) fn read(state: &StateReader) -> Result<Vec<TimestampMs>> {
    let mut passed = Vec::new();
    for rows in state.list(NAME, VERSION)? {
        passed.extend(max(&numbers(&rows, 0)?));
    }
    Ok(passed)
}
