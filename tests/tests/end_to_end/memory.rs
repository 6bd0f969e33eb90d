//! A job that goes over its budget fails by it, and no process is larger than the books say.

use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use tokio::process::Child;

use super::program::{Ended, Place, ended, expect_contains, trial};

const MIB: u64 = 1 << 20;
const BUDGET: u64 = 384 * MIB;
/// What a process may take beside what the books say: pages of the allocator, rows on their way.
const SLACK: u64 = 100 * MIB;
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Shows what a worker says of a job's memory when it is over.
const LOG: (&str, &str) = ("RAINSTORM_LOG", "error,rainstorm_cluster::worker::attempt=info");

/// A query over random rows: `t` never ends, `b` does.
struct Case {
    name: &'static str,
    /// The columns of the table that it writes.
    columns: &'static str,
    query: &'static str,
}

/// Queries that keep too much, by the operator that does so.
const GROWING: [Case; 7] = [
    Case {
        name: "GroupAggregate",
        columns: "k BIGINT, n BIGINT, s DOUBLE",
        query: "SELECT k, COUNT(*), SUM(CAST(k AS DOUBLE)) FROM t GROUP BY k",
    },
    Case {
        name: "GroupAggregate",
        columns: "g BIGINT, low BIGINT, high BIGINT",
        query:
            "SELECT g, MIN(n), MAX(n) FROM (SELECT k, MAX(k % 1000000) AS g, COUNT(*) AS n FROM t
            GROUP BY k) AS counts GROUP BY g",
    },
    Case {
        name: "GroupAggregate",
        columns: "k BIGINT, n BIGINT, last STRING",
        query: "SELECT k % 10, COUNT(DISTINCT s), MAX(s) FROM t GROUP BY k % 10",
    },
    Case {
        name: "WindowAggregate",
        columns: "k BIGINT, n BIGINT, last STRING",
        query: "SELECT k, COUNT(*), MAX(s) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts),
            INTERVAL '3650000' DAY)) GROUP BY k, window_start, window_end",
    },
    Case {
        name: "IntervalJoin",
        columns: "k BIGINT, one STRING, other STRING",
        query: "SELECT a.k, a.s, b.s FROM t AS a JOIN t AS b ON a.k = b.k + 1
            AND a.ts BETWEEN b.ts - INTERVAL '1' DAY AND b.ts + INTERVAL '1' DAY",
    },
    Case {
        name: "Over",
        columns: "k BIGINT, s STRING, n BIGINT",
        query: "SELECT k, s, COUNT(*) OVER () FROM b",
    },
    Case {
        name: "Sort",
        columns: "k BIGINT, s STRING, n BIGINT",
        query: "SELECT k, s, ROW_NUMBER() OVER (PARTITION BY k % 10 ORDER BY s) FROM b",
    },
];

/// Queries that hold something, of which the last bytes are far below their budget.
const LASTING: [Case; 7] = [
    Case { name: "csv_files", columns: "k BIGINT, s STRING", query: "SELECT k, s FROM csv" },
    Case {
        name: "parquet_files",
        columns: "k BIGINT, s STRING",
        query: "SELECT k, s FROM parquet",
    },
    Case {
        name: "distinct_texts",
        columns: "k BIGINT, n BIGINT, last STRING",
        query: "SELECT k % 10, COUNT(DISTINCT s), MAX(s) FROM b GROUP BY k % 10",
    },
    Case {
        name: "texts_to_take_back",
        columns: "g BIGINT, last STRING",
        query: "SELECT g, MAX(s) FROM (SELECT k, MAX(k % 10) AS g, MAX(s) AS s FROM b GROUP BY k)
            AS one GROUP BY g",
    },
    Case {
        name: "a_window",
        columns: "k BIGINT, n BIGINT, last STRING",
        query: "SELECT k, COUNT(*), MAX(s) FROM TABLE(TUMBLE(TABLE b, DESCRIPTOR(ts),
            INTERVAL '3650000' DAY)) GROUP BY k, window_start, window_end",
    },
    Case {
        name: "a_join",
        columns: "k BIGINT, one STRING, other STRING",
        query: "SELECT a.k, a.s, b.s FROM b AS a JOIN b AS b ON a.k = b.k + 1
            AND a.ts BETWEEN b.ts - INTERVAL '1' DAY AND b.ts + INTERVAL '1' DAY",
    },
    Case {
        name: "over_in_batch",
        columns: "k BIGINT, s STRING, n BIGINT",
        query: "SELECT k, s, COUNT(*) OVER () FROM b",
    },
];

