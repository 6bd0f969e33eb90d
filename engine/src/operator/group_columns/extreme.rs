//! MIN and MAX of rows that are never taken back.

use std::borrow::Borrow;
use std::cmp::Ordering;

use arrow::array::ArrayRef;

use super::Column;
use super::values::Values;
use crate::{Error, Result};

/// Keeps the least or greatest value.
pub(super) struct Extreme<V: Values> {
    values: V,
    best: Vec<Option<V::Owned>>,
    /// How a value compares with the best one that takes its place.
    better: Ordering,
    heap_bytes: usize,
}

impl<V: Values> Extreme<V> {
    /// Keeps the value that is `better` than all others.
    pub(super) fn new(values: V, better: Ordering) -> Self {
        Self { values, best: Vec::new(), better, heap_bytes: 0 }
    }

    fn held_bytes(value: Option<&V::Owned>) -> usize {
        value.map_or(0, |value| V::heap_bytes(value.borrow()))
    }
}

impl<V: Values> Column for Extreme<V> {
    fn grow(&mut self, groups: usize) {
        self.best.resize_with(groups, || None);
    }

    fn update(&mut self, ids: &[u32], args: &[ArrayRef], weights: Option<&[i8]>) -> Result<()> {
        let (best, better, heap_bytes) = (&mut self.best, self.better, &mut self.heap_bytes);
        self.values.each(args, |row, value| {
            let Some(value) = value else { return };
            if weights.is_some_and(|weights| weights[row] == 0) {
                return;
            }
            let best = &mut best[ids[row] as usize];
            if best.as_ref().is_none_or(|best| value.cmp(best.borrow()) == better) {
                *heap_bytes += V::heap_bytes(value);
                *heap_bytes -= Self::held_bytes(best.as_ref());
                *best = Some(value.into());
            }
        })
    }

    fn read(&mut self, ids: &[u32]) -> Result<ArrayRef> {
        self.values.array(ids.iter().map(|id| self.best[*id as usize].as_ref()))
    }

    fn is_zero(&self, id: u32) -> bool {
        self.best[id as usize].is_none()
    }

    fn free(&mut self, ids: &[u32]) {
        for id in ids {
            let freed = self.best[*id as usize].take();
            self.heap_bytes -= Self::held_bytes(freed.as_ref());
        }
    }

    fn state_columns(&self) -> usize {
        1
    }

    fn state(&mut self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.read(ids)?])
    }

    fn restore(&mut self, ids: &[u32], state: &[ArrayRef]) -> Result<()> {
        if state.len() != 1 {
            return Err(Error::Internal("an extreme has one column of state".to_owned()));
        }
        self.update(ids, state, None)
    }

    fn memory_bytes(&self) -> usize {
        self.best.capacity() * size_of::<Option<V::Owned>>() + self.heap_bytes
    }
}
