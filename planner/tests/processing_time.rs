//! Nexmark's query 12 on a simulated clock, against a plain reference: the events are handed out at
//! a pace, so that it is known in which window of processing time each falls.

#![expect(clippy::unwrap_used, reason = "these are tests")]
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, TimestampMillisecondType};
use async_trait::async_trait;
use rainstorm_engine::JobId;
use rainstorm_engine::batch::Batch;
use rainstorm_engine::connector::ConnectorContext;
use rainstorm_engine::storage::Storage;
use rainstorm_engine::task::run_local;
use rainstorm_engine::time::{Clock, ClockRef, SimulatedClock, TimestampMs};
use rainstorm_planner::Planner;
use rainstorm_planner::script::{Script, Step};
use rainstorm_planner::session::Session;

const SOURCE: &str = include_str!("../../sql-examples/nexmark/source.sql");
const Q12: &str = include_str!("../../sql-examples/nexmark/q12.sql");
const EVENTS: u64 = 200_000;
const WINDOW_MS: i64 = 10_000;
/// The pace: so many events come every [`TICK_MS`].
const EVENTS_PER_TICK: u64 = 100;
const TICK_MS: i64 = 10;
/// Between two ticks a window ends: 3,995 ms after the first event.
const START_MS: TimestampMs = 1_704_067_206_005;

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

    /// Moves the clock for ever, on the one thread that the tasks share.
    async fn go(&self) {
        loop {
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

async fn run(query: &str, parallelism: usize) -> Vec<Batch> {
    let clock = Arc::new(QuietClock {
        clock: SimulatedClock::new(START_MS),
        looks: AtomicU64::new(0),
        deadlines: Mutex::default(),
    });
    let shared: ClockRef = Arc::clone(&clock) as _;
    let text = format!("SET 'parallelism.default' = '{parallelism}';\n{query}");
    let variables = [("EVENTS".to_owned(), EVENTS.to_string())];
    let script = Script { text, base_directory: "/".to_owned(), variables: variables.into() };
    let steps = Planner::new(&shared).plan(&mut Session::default(), &script).unwrap();
    let job = steps.into_iter().find_map(|step| match step {
        Step::Job(job) => Some(*job),
        _ => None,
    });
    let connectors = ConnectorContext { storage: Storage::default(), clock: shared };
    let graph = Arc::new(job.unwrap().graph);
    tokio::select! {
        batches = run_local(JobId::new("test"), graph, connectors) => batches.unwrap(),
        () = clock.go() => unreachable!("the clock goes for ever"),
    }
}

/// Counts by bidder and window, given the bidders in the order of their events.
fn reference(bidders: &[i64]) -> BTreeMap<(i64, TimestampMs), i64> {
    let mut counts = BTreeMap::new();
    for (bid, bidder) in (0_u64..).zip(bidders) {
        // Of every 50 events the last 46 are bids.
        let event = bid / 46 * 50 + 4 + bid % 46;
        let time = START_MS + event.div_ceil(EVENTS_PER_TICK) as i64 * TICK_MS;
        *counts.entry((*bidder, time / WINDOW_MS * WINDOW_MS)).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn q12_counts_in_windows_of_processing_time() {
    let bids = run(&format!("{SOURCE}\nSELECT bidder FROM bid;"), 1).await;
    let bidders =
        bids.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
    let expected = reference(&bidders.collect::<Vec<_>>());

    let pace = 1000 / TICK_MS as u64 * EVENTS_PER_TICK;
    let paced = format!("'connector' = 'nexmark',\n  'rows-per-second' = '{pace}',");
    let source = SOURCE.replace("'connector' = 'nexmark',", &paced);
    let (definitions, insert) = Q12.split_once("INSERT INTO").unwrap();
    let select = insert.split_once('\n').unwrap().1;
    for parallelism in [1, 3] {
        let mut found = BTreeMap::new();
        for batch in run(&format!("{source}\n{definitions}\n{select}"), parallelism).await {
            let integers = |column: usize| batch.column(column).as_primitive::<Int64Type>().clone();
            let times = |column: usize| {
                batch.column(column).as_primitive::<TimestampMillisecondType>().clone()
            };
            let (bidders, counts) = (integers(0), integers(1));
            let (starts, ends) = (times(2), times(3));
            for row in 0..batch.num_rows() {
                assert_eq!(ends.value(row) - starts.value(row), WINDOW_MS);
                let key = (bidders.value(row), starts.value(row));
                assert_eq!(found.insert(key, counts.value(row)), None, "{key:?} comes once");
            }
        }
        assert_eq!(found, expected, "at parallelism {parallelism}");
    }
    let windows = expected.keys().map(|(_, start)| start).collect::<BTreeSet<_>>();
    assert_eq!(windows.len(), 3, "the events fall into several windows");
}
