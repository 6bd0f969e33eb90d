//! Scripts with INSERTs that never end, one after the other.

use rainstorm_proto::client::{CancelJobRequest, ExecuteRequest, Progress, Restore};

use crate::testbed::{Answer, Testbed, script, with};

const TABLES: &str = "
    CREATE TABLE nexmark (event_type INT, auction ROW<id BIGINT>)
      WITH ('connector' = 'nexmark', 'rows-per-second' = '20000');
    CREATE TABLE one (id BIGINT)
      WITH ('connector' = 'filesystem', 'path' = 'sdfs:///one', 'format' = 'csv');
    CREATE TABLE two (id BIGINT)
      WITH ('connector' = 'filesystem', 'path' = 'sdfs:///two', 'format' = 'csv');";

/// Two endless INSERTs with a setting between them.
fn two_jobs() -> String {
    format!(
        "{TABLES} SET 'execution.checkpointing.interval' = '100 ms';
         SET 'parallelism.default' = '1';
         INSERT INTO one SELECT auction.id FROM nexmark WHERE event_type = 1;
         SET 'execution.checkpointing.interval' = '150 ms';
         INSERT INTO two SELECT auction.id FROM nexmark WHERE event_type = 1;"
    )
}

/// Watches a script until both of its jobs have come to a checkpoint after these.
async fn until_both_have_checkpoints(
    testbed: &Testbed,
    request: ExecuteRequest,
    after: [u64; 2],
) -> Answer {
    let epochs = std::cell::RefCell::new(std::collections::BTreeMap::new());
    let seen = |answer: &Answer, progress: &Progress| {
        let mut epochs = epochs.borrow_mut();
        epochs.insert(progress.job_id.clone(), progress.epoch);
        let is_after =
            |(job, after): (&String, u64)| epochs.get(job).is_some_and(|epoch| *epoch >= after + 3);
        answer.jobs.len() == 2 && answer.jobs.iter().zip(after).all(is_after)
    };
    testbed.run_until(request, seen).await
}

/// Checks that a table holds ids without gaps and each once, and returns their number.
async fn holds_each_once(testbed: &Testbed, table: &str) -> String {
    let text = format!(
        "{TABLES} SELECT count(*) > 0 AS some, count(*) = count(DISTINCT id) AS once,
         max(id) - min(id) + 1 = count(*) AS all_of_them FROM {table};"
    );
    testbed.run(script(&text)).await.rows()
}

const ALL_ONCE: &str = "\
+------+------+-------------+
| some | once | all_of_them |
+------+------+-------------+
| true | true | true        |
+------+------+-------------+";

#[tokio::test(flavor = "multi_thread")]
async fn endless_inserts_with_a_setting_between_them_run_side_by_side() {
    let testbed = Testbed::start().await;
    let named = ExecuteRequest { job_name: "both".into(), ..script(&two_jobs()) };
    let answer = until_both_have_checkpoints(&testbed, named.clone(), [0, 0]).await;
    assert_eq!(answer.jobs, ["both", "both-2"], "{answer:?}");
    let mut epochs = [0, 0];
    for (job, epoch) in answer.jobs.iter().zip(&mut epochs) {
        // The client is gone, which ends both.
        *epoch = testbed.wait_for(job, &["cancelled"]).await.epoch;
    }
    let message = testbed.run(named.clone()).await.failed.expect("refused").message;
    assert!(message.starts_with("job 'both' did not finish and has checkpoint"), "{message}");
    let older = ExecuteRequest { restore: Some(Restore { epoch: 1 }), ..named.clone() };
    let message = testbed.run(older).await.failed.expect("refused").message;
    assert!(message.starts_with("jobs both and both-2 ran side by side"), "{message}");

    let restored = ExecuteRequest { restore: Some(Restore { epoch: 0 }), ..named };
    let answer = until_both_have_checkpoints(&testbed, restored, epochs).await;
    assert_eq!(answer.restored, epochs, "each goes on from its own checkpoint");
    for job in &answer.jobs {
        testbed.wait_for(job, &["cancelled"]).await;
    }
    for table in ["one", "two"] {
        assert_eq!(holds_each_once(&testbed, table).await, ALL_ONCE, "{table}");
    }
    testbed.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_side_by_side_are_cancelled_by_the_name_of_their_script() {
    let testbed = Testbed::start().await;
    let text = two_jobs();
    let text = text.replace("SET 'parallelism", "SET 'pipeline.name' = 'first'; SET 'parallelism");
    let text = text.replace("INSERT INTO two", "SET 'pipeline.name' = 'second'; INSERT INTO two");
    let answer = testbed.run(ExecuteRequest { detached: true, ..script(&text) }).await;
    assert_eq!(answer.jobs, ["first"]);
    for job in ["first", "second"] {
        testbed.wait_for(job, &["running"]).await;
    }
    let request = CancelJobRequest { job_id: "first".into() };
    testbed.cluster.client().cancel_job(request).await.expect("cancelled");
    for job in ["first", "second"] {
        let job = testbed.job(job).await.expect("a job");
        assert_eq!((job.state.as_str(), job.name.as_str()), ("cancelled", "first"));
    }
    testbed.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_insert_runs_to_its_end_beside_an_endless_one() {
    let testbed = Testbed::start().await;
    let text = format!(
        "{TABLES} SET 'parallelism.default' = '1';
         CREATE TABLE few (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '7');
         CREATE TABLE three (id BIGINT)
           WITH ('connector' = 'filesystem', 'path' = 'sdfs:///three', 'format' = 'csv');
         INSERT INTO one SELECT auction.id FROM nexmark WHERE event_type = 1;
         SET 'execution.checkpointing.interval' = '120 ms';
         INSERT INTO two SELECT id FROM few;
         INSERT INTO three SELECT id FROM two;"
    );
    let named = with(
        ExecuteRequest { job_name: "mixed".into(), ..script(&text) },
        &[("execution.checkpointing.interval", "100 ms")],
    );
    let both_ended = |answer: &Answer, progress: &Progress| {
        let ended = answer.messages.iter().filter(|message| message.starts_with("INSERT 7"));
        ended.count() == 2 && progress.job_id == "mixed" && progress.epoch >= 2
    };
    let answer = testbed.run_until(named.clone(), both_ended).await;
    assert_eq!(answer.jobs, ["mixed", "mixed-2", "mixed-3"]);
    let epoch = testbed.wait_for("mixed", &["cancelled"]).await.epoch;
    // What had finished only repeats its last commit.
    let goes_on =
        |_: &Answer, progress: &Progress| progress.job_id == "mixed" && progress.epoch > epoch;
    let restored = ExecuteRequest { restore: Some(Restore { epoch: 0 }), ..named };
    let answer = testbed.run_until(restored, goes_on).await;
    assert_eq!(answer.restored[0], epoch, "{answer:?}");
    testbed.wait_for("mixed", &["cancelled"]).await;
    assert_eq!(holds_each_once(&testbed, "one").await, ALL_ONCE);
    let text = format!("{TABLES} SELECT count(*) = 7 AS seven FROM two;");
    assert!(testbed.run(script(&text)).await.rows().contains("true"));
    testbed.cluster.stop().await;
}
