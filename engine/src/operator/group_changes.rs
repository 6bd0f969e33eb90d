//! What a flush emits: the difference between the rows emitted before and the present ones.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array, make_comparator};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{SortOptions, concat, interleave, or, take};

use crate::{Error, Result};

/// The results of groups as they were emitted, of those that have changed since.
pub(super) struct Before {
    ids: Vec<u32>,
    /// By aggregate, then in the order in which they were kept.
    columns: Vec<Vec<ArrayRef>>,
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
        Self { ids: Vec::new(), columns: vec![Vec::new(); aggregates] }
    }

    /// Keeps the results of groups.
    pub(super) fn push(&mut self, ids: &[u32], columns: Vec<ArrayRef>) {
        self.ids.extend_from_slice(ids);
        for (kept, column) in self.columns.iter_mut().zip(columns) {
            kept.push(column);
        }
    }

    /// Returns the groups whose results are kept, each once.
    pub(super) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Forgets what is kept and returns how it differs from the present: `kept` and `gone` are
    /// the groups kept that have a row or none, in their order, `new` those that had none, and
    /// `after` holds the results of `kept` and then of `new`.
    pub(super) fn take_changes(
        &mut self,
        kept: &[u32],
        gone: &[u32],
        new: &[u32],
        after: Vec<ArrayRef>,
    ) -> Result<Changes> {
        let ids = std::mem::take(&mut self.ids);
        let chunks = self.columns.iter_mut().map(std::mem::take).collect::<Vec<_>>();
        if ids.is_empty() {
            return Ok(Changes { ids: new.to_vec(), columns: after, weights: None });
        }
        let before = chunks.iter().map(join).collect::<Result<Vec<_>>>()?;
        let place: HashMap<u32, usize> =
            ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
        let kept_places: Vec<usize> = kept.iter().map(|id| place[id]).collect();
        let changed = changed(&before, &kept_places, &after)?;

        let mut rows = Rows::default();
        for (index, id) in kept.iter().enumerate() {
            if changed.as_ref().is_some_and(|changed| changed.value(index)) {
                rows.push(*id, (0, kept_places[index]), -1);
                rows.push(*id, (1, index), 1);
            }
        }
        for id in gone {
            rows.push(*id, (0, place[id]), -1);
        }
        for (index, id) in new.iter().enumerate() {
            rows.push(*id, (1, kept.len() + index), 1);
        }
        let columns = before.iter().zip(&after).map(|(before, after)| {
            interleave(&[before.as_ref(), after.as_ref()], &rows.sources)
                .map_err(|error| Error::compute("gather changed results", error))
        });
        let columns = columns.collect::<Result<_>>()?;
        let weights = Some(rows.weights).filter(|weights| weights.contains(&-1));
        Ok(Changes { ids: rows.ids, columns, weights })
    }

    /// Returns an estimate of the bytes that it holds.
    pub(super) fn memory_bytes(&self) -> usize {
        let columns = self.columns.iter().flatten();
        self.ids.capacity() * size_of::<u32>()
            + columns.map(Array::get_array_memory_size).sum::<usize>()
    }
}

/// Rows to gather: the group of each, where its results are (0 before, 1 after, and the place
/// there), and its weight.
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

fn join(chunks: &Vec<ArrayRef>) -> Result<ArrayRef> {
    if let [chunk] = chunks.as_slice() {
        return Ok(Arc::clone(chunk));
    }
    let chunks: Vec<_> = chunks.iter().map(AsRef::as_ref).collect();
    concat(&chunks).map_err(|error| Error::compute("put results together", error))
}

/// Tells for which rows the results at `places` of `before` differ from the first ones of
/// `after`; `None` where there is nothing to differ.
fn changed(
    before: &[ArrayRef],
    places: &[usize],
    after: &[ArrayRef],
) -> Result<Option<BooleanArray>> {
    let failed = |error| Error::compute("compare results", error);
    let places: UInt32Array = places.iter().map(|place| Some(*place as u32)).collect();
    let mut changed: Option<BooleanArray> = None;
    for (before, after) in before.iter().zip(after) {
        let before = take(before, &places, None).map_err(failed)?;
        let differs = differs(&before, &after.slice(0, places.len()))?;
        changed = Some(match changed {
            None => differs,
            Some(changed) => or(&changed, &differs).map_err(failed)?,
        });
    }
    Ok(changed)
}

fn differs(before: &ArrayRef, after: &ArrayRef) -> Result<BooleanArray> {
    if !before.data_type().is_nested() {
        return distinct(before, after).map_err(|error| Error::compute("compare results", error));
    }
    let compare = make_comparator(before, after, SortOptions::default())
        .map_err(|error| Error::compute("compare results", error))?;
    Ok((0..before.len()).map(|row| Some(compare(row, row).is_ne())).collect())
}
