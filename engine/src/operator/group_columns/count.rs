//! COUNT.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;

use super::{Column, each_row, integers, pick};
use crate::{Error, Result};

/// Counts the rows of which no argument is null.
#[derive(Default)]
pub(super) struct Count {
    counts: Vec<i64>,
}

impl Column for Count {
    fn grow(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
    }

    fn update(&mut self, ids: &[u32], args: &[ArrayRef], weights: Option<&[i8]>) -> Result<()> {
        let nulls = args.iter().filter(|arg| Array::is_nullable(*arg)).fold(None, |nulls, arg| {
            NullBuffer::union(nulls.as_ref(), arg.logical_nulls().as_ref())
        });
        each_row(ids, nulls.as_ref(), weights, |_, id, weight| self.counts[id] += weight);
        Ok(())
    }

    fn read(&mut self, ids: &[u32]) -> Result<ArrayRef> {
        Ok(Arc::new(pick(&self.counts, ids)))
    }

    fn is_zero(&self, id: u32) -> bool {
        self.counts[id as usize] == 0
    }

    fn free(&mut self, ids: &[u32]) {
        for id in ids {
            self.counts[*id as usize] = 0;
        }
    }

    fn state_columns(&self) -> usize {
        1
    }

    fn state(&mut self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(pick(&self.counts, ids))])
    }

    fn restore(&mut self, ids: &[u32], state: &[ArrayRef]) -> Result<()> {
        let [counts] = state else {
            return Err(Error::Internal("a count has one column of state".to_owned()));
        };
        for (id, count) in ids.iter().zip(integers(counts)?.values()) {
            self.counts[*id as usize] = *count;
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<i64>()
    }
}
