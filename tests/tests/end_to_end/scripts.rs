//! SQL with its expected rows: every file in `tests/sql`, on one worker and in parallel.
//!
//! What streams can do of it runs once more with all tables held open after their last row, and
//! has to show the same rows while they are. Of windows and joins within an interval only those
//! are due whose time has passed: a comment in the query says which, by how they begin, as in
//! `-- before the end: 2024-01-01 00:00:00.000`. A count without a row to count is due at the end.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

use super::before_end::expect_shown;
use super::program::{LocalCluster, Place, trial};

/// What says in a query which of its rows are due before its input ends.
const DUE: &str = "-- before the end: ";
/// Makes streams of all that can be, and holds their sources open.
const HELD_OPEN: [&str; 4] =
    ["--set", "execution.runtime-mode=streaming", "--set", "table.exec.source.stays-open=1 h"];
/// Operators that hold rows back until their time has passed.
const WAIT: [&str; 2] = ["Window", "IntervalJoin"];

pub(crate) fn trials() -> Vec<Trial> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let mut files = std::fs::read_dir(folder)
        .expect("the SQL scripts")
        .map(|entry| entry.expect("an entry of a folder").path())
        .collect::<Vec<_>>();
    files.sort();
    let runs = files.into_iter().flat_map(|file| ["1", "3"].map(|tasks| (file.clone(), tasks)));
    runs.map(|(file, tasks)| {
        let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        trial(format!("sql::{name}::parallelism_{tasks}"), move || check(file, tasks))
    })
    .collect()
}

async fn check(file: PathBuf, parallelism: &'static str) -> Result<(), Failed> {
    let place = Place::new();
    let cluster = LocalCluster::start(&place, "1").await?;
    let master = &cluster.master;
    let place = &place;
    let mut runner =
        Runner::new(|| async { Ok(Prompt { place, master: master.clone(), parallelism }) });
    runner.run_file_async(file).await.map_err(|error| error.display(false).to_string())?;
    cluster.kill().await?;
    Ok(())
}

/// A database whose every statement is a run of the program.
struct Prompt<'a> {
    place: &'a Place,
    master: String,
    parallelism: &'static str,
}

/// What the program said when it failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

#[async_trait::async_trait]
impl AsyncDB for Prompt<'_> {
    type Error = Refused;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refused> {
        let arguments = ["sql", "-c", sql, "--format", "csv", "--master", &self.master];
        let tasks = ["--parallelism", self.parallelism];
        let ended = self.place.run(arguments.into_iter().chain(tasks)).await;
        if ended.code != Some(0) {
            return Err(Refused(ended.stderr));
        }
        if self.parallelism != "1" {
            self.look_before_the_end(sql, &ended.stdout).await?;
        }
        Ok(rows_of(&ended.stdout))
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &'static str {
        "rainstorm"
    }

    async fn sleep(_: Duration) {}

    async fn run_command(mut command: Command) -> std::io::Result<std::process::Output> {
        command.output()
    }
}

impl Prompt<'_> {
    /// Expects of a query that streams can answer the rows of `csv` before its input ends.
    async fn look_before_the_end(&self, sql: &str, csv: &str) -> Result<(), Refused> {
        let is_query = ["SELECT", "WITH", "VALUES"].iter().any(|word| sql.starts_with(word));
        let mut expected = csv.lines().skip(1).collect::<Vec<_>>();
        // The client sorts all rows and shows the first of them when it has all.
        let is_cut = sql.contains("ORDER BY") && sql.contains("LIMIT");
        if !is_query || is_cut || expected.is_empty() {
            return Ok(());
        }
        let tail = ["--master", &self.master, "--parallelism", self.parallelism];
        let tail = || HELD_OPEN.into_iter().chain(tail);
        let explain = format!("EXPLAIN {sql}");
        let explain = ["sql", "-c", &explain, "--format", "csv"].into_iter().chain(tail());
        let plan = self.place.run(explain).await;
        if plan.code != Some(0) || !plan.stdout.contains("== job graph ==") {
            return Ok(());
        }
        let beginnings = sql.lines().filter_map(|line| line.trim().strip_prefix(DUE));
        let beginnings = beginnings.collect::<Vec<_>>();
        if !beginnings.is_empty() {
            expected.retain(|row| beginnings.iter().any(|begin| row.starts_with(begin)));
        } else if WAIT.iter().any(|operator| plan.stdout.contains(operator)) {
            return Ok(());
        }
        let is_nothing = |row: &&str| row.split(',').all(|cell| matches!(cell, "" | "0"));
        if plan.stdout.contains("GroupAggregate: keys []") && expected.len() == 1 {
            expected.retain(|row| !is_nothing(row));
        }
        if expected.is_empty() {
            return Ok(());
        }
        expected.sort_unstable();
        let show = ["sql", "-c", sql, "--format", "changelog"].into_iter().chain(tail());
        let shown = expect_shown(self.place.start(show), &expected).await;
        shown.map_err(|failed| Refused(format!("before the end: {failed:?}")))
    }
}

/// Takes CSV apart; the scripts' values contain neither commas nor quotes.
fn rows_of(csv: &str) -> DBOutput<DefaultColumnType> {
    let mut lines = csv.lines();
    let Some(header) = lines.next() else { return DBOutput::StatementComplete(0) };
    let cell = |text: &str| if text.is_empty() { "NULL".to_owned() } else { text.to_owned() };
    DBOutput::Rows {
        types: vec![DefaultColumnType::Any; header.split(',').count()],
        rows: lines.map(|line| line.split(',').map(cell).collect()).collect(),
    }
}
