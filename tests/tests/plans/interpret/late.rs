//! Which rows come too late, and which windows are over.

use super::{Interpreter, Marks, Row};
use crate::tree::{Node, Window};

impl Interpreter<'_> {
    /// Takes out the rows whose last moment, by `last_ms`, had passed when they came.
    pub(super) fn in_time(
        &self,
        rows: Vec<Row>,
        marks: impl Fn(Option<i64>) -> Marks,
        last_ms: impl Fn(&Row) -> Option<i64>,
    ) -> Vec<Row> {
        let is_late = |row: &Row| {
            let (Some(arrival), Some(last)) = (row.arrival_ms, last_ms(row)) else { return false };
            let marks = marks(Some(arrival));
            if marks.sure < last && last <= marks.possible {
                self.unclear.set(true);
            }
            last <= marks.possible
        };
        rows.into_iter().filter(|row| !is_late(row)).collect()
    }

    /// Takes out the rows of windows that were over when they came. `end` is their end's column.
    pub(super) fn in_open_windows(
        &self,
        rows: Vec<Row>,
        inputs: &[&Node],
        window: Window,
        end: usize,
    ) -> Vec<Row> {
        if window.processing {
            return rows;
        }
        let marks = |before| self.marks_of(inputs, before);
        self.in_time(rows, marks, |row| row.values[end].ms().map(|end| end - 1))
    }

    pub(super) fn marks_of(&self, inputs: &[&Node], before_ms: Option<i64>) -> Marks {
        let all = inputs.iter().map(|input| self.marks(input, before_ms));
        all.reduce(super::least).unwrap_or(Marks { sure: i64::MAX, possible: i64::MAX })
    }

    /// Tells of a window that ends then whether it may have fired, and whether it must have.
    pub(super) fn fired(
        &self,
        inputs: &[&Node],
        window: Window,
        end_ms: Option<i64>,
    ) -> (bool, bool) {
        if window.processing {
            return (true, true);
        }
        let marks = self.marks_of(inputs, None);
        let end = end_ms.unwrap_or(i64::MAX);
        (end.saturating_sub(1) <= marks.possible, end.saturating_sub(1) <= marks.sure)
    }
}
