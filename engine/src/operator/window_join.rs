//! Rows of the same window, joined when the window is complete.

use std::collections::BTreeMap;

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

use super::join::keys::{
    SharedUnit, TimeColumn, divide, hash_keys, time_columns, without_late, without_nulls,
};
use super::join::pairs::Pairs;
use super::join::shape::{JoinShape, Marked};
use super::join::state::{self, SideRows};
use super::join::table::Table;
use super::passed::Passed;
use super::{Operator, OperatorContext, Output};
use crate::batch::{Batch, TARGET_BATCH_ROWS};
use crate::graph::{OperatorNode, WindowJoinSpec};
use crate::state::{StateReader, StateWriter};
use crate::time::{TimestampMs, Watermark};
use crate::{Error, Result};

/// Joins rows that carry the same window and equal keys. A window's rows are kept until the
/// watermark reaches its end - 1 ms, then joined, emitted and dropped; rows that come later are
/// late.
///
/// Rows are kept by the end of their window; that its start is equal is one more condition of
/// the join, since windows of one end differ in their start only where they are sessions.
#[derive(Debug)]
pub(super) struct WindowJoin {
    shape: JoinShape,
    keys: [Vec<usize>; 2],
    /// The columns that a row's key group follows from: the keys or, without any, the window.
    group_keys: [Vec<usize>; 2],
    ends: [TimeColumn; 2],
    unit: SharedUnit,
    windows: BTreeMap<i64, [Table; 2]>,
    passed: Passed,
    late_rows: u64,
    key_groups: u16,
}

impl WindowJoin {
    /// Makes the operator.
    ///
    /// # Errors
    /// `Invalid` where the join type is not supported or a window's end is no timestamp.
    pub(super) fn new(
        spec: &WindowJoinSpec,
        node: &OperatorNode,
        context: &OperatorContext,
    ) -> Result<Self> {
        let starts = (spec.left_window.0, spec.right_window.0);
        let compared: Vec<_> = spec.on.iter().copied().chain([starts]).collect();
        let shape = JoinShape::new(node, spec.join_type, &compared, spec.filter.as_ref())?;
        let end_column =
            |side: usize, column: usize| (node.inputs[side].field(column).data_type(), column);
        let (unit, left_end, right_end) =
            time_columns(end_column(0, spec.left_window.1), end_column(1, spec.right_window.1))?;
        let keys = [
            spec.on.iter().map(|(left, _)| *left).collect(),
            spec.on.iter().map(|(_, right)| *right).collect(),
        ];
        let windows = [spec.left_window, spec.right_window].map(|(start, end)| vec![start, end]);
        Ok(Self {
            shape,
            group_keys: if spec.on.is_empty() { windows } else { keys.clone() },
            keys,
            ends: [left_end, right_end],
            unit,
            windows: BTreeMap::new(),
            passed: Passed::new(context),
            late_rows: 0,
            key_groups: context.key_group_count,
        })
    }

    /// Tells whether a window that ends then is over once this has passed.
    fn is_over(&self, end: i64, passed: TimestampMs) -> bool {
        end.saturating_sub(self.unit.of_ms(1)) <= self.unit.of_ms(passed)
    }

    fn without_late(&self, side: usize, rows: &RecordBatch) -> Result<(RecordBatch, u64)> {
        let (all, column) = (self.passed.for_all(), self.ends[side]);
        if self.passed.is_even() {
            return without_late(rows, column, |_, end| self.is_over(end, all));
        }
        let hashes = hash_keys(rows, &self.group_keys[side])?;
        let passed = |row: usize| self.passed.for_hash(hashes[row]);
        without_late(rows, column, |row, end| self.is_over(end, passed(row)))
    }

    fn add(&mut self, side: usize, rows: &RecordBatch) -> Result<()> {
        let ends = self.ends[side].values(rows)?;
        let (Some(first), Some(last)) = (ends.iter().min(), ends.iter().max()) else {
            return Ok(());
        };
        if first == last {
            return self.add_to_window(side, *first, rows);
        }
        let mut by_end: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for (row, end) in ends.iter().enumerate() {
            by_end.entry(*end).or_default().push(row as u32);
        }
        for (end, indices) in by_end {
            let rows = take_record_batch(rows, &UInt32Array::from(indices))
                .map_err(|error| Error::compute("divide rows by their windows", error))?;
            self.add_to_window(side, end, &rows)?;
        }
        Ok(())
    }

    fn add_to_window(&mut self, side: usize, end: i64, rows: &RecordBatch) -> Result<()> {
        let hashes = hash_keys(rows, &self.keys[side])?;
        self.windows.entry(end).or_default()[side].push(rows, &hashes)
    }

    fn fire(&self, [left, mut right]: [Table; 2], out: &mut Output) -> Result<()> {
        let is_marked = self.shape.roles[1].is_tracked();
        let mut marks = vec![false; if is_marked { right.len() } else { 0 }];
        right.prepare(left.len());
        let mut tables = [Marked { table: &right, marks: &mut marks }];
        for (batch, rows) in left.batches().iter().enumerate() {
            self.join(rows, left.batch_hashes(batch), &mut tables, out)?;
        }
        self.shape.settle_table(1, &right, &marks, out)
    }

