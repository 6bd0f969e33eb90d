//! Scripts on an embedded cluster, from a client's point of view.

mod limit;
mod restart;
mod side_by_side;
mod testbed;

use std::collections::BTreeMap;

use rainstorm_proto::client::{CancelJobRequest, ExecuteRequest, ListJobsRequest, Progress};

use testbed::{Answer, Testbed, numbers, script};

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_reads_what_an_insert_writes_waits_for_it() {
    let testbed = Testbed::start().await;
    let text = numbers(1000, 1_000_000)
        + "SELECT count(*) AS c, count(DISTINCT n) AS d, min(n) AS low, max(n) AS high FROM copied;";
    let answer = testbed.run(script(&text)).await;
    assert!(answer.finished, "{answer:?}");
    insta::assert_snapshot!(answer.rows(), @r"
    +------+------+-----+------+
    | c    | d    | low | high |
    +------+------+-----+------+
    | 1000 | 1000 | 1   | 1000 |
    +------+------+-----+------+
    ");
    let job = testbed.wait_for(&answer.jobs[0], &["finished"]).await;
    assert_eq!((job.rows_in, job.rows_out), (1000, 1000));
    testbed.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_errors_come_back_before_anything_starts() {
    let testbed = Testbed::start().await;
    let text = numbers(10, 1000) + "\nSELECT nothing FROM nowhere;";
    let answer = testbed.run(script(&text)).await;
    let failed = answer.failed.expect("failed");
    let errors: Vec<_> = failed
        .sql_errors
        .iter()
        .map(|error| (error.code.as_str(), error.line, error.column))
        .collect();
    assert_eq!(errors, [("unknown_table", 8, 21)]);
    assert_eq!((answer.jobs.len(), answer.messages.len()), (0, 0));
    testbed.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_whose_client_goes_away_is_cancelled() {
    let testbed = Testbed::start().await;
    let text = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen',
        'rows-per-second' = '1000', 'fields.n.kind' = 'random');
        SELECT n FROM numbers;";
    let seen = |answer: &Answer, _: &Progress| !answer.batches.is_empty();
    let answer = testbed.run_until(script(text), seen).await;
    testbed.wait_for(&answer.jobs[0], &["cancelled"]).await;
    testbed.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detached_script_is_cancelled_by_its_name() {
    let testbed = Testbed::start().await;
    let text = numbers(1_000_000, 1000);
    let request = ExecuteRequest { detached: true, job_name: "background".into(), ..script(&text) };
    let answer = testbed.run(request).await;
    assert_eq!(answer.jobs, ["background"]);
    assert!(answer.finished, "{answer:?}");
    let mut client = testbed.cluster.client();
    loop {
        // The job appears a moment after the answer.
        let request = CancelJobRequest { job_id: "background".into() };
        if client.cancel_job(request).await.is_ok() {
            break;
        }
    }
    let jobs = client.list_jobs(ListJobsRequest {}).await.expect("jobs").into_inner().jobs;
    let states: BTreeMap<_, _> = jobs.iter().map(|job| (&*job.name, &*job.state)).collect();
    assert_eq!(states, [("background", "cancelled")].into());
    testbed.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_row_fails_the_job_with_its_place() {
    let testbed = Testbed::start().await;
    let path = testbed.data.path().join("bad.csv");
    std::fs::write(&path, "n\n1\nx\n").expect("write");
    let text = format!(
        "CREATE TABLE bad (n BIGINT) WITH (
           'connector' = 'filesystem', 'path' = 'file://{}', 'format' = 'csv');
         CREATE TABLE hole (n BIGINT) WITH ('connector' = 'blackhole');
         INSERT INTO hole SELECT n FROM bad;",
        path.display()
    );
    let answer = testbed.run(script(&text)).await;
    let message = answer.failed.expect("failed").message;
    assert!(message.contains("bad.csv:3"), "{message}");
    testbed.wait_for(&answer.jobs[0], &["failed"]).await;
    testbed.cluster.stop().await;
}
