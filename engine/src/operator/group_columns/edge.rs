//! FIRST_VALUE and LAST_VALUE in the order in which rows come.

use std::borrow::Borrow;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};

use super::values::Values;
use super::{Column, misfit};
use crate::{Error, Result};

/// Keeps the first or last value.
pub(super) struct Edge<V: Values> {
    values: V,
    held: Vec<Option<V::Owned>>,
    /// Whether a group has a value, null being one unless nulls are ignored.
    seen: Vec<bool>,
    last: bool,
    nulls: bool,
    heap_bytes: usize,
}

impl<V: Values> Edge<V> {
    /// Keeps the `last` or else the first value, `nulls` among them or not.
    pub(super) fn new(values: V, last: bool, nulls: bool) -> Self {
        Self { values, held: Vec::new(), seen: Vec::new(), last, nulls, heap_bytes: 0 }
    }

    fn held_bytes(value: Option<&V::Owned>) -> usize {
        value.map_or(0, |value| V::heap_bytes(value.borrow()))
    }

    fn put(
        &mut self,
        ids: &[u32],
        args: &[ArrayRef],
        takes: impl Fn(usize, bool) -> bool,
    ) -> Result<()> {
        let (held, seen, heap_bytes) = (&mut self.held, &mut self.seen, &mut self.heap_bytes);
        let last = self.last;
        self.values.each(args, |row, value| {
            let id = ids[row] as usize;
            if !takes(row, value.is_none()) || (seen[id] && !last) {
                return;
            }
            seen[id] = true;
            *heap_bytes += value.map_or(0, V::heap_bytes);
            *heap_bytes -= Self::held_bytes(held[id].as_ref());
            held[id] = value.map(V::Owned::from);
        })
    }
}

impl<V: Values> Column for Edge<V> {
    fn grow(&mut self, groups: usize) {
        self.held.resize_with(groups, || None);
        self.seen.resize(groups, false);
    }

    fn update(&mut self, ids: &[u32], args: &[ArrayRef], weights: Option<&[i8]>) -> Result<()> {
        let nulls = self.nulls;
        self.put(ids, args, |row, null| {
            weights.is_none_or(|weights| weights[row] != 0) && (nulls || !null)
        })
    }

    fn read(&mut self, ids: &[u32]) -> Result<ArrayRef> {
        self.values.array(ids.iter().map(|id| self.held[*id as usize].as_ref()))
    }

    fn is_zero(&self, id: u32) -> bool {
        !self.seen[id as usize]
    }

    fn free(&mut self, ids: &[u32]) {
        for id in ids {
            let freed = self.held[*id as usize].take();
            self.heap_bytes -= Self::held_bytes(freed.as_ref());
            self.seen[*id as usize] = false;
        }
    }

    fn state_columns(&self) -> usize {
        2
    }

    fn state(&mut self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        let seen: BooleanArray = ids.iter().map(|id| Some(self.seen[*id as usize])).collect();
        Ok(vec![self.read(ids)?, Arc::new(seen)])
    }

    fn restore(&mut self, ids: &[u32], state: &[ArrayRef]) -> Result<()> {
        let [values, seen] = state else {
            return Err(Error::Internal("an edge has two columns of state".to_owned()));
        };
        let seen = seen.as_boolean_opt().ok_or_else(|| misfit("a flag", seen))?;
        self.put(ids, std::slice::from_ref(values), |row, _| seen.value(row))
    }

    fn memory_bytes(&self) -> usize {
        self.held.capacity() * (size_of::<Option<V::Owned>>() + 1) + self.heap_bytes
    }
}
