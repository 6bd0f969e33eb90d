//! Queries as SQL.

use super::table::Table;
use super::tree::{
    Aggregate, Bound, Call, Cut, Function, Interval, Join, JoinKind, Node, Op, Semi,
};

/// For whom the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Streaming,
    /// Plain SQL: a lookup join is a join.
    Batch,
}

/// Writes a query.
pub(crate) fn query(root: &Node, tables: &[Table], dialect: Dialect) -> String {
    let mut text = Text { tables, dialect, with: Vec::new() };
    let body = text.select(root);
    if text.with.is_empty() {
        return body;
    }
    format!("WITH {}\n{body}", text.with.join(",\n"))
}

struct Text<'a> {
    tables: &'a [Table],
    dialect: Dialect,
    /// What stands in WITH.
    with: Vec<String>,
}

impl Text<'_> {
    /// Writes what stands in FROM for a node.
    fn relation(&mut self, node: &Node) -> String {
        let alias = &node.alias;
        match &node.op {
            Op::Scan(table) => format!("{} AS {alias}", self.tables[*table].name),
            Op::Window { input, window, time } => {
                let source = match &input.op {
                    Op::Scan(table) => self.tables[*table].name.to_owned(),
                    _ => self.named(input),
                };
                let time = &input.columns[*time].name;
                let (function, lengths) = match window.cut {
                    Cut::Tumble(size) => ("TUMBLE", seconds(size)),
                    Cut::Hop(slide, size) => {
                        ("HOP", format!("{}, {}", seconds(slide), seconds(size)))
                    }
                    Cut::Cumulate(step, size) => {
                        ("CUMULATE", format!("{}, {}", seconds(step), seconds(size)))
                    }
                };
                format!(
                    "TABLE({function}(TABLE {source}, DESCRIPTOR({time}), {lengths})) AS {alias}"
                )
            }
            _ if node.named => self.named(node),
            _ => format!("({}) AS {alias}", self.select(node)),
        }
    }

    /// Puts a node into WITH and returns its name.
    fn named(&mut self, node: &Node) -> String {
        let definition = format!("{} AS ({})", node.alias, self.select(node));
        self.with.push(definition);
        node.alias.clone()
    }

    fn select(&mut self, node: &Node) -> String {
        match &node.op {
            Op::Scan(_) | Op::Window { .. } => format!("SELECT * FROM {}", self.relation(node)),
            Op::Select { input, items, filter } => {
                let name = |index: usize| name(input, index);
                let items = items.iter().map(|item| item.sql(&name));
                let head = head(node, items);
                let from = self.relation(input);
                let filter = filter.as_ref().map(|filter| format!(" WHERE {}", filter.sql(&name)));
                format!("SELECT {head} FROM {from}{}", filter.unwrap_or_default())
            }
            Op::Distinct { input, items } => {
                let head = head(node, items.iter().map(|item| name(input, *item)));
                format!("SELECT DISTINCT {head} FROM {}", self.relation(input))
            }
            Op::Aggregate(aggregate) => self.aggregate(node, aggregate),
            Op::Join(join) => self.join(node, join),
            Op::Semi(semi) => self.semi(node, semi),
            Op::Union(left, right) => {
                let left_names = head(node, (0..node.columns.len()).map(|index| name(left, index)));
                let right_names = (0..node.columns.len()).map(|index| name(right, index));
                let right_names = right_names.collect::<Vec<_>>().join(", ");
                let (left, right) = (self.relation(left), self.relation(right));
                format!(
                    "SELECT {left_names} FROM {left} UNION ALL SELECT {right_names} FROM {right}"
                )
            }
        }
    }

    fn aggregate(&mut self, node: &Node, aggregate: &Aggregate) -> String {
        let Aggregate { input, filter, keys, calls, having } = aggregate;
        let of_input = |index: usize| name(input, index);
        let outputs = keys.iter().map(|key| of_input(*key));
        let outputs = outputs.chain(calls.iter().map(|call| call_text(call, input)));
        let outputs = outputs.collect::<Vec<_>>();
        let from = self.relation(input);
        let mut text = format!("SELECT {} FROM {from}", head(node, outputs.iter().cloned()));
        if let Some(filter) = filter {
            text += " WHERE ";
            text += &filter.sql(&of_input);
        }
        if !keys.is_empty() {
            text += " GROUP BY ";
            text += &outputs[..keys.len()].join(", ");
        }
        if let Some(having) = having {
            text += " HAVING ";
            text += &having.sql(&|index| outputs[index].clone());
        }
        text
    }

    fn join(&mut self, node: &Node, join: &Join) -> String {
        let Join { kind, left, right, bound, on, condition, items } = join;
        let count = left.columns.len();
        let of_both = |index: usize| match index.checked_sub(count) {
            None => name(left, index),
            Some(index) => name(right, index),
        };
        let head = head(node, items.iter().map(|item| of_both(*item)));
        let equal = |(l, r): &(usize, usize)| format!("{} = {}", name(left, *l), name(right, *r));
        let mut on = on.iter().map(equal).collect::<Vec<_>>();
        match bound {
            Bound::Window(pairs) => on.extend(pairs.iter().map(equal)),
            Bound::Interval(interval) => on.push(within(interval, left, right)),
            Bound::Lookup(_) => {}
        }
        on.extend(condition.as_ref().map(|condition| condition.sql(&of_both)));
        let kind = match kind {
            JoinKind::Inner => "JOIN",
            JoinKind::Left => "LEFT JOIN",
            JoinKind::Right => "RIGHT JOIN",
            JoinKind::Full => "FULL JOIN",
        };
        let left_text = self.relation(left);
        let right_text = match (bound, self.dialect, &right.op) {
            (Bound::Lookup(time), Dialect::Streaming, Op::Scan(table)) => {
                let (table, alias) = (self.tables[*table].name, &right.alias);
                format!("{table} FOR SYSTEM_TIME AS OF {} AS {alias}", name(left, *time))
            }
            _ => self.relation(right),
        };
        format!("SELECT {head} FROM {left_text} {kind} {right_text} ON {}", on.join(" AND "))
    }

    fn semi(&mut self, node: &Node, semi: &Semi) -> String {
        let Semi { left, right, window, on, is_in, negated, items } = semi;
        let head = head(node, items.iter().map(|item| name(left, *item)));
        let same = |(l, r): &(usize, usize)| format!("{} = {}", name(right, *r), name(left, *l));
        let mut conditions = window.iter().map(same).collect::<Vec<_>>();
        let not = if *negated { "NOT " } else { "" };
        let (left_text, right_text) = (self.relation(left), self.relation(right));
        let (before, item) = if *is_in {
            (format!("{} {not}IN", name(left, on.0)), name(right, on.1))
        } else {
            conditions.push(same(on));
            (format!("{not}EXISTS"), "1".to_owned())
        };
        let conditions = conditions.join(" AND ");
        format!(
            "SELECT {head} FROM {left_text} WHERE {before} (SELECT {item} FROM {right_text} \
             WHERE {conditions})"
        )
    }
}

