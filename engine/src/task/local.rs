//! Runs a whole job in this process, without a cluster: for tests and for embedding.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::wire::wire;
use super::{ClientSink, Task, TaskCommand, TaskEvent, TaskId, TaskMetrics, run};
use crate::batch::Batch;
use crate::batch_query::source_of;
use crate::connector::{self, CommitId, Committable, ConnectorContext, SplitState};
use crate::graph::{JobGraph, SinkTarget, Stage};
use crate::memory::MemoryBudget;
use crate::{Attempt, Epoch, Error, Generation, JobId, Result, StageId};

/// Runs a job to its end on the current runtime, which comes with that of its input or with enough
/// rows, publishes what its sinks wrote, and returns the rows for the client in the order in which they came.
///
/// # Errors
/// The first error of any task, or `Storage` where a sink cannot publish.
pub async fn run_local(
    job: JobId,
    graph: Arc<JobGraph>,
    connectors: ConnectorContext,
) -> Result<Vec<Batch>> {
    let rows = Collect::default();
    run_local_to(job, graph, connectors, rows.clone()).await?;
    let mut rows = rows.0.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *rows))
}

/// Runs a job as [`run_local`] does, and hands the rows for the client to `client`, of which each
/// subtask has a clone. Dropping the future stops the job.
///
/// # Errors
/// The first error of any task, or `Storage` where a sink cannot publish.
pub async fn run_local_to(
    job: JobId,
    graph: Arc<JobGraph>,
    connectors: ConnectorContext,
    client: impl ClientSink + Clone + 'static,
) -> Result<()> {
    let memory = Arc::new(MemoryBudget::new(graph.settings.memory_budget_bytes));
    let mut splits = deal_out_splits(&graph, &connectors, &memory).await?;
    let mut tasks = JoinSet::new();
    // Dropping a command sender would cancel its task.
    let commands = Arc::new(Mutex::new(Commands::new(Arc::clone(&graph))));
    for (id, channels) in wire(&graph, |_| true, |_, _| {}) {
        let (sender, receiver) = mpsc::unbounded_channel();
        lock(&commands).senders.insert(id, sender);
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
            client: Some(Box::new(client.clone())),
            memory: Arc::clone(&memory),
            metrics: Arc::new(TaskMetrics::default()),
        };
        tasks.spawn(run_one(id, task, Arc::clone(&commands)));
    }
    let committables = join(tasks).await?;
    commit(&job, &graph, &connectors, committables).await
}

#[derive(Clone, Default)]
struct Collect(Arc<Mutex<Vec<Batch>>>);

#[async_trait]
impl ClientSink for Collect {
    async fn send(&mut self, batch: Batch) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
        Ok(())
    }
}

type Outcome = (TaskId, Result<Vec<Committable>>);

/// Ends sources of which nobody needs further rows.
struct Commands {
    graph: Arc<JobGraph>,
    senders: BTreeMap<TaskId, mpsc::UnboundedSender<TaskCommand>>,
    satisfied: BTreeSet<StageId>,
}

fn lock(commands: &Mutex<Commands>) -> MutexGuard<'_, Commands> {
    // Nothing panics while the lock is held.
    commands.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Commands {
    fn new(graph: Arc<JobGraph>) -> Self {
        Self { graph, senders: BTreeMap::new(), satisfied: BTreeSet::new() }
    }

    fn satisfied(&mut self, stage: StageId) {
        self.satisfied.insert(stage);
        let ended = self.graph.needless_sources(&self.satisfied);
        for (task, sender) in &self.senders {
            if ended.contains(&task.stage) {
                // A task that has ended needs no command.
                let _ = sender.send(TaskCommand::End);
            }
        }
    }
}

