//! Runs a whole job in this process, without a cluster: for tests and for embedding.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::wire::wire;
use super::{ClientSink, MemoryBudget, Task, TaskEvent, TaskId, TaskMetrics, run};
use crate::batch::Batch;
use crate::connector::{self, CommitId, Committable, ConnectorContext, SplitState};
use crate::graph::{JobGraph, SinkTarget, Stage};
use crate::{Attempt, Epoch, Error, Generation, JobId, Result, StageId};

/// Runs a job over bounded input to its end on the current runtime, publishes what its sinks
/// wrote, and returns the rows for the client in the order in which they came.
///
/// # Errors
/// The first error of any task, or `Storage` where a sink cannot publish.
pub async fn run_local(
    job: JobId,
    graph: Arc<JobGraph>,
    connectors: ConnectorContext,
) -> Result<Vec<Batch>> {
    let rows = Arc::new(Mutex::new(Vec::new()));
    let memory = Arc::new(MemoryBudget::new(graph.settings.memory_budget_bytes));
    let mut splits = deal_out_splits(&graph, &connectors).await?;
    let mut tasks = JoinSet::new();
    // Dropping a command sender would cancel its task.
    let mut commands = Vec::new();
    for (id, channels) in wire(&graph, |_| true, |_, _| {}) {
        let (sender, receiver) = mpsc::unbounded_channel();
        commands.push(sender);
        let task = Task {
            job: job.clone(),
            generation: Generation(1),
            attempt: Attempt(0),
            id,
            graph: Arc::clone(&graph),
            inputs: channels.inputs,
            outputs: channels.outputs,
            splits: splits.remove(&id).unwrap_or_default(),
            state: BTreeMap::new(),
            commands: receiver,
            connectors: connectors.clone(),
            client: Some(Box::new(Collect(Arc::clone(&rows)))),
            memory: Arc::clone(&memory),
            metrics: Arc::new(TaskMetrics::default()),
        };
        tasks.spawn(run_one(id, task));
    }
    let committables = join(tasks).await?;
    commit(&job, &graph, &connectors, committables).await?;
    let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *rows))
}

struct Collect(Arc<Mutex<Vec<Batch>>>);

#[async_trait]
impl ClientSink for Collect {
    async fn send(&mut self, batch: Batch) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
        Ok(())
    }
}

type Outcome = (TaskId, Result<Vec<Committable>>);

async fn run_one(id: TaskId, task: Task) -> Outcome {
    let (sender, mut events) = mpsc::unbounded_channel();
    run(task, sender).await;
    let mut made_ready = Vec::new();
    while let Some(event) = events.recv().await {
        match event {
            TaskEvent::Snapshot { committables, .. } => made_ready.extend(committables),
            TaskEvent::Finished { committables, .. } => made_ready.extend(committables),
            TaskEvent::Failed(error) => return (id, Err(error)),
        }
    }
    (id, Ok(made_ready))
}

/// Waits for all tasks. A task that fails closes its channels, so the others end as well; the
/// error to report is the one that is not a consequence.
async fn join(mut tasks: JoinSet<Outcome>) -> Result<BTreeMap<StageId, Vec<Committable>>> {
    let mut committables: BTreeMap<StageId, Vec<Committable>> = BTreeMap::new();
    let mut first_error = None;
    while let Some(joined) = tasks.join_next().await {
        let (id, outcome) =
            joined.map_err(|error| Error::Internal(format!("a task panicked: {error}")))?;
        match outcome {
            Ok(made_ready) => committables.entry(id.stage).or_default().extend(made_ready),
            Err(Error::Closed) => {
                first_error.get_or_insert(Error::Closed);
            }
            Err(error) if !matches!(first_error, None | Some(Error::Closed)) => drop(error),
            Err(error) => first_error = Some(error),
        }
    }
    first_error.map_or(Ok(committables), Err)
}

async fn deal_out_splits(
    graph: &JobGraph,
    connectors: &ConnectorContext,
) -> Result<BTreeMap<TaskId, Vec<SplitState>>> {
    let mut dealt: BTreeMap<TaskId, Vec<SplitState>> = BTreeMap::new();
    for Stage { id, parallelism, source, .. } in &graph.stages {
        let Some(spec) = source else { continue };
        let splits = connector::source(spec, connectors)?.splits(*parallelism).await?;
        for (index, split) in splits.into_iter().enumerate() {
            let task = TaskId { stage: *id, subtask: index % parallelism };
            dealt.entry(task).or_default().push(SplitState::unread(split));
        }
    }
    Ok(dealt)
}

async fn commit(
    job: &JobId,
    graph: &JobGraph,
    connectors: &ConnectorContext,
    committables: BTreeMap<StageId, Vec<Committable>>,
) -> Result<()> {
    let id = CommitId { job: job.clone(), generation: Generation(1), epoch: Epoch(1), last: true };
    for (stage, made_ready) in committables {
        if let Some(spec) = &graph.stage(stage).sink
            && matches!(spec.target, SinkTarget::Connector { .. })
        {
            connector::sink(spec, connectors)?.commit(&id, &made_ready).await?;
        }
    }
    Ok(())
}
