use std::process::Stdio;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use rainstorm_proto::client as proto;
use rainstorm_proto::client::execute_event::Event;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use crate::master::{Then, job_started, rows, rows_started, start};
use crate::{interrupt, rainstorm, run};

const SCRIPT: &str = "SELECT airport, count(*)\nFROM flihgts\nGROUP BY airport;\n";

fn script() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("flights.sql"), SCRIPT).unwrap();
    directory
}

fn counts(airports: &[&str], counts: &[i64]) -> RecordBatch {
    RecordBatch::try_from_iter([
        ("airport", Arc::new(StringArray::from(airports.to_vec())) as ArrayRef),
        ("n", Arc::new(Int64Array::from(counts.to_vec())) as ArrayRef),
    ])
    .unwrap()
}

/// A counting query over bounded input, biggest first.
fn counting() -> Vec<Event> {
    let changes = counts(&["ATL", "ORD", "ATL", "ATL"], &[1, 1, 1, 2]);
    let mut started = rows_started(&changes, true, true);
    started.order_by = vec![proto::SortColumn { index: 1, descending: true, nulls_first: false }];
    vec![
        job_started(),
        Event::RowsStarted(started),
        rows(&changes, Some(vec![1, 1, -1, 1])),
        Event::RowsFinished(proto::RowsFinished {}),
        Event::Finished(proto::Finished {}),
    ]
}

async fn shown(format: &str) -> String {
    let directory = script();
    let (address, _) = start(counting(), Then::End, false).await;
    let arguments = ["run", "flights.sql", "--master", &address, "--format", format];
    let ran = run(directory.path(), &arguments).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    ran.stdout
}

#[tokio::test]
async fn a_bounded_result_is_its_final_rows_sorted() {
    assert_eq!(shown("csv").await, "airport,n\nATL,2\nORD,1\n");
    assert_eq!(
        shown("json").await,
        "{\"airport\":\"ATL\",\"n\":2}\n{\"airport\":\"ORD\",\"n\":1}\n"
    );
    let table = shown("table").await;
    assert!(table.starts_with(" airport | n\n---------+---\n ATL     | 2\n"), "{table}");
    assert_eq!(shown("changelog").await, "op,airport,n\n+I,ATL,1\n+I,ORD,1\n-U,ATL,1\n+U,ATL,2\n");
}

#[tokio::test]
async fn a_script_is_sent_with_what_it_is_given() {
    let directory = script();
    let (address, seen) = start(counting(), Then::End, false).await;
    let path = directory.path().join("flights.sql").display().to_string();
    let elsewhere = tempfile::tempdir().unwrap();
    let ran = run(
        elsewhere.path(),
        &[
            "run",
            &path,
            "--master",
            &address,
            "-D",
            "day=1",
            "--set",
            "a.b=c",
            "--parallelism",
            "3",
            "--name",
            "copy",
            "--restore",
            "7",
        ],
    )
    .await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let request = seen.requests.lock().unwrap().pop().unwrap();
    assert_eq!(request.text, SCRIPT);
    assert_eq!(request.base_directory, directory.path().display().to_string());
    assert_eq!(request.variables["day"], "1");
    assert_eq!((&*request.settings["a.b"], &*request.settings["parallelism.default"]), ("c", "3"));
    assert_eq!((request.job_name.as_str(), request.restore.unwrap().epoch), ("copy", 7));
    assert_eq!((request.session.as_str(), request.detached), ("", false));
}

