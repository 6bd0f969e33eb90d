//! What a flush emits: the difference between the rows emitted before and the present ones.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, BooleanArray, make_comparator};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{SortOptions, interleave, or};

use crate::{Error, Result};

/// The results of groups as they were emitted, of those that have changed since.
pub(super) struct Before {
    ids: Vec<u32>,
    /// By aggregate, then in the order in which they were kept.
    columns: Vec<Vec<ArrayRef>>,
    /// Where in these columns the results of each group are: which piece, which row.
    places: Vec<(usize, usize)>,
}

/// Rows to emit: results of groups, and weights where some are taken back.
pub(super) struct Changes {
    pub(super) ids: Vec<u32>,
    pub(super) columns: Vec<ArrayRef>,
    pub(super) weights: Option<Vec<i8>>,
}

impl Before {
    /// Starts without results of that many aggregates.
    pub(super) fn new(aggregates: usize) -> Self {
        Self { ids: Vec::new(), columns: vec![Vec::new(); aggregates], places: Vec::new() }
    }

    /// Keeps the results of groups.
    pub(super) fn push(&mut self, ids: &[u32], columns: Vec<ArrayRef>) {
        let piece = self.columns.first().map_or(0, Vec::len);
        self.places.extend((0..ids.len()).map(|row| (piece, row)));
        self.ids.extend_from_slice(ids);
        for (kept, column) in self.columns.iter_mut().zip(columns) {
            kept.push(column);
        }
    }

    /// Returns the groups whose results are kept, each once.
    pub(super) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Takes out all that is kept.
    pub(super) fn take(&mut self) -> Self {
        let aggregates = self.columns.len();
        std::mem::replace(self, Self::new(aggregates))
    }

    /// Returns how some of what is kept differs from the present: `has_row` tells of each of these
    /// groups whether it has a row now, and `after` holds the results of those that do.
    pub(super) fn changes(
        &self,
        range: Range<usize>,
        has_row: &[bool],
        after: &[ArrayRef],
    ) -> Result<Changes> {
        let (ids, places) = (&self.ids[range.clone()], &self.places[range]);
        let kept: Vec<(usize, usize)> =
            places.iter().zip(has_row).filter(|(_, has)| **has).map(|(place, _)| *place).collect();
        let changed = self.changed(&kept, after)?;

        // The present results are the piece behind those that are kept.
        let present = self.columns.first().map_or(0, Vec::len);
        let mut rows = Rows::default();
        let mut index = 0;
        for ((id, place), has_row) in ids.iter().zip(places).zip(has_row) {
            if !has_row {
                rows.push(*id, *place, -1);
                continue;
            }
            if changed.as_ref().is_some_and(|changed| changed.value(index)) {
                rows.push(*id, *place, -1);
                rows.push(*id, (present, index), 1);
            }
            index += 1;
        }
        let columns = self.columns.iter().zip(after).map(|(before, after)| {
            let pieces: Vec<&dyn Array> = before.iter().chain([after]).map(AsRef::as_ref).collect();
            interleave(&pieces, &rows.sources)
                .map_err(|error| Error::compute("gather changed results", error))
        });
        let columns = columns.collect::<Result<_>>()?;
        Ok(Changes { ids: rows.ids, columns, weights: Some(rows.weights) })
    }

    /// Tells which of the results at `places` differ from `after`; `None` where there is nothing
    /// to differ.
    fn changed(
        &self,
        places: &[(usize, usize)],
        after: &[ArrayRef],
    ) -> Result<Option<BooleanArray>> {
        let failed = |error| Error::compute("compare results", error);
        let mut changed: Option<BooleanArray> = None;
        for (before, after) in self.columns.iter().zip(after) {
            let pieces: Vec<&dyn Array> = before.iter().map(AsRef::as_ref).collect();
            let before = interleave(&pieces, places).map_err(failed)?;
            let differs = differs(&before, after)?;
            changed = Some(match changed {
                None => differs,
                Some(changed) => or(&changed, &differs).map_err(failed)?,
            });
        }
        Ok(changed)
    }

    /// Returns an estimate of the bytes that it holds.
    pub(super) fn memory_bytes(&self) -> usize {
        let columns = self.columns.iter().flatten();
        self.ids.capacity() * size_of::<u32>()
            + self.places.capacity() * size_of::<(usize, usize)>()
            + columns.map(Array::get_array_memory_size).sum::<usize>()
    }
}

/// Rows to gather: the group of each, where its results are, and its weight.
#[derive(Default)]
struct Rows {
    ids: Vec<u32>,
    sources: Vec<(usize, usize)>,
    weights: Vec<i8>,
}

impl Rows {
    fn push(&mut self, id: u32, source: (usize, usize), weight: i8) {
        self.ids.push(id);
        self.sources.push(source);
        self.weights.push(weight);
    }
}

fn differs(before: &ArrayRef, after: &ArrayRef) -> Result<BooleanArray> {
    if !before.data_type().is_nested() {
        return distinct(before, after).map_err(|error| Error::compute("compare results", error));
    }
    let compare = make_comparator(before, after, SortOptions::default())
        .map_err(|error| Error::compute("compare results", error))?;
    Ok((0..before.len()).map(|row| Some(compare(row, row).is_ne())).collect())
}
