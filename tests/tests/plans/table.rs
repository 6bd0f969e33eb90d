//! Tables and their rows.

use std::fmt::Write as _;

use super::random::Random;
use super::tree::{Column, Role};
use super::value::{START_MS, Type, Value};

/// Time between two batches of a table.
const BATCH_INTERVAL_MS: i64 = 1000;
/// When all streams end, after the clock's beginning.
pub(crate) const OPEN_MS: i64 = 3_600_000;
/// The table that a lookup join reads; those before it are streams.
pub(crate) const LOOKUP: usize = 2;

#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// Rows of physical columns.
    pub(crate) batches: Vec<Vec<Vec<Value>>>,
    /// Digits of its times' seconds.
    pub(crate) precision: u8,
    pub(crate) bound_ms: i64,
    /// Whether the planner is told that it ends.
    pub(crate) bounded: bool,
    first_ms: i64,
}

impl Table {
    /// Makes the two streams and the table to look up.
    pub(crate) fn all(random: &mut Random) -> Vec<Self> {
        let precision = *random.pick(&[3, 6]);
        let streams = ["a", "b"].into_iter().enumerate().map(|(index, name)| {
            let mut table = Self {
                name,
                batches: Vec::new(),
                precision,
                bound_ms: random.between(0, 4) * 1000,
                bounded: random.percent(50),
                first_ms: 250 + 400 * index as i64,
            };
            for batch in 0..random.between(0, 6) {
                let rows = random.between(1, 5);
                table.batches.push((0..rows).map(|_| row(random, batch, precision)).collect());
            }
            table
        });
        let mut all = streams.collect::<Vec<_>>();
        let rows = (0..random.between(0, 5))
            .map(|_| vec![integer(random, 0, 4), integer(random, -5, 20), text(random)]);
        let batches = vec![rows.collect()];
        all.push(Self { name: "d", batches, precision, bound_ms: 0, bounded: true, first_ms: 0 });
        all
    }

    /// Returns the columns, PROCTIME() as the last of a stream.
    pub(crate) fn columns(index: usize) -> Vec<Column> {
        let column = |(name, of): (&str, Type)| Column {
            name: name.to_owned(),
            of,
            role: match name {
                "ts" => Role::Event,
                "pt" => Role::Processing,
                _ => Role::Plain,
            },
        };
        let (int, text) = (Type::Int, Type::Text);
        if index == LOOKUP {
            return [("k", int), ("n", int), ("s", text)].map(column).into();
        }
        let (float, time) = (Type::Float, Type::Time);
        [("k", int), ("v", int), ("s", text), ("f", float), ("ts", time), ("pt", time)]
            .map(column)
            .into()
    }

    /// Returns when a batch comes, in milliseconds.
    pub(crate) fn arrival_ms(&self, batch: usize) -> i64 {
        START_MS + self.first_ms + batch as i64 * BATCH_INTERVAL_MS
    }

    pub(crate) fn definition(&self, index: usize) -> String {
        let precision = self.precision;
        let mut columns = String::new();
        for column in Self::columns(index) {
            // Writing into a string does not fail.
            let _ = match column.role {
                Role::Event => write!(columns, "ts TIMESTAMP({precision}), "),
                Role::Processing => write!(columns, "pt AS PROCTIME(), "),
                _ => write!(columns, "{} {}, ", column.name, column.of.sql()),
            };
        }
        let batches = self
            .batches
            .iter()
            .map(|rows| rows.iter().map(|row| json(index, row)).collect::<Vec<_>>().join("\n"));
        let rows = batches.collect::<Vec<_>>().join("\n\n");
        let name = self.name;
        if index == LOOKUP {
            let columns = columns.trim_end_matches(", ");
            return format!(
                "CREATE TABLE {name} ({columns}) WITH ('connector' = 'values', 'rows' = '\n{rows}');\n"
            );
        }
        let last = self.arrival_ms(self.batches.len().saturating_sub(1));
        let open = START_MS + OPEN_MS - last;
        let (bound, bounded, first) = (self.bound_ms / 1000, self.bounded, self.first_ms);
        format!(
            "CREATE TABLE {name} ({columns}WATERMARK FOR ts AS ts - INTERVAL '{bound}' SECOND) WITH (
  'connector' = 'values', 'bounded' = '{bounded}', 'first-batch-after-ms' = '{first}',
  'batch-interval-ms' = '{BATCH_INTERVAL_MS}', 'stays-open-ms' = '{open}', 'rows' = '\n{rows}');\n"
        )
    }
}

fn json(index: usize, row: &[Value]) -> String {
    let columns = Table::columns(index);
    let fields = columns.iter().zip(row);
    let fields = fields.map(|(column, value)| format!("\"{}\": {}", column.name, value.json()));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
}

/// Times rise by about four seconds from batch to batch, out of order and now and then late.
fn row(random: &mut Random, batch: i64, precision: u8) -> Vec<Value> {
    let half = Value::Float(random.between(-4, 20) as f64 / 2.0);
    let float = if random.percent(10) { Value::Null } else { half };
    let late = if random.percent(8) { 12_000 } else { 0 };
    let ms = batch * 4000 + random.between(0, 5) * 1000 - late;
    let part = if random.percent(40) { random.between(0, 999) } else { 0 };
    let micros = if precision == 6 && random.percent(50) { random.between(0, 999) } else { 0 };
    let time = Value::Time((START_MS + ms + part) * 1000 + micros);
    let time = if random.percent(4) { Value::Null } else { time };
    vec![integer(random, 0, 3), integer(random, -5, 20), text(random), float, time]
}

fn integer(random: &mut Random, first: i64, last: i64) -> Value {
    if random.percent(12) { Value::Null } else { Value::Int(random.between(first, last)) }
}

fn text(random: &mut Random) -> Value {
    if random.percent(12) {
        return Value::Null;
    }
    Value::Text((*random.pick(&["a", "b", "c", ""])).to_owned())
}
