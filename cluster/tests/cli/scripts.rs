//! What becomes of scripts before and after they run: refusals, warnings, notes.

use std::path::Path;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::clusters::local;
use crate::{Ran, interrupt, rainstorm, run};

const ENDLESS: &str = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen',
  'rows-per-second' = '100', 'fields.n.kind' = 'random');
CREATE TABLE hole (n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO hole SELECT n FROM numbers;
";

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// Runs the program and returns what it complains about.
async fn refused(directory: &Path, arguments: &[&str]) -> String {
    let Ran { code, stdout, stderr } = run(directory, arguments).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    stderr
}

#[tokio::test]
async fn a_name_that_runs_is_refused_at_once() {
    let place = directory(&[("endless.sql", ENDLESS)]);
    let here = place.path();
    let (_cluster, address, _) = local(here).await;
    let submit = ["submit", "endless.sql", "--name", "x", "--master", &address];
    let ran = run(here, &submit).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "x\n"), "{}", ran.stderr);
    let told = "error: job x is running: cancel it or choose another name\n";
    assert_eq!(refused(here, &submit).await, told);
    let restore = ["submit", "endless.sql", "--name", "x", "--restore", "--master", &address];
    assert_eq!(refused(here, &restore).await, told);
    // The data directory tells where the cluster is.
    let other = run(here, &["submit", "endless.sql", "--name", "y"]).await;
    assert_eq!((other.code, other.stdout.as_str()), (Some(0), "y\n"), "{}", other.stderr);
    assert_eq!(run(here, &["cancel", "x"]).await.code, Some(0));
    assert!(refused(here, &["cancel", "x"]).await.contains("job x was cancelled already"));
    let ran = run(here, &submit).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[tokio::test]
async fn what_has_no_insert_is_not_submitted() {
    let tables = ENDLESS.replace("INSERT INTO hole SELECT n FROM numbers;", "");
    let query = format!("{tables}SELECT n FROM numbers;");
    let both = format!("SELECT 1;{ENDLESS}");
    let place = directory(&[("query.sql", &query), ("empty.sql", ""), ("both.sql", &both)]);
    let here = place.path();
    let (_cluster, _, _) = local(here).await;
    for script in ["query.sql", "empty.sql"] {
        let told = refused(here, &["submit", script]).await;
        assert_eq!(told, "error: nothing to submit: the script has no INSERT\n");
    }
    let ran = run(here, &["submit", "both.sql", "--name", "both"]).await;
    let told = "warning: 1 query is not run: a submitted script shows no rows\n";
    assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (Some(0), "both\n", told));
}

#[tokio::test]
async fn without_a_checkpoint_there_is_nothing_to_restore() {
    let bounded = ENDLESS.replace("'rows-per-second' = '100'", "'number-of-rows' = '10'");
    let place = directory(&[("copy.sql", &bounded)]);
    let here = place.path();
    let told = refused(here, &["run", "copy.sql", "--restore"]).await;
    assert_eq!(told, "error: job 'copy' has no checkpoint to restore; no job has one\n");
    assert_eq!(run(here, &["run", "copy.sql"]).await.code, Some(0));
    let told = refused(here, &["run", "copy.sql", "--name", "cpoy", "--restore"]).await;
    assert_eq!(told, "error: job 'cpoy' has no checkpoint to restore; there is one of 'copy'\n");
    assert_eq!(run(here, &["run", "copy.sql", "--restore"]).await.code, Some(0));
}

#[tokio::test]
async fn a_job_that_waits_for_workers_says_so() {
    let place = directory(&[("endless.sql", ENDLESS)]);
    let here = place.path();
    let mut master = rainstorm(here, &["master", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut lines = BufReader::new(master.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let address = line.strip_prefix("master ").unwrap();
    let arguments = ["run", "endless.sql", "--parallelism", "3", "--master", address];
    let mut child = rainstorm(here, &arguments).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    assert_eq!(
        told.next_line().await.unwrap().unwrap(),
        format!("warning: waiting for 3 slots: no worker has registered with {address}")
    );
    interrupt(&child).await;
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
}

#[tokio::test]
async fn rows_that_were_left_out_are_told_at_the_end() {
    let script = "CREATE TABLE events (at TIMESTAMP(3), n BIGINT,
           WATERMARK FOR at AS at - INTERVAL '1' SECOND) WITH ('connector' = 'filesystem',
           'path' = 'events.csv', 'format' = 'csv', 'on-error' = 'skip');
         CREATE TABLE hole (n BIGINT) WITH ('connector' = 'blackhole');
         INSERT INTO hole SELECT n FROM events;";
    let rows = "at,n\n2001-01-01 00:00:00,1\n2001-01-01 00:00:01,two\n2001-01-01 00:00:02,x\n";
    let place = directory(&[("skip.sql", script), ("events.csv", rows)]);
    let ran = run(place.path(), &["run", "skip.sql"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.ends_with("warning: 2 malformed rows were skipped\n"), "{}", ran.stderr);
}

#[tokio::test]
async fn statements_of_standard_input_run_as_they_come() {
    let place = directory(&[]);
    let mut child = rainstorm(place.path(), &["sql", "--format", "csv"]);
    let mut child = child.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for (statement, expected) in
        [("SELECT 1 AS a;\n", ["a", "1"]), ("SELECT\n2 AS b;\n", ["b", "2"])]
    {
        stdin.write_all(statement.as_bytes()).await.unwrap();
        for line in expected {
            assert_eq!(lines.next_line().await.unwrap().unwrap(), line);
        }
    }
    // It waits for more.
    interrupt(&child).await;
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
}

#[tokio::test]
async fn commands_and_several_texts_run_in_their_order() {
    let place = directory(&[]);
    let view = "CREATE VIEW v AS SELECT 1 AS a";
    let arguments = [
        "sql",
        "--format",
        "csv",
        "-c",
        view,
        "-c",
        "\\d",
        "-c",
        "-- none",
        "-c",
        "SELECT a FROM v",
    ];
    let ran = run(place.path(), &arguments).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("v,") && ran.stdout.ends_with("a\n1\n"), "{}", ran.stdout);
    let ran = run(place.path(), &["sql", "-c", "\\nothing", "-c", "SELECT 1"]).await;
    assert_eq!((ran.code, &*ran.stdout), (Some(1), ""));
}