#[tokio::test]
async fn statements_come_from_the_command_line_or_standard_input() {
    let directory = tempfile::tempdir().unwrap();
    let (address, seen) = start(counting(), Then::End, false).await;
    let ran = run(directory.path(), &["sql", "--master", &address, "-c", "SELECT 1"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let file = directory.path().join("in.sql");
    std::fs::write(&file, "SELECT 2;").unwrap();
    let mut piped = rainstorm(directory.path(), &["--master", &address, "--format", "csv"]);
    let output = piped.stdin(std::fs::File::open(&file).unwrap()).output().await.unwrap();
    assert!(output.status.success());
    let requests = seen.requests.lock().unwrap();
    let texts: Vec<_> = requests.iter().map(|request| request.text.as_str()).collect();
    assert_eq!(texts, ["SELECT 1", "SELECT 2;"]);
    assert!(!requests[0].session.is_empty() && requests[0].session != requests[1].session);
}

#[tokio::test]
async fn a_sql_error_shows_its_line_and_ends_with_status_one() {
    let directory = script();
    let error = proto::SqlError {
        code: "unknown_table".into(),
        message: "no table or view named flihgts".into(),
        line: 2,
        column: 6,
        length: 7,
        help: "did you mean `flights`?".into(),
    };
    let failed = proto::Failed { sql_errors: vec![error], ..proto::Failed::default() };
    let (address, _) = start(vec![Event::Failed(failed)], Then::End, false).await;
    let ran = run(directory.path(), &["run", "flights.sql", "--master", &address]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    let expected = [
        "no table or view named flihgts",
        "--> flights.sql:2:6",
        "2 | FROM flihgts\n  |      ^^^^^^^\n",
        "did you mean `flights`?",
    ];
    for part in expected {
        assert!(ran.stderr.contains(part), "{part} is missing in\n{}", ran.stderr);
    }
}

#[tokio::test]
async fn a_failing_job_tells_its_causes() {
    let directory = script();
    let failed = proto::Failed {
        message: "job job-1 failed".into(),
        causes: vec![
            "External error: flights.csv:17: field delay: 'x' is no BIGINT".into(),
            "flights.csv:17: field delay: 'x' is no BIGINT".into(),
        ],
        ..proto::Failed::default()
    };
    let (address, _) = start(vec![job_started(), Event::Failed(failed)], Then::End, false).await;
    let ran = run(directory.path(), &["run", "flights.sql", "--master", &address]).await;
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.stderr,
        "error: job job-1 failed\n  caused by: flights.csv:17: field delay: 'x' is no BIGINT\n"
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_success() {
    let directory = script();
    let (address, _) = start(vec![job_started()], Then::End, false).await;
    let ran = run(directory.path(), &["run", "flights.sql", "--master", &address]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("ended the answer early"), "{}", ran.stderr);
}

#[tokio::test]
async fn missing_files_and_masters_are_named() {
    let directory = script();
    let ran = run(directory.path(), &["run", "nothing.sql"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.starts_with("error: read nothing.sql\n  caused by: "), "{}", ran.stderr);
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let ran = run(directory.path(), &["run", "flights.sql", "--master", &address]).await;
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains(&format!("no master at {address}"))
            || ran.stderr.contains(&format!("cannot reach a master at {address}")),
        "{}",
        ran.stderr
    );
    let ran = run(directory.path(), &["run"]).await;
    assert_eq!(ran.code, Some(2));
}

/// Endless insertions.
fn endless() -> Vec<Event> {
    let batch = counts(&["ATL"], &[1]);
    vec![job_started(), Event::RowsStarted(rows_started(&batch, false, false)), rows(&batch, None)]
}

#[tokio::test]
async fn a_closed_pipe_ends_the_program_without_a_word() {
    let directory = script();
    let (address, _) = start(endless(), Then::Repeat, false).await;
    let arguments = ["run", "flights.sql", "--master", &address, "--format", "csv"];
    let mut child = rainstorm(directory.path(), &arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "airport,n");
    drop(lines);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[tokio::test]
async fn one_interrupt_cancels_the_job_cleanly() {
    let directory = script();
    let (address, seen) = start(endless(), Then::Wait, false).await;
    let arguments = ["run", "flights.sql", "--master", &address, "--format", "csv"];
    let mut child = rainstorm(directory.path(), &arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "airport,n");
    interrupt(&child).await;
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(*seen.cancelled.lock().unwrap(), ["job-1"]);
}

#[tokio::test]
async fn a_second_interrupt_ends_the_program_at_once() {
    let directory = script();
    let (address, _) = start(endless(), Then::Wait, true).await;
    let arguments = ["run", "flights.sql", "--master", &address, "--format", "csv"];
    let mut child = rainstorm(directory.path(), &arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "airport,n");
    interrupt(&child).await;
    let mut stderr = child.stderr.take().unwrap();
    let mut told = [0; 11];
    stderr.read_exact(&mut told).await.unwrap();
    assert_eq!(&told, b"cancelling\n");
    interrupt(&child).await;
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
}

#[tokio::test]
async fn jobs_are_submitted_listed_and_cancelled() {
    let directory = script();
    let events = vec![job_started(), Event::Finished(proto::Finished {})];
    let (address, seen) = start(events, Then::End, false).await;
    let here = directory.path();
    let ran = run(here, &["submit", "flights.sql", "--master", &address]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "job-1\n"), "{}", ran.stderr);
    {
        let request = &seen.requests.lock().unwrap()[0];
        assert!(request.detached);
        assert_eq!(request.settings["pipeline.name"], "flights");
    }
    let mut jobs = rainstorm(here, &["jobs", "--format", "csv"]);
    let output = jobs.env("RAINSTORM_MASTER", &address).stdin(Stdio::null()).output().await;
    let listed = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(listed.contains("\ncopy-1,copy,running,2001-01-01 00:00:00.000,,5,0,0,"), "{listed}");
    let ran = run(here, &["cancel", "copy-1", "--master", &address]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(*seen.cancelled.lock().unwrap(), ["copy-1"]);
    let ran = run(here, &["cancel", "unknown", "--master", &address]).await;
    assert_eq!((ran.code, &*ran.stderr), (Some(1), "error: job unknown does not exist\n"));
    let ran = run(here, &["jobs", "--data", "nowhere"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("no cluster is running on nowhere"), "{}", ran.stderr);
}