fn name(node: &Node, column: usize) -> String {
    format!("{}.{}", node.alias, node.columns[column].name)
}

fn head(node: &Node, items: impl Iterator<Item = String>) -> String {
    let items = items.zip(&node.columns).map(|(item, column)| format!("{item} AS {}", column.name));
    items.collect::<Vec<_>>().join(", ")
}

fn seconds(ms: i64) -> String {
    format!("INTERVAL '{}' SECOND", ms / 1000)
}

fn within(interval: &Interval, left: &Node, right: &Node) -> String {
    let (left, right) = (name(left, interval.left), name(right, interval.right));
    let plus = |ms: i64| match ms {
        negative if negative < 0 => format!("{right} - {}", seconds(-negative)),
        ms => format!("{right} + {}", seconds(ms)),
    };
    let (lower, upper) = (plus(interval.lower_ms), plus(interval.upper_ms));
    if interval.strict {
        format!("{left} > {lower} AND {left} < {upper}")
    } else {
        format!("{left} BETWEEN {lower} AND {upper}")
    }
}

fn call_text(call: &Call, input: &Node) -> String {
    let column = name(input, call.column);
    let text = match call.function {
        Function::Rows => "COUNT(*)".to_owned(),
        Function::Count => format!("COUNT({column})"),
        Function::CountDistinct => format!("COUNT(DISTINCT {column})"),
        Function::Sum => format!("SUM({column})"),
        Function::Min => format!("MIN({column})"),
        Function::Max => format!("MAX({column})"),
        Function::Average => format!("AVG({column})"),
    };
    match &call.filter {
        None => text,
        Some(filter) => {
            format!("{text} FILTER (WHERE {})", filter.sql(&|index| name(input, index)))
        }
    }
}
