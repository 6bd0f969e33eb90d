//! `rainstorm nexmark`: runs the benchmark's queries and measures them.

mod files;
mod measure;
mod queries;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use arrow::error::ArrowError;
use rainstorm_proto::client::ExecuteRequest;
use serde::{Deserialize, Serialize};

use self::measure::Usage;
use self::queries::Query;
use super::local::this_program;
use super::run::script_request;
use super::serve::stdin_ended;
use crate::cli::Context;
use crate::cli::args::{Nexmark, NexmarkFormat, NexmarkSource, ScriptOptions, Target};
use crate::cli::error::{CliError, Result};
use crate::cli::execute::{Outcome, Screen, complain, execute};
use crate::cli::output::{Format, show_batch, write_results};
use crate::cli::reach::reach_or_start;

/// How long a child may take to tidy up before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Rows of the side table of q13.
const SIDE_ROWS: u32 = 10_000;

/// What was measured of a query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Measurement {
    query: String,
    events: u64,
    rows_out: u64,
    wall_seconds: f64,
    cpu_seconds: f64,
    events_per_second: f64,
    peak_memory_bytes: u64,
}

/// Runs each query in a child process, so that peaks of memory do not add up.
pub(crate) async fn nexmark(nexmark: Nexmark, context: &Context) -> Result<()> {
    if nexmark.in_process {
        return run_here(&nexmark, context).await;
    }
    if let Some(directory) = &nexmark.write {
        files::check_empty(directory)?;
        let measurement = run_child("write", &nexmark, context).await?;
        let rows = measurement.rows_out;
        complain(&format!("{rows} events written in {:.2} s\n", measurement.wall_seconds));
        return Ok(());
    }
    let mut measurements = Vec::new();
    let mut failed = Vec::new();
    for query in queries::selected(&nexmark.queries)? {
        match run_child(query.name, &nexmark, context).await {
            Ok(measurement) => {
                if nexmark.format == NexmarkFormat::Json {
                    write_results(json_line(&measurement)?.as_bytes())?;
                }
                measurements.push(measurement);
            }
            Err(CliError::Interrupted) => return Err(CliError::Interrupted),
            Err(error) => {
                complain(&format!("{} failed\n", query.name));
                error.report();
                failed.push(query.name);
            }
        }
    }
    if nexmark.format == NexmarkFormat::Table {
        let rows = table(&measurements).map_err(|error| CliError::failed("show rows", &error))?;
        write_results(&show_batch(&rows, Format::Table)?)?;
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(CliError::new(format!("queries that failed: {}", failed.join(", "))))
}

/// Runs a query in a child process and returns what it measured.
async fn run_child(query: &str, nexmark: &Nexmark, context: &Context) -> Result<Measurement> {
    let failed = |error| CliError::io(format!("run {query} in a process"), error);
    let mut command = this_program(context).map_err(failed)?;
    command.args(["nexmark", "--in-process", "--format", "json", "--queries", query]);
    if nexmark.input.is_none() {
        command.args(["--events", &nexmark.events.to_string()]);
    }
    if let Some(parallelism) = nexmark.parallelism {
        command.args(["--parallelism", &parallelism.to_string()]);
    }
    if let Some(input) = &nexmark.input {
        command.args(["--source", "parquet", "--input"]).arg(input);
    }
    if let Some(write) = &nexmark.write {
        command.arg("--write").arg(write);
    }
    for (key, value) in &nexmark.settings {
        command.args(["--set", &format!("{key}={value}")]);
    }
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut operation = context.interrupt.begin();
    let mut child = command.spawn().map_err(failed)?;
    // It ends when this closes, also by this process's death.
    let stdin = child.stdin.take().expect("its input is piped");
    let ended = child.wait_with_output();
    tokio::pin!(ended);
    let output = tokio::select! {
        output = &mut ended => output.map_err(failed)?,
        () = operation.interrupted() => {
            drop(stdin);
            let _ = tokio::time::timeout(STOP_TIMEOUT, ended).await;
            return Err(CliError::Interrupted);
        }
    };
    if !output.status.success() {
        // The child has told why.
        return Err(CliError::Reported);
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| CliError::failed(format!("read what {query} measured"), &error))
}

/// Runs one query on a cluster in this process and prints what it measured as JSON.
async fn run_here(nexmark: &Nexmark, context: &Context) -> Result<()> {
    let directory = Scratch::new()?;
    let events = match &nexmark.input {
        Some(input) => files::num_rows(input)?,
        None => nexmark.events,
    };
    let (name, request) = request(nexmark, &directory.path)?;
    let target = Target { master: None, data: directory.path.join("data") };
    let mut reached = reach_or_start(&target, &context.interrupt).await?;
    let mut screen = Screen::new(Format::Csv, &name, false);
    let (before, started) = (measure::usage(), Instant::now());
    let work = execute(&mut reached, request, &mut screen, &context.interrupt);
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = stdin_ended() => Outcome::Cancelled,
    };
    let (wall_seconds, after) = (started.elapsed().as_secs_f64(), measure::usage());
    reached.close().await;
    if outcome != Outcome::Finished {
        return outcome.into_result();
    }
    let measurement = Measurement {
        query: name,
        events,
        rows_out: screen.news().iter().map(|news| news.rows_out).sum(),
        wall_seconds,
        cpu_seconds: after.cpu_seconds - before.cpu_seconds,
        events_per_second: events as f64 / wall_seconds,
        peak_memory_bytes: Usage::peak_memory_bytes(),
    };
    write_results(json_line(&measurement)?.as_bytes())
}

