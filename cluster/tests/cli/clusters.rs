use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::{Ran, interrupt, rainstorm, run, signal};

const COUNTING: &str = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '100000', 'rows-per-second' = '10000000');
SELECT n % 3 AS k, count(*) AS c FROM numbers GROUP BY n % 3 ORDER BY k;
";
const COUNTED: &str = "k,c\n0,33333\n1,33334\n2,33333\n";

fn script() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("count.sql"), COUNTING).unwrap();
    directory
}

/// Runs the counting script and checks what it shows.
async fn check_count(directory: &Path, arguments: &[&str]) {
    let mut all = vec!["run", "count.sql", "--format", "csv"];
    all.extend(arguments);
    let Ran { code, stdout, stderr } = run(directory, &all).await;
    assert_eq!((code, stdout.as_str()), (Some(0), COUNTED), "{stderr}");
}

#[tokio::test]
async fn a_script_runs_on_a_cluster_in_the_process_and_a_second_time() {
    let directory = script();
    check_count(directory.path(), &[]).await;
    check_count(directory.path(), &["--parallelism", "3"]).await;
    assert!(directory.path().join("rainstorm-data").is_dir());
}

#[tokio::test]
async fn tables_of_the_prompt_stay_and_those_of_a_script_do_not() {
    let directory = script();
    check_count(directory.path(), &[]).await;
    let table = "CREATE TABLE kept (n BIGINT) WITH ('connector' = 'blackhole')";
    let ran = run(directory.path(), &["sql", "-c", table]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let ran = run(directory.path(), &["sql", "--format", "csv", "-c", "SHOW TABLES"]).await;
    assert!(ran.stdout.contains("kept") && !ran.stdout.contains("numbers"), "{}", ran.stdout);
}

const COPYING: &str = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '40000',
  'rows-per-second' = '20000');
CREATE TABLE copied (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'sdfs:///copied',
  'format' = 'csv');
INSERT INTO copied SELECT n FROM numbers;
";
const CHECKING: &str = "CREATE TEMPORARY TABLE copied (n BIGINT) WITH ('connector' = 'filesystem',
  'path' = 'sdfs:///copied', 'format' = 'csv');
SELECT count(*) AS c, count(DISTINCT n) AS d, sum(n) AS s FROM copied;
";

/// Returns once the program's files hold a second commit of the copy.
async fn second_commit(directory: &Path) {
    loop {
        let listed = run(directory, &["fs", "ls", "-r", "/copied/_commits"]).await.stdout;
        if listed.lines().count() >= 2 {
            return;
        }
    }
}

#[tokio::test]
async fn an_interrupted_script_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("copy.sql"), COPYING).unwrap();
    let often = ["--set", "execution.checkpointing.interval=100ms"];
    let arguments = ["run", "copy.sql", often[0], often[1]];
    let child = rainstorm(directory.path(), &arguments).spawn().unwrap();
    second_commit(directory.path()).await;
    interrupt(&child).await;
    assert_eq!(child.wait_with_output().await.unwrap().status.code(), Some(130));
    let ran = run(directory.path(), &["run", "copy.sql", "--restore", often[0], often[1]]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let ran = run(directory.path(), &["sql", "--format", "csv", "-c", CHECKING]).await;
    assert_eq!(ran.stdout, "c,d,s\n40000,40000,800020000\n", "{}", ran.stderr);
}

