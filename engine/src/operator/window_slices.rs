//! The groups of each slice, and how windows are read from them.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;

use super::aggregate::Arguments;
use super::partial_groups::{Grouping, PartialGroups};
use super::window::{Rows, Span};
use crate::{Error, Result};

/// Sealed parts that a slice may gather, one a barrier, before they are merged into one.
const PARTS_MAX: usize = 16;

/// The groups of one slice: parts that were sealed, oldest first, and the one that takes rows.
#[derive(Default)]
struct Slice {
    parts: Vec<RecordBatch>,
    open: Option<PartialGroups>,
}

impl Slice {
    fn seal(&mut self, grouping: &Grouping) -> Result<()> {
        if let Some(open) = self.open.take() {
            self.parts.push(open.seal(grouping)?);
        }
        if self.parts.len() > PARTS_MAX {
            let merged = merge(grouping, self.parts.iter())?.seal(grouping)?;
            self.parts = vec![merged];
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        let parts: usize = self.parts.iter().map(RecordBatch::get_array_memory_size).sum();
        parts + self.open.as_ref().map_or(0, PartialGroups::memory_bytes)
    }
}

fn merge<'a>(
    grouping: &Grouping,
    parts: impl Iterator<Item = &'a RecordBatch>,
) -> Result<PartialGroups> {
    let mut merged = PartialGroups::new(grouping)?;
    for part in parts {
        merged.merge(grouping, part)?;
    }
    Ok(merged)
}

/// Slices by their span.
///
/// Reading a slice's accumulators consumes them, so they are sealed into immutable parts first,
/// unless it is the last time that they are read.
pub(super) struct Slices {
    grouping: Grouping,
    slices: BTreeMap<Span, Slice>,
}

impl Slices {
    /// Starts without slices.
    pub(super) fn new(grouping: Grouping) -> Self {
        Self { grouping, slices: BTreeMap::new() }
    }

    /// Returns what is grouped by and aggregated.
    pub(super) fn grouping(&self) -> &Grouping {
        &self.grouping
    }

    /// Adds rows to a slice and tells whether it is new.
    pub(super) fn update(
        &mut self,
        span: Span,
        rows: &Rows,
        keys: &[ArrayRef],
        arguments: &[Arguments],
    ) -> Result<bool> {
        let new = !self.slices.contains_key(&span);
        let open = &mut self.slices.entry(span).or_default().open;
        let groups = match open {
            Some(groups) => groups,
            None => open.insert(PartialGroups::new(&self.grouping)?),
        };
        let keys = keys.iter().map(|key| rows.pick(key)).collect::<Result<Vec<_>>>()?;
        let arguments =
            arguments.iter().map(|argument| argument.pick(rows)).collect::<Result<Vec<_>>>()?;
        groups.update(&self.grouping, rows.len(), &keys, &arguments)?;
        Ok(new)
    }

    /// Adds a sealed part to a slice.
    pub(super) fn add_part(&mut self, span: Span, part: RecordBatch) {
        self.slices.entry(span).or_default().parts.push(part);
    }

    /// Returns the slices that lie within a window, in order.
    pub(super) fn within(&self, window: Span) -> Vec<Span> {
        let after = Span { end: window.start.saturating_add(1), start: i64::MIN };
        let last = Span { end: window.end, start: i64::MAX };
        let found = self.slices.range(after..=last).map(|(span, _)| *span);
        found.filter(|span| span.start >= window.start).collect()
    }

    /// Merges slices that are read for the last time into columns of keys and results, with their
    /// number of rows.
    pub(super) fn take(&mut self, spans: &[Span]) -> Result<(Vec<ArrayRef>, usize)> {
        let mut taken: Vec<Slice> =
            spans.iter().filter_map(|span| self.slices.remove(span)).collect();
        if let [slice] = taken.as_mut_slice()
            && slice.parts.is_empty()
            && let Some(groups) = slice.open.take()
        {
            return groups.finish(&self.grouping);
        }
        for slice in &mut taken {
            slice.seal(&self.grouping)?;
        }
        let parts = taken.iter().flat_map(|slice| &slice.parts);
        merge(&self.grouping, parts)?.finish(&self.grouping)
    }

    /// Merges slices that will be read again into columns of keys and results, with their number
    /// of rows.
    pub(super) fn read(&mut self, spans: &[Span]) -> Result<(Vec<ArrayRef>, usize)> {
        for span in spans {
            if let Some(slice) = self.slices.get_mut(span) {
                slice.seal(&self.grouping)?;
            }
        }
        let parts = spans.iter().filter_map(|span| self.slices.get(span));
        merge(&self.grouping, parts.flat_map(|slice| &slice.parts))?.finish(&self.grouping)
    }

    /// Puts what slices hold into the first of them, for windows that all have them in common.
    pub(super) fn combine(&mut self, spans: &[Span]) -> Result<()> {
        let [first, _, ..] = spans else { return Ok(()) };
        let mut parts = Vec::new();
        for span in spans {
            let Some(mut slice) = self.slices.remove(span) else { continue };
            slice.seal(&self.grouping)?;
            parts.append(&mut slice.parts);
        }
        let part = merge(&self.grouping, parts.iter())?.seal(&self.grouping)?;
        self.add_part(*first, part);
        Ok(())
    }

    /// Drops slices.
    pub(super) fn remove(&mut self, spans: &[Span]) {
        for span in spans {
            self.slices.remove(span);
        }
    }

    /// Returns all that is held, a sealed part per slice.
    pub(super) fn sealed(&mut self) -> Result<Vec<(Span, RecordBatch)>> {
        let mut sealed = Vec::with_capacity(self.slices.len());
        for (span, slice) in &mut self.slices {
            slice.seal(&self.grouping)?;
            let Some(first) = slice.parts.first() else { continue };
            let part = match slice.parts.as_slice() {
                [part] => part.clone(),
                parts => concat_batches(&first.schema(), parts)
                    .map_err(|error| Error::compute("put the parts of a slice together", error))?,
            };
            sealed.push((*span, part));
        }
        Ok(sealed)
    }

    /// Returns an estimate of the bytes that it holds.
    pub(super) fn memory_bytes(&self) -> usize {
        self.slices.values().map(Slice::memory_bytes).sum()
    }
}
