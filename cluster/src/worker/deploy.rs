//! Builds the tasks and channels of an attempt that are placed here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::future::try_join_all;
use object_store::path::Path;
use rainstorm_engine::connector::{Split, SplitState};
use rainstorm_engine::graph::{JobGraph, SinkTarget};
use rainstorm_engine::hash::key_groups_of;
use rainstorm_engine::memory::MemoryBudget;
use rainstorm_engine::state::StateTable;
use rainstorm_engine::state::file::{self, Selection};
use rainstorm_engine::task::{
    ChannelId, Receiver, RemoteEnd, Sender, Task, TaskCommand, TaskId, TaskMetrics, wire,
};
use rainstorm_engine::{Error, OperatorId, Result};
use rainstorm_proto::worker as proto;
use rainstorm_proto::worker::state_reference::Location;
use tokio::sync::mpsc;

use super::results::{ResultQueue, ResultSink};
use super::{AttemptId, WorkerConfig, identity};
use crate::codec::decode_graph;
use crate::exchange::Peer;

/// An attempt's tasks and channels, not started yet.
pub(super) struct Deployment {
    pub(super) id: AttemptId,
    pub(super) graph: Arc<JobGraph>,
    pub(super) tasks: Vec<Task>,
    pub(super) commands: BTreeMap<TaskId, mpsc::UnboundedSender<TaskCommand>>,
    pub(super) metrics: BTreeMap<TaskId, Arc<TaskMetrics>>,
    pub(super) memory: Arc<MemoryBudget>,
    /// Channels to other workers.
    pub(super) outgoing: Vec<Outgoing>,
    /// Channels from other workers, which will ask for them.
    pub(super) incoming: HashMap<ChannelId, Sender>,
    /// The rows of the client's sink, where it is here.
    pub(super) results: Option<ResultQueue>,
    pub(super) state_directory: Path,
}

/// A channel to another worker.
pub(super) struct Outgoing {
    pub(super) channel: ChannelId,
    pub(super) receiver: Receiver,
    pub(super) peer: Peer,
}

/// Builds what a request places on this worker.
///
/// # Errors
/// `Invalid` where the request does not hold together; `Storage` or `Restore` where the state to
/// start from cannot be read.
pub(super) async fn build(
    id: AttemptId,
    request: proto::DeployRequest,
    config: &WorkerConfig,
) -> Result<Deployment> {
    let graph = request.graph.as_ref().ok_or_else(|| invalid("no graph"))?;
    let graph = Arc::new(decode_graph(graph, &config.functions)?);
    let placement = Placement::new(&graph, &request, &config.id)?;
    let mut state = State::read(&graph, &placement, &request.state, config).await?;
    let mut splits = splits_by_task(&request.splits);

    let (mut outgoing, mut incoming) = (Vec::new(), HashMap::new());
    let channels = wire(
        &graph,
        |task| placement.is_here(task),
        |channel, end| match end {
            RemoteEnd::Comes(sender) => {
                incoming.insert(channel, sender);
            }
            RemoteEnd::Leaves(receiver) => {
                let peer = placement.receiver_of(&graph, channel);
                outgoing.push(Outgoing { channel, receiver, peer });
            }
        },
    );

    let memory = Arc::new(MemoryBudget::new(graph.settings.memory_budget_bytes));
    let (mut commands, mut metrics) = (BTreeMap::new(), BTreeMap::new());
    let mut results = Results::default();
    let mut tasks = Vec::with_capacity(channels.len());
    for (task, channels) in channels {
        let (sender, receiver) = mpsc::unbounded_channel();
        let counters = Arc::new(TaskMetrics::default());
        commands.insert(task, sender);
        metrics.insert(task, Arc::clone(&counters));
        tasks.push(Task {
            job: id.job.clone(),
            generation: id.generation,
            attempt: id.attempt,
            id: task,
            graph: Arc::clone(&graph),
            inputs: channels.inputs,
            outputs: channels.outputs,
            splits: splits.remove(&task).unwrap_or_default(),
            state: state.take(&graph, task),
            commands: receiver,
            connectors: config.connectors.clone(),
            client: results.sink(&graph, task),
            memory: Arc::clone(&memory),
            metrics: counters,
        });
    }
    let state_directory = Path::parse(&request.state_directory)
        .map_err(|error| invalid(&format!("state directory: {error}")))?;
    let results = results.queue;
    Ok(Deployment {
        id,
        graph,
        tasks,
        commands,
        metrics,
        memory,
        outgoing,
        incoming,
        results,
        state_directory,
    })
}

fn invalid(reason: &str) -> Error {
    Error::Invalid(format!("deployment: {reason}"))
}

/// Which worker runs which subtask.
struct Placement {
    here: Arc<str>,
    peers: BTreeMap<TaskId, Peer>,
}