/// Starts a cluster of processes and returns it with its master's address and what else it prints.
pub(crate) async fn local(directory: &Path) -> (Child, String, Lines<BufReader<ChildStdout>>) {
    let mut child =
        rainstorm(directory, &["local", "--workers", "2", "--slots", "1"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap_or_default();
    let Some(address) = line.strip_prefix("master ") else {
        let output = child.wait_with_output().await.unwrap();
        panic!("'{line}': {}", String::from_utf8_lossy(&output.stderr));
    };
    (child, address.to_owned(), lines)
}

#[tokio::test]
async fn ctrl_c_is_heard_while_rows_come_faster_than_they_are_shown() {
    let directory = tempfile::tempdir().unwrap();
    let flood = "CREATE TABLE flood (id BIGINT) WITH ('connector' = 'datagen',
        'rows-per-second' = '100000000'); SELECT id FROM flood";
    let mut child = rainstorm(directory.path(), &["sql", "-c", flood]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..10_000 {
        lines.next_line().await.unwrap();
    }
    interrupt(&child).await;
    let read = async { while lines.next_line().await.unwrap().is_some() {} };
    let both = async { tokio::join!(read, child.wait_with_output()) };
    let ((), output) = tokio::time::timeout(Duration::from_mins(1), both).await.expect("it ends");
    let output = output.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), told.trim()), (Some(130), "cancelling"));
}

#[tokio::test]
async fn a_cluster_of_processes_runs_scripts_and_ends_cleanly() {
    let directory = script();
    let (cluster, address, _) = local(directory.path()).await;
    check_count(directory.path(), &["--master", &address]).await;
    let ran = run(directory.path(), &["jobs", "--format", "csv"]).await;
    assert!(ran.stdout.contains(",finished,"), "{}\n{}", ran.stdout, ran.stderr);
    let ran = run(directory.path(), &["run", "count.sql"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains(&format!("--master {address}")), "{}", ran.stderr);
    interrupt(&cluster).await;
    let output = cluster.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    // The directory is free again.
    check_count(directory.path(), &[]).await;
}

#[tokio::test]
async fn other_machines_are_not_listened_to() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [
        &["master", "--listen", "0.0.0.0:0"][..],
        &["local", "--listen", "0.0.0.0:0"],
        &["worker", "--master", "127.0.0.1:1", "--listen", "0.0.0.0:0"],
    ] {
        let ran = run(directory.path(), arguments).await;
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.contains("refusing to listen on 0.0.0.0:0"), "{}", ran.stderr);
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = run(directory.path(), &["master", "--listen", &address]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains(&format!("listen on {address}")), "{}", ran.stderr);
}

const PRINTING: &str = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '1000');
CREATE TABLE shown (n BIGINT) WITH ('connector' = 'print');
INSERT INTO shown SELECT n FROM numbers;
";

#[tokio::test]
async fn what_workers_print_comes_out_of_local() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("print.sql"), PRINTING).unwrap();
    let (cluster, address, mut lines) = local(directory.path()).await;
    let ran = run(directory.path(), &["run", "print.sql", "--master", &address]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let mut sum = 0;
    for _ in 0..1000 {
        let line = lines.next_line().await.unwrap().unwrap();
        sum += line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().expect(&line);
    }
    assert_eq!(sum, 500_500);
    // Nobody reads any more, and printing goes on.
    drop(lines);
    let ran = run(directory.path(), &["run", "print.sql", "--master", &address]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    interrupt(&cluster).await;
    assert_eq!(cluster.wait_with_output().await.unwrap().status.code(), Some(0));
}

const SPREAD: &str = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen',
  'rows-per-second' = '100', 'fields.n.kind' = 'random');
