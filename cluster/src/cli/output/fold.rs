//! The final rows of a changelog: what is left once everything that was taken back is gone.

use std::collections::HashMap;

use arrow::array::{Int8Array, RecordBatch, UInt32Array};
use arrow::compute::{
    SortColumn as ArrowSortColumn, SortOptions, concat_batches, interleave_record_batch,
    lexsort_to_indices, take_record_batch,
};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use rainstorm_proto::client::RowsStarted;

/// Collects the rows of a bounded result. Rows that are never taken back cost nothing but the
/// memory that they lie in.
pub(crate) struct Fold {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    changes: Option<Changes>,
}

/// The rows that stand, of a result that takes rows back.
struct Changes {
    converter: RowConverter,
    /// Where each row lies in `slots`.
    index: HashMap<OwnedRow, usize>,
    /// A row's place in the batches, and how often it stands; in order of first appearance.
    slots: Vec<(usize, usize, i64)>,
}

impl Fold {
    /// Makes an empty fold of rows with these columns.
    pub(crate) fn new(schema: SchemaRef, retracts: bool) -> Result<Self, ArrowError> {
        let changes = if retracts {
            let fields =
                schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
            let converter = RowConverter::new(fields.collect())?;
            Some(Changes { converter, index: HashMap::new(), slots: Vec::new() })
        } else {
            None
        };
        Ok(Self { schema, batches: Vec::new(), changes })
    }

    /// Adds rows; `weights` has -1 for each that is taken back.
    pub(crate) fn push(
        &mut self,
        rows: RecordBatch,
        weights: Option<&Int8Array>,
    ) -> Result<(), ArrowError> {
        if let Some(changes) = &mut self.changes {
            changes.push(self.batches.len(), &rows, weights)?;
        }
        self.batches.push(rows);
        Ok(())
    }

    /// Returns the rows that stand, sorted, limited and without the columns that only sort.
    pub(crate) fn finish(self, started: &RowsStarted) -> Result<RecordBatch, ArrowError> {
        let rows = match &self.changes {
            None => concat_batches(&self.schema, &self.batches)?,
            Some(changes) => changes.standing(&self.schema, &self.batches)?,
        };
        let rows = sort(rows, started)?;
        let offset = (started.offset as usize).min(rows.num_rows());
        let rest = rows.num_rows() - offset;
        let length = started.limit.map_or(rest, |limit| rest.min(limit as usize));
        let visible = (0..started.visible as usize).collect::<Vec<_>>();
        rows.slice(offset, length).project(&visible)
    }
}

impl Changes {
    fn push(
        &mut self,
        batch: usize,
        rows: &RecordBatch,
        weights: Option<&Int8Array>,
    ) -> Result<(), ArrowError> {
        let keys = self.converter.convert_columns(rows.columns())?;
        for (row, key) in keys.iter().enumerate() {
            let weight = weights.map_or(1, |weights| i64::from(weights.value(row)));
            let next = self.slots.len();
            let slot = *self.index.entry(key.owned()).or_insert(next);
            if slot == next {
                self.slots.push((batch, row, 0));
            }
            self.slots[slot].2 += weight;
        }
        Ok(())
    }

    fn standing(
        &self,
        schema: &SchemaRef,
        batches: &[RecordBatch],
    ) -> Result<RecordBatch, ArrowError> {
        let places = self
            .slots
            .iter()
            .flat_map(|(batch, row, count)| {
                std::iter::repeat_n((*batch, *row), usize::try_from(*count).unwrap_or(0))
            })
            .collect::<Vec<_>>();
        if places.is_empty() {
            return Ok(RecordBatch::new_empty(schema.clone()));
        }
        interleave_record_batch(&batches.iter().collect::<Vec<_>>(), &places)
    }
}

fn sort(rows: RecordBatch, started: &RowsStarted) -> Result<RecordBatch, ArrowError> {
    if started.order_by.is_empty() || rows.num_rows() < 2 {
        return Ok(rows);
    }
    let columns = started
        .order_by
        .iter()
        .map(|sort| ArrowSortColumn {
            values: rows.column(sort.index as usize).clone(),
            options: Some(SortOptions {
                descending: sort.descending,
                nulls_first: sort.nulls_first,
            }),
        })
        .collect::<Vec<_>>();
    let indices: UInt32Array = lexsort_to_indices(&columns, None)?;
    take_record_batch(&rows, &indices)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use rainstorm_proto::client::SortColumn;

    use super::*;

    /// Folds `(value, weight)` changes, a batch per element, and returns the values that stand.
    fn check(batches: &[&[(i64, i8)]], started: &RowsStarted) -> Vec<i64> {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
        let mut fold = Fold::new(schema.clone(), started.retracts).expect("a plain schema");
        for batch in batches {
            let values = Int64Array::from_iter_values(batch.iter().map(|(value, _)| *value));
            let weights = Int8Array::from_iter_values(batch.iter().map(|(_, weight)| *weight));
            let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(values)]).expect("rows");
            fold.push(rows, started.retracts.then_some(&weights)).expect("rows of the schema");
        }
        let rows = fold.finish(started).expect("rows");
        rows.column(0).as_primitive::<Int64Type>().values().to_vec()
    }

    fn started() -> RowsStarted {
        RowsStarted { visible: 1, retracts: true, bounded: true, ..RowsStarted::default() }
    }

    #[test]
    fn a_row_that_is_taken_back_does_not_stand() {
        assert_eq!(check(&[&[(1, 1), (2, 1)], &[(1, -1), (3, 1)]], &started()), [2, 3]);
    }

    #[test]
    fn a_retraction_may_come_before_its_insertion() {
        assert_eq!(check(&[&[(1, -1)], &[(1, 1), (2, 1)]], &started()), [2]);
    }

    #[test]
    fn equal_rows_stand_as_often_as_they_were_inserted() {
        assert_eq!(check(&[&[(1, 1), (1, 1), (1, 1), (1, -1)]], &started()), [1, 1]);
    }

    #[test]
    fn order_offset_and_limit_apply_to_the_final_rows() {
        let order_by = vec![SortColumn { index: 0, descending: true, nulls_first: true }];
        let started =
            RowsStarted { order_by, offset: 1, limit: Some(2), retracts: false, ..started() };
        assert_eq!(check(&[&[(1, 1), (4, 1)], &[(3, 1), (2, 1)]], &started), [3, 2]);
    }
}
