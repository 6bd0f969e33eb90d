//! GROUP BY and DISTINCT.

use super::{Interpreter, Row};
use crate::tree::{Aggregate, Call, Function, Node};
use crate::value::Value;

/// Rows of equal keys.
struct Group {
    keys: Vec<Value>,
    rows: Vec<Row>,
}

impl Interpreter<'_> {
    pub(super) fn aggregate(&self, aggregate: &Aggregate) -> Vec<Row> {
        let Aggregate { input, filter, keys, calls, having } = aggregate;
        let mut rows = self.rows(input);
        rows.retain(|row| {
            filter.as_ref().is_none_or(|filter| filter.truth(&row.values) == Some(true))
        });
        let mut out = Vec::new();
        for group in self.groups(input, keys, rows) {
            let results = calls.iter().map(|call| result(call, &group.rows));
            let values = group.keys.iter().cloned().chain(results).collect::<Vec<_>>();
            if having.as_ref().is_none_or(|having| having.truth(&values) == Some(true)) {
                out.extend(self.emitted(input, keys, values, &group.rows));
            }
        }
        out
    }

    pub(super) fn distinct(&self, input: &Node, items: &[usize]) -> Vec<Row> {
        let windowed = input.window_among(items).is_some();
        let groups = self.groups(input, items, self.rows(input)).into_iter();
        let rows = groups.filter_map(|group| {
            let first = group.rows.iter().filter_map(|row| row.arrival_ms).min();
            let emitted = self.emitted(input, items, group.keys, &group.rows);
            let arrival_ms = if windowed { None } else { first };
            emitted.map(|row| Row { arrival_ms, ..row })
        });
        rows.collect()
    }

    /// Returns what a group emits, if it does.
    fn emitted(
        &self,
        input: &Node,
        keys: &[usize],
        values: Vec<Value>,
        rows: &[Row],
    ) -> Option<Row> {
        let open = !self.ended && !rows.iter().all(|row| row.due);
        let Some((window, _, end)) = input.window_among(keys) else {
            if open || (rows.is_empty() && !self.ended) {
                self.unclear.set(true);
            }
            return Some(Row { values, arrival_ms: None, due: true });
        };
        let end = keys.iter().position(|key| *key == end).and_then(|at| values[at].ms());
        let (may, must) = self.fired(&[input], window, end);
        if may && open {
            self.unclear.set(true);
        }
        may.then_some(Row { values, arrival_ms: None, due: must })
    }

    fn groups(&self, input: &Node, keys: &[usize], rows: Vec<Row>) -> Vec<Group> {
        let rows = match input.window_among(keys) {
            Some((window, _, end)) => self.in_open_windows(rows, &[input], window, end),
            None => rows,
        };
        let mut groups: Vec<Group> = Vec::new();
        for row in rows {
            let of_row = keys.iter().map(|key| row.values[*key].clone()).collect::<Vec<_>>();
            let same = |group: &&mut Group| {
                group.keys.iter().zip(&of_row).all(|(a, b)| a.order(b).is_eq())
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.rows.push(row),
                None => groups.push(Group { keys: of_row, rows: vec![row] }),
            }
        }
        if keys.is_empty() && groups.is_empty() {
            groups.push(Group { keys: Vec::new(), rows: Vec::new() });
        }
        groups
    }
}

fn result(call: &Call, rows: &[Row]) -> Value {
    let counted = rows.iter().filter(|row| {
        call.filter.as_ref().is_none_or(|filter| filter.truth(&row.values) == Some(true))
    });
    if call.function == Function::Rows {
        return Value::Int(counted.count() as i64);
    }
    let values = counted.map(|row| row.values[call.column].clone());
    let mut values = values.filter(|value| !value.is_null()).collect::<Vec<_>>();
    values.sort_by(Value::order);
    match call.function {
        Function::Count => Value::Int(values.len() as i64),
        Function::CountDistinct => {
            values.dedup_by(|a, b| a.order(b).is_eq());
            Value::Int(values.len() as i64)
        }
        _ if values.is_empty() => Value::Null,
        Function::Min => values[0].clone(),
        Function::Max => values[values.len() - 1].clone(),
        Function::Average => {
            let sum = values.iter().map(Value::number).sum::<f64>();
            Value::Float(sum / values.len() as f64)
        }
        _ => values.iter().fold(Value::Null, |sum, value| match (sum, value) {
            (Value::Int(sum), Value::Int(value)) => Value::Int(sum + value),
            (Value::Float(sum), Value::Float(value)) => Value::Float(sum + value),
            (_, first) => first.clone(),
        }),
    }
}
