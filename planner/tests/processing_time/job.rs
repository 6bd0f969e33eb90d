//! Runs a query on a simulated clock.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rainstorm_engine::batch::Batch;
use rainstorm_engine::connector::ConnectorContext;
use rainstorm_engine::storage::Storage;
use rainstorm_engine::task::{ClientSink, run_local_to};
use rainstorm_engine::time::{Clock, ClockRef, QuietClock, TimestampMs};
use rainstorm_engine::{JobId, Result};
use rainstorm_planner::Planner;
use rainstorm_planner::script::{Script, Step};
use rainstorm_planner::session::Session;

/// The clock's time when the first row comes: between two ticks a window of ten seconds ends,
/// 3,995 ms later.
pub(crate) const START_MS: TimestampMs = 1_704_067_206_005;

/// Keeps what comes, with the clock's time when it came.
#[derive(Debug, Clone)]
struct Watch {
    clock: Arc<QuietClock>,
    rows: Arc<Mutex<Vec<(TimestampMs, Batch)>>>,
}

#[async_trait]
impl ClientSink for Watch {
    async fn send(&mut self, batch: Batch) -> Result<()> {
        self.rows.lock().unwrap().push((self.clock.now_ms(), batch));
        Ok(())
    }
}

/// Runs the query that a script ends with until its input ends or the clock shows `until`;
/// returns the batches with the times when they came.
pub(crate) async fn run(
    script: &str,
    events: u64,
    parallelism: usize,
    until: TimestampMs,
) -> Vec<(TimestampMs, Batch)> {
    let clock = Arc::new(QuietClock::new(START_MS));
    let shared: ClockRef = Arc::clone(&clock) as _;
    let text = format!("SET 'parallelism.default' = '{parallelism}';\n{script}");
    let variables = [("EVENTS".to_owned(), events.to_string())];
    let script = Script { text, base_directory: "/".to_owned(), variables: variables.into() };
    let steps = Planner::new(&shared).plan(&mut Session::default(), &script).unwrap();
    let job = steps.into_iter().find_map(|step| match step {
        Step::Job(job) => Some(*job),
        _ => None,
    });
    let connectors = ConnectorContext { storage: Storage::default(), clock: shared };
    let graph = Arc::new(job.unwrap().graph);
    let watch = Watch { clock: Arc::clone(&clock), rows: Arc::default() };
    tokio::select! {
        ended = run_local_to(JobId::new("test"), graph, connectors, watch.clone()) => ended.unwrap(),
        () = clock.go_until(until) => {}
    }
    std::mem::take(&mut watch.rows.lock().unwrap())
}
