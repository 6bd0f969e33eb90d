//! Splitting window aggregates into a half before and a half after the exchange.

use std::sync::Arc;

use super::local_window_aggregate::local_schema;
use crate::graph::{
    AggregatePhase, ChangelogMode, JobGraph, OperatorNode, OperatorSpec, Partitioning, Stage,
    WindowAggregateSpec, WindowSpec,
};
use crate::{OperatorId, Result, StageId};

/// Splits each window aggregate that gets its rows over an exchange from stages that send to
/// nobody else, so that rows are aggregated before they cross it.
///
/// Left whole are aggregates by processing time; those with DISTINCT or ORDER BY, whose partial
/// states are as large as the rows; and those that one subtask sends to one other.
///
/// # Errors
/// `Compute` where an aggregate does not take its arguments.
pub fn split_window_aggregates(graph: &mut JobGraph) -> Result<()> {
    for index in 0..graph.stages.len() {
        let id = graph.stages[index].id;
        let Some(spec) = splittable(graph, id) else { continue };
        let input = Arc::clone(&graph.stages[index].chain[0].inputs[0]);
        let partial = local_schema(&spec, &input)?;

        let node = &mut graph.stages[index].chain[0];
        let last = AggregatePhase::Final { input: Arc::clone(&input) };
        node.spec =
            OperatorSpec::WindowAggregate(WindowAggregateSpec { phase: last, ..spec.clone() });
        node.inputs = vec![Arc::clone(&partial)];
        let operator = node.id;

        let local = WindowAggregateSpec { phase: AggregatePhase::Local, ..spec.clone() };
        for (number, edge) in graph.edges.iter_mut().filter(|edge| edge.to == id).enumerate() {
            edge.schema = Arc::clone(&partial);
            if let Partitioning::Hash(columns) = &mut edge.partitioning {
                *columns = positions(columns, &spec.keys).unwrap_or_default();
            }
            graph.stages[edge.from.index()].chain.push(OperatorNode {
                id: local_id(operator, number),
                spec: OperatorSpec::WindowAggregate(local.clone()),
                inputs: vec![Arc::clone(&input)],
                output: Arc::clone(&partial),
            });
        }
    }
    Ok(())
}

/// Returns the aggregate that a stage begins with, if it can be split.
fn splittable(graph: &JobGraph, id: StageId) -> Option<WindowAggregateSpec> {
    let stage = graph.stage(id);
    let Some(OperatorNode { spec: OperatorSpec::WindowAggregate(spec), .. }) = stage.chain.first()
    else {
        return None;
    };
    let by_event_time = !matches!(spec.window, WindowSpec::ProcessingTime { .. });
    let plain = |call: &crate::graph::AggregateCall| !call.distinct && call.order_by.is_empty();
    let splits = spec.phase == AggregatePhase::Complete
        && by_event_time
        && spec.aggregates.iter().all(plain)
        && graph.inputs(id).next().is_some()
        && graph.inputs(id).all(|edge| {
            let from = graph.stage(edge.from);
            edge.changelog == ChangelogMode::AppendOnly
                && sends_only_here(graph, from)
                && from.parallelism.max(stage.parallelism) > 1
                && match &edge.partitioning {
                    Partitioning::Hash(columns) => positions(columns, &spec.keys).is_some(),
                    Partitioning::RoundRobin => stage.parallelism == 1,
                    Partitioning::Forward | Partitioning::Broadcast => false,
                }
        });
    splits.then(|| spec.clone())
}

fn sends_only_here(graph: &JobGraph, stage: &Stage) -> bool {
    stage.sink.is_none() && graph.outputs(stage.id).count() == 1
}

/// Returns where columns are among the keys, if all are.
fn positions(columns: &[usize], keys: &[usize]) -> Option<Vec<usize>> {
    columns.iter().map(|column| keys.iter().position(|key| key == column)).collect()
}

/// Returns the id of the half before the exchange, which must be the same in every run.
fn local_id(operator: OperatorId, number: usize) -> OperatorId {
    OperatorId(operator.0.rotate_left(17) ^ (0x6c6f_6361_6c00_0000 + number as u64))
}

#[cfg(test)]
mod tests;
