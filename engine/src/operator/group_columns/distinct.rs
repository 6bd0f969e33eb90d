//! DISTINCT before an aggregate that can take values back.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take_arrays;
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::values::Values;
use super::{Column, lists, unlist};
use crate::held::hash_table_bytes;
use crate::{Error, Result};

/// Counts each group's values, and hands a value on when it appears and when it disappears.
pub(super) struct Distinct<V: Values> {
    values: V,
    counts: Counts<V>,
    inner: Box<dyn Column>,
}

/// The values of all groups with their counts. One table for all takes less than one each.
struct Counts<V: Values> {
    entries: HashTable<Held<V::Owned>>,
    hasher: DefaultHashBuilder,
    /// The number of values held of each group.
    of_group: Vec<u32>,
    heap_bytes: usize,
}

struct Held<T> {
    id: u32,
    value: T,
    count: i64,
}

impl<V: Values> Counts<V> {
    /// Adds to a value's count and returns the count before and after.
    fn add(&mut self, id: u32, value: &V::Borrowed, weight: i64) -> (i64, i64) {
        let hasher = &self.hasher;
        let hash = |id: u32, value: &V::Borrowed| hasher.hash_one((id, Keyed(value)));
        let entry = self.entries.entry(
            hash(id, value),
            |held| held.id == id && held.value.borrow() == value,
            |held| hash(held.id, held.value.borrow()),
        );
        match entry {
            Entry::Occupied(mut entry) => {
                let before = entry.get().count;
                entry.get_mut().count += weight;
                if before + weight == 0 {
                    self.heap_bytes -= V::heap_bytes(value);
                    self.of_group[id as usize] -= 1;
                    entry.remove();
                }
                (before, before + weight)
            }
            Entry::Vacant(entry) => {
                self.heap_bytes += V::heap_bytes(value);
                self.of_group[id as usize] += 1;
                entry.insert(Held { id, value: value.into(), count: weight });
                (0, weight)
            }
        }
    }
}

impl<V: Values> Counts<V> {
    /// Forgets the values of groups. All are looked through for them, once.
    fn free(&mut self, ids: &[u32]) {
        if ids.iter().all(|id| self.of_group[*id as usize] == 0) {
            return;
        }
        for id in ids {
            self.of_group[*id as usize] = 0;
        }
        let (of_group, heap_bytes) = (&self.of_group, &mut self.heap_bytes);
        self.entries.retain(|held| {
            let kept = of_group[held.id as usize] > 0;
            if !kept {
                *heap_bytes -= V::heap_bytes(held.value.borrow());
            }
            kept
        });
    }
}

/// Makes an unsized value hashable in a tuple.
struct Keyed<'a, T: ?Sized>(&'a T);

impl<T: Hash + ?Sized> Hash for Keyed<'_, T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<V: Values> Distinct<V> {
    /// Hands distinct values on to `inner`.
    pub(super) fn new(values: V, inner: Box<dyn Column>) -> Self {
        let counts = Counts {
            entries: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            of_group: Vec::new(),
            heap_bytes: 0,
        };
        Self { values, counts, inner }
    }
}

impl<V: Values> Column for Distinct<V> {
    fn grow(&mut self, groups: usize) {
        self.counts.of_group.resize(groups, 0);
        self.inner.grow(groups);
    }

    fn update(&mut self, ids: &[u32], args: &[ArrayRef], weights: Option<&[i8]>) -> Result<()> {
        let (mut rows, mut groups, mut changes) = (Vec::new(), Vec::new(), Vec::new());
        let counts = &mut self.counts;
        self.values.each(args, |row, value| {
            let weight = weights.map_or(1, |weights| weights[row]);
            let Some(value) = value.filter(|_| weight != 0) else { return };
            let (before, after) = counts.add(ids[row], value, i64::from(weight));
            if (before > 0) != (after > 0) {
                rows.push(row as u32);
                groups.push(ids[row]);
                changes.push(if after > 0 { 1 } else { -1 });
            }
        })?;
        if rows.is_empty() {
            return Ok(());
        }
        let args = take_arrays(args, &UInt32Array::from(rows), None)
            .map_err(|error| Error::compute("gather distinct values", error))?;
        self.inner.update(&groups, &args, Some(&changes))
    }

    fn read(&mut self, ids: &[u32]) -> Result<ArrayRef> {
        self.inner.read(ids)
    }

    fn is_zero(&self, id: u32) -> bool {
        self.counts.of_group[id as usize] == 0 && self.inner.is_zero(id)
    }

    fn free(&mut self, ids: &[u32]) {
        self.counts.free(ids);
        self.inner.free(ids);
    }

    fn state_columns(&self) -> usize {
        2 + self.inner.state_columns()
    }

    fn state(&mut self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        let bound = ids.iter().max().map_or(0, |id| *id as usize + 1);
        let mut places = vec![None; bound];
        for (place, id) in ids.iter().enumerate() {
            places[*id as usize] = Some(place);
        }
        let place = |held: &Held<V::Owned>| places.get(held.id as usize).copied().flatten();
        let mut found: Vec<(usize, &Held<V::Owned>)> = self
            .counts
            .entries
            .iter()
            .filter_map(|held| place(held).map(|place| (place, held)))
            .collect();
        found.sort_unstable_by(|left, right| {
            left.0.cmp(&right.0).then_with(|| left.1.value.cmp(&right.1.value))
        });
        let mut lengths = vec![0; ids.len()];
        for (place, _) in &found {
            lengths[*place] += 1;
        }
        let values = self.values.array(found.iter().map(|(_, held)| Some(&held.value)))?;
        let counts = found.iter().map(|(_, held)| held.count).collect();
        let mut state = lists(lengths, values, counts);
        state.extend(self.inner.state(ids)?);
        Ok(state)
    }

    fn restore(&mut self, ids: &[u32], state: &[ArrayRef]) -> Result<()> {
        let (values, counts, groups) = unlist(ids, state)?;
        let held = &mut self.counts;
        self.values.each(&[values], |row, value| {
            if let Some(value) = value {
                held.add(groups[row], value, counts.value(row));
            }
        })?;
        self.inner.restore(ids, &state[2..])
    }

    fn memory_bytes(&self) -> usize {
        hash_table_bytes(self.counts.entries.capacity(), size_of::<Held<V::Owned>>())
            + self.counts.of_group.capacity() * size_of::<u32>()
            + self.counts.heap_bytes
            + self.inner.memory_bytes()
    }
}
