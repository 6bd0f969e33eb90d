//! Append-only streams joined where their event times lie within an interval.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::take_record_batch;

use super::join::keys::{
    SharedUnit, TimeColumn, divide, hash_keys, time_columns, without_late, without_nulls,
};
use super::join::pairs::Pairs;
use super::join::shape::{JoinShape, Marked, Role};
use super::join::state::{self, SideRows};
use super::join::table::Table;
use super::passed::Passed;
use super::{Operator, OperatorContext, Output};
use crate::batch::{Batch, TARGET_BATCH_ROWS};
use crate::graph::{IntervalJoinSpec, OperatorNode};
use crate::state::{StateReader, StateWriter};
use crate::time::{TimestampMs, Watermark};
use crate::{Error, Result};

/// Into how many slices a side's rows are cut that may still find partners.
const SLICES: i64 = 4;
/// Slices are no shorter than this, so that a short interval does not make tables of few rows.
const SLICE_MS_MIN: i64 = 1000;

/// Joins each row with the rows of the other side that came before it.
///
/// Each side keeps its rows in slices of event time, every one a table with an index of its own:
/// a row that arrives probes the slices that its interval reaches, and a slice is dropped whole
/// when the watermark says that no row to come reaches it. Rows at or below the watermark are
/// late: dropped and counted.
#[derive(Debug)]
pub(super) struct IntervalJoin {
    shape: JoinShape,
    keys: [Vec<usize>; 2],
    times: [TimeColumn; 2],
    unit: SharedUnit,
    /// For each side, where the times of a row's partners lie, relative to the row's own.
    reach: [(i64, i64); 2],
    slice: i64,
    sides: [BTreeMap<i64, Slice>; 2],
    passed: Passed,
    late_rows: u64,
    key_groups: u16,
    pairs: Pairs,
}

/// Rows of one side whose times fall into one slice.
#[derive(Debug, Default)]
struct Slice {
    table: Table,
    /// The time of each row.
    times: Vec<i64>,
    /// Whether each row has found a partner; empty where that does not count.
    marks: Vec<bool>,
    /// The last time among them.
    last: Option<i64>,
}

/// Rows that arrive, with what is computed of them once.
struct Arrived {
    rows: RecordBatch,
    hashes: Vec<u64>,
    times: ScalarBuffer<i64>,
}

impl IntervalJoin {
    /// Makes the operator.
    ///
    /// # Errors
    /// `Invalid` where the join type is not supported, a time is no timestamp or the interval is
    /// empty.
    pub(super) fn new(
        spec: &IntervalJoinSpec,
        node: &OperatorNode,
        context: &OperatorContext,
    ) -> Result<Self> {
        if spec.lower_ms > spec.upper_ms {
            let (lower, upper) = (spec.lower_ms, spec.upper_ms);
            return Err(Error::Invalid(format!(
                "an interval join's bounds are the wrong way round: {lower} ms and {upper} ms"
            )));
        }
        let shape = JoinShape::new(node, spec.join_type, &spec.on, spec.filter.as_ref())?;
        let time_column =
            |side: usize, column: usize| (node.inputs[side].field(column).data_type(), column);
        let (unit, left_time, right_time) =
            time_columns(time_column(0, spec.left_time), time_column(1, spec.right_time))?;
        let (lower, upper) = (unit.of_ms(spec.lower_ms), unit.of_ms(spec.upper_ms));
        let length = upper.saturating_sub(lower);
        Ok(Self {
            shape,
            keys: [
                spec.on.iter().map(|(left, _)| *left).collect(),
                spec.on.iter().map(|(_, right)| *right).collect(),
            ],
            times: [left_time, right_time],
            reach: [(upper.saturating_neg(), lower.saturating_neg()), (lower, upper)],
            slice: (length / SLICES).max(unit.of_ms(SLICE_MS_MIN)),
            unit,
            sides: [BTreeMap::new(), BTreeMap::new()],
            passed: Passed::new(context),
            late_rows: 0,
            key_groups: context.key_group_count,
            pairs: Pairs::default(),
        })
    }

    fn now(&self) -> i64 {
        self.unit.of_ms(self.passed.for_all())
    }

    /// Takes out late rows, and those that have no partner because of a null.
    fn admit(&mut self, side: usize, rows: &RecordBatch, out: &mut Output) -> Result<Arrived> {
        let (mut rows, late) = self.without_late(side, rows)?;
        self.late_rows += late;
        let columns = self.keys[side].iter().copied().chain([self.times[side].column()]);
        if let Some(valid) = without_nulls(&rows, columns) {
            let (valid, alone) = divide(&rows, &BooleanArray::new(valid.into_inner(), None))?;
            if self.shape.roles[side].emits_unmatched() {
                out.push(Batch::insert(self.shape.alone(side, &alone)?))?;
            }
            rows = valid;
        }
        let hashes = hash_keys(&rows, &self.keys[side])?;
        let times = self.times[side].values(&rows)?;
        Ok(Arrived { rows, hashes, times })
    }

