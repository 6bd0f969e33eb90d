//! LIMIT ends what it limits.

use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use rainstorm_engine::time::{Clock as _, SystemClock};
use rainstorm_proto::client::{ExecuteRequest, Progress, Restore};

use crate::testbed::{Answer, Testbed, script, with};

/// How long a job may take from its last row to its end, as people see it, and then some for a
/// machine that is busy with other tests.
const END: Duration = Duration::from_secs(20);

/// Random numbers without an end, and a table for them.
fn endless(rows_per_second: &str) -> String {
    tables(&format!("{rows_per_second} 'fields.n.kind' = 'random'"))
}

/// All numbers from 1 on, for so long that nobody would wait for their end.
fn counting(rows_per_second: &str) -> String {
    let sequence = "'fields.n.start' = '1', 'fields.n.end' = '4000000000'";
    tables(&format!("{rows_per_second} 'fields.n.kind' = 'sequence', {sequence}"))
}

fn tables(options: &str) -> String {
    format!(
        "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', {options});
         CREATE TABLE taken (n BIGINT) WITH (
           'connector' = 'filesystem', 'path' = 'sdfs:///taken', 'format' = 'csv');"
    )
}

const COUNT: &str = "SELECT count(*) AS c FROM taken;";

/// Runs a script that ends soon; it would go on for days without a LIMIT.
async fn run(testbed: &Testbed, request: ExecuteRequest) -> Answer {
    let answer = tokio::time::timeout(END, testbed.run(request)).await;
    let answer = answer.expect("enough rows end the job");
    assert!(answer.finished, "{answer:?}");
    answer
}

fn numbers(answer: &Answer) -> Vec<i64> {
    let columns = answer.batches.iter().flat_map(RecordBatch::columns);
    columns.flat_map(|column| column.as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_with_a_limit_commits_and_finishes_though_its_source_has_no_end() {
    let testbed = Testbed::with_slots(3).await;
    for parallelism in ["1", "3"] {
        let text = endless("").replace("taken", &format!("taken{parallelism}"))
            + &format!("INSERT INTO taken{parallelism} SELECT n FROM numbers LIMIT 5000 OFFSET 7;")
            + &COUNT.replace("taken", &format!("taken{parallelism}"));
        let request = with(script(&text), &[("parallelism.default", parallelism)]);
        let answer = run(&testbed, request).await;
        assert_eq!(numbers(&answer), [5000], "at parallelism {parallelism}");
        testbed.wait_for(&answer.jobs[0], &["finished"]).await;
    }
    testbed.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_source_ends_with_the_last_row_that_is_wanted() {
    let testbed = Testbed::start().await;
    let slow = counting("'rows-per-second' = '20',");
    let begun = SystemClock.now_ms();
    let text = slow + "INSERT INTO taken SELECT n FROM numbers WHERE n % 2 = 0 LIMIT 4;" + COUNT;
    let answer = run(&testbed, script(&text)).await;
    assert_eq!(numbers(&answer), [4]);
    let waited_ms = SystemClock.now_ms() - begun;
    assert!(waited_ms >= 300, "the eighth row is not there before that: {waited_ms} ms");
    testbed.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_select_with_a_limit_ends_and_what_follows_it_runs() {
    let testbed = Testbed::start().await;
    let text = counting("") + "SELECT n FROM numbers LIMIT 3 OFFSET 2;";
    let answer = run(&testbed, script(&text)).await;
    assert_eq!(numbers(&answer), [3, 4, 5]);
    let text = endless("")
        + "SELECT n FROM numbers LIMIT 10; INSERT INTO taken SELECT n FROM numbers LIMIT 2;
           INSERT INTO taken SELECT n FROM numbers LIMIT 0; SELECT n FROM numbers LIMIT 0;"
        + COUNT;
    let answer = run(&testbed, script(&text)).await;
    assert_eq!(numbers(&answer), [2]);
    assert_eq!(answer.messages[2..], ["INSERT 2 INTO taken", "INSERT 0 INTO taken"]);
    testbed.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_that_are_open_when_there_is_enough_are_not_written() {
    let testbed = Testbed::start().await;
    let text = "CREATE TABLE ticks (n BIGINT, ts AS TO_TIMESTAMP_LTZ(n, 0),
             WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen', 'fields.n.kind' = 'sequence',
             'fields.n.start' = '0', 'fields.n.end' = '4000000000');
           CREATE TABLE counts (c BIGINT) WITH (
             'connector' = 'filesystem', 'path' = 'sdfs:///counts', 'format' = 'csv');
           INSERT INTO counts SELECT COUNT(*) FROM TABLE(
             TUMBLE(TABLE ticks, DESCRIPTOR(ts), INTERVAL '10' SECOND))
           GROUP BY window_start, window_end LIMIT 100;
           SELECT count(*) AS c, count(DISTINCT c) AS d, max(c) AS m FROM counts;";
    let answer = run(&testbed, script(text)).await;
    assert_eq!(numbers(&answer), [100, 1, 10], "whole windows of ten rows each");
    testbed.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_count_goes_on_after_a_restore_at_another_parallelism() {
    let testbed = Testbed::with_slots(3).await;
    let slow = counting("'rows-per-second' = '2000',");
    let text = slow.clone() + "INSERT INTO taken SELECT n FROM numbers LIMIT 3000 OFFSET 100;";
    let named = ExecuteRequest { job_name: "some".into(), ..script(&text) };
    let settings = [("execution.checkpointing.interval", "100 ms"), ("parallelism.default", "1")];
    let checkpointed = |_: &Answer, progress: &Progress| progress.epoch >= 3;
    let answer = testbed.run_until(with(named.clone(), &settings), checkpointed).await;
    let cancelled = testbed.wait_for(&answer.jobs[0], &["cancelled"]).await;
    assert!(cancelled.rows_in < 3100, "stopped midway: {cancelled:?}");
    let restore = Some(Restore { epoch: 0 });
    let settings = [("parallelism.default", "3")];
    let again = with(ExecuteRequest { restore, ..named.clone() }, &settings);
    let answer = run(&testbed, again).await;
    assert!(answer.restored[0] > 0, "{answer:?}");
    // Once more from its end: nothing is added.
    run(&testbed, ExecuteRequest { restore, ..named }).await;
    let count = "SELECT count(*) AS c, count(DISTINCT n) AS d FROM taken;";
    let answer = run(&testbed, script(&(slow + count))).await;
    assert_eq!(numbers(&answer), [3000, 3000]);
    testbed.cluster.stop().await;
}