CREATE TABLE hole (n BIGINT, c BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO hole SELECT n, count(*) FROM numbers GROUP BY n;
";

/// Starts a process and returns it with the address that its first line tells.
async fn serving(directory: &Path, arguments: &[&str]) -> (Child, String) {
    let mut child = rainstorm(directory, arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    (child, line.rsplit(' ').next().unwrap().to_owned())
}

#[tokio::test]
async fn a_worker_that_is_killed_is_named_before_what_follows_from_it() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    std::fs::write(here.join("spread.sql"), SPREAD).unwrap();
    let (_master, address) = serving(here, &["master", "--listen", "127.0.0.1:0"]).await;
    let worker = ["worker", "--slots", "1", "--master", &address];
    let (_one, _) = serving(here, &worker).await;
    let (mut two, lost) = serving(here, &worker).await;
    let arguments = ["run", "spread.sql", "--parallelism", "2", "--master", &address];
    let child = rainstorm(here, &arguments).spawn().unwrap();
    let listed = async || run(here, &["jobs", "--format", "csv"]).await.stdout;
    while !listed().await.contains(",running,") {}
    two.kill().await.unwrap();
    let ran = Ran::from(child.wait_with_output().await.unwrap());
    let told = format!("at {lost} is gone, and with it tasks of the job\n");
    let first = ran.stderr.split_inclusive('\n').find(|line| line.starts_with("error: "));
    assert!(first.is_some_and(|line| line.ends_with(&told)), "{}", ran.stderr);
    assert!(listed().await.contains(told.trim_end()), "{}", listed().await);
}

const COUNT_FOR_EVER: &str = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen',
  'rows-per-second' = '100');
SELECT count(*) FROM numbers;
";

#[tokio::test]
async fn a_client_does_not_wait_for_a_worker_that_has_stopped_answering() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    std::fs::write(here.join("count.sql"), COUNT_FOR_EVER).unwrap();
    let (_master, address) = serving(here, &["master", "--listen", "127.0.0.1:0"]).await;
    let (worker, stopped) = serving(here, &["worker", "--slots", "1", "--master", &address]).await;
    let arguments = ["run", "count.sql", "--format", "csv", "--master", &address];
    let mut child = rainstorm(here, &arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while !lines.next_line().await.unwrap().unwrap().starts_with("+U") {}
    signal(&worker, "-STOP").await;
    let ran = Ran::from(child.wait_with_output().await.unwrap());
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains(&format!("at {stopped} is gone")), "{}", ran.stderr);
}

#[tokio::test]
async fn a_worker_that_has_stopped_answering_does_not_hold_the_end_of_a_job() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    std::fs::write(here.join("spread.sql"), SPREAD).unwrap();
    let (_master, address) = serving(here, &["master", "--listen", "127.0.0.1:0"]).await;
    let worker = ["worker", "--slots", "1", "--master", &address];
    let (_one, _) = serving(here, &worker).await;
    let (two, _) = serving(here, &worker).await;
    let submit = ["submit", "spread.sql", "--parallelism", "2", "--master", &address];
    assert_eq!(run(here, &submit).await.code, Some(0));
    let listed = async || run(here, &["jobs", "--format", "csv"]).await.stdout;
    while !listed().await.contains(",running,") {}
    signal(&two, "-STOP").await;
    // Whether it is found dead first or is asked to stop in vain, nobody waits for its answer.
    let cancel = ["cancel", "spread", "--master", &address];
    let cancelled = tokio::time::timeout(Duration::from_secs(20), run(here, &cancel)).await;
    cancelled.expect("a job ends long before its worker answers");
    let jobs = listed().await;
    assert!(jobs.contains(",cancelled,") || jobs.contains(",failed,"), "{jobs}");
}

#[tokio::test]
async fn a_cluster_ends_soon_though_a_worker_has_stopped_answering() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    std::fs::write(here.join("spread.sql"), SPREAD).unwrap();
    let (cluster, address, _lines) = local(here).await;
    let submit = ["submit", "spread.sql", "--parallelism", "2", "--master", &address];
    assert_eq!(run(here, &submit).await.code, Some(0));
    let id = cluster.id().expect("it runs").to_string();
    let children = Command::new("pgrep").args(["-P", &id]).output().await.unwrap();
    let children = String::from_utf8(children.stdout).unwrap();
    let worker = children.lines().next().expect("a worker");
    assert!(Command::new("kill").args(["-STOP", worker]).status().await.unwrap().success());
    interrupt(&cluster).await;
    let ended = tokio::time::timeout(Duration::from_secs(8), cluster.wait_with_output()).await;
    let output = ended.expect("it ends long before workers are given up").unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
