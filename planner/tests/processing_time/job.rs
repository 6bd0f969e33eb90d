//! Runs a query on a simulated clock.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rainstorm_engine::batch::Batch;
use rainstorm_engine::connector::ConnectorContext;
use rainstorm_engine::storage::Storage;
use rainstorm_engine::task::{ClientSink, run_local_to};
use rainstorm_engine::time::{Clock, ClockRef, SimulatedClock, TimestampMs};
use rainstorm_engine::{JobId, Result};
use rainstorm_planner::Planner;
use rainstorm_planner::script::{Script, Step};
use rainstorm_planner::session::Session;

/// The clock's time when the first row comes: between two ticks a window of ten seconds ends,
/// 3,995 ms later.
pub(crate) const START_MS: TimestampMs = 1_704_067_206_005;

/// Stands still while anybody looks at it, and then goes on to the time that is waited for.
#[derive(Debug)]
struct QuietClock {
    clock: SimulatedClock,
    looks: AtomicU64,
    deadlines: Mutex<BTreeSet<TimestampMs>>,
}

#[async_trait]
impl Clock for QuietClock {
    fn now_ms(&self) -> TimestampMs {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.clock.now_ms()
    }

    async fn sleep_until(&self, deadline: TimestampMs) {
        self.deadlines.lock().unwrap().insert(deadline);
        self.clock.sleep_until(deadline).await;
    }
}

impl QuietClock {
    /// Rounds of all tasks without a look at the clock, after which none has anything to do.
    const QUIET_ROUNDS: u32 = 100;

    /// Moves the clock until a time, on the one thread that the tasks share.
    async fn go_until(&self, end: TimestampMs) {
        while self.clock.now_ms() < end {
            let (mut quiet, mut looks) = (0, 0);
            while quiet < Self::QUIET_ROUNDS {
                tokio::task::yield_now().await;
                let seen = self.looks.load(Ordering::Relaxed);
                quiet = if seen == looks { quiet + 1 } else { 0 };
                looks = seen;
            }
            let next = self.deadlines.lock().unwrap().pop_first();
            if let Some(deadline) = next {
                self.clock.advance_to(deadline);
            }
        }
    }
}

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
    let clock = Arc::new(QuietClock {
        clock: SimulatedClock::new(START_MS),
        looks: AtomicU64::new(0),
        deadlines: Mutex::default(),
    });
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
