//! An embedded cluster and what scripts on it answer.

use std::io::Cursor;
use std::path::PathBuf;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::ipc::reader::StreamReader;
use arrow::util::pretty::pretty_format_batches;
use rainstorm_cluster::embedded::{Cluster, Config};
use rainstorm_engine::time::{Clock as _, SystemClock};
use rainstorm_proto::client::execute_event::Event;
use rainstorm_proto::client::{ExecuteRequest, Failed, ListJobsRequest, Progress, RowsStarted};

/// What a script answered.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) jobs: Vec<String>,
    /// The checkpoint that each of them goes on from.
    pub(crate) restored: Vec<u64>,
    pub(crate) messages: Vec<String>,
    pub(crate) started: Option<RowsStarted>,
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) finished: bool,
    pub(crate) failed: Option<Failed>,
}

impl Answer {
    pub(crate) fn rows(&self) -> String {
        pretty_format_batches(&self.batches).expect("rows").to_string()
    }
}

pub(crate) struct Testbed {
    pub(crate) cluster: Cluster,
    pub(crate) data: tempfile::TempDir,
}

impl Testbed {
    pub(crate) async fn start() -> Self {
        Self::with_slots(2).await
    }

    pub(crate) async fn with_slots(slots: usize) -> Self {
        let data = tempfile::tempdir().expect("directory");
        let config = Config { data: data.path().join("data"), slots: Some(slots) };
        let cluster = Cluster::start(config).await.expect("cluster");
        Self { cluster, data }
    }

    /// Runs a script until it ends or `until` has seen enough, and drops the stream.
    pub(crate) async fn run_until(
        &self,
        request: ExecuteRequest,
        until: impl Fn(&Answer, &Progress) -> bool,
    ) -> Answer {
        let mut client = self.cluster.client();
        let mut events = client.execute(request).await.expect("execute").into_inner();
        let mut answer = Answer::default();
        while let Some(event) = events.message().await.expect("event") {
            match event.event.expect("an event") {
                Event::JobStarted(started) => {
                    answer.restored.push(started.restored_epoch);
                    answer.jobs.push(started.job_id);
                }
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

    pub(crate) async fn run(&self, request: ExecuteRequest) -> Answer {
        self.run_until(request, |_, _| false).await
    }

    /// Checks that the table that [`numbers`] are written into holds each of them once.
    pub(crate) async fn holds_each_once(&self, rows: i64) {
        let answer = self.run(script(COUNT)).await;
        let [batch] = answer.batches.as_slice() else { panic!("one row: {answer:?}") };
        let value = |column: &ArrayRef| column.as_primitive::<Int64Type>().values().to_vec();
        let found: Vec<i64> = batch.columns().iter().flat_map(value).collect();
        assert_eq!(
            found,
            [rows, rows, 1, rows],
            "rows, different ones, the least and the greatest"
        );
    }

    pub(crate) async fn job(&self, id: &str) -> Option<rainstorm_proto::client::Job> {
        let mut client = self.cluster.client();
        let jobs = client.list_jobs(ListJobsRequest {}).await.expect("jobs").into_inner().jobs;
        jobs.into_iter().find(|job| job.id == id)
    }

    /// Waits until a job has one of these states, and fails where it ends in another one.
    pub(crate) async fn wait_for(&self, id: &str, states: &[&str]) -> rainstorm_proto::client::Job {
        loop {
            if let Some(job) = self.job(id).await {
                if states.contains(&job.state.as_str()) {
                    return job;
                }
                let ended = ["cancelled", "failed", "finished"].contains(&job.state.as_str());
                assert!(!ended, "expected {states:?}: {job:?}");
            }
            // Looking again at once would take the processor from the job.
            SystemClock.sleep_until(SystemClock.now_ms() + 5).await;
        }
    }
}

pub(crate) fn script(text: &str) -> ExecuteRequest {
    let base_directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).display().to_string();
    ExecuteRequest { text: text.to_owned(), base_directory, ..ExecuteRequest::default() }
}

pub(crate) fn with(mut request: ExecuteRequest, settings: &[(&str, &str)]) -> ExecuteRequest {
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    request.settings.extend(settings);
    request
}

/// Numbers from a source into files, at a rate that leaves time for checkpoints.
pub(crate) fn numbers(rows: u64, rows_per_second: u64) -> String {
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
