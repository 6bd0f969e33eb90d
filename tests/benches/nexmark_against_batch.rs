//! Nexmark's queries as streams against DataFusion's batch engine: the same events from the same
//! generator, in one process, in turns.
//!
//! ```text
//! cargo bench -p rainstorm-tests --bench nexmark_against_batch -- [EVENTS] [PARALLELISM] [QUERY…]
//! ```
//!
//! Prints, per query, the seconds of the best of three runs of each and their ratio: below 1 the
//! stream is faster. The batch queries are the SQL in `tests/oracle`.

#[path = "../tests/end_to_end/oracle.rs"]
#[allow(dead_code)]
mod oracle;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use libtest_mimic::Failed;
use rainstorm_engine::JobId;
use rainstorm_engine::connector::ConnectorContext;
use rainstorm_engine::storage::{LocalStore, Storage};
use rainstorm_engine::task::run_local;
use rainstorm_engine::time::{ClockRef, SystemClock};
use rainstorm_planner::Planner;
use rainstorm_planner::script::{Script, Step};
use rainstorm_planner::session::Session;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const QUERIES: [&str; 11] = ["q0", "q1", "q2", "q5", "q7", "q8", "q13", "q14", "q17", "q21", "q22"];
const RUNS: usize = 3;

fn main() -> Result<(), Failed> {
    let arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let arguments = arguments.collect::<Vec<_>>();
    let number = |index: usize, or: u64| {
        arguments.get(index).and_then(|argument| argument.parse().ok()).unwrap_or(or)
    };
    let (events, parallelism) = (number(0, 10_000_000), number(1, 2) as usize);
    let wanted = arguments.get(2..).filter(|names| !names.is_empty());
    let queries = QUERIES
        .iter()
        .filter(|query| wanted.is_none_or(|names| names.iter().any(|name| name == *query)));
    let mut out = std::io::stdout();
    writeln!(out, "| query | stream s | batch s | stream / batch |\n| --- | --- | --- | --- |")?;
    for query in queries {
        let (mut stream, mut batch) = (Duration::MAX, Duration::MAX);
        for _ in 0..RUNS {
            stream = stream.min(run_stream(query, events, parallelism)?);
            batch = batch.min(run_batch(query, events, parallelism)?);
        }
        let (stream, batch) = (stream.as_secs_f64(), batch.as_secs_f64());
        writeln!(out, "| {query} | {stream:.2} | {batch:.2} | {:.2} |", stream / batch)?;
    }
    Ok(())
}

fn runtime(threads: usize) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(threads).thread_stack_size(32 << 20).enable_all();
    builder.build().expect("a runtime")
}

/// Runs the example's SQL as one job.
fn run_stream(query: &str, events: u64, parallelism: usize) -> Result<Duration, Failed> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql-examples/nexmark");
    let side = tempfile::NamedTempFile::with_suffix(".csv")?;
    std::fs::write(side.path(), oracle::side_table())?;
    let text = std::fs::read_to_string(folder.join("source.sql"))?
        + &std::fs::read_to_string(folder.join(format!("{query}.sql")))?;
    let variables = BTreeMap::from([
        ("EVENTS".to_owned(), events.to_string()),
        ("SIDE".to_owned(), format!("file://{}", side.path().display())),
    ]);
    let script = Script { text, base_directory: "/".to_owned(), variables };
    let clock: ClockRef = Arc::new(SystemClock);
    let local: Arc<dyn object_store::ObjectStore> = Arc::new(LocalStore::open(Path::new("/"))?);
    let storage = Storage::new([("file".to_owned(), local)]);
    let connectors = ConnectorContext { storage, clock: Arc::clone(&clock) };
    let mut session = Session::default();
    let setting = session.settings.set("parallelism.default", &parallelism.to_string());
    setting.map_err(|error| error.message)?;
    let begun = Instant::now();
    runtime(parallelism).block_on(async {
        // Planned on a thread with a deep stack, as the master does.
        let steps = tokio::spawn(async move { Planner::new(&clock).plan(&mut session, &script) });
        for step in steps.await?? {
            if let Step::Job(job) = step {
                run_local(JobId::new("bench"), Arc::new(job.graph), connectors.clone()).await?;
            }
        }
        Ok(begun.elapsed())
    })
}

/// Runs the batch SQL and drops its rows, as the example's sink does.
fn run_batch(query: &str, events: u64, parallelism: usize) -> Result<Duration, Failed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle").join(format!("{query}.sql"));
    let sql = std::fs::read_to_string(path)?;
    let begun = Instant::now();
    runtime(parallelism).block_on(async {
        let rows = tokio::spawn(async move {
            let context = oracle::context(events, parallelism).await?;
            let mut rows = context.sql(&sql).await?.execute_stream().await?;
            while let Some(batch) = rows.next().await {
                batch?;
            }
            Ok::<_, Failed>(())
        });
        rows.await??;
        Ok(begun.elapsed())
    })
}
