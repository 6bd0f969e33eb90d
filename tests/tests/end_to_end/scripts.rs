//! SQL with its expected rows: every file in `tests/sql`, on one worker and in parallel.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

use super::program::{LocalCluster, Place, trial};

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