    fn without_late(&self, side: usize, rows: &RecordBatch) -> Result<(RecordBatch, u64)> {
        let (now, column) = (self.now(), self.times[side]);
        if self.passed.is_even() {
            return without_late(rows, column, |_, time| time <= now);
        }
        let hashes = hash_keys(rows, &self.keys[side])?;
        let passed = |row: usize| self.unit.of_ms(self.passed.for_hash(hashes[row]));
        without_late(rows, column, |row, time| time <= passed(row))
    }

    /// Returns the slices that rows of these times reach on the other side.
    fn reached(&self, side: usize, times: &[i64]) -> RangeInclusive<i64> {
        let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else {
            // An empty range that BTreeMap accepts does not exist: one that nothing lies in.
            return i64::MIN..=i64::MIN;
        };
        let (from, to) = self.reach[side];
        let slice_of = |time: i64| time.div_euclid(self.slice);
        slice_of(first.saturating_add(from))..=slice_of(last.saturating_add(to))
    }

    /// Joins rows with what the other side holds; returns which of them found a partner.
    fn probe(&mut self, side: usize, arrived: &Arrived, out: &mut Output) -> Result<Vec<bool>> {
        let Arrived { rows, hashes, times } = arrived;
        let is_tracked = self.shape.roles[side].is_tracked();
        let mut found = vec![false; if is_tracked { rows.num_rows() } else { 0 }];
        let (from, to) = self.reach[side];
        let reached = self.reached(side, times);
        let slices = self.sides[1 - side].range_mut(reached).map(|(_, slice)| slice);
        let mut tables = Vec::new();
        let mut stored_times = Vec::new();
        for Slice { table, times, marks, last } in slices {
            table.prepare(rows.num_rows());
            tables.push(Marked { table, marks });
            stored_times.push((times, *last));
        }
        let mut pairs = std::mem::take(&mut self.pairs);
        for (index, (stored, last)) in stored_times.into_iter().enumerate() {
            for (row, (hash, time)) in hashes.iter().zip(times.iter()).enumerate() {
                let (first, end) = (time.saturating_add(from), time.saturating_add(to));
                if last.is_none_or(|last| last < first) {
                    continue;
                }
                tables[index].table.find(*hash, |candidate| {
                    if (first..=end).contains(&stored[candidate as usize]) {
                        pairs.push(row as u32, index as u32, candidate);
                    }
                });
                if pairs.len() >= TARGET_BATCH_ROWS {
                    self.shape.settle(side, rows, &mut tables, &mut pairs, &mut found, out)?;
                }
            }
        }
        self.shape.settle(side, rows, &mut tables, &mut pairs, &mut found, out)?;
        self.pairs = pairs;
        Ok(found)
    }

    /// Keeps the rows for which partners may still come, and settles the others.
    fn keep(
        &mut self,
        side: usize,
        arrived: &Arrived,
        found: &[bool],
        out: &mut Output,
    ) -> Result<()> {
        let (now, (_, to)) = (self.now(), self.reach[side]);
        let role = self.shape.roles[side];
        let is_over = |time: i64| time.saturating_add(to) <= now;
        let rows = &arrived.rows;
        self.shape.settle_alone(side, rows, found, |row| is_over(arrived.times[row]), out)?;
        let is_settled =
            |row: usize| is_over(arrived.times[row]) || (found_counts_once(role) && found[row]);
        if !(0..rows.num_rows()).any(is_settled) {
            return self.insert(side, arrived, found);
        }
        let kept: Vec<u32> =
            (0..rows.num_rows()).filter(|row| !is_settled(*row)).map(|row| row as u32).collect();
        let found: Vec<bool> =
            kept.iter().filter_map(|row| found.get(*row as usize)).copied().collect();
        let arrived = arrived.take(&kept)?;
        self.insert(side, &arrived, &found)
    }

    /// Puts rows into the slices of their times.
    fn insert(&mut self, side: usize, arrived: &Arrived, found: &[bool]) -> Result<()> {
        let slice_of = |time: i64| time.div_euclid(self.slice);
        let (Some(first), Some(last)) = (arrived.times.iter().min(), arrived.times.iter().max())
        else {
            return Ok(());
        };
        if slice_of(*first) == slice_of(*last) {
            let number = slice_of(*first);
            return self.sides[side].entry(number).or_default().push(arrived, found);
        }
        let mut by_slice: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for (row, time) in arrived.times.iter().enumerate() {
            by_slice.entry(slice_of(*time)).or_default().push(row as u32);
        }
        for (number, rows) in by_slice {
            let found: Vec<bool> =
                rows.iter().filter_map(|row| found.get(*row as usize)).copied().collect();
            let part = arrived.take(&rows)?;
            self.sides[side].entry(number).or_default().push(&part, &found)?;
        }
        Ok(())
    }

