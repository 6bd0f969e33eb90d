//! Rows in an order, once all are there.

use std::cmp::Ordering;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{SortOptions, interleave_record_batch};
use arrow::row::{RowConverter, Rows, SortField};

use super::{Operator, Output};
use crate::batch::Batch;
use crate::graph::SortSpec;
use crate::held::held_bytes;
use crate::state::{StateReader, StateWriter};
use crate::time::{TimestampMs, Watermark};
use crate::{Error, Result};

const NAME: &str = "rows";
const VERSION: u16 = 1;

/// Rows of the batches that are emitted.
const BATCH_ROWS: usize = 8192;
/// The rows that are gathered beyond the wanted ones before these are picked.
const SPARE_ROWS: usize = 8 * BATCH_ROWS;

/// Keeps the rows until the input has ended and emits them in order, the first ones alone where no
/// more are wanted. Rows that are alike in what they are sorted by stay in the order in which they
/// came. Runs in one subtask.
pub(super) struct Sort {
    spec: SortSpec,
    keys: RowConverter,
    held: Vec<Held>,
    held_rows: usize,
}

/// A batch, and what its rows are sorted by.
struct Held {
    rows: RecordBatch,
    keys: Rows,
}

impl Sort {
    /// Makes the operator.
    ///
    /// # Errors
    /// `Invalid` where a type has no order.
    pub(super) fn new(spec: &SortSpec, input: &arrow::datatypes::Schema) -> Result<Self> {
        let fields = spec.keys.iter().map(|key| {
            let options = SortOptions { descending: key.descending, nulls_first: key.nulls_first };
            SortField::new_with_options(input.field(key.column).data_type().clone(), options)
        });
        let keys = RowConverter::new(fields.collect()).map_err(failed)?;
        Ok(Self { spec: spec.clone(), keys, held: Vec::new(), held_rows: 0 })
    }

    fn hold(&mut self, rows: RecordBatch) -> Result<()> {
        let columns: Vec<ArrayRef> =
            self.spec.keys.iter().map(|key| rows.column(key.column).clone()).collect();
        let keys = self.keys.convert_columns(&columns).map_err(failed)?;
        self.held_rows += rows.num_rows();
        self.held.push(Held { rows, keys });
        Ok(())
    }

    /// Returns the places of the wanted rows, as batch and row, in order.
    fn sorted(&self) -> Vec<(usize, usize)> {
        let places = |(batch, held): (usize, &Held)| {
            (0..held.rows.num_rows()).map(move |row| (batch, row)).collect::<Vec<_>>()
        };
        let mut places: Vec<_> = self.held.iter().enumerate().flat_map(places).collect();
        let key = |(batch, row): (usize, usize)| self.held[batch].keys.row(row);
        let by_key = |left: &(usize, usize), right: &(usize, usize)| -> Ordering {
            key(*left).cmp(&key(*right)).then(left.cmp(right))
        };
        let wanted = usize::try_from(self.spec.count).unwrap_or(usize::MAX);
        if wanted < places.len() {
            if wanted > 0 {
                places.select_nth_unstable_by(wanted - 1, by_key);
            }
            places.truncate(wanted);
        }
        places.sort_unstable_by(by_key);
        places
    }

    /// Takes the wanted rows out, in order.
    fn take(&mut self, mut give: impl FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        let places = self.sorted();
        let batches: Vec<&RecordBatch> = self.held.iter().map(|held| &held.rows).collect();
        for places in places.chunks(BATCH_ROWS) {
            give(interleave_record_batch(&batches, places).map_err(failed)?)?;
        }
        self.held.clear();
        self.held_rows = 0;
        Ok(())
    }

    /// Keeps the wanted rows alone, where others have gathered.
    fn prune(&mut self) -> Result<()> {
        let enough = usize::try_from(self.spec.count).unwrap_or(usize::MAX);
        if self.held_rows <= enough.saturating_mul(2).saturating_add(SPARE_ROWS) {
            return Ok(());
        }
        let mut wanted = Vec::new();
        self.take(|rows| {
            wanted.push(rows);
            Ok(())
        })?;
        wanted.into_iter().try_for_each(|rows| self.hold(rows))
    }
}