    fn join(
        &self,
        rows: &RecordBatch,
        hashes: &[u64],
        tables: &mut [Marked<'_>; 1],
        out: &mut Output,
    ) -> Result<()> {
        let is_tracked = self.shape.roles[0].is_tracked();
        let mut found = vec![false; if is_tracked { rows.num_rows() } else { 0 }];
        let mut pairs = Pairs::default();
        for (row, hash) in hashes.iter().enumerate() {
            tables[0].table.find(*hash, |stored| pairs.push(row as u32, 0, stored));
            if pairs.len() >= TARGET_BATCH_ROWS {
                self.shape.settle(0, rows, tables, &mut pairs, &mut found, out)?;
            }
        }
        self.shape.settle(0, rows, tables, &mut pairs, &mut found, out)?;
        self.shape.settle_alone(0, rows, &found, |_| true, out)
    }
}

impl Operator for WindowJoin {
    fn name(&self) -> &'static str {
        "WindowJoin"
    }

    fn accepts(&self, _port: usize) -> bool {
        true
    }

    fn process(
        &mut self,
        port: usize,
        batch: Batch,
        _now: TimestampMs,
        out: &mut Output,
    ) -> Result<()> {
        if batch.weights().is_some() {
            return Err(Error::Internal("a window join takes no retractions".to_owned()));
        }
        let (rows, late) = self.without_late(port, batch.rows())?;
        self.late_rows += late;
        let keys = self.keys[port].iter().copied();
        let Some(valid) = without_nulls(&rows, keys.chain([self.ends[port].column()])) else {
            return self.add(port, &rows);
        };
        // A null equals nothing: these rows have no partner and need not wait.
        let valid = BooleanArray::new(valid.into_inner(), None);
        let (rows, alone) = divide(&rows, &valid)?;
        if self.shape.roles[port].emits_unmatched() {
            out.push(Batch::insert(self.shape.alone(port, &alone)?))?;
        }
        self.add(port, &rows)
    }

    fn watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<Watermark> {
        self.passed.advance(watermark.0);
        while let Some(window) = self.windows.first_entry() {
            let end = *window.key();
            if !self.is_over(end, self.passed.for_all()) {
                break;
            }
            let tables = self.windows.remove(&end).expect("the window was just seen");
            self.fire(tables, out)?;
        }
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
        false
    }

