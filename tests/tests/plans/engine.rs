//! Runs a query in this process on a simulated clock, and tells what came before the end.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use async_trait::async_trait;
use rainstorm_engine::JobId;
use rainstorm_engine::batch::Batch;
use rainstorm_engine::connector::ConnectorContext;
use rainstorm_engine::graph::JobGraph;
use rainstorm_engine::storage::Storage;
use rainstorm_engine::task::{ClientSink, run_local_to};
use rainstorm_engine::time::{ClockRef, QuietClock, SimulatedClock, TimestampMs};
use rainstorm_planner::Planner;
use rainstorm_planner::script::{Script, Step};
use rainstorm_planner::session::Session;

use super::table::OPEN_MS;
use super::value::{START_MS, Value};

/// Rows with their weights.
pub(crate) type Changes = Vec<(Vec<Value>, i64)>;

/// What a run has emitted.
#[derive(Debug, Default)]
pub(crate) struct Emitted {
    pub(crate) before_end: Changes,
    pub(crate) at_end: Changes,
}

/// Plans the last statement of a script.
///
/// # Errors
/// What the planner says, or how it panicked.
pub(crate) fn plan(script: &str, parallelism: usize) -> Result<JobGraph, String> {
    let clock: ClockRef = Arc::new(SimulatedClock::new(START_MS));
    let text = format!("SET 'parallelism.default' = '{parallelism}';\n{script}");
    let script = Script { text, base_directory: "/".to_owned(), variables: BTreeMap::default() };
    let planned = catch_unwind(AssertUnwindSafe(|| {
        Planner::new(&clock).plan(&mut Session::default(), &script)
    }));
    let steps = planned.map_err(|_| "the planner panicked".to_owned())?;
    let steps = steps.map_err(|errors| format!("{errors:?}"))?;
    let job = steps.into_iter().find_map(|step| match step {
        Step::Job(job) => Some(job.graph),
        _ => None,
    });
    job.ok_or_else(|| "the query is no job".to_owned())
}

/// Runs a job to its end.
///
/// # Errors
/// What it failed with, or that it does not end.
pub(crate) fn run(graph: JobGraph) -> Result<Emitted, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let clock = Arc::new(QuietClock::new(START_MS));
    let emitted = Arc::new(Mutex::new(Emitted::default()));
    let shared: ClockRef = Arc::clone(&clock) as _;
    let connectors = ConnectorContext { storage: Storage::default(), clock: shared };
    let client = Client { emitted: Arc::clone(&emitted), clock: Arc::clone(&clock) };
    runtime.expect("a runtime").block_on(async {
        tokio::select! {
            ended = run_local_to(JobId::new("test"), Arc::new(graph), connectors, client) => {
                ended.map_err(|error| error.to_string())
            }
            () = clock.go_until(TimestampMs::MAX) => Err("the job does not end".to_owned()),
        }
    })?;
    let mut emitted = emitted.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *emitted))
}

#[derive(Clone)]
struct Client {
    emitted: Arc<Mutex<Emitted>>,
    clock: Arc<QuietClock>,
}

#[async_trait]
impl ClientSink for Client {
    async fn send(&mut self, batch: Batch) -> rainstorm_engine::Result<()> {
        let mut emitted = self.emitted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.clock.shown_ms() < START_MS + OPEN_MS;
        let Emitted { before_end, at_end } = &mut *emitted;
        if before { before_end } else { at_end }.extend(changes(&batch));
        Ok(())
    }
}

fn changes(batch: &Batch) -> Changes {
    let columns = batch.rows().columns().iter().map(values).collect::<Vec<_>>();
    let weight = |row: usize| batch.weights().map_or(1, |weights| i64::from(weights.value(row)));
    let row = |row: usize| columns.iter().map(|column| column[row].clone()).collect();
    (0..batch.num_rows()).map(|index| (row(index), weight(index))).collect()
}

/// Returns the values of an array.
pub(crate) fn values(array: &ArrayRef) -> Vec<Value> {
    let of = match array.data_type() {
        DataType::Boolean => DataType::Boolean,
        DataType::Float64 | DataType::Float32 => DataType::Float64,
        DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        _ => DataType::Int64,
    };
    let array = cast(array, &of).expect("a type that queries have");
    let value = |row: usize| match &of {
        _ if array.is_null(row) => Value::Null,
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Float64 => Value::Float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Value::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(row)),
        _ => Value::Time(array.as_primitive::<TimestampMicrosecondType>().value(row)),
    };
    (0..array.len()).map(value).collect()
}
