//! What a query has to answer, by the plainest means: rows in vectors and nested loops.
//!
//! An answer has all the rows that may have been emitted, and of each whether it must have been.
//! They differ only before the end, where SQL leaves the moment open.

mod aggregate;
mod join;
mod late;

use std::cell::Cell;

use super::table::{LOOKUP, Table};
use super::tree::{Bound, Cut, Join, Node, Op, Window};
use super::value::Value;

/// A row of some node.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) values: Vec<Value>,
    /// When it came, in milliseconds, where it is one that may be late.
    arrival_ms: Option<i64>,
    /// Whether it must have been emitted.
    pub(crate) due: bool,
}

/// How far event time is, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Marks {
    /// At least.
    sure: i64,
    /// At most.
    possible: i64,
}

pub(crate) struct Interpreter<'a> {
    tables: &'a [Table],
    ended: bool,
    /// Whether SQL leaves the answer open.
    unclear: Cell<bool>,
}

/// Answers a query at the end of its input, or when all rows have come but not the end; `None`
/// where SQL leaves the answer open.
pub(crate) fn answer(root: &Node, tables: &[Table], ended: bool) -> Option<Vec<Row>> {
    let interpreter = Interpreter { tables, ended, unclear: Cell::new(false) };
    let rows = interpreter.rows(root);
    (!interpreter.unclear.get()).then_some(rows)
}

impl Interpreter<'_> {
    fn rows(&self, node: &Node) -> Vec<Row> {
        match &node.op {
            Op::Scan(table) => self.scan(*table),
            Op::Select { input, items, filter } => {
                let mut rows = self.rows(input);
                rows.retain(|row| {
                    filter.as_ref().is_none_or(|filter| filter.truth(&row.values) == Some(true))
                });
                for row in &mut rows {
                    row.values = items.iter().map(|item| item.value(&row.values)).collect();
                }
                rows
            }
            Op::Window { input, window, time } => {
                let rows = self.rows(input).into_iter();
                rows.flat_map(|row| windows_of(&row, *window, *time)).collect()
            }
            Op::Aggregate(aggregate) => self.aggregate(aggregate),
            Op::Distinct { input, items } => self.distinct(input, items),
            Op::Join(join) => self.join(join),
            Op::Semi(semi) => self.semi(semi),
            Op::Union(left, right) => {
                let mut rows = self.rows(left);
                rows.extend(self.rows(right));
                rows
            }
        }
    }

    fn scan(&self, table: usize) -> Vec<Row> {
        let batches = self.tables[table].batches.iter().enumerate();
        batches
            .flat_map(|(batch, rows)| {
                let arrival_ms = self.tables[table].arrival_ms(batch);
                rows.iter().map(move |values| {
                    let mut values = values.clone();
                    if table != LOOKUP {
                        values.push(Value::Time(arrival_ms * 1000));
                    }
                    Row { values, arrival_ms: Some(arrival_ms), due: true }
                })
            })
            .collect()
    }

    /// Returns how far the watermark of a node was before a time, or is now.
    fn marks(&self, node: &Node, before_ms: Option<i64>) -> Marks {
        if self.ended && before_ms.is_none() {
            return Marks { sure: i64::MAX, possible: i64::MAX };
        }
        match &node.op {
            Op::Scan(table) => {
                let mark = scan_mark(&self.tables[*table], before_ms);
                Marks { sure: mark, possible: mark }
            }
            Op::Join(Join { left, bound: Bound::Lookup(_), .. }) => self.marks(left, before_ms),
            Op::Join(Join { left, right, bound: Bound::Interval(interval), .. }) => {
                let marks = least(self.marks(left, before_ms), self.marks(right, before_ms));
                let reach = interval.lower_ms.abs().max(interval.upper_ms.abs());
                Marks { sure: marks.sure.saturating_sub(4 * reach + 2000), ..marks }
            }
            _ => {
                let inputs = node.inputs().into_iter().map(|input| self.marks(input, before_ms));
                inputs.reduce(least).unwrap_or(Marks { sure: i64::MAX, possible: i64::MAX })
            }
        }
    }
}

fn least(a: Marks, b: Marks) -> Marks {
    Marks { sure: a.sure.min(b.sure), possible: a.possible.min(b.possible) }
}

fn scan_mark(table: &Table, before_ms: Option<i64>) -> i64 {
    let batches = table.batches.iter().enumerate();
    let seen = batches
        .filter(|(batch, _)| before_ms.is_none_or(|before| table.arrival_ms(*batch) < before));
    let times = seen.flat_map(|(_, rows)| rows.iter().filter_map(|row| row[4].ms()));
    times.max().map_or(i64::MIN, |time| time - table.bound_ms - 1)
}

/// Returns a row once for each of its windows, with their start, end and time.
fn windows_of(row: &Row, window: Window, time: usize) -> Vec<Row> {
    let Some(ms) = row.values[time].ms() else { return Vec::new() };
    let windows = match window.cut {
        Cut::Tumble(size) => {
            let start = ms.div_euclid(size) * size;
            vec![(start, start + size)]
        }
        Cut::Hop(slide, size) => {
            let last = ms.div_euclid(slide) * slide;
            let starts = (0..size / slide).map(|back| last - back * slide);
            starts.map(|start| (start, start + size)).collect()
        }
        Cut::Cumulate(step, size) => {
            let start = ms.div_euclid(size) * size;
            let ends = (1..=size / step).map(|steps| start + steps * step);
            ends.filter(|end| ms < *end).map(|end| (start, end)).collect()
        }
    };
    let with = |(start, end): (i64, i64)| {
        let added = [start, end, end - 1].map(|ms| Value::Time(ms * 1000));
        let values = row.values.iter().cloned().chain(added).collect();
        Row { values, ..*row }
    };
    windows.into_iter().map(with).collect()
}
