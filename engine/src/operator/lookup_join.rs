//! A stream joined with a bounded table that is read to its end first.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Int8Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take};
use datafusion::common::JoinType;

use super::join::keys::{divide, hash_keys, without_nulls};
use super::join::pairs::Pairs;
use super::join::shape::JoinShape;
use super::join::table::Table;
use super::{Operator, OperatorContext, Output};
use crate::batch::{Batch, TARGET_BATCH_ROWS};
use crate::graph::{LOOKUP_TABLE, LookupJoinSpec, OperatorNode};
use crate::state::{StateReader, StateWriter};
use crate::time::{TimestampMs, Watermark};
use crate::{Error, Result};

const STREAM: usize = 0;
const TABLE: usize = LOOKUP_TABLE;
const VERSION: u16 = 1;

/// Joins each row of port 0 with the rows of port 1, which every subtask gets all of and which
/// ends before the first row of port 0 is taken.
///
/// The table is the same in all subtasks; the first one writes it into checkpoints.
#[derive(Debug)]
pub(super) struct LookupJoin {
    shape: JoinShape,
    is_outer: bool,
    keys: [Vec<usize>; 2],
    table: Table,
    is_complete: bool,
    writes_table: bool,
    pairs: Pairs,
}

impl LookupJoin {
    /// Makes the operator.
    ///
    /// # Errors
    /// `Invalid` unless the join is inner or left.
    pub(super) fn new(
        spec: &LookupJoinSpec,
        node: &OperatorNode,
        context: &OperatorContext,
    ) -> Result<Self> {
        if !matches!(spec.join_type, JoinType::Inner | JoinType::Left) {
            let join_type = spec.join_type;
            return Err(Error::Invalid(format!("a lookup join is inner or left, not {join_type}")));
        }
        Ok(Self {
            shape: JoinShape::new(node, spec.join_type, &spec.on, spec.filter.as_ref())?,
            is_outer: spec.join_type == JoinType::Left,
            keys: [
                spec.on.iter().map(|(stream, _)| *stream).collect(),
                spec.on.iter().map(|(_, table)| *table).collect(),
            ],
            table: Table::default(),
            is_complete: false,
            writes_table: context.subtask == 0,
            pairs: Pairs::default(),
        })
    }

    fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        // A null key equals nothing, so its row is never found.
        let Some(valid) = without_nulls(rows, self.keys[TABLE].iter().copied()) else {
            return self.table.push(rows, &hash_keys(rows, &self.keys[TABLE])?);
        };
        let (rows, _) = divide(rows, &BooleanArray::new(valid.into_inner(), None))?;
        let hashes = hash_keys(&rows, &self.keys[TABLE])?;
        self.table.push(&rows, &hashes)
    }

    fn complete(&mut self) -> Result<()> {
        self.is_complete = true;
        self.table.seal()
    }

    fn probe(&mut self, batch: &Batch, out: &mut Output) -> Result<()> {
        let rows = batch.rows();
        let hashes = hash_keys(rows, &self.keys[STREAM])?;
        let valid = without_nulls(rows, self.keys[STREAM].iter().copied());
        let mut found = vec![false; if self.is_outer { rows.num_rows() } else { 0 }];
        let mut pairs = std::mem::take(&mut self.pairs);
        for (row, hash) in hashes.iter().enumerate() {
            if valid.as_ref().is_none_or(|valid| valid.is_valid(row)) {
                self.table.find(*hash, |stored| pairs.push(row as u32, 0, stored));
            }
            if pairs.len() >= TARGET_BATCH_ROWS {
                self.emit_pairs(batch, &mut pairs, &mut found, out)?;
            }
        }
        self.emit_pairs(batch, &mut pairs, &mut found, out)?;
        self.pairs = pairs;
        if self.is_outer { self.emit_unmatched(batch, &found, out) } else { Ok(()) }
    }

    fn emit_pairs(
        &self,
        batch: &Batch,
        pairs: &mut Pairs,
        found: &mut [bool],
        out: &mut Output,
    ) -> Result<()> {
        if pairs.is_empty() {
            return Ok(());
        }
        let tables = [&self.table];
        self.shape.verify(STREAM, batch.rows(), &tables, pairs)?;
        if !pairs.is_empty() {
            let rows = self.shape.assemble(STREAM, batch.rows(), &tables, pairs)?;
            let weights = weights_at(batch, &pairs.probe)?;
            out.push(match weights {
                None => Batch::insert(rows),
                Some(weights) => Batch::changes(rows, weights)?,
            })?;
        }
        if self.is_outer {
            pairs.probe.iter().for_each(|row| found[*row as usize] = true);
        }
        pairs.clear();
        Ok(())
    }

    fn emit_unmatched(&self, batch: &Batch, found: &[bool], out: &mut Output) -> Result<()> {
        let unmatched: BooleanArray = found.iter().map(|found| Some(!found)).collect();
        if unmatched.true_count() > 0 {
            let batch = batch.filter(&unmatched)?;
            out.push(batch.with_rows(self.shape.alone(STREAM, batch.rows())?)?)?;
        }
        Ok(())
    }
}

