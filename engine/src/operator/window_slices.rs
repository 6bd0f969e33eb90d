//! The groups of each slice, and how windows are read from them.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Int64Type};

use super::aggregate::Arguments;
use super::partial_groups::{Grouping, PartialGroups, part};
use super::window::{Rows, Span, divide};
use crate::hash::{hash_columns, key_group};
use crate::held::held_bytes;
use crate::state::{StateReader, StateWriter};
use crate::{Error, Result};

const VERSION: u16 = 2;
/// Columns of the state before those of a part: the slice's start and end.
const SPAN_COLUMNS: usize = 2;
/// Sealed parts that a slice may gather, one a barrier, before they are merged into one.
const PARTS_MAX: usize = 16;

/// The groups of one slice: parts that were sealed, oldest first, and the one that takes rows.
#[derive(Default)]
struct Slice {
    parts: Vec<RecordBatch>,
    /// What the parts hold: they are measured as they come, not at each batch.
    parts_bytes: usize,
    open: Option<PartialGroups>,
    held_bytes: usize,
}

impl Slice {
    fn open(&mut self, grouping: &Grouping) -> Result<&mut PartialGroups> {
        match &mut self.open {
            Some(groups) => Ok(groups),
            open => Ok(open.insert(PartialGroups::new(grouping)?)),
        }
    }

    fn seal(&mut self, grouping: &Grouping) -> Result<()> {
        if let Some(open) = self.open.take() {
            self.add_part(open.seal(grouping)?);
        }
        if self.parts.len() > PARTS_MAX {
            let merged = merge(grouping, self.parts.drain(..))?.seal(grouping)?;
            self.parts_bytes = 0;
            self.add_part(merged);
        }
        Ok(())
    }

    fn add_part(&mut self, part: RecordBatch) {
        self.parts_bytes += held_bytes(&part);
        self.parts.push(part);
    }

    /// Measures what is held anew and returns by how much it has grown.
    fn measure(&mut self) -> isize {
        let open = self.open.as_ref().map_or(0, PartialGroups::memory_bytes);
        let before = std::mem::replace(&mut self.held_bytes, self.parts_bytes + open);
        self.held_bytes as isize - before as isize
    }
}

/// Merges parts, of which each may go once it has been read.
fn merge<P: Borrow<RecordBatch>>(
    grouping: &Grouping,
    parts: impl Iterator<Item = P>,
) -> Result<PartialGroups> {
    let mut merged = PartialGroups::new(grouping)?;
    for part in parts {
        let part: &RecordBatch = part.borrow();
        merged.merge(grouping, part.num_rows(), part.columns())?;
    }
    Ok(merged)
}

/// Slices by their span.
///
/// Reading a slice's accumulators consumes them, so they are sealed into immutable parts first,
/// unless it is the last time that they are read.
pub(super) struct Slices {
    grouping: Grouping,
    by_span: BTreeMap<Span, Slice>,
    held_bytes: usize,
    fired_bytes: usize,
}

impl Slices {
    /// Starts without slices.
    pub(super) fn new(grouping: Grouping) -> Self {
        Self { grouping, by_span: BTreeMap::new(), held_bytes: 0, fired_bytes: 0 }
    }

    /// Returns what is grouped by and aggregated.
    pub(super) fn grouping(&self) -> &Grouping {
        &self.grouping
    }

    /// Tells whether there is a slice.
    pub(super) fn contains(&self, span: Span) -> bool {
        self.by_span.contains_key(&span)
    }

    /// Adds rows to a slice.
    pub(super) fn update(
        &mut self,
        span: Span,
        rows: &Rows,
        keys: &[ArrayRef],
        arguments: &[Arguments],
    ) -> Result<()> {
        let keys = keys.iter().map(|key| rows.pick(key)).collect::<Result<Vec<_>>>()?;
        let arguments =
            arguments.iter().map(|argument| argument.pick(rows)).collect::<Result<Vec<_>>>()?;
        self.change(span, |slice, grouping| {
            slice.open(grouping)?.update(grouping, rows.len(), &keys, &arguments)
        })
    }

