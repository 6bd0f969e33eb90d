//! MIN and MAX of rows that may be taken back.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use arrow::array::ArrayRef;

use super::values::Values;
use super::{Column, lists, unlist};
use crate::Result;

/// Entries that a node of a tree has room for, and how many of them are mostly used: nodes are cut
/// in halves, and values mostly come in some order.
const NODE_ENTRIES: usize = 11;
const NODE_ENTRIES_USED: usize = 6;
/// What a node takes beside its entries, with its part of the nodes above, in bytes.
const NODE_BYTES: usize = 40;

/// Keeps all values in order, each with its count.
pub(super) struct Ordered<V: Values> {
    values: V,
    groups: Vec<BTreeMap<V::Owned, i64>>,
    better: Ordering,
    held_bytes: usize,
}

impl<V: Values> Ordered<V> {
    /// The result is the value that is `better` than all others.
    pub(super) fn new(values: V, better: Ordering) -> Self {
        Self { values, groups: Vec::new(), better, held_bytes: 0 }
    }

    /// Estimates what a tree of so many entries takes, without what they have on the heap.
    fn tree_bytes(entries: usize) -> usize {
        let nodes = match entries {
            0 => 0,
            1..=NODE_ENTRIES => 1,
            more => more.div_ceil(NODE_ENTRIES_USED),
        };
        nodes * (NODE_ENTRIES * (size_of::<V::Owned>() + size_of::<i64>()) + NODE_BYTES)
    }

    /// Adds to the count of a value. Counts may be negative for a while, when a row is taken
    /// back before it has come.
    fn add(&mut self, ids: &[u32], args: &[ArrayRef], count: impl Fn(usize) -> i64) -> Result<()> {
        let (groups, held_bytes) = (&mut self.groups, &mut self.held_bytes);
        self.values.each(args, |row, value| {
            let (Some(value), weight) = (value, count(row)) else { return };
            if weight == 0 {
                return;
            }
            let group = &mut groups[ids[row] as usize];
            let before = group.len();
            match group.get_mut(value) {
                Some(count) if *count + weight == 0 => {
                    group.remove(value);
                    *held_bytes -= V::heap_bytes(value);
                }
                Some(count) => *count += weight,
                None => {
                    group.insert(value.into(), weight);
                    *held_bytes += V::heap_bytes(value);
                }
            }
            *held_bytes += Self::tree_bytes(group.len());
            *held_bytes -= Self::tree_bytes(before);
        })
    }

    fn best(&self, id: u32) -> Option<&V::Owned> {
        let mut entries = self.groups[id as usize].iter();
        let held = |entry: &(&V::Owned, &i64)| *entry.1 > 0;
        let best = match self.better {
            Ordering::Greater => entries.rfind(held),
            _ => entries.find(held),
        };
        best.map(|(value, _)| value)
    }
}

impl<V: Values> Column for Ordered<V> {
    fn grow(&mut self, groups: usize) {
        self.groups.resize_with(groups, BTreeMap::new);
    }

    fn update(&mut self, ids: &[u32], args: &[ArrayRef], weights: Option<&[i8]>) -> Result<()> {
        self.add(ids, args, |row| weights.map_or(1, |weights| i64::from(weights[row])))
    }

    fn read(&mut self, ids: &[u32]) -> Result<ArrayRef> {
        self.values.array(ids.iter().map(|id| self.best(*id)))
    }

    fn is_zero(&self, id: u32) -> bool {
        self.groups[id as usize].is_empty()
    }

    fn free(&mut self, ids: &[u32]) {
        for id in ids {
            let tree = std::mem::take(&mut self.groups[*id as usize]);
            self.held_bytes -= Self::tree_bytes(tree.len());
            for value in tree.keys() {
                self.held_bytes -= V::heap_bytes(value.borrow());
            }
        }
    }

    fn state_columns(&self) -> usize {
        2
    }

    fn state(&mut self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        let groups = || ids.iter().map(|id| &self.groups[*id as usize]);
        let lengths = groups().map(BTreeMap::len).collect();
        let values = self.values.array(groups().flat_map(BTreeMap::keys).map(Some))?;
        Ok(lists(lengths, values, groups().flat_map(BTreeMap::values).copied().collect()))
    }

    fn restore(&mut self, ids: &[u32], state: &[ArrayRef]) -> Result<()> {
        let (values, counts, groups) = unlist(ids, state)?;
        self.add(&groups, &[values], |row| counts.value(row))
    }

    fn memory_bytes(&self) -> usize {
        self.groups.capacity() * size_of::<BTreeMap<V::Owned, i64>>() + self.held_bytes
    }
}
