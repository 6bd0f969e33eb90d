//! The channels of a job graph: which subtask is joined to which.

use std::collections::BTreeMap;

use super::{InputChannel, OutputChannels, Receiver, Sender, TaskId, channel};
use crate::StageId;
use crate::graph::{Edge, JobGraph, Partitioning};

/// What a channel may hold before its sender has to wait, in bytes.
pub const CHANNEL_BYTES: usize = 4 << 20;

/// The channel ends of one subtask.
#[derive(Debug, Default)]
pub struct TaskChannels {
    /// Where it receives.
    pub inputs: Vec<InputChannel>,
    /// Where it sends, in the order of [`JobGraph::outputs`].
    pub outputs: Vec<OutputChannels>,
}

/// One channel of an edge: from which subtask to which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId {
    /// Index of the edge in [`JobGraph::edges`].
    pub edge: usize,
    /// The sending subtask.
    pub from: usize,
    /// The receiving subtask.
    pub to: usize,
}

/// Lists the channels of an edge, by sending subtask and then by receiving subtask.
pub fn channels_of(graph: &JobGraph, edge: usize) -> impl Iterator<Item = ChannelId> + '_ {
    let Edge { from, to, partitioning, .. } = &graph.edges[edge];
    let forward = *partitioning == Partitioning::Forward;
    let (senders, receivers) = (graph.stage(*from).parallelism, graph.stage(*to).parallelism);
    (0..senders).flat_map(move |from| {
        let all = if forward { from..from + 1 } else { 0..receivers };
        all.map(move |to| ChannelId { edge, from, to })
    })
}

/// Makes the channels between the subtasks for which `is_here` holds, and asks `remote` for the
/// one end of those that lead to or come from elsewhere. Returns the ends by subtask, with an
/// entry for each that is here.
pub fn wire(
    graph: &JobGraph,
    is_here: impl Fn(TaskId) -> bool,
    mut remote: impl FnMut(ChannelId, RemoteEnd),
) -> BTreeMap<TaskId, TaskChannels> {
    let mut tasks = here(graph, &is_here);
    for (index, edge) in graph.edges.iter().enumerate() {
        for id in channels_of(graph, index) {
            let from = TaskId { stage: edge.from, subtask: id.from };
            let to = TaskId { stage: edge.to, subtask: id.to };
            let (sends, receives) = (is_here(from), is_here(to));
            if !sends && !receives {
                continue;
            }
            let (mut sender, receiver) = channel(CHANNEL_BYTES);
            if !receives {
                sender.leave();
            }
            match tasks.get_mut(&from) {
                Some(task) => push_sender(task, index, sender),
                None => remote(id, RemoteEnd::Comes(sender)),
            }
            match tasks.get_mut(&to) {
                Some(task) => task.inputs.push(InputChannel { port: edge.port, receiver }),
                None => remote(id, RemoteEnd::Leaves(receiver)),
            }
        }
    }
    tasks
}

/// The end of a channel whose other end is a task here.
#[derive(Debug)]
pub enum RemoteEnd {
    /// Messages from elsewhere are put in here.
    Comes(Sender),
    /// Messages to elsewhere are taken from here.
    Leaves(Receiver),
}

fn here(graph: &JobGraph, is_here: impl Fn(TaskId) -> bool) -> BTreeMap<TaskId, TaskChannels> {
    let subtasks = graph.stages.iter().flat_map(|stage| {
        (0..stage.parallelism).map(|subtask| TaskId { stage: stage.id, subtask })
    });
    let outputs = |stage: StageId| {
        let edges = graph.edges.iter().enumerate().filter(move |(_, edge)| edge.from == stage);
        edges.map(|(edge, _)| OutputChannels { edge, senders: Vec::new() }).collect()
    };
    let channels = |id: TaskId| TaskChannels { inputs: Vec::new(), outputs: outputs(id.stage) };
    subtasks.filter(|id| is_here(*id)).map(|id| (id, channels(id))).collect()
}

fn push_sender(task: &mut TaskChannels, edge: usize, sender: Sender) {
    if let Some(output) = task.outputs.iter_mut().find(|output| output.edge == edge) {
        output.senders.push(sender);
    }
}
