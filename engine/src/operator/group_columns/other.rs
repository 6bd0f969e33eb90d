//! Any other aggregate function, by one of DataFusion's accumulators per group.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take_arrays;
use datafusion::logical_expr::Accumulator;
use datafusion::scalar::ScalarValue;

use super::super::aggregate::Aggregate;
use super::Column;
use crate::{Error, Result};

/// What an accumulator is assumed to take at least, in bytes.
const ACCUMULATOR_BYTES: usize = 64;

/// An accumulator for each group that has one.
pub(super) struct Other {
    aggregate: Arc<Aggregate>,
    groups: Vec<Option<Box<dyn Accumulator>>>,
    held_bytes: usize,
}

impl Other {
    /// Starts without groups.
    pub(super) fn new(aggregate: Arc<Aggregate>) -> Self {
        Self { aggregate, groups: Vec::new(), held_bytes: 0 }
    }

    fn group(&mut self, id: u32) -> Result<&mut Box<dyn Accumulator>> {
        let group = &mut self.groups[id as usize];
        if group.is_none() {
            self.held_bytes += ACCUMULATOR_BYTES;
            *group = Some(self.aggregate.accumulator()?);
        }
        group.as_mut().ok_or_else(|| Error::Internal("a group has no accumulator".to_owned()))
    }

    fn failed(&self, error: datafusion::error::DataFusionError) -> Error {
        self.aggregate.failed(error)
    }

    /// Returns a group's state. Reading it may consume it, so it is given back at once.
    fn state_of(&mut self, id: u32) -> Result<Vec<ScalarValue>> {
        let state = self.group(id)?.state().map_err(|error| self.failed(error))?;
        self.groups[id as usize] = Some(self.of_state(&state)?);
        Ok(state)
    }

    fn of_state(&self, state: &[ScalarValue]) -> Result<Box<dyn Accumulator>> {
        let mut accumulator = self.aggregate.accumulator()?;
        let columns = state
            .iter()
            .map(ScalarValue::to_array)
            .collect::<Result<Vec<_>, _>>()
            .and_then(|columns| accumulator.merge_batch(&columns));
        columns.map_err(|error| self.failed(error))?;
        Ok(accumulator)
    }
}

impl Column for Other {
    fn grow(&mut self, groups: usize) {
        self.groups.resize_with(groups, || None);
    }

    fn update(&mut self, ids: &[u32], args: &[ArrayRef], weights: Option<&[i8]>) -> Result<()> {
        let counts = |row: &u32| weights.is_none_or(|weights| weights[*row as usize] != 0);
        let mut rows: Vec<u32> = (0..ids.len() as u32).filter(counts).collect();
        // A stable sort: some functions depend on the order in which rows have come.
        rows.sort_by_key(|row| ids[*row as usize]);
        let rows = UInt32Array::from(rows);
        let args = take_arrays(args, &rows, None)
            .map_err(|error| Error::compute("gather the rows of groups", error))?;
        let mut first = 0;
        for run in rows.values().chunk_by(|left, right| ids[*left as usize] == ids[*right as usize])
        {
            let args: Vec<ArrayRef> = args.iter().map(|arg| arg.slice(first, run.len())).collect();
            first += run.len();
            let accumulator = self.group(ids[run[0] as usize])?;
            let before = accumulator.size();
            let updated = accumulator.update_batch(&args);
            let after = accumulator.size();
            updated.map_err(|error| self.failed(error))?;
            self.held_bytes = (self.held_bytes + after).saturating_sub(before);
        }
        Ok(())
    }

    fn read(&mut self, ids: &[u32]) -> Result<ArrayRef> {
        let mut results = Vec::with_capacity(ids.len());
        for id in ids {
            // Evaluating may consume as well: a copy is evaluated.
            let state = self.state_of(*id)?;
            let mut copy = self.of_state(&state)?;
            results.push(copy.evaluate().map_err(|error| self.failed(error))?);
        }
        column(results, || {
            let mut empty = self.aggregate.accumulator()?;
            empty.evaluate().map_err(|error| self.failed(error))
        })
    }

    fn is_zero(&self, id: u32) -> bool {
        self.groups[id as usize].is_none()
    }

    fn free(&mut self, ids: &[u32]) {
        for id in ids {
            if let Some(accumulator) = self.groups[*id as usize].take() {
                let freed = accumulator.size() + ACCUMULATOR_BYTES;
                self.held_bytes = self.held_bytes.saturating_sub(freed);
            }
        }
    }

    fn state_columns(&self) -> usize {
        self.aggregate.state_columns()
    }

    fn state(&mut self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        let states = ids.iter().map(|id| self.state_of(*id)).collect::<Result<Vec<_>>>()?;
        (0..self.state_columns())
            .map(|index| {
                let states = states.iter().filter_map(|state| state.get(index).cloned());
                column(states.collect(), || Ok(ScalarValue::Null))
            })
            .collect()
    }

    fn restore(&mut self, ids: &[u32], state: &[ArrayRef]) -> Result<()> {
        for (row, id) in ids.iter().enumerate() {
            let state: Vec<ArrayRef> = state.iter().map(|column| column.slice(row, 1)).collect();
            let merged = self.group(*id)?.merge_batch(&state);
            merged.map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Option<Box<dyn Accumulator>>>() + self.held_bytes
    }
}

/// Puts values into a column; `example` gives the type where there are none.
fn column(
    values: Vec<ScalarValue>,
    example: impl FnOnce() -> Result<ScalarValue>,
) -> Result<ArrayRef> {
    let made = if values.is_empty() {
        example()?.to_array_of_size(0)
    } else {
        ScalarValue::iter_to_array(values)
    };
    made.map_err(|error| Error::compute("put results into a column", error))
}