    /// Adds rows of sealed groups, keys and states, to a slice.
    pub(super) fn merge(&mut self, span: Span, rows: &Rows, part: &[ArrayRef]) -> Result<()> {
        let part = part.iter().map(|column| rows.pick(column)).collect::<Result<Vec<_>>>()?;
        self.change(span, |slice, grouping| {
            slice.open(grouping)?.merge(grouping, rows.len(), &part)
        })
    }

    /// Adds a sealed part to a slice.
    fn add_part(&mut self, span: Span, part: RecordBatch) -> Result<()> {
        self.change(span, |slice, _| {
            slice.add_part(part);
            Ok(())
        })
    }

    fn change(
        &mut self,
        span: Span,
        change: impl FnOnce(&mut Slice, &Grouping) -> Result<()>,
    ) -> Result<()> {
        let slice = self.by_span.entry(span).or_default();
        change(slice, &self.grouping)?;
        self.held_bytes = self.held_bytes.saturating_add_signed(slice.measure());
        Ok(())
    }

    fn remove_one(&mut self, span: Span) -> Option<Slice> {
        let slice = self.by_span.remove(&span)?;
        self.held_bytes -= slice.held_bytes;
        Some(slice)
    }

    /// Returns the slices that lie within a window, in order.
    pub(super) fn within(&self, window: Span) -> Vec<Span> {
        let after = Span { end: window.start.saturating_add(1), start: i64::MIN };
        let last = Span { end: window.end, start: i64::MAX };
        let found = self.by_span.range(after..=last).map(|(span, _)| *span);
        found.filter(|span| span.start >= window.start).collect()
    }

    /// Returns the first slice.
    pub(super) fn first(&self) -> Option<Span> {
        self.by_span.first_key_value().map(|(span, _)| *span)
    }

    /// Merges slices that are read for the last time into columns of keys and results, with their
    /// number of rows.
    pub(super) fn take(&mut self, spans: &[Span]) -> Result<(Vec<ArrayRef>, usize)> {
        let merged = self.take_groups(spans)?;
        // The groups, and what they come from or become.
        self.fired_bytes = 2 * merged.memory_bytes();
        merged.finish(&self.grouping)
    }

    /// Takes a slice out, as one sealed part.
    pub(super) fn take_part(&mut self, span: Span) -> Result<RecordBatch> {
        let merged = self.take_groups(&[span])?;
        merged.seal(&self.grouping)
    }

    fn take_groups(&mut self, spans: &[Span]) -> Result<PartialGroups> {
        let mut taken: Vec<Slice> =
            spans.iter().filter_map(|span| self.remove_one(*span)).collect();
        if let [slice] = taken.as_mut_slice()
            && slice.parts.is_empty()
            && let Some(groups) = slice.open.take()
        {
            return Ok(groups);
        }
        for slice in &mut taken {
            slice.seal(&self.grouping)?;
        }
        merge(&self.grouping, taken.into_iter().flat_map(|slice| slice.parts))
    }

    /// Merges slices that will be read again into columns of keys and results, with their number
    /// of rows.
    pub(super) fn read(&mut self, spans: &[Span]) -> Result<(Vec<ArrayRef>, usize)> {
        for span in spans {
            self.change(*span, Slice::seal)?;
        }
        let parts = spans.iter().filter_map(|span| self.by_span.get(span));
        let merged = merge(&self.grouping, parts.flat_map(|slice| &slice.parts))?;
        // The groups, and what they come from or become.
        self.fired_bytes = 2 * merged.memory_bytes();
        merged.finish(&self.grouping)
    }

    /// Returns what was taken to make the last results, and forgets it.
    pub(super) fn take_fired_bytes(&mut self) -> usize {
        std::mem::take(&mut self.fired_bytes)
    }

    /// Puts what slices hold into the first of them, for windows that all have them in common.
    pub(super) fn combine(&mut self, spans: &[Span]) -> Result<()> {
        let [first, _, ..] = spans else { return Ok(()) };
        let part = self.take_groups(spans)?.seal(&self.grouping)?;
        self.add_part(*first, part)
    }

    /// Drops slices.
    pub(super) fn remove(&mut self, spans: &[Span]) {
        for span in spans {
            self.remove_one(*span);
        }
    }