async fn run_one(id: TaskId, task: Task, commands: Arc<Mutex<Commands>>) -> Outcome {
    let (sender, mut events) = mpsc::unbounded_channel();
    let listen = async {
        let mut made_ready = Vec::new();
        while let Some(event) = events.recv().await {
            match event {
                TaskEvent::Snapshot { committables, .. } => made_ready.extend(committables),
                TaskEvent::Satisfied => lock(&commands).satisfied(id.stage),
                TaskEvent::Finished { committables, .. } => made_ready.extend(committables),
                TaskEvent::Failed(error) => return Err(error),
            }
        }
        Ok(made_ready)
    };
    let ((), outcome) = tokio::join!(run(task, sender), listen);
    (id, outcome)
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
    memory: &Arc<MemoryBudget>,
) -> Result<BTreeMap<TaskId, Vec<SplitState>>> {
    let mut dealt: BTreeMap<TaskId, Vec<SplitState>> = BTreeMap::new();
    for Stage { id, parallelism, source, .. } in &graph.stages {
        let Some(spec) = source else { continue };
        let splits = source_of(spec, connectors, memory)?.splits(*parallelism).await?;
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
    let id = CommitId {
        job: job.clone(),
        generation: Generation(1),
        epoch: Epoch(1),
        last: true,
        ancestors: vec![],
    };
    for (stage, made_ready) in committables {
        if let Some(spec) = &graph.stage(stage).sink
            && matches!(spec.target, SinkTarget::Connector { .. })
        {
            connector::sink(spec, connectors)?.commit(&id, &made_ready).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::PhysicalExpr;
    use datafusion::physical_expr::expressions::{binary, col, lit};

    use super::*;
    use crate::graph::{
        ChangelogMode, Edge, JobSettings, OperatorNode, OperatorSpec, Partitioning, SinkSpec,
        SourceSpec,
    };
    use crate::storage::Storage;
    use crate::time::SimulatedClock;
    use crate::{OperatorId, StageId};

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("event_type", DataType::Int32, false)]))
    }

    fn is_bid() -> Arc<dyn PhysicalExpr> {
        let kind = col("event_type", &schema()).expect("a column");
        binary(kind, Operator::Eq, lit(2), &schema()).expect("comparable")
    }

    /// Events, filtered in their source's stage, exchanged twice, to the client.
    fn bids_only(events: u64, parallelism: [usize; 2]) -> JobGraph {
        let source = SourceSpec {
            id: OperatorId(1),
            table: "events".to_owned(),
            connector: "nexmark".to_owned(),
            options: BTreeMap::from([("events".to_owned(), events.to_string())]),
            table_schema: schema(),
            schema: schema(),
            filters: Vec::new(),
            limit: None,
            prepare: Vec::new(),
            watermark: None,
            query: None,
        };
        let filter = OperatorNode {
            id: OperatorId(2),
            spec: OperatorSpec::Filter(is_bid()),
            inputs: vec![schema()],
            output: schema(),
        };
        let sink = SinkSpec {
            id: OperatorId(3),
            table: "client".to_owned(),
            target: SinkTarget::Client,
            schema: schema(),
            changelog: ChangelogMode::AppendOnly,
            upsert_key: None,
        };
        let stage = |id, parallelism| Stage {
            id: StageId(id),
            parallelism,
            source: None,
            chain: Vec::new(),
            sink: None,
        };
        let edge = |from, to, partitioning| Edge {
            from: StageId(from),
            to: StageId(to),
            port: 0,
            partitioning,
            schema: schema(),
            changelog: ChangelogMode::AppendOnly,
        };
        let first = Stage { source: Some(source), chain: vec![filter], ..stage(0, parallelism[0]) };
        JobGraph {
            stages: vec![
                first,
                stage(1, parallelism[1]),
                Stage { sink: Some(sink), ..stage(2, 1) },
            ],
            edges: vec![
                edge(0, 1, Partitioning::Hash(vec![0])),
                edge(1, 2, Partitioning::RoundRobin),
            ],
            settings: JobSettings::default(),
        }
    }

    async fn run_bids(events: u64, parallelism: [usize; 2]) -> Result<usize> {
        let connectors = ConnectorContext {
            storage: Storage::default(),
            clock: Arc::new(SimulatedClock::new(0)),
        };
        let graph = Arc::new(bids_only(events, parallelism));
        let batches = run_local(JobId::new("test"), graph, connectors).await?;
        Ok(batches.iter().map(Batch::num_rows).sum())
    }

    #[tokio::test]
    async fn a_job_of_three_stages_delivers_every_row_once_whatever_its_parallelism() {
        for parallelism in [[1, 1], [2, 3], [4, 2]] {
            let rows = run_bids(100_000, parallelism).await.expect("a job that runs");
            assert_eq!(rows, 92_000, "at parallelism {parallelism:?}");
        }
    }

    #[tokio::test]
    async fn a_failing_task_fails_the_job_with_its_own_error() {
        let connectors = ConnectorContext {
            storage: Storage::default(),
            clock: Arc::new(SimulatedClock::new(0)),
        };
        let mut graph = bids_only(100, [1, 2]);
        let divide = binary(
            col("event_type", &schema()).expect("a column"),
            Operator::Divide,
            lit(0),
            &schema(),
        );
        let fails =
            binary(divide.expect("numbers"), Operator::Eq, lit(1), &schema()).expect("comparable");
        graph.stages[0].chain[0].spec = OperatorSpec::Filter(fails);
        let error = run_local(JobId::new("test"), Arc::new(graph), connectors).await;
        let error = error.expect_err("division by zero");
        assert!(matches!(error, Error::Compute { .. }), "{error:?}");
    }
}
