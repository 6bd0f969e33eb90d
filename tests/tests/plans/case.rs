//! A query over tables, and whether the engine answers it rightly.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::engine::{Changes, Emitted, plan, run};
use super::interpret::{self, Row};
use super::random::Random;
use super::table::Table;
use super::text::{Dialect, query};
use super::tree::Node;
use super::value::Value;
use super::{batch, generate};

#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) tables: Vec<Table>,
    pub(crate) root: Node,
}

/// What is wrong, and how.
#[derive(Debug, Clone)]
pub(crate) struct Difference {
    /// The same for faults that look alike.
    pub(crate) kind: String,
    pub(crate) detail: String,
}

/// How a query that is no fault went.
#[derive(Debug)]
pub(crate) enum Outcome {
    Right,
    /// It is not supported.
    Refused(String),
}

/// How often each row is there; those that must be and those that may be.
type Counts = BTreeMap<String, i64>;

impl Case {
    pub(crate) fn new(random: &mut Random) -> Self {
        let tables = Table::all(random);
        Self { root: generate::query(random), tables }
    }

    pub(crate) fn script(&self) -> String {
        let mut script = String::new();
        for (index, table) in self.tables.iter().enumerate() {
            script += &table.definition(index);
        }
        script + &query(&self.root, &self.tables, Dialect::Streaming) + ";\n"
    }

    /// Runs the query as one task and as three.
    ///
    /// # Errors
    /// The first difference to what it has to answer.
    pub(crate) fn check(&self) -> Result<Outcome, Difference> {
        let end = interpret::answer(&self.root, &self.tables, true);
        if let Some(rows) = &end {
            self.check_batch(rows)?;
        }
        let before = interpret::answer(&self.root, &self.tables, false);
        for parallelism in [1, 3] {
            let graph = match plan(&self.script(), parallelism) {
                Ok(graph) => graph,
                Err(detail) if detail.contains("code: Unsupported") => {
                    return Ok(Outcome::Refused(said(&detail)));
                }
                Err(detail) => return Err(Difference { kind: said(&detail), detail }),
            };
            let emitted = run(graph).map_err(|detail| Difference {
                kind: format!("failed: {}", said(&detail)),
                detail,
            })?;
            let Emitted { before_end, at_end } = emitted;
            if let Some(rows) = &before {
                compare(&format!("before the end, {parallelism} tasks"), rows, &before_end)?;
            }
            if let Some(rows) = &end {
                let all = before_end.into_iter().chain(at_end).collect::<Changes>();
                compare(&format!("at the end, {parallelism} tasks"), rows, &all)?;
            }
        }
        Ok(Outcome::Right)
    }

    fn check_batch(&self, rows: &[Row]) -> Result<(), Difference> {
        if !batch::is_plain(&self.root) {
            return Ok(());
        }
        let answer = match batch::answer(&self.root, &self.tables) {
            Ok(answer) => answer,
            // It has faults of its own, of which its optimiser says that they are.
            Err(detail) if detail.contains("Internal error") => return Ok(()),
            Err(detail) => {
                return Err(Difference { kind: "DataFusion refuses".to_owned(), detail });
            }
        };
        let answer = answer.into_iter().map(|row| (row, 1)).collect::<Changes>();
        compare("DataFusion against the interpreter", rows, &answer)
    }
}

/// Returns what a message says, without what differs from query to query.
fn said(message: &str) -> String {
    let said = message.split_once("message: \"").map_or(message, |(_, said)| said);
    said.chars().take(70).filter(|letter| !letter.is_ascii_digit()).collect()
}

fn text(row: &[Value]) -> String {
    row.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ")
}

fn compare(what: &str, expected: &[Row], found: &Changes) -> Result<(), Difference> {
    let (mut must, mut may, mut is) = (Counts::new(), Counts::new(), Counts::new());
    for row in expected {
        let line = text(&row.values);
        *must.entry(line.clone()).or_default() += i64::from(row.due);
        *may.entry(line).or_default() += 1;
    }
    for (row, weight) in found {
        *is.entry(text(row)).or_default() += weight;
    }
    is.retain(|_, count| *count != 0);
    let count = |counts: &Counts, row: &String| counts.get(row).copied().unwrap_or(0);
    let missing = must.keys().any(|row| count(&is, row) < count(&must, row));
    let surplus = is.keys().any(|row| count(&is, row) > count(&may, row));
    if !missing && !surplus {
        return Ok(());
    }
    let mut detail = format!("{what}: must be, may be, is\n");
    for row in may.keys().chain(is.keys().filter(|row| !may.contains_key(*row))) {
        let (must, may, is) = (count(&must, row), count(&may, row), count(&is, row));
        let mark = if is < must || is > may { "  <--" } else { "" };
        // Writing into a string does not fail.
        let _ = writeln!(detail, "{must} {may} {is}  {row}{mark}");
    }
    let sign = match (missing, surplus) {
        (true, true) => "rows differ",
        (true, false) => "rows are missing",
        _ => "rows are too many",
    };
    let when = what.split(',').next().unwrap_or(what);
    Err(Difference { kind: format!("{when}: {sign}"), detail })
}