    /// Returns an estimate of the bytes that it holds.
    pub(super) fn memory_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Writes all slices, sealed.
    pub(super) fn snapshot(
        &mut self,
        writer: &mut StateWriter,
        key_group_count: u16,
    ) -> Result<()> {
        let spans: Vec<Span> = self.by_span.keys().copied().collect();
        let mut parts = Vec::new();
        for span in spans {
            self.change(span, Slice::seal)?;
            for part in self.by_span.get(&span).into_iter().flat_map(|slice| &slice.parts) {
                parts.push(with_span(span, part)?);
            }
        }
        let Some(first) = parts.first() else { return Ok(()) };
        let rows = concat_batches(&first.schema(), &parts)
            .map_err(|error| Error::compute("put slices together", error))?;
        let keys = &rows.columns()[SPAN_COLUMNS..SPAN_COLUMNS + self.grouping.num_keys()];
        let key_groups = if keys.is_empty() {
            vec![0; rows.num_rows()]
        } else {
            let mut hashes = Vec::new();
            hash_columns(keys, &mut hashes)?;
            hashes.into_iter().map(|hash| key_group(hash, key_group_count)).collect()
        };
        writer.keyed("slices", VERSION, rows, key_groups);
        Ok(())
    }

    /// Takes slices back that were written, and returns them, some maybe more than once.
    pub(super) fn restore(&mut self, state: &StateReader) -> Result<Vec<Span>> {
        let mut restored = Vec::new();
        for rows in state.keyed("slices", VERSION)? {
            let (starts, ends) = (numbers(&rows, 0)?, numbers(&rows, 1)?);
            let (spans, _) = divide(rows.num_rows(), |row, _| {
                Some(Span { end: ends.value(row), start: starts.value(row) })
            });
            for (span, picked) in spans {
                let columns = rows.columns()[SPAN_COLUMNS..].iter();
                // Copied, so that a slice that is done with does not stay for the others' sake.
                let columns = columns.map(|column| picked.copy(column)).collect::<Result<_>>()?;
                self.add_part(span, part(columns, picked.len())?)?;
                restored.push(span);
            }
        }
        Ok(restored)
    }
}

/// Puts the span before a part's columns.
fn with_span(span: Span, rows: &RecordBatch) -> Result<RecordBatch> {
    let count = rows.num_rows();
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_value(span.start, count)),
        Arc::new(Int64Array::from_value(span.end, count)),
    ];
    columns.extend(rows.columns().iter().cloned());
    part(columns, count)
}

/// Returns a column of the state that must be of 64-bit integers.
pub(super) fn numbers(rows: &RecordBatch, index: usize) -> Result<Int64Array> {
    let found = rows.columns().get(index).cloned();
    found
        .filter(|column| column.data_type() == &DataType::Int64)
        .map(|column| column.as_primitive::<Int64Type>().clone())
        .ok_or_else(|| Error::Restore {
            what: "WindowAggregate".to_owned(),
            reason: format!("state column {index} is not a number"),
        })
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::super::testing::schema;
    use super::*;

    #[test]
    fn what_is_held_is_what_the_parts_hold_however_they_came() {
        let grouping = Grouping::new(&[0], &[], &schema("k:int")).expect("a grouping");
        let mut slices = Slices::new(grouping);
        let keys = |range: Range<i64>| {
            part(vec![Arc::new(Int64Array::from_iter_values(range))], 100).expect("keys")
        };
        let spans = [Span { end: 10, start: 0 }, Span { end: 20, start: 10 }];
        for turn in 0..=PARTS_MAX as i64 {
            slices.add_part(spans[0], keys(turn * 50..turn * 50 + 100)).expect("is added");
        }
        slices.add_part(spans[1], keys(0..100)).expect("is added");
        let held = |slices: &Slices| -> usize {
            slices.by_span.values().flat_map(|slice| &slice.parts).map(held_bytes).sum()
        };
        assert_eq!(slices.memory_bytes(), held(&slices));
        slices.read(&spans[..1]).expect("is read");
        assert_eq!(slices.by_span[&spans[0]].parts.len(), 1, "too many parts are merged");
        assert_eq!(slices.memory_bytes(), held(&slices));
        slices.combine(&spans).expect("is combined");
        assert_eq!(slices.memory_bytes(), held(&slices));
        slices.remove(&spans);
        assert_eq!(slices.memory_bytes(), 0);
    }
}
