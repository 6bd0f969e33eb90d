//! Joins, EXISTS and IN.

use super::{Interpreter, Row};
use crate::expression::{holds, is_in};
use crate::tree::{Bound, Interval, Join, Node, Semi};
use crate::value::Value;

impl Interpreter<'_> {
    pub(super) fn join(&self, join: &Join) -> Vec<Row> {
        let (left, right) = self.sides(join);
        let mut right_found = vec![false; right.len()];
        let mut out = Vec::new();
        for l in &left {
            let mut found = false;
            for (r, right_found) in right.iter().zip(&mut right_found) {
                if !matches(join, l, r) {
                    continue;
                }
                (found, *right_found) = (true, true);
                let values = l.values.iter().chain(&r.values).cloned().collect();
                out.extend(self.joined(join, l, values, true, 0));
            }
            if !found && join.kind.keeps_left() {
                let nulls = join.right.columns.iter().map(|_| Value::Null);
                let values = l.values.iter().cloned().chain(nulls).collect();
                out.extend(self.joined(join, l, values, false, 0));
            }
        }
        let alone = right.iter().zip(&right_found).filter(|(_, found)| !**found);
        for (r, _) in alone.filter(|_| join.kind.keeps_right()) {
            let nulls = join.left.columns.iter().map(|_| Value::Null);
            let values = nulls.chain(r.values.iter().cloned()).collect();
            out.extend(self.joined(join, r, values, false, 1));
        }
        for row in &mut out {
            row.values = join.items.iter().map(|item| row.values[*item].clone()).collect();
        }
        out
    }

    /// Returns the rows of both sides that are not late.
    fn sides(&self, join: &Join) -> (Vec<Row>, Vec<Row>) {
        let (left, right) = (self.rows(&join.left), self.rows(&join.right));
        let inputs = [&*join.left, &*join.right];
        match &join.bound {
            Bound::Lookup(_) => (left, right),
            Bound::Window(pairs) => self.in_window(&inputs, left, right, pairs[1]),
            Bound::Interval(interval) => {
                let marks = |before| self.marks_of(&inputs, before);
                let left = self.in_time(left, marks, |row| row.values[interval.left].ms());
                (left, self.in_time(right, marks, |row| row.values[interval.right].ms()))
            }
        }
    }

    fn in_window(
        &self,
        inputs: &[&Node; 2],
        left: Vec<Row>,
        right: Vec<Row>,
        ends: (usize, usize),
    ) -> (Vec<Row>, Vec<Row>) {
        let Some((window, ..)) = inputs[0].window() else { return (left, right) };
        let counts = (left.len(), right.len());
        let left = self.in_open_windows(left, inputs, window, ends.0);
        let right = self.in_open_windows(right, inputs, window, ends.1);
        // What can have no partner may not be joined at all, and then nothing is late.
        let is_late = counts != (left.len(), right.len());
        if is_late && inputs.iter().any(|input| self.rows(input).is_empty()) {
            self.unclear.set(true);
        }
        (left, right)
    }

    /// Makes a row of a join's output, `kept` being the row of the side that it certainly is of.
    fn joined(
        &self,
        join: &Join,
        kept: &Row,
        values: Vec<Value>,
        matched: bool,
        side: usize,
    ) -> Option<Row> {
        let inputs = [&*join.left, &*join.right];
        match &join.bound {
            Bound::Lookup(_) => Some(Row { values, ..*kept }),
            Bound::Window([_, ends]) => {
                let end = kept.values[if side == 0 { ends.0 } else { ends.1 }].ms();
                let (window, ..) = join.left.window()?;
                let (may, must) = self.fired(&inputs, window, end);
                // What has no partner because of a NULL, or because there are none, need not wait.
                let mut keys = join.on.iter().map(|(l, r)| if side == 0 { *l } else { *r });
                let is_null = keys.any(|key| kept.values[key].is_null());
                let alone = !matched && (is_null || self.rows(inputs[1 - side]).is_empty());
                (may || alone).then_some(Row { values, arrival_ms: None, due: must })
            }
            Bound::Interval(interval) => {
                let reach = interval.upper_ms - interval.lower_ms;
                let wait = interval.lower_ms.abs().max(interval.upper_ms.abs()) + reach + 1000;
                let time = if side == 0 { interval.left } else { interval.right };
                let last = kept.values[time].ms().map_or(i64::MIN, |time| time + wait);
                let due = matched || self.ended || last <= self.marks_of(&inputs, None).sure;
                Some(Row { values, arrival_ms: None, due })
            }
        }
    }

    pub(super) fn semi(&self, semi: &Semi) -> Vec<Row> {
        let inputs = [&*semi.left, &*semi.right];
        let [starts, ends] = semi.window;
        let (left, right) = (self.rows(&semi.left), self.rows(&semi.right));
        let (left, right) = self.in_window(&inputs, left, right, ends);
        let Some((window, ..)) = semi.left.window() else { return Vec::new() };
        let mut out = Vec::new();
        for l in left {
            let same = |(a, b): (usize, usize), r: &Row| equal(&l.values[a], &r.values[b]);
            let of_window = right.iter().filter(|r| same(starts, r) && same(ends, r));
            let mut others = of_window.map(|r| &r.values[semi.on.1]);
            let value = &l.values[semi.on.0];
            let truth = if semi.is_in {
                is_in(value, others)
            } else {
                Some(others.any(|other| equal(value, other)))
            };
            let (may, must) = self.fired(&inputs, window, l.values[ends.0].ms());
            // What is decided by NULL, or because there are no others, need not wait.
            let alone = (value.is_null() && !semi.is_in) || right.is_empty();
            if truth == Some(!semi.negated) && (may || alone) {
                let values = semi.items.iter().map(|item| l.values[*item].clone()).collect();
                out.push(Row { values, arrival_ms: None, due: must });
            }
        }
        out
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    a.compare(b).is_some_and(std::cmp::Ordering::is_eq)
}

fn matches(join: &Join, l: &Row, r: &Row) -> bool {
    let same = |(a, b): &(usize, usize)| equal(&l.values[*a], &r.values[*b]);
    let bound = match &join.bound {
        Bound::Window(pairs) => pairs.iter().all(same),
        Bound::Interval(interval) => within(interval, l, r),
        Bound::Lookup(_) => true,
    };
    bound && join.on.iter().all(same) && {
        let both = l.values.iter().chain(&r.values).cloned().collect::<Vec<_>>();
        join.condition.as_ref().is_none_or(|condition| condition.truth(&both) == Some(true))
    }
}

fn within(interval: &Interval, l: &Row, r: &Row) -> bool {
    let Value::Time(left) = l.values[interval.left] else { return false };
    let Value::Time(right) = r.values[interval.right] else { return false };
    let distance = left - right;
    let (above, below) = if interval.strict { (">", "<") } else { (">=", "<=") };
    holds(above, distance.cmp(&(interval.lower_ms * 1000)))
        && holds(below, distance.cmp(&(interval.upper_ms * 1000)))
}