pub(crate) fn trials() -> Vec<Trial> {
    let growing = GROWING.iter().enumerate().map(|(number, case)| {
        let name = format!("memory::{}_{number}_fails_within_its_budget", case.name);
        trial(name, move || fails_within_its_budget(case))
    });
    let lasting = LASTING.iter().map(|case| {
        let name = format!("memory::{}_take_what_the_books_say", case.name);
        trial(name, move || takes_what_the_books_say(case))
    });
    growing.chain(lasting).collect()
}

/// Returns a script whose last statement is the query, with so many rows in `b`.
fn script(case: &Case, budget: u64, rows: u64) -> String {
    let random = |name: &str, rows: &str| {
        format!(
            "CREATE TABLE {name} (k BIGINT, s STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH (
               'connector' = 'datagen', 'rows-per-second' = '100000000', 'fields.k.kind' = 'random',
               'fields.s.length' = '600'{rows});"
        )
    };
    let files = |format: &str| {
        format!(
            "CREATE TABLE {format} (k BIGINT, s STRING) WITH ('connector' = 'filesystem',
               'path' = 'sdfs:///{format}', 'format' = '{format}');
             INSERT INTO {format} SELECT k, s FROM b;"
        )
    };
    let files: String = ["csv", "parquet"]
        .into_iter()
        .filter(|format| case.query.ends_with(&format!("FROM {format}")))
        .map(files)
        .collect();
    let Case { columns, query, .. } = case;
    format!(
        "SET 'state.memory-budget' = '{} mb';
         SET 'execution.checkpointing.interval' = '1 s';
         {} {} {files}
         CREATE TABLE hole ({columns}) WITH ('connector' = 'blackhole');
         INSERT INTO hole {query};",
        budget / MIB,
        random("t", ""),
        random("b", &format!(", 'number-of-rows' = '{rows}'")),
    )
}

/// What a run took beyond what a process takes that does nothing, and how it ended.
async fn run(case: &Case, budget: u64, rows: u64) -> Result<(u64, Ended), Failed> {
    let place = Place::new();
    let (idle, _) = peak_of(place.start(["sql", "-c", "SHOW TABLES"])).await?;
    let script = place.write("script.sql", &script(case, budget, rows));
    let mut command = place.command([std::ffi::OsStr::new("run"), script.as_os_str()]);
    let (peak, ended) = peak_of(command.env(LOG.0, LOG.1).spawn()?).await?;
    Ok((peak.saturating_sub(idle), ended))
}

async fn fails_within_its_budget(case: &'static Case) -> Result<(), Failed> {
    let (grown, ended) = run(case, BUDGET, 2_000_000).await?;
    let told = ended.failure()?;
    expect_contains(&told, &format!("{} (others", case.name))?;
    expect_contains(&told, "over the worker's budget")?;
    expect_at_most(grown, BUDGET * 5 / 4 + SLACK)
}

async fn takes_what_the_books_say(case: &'static Case) -> Result<(), Failed> {
    let (grown, ended) = run(case, 8 << 30, 60_000).await?;
    let logged = format!("{}{}", ended.stdout, ended.stderr);
    ended.success()?;
    let counted = logged.lines().filter(|line| line.contains("that was accounted for"));
    let counted = counted.filter_map(|line| line.rsplit_once("bytes=")?.1.trim().parse().ok());
    let most: u64 = counted.max().ok_or_else(|| format!("nothing accounted in\n{logged}"))?;
    expect_at_most(grown, most * 13 / 10 + SLACK)
}

fn expect_at_most(grown: u64, most: u64) -> Result<(), Failed> {
    if grown <= most {
        return Ok(());
    }
    Err(format!("{} MiB were taken, at most {} are right", grown / MIB, most / MIB).into())
}

/// Runs a program to its end; returns the most that it held in memory.
async fn peak_of(child: Child) -> Result<(u64, Ended), Failed> {
    let id = child.id().ok_or("the program does not run")?;
    let mut peak = 0;
    let run = ended(child);
    tokio::pin!(run);
    loop {
        match tokio::time::timeout(LOOK_EVERY, &mut run).await {
            Ok(ended) => return Ok((peak, ended)),
            Err(_) => peak = resident(id).unwrap_or(0).max(peak),
        }
    }
}

/// Returns what a process holds in memory, in bytes, without the pages of its executable: of these
/// it needs the more the more it does.
fn resident(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib << 10)
}