/// Returns the weights of these rows of a batch; `None` where it only inserts.
fn weights_at(batch: &Batch, rows: &[u32]) -> Result<Option<Int8Array>> {
    let Some(weights) = batch.weights() else { return Ok(None) };
    let rows = UInt32Array::from_iter_values(rows.iter().copied());
    let taken = take(weights, &rows, None)
        .map_err(|error| Error::compute("gather the weights of a join", error))?;
    Ok(Some(taken.as_primitive().clone()))
}

impl Operator for LookupJoin {
    fn name(&self) -> &'static str {
        "LookupJoin"
    }

    fn accepts(&self, port: usize) -> bool {
        port == TABLE || self.is_complete
    }

    fn process(
        &mut self,
        port: usize,
        batch: Batch,
        _now: TimestampMs,
        out: &mut Output,
    ) -> Result<()> {
        if port == STREAM {
            return self.probe(&batch, out);
        }
        if batch.weights().is_some() {
            return Err(Error::Internal("the table of a lookup join takes rows back".to_owned()));
        }
        if self.is_complete {
            // After a restore the table's source may begin anew at the barrier, which it sent
            // before its last rows: these are in the table already.
            return Ok(());
        }
        self.add(batch.rows())
    }

    fn watermark(&mut self, watermark: Watermark, _out: &mut Output) -> Result<Watermark> {
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

    fn end(&mut self, port: usize, _out: &mut Output) -> Result<()> {
        if port == TABLE && !self.is_complete { self.complete() } else { Ok(()) }
    }

    fn flush(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    fn is_satisfied(&self) -> bool {
        false
    }

    fn snapshot(&mut self, writer: &mut StateWriter) -> Result<()> {
        if !self.writes_table {
            return Ok(());
        }
        let schema = &self.shape.schemas[TABLE];
        let rows = concat_batches(schema, self.table.batches())
            .map_err(|error| Error::compute("write the table of a lookup join", error))?;
        writer.list("table", VERSION, rows);
        if self.is_complete {
            // One row says that the table has ended, since an empty table leaves nothing behind.
            let marker = Arc::new(BooleanArray::from(vec![true])) as _;
            let marker = RecordBatch::try_from_iter([("complete", marker)])
                .map_err(|error| Error::compute("write the table of a lookup join", error))?;
            writer.list("complete", VERSION, marker);
        }
        Ok(())
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        for rows in state.list("table", VERSION)? {
            let expected = &self.shape.schemas[TABLE];
            let rows = RecordBatch::try_new(expected.clone(), rows.columns().to_vec());
            let rows = rows.map_err(|error| Error::Restore {
                what: "the table of a lookup join".to_owned(),
                reason: error.to_string(),
            })?;
            self.add(&rows)?;
        }
        if state.list("complete", VERSION)?.is_empty() { Ok(()) } else { self.complete() }
    }

    fn memory_bytes(&self) -> usize {
        self.table.memory_bytes()
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
    use crate::graph::OperatorSpec;
    use crate::operator::join::testing::{compare, greater};

    fn join(join_type: JoinType, filtered: bool) -> Harness {
        // More than the stream's n is the table's m.
        let filter = filtered.then(|| greater("m", 3, "n", 1));
        let spec = LookupJoinSpec { join_type, on: vec![(0, 0)], filter };
        let spec = OperatorSpec::LookupJoin(spec);
        Harness::new(spec, &["k:int n:int", "k:int m:int"], "k:int n:int tk:int m:int")
    }

    #[test]
    fn the_stream_waits_until_the_table_has_ended() {
        let mut test = join(JoinType::Inner, false);
        assert!(!test.operator().accepts(0));
        test.rows_at(1, "+ 1 10\n + 2 20\n + 1 11\n + ~ 5");
        assert!(!test.operator().accepts(0));
        test.operator().end(1, &mut Output::default()).unwrap();
        assert!(test.operator().accepts(0));
        test.rows("+ 1 7\n + 3 8\n + ~ 9\n + 2 6");
        test.expect("+ 1 7 1 10\n + 1 7 1 11\n + 2 6 2 20");
    }

    #[test]
    fn rows_without_a_partner_stay_in_a_left_join() {
        let mut test = join(JoinType::Left, true);
        test.rows_at(1, "+ 1 10\n + 2 20");
        test.operator().end(1, &mut Output::default()).unwrap();
        test.rows("+ 1 7\n + 1 12\n + 3 8\n + ~ 9");
        test.expect("+ 1 7 1 10\n + 1 12 ~ ~\n + 3 8 ~ ~\n + ~ 9 ~ ~");
    }

    #[test]
    fn changes_keep_their_weights() {
        let mut test = join(JoinType::Left, false);
        test.rows_at(1, "+ 1 10\n + 1 11");
        test.operator().end(1, &mut Output::default()).unwrap();
        test.rows("- 1 7\n + 1 8\n - 2 9");
        test.expect("- 1 7 1 10\n - 1 7 1 11\n + 1 8 1 10\n + 1 8 1 11\n - 2 9 ~ ~");
    }

    #[test]
    fn every_subtask_gets_the_table_back_whether_it_had_ended_or_not() {
        let mut test = join(JoinType::Inner, false);
        test.rows_at(1, "+ 1 10");
        let state = test.snapshot();
        let mut unfinished = test.restored(&state, 1, 2);
        assert!(!unfinished.operator().accepts(0));
        unfinished.rows_at(1, "+ 2 20");
        unfinished.operator().end(1, &mut Output::default()).unwrap();
        assert!(unfinished.snapshot().is_empty(), "only the first subtask writes the table");
        unfinished.rows("+ 1 7\n + 2 8");
        unfinished.expect("+ 1 7 1 10\n + 2 8 2 20");

        test.operator().end(1, &mut Output::default()).unwrap();
        let state = test.snapshot();
        for subtask in 0..2 {
            let mut finished = test.restored(&state, subtask, 2);
            assert!(finished.operator().accepts(0));
            // What the table's source sent after its barrier comes again and is not added twice.
            finished.rows_at(1, "+ 1 10");
            finished.operator().end(1, &mut Output::default()).unwrap();
            finished.rows("+ 1 7");
            finished.expect("+ 1 7 1 10");
        }
    }

    #[test]
    fn an_empty_table_that_has_ended_is_remembered() {
        let mut test = join(JoinType::Left, false);
        test.operator().end(1, &mut Output::default()).unwrap();
        let state = test.snapshot();
        let mut restored = test.restored(&state, 0, 1);
        restored.rows("+ 1 7");
        restored.expect("+ 1 7 ~ ~");
    }

    #[test]
    fn other_joins_are_refused() {
        let spec = LookupJoinSpec { join_type: JoinType::Full, on: vec![(0, 0)], filter: None };
        compare::expect_invalid(OperatorSpec::LookupJoin(spec), "lookup join is inner or left");
    }

    #[tokio::test]
    async fn the_answer_is_that_of_a_batch_join() {
        for join_type in [JoinType::Inner, JoinType::Left] {
            for filtered in [false, true] {
                for seed in 0..4 {
                    let case = compare::Case::random(seed, 40);
                    let mut test = join_of_case(join_type, filtered);
                    for rows in case.split(1, seed) {
                        test.batch_at(1, Batch::insert(rows));
                    }
                    test.operator().end(1, &mut Output::default()).unwrap();
                    for rows in case.split(0, seed) {
                        test.batch_at(0, Batch::insert(rows));
                    }
                    test.end(0);
                    let filter = if filtered { "l.n < r.n" } else { "true" };
                    let condition = format!("l.k = r.k AND {filter}");
                    case.check(&mut test, join_type, &condition).await;
                }
            }
        }
    }

    fn join_of_case(join_type: JoinType, filtered: bool) -> Harness {
        let filter = filtered.then(|| greater("n", 5, "n", 1));
        let spec = LookupJoinSpec { join_type, on: vec![(0, 0)], filter };
        compare::harness(OperatorSpec::LookupJoin(spec), join_type)
    }
}