impl Placement {
    fn new(graph: &JobGraph, request: &proto::DeployRequest, here: &str) -> Result<Self> {
        let workers: HashMap<&str, Peer> = request
            .workers
            .iter()
            .map(|peer| {
                let (worker, address) = (peer.worker_id.as_str(), peer.address.as_str());
                (worker, Peer { worker: worker.into(), address: address.into() })
            })
            .collect();
        let mut peers = BTreeMap::new();
        for placed in &request.tasks {
            let task = placed.task.as_ref().ok_or_else(|| invalid("a place for no task"))?;
            let worker = workers
                .get(placed.worker_id.as_str())
                .ok_or_else(|| invalid(&format!("worker {} has no address", placed.worker_id)))?;
            peers.insert(identity::task_from_wire(*task), worker.clone());
        }
        for stage in &graph.stages {
            for subtask in 0..stage.parallelism {
                if !peers.contains_key(&TaskId { stage: stage.id, subtask }) {
                    return Err(invalid(&format!(
                        "stage {} subtask {subtask} has no place",
                        stage.id
                    )));
                }
            }
        }
        Ok(Self { here: here.into(), peers })
    }

    fn is_here(&self, task: TaskId) -> bool {
        self.peers.get(&task).is_some_and(|peer| peer.worker == self.here)
    }

    fn receiver_of(&self, graph: &JobGraph, channel: ChannelId) -> Peer {
        let task = TaskId { stage: graph.edges[channel.edge].to, subtask: channel.to };
        // Every subtask has a place.
        self.peers[&task].clone()
    }

    fn tasks_here(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.peers.keys().copied().filter(|task| self.is_here(*task))
    }
}

fn splits_by_task(splits: &[proto::TaskSplits]) -> BTreeMap<TaskId, Vec<SplitState>> {
    let split = |split: &proto::SplitState| SplitState {
        split: Split { id: split.id.clone(), position: split.position.clone() },
        watermark: split.watermark_ms,
        finished: split.finished,
    };
    splits
        .iter()
        .filter_map(|task| Some((task.task.as_ref()?, &task.splits)))
        .map(|(task, splits)| (identity::task_from_wire(*task), splits.iter().map(split).collect()))
        .collect()
}

/// The state to start from.
struct State {
    tables: BTreeMap<OperatorId, Vec<StateTable>>,
}

impl State {
    /// Reads from all files of a checkpoint what the tasks that are placed here need.
    async fn read(
        graph: &JobGraph,
        placement: &Placement,
        references: &[proto::StateReference],
        config: &WorkerConfig,
    ) -> Result<Self> {
        let mut selection = Selection::default();
        for task in placement.tasks_here() {
            let Some(stage) = graph.stages.get(task.stage.index()) else { continue };
            let groups = key_groups_of(task.subtask, stage.parallelism, graph.settings.key_groups);
            for operator in &stage.chain {
                selection.add(operator.id, groups.clone());
            }
        }
        let files = references.iter().map(|reference| read_file(reference, &selection, config));
        let mut tables: BTreeMap<OperatorId, Vec<StateTable>> = BTreeMap::new();
        for (operator, table) in try_join_all(files).await?.into_iter().flatten() {
            tables.entry(operator).or_default().push(table);
        }
        Ok(Self { tables })
    }

    /// Returns the tables of a task's operators. They may hold rows of other subtasks, which
    /// reading leaves out.
    fn take(&mut self, graph: &JobGraph, task: TaskId) -> BTreeMap<OperatorId, Vec<StateTable>> {
        let operators = graph.stage(task.stage).chain.iter().map(|operator| operator.id);
        operators.filter_map(|id| Some((id, self.tables.get(&id)?.clone()))).collect()
    }
}

async fn read_file(
    reference: &proto::StateReference,
    selection: &Selection,
    config: &WorkerConfig,
) -> Result<Vec<(OperatorId, StateTable)>> {
    match &reference.location {
        Some(Location::Inline(bytes)) => file::decode("inline state", bytes, selection),
        Some(Location::Path(path)) => {
            let path =
                Path::parse(path).map_err(|error| invalid(&format!("state file: {error}")))?;
            file::read(config.state.as_ref(), &path, reference.size_bytes, selection).await
        }
        None => Err(invalid("state without a place")),
    }
}

/// The queue of the client's rows, made when the first task needs it.
#[derive(Default)]
struct Results {
    queue: Option<ResultQueue>,
}

impl Results {
    fn sink(
        &mut self,
        graph: &JobGraph,
        task: TaskId,
    ) -> Option<Box<dyn rainstorm_engine::task::ClientSink>> {
        let sink = graph.stage(task.stage).sink.as_ref()?;
        if !matches!(sink.target, SinkTarget::Client) {
            return None;
        }
        let queue = self.queue.get_or_insert_with(ResultQueue::new);
        queue.tasks.insert(task);
        let schema = Arc::clone(&sink.schema);
        Some(Box::new(ResultSink::new(schema, sink.changelog, queue.sender.clone())))
    }
}