    fn snapshot(&mut self, writer: &mut StateWriter) -> Result<()> {
        for side in 0..2 {
            let mut rows = SideRows::default();
            for window in self.windows.values() {
                for batch in window[side].batches() {
                    let hashes = hash_keys(batch, &self.group_keys[side])?;
                    rows.add(std::slice::from_ref(batch), &hashes, &[], self.key_groups);
                }
            }
            rows.write(side, &self.shape.schemas[side], writer)?;
        }
        self.passed.write(writer)
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        self.passed.restore(state)?;
        for side in 0..2 {
            for (rows, _) in state::read(side, &self.shape.schemas[side], state)? {
                self.add(side, &rows)?;
            }
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.windows.values().flatten().map(Table::memory_bytes).sum()
    }

    fn late_rows(&self) -> u64 {
        self.late_rows
    }

    fn untimed_rows(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use datafusion::common::JoinType;

    use super::super::testing::{Harness, own_key};
    use super::*;
    use crate::graph::OperatorSpec;
    use crate::operator::join::testing::{compare, greater};

    fn spec(join_type: JoinType, on: Vec<(usize, usize)>) -> WindowJoinSpec {
        WindowJoinSpec { join_type, on, left_window: (2, 3), right_window: (2, 3), filter: None }
    }

    fn join(spec: WindowJoinSpec) -> Harness {
        let join_type = spec.join_type;
        compare::harness(OperatorSpec::WindowJoin(spec), join_type)
    }

    #[test]
    fn a_window_is_joined_when_the_watermark_reaches_its_last_millisecond() {
        let mut test = join(spec(JoinType::Inner, vec![(0, 0)]));
        test.rows_at(0, "+ 1 5 0 10\n + 2 6 0 10\n + 1 7 10 20");
        test.rows_at(1, "+ 1 8 0 10\n + 1 9 10 20\n + ~ 3 0 10");
        assert_eq!(test.watermark(8), 8);
        test.expect("");
        test.watermark(9);
        test.expect("+ 1 5 0 10 1 8 0 10");
        test.watermark(19);
        test.expect("+ 1 7 10 20 1 9 10 20");
        assert_eq!(test.operator().memory_bytes(), 0);
    }

    #[test]
    fn late_rows_are_dropped_and_counted() {
        let mut test = join(spec(JoinType::Inner, vec![(0, 0)]));
        test.watermark(9);
        test.rows_at(0, "+ 1 5 0 10\n + 1 6 10 20\n + ~ 7 0 10");
        test.rows_at(1, "+ 1 8 0 10\n + 1 8 10 20");
        test.watermark(100);
        test.expect("+ 1 6 10 20 1 8 10 20");
        assert_eq!(test.operator().late_rows(), 3);
    }

    #[test]
    fn windows_of_one_end_and_different_starts_do_not_join() {
        let mut test = join(spec(JoinType::Full, vec![(0, 0)]));
        test.rows_at(0, "+ 1 5 0 10");
        test.rows_at(1, "+ 1 8 5 10");
        test.watermark(9);
        test.expect("+ 1 5 0 10 ~ ~ ~ ~\n + ~ ~ ~ ~ 1 8 5 10");
    }

    #[test]
    fn null_keys_have_no_partner() {
        let mut test = join(spec(JoinType::Full, vec![(0, 0)]));
        test.rows_at(0, "+ ~ 5 0 10");
        test.rows_at(1, "+ ~ 8 0 10");
        test.watermark(9);
        test.expect("+ ~ 5 0 10 ~ ~ ~ ~\n + ~ ~ ~ ~ ~ 8 0 10");
    }

    #[test]
    fn without_keys_a_window_is_joined_by_the_filter_alone() {
        let filter = Some(greater("n", 1, "n", 5));
        let mut test = join(WindowJoinSpec { filter, ..spec(JoinType::Inner, vec![]) });
        test.rows_at(0, "+ 1 5 0 10\n + 2 9 0 10\n + 3 9 10 20");
        test.rows_at(1, "+ 7 8 0 10");
        test.watermark(19);
        test.expect("+ 2 9 0 10 7 8 0 10");
    }

    #[test]
    fn state_is_restored_at_another_parallelism() {
        let mut test = join(spec(JoinType::Full, vec![(0, 0)]));
        let rows = |n: i64| {
            let line = |key: i64| format!("+ {key} {n} 0 10\n + {key} {n} 10 20\n");
            (0..50).map(line).collect::<String>()
        };
        test.rows_at(0, &rows(1));
        test.rows_at(1, &rows(2));
        test.watermark(9);
        test.lines();
        let state = test.snapshot();
        let mut lines = vec![];
        for subtask in 0..3 {
            let mut restored = test.restored(&state, subtask, 3);
            restored.watermark(19);
            lines.extend(restored.lines());
        }
        lines.sort();
        let mut expected: Vec<_> =
            (0..50).map(|key| format!("+ {key} 1 10 20 {key} 2 10 20")).collect();
        expected.sort();
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_window_that_was_joined_before_a_restore_is_not_joined_again() {
        let test = join(spec(JoinType::Full, vec![(0, 0)]));
        for (before, after) in [(1, 3), (3, 1)] {
            let mut state = vec![];
            for subtask in 0..before {
                let mut running = test.restored(&[], subtask, before);
                running.watermark(9);
                state.extend(running.snapshot());
            }
            for subtask in 0..after {
                let key = own_key(subtask, after);
                let mut restored = test.restored(&state, subtask, after);
                restored.rows_at(0, &format!("+ {key} 1 0 10\n + {key} 2 10 20"));
                restored.watermark(19);
                restored.expect(&format!("+ {key} 2 10 20 ~ ~ ~ ~"));
                assert_eq!(restored.operator().late_rows(), 1);
            }
        }
    }

    #[test]
    fn a_window_is_joined_once_for_each_key_though_subtasks_were_not_equally_far() {
        let test = join(spec(JoinType::Full, vec![(0, 0)]));
        let (slow, fast) = (own_key(0, 2), own_key(1, 2));
        let mut state = vec![];
        for (subtask, watermark) in [(0, 5), (1, 9)] {
            let mut running = test.restored(&[], subtask, 2);
            running.rows_at(0, &format!("+ {} 1 0 10", [slow, fast][subtask]));
            running.watermark(watermark);
            state.extend(running.snapshot());
        }
        let mut merged = test.restored(&state, 0, 1);
        merged.rows_at(1, &format!("+ {slow} 2 0 10\n + {fast} 2 0 10"));
        merged.watermark(9);
        merged.expect(&format!("+ {slow} 1 0 10 {slow} 2 0 10"));
        assert_eq!(merged.operator().late_rows(), 1);
    }

    #[tokio::test]
    async fn the_answer_is_that_of_a_batch_join() {
        for join_type in compare::JOIN_TYPES {
            for (on, condition) in [(vec![(0, 0)], "l.k = r.k"), (vec![], "true")] {
                for (seed, filtered) in [(1, false), (2, true), (3, true)] {
                    let case = compare::Case::random(seed, 60);
                    let filter = filtered.then(|| greater("n", 5, "n", 1));
                    let mut test = join(WindowJoinSpec { filter, ..spec(join_type, on.clone()) });
                    for (left, right) in case.split(0, seed).into_iter().zip(case.split(1, seed)) {
                        test.batch_at(0, Batch::insert(left));
                        test.batch_at(1, Batch::insert(right));
                    }
                    test.end(1);
                    let filter = if filtered { "l.n < r.n" } else { "true" };
                    let window = "l.ws = r.ws AND l.we = r.we";
                    let condition = format!("{condition} AND {window} AND {filter}");
                    case.check(&mut test, join_type, &condition).await;
                }
            }
        }
    }
}