    /// Drops the slices of a side that no row to come reaches.
    fn expire(&mut self, side: usize, out: &mut Output) -> Result<()> {
        let (now, (_, to)) = (self.now(), self.reach[side]);
        while let Some(slice) = self.sides[side].first_entry() {
            if slice.get().last.is_some_and(|last| last.saturating_add(to) > now) {
                break;
            }
            let Slice { table, marks, .. } = slice.remove();
            self.shape.settle_table(side, &table, &marks, out)?;
        }
        Ok(())
    }

    /// Returns how far the times of rows to come out may lie behind the watermark: a row to come
    /// may meet one as old as the interval, and one without a partner leaves with its slice.
    fn delay(&self) -> i64 {
        let reached_back = self.reach.iter().map(|(from, _)| from.saturating_neg()).max();
        let waits = self.shape.roles.iter().any(|role| role.emits_unmatched());
        let waiting = if waits {
            // A row waits until its own reach has passed, then for the rest of its slice.
            let reached_on = self.reach.iter().map(|(_, to)| *to).max();
            reached_on.unwrap_or(0).max(0).saturating_add(self.slice)
        } else {
            0
        };
        reached_back.unwrap_or(0).max(waiting).max(0)
    }
}

/// Tells whether a row needs no further partner once it has found one.
fn found_counts_once(role: Role) -> bool {
    matches!(role, Role::Semi | Role::Anti)
}

impl Arrived {
    fn take(&self, rows: &[u32]) -> Result<Self> {
        let indices = UInt32Array::from_iter_values(rows.iter().copied());
        let taken = take_record_batch(&self.rows, &indices)
            .map_err(|error| Error::compute("divide the rows of a join", error))?;
        Ok(Self {
            rows: taken,
            hashes: rows.iter().map(|row| self.hashes[*row as usize]).collect(),
            times: rows.iter().map(|row| self.times[*row as usize]).collect(),
        })
    }
}

impl Slice {
    fn push(&mut self, arrived: &Arrived, found: &[bool]) -> Result<()> {
        self.last = self.last.max(arrived.times.iter().max().copied());
        self.times.extend_from_slice(&arrived.times);
        self.marks.extend_from_slice(found);
        self.table.push(&arrived.rows, &arrived.hashes)
    }

    fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.times.capacity() * size_of::<i64>() + self.marks.capacity()
    }
}

impl Operator for IntervalJoin {
    fn name(&self) -> &'static str {
        "IntervalJoin"
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
        let (rows, weights) = batch.into_parts();
        if weights.is_some() {
            return Err(Error::Internal("an interval join takes no retractions".to_owned()));
        }
        let arrived = self.admit(port, &rows, out)?;
        if arrived.rows.num_rows() == 0 {
            return Ok(());
        }
        let found = self.probe(port, &arrived, out)?;
        self.keep(port, &arrived, &found, out)
    }

    fn watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<Watermark> {
        self.passed.advance(watermark.0);
        for side in 0..2 {
            self.expire(side, out)?;
        }
        if watermark == Watermark::MAX {
            return Ok(watermark);
        }
        Ok(Watermark(watermark.0.saturating_sub(self.unit.to_ms(self.delay()))))
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
            for Slice { table, marks, .. } in self.sides[side].values() {
                rows.add(table.batches(), table.hashes(), marks, self.key_groups);
            }
            rows.write(side, &self.shape.schemas[side], writer)?;
        }
        self.passed.write(writer)
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        self.passed.restore(state)?;
        for side in 0..2 {
            let is_tracked = self.shape.roles[side].is_tracked();
            for (rows, found) in state::read(side, &self.shape.schemas[side], state)? {
                let hashes = hash_keys(&rows, &self.keys[side])?;
                let times = self.times[side].values(&rows)?;
                let found = if is_tracked { found } else { Vec::new() };
                self.insert(side, &Arrived { rows, hashes, times }, &found)?;
            }
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.sides.iter().flat_map(BTreeMap::values).map(Slice::memory_bytes).sum()
    }

    fn late_rows(&self) -> u64 {
        self.late_rows
    }

    fn untimed_rows(&self) -> u64 {
        0
    }
}

#[cfg(test)]
#[path = "interval_join_tests.rs"]
mod tests;
