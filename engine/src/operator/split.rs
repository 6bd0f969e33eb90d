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
mod tests {
    use datafusion::functions_aggregate::count::count_udaf;

    use super::super::testing::{call, schema};
    use super::*;
    use crate::graph::{Edge, JobSettings, SourceSpec, Window};

    fn stage(id: u32, parallelism: usize, chain: Vec<OperatorNode>) -> Stage {
        let source = chain.is_empty().then(|| SourceSpec {
            id: OperatorId(u64::from(id)),
            table: "t".to_owned(),
            connector: "datagen".to_owned(),
            options: std::collections::BTreeMap::new(),
            table_schema: schema("v:int k:text t:ts"),
            schema: schema("v:int k:text t:ts"),
            filters: vec![],
            limit: None,
            prepare: vec![],
            watermark: None,
        });
        Stage { id: StageId(id), parallelism, source, chain, sink: None }
    }

    fn graph(distinct: bool, parallelism: usize) -> JobGraph {
        let window = Window::Tumble { size_ms: 10, offset_ms: 0 };
        let mut count = call("n:int", count_udaf(), &[("v", 0)]);
        count.distinct = distinct;
        let spec = WindowAggregateSpec {
            window: WindowSpec::EventTime { window, time: 2 },
            keys: vec![1],
            aggregates: vec![count],
            phase: AggregatePhase::Complete,
        };
        let node = OperatorNode {
            id: OperatorId(7),
            spec: OperatorSpec::WindowAggregate(spec),
            inputs: vec![schema("v:int k:text t:ts")],
            output: schema("k:text n:int window_start:ts window_end:ts window_time:ts"),
        };
        let edge = |from| Edge {
            from: StageId(from),
            to: StageId(2),
            port: 0,
            partitioning: Partitioning::Hash(vec![1]),
            schema: schema("v:int k:text t:ts"),
            changelog: ChangelogMode::AppendOnly,
        };
        JobGraph {
            stages: vec![
                stage(0, parallelism, vec![]),
                stage(1, parallelism, vec![]),
                stage(2, parallelism, vec![node]),
            ],
            edges: vec![edge(0), edge(1)],
            settings: JobSettings::default(),
        }
    }

    fn phases(graph: &JobGraph) -> Vec<&AggregatePhase> {
        let nodes = graph.stages.iter().flat_map(|stage| &stage.chain);
        let phase = |node| match node {
            &OperatorNode { spec: OperatorSpec::WindowAggregate(ref spec), .. } => &spec.phase,
            _ => panic!("another operator"),
        };
        nodes.map(phase).collect()
    }

    #[test]
    fn each_sender_gets_a_half() {
        let mut graph = graph(false, 2);
        split_window_aggregates(&mut graph).unwrap();
        let last = AggregatePhase::Final { input: schema("v:int k:text t:ts") };
        assert_eq!(phases(&graph), [&AggregatePhase::Local, &AggregatePhase::Local, &last]);
        assert_ne!(graph.stages[0].chain[0].id, graph.stages[1].chain[0].id);
        for edge in &graph.edges {
            assert_eq!(edge.partitioning, Partitioning::Hash(vec![0]));
            assert_eq!(edge.schema, graph.stages[2].chain[0].inputs[0]);
            assert_eq!(edge.schema, graph.stages[0].chain[0].output);
        }
        let once = format!("{graph:?}");
        split_window_aggregates(&mut graph).unwrap();
        assert_eq!(format!("{graph:?}"), once);
    }

    #[test]
    fn what_does_not_pay_is_left_whole() {
        for mut graph in [graph(true, 2), graph(false, 1)] {
            split_window_aggregates(&mut graph).unwrap();
            assert_eq!(phases(&graph), [&AggregatePhase::Complete]);
        }
        let mut shared = graph(false, 2);
        let mut edge = shared.edges[0].clone();
        edge.to = StageId(1);
        shared.edges.push(edge);
        split_window_aggregates(&mut shared).unwrap();
        assert_eq!(phases(&shared), [&AggregatePhase::Complete]);
    }
}
