//! Scripts on an embedded cluster, from a client's point of view.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::util::pretty::pretty_format_batches;
use rainstorm_cluster::embedded::{Cluster, Config};
use rainstorm_cluster::fs::RemoteStore;
use rainstorm_cluster::node::{WorkerNode, WorkerNodeConfig};
use rainstorm_proto::client::execute_event::Event;
use rainstorm_proto::client::{
    CancelJobRequest, ExecuteRequest, Failed, ListJobsRequest, Progress, Restore, RowsStarted,
};

/// What a script answered.
#[derive(Debug, Default)]
struct Answer {
    jobs: Vec<String>,
    messages: Vec<String>,
    started: Option<RowsStarted>,
    batches: Vec<RecordBatch>,
    finished: bool,
    failed: Option<Failed>,
}

impl Answer {
    fn rows(&self) -> String {
        pretty_format_batches(&self.batches).expect("rows").to_string()
    }
}

struct Testbed {
    cluster: Cluster,
    data: tempfile::TempDir,
}

impl Testbed {
    async fn start() -> Self {
        Self::with_slots(2).await
    }

    async fn with_slots(slots: usize) -> Self {
        let data = tempfile::tempdir().expect("directory");
        let config = Config { data: data.path().join("data"), slots: Some(slots) };
        let cluster = Cluster::start(config).await.expect("cluster");
        Self { cluster, data }
    }

    /// Runs a script until it ends or `until` has seen enough, and drops the stream.
    async fn run_until(
        &self,
        request: ExecuteRequest,
        until: impl Fn(&Answer, &Progress) -> bool,
    ) -> Answer {
        let mut client = self.cluster.client();
        let mut events = client.execute(request).await.expect("execute").into_inner();
        let mut answer = Answer::default();
        while let Some(event) = events.message().await.expect("event") {
            match event.event.expect("an event") {
                Event::JobStarted(started) => answer.jobs.push(started.job_id),
                Event::Message(message) => answer.messages.push(message),
                Event::Warning(_) | Event::RowsFinished(_) => {}
                Event::RowsStarted(started) => {
                    answer.batches.clear();
                    answer.started = Some(started);
                }
                Event::Rows(rows) => {
                    let reader = StreamReader::try_new(Cursor::new(rows.batches), None);
                    answer.batches.extend(reader.expect("rows").map(|batch| batch.expect("batch")));
                    if until(&answer, &Progress::default()) {
                        break;
                    }
                }
                Event::Progress(progress) if until(&answer, &progress) => break,
                Event::Progress(_) => {}
                Event::Finished(_) => answer.finished = true,
                Event::Failed(failed) => answer.failed = Some(failed),
            }
        }
        answer
    }

    async fn run(&self, request: ExecuteRequest) -> Answer {
        self.run_until(request, |_, _| false).await
    }

    async fn job(&self, id: &str) -> Option<rainstorm_proto::client::Job> {
        let mut client = self.cluster.client();
        let jobs = client.list_jobs(ListJobsRequest {}).await.expect("jobs").into_inner().jobs;
        jobs.into_iter().find(|job| job.id == id)
    }

    /// Waits until a job has one of these states.
    async fn wait_for(&self, id: &str, states: &[&str]) -> rainstorm_proto::client::Job {
        loop {
            if let Some(job) = self.job(id).await
                && states.contains(&job.state.as_str())
            {
                return job;
            }
            tokio::task::yield_now().await;
        }
    }
}

fn script(text: &str) -> ExecuteRequest {
    let base_directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).display().to_string();
    ExecuteRequest { text: text.to_owned(), base_directory, ..ExecuteRequest::default() }
}

fn with(mut request: ExecuteRequest, settings: &[(&str, &str)]) -> ExecuteRequest {
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    request.settings.extend(settings);
    request
}

/// Numbers from a source into files, at a rate that leaves time for checkpoints.
fn numbers(rows: u64, rows_per_second: u64) -> String {
    format!(
        "CREATE TABLE numbers (n BIGINT) WITH (
           'connector' = 'datagen', 'number-of-rows' = '{rows}',
           'rows-per-second' = '{rows_per_second}',
           'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{rows}');
         CREATE TABLE copied (n BIGINT) WITH (
           'connector' = 'filesystem', 'path' = 'sdfs:///copied', 'format' = 'csv');
         INSERT INTO copied SELECT n FROM numbers;"
    )
}

const COUNT: &str = "CREATE TABLE copied (n BIGINT) WITH (
      'connector' = 'filesystem', 'path' = 'sdfs:///copied', 'format' = 'csv');
    SELECT count(*) AS c, count(DISTINCT n) AS d, min(n) AS low, max(n) AS high FROM copied;";

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
    let counted = testbed.run(script(COUNT)).await.rows();
    insta::assert_snapshot!(counted, @r"
    +------+------+-----+------+
    | c    | d    | low | high |
    +------+------+-----+------+
    | 2000 | 2000 | 1   | 2000 |
    +------+------+-----+------+
    ");

    // Once more: the job had finished, so that only its last commit is repeated.
    let answer = testbed.run(request).await;
    assert!(answer.finished, "{answer:?}");
    assert_eq!(testbed.run(script(COUNT)).await.rows(), counted);
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
    let counted = testbed.run(script(COUNT)).await.rows();
    insta::assert_snapshot!(counted, @r"
    +------+------+-----+------+
    | c    | d    | low | high |
    +------+------+-----+------+
    | 2000 | 2000 | 1   | 2000 |
    +------+------+-----+------+
    ");

    let unknown = Some(Restore { epoch: 999 });
    let answer = testbed.run(ExecuteRequest { restore: unknown, ..named }).await;
    let message = answer.failed.expect("refused").message;
    assert!(message.starts_with("restore checkpoint 999: it is not kept"), "{message}");
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
    insta::assert_snapshot!(testbed.run(script(COUNT)).await.rows(), @r"
    +------+------+-----+------+
    | c    | d    | low | high |
    +------+------+-----+------+
    | 2000 | 2000 | 1   | 2000 |
    +------+------+-----+------+
    ");
    testbed.cluster.stop().await;
}
