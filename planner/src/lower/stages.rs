//! From a flow to stages: what can run in one task without queues is one stage.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::internal_err;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use rainstorm_engine::graph::{
    Edge, JobGraph, JobSettings, OperatorNode, OperatorSpec, Partitioning, SourceSpec, Stage,
};
use rainstorm_engine::{OperatorId, StageId};

use super::flow::{Distribution, FlowId, FlowKind, FlowNode, Port};
use super::identity;

/// Drops what feeds nothing and joins projections that follow each other.
pub(super) fn tidy(nodes: &mut Vec<FlowNode>) -> Result<()> {
    drop_unused(nodes);
    join_projections(nodes)?;
    drop_unused(nodes);
    check_lookups(nodes)
}

/// The sources that a node's rows come from.
#[derive(Debug, Default, Clone)]
struct Origins {
    all: BTreeSet<usize>,
    /// Those that are not read to their end before the first row comes.
    streams: BTreeSet<usize>,
}

/// No source feeds both sides of a lookup join: it could not go on with the rows of one before the
/// other, which has to end first. Tables of lookups below have ended by then.
fn check_lookups(nodes: &[FlowNode]) -> Result<()> {
    let mut origins: Vec<Origins> = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let of_port = |port: &Port| {
            let mut found = Origins::default();
            for FlowId(input) in &port.from {
                found.all.extend(&origins[*input].all);
                found.streams.extend(&origins[*input].streams);
            }
            found
        };
        let ports: Vec<Origins> = node.ports.iter().map(of_port).collect();
        let is_lookup = matches!(node.kind, FlowKind::Operator(OperatorSpec::LookupJoin(_)));
        if let (true, [stream, table]) = (is_lookup, ports.as_slice())
            && !stream.streams.is_disjoint(&table.all)
        {
            return internal_err!("a source feeds both sides of a lookup join");
        }
        let mut own = Origins::default();
        for (number, port) in ports.into_iter().enumerate() {
            own.all.extend(port.all);
            if !(is_lookup && number == 1) {
                own.streams.extend(port.streams);
            }
        }
        if matches!(node.kind, FlowKind::Source(_)) {
            own.all.insert(index);
            own.streams.insert(index);
        }
        origins.push(own);
    }
    Ok(())
}

fn drop_unused(nodes: &mut Vec<FlowNode>) {
    let mut used = vec![false; nodes.len()];
    for index in (0..nodes.len()).rev() {
        used[index] |= matches!(nodes[index].kind, FlowKind::Sink(_));
        if used[index] {
            for FlowId(input) in nodes[index].inputs().collect::<Vec<_>>() {
                used[input] = true;
            }
        }
    }
    let mut place = vec![0; nodes.len()];
    let mut next = 0;
    for (index, used) in used.iter().enumerate() {
        place[index] = next;
        next += usize::from(*used);
    }
    let mut keep = used.into_iter();
    nodes.retain(|_| keep.next().unwrap_or(false));
    for node in nodes {
        for input in node.ports.iter_mut().flat_map(|port| &mut port.from) {
            *input = FlowId(place[input.0]);
        }
    }
}

/// Counts how often each node is read.
fn readers(nodes: &[FlowNode]) -> Vec<usize> {
    let mut readers = vec![0; nodes.len()];
    for FlowId(input) in nodes.iter().flat_map(FlowNode::inputs) {
        readers[input] += 1;
    }
    readers
}

/// A projection over one that nobody else reads becomes part of it, unless something costly
/// would be computed twice.
fn join_projections(nodes: &mut [FlowNode]) -> Result<()> {
    let readers = readers(nodes);
    for index in 0..nodes.len() {
        let FlowKind::Operator(OperatorSpec::Project(outer)) = &nodes[index].kind else { continue };
        let FlowId(below) = nodes[index].ports[0].from[0];
        let FlowKind::Operator(OperatorSpec::Project(inner)) = &nodes[below].kind else { continue };
        if readers[below] != 1 || repeats_work(outer, inner) {
            continue;
        }
        let joined = outer.iter().map(|expr| over_input(expr, inner)).collect::<Result<_>>()?;
        let ports = nodes[below].ports.clone();
        nodes[index].kind = FlowKind::Operator(OperatorSpec::Project(joined));
        nodes[index].ports = ports;
    }
    Ok(())
}

type Exprs = [Arc<dyn PhysicalExpr>];

fn repeats_work(outer: &Exprs, inner: &Exprs) -> bool {
    let mut uses = vec![0_usize; inner.len()];
    for expr in outer {
        for column in occurrences(expr) {
            uses[column] += 1;
        }
    }
    inner.iter().zip(uses).any(|(expr, uses)| uses > 1 && !is_cheap(expr))
}

fn occurrences(expr: &Arc<dyn PhysicalExpr>) -> Vec<usize> {
    match expr.downcast_ref::<Column>() {
        Some(column) => vec![column.index()],
        None => expr.children().into_iter().flat_map(occurrences).collect(),
    }
}

