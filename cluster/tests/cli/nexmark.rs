use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{interrupt, rainstorm, run};

#[tokio::test]
async fn events_of_files_are_those_in_the_files() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    let write = ["nexmark", "--write", "events", "--events", "5000"];
    let ran = run(here, &write).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("5000 events written"), "{}", ran.stderr);
    let ran = run(here, &write).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("directory events is not empty"), "{}", ran.stderr);
    let read = ["nexmark", "--queries", "q2", "--source", "parquet", "--input", "events"];
    let ran = run(here, &[&read[..], &["--format", "json"]].concat()).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("{\"query\":\"q2\",\"events\":5000,"), "{}", ran.stdout);
    let ran = run(here, &[&read[..], &["--events", "10"]].concat()).await;
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
}

#[tokio::test]
async fn a_query_that_fails_tells_why() {
    let place = tempfile::tempdir().unwrap();
    for (arguments, told) in [
        (&["--set", "foo=1"][..], "foo"),
        (&["--source", "parquet", "--input", "nosuch"], "read nosuch"),
        (&["--write", "/proc/x"], "create /proc/x"),
    ] {
        let arguments = [&["nexmark", "--queries", "q0"][..], arguments].concat();
        let ran = run(place.path(), &arguments).await;
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn an_interrupted_run_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let entries = || std::fs::read_dir(scratch.path()).unwrap().count();
    let arguments = ["nexmark", "--queries", "q0", "--events", "1000000000000"];
    for kill in [false, true] {
        let mut command = rainstorm(place.path(), &arguments);
        let mut child = command.env("TMPDIR", scratch.path()).spawn().unwrap();
        while entries() == 0 {
            tokio::task::yield_now().await;
        }
        let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
        if kill {
            // The child notices that its parent is gone.
            child.kill().await.unwrap();
            while told.next_line().await.unwrap().is_some() {}
        } else {
            interrupt(&child).await;
            assert_eq!(child.wait().await.unwrap().code(), Some(130));
        }
        assert_eq!(entries(), 0);
    }
}