fn failed(error: arrow::error::ArrowError) -> Error {
    Error::compute("sort rows", error)
}

impl Operator for Sort {
    fn name(&self) -> &'static str {
        "Sort"
    }

    fn accepts(&self, _port: usize) -> bool {
        true
    }

    fn process(
        &mut self,
        _port: usize,
        batch: Batch,
        _now: TimestampMs,
        _out: &mut Output,
    ) -> Result<()> {
        let (rows, weights) = batch.into_parts();
        if weights.is_some_and(|weights| weights.values().iter().any(|weight| *weight < 0)) {
            return Err(Error::Internal("a sort takes no rows back".to_owned()));
        }
        self.hold(rows)?;
        self.prune()
    }

    fn watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<Watermark> {
        if watermark < Watermark::MAX {
            return Ok(Watermark::MIN);
        }
        self.take(|rows| out.push(Batch::insert(rows)))?;
        Ok(watermark)
    }

    fn processing_time(
        &mut self,
        _now: TimestampMs,
        _out: &mut Output,
    ) -> Result<Option<Watermark>> {
        Ok(None)
    }

    fn next_timer(&self) -> Option<TimestampMs> {
        None
    }

    fn end(&mut self, _port: usize, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    fn flush(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    fn is_satisfied(&self) -> bool {
        self.spec.count == 0
    }

    fn snapshot(&mut self, writer: &mut StateWriter) -> Result<()> {
        for held in &self.held {
            writer.list(NAME, VERSION, held.rows.clone());
        }
        Ok(())
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        state.list(NAME, VERSION)?.into_iter().try_for_each(|rows| self.hold(rows))
    }

    fn memory_bytes(&self) -> usize {
        self.held.iter().map(|held| held_bytes(&held.rows) + held.keys.size()).sum()
    }

    fn late_rows(&self) -> u64 {
        0
    }

    fn untimed_rows(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Harness;
    use super::*;
    use crate::graph::{OperatorSpec, SortKey};

    fn sort(count: u64) -> Harness {
        let keys = vec![
            SortKey { column: 1, descending: true, nulls_first: false },
            SortKey { column: 0, descending: false, nulls_first: true },
        ];
        let spec = OperatorSpec::Sort(SortSpec { keys, count });
        Harness::new(spec, &["a:int b:text"], "a:int b:text")
    }

    #[test]
    fn rows_come_in_order_once_the_input_has_ended() {
        let mut test = sort(u64::MAX);
        test.rows("+ 2 x\n + 1 y");
        assert_eq!(test.watermark(5), i64::MIN);
        test.rows("+ 9 ~\n + ~ x\n + 1 x");
        test.expect("");
        test.watermark(i64::MAX);
        test.expect("+ 1 y\n + ~ x\n + 1 x\n + 2 x\n + 9 ~");
        assert_eq!(test.operator().memory_bytes(), 0);
    }

    #[test]
    fn the_wanted_rows_alone_are_kept_and_survive_a_restore() {
        let mut test = sort(2);
        for round in 0..30 {
            let rows: Vec<String> =
                (0..10_000).map(|row| format!("+ {} b", row * 30 + round)).collect();
            test.rows(&rows.join("\n"));
        }
        test.rows("+ 7 c");
        assert!(test.operator().memory_bytes() < 16 << 20);
        let state = test.snapshot();
        let mut restored = test.restored(&state, 0, 1);
        restored.rows("+ -1 b");
        restored.watermark(i64::MAX);
        restored.expect("+ 7 c\n + -1 b");
    }

    #[test]
    fn rows_that_are_taken_back_are_refused() {
        let mut test = sort(9);
        let schema = super::super::testing::schema("a:int b:text");
        let batch = super::super::testing::batch(&schema, "- 1 x");
        let mut out = Output::default();
        let refused = test.operator().process(0, batch, 0, &mut out).expect_err("a row taken back");
        assert!(refused.to_string().contains("takes no rows back"), "{refused}");
    }
}