/// A column, a literal or a field of a struct costs nothing.
fn is_cheap(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let is_field = |call: &ScalarFunctionExpr| {
        call.name() == "get_field" && call.children().into_iter().all(is_cheap)
    };
    expr.downcast_ref::<Column>().is_some()
        || expr.downcast_ref::<Literal>().is_some()
        || expr.downcast_ref::<ScalarFunctionExpr>().is_some_and(is_field)
}

/// Writes an expression over a projection's columns as one over the projection's input.
fn over_input(expr: &Arc<dyn PhysicalExpr>, inner: &Exprs) -> Result<Arc<dyn PhysicalExpr>> {
    let written = Arc::clone(expr).transform_up(|expr| {
        Ok(match expr.downcast_ref::<Column>() {
            Some(column) => Transformed::yes(Arc::clone(&inner[column.index()])),
            None => Transformed::no(expr),
        })
    })?;
    Ok(written.data)
}

/// Cuts a flow into stages.
pub(super) fn cut(nodes: &[FlowNode], settings: JobSettings) -> JobGraph {
    let ids = identity::ids(nodes);
    let readers = readers(nodes);
    let mut graph = JobGraph { stages: Vec::new(), edges: Vec::new(), settings };
    let mut stage_of: Vec<StageId> = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let chained = chained_input(nodes, &readers, node).map(|FlowId(input)| stage_of[input]);
        let stage = chained.unwrap_or_else(|| {
            let id = StageId(graph.stages.len() as u32);
            graph.stages.push(Stage {
                id,
                parallelism: node.parallelism,
                source: None,
                chain: Vec::new(),
                sink: None,
            });
            connect(&mut graph, nodes, &stage_of, node, id);
            id
        });
        stage_of.push(stage);
        put(&mut graph.stages[stage.index()], nodes, node, ids[index]);
    }
    graph
}

/// Returns the node to whose stage this one can be appended.
fn chained_input(nodes: &[FlowNode], readers: &[usize], node: &FlowNode) -> Option<FlowId> {
    let [port] = node.ports.as_slice() else { return None };
    let [input] = port.from.as_slice() else { return None };
    let forward = partitioning(&nodes[input.0], node, &port.distribution) == Partitioning::Forward;
    (forward && readers[input.0] == 1).then_some(*input)
}

fn connect(
    graph: &mut JobGraph,
    nodes: &[FlowNode],
    stage_of: &[StageId],
    node: &FlowNode,
    to: StageId,
) {
    for (number, port) in node.ports.iter().enumerate() {
        for FlowId(from) in &port.from {
            graph.edges.push(Edge {
                from: stage_of[*from],
                to,
                port: number,
                partitioning: partitioning(&nodes[*from], node, &port.distribution),
                schema: Arc::clone(&nodes[*from].schema),
                changelog: nodes[*from].changelog,
            });
        }
    }
}

/// Tells which subtask gets which row; rows that are already where they belong stay there.
fn partitioning(from: &FlowNode, to: &FlowNode, distribution: &Distribution) -> Partitioning {
    let in_place = from.parallelism == to.parallelism;
    match distribution {
        Distribution::Broadcast => Partitioning::Broadcast,
        Distribution::Forward if in_place => Partitioning::Forward,
        Distribution::Forward => Partitioning::RoundRobin,
        _ if to.parallelism == 1 && in_place => Partitioning::Forward,
        Distribution::Keys(keys) if in_place && from.partitioned.as_ref() == Some(keys) => {
            Partitioning::Forward
        }
        Distribution::Keys(keys) if to.parallelism > 1 => Partitioning::Hash(keys.clone()),
        Distribution::Keys(_) | Distribution::Single => Partitioning::RoundRobin,
    }
}

fn put(stage: &mut Stage, nodes: &[FlowNode], node: &FlowNode, id: OperatorId) {
    match &node.kind {
        FlowKind::Source(spec) => stage.source = Some(numbered(spec, id)),
        FlowKind::Sink(spec) => {
            let mut spec = spec.as_ref().clone();
            spec.id = id;
            stage.sink = Some(spec);
        }
        FlowKind::Operator(spec) => {
            let input = |port: &Port| {
                port.from.first().map(|FlowId(input)| Arc::clone(&nodes[*input].schema))
            };
            stage.chain.push(OperatorNode {
                id,
                spec: spec.clone(),
                inputs: node.ports.iter().filter_map(input).collect(),
                output: Arc::clone(&node.schema),
            });
        }
    }
}

/// Gives a source its id, and its preparing operators ids that follow from it.
fn numbered(spec: &SourceSpec, id: OperatorId) -> SourceSpec {
    let mut spec = spec.clone();
    spec.id = id;
    for (index, step) in spec.prepare.iter_mut().enumerate() {
        let mut hash = identity::Hasher::new();
        hash.write(&id.0.to_le_bytes());
        hash.write(&(index as u64).to_le_bytes());
        step.id = OperatorId(hash.finish());
    }
    spec
}