/// Makes the request of a query: its name, its text and what the text is given.
fn request(nexmark: &Nexmark, scratch: &Path) -> Result<(String, ExecuteRequest)> {
    let absolute = |path: &Path| {
        let failed = |error| CliError::io(format!("find {}", path.display()), error);
        std::path::absolute(path).map_err(failed)
    };
    let source = match nexmark.source {
        NexmarkSource::Generator => queries::SOURCE,
        NexmarkSource::Parquet => queries::SOURCE_PARQUET,
    };
    let mut variables = vec![("EVENTS".to_owned(), nexmark.events.to_string())];
    if let Some(input) = &nexmark.input {
        let url = format!("file://{}", absolute(input)?.display());
        variables.push(("INPUT".to_owned(), url));
    }
    let (name, text) = if let Some(write) = &nexmark.write {
        let write = absolute(write)?;
        std::fs::create_dir_all(&write)
            .map_err(|error| CliError::io(format!("create {}", write.display()), error))?;
        variables.push(("OUTPUT".to_owned(), format!("file://{}", write.display())));
        ("write", queries::WRITE_PARQUET)
    } else {
        variables.push(("OUTPUT".to_owned(), "sdfs:///nexmark/output".to_owned()));
        let query: &Query = queries::selected(&nexmark.queries)?[0];
        (query.name, query.text)
    };
    let side = scratch.join("side.csv");
    write_side_table(&side)?;
    variables.push(("SIDE".to_owned(), format!("file://{}", side.display())));
    let options = ScriptOptions {
        variables,
        settings: nexmark.settings.clone(),
        parallelism: nexmark.parallelism,
    };
    let request = script_request(&options, scratch);
    Ok((name.to_owned(), ExecuteRequest { text: format!("{source}\n{text}"), ..request }))
}

fn write_side_table(path: &Path) -> Result<()> {
    let rows = (0..SIDE_ROWS).map(|key| format!("{key},value {key}\n"));
    let text = std::iter::once("key,value\n".to_owned()).chain(rows).collect::<String>();
    std::fs::write(path, text)
        .map_err(|error| CliError::io(format!("write {}", path.display()), error))
}

fn json_line(measurement: &Measurement) -> Result<String> {
    let line = serde_json::to_string(measurement);
    line.map(|line| line + "\n").map_err(|error| CliError::failed("write a measurement", &error))
}

/// Returns measurements for people, under short names that fit a terminal.
fn table(measurements: &[Measurement]) -> Result<RecordBatch, ArrowError> {
    let number = |of: fn(&Measurement) -> u64| -> ArrayRef {
        Arc::new(measurements.iter().map(|it| Some(of(it))).collect::<UInt64Array>())
    };
    let decimal = |of: fn(&Measurement) -> f64| -> ArrayRef {
        let hundredths = measurements.iter().map(|it| (of(it) * 100.0).round() / 100.0);
        Arc::new(hundredths.map(Some).collect::<Float64Array>())
    };
    let queries = measurements.iter().map(|it| Some(it.query.as_str()));
    RecordBatch::try_from_iter([
        ("query", Arc::new(queries.collect::<StringArray>()) as ArrayRef),
        ("events", number(|it| it.events)),
        ("rows_out", number(|it| it.rows_out)),
        ("wall_s", decimal(|it| it.wall_seconds)),
        ("cpu_s", decimal(|it| it.cpu_seconds)),
        ("events/s", number(|it| it.events_per_second as u64)),
        ("peak_mib", number(|it| it.peak_memory_bytes >> 20)),
    ])
}

/// A directory that goes when it is dropped.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new() -> Result<Self> {
        let name = format!("rainstorm-nexmark-{}", crate::identity::unique_id().simple());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)
            .map_err(|error| CliError::io(format!("create {}", path.display()), error))?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind is in the temporary directory.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_are_shown_also_when_there_are_none() {
        assert_eq!(table(&[]).unwrap().num_rows(), 0);
        let measurement = Measurement {
            query: "q0".into(),
            events: 10,
            rows_out: 9,
            wall_seconds: 0.123,
            cpu_seconds: 0.2,
            events_per_second: 81.3,
            peak_memory_bytes: 1 << 20,
        };
        let line = json_line(&measurement).unwrap();
        assert!(line.starts_with("{\"query\":\"q0\",\"events\":10,\"rows_out\":9,"), "{line}");
        assert_eq!(serde_json::from_str::<Measurement>(&line).unwrap(), measurement);
        assert_eq!(table(&[measurement]).unwrap().num_rows(), 1);
    }
}
