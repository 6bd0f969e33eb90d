//! Jobs that are started again under their name.

use std::cell::Cell;
use std::sync::Arc;

use rainstorm_cluster::fs::RemoteStore;
use rainstorm_cluster::node::{WorkerNode, WorkerNodeConfig};
use rainstorm_proto::client::{ExecuteRequest, Progress, Restore};

use crate::testbed::{Answer, Testbed, numbers, script, with};

/// As [`numbers`], into a table that it replaces.
fn overwrite(rows: u64, rows_per_second: u64) -> String {
    numbers(rows, rows_per_second).replace("INSERT INTO", "INSERT OVERWRITE")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwrite_that_is_started_anew_leaves_every_row_once() {
    let testbed = Testbed::start().await;
    let settings = [("execution.checkpointing.interval", "100 ms")];
    let named = ExecuteRequest { job_name: "over".into(), ..script(&overwrite(6000, 2000)) };
    let named = with(ExecuteRequest { fresh: true, ..named }, &settings);
    for _ in 0..2 {
        let checkpointed = |_: &Answer, progress: &Progress| progress.epoch >= 2;
        let answer = testbed.run_until(named.clone(), checkpointed).await;
        let cancelled = testbed.wait_for(&answer.jobs[0], &["cancelled"]).await;
        assert!(cancelled.rows_in < 6000, "stopped midway: {cancelled:?}");
    }
    let answer = testbed.run(named).await;
    assert!(answer.finished, "{answer:?}");
    testbed.holds_each_once(6000).await;
    testbed.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_did_not_finish_is_started_again_only_on_purpose() {
    let testbed = Testbed::start().await;
    let named = ExecuteRequest { job_name: "copy".into(), ..script(&numbers(6000, 2000)) };
    let settings =
        [("execution.checkpointing.interval", "100 ms"), ("pipeline.max-parallelism", "64")];
    let first = with(named.clone(), &settings);
    let answer = testbed.run_until(first, |_, progress| progress.epoch >= 2).await;
    let cancelled = testbed.wait_for(&answer.jobs[0], &["cancelled"]).await;
    let epoch = cancelled.epoch;

    let message = testbed.run(named.clone()).await.failed.expect("refused").message;
    assert_eq!(
        message,
        format!(
            "job 'copy' did not finish and has checkpoint {epoch}: \
             go on from it with --restore, or start anew with --fresh"
        )
    );
    // With other key groups than before it could not be restored, so that they are kept.
    let restore = Some(Restore { epoch: 0 });
    let answer = testbed.run(ExecuteRequest { restore, ..named.clone() }).await;
    assert!(answer.finished, "{answer:?}");
    assert_eq!(answer.restored, [epoch]);
    testbed.holds_each_once(6000).await;
    // It has finished, so that it is run again as often as somebody likes.
    let fast = ExecuteRequest { text: numbers(6000, 1_000_000), ..named };
    for _ in 0..2 {
        let answer = testbed.run(fast.clone()).await;
        assert!(answer.finished && answer.restored == [0], "{answer:?}");
    }
    testbed.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_is_started_anew_takes_no_later_step_of_the_run_before() {
    let testbed = Testbed::start().await;
    let tables = "CREATE TABLE first (n BIGINT) WITH ('connector' = 'filesystem',
             'path' = 'sdfs:///first', 'format' = 'csv');
           CREATE TABLE second (n BIGINT) WITH ('connector' = 'filesystem',
             'path' = 'sdfs:///second', 'format' = 'csv');
           CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen',
             'number-of-rows' = '4000', 'rows-per-second' = '4000', 'fields.n.kind' = 'sequence',
             'fields.n.start' = '1', 'fields.n.end' = '4000');";
    let text = format!(
        "{tables} INSERT OVERWRITE first SELECT n FROM numbers;
         INSERT OVERWRITE second SELECT n FROM first;"
    );
    let named = ExecuteRequest { job_name: "steps".into(), ..script(&text) };
    let named = with(named, &[("execution.checkpointing.interval", "100 ms")]);
    assert!(testbed.run(named.clone()).await.finished);
    // Interrupted in its first step, the second run goes on; of its second step there is nothing.
    let answer = testbed.run_until(named.clone(), |_, progress| progress.epoch >= 3).await;
    testbed.wait_for(&answer.jobs[0], &["cancelled"]).await;
    let answer = testbed.run(ExecuteRequest { restore: Some(Restore { epoch: 0 }), ..named }).await;
    assert!(answer.finished, "{answer:?}");
    assert!(answer.restored[0] > 0 && answer.restored[1] == 0, "{answer:?}");
    assert_eq!(testbed.wait_for(&answer.jobs[1], &["finished"]).await.rows_in, 4000);
    testbed.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_run_side_by_side_under_one_name() {
    let testbed = Testbed::start().await;
    let text = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen',
        'rows-per-second' = '1000', 'fields.n.kind' = 'random');
        SELECT n FROM numbers;";
    let named = ExecuteRequest { job_name: "look".into(), ..script(text) };
    let mut client = testbed.cluster.client();
    let first = client.execute(named.clone()).await.expect("execute").into_inner();
    let seen = |answer: &Answer, _: &Progress| !answer.batches.is_empty();
    let mut jobs = Vec::new();
    for _ in 0..2 {
        let answer = testbed.run_until(named.clone(), seen).await;
        assert!(answer.failed.is_none(), "{answer:?}");
        jobs.extend(answer.jobs);
    }
    // An INSERT of the name is not kept from it either.
    let insert = ExecuteRequest { job_name: "look".into(), ..script(&numbers(10, 1_000_000)) };
    assert!(testbed.run(insert).await.finished);
    drop(first);
    for job in jobs {
        testbed.wait_for(&job, &["cancelled"]).await;
    }
    testbed.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwrite_that_goes_back_to_an_older_checkpoint_leaves_every_row_once() {
    let testbed = Testbed::start().await;
    let settings = [("execution.checkpointing.interval", "100 ms")];
    let named = ExecuteRequest { job_name: "over".into(), ..script(&overwrite(6000, 2000)) };
    let named = with(named, &settings);
    let answer = testbed.run_until(named.clone(), |_, progress| progress.epoch >= 3).await;
    let cancelled = testbed.wait_for(&answer.jobs[0], &["cancelled"]).await;
    let older = Some(Restore { epoch: cancelled.epoch - 1 });
    let answer = testbed.run(ExecuteRequest { restore: older, ..named }).await;
    assert!(answer.finished, "{answer:?}");
    testbed.holds_each_once(6000).await;
    testbed.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_stopped_goes_on_at_another_parallelism() {
    let testbed = Testbed::start().await;
    let text = numbers(2000, 2000);
    let settings = [("execution.checkpointing.interval", "100 ms"), ("parallelism.default", "1")];
    let named = ExecuteRequest { job_name: "copy".into(), ..script(&text) };
    let request = with(named.clone(), &settings);
    let checkpointed = |_: &Answer, progress: &Progress| progress.epoch >= 2;
    let answer = testbed.run_until(request, checkpointed).await;
    let cancelled = testbed.wait_for(&answer.jobs[0], &["cancelled"]).await;
    assert!(cancelled.rows_in < 2000, "stopped midway: {cancelled:?}");

    let restore = Some(Restore { epoch: 0 });
    let request =
        with(ExecuteRequest { restore, ..named.clone() }, &[("parallelism.default", "2")]);
    let answer = testbed.run(request.clone()).await;
    assert!(answer.finished, "{answer:?}");
    let resumed = testbed.wait_for(&answer.jobs[0], &["finished"]).await;
    assert!(resumed.rows_in < 2000, "does not begin anew: {resumed:?}");
    testbed.holds_each_once(2000).await;

    // Once more: the job had finished, so that only its last commit is repeated.
    let answer = testbed.run(request).await;
    assert!(answer.finished, "{answer:?}");
    testbed.holds_each_once(2000).await;
    testbed.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_goes_back_to_an_older_checkpoint_counts_nothing_twice() {
    let testbed = Testbed::start().await;
    let settings = [("execution.checkpointing.interval", "100 ms")];
    let named = ExecuteRequest { job_name: "back".into(), ..script(&numbers(2000, 2000)) };
    let named = with(named, &settings);
    let answer = testbed.run_until(named.clone(), |_, progress| progress.epoch >= 3).await;
    let cancelled = testbed.wait_for(&answer.jobs[0], &["cancelled"]).await;
    assert!(cancelled.rows_in < 2000, "stopped midway: {cancelled:?}");

    let older = Some(Restore { epoch: cancelled.epoch - 1 });
    let answer = testbed.run(ExecuteRequest { restore: older, ..named.clone() }).await;
    assert!(answer.finished, "{answer:?}");
    testbed.holds_each_once(2000).await;

    let unknown = Some(Restore { epoch: 999 });
    let answer = testbed.run(ExecuteRequest { restore: unknown, ..named }).await;
    let message = answer.failed.expect("refused").message;
    assert!(message.starts_with("restore checkpoint 999: it is not kept"), "{message}");
    testbed.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_goes_on_with_the_step_that_was_interrupted() {
    let testbed = Testbed::start().await;
    let text = numbers(1000, 1_000_000)
        + "CREATE TABLE slow (n BIGINT) WITH (
             'connector' = 'datagen', 'number-of-rows' = '2000', 'rows-per-second' = '2000',
             'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '2000');
           CREATE TABLE both (n BIGINT) WITH (
             'connector' = 'filesystem', 'path' = 'sdfs:///both', 'format' = 'csv');
           INSERT INTO both SELECT n FROM slow UNION ALL SELECT n FROM copied;";
    let settings = [("execution.checkpointing.interval", "100 ms")];
    let named = with(ExecuteRequest { job_name: "two".into(), ..script(&text) }, &settings);
    let in_second =
        |answer: &Answer, progress: &Progress| answer.jobs.len() == 2 && progress.epoch >= 2;
    let answer = testbed.run_until(named.clone(), in_second).await;
    let [first, second] = &answer.jobs[..] else { panic!("two jobs: {answer:?}") };
    testbed.wait_for(second, &["cancelled"]).await;

    let restored = ExecuteRequest { restore: Some(Restore { epoch: 0 }), ..named };
    let answer = testbed.run(restored).await;
    assert!(answer.finished, "{answer:?}");
    assert_eq!(testbed.wait_for(first, &["finished"]).await.rows_in, 0, "is not run again");
    assert!(testbed.wait_for(second, &["finished"]).await.rows_in < 3000, "begins midway");
    let text = "CREATE TABLE both (n BIGINT) WITH (
          'connector' = 'filesystem', 'path' = 'sdfs:///both', 'format' = 'csv');
        SELECT count(*) AS c, count(DISTINCT n) AS d FROM both;";
    insta::assert_snapshot!(testbed.run(script(text)).await.rows(), @r"
    +------+------+
    | c    | d    |
    +------+------+
    | 3000 | 2000 |
    +------+------+
    ");
    testbed.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_does_not_fit_the_checkpoint_is_refused() {
    let testbed = Testbed::start().await;
    let tables = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen',
          'number-of-rows' = '10', 'fields.n.kind' = 'random');
        CREATE TABLE hole (n BIGINT) WITH ('connector' = 'blackhole');";
    let text = format!("{tables} INSERT INTO hole SELECT n FROM numbers;");
    let named = ExecuteRequest { job_name: "changed".into(), ..script(&text) };
    assert!(testbed.run(named.clone()).await.finished);
    let text = format!("{tables} INSERT INTO hole SELECT count(*) FROM numbers GROUP BY n;");
    let restore = Some(Restore { epoch: 0 });
    let answer = testbed.run(ExecuteRequest { text, restore, ..named.clone() }).await;
    let message = answer.failed.expect("refused").message;
    assert!(message.contains("the checkpoint has no state for GroupAggregate"), "{message}");

    let restore = Some(Restore { epoch: 7 });
    let other = ExecuteRequest { restore, job_name: "never-run".into(), ..named };
    let message = testbed.run(other).await.failed.expect("refused").message;
    assert_eq!(message, "job 'never-run' has no checkpoint to restore; there is one of 'changed'");
    testbed.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_worker_fails_the_job_which_can_be_restored() {
    let testbed = Testbed::with_slots(1).await;
    let second = WorkerNode::start(WorkerNodeConfig {
        master: testbed.cluster.address(),
        slots: 1,
        listen: "127.0.0.1:0".parse().expect("address"),
        files: Arc::new(RemoteStore::connect(&testbed.cluster.address()).expect("files")),
    });
    let second = second.await.expect("worker");
    let text = numbers(2000, 2000);
    let settings = [("execution.checkpointing.interval", "100 ms"), ("parallelism.default", "2")];
    let named = with(ExecuteRequest { job_name: "lost".into(), ..script(&text) }, &settings);
    let (checkpointed, stop) = tokio::sync::oneshot::channel();
    let leaving = tokio::spawn(async move {
        stop.await.expect("the job runs");
        second.stop().await;
    });
    let checkpointed = Cell::new(Some(checkpointed));
    let seen = |_: &Answer, progress: &Progress| {
        if progress.epoch >= 2
            && let Some(checkpointed) = checkpointed.take()
        {
            checkpointed.send(()).expect("someone waits");
        }
        false
    };
    let answer = testbed.run_until(named.clone(), seen).await;
    leaving.await.expect("left");
    let message = answer.failed.expect("failed").message;
    assert!(message.contains("is gone, and with it tasks of the job"), "{message}");

    let answer = testbed.run(ExecuteRequest { restore: Some(Restore { epoch: 0 }), ..named }).await;
    assert!(answer.finished, "{answer:?}");
    testbed.holds_each_once(2000).await;
    testbed.cluster.stop().await;
}
