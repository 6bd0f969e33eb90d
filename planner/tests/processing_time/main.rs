//! Windows of processing time on a simulated clock, against a plain reference: the events are handed
//! out at a pace, so that it is known in which window each falls.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod above;
mod job;

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, TimestampMillisecondType};
use job::{START_MS, run};
use rainstorm_engine::time::TimestampMs;

const SOURCE: &str = include_str!("../../../sql-examples/nexmark/source.sql");
const Q12: &str = include_str!("../../../sql-examples/nexmark/q12.sql");
const EVENTS: u64 = 200_000;
const WINDOW_MS: i64 = 10_000;
/// The pace: so many events come every [`TICK_MS`].
const EVENTS_PER_TICK: u64 = 100;
const TICK_MS: i64 = 10;

/// Makes the source hand its events out at the pace.
fn paced_source() -> String {
    let pace = 1000 / TICK_MS as u64 * EVENTS_PER_TICK;
    let paced = format!("'connector' = 'nexmark',\n  'rows-per-second' = '{pace}',");
    SOURCE.replace("'connector' = 'nexmark',", &paced)
}

/// Returns the bidders in the order of their bids, which are those of the first events.
async fn bidders(events: u64) -> Vec<i64> {
    let query = format!("{SOURCE}\nSELECT bidder FROM bid;");
    let bids = run(&query, events, 1, TimestampMs::MAX).await;
    let column = |batch: &rainstorm_engine::batch::Batch| {
        batch.column(0).as_primitive::<Int64Type>().values().to_vec()
    };
    bids.iter().flat_map(|(_, batch)| column(batch)).collect()
}

/// Returns the time by the clock at which a bid comes, given its number.
fn time_of_bid(bid: u64) -> TimestampMs {
    // Of every 50 events the last 46 are bids.
    let event = bid / 46 * 50 + 4 + bid % 46;
    START_MS + event.div_ceil(EVENTS_PER_TICK) as i64 * TICK_MS
}

/// Counts by bidder and window, given the bidders in the order of their events.
fn reference(bidders: &[i64]) -> BTreeMap<(i64, TimestampMs), i64> {
    let mut counts = BTreeMap::new();
    for (bid, bidder) in (0_u64..).zip(bidders) {
        *counts.entry((*bidder, time_of_bid(bid) / WINDOW_MS * WINDOW_MS)).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn q12_counts_in_windows_of_processing_time() {
    let expected = reference(&bidders(EVENTS).await);
    let source = paced_source();
    let (definitions, insert) = Q12.split_once("INSERT INTO").unwrap();
    let select = insert.split_once('\n').unwrap().1;
    for parallelism in [1, 3] {
        let mut found = BTreeMap::new();
        let query = format!("{source}\n{definitions}\n{select}");
        for (_, batch) in run(&query, EVENTS, parallelism, TimestampMs::MAX).await {
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
