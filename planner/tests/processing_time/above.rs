//! What stands on windows of processing time, over input without end: it gives its rows when the
//! clock has passed their window, and not only at the end.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, TimestampMillisecondType};
use rainstorm_engine::time::TimestampMs;

use super::job::{START_MS, run};
use super::{bidders, paced_source, time_of_bid};

const WINDOW_MS: i64 = 1_000;
/// The first three windows end before.
const END_MS: TimestampMs = START_MS + 3_500;
/// The source has more events than come until then, and bids among the first ones suffice.
const ENDLESS: u64 = 1_000_000_000;
const EVENTS_SEEN: u64 = 40_000;
/// What may lie between the end of a window and its rows: each stage gathers for some time.
const DELAY_MS: i64 = 200;

/// Bids per half and window; of three subtasks at least one never has a row. Bids per window.
const VIEWS: &str = "
    CREATE VIEW b AS SELECT *, PROCTIME() AS p_time FROM bid;
    CREATE VIEW w AS SELECT MOD(bidder, 2) AS half, COUNT(*) AS n, window_start, window_end
    FROM TABLE(TUMBLE(TABLE b, DESCRIPTOR(p_time), INTERVAL '1' SECOND))
    GROUP BY MOD(bidder, 2), window_start, window_end;
    CREATE VIEW total AS SELECT COUNT(*) AS n, window_start, window_end
    FROM TABLE(TUMBLE(TABLE b, DESCRIPTOR(p_time), INTERVAL '1' SECOND))
    GROUP BY window_start, window_end;";

type Rows = Vec<(TimestampMs, Vec<i64>)>;

/// Runs a query, whose first column is the end of a window and the others numbers, until its input
/// would go on, and returns its rows in order.
async fn rows(query: &str, parallelism: usize) -> Rows {
    let script = format!("{}\n{VIEWS}\n{query};", paced_source());
    let mut rows = Vec::new();
    for (came, batch) in run(&script, ENDLESS, parallelism, END_MS).await {
        let ends = batch.column(0).as_primitive::<TimestampMillisecondType>();
        for row in 0..batch.num_rows() {
            let end = ends.value(row);
            let in_time = end <= came && came <= end + DELAY_MS;
            assert!(in_time, "a row of the window until {end} came at {came}: {query}");
            let numbers = batch.rows().columns()[1..].iter();
            let numbers = numbers.map(|column| column.as_primitive::<Int64Type>().value(row));
            rows.push((end, numbers.collect()));
        }
    }
    rows.sort();
    rows
}

/// Returns the bids per half of each window that ends in time.
async fn halves() -> BTreeMap<TimestampMs, [i64; 2]> {
    let mut halves: BTreeMap<TimestampMs, [i64; 2]> = BTreeMap::new();
    for (bid, bidder) in (0_u64..).zip(bidders(EVENTS_SEEN).await) {
        let end = (time_of_bid(bid) / WINDOW_MS + 1) * WINDOW_MS;
        halves.entry(end).or_default()[(bidder % 2) as usize] += 1;
    }
    halves.retain(|end, _| end + DELAY_MS < END_MS);
    assert_eq!(halves.len(), 3);
    halves
}

async fn check(query: &str, expected: impl Fn(&BTreeMap<TimestampMs, [i64; 2]>) -> Rows) {
    let expected = expected(&halves().await);
    for parallelism in [1, 3] {
        let found = rows(query, parallelism).await;
        assert_eq!(found, expected, "{query} at parallelism {parallelism}");
    }
}

#[tokio::test]
async fn a_second_aggregation_with_a_filter_before_it_follows_the_clock() {
    let query = "SELECT window_end, MAX(n), COUNT(*) FROM w WHERE n > 0
                 GROUP BY window_start, window_end";
    check(query, |halves| {
        halves.iter().map(|(end, [even, odd])| (*end, vec![*even.max(odd), 2])).collect()
    })
    .await;
}

#[tokio::test]
async fn an_aggregation_of_filtered_rows_that_carry_windows_follows_the_clock() {
    let query = "SELECT window_end, COUNT(*) FROM (
                   SELECT DISTINCT half, window_start, window_end, auction FROM (
                     SELECT MOD(bidder, 2) AS half, 1 AS auction, window_start, window_end
                     FROM TABLE(TUMBLE(TABLE b, DESCRIPTOR(p_time), INTERVAL '1' SECOND))
                     WHERE price > 0))
                 GROUP BY window_start, window_end";
    check(query, |halves| halves.keys().map(|end| (*end, vec![2])).collect()).await;
}

#[tokio::test]
async fn a_join_of_windows_follows_the_clock() {
    let query = "SELECT w.window_end, w.half, w.n, total.n FROM w JOIN total
                 ON w.window_start = total.window_start AND w.window_end = total.window_end";
    let of_window = |(end, [even, odd]): (&TimestampMs, &[i64; 2])| {
        [(*end, vec![0, *even, even + odd]), (*end, vec![1, *odd, even + odd])]
    };
    check(query, |halves| halves.iter().flat_map(of_window).collect()).await;
}

#[tokio::test]
async fn an_aggregation_of_a_union_of_windows_follows_the_clock() {
    let query = "SELECT window_end, SUM(n) FROM (
                   SELECT n, window_start, window_end FROM w
                   UNION ALL SELECT n, window_start, window_end FROM total)
                 GROUP BY window_start, window_end";
    check(query, |halves| {
        halves.iter().map(|(end, [even, odd])| (*end, vec![2 * (even + odd)])).collect()
    })
    .await;
}

#[tokio::test]
async fn a_join_of_rows_that_carry_windows_follows_the_clock() {
    let query = "SELECT w.window_end, COUNT(*) FROM (
                   SELECT bidder, window_start, window_end
                   FROM TABLE(TUMBLE(TABLE b, DESCRIPTOR(p_time), INTERVAL '1' SECOND))
                 ) x JOIN w ON x.window_start = w.window_start AND x.window_end = w.window_end
                   AND MOD(x.bidder, 2) = w.half
                 GROUP BY w.window_start, w.window_end";
    check(query, |halves| {
        halves.iter().map(|(end, [even, odd])| (*end, vec![even + odd])).collect()
    })
    .await;
}

#[tokio::test]
async fn windows_of_the_time_of_windows_follow_the_clock() {
    let query = "CREATE VIEW timed AS SELECT COUNT(*) AS n, window_time AS t
                 FROM TABLE(TUMBLE(TABLE b, DESCRIPTOR(p_time), INTERVAL '1' SECOND))
                 GROUP BY window_start, window_end, window_time;
                 SELECT window_end, SUM(n)
                 FROM TABLE(TUMBLE(TABLE timed, DESCRIPTOR(t), INTERVAL '2' SECOND))
                 GROUP BY window_start, window_end";
    check(query, |halves| {
        let mut sums: BTreeMap<TimestampMs, i64> = BTreeMap::new();
        for (end, [even, odd]) in halves {
            *sums.entry((end - 1).div_euclid(2_000) * 2_000 + 2_000).or_default() += even + odd;
        }
        sums.retain(|end, _| end + DELAY_MS < END_MS);
        assert!(!sums.is_empty());
        sums.into_iter().map(|(end, sum)| (end, vec![sum])).collect()
    })
    .await;
}
