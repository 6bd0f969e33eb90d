//! A job that goes over its budget fails by it, and the process is no larger by then than the books
//! say.

use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use tokio::process::Child;

use super::program::{Place, ended, expect_contains, trial};

const MIB: u64 = 1 << 20;
const BUDGET: u64 = 192 * MIB;
/// What a process may take beside what the books say: pages of the allocator, rows in readers.
const SLACK: u64 = 100 * MIB;
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a query keeps too much of.
struct Case {
    operator: &'static str,
    /// The columns of the table that it writes.
    columns: &'static str,
    /// The query, over endless random rows.
    query: &'static str,
}

const CASES: [Case; 4] = [
    Case {
        operator: "GroupAggregate",
        columns: "k BIGINT, n BIGINT, s DOUBLE",
        query: "SELECT k, COUNT(*), SUM(CAST(k AS DOUBLE)) FROM t GROUP BY k",
    },
    Case {
        operator: "GroupAggregate",
        columns: "g BIGINT, low BIGINT, high BIGINT",
        query:
            "SELECT g, MIN(n), MAX(n) FROM (SELECT k, MAX(k % 1000000) AS g, COUNT(*) AS n FROM t
            GROUP BY k) AS counts GROUP BY g",
    },
    Case {
        operator: "WindowAggregate",
        columns: "k BIGINT, n BIGINT, last STRING",
        query: "SELECT k, COUNT(*), MAX(s) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts),
            INTERVAL '3650000' DAY)) GROUP BY k, window_start, window_end",
    },
    Case {
        operator: "IntervalJoin",
        columns: "k BIGINT, one STRING, other STRING",
        query: "SELECT a.k, a.s, b.s FROM t AS a JOIN t AS b ON a.k = b.k + 1
            AND a.ts BETWEEN b.ts - INTERVAL '1' DAY AND b.ts + INTERVAL '1' DAY",
    },
];

pub(crate) fn trials() -> Vec<Trial> {
    let trials = CASES.iter().enumerate().map(|(number, case)| {
        let name = format!("memory::{}_{number}_fails_within_its_budget", case.operator);
        trial(name, move || fails_within_its_budget(case))
    });
    trials.collect()
}

async fn fails_within_its_budget(case: &'static Case) -> Result<(), Failed> {
    let Case { operator, columns, query } = case;
    let place = Place::new();
    let (idle, _) = peak_of(place.start(["sql", "-c", "SHOW TABLES"])).await?;
    let script = format!(
        "SET 'state.memory-budget' = '{} mb';
         SET 'execution.checkpointing.interval' = '3 s';
         CREATE TABLE t (k BIGINT, s STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH (
           'connector' = 'datagen', 'rows-per-second' = '100000000', 'fields.k.kind' = 'random',
           'fields.s.length' = '20');
         CREATE TABLE hole ({columns}) WITH ('connector' = 'blackhole');
         INSERT INTO hole {query};",
        BUDGET / MIB
    );
    let script = place.write("script.sql", &script);
    let script = script.to_str().expect("a path of plain characters");
    let (peak, told) = peak_of(place.start(["run", script])).await?;
    expect_contains(&told, &format!("{operator} (others"))?;
    expect_contains(&told, "over the worker's budget")?;
    let (grown, most) = (peak.saturating_sub(idle), BUDGET * 5 / 4 + SLACK);
    if grown > most {
        let message = format!("{} MiB at the end, at most {} are right", grown / MIB, most / MIB);
        return Err(message.into());
    }
    Ok(())
}

/// Runs a program to its end; returns the most that it held in memory and what it complained about.
async fn peak_of(child: Child) -> Result<(u64, String), Failed> {
    let id = child.id().ok_or("the program does not run")?;
    let mut peak = 0;
    let run = ended(child);
    tokio::pin!(run);
    loop {
        match tokio::time::timeout(LOOK_EVERY, &mut run).await {
            Ok(ended) => return Ok((peak, ended.stderr)),
            Err(_) => peak = resident_peak(id).unwrap_or(0).max(peak),
        }
    }
}

/// Returns the most that a process has held in memory so far, in bytes.
fn resident_peak(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib << 10)
}
