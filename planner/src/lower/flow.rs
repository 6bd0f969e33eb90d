//! Operators joined by streams, before they are cut into stages.
//!
//! Equal operators over equal inputs are one: what several queries compute alike is computed
//! once.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use rainstorm_engine::graph::{ChangelogMode, OperatorSpec, SinkSpec, SourceSpec};

/// A node's place in its [`Flow`]. Inputs have lower ones than what they feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FlowId(pub(super) usize);

/// What has to come together in one subtask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Distribution {
    /// Nothing: rows stay where they are.
    Forward,
    /// Rows that are equal in these columns.
    Keys(Vec<usize>),
    /// All rows.
    Single,
    /// All rows, in every subtask.
    Broadcast,
}

/// An input of a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Port {
    /// Where rows come from; several are a UNION ALL.
    pub(super) from: Vec<FlowId>,
    pub(super) distribution: Distribution,
}

#[derive(Debug, Clone)]
pub(super) enum FlowKind {
    Source(Box<SourceSpec>),
    Operator(OperatorSpec),
    Sink(Box<SinkSpec>),
}

impl FlowKind {
    /// Tells whether one may stand for the other. What is written twice is written twice, and
    /// which reads of a table are one source is known before.
    fn does_the_same(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Operator(one), Self::Operator(other)) if one == other)
    }
}

#[derive(Debug, Clone)]
pub(super) struct FlowNode {
    pub(super) kind: FlowKind,
    pub(super) ports: Vec<Port>,
    pub(super) schema: SchemaRef,
    pub(super) changelog: ChangelogMode,
    pub(super) parallelism: usize,
    /// The columns by whose hash rows are divided among subtasks, if by one.
    pub(super) partitioned: Option<Vec<usize>>,
}

#[derive(Debug, Default)]
pub(super) struct Flow {
    nodes: Vec<FlowNode>,
}

impl Flow {
    /// Adds a node, or finds an equal one.
    pub(super) fn add(&mut self, node: FlowNode) -> FlowId {
        let is_equal = |known: &FlowNode| {
            known.ports == node.ports
                && known.schema == node.schema
                && known.kind.does_the_same(&node.kind)
        };
        if let Some(place) = self.nodes.iter().position(is_equal) {
            return FlowId(place);
        }
        self.nodes.push(node);
        FlowId(self.nodes.len() - 1)
    }

    pub(super) fn node(&self, id: FlowId) -> &FlowNode {
        &self.nodes[id.0]
    }

    pub(super) fn schema(&self, id: FlowId) -> &SchemaRef {
        &self.nodes[id.0].schema
    }

    /// Adds an operator with one input that leaves rows where they are. `place_of` tells where it
    /// has a column of its input, if anywhere.
    pub(super) fn chain(
        &mut self,
        input: FlowId,
        spec: OperatorSpec,
        schema: SchemaRef,
        place_of: impl Fn(usize) -> Option<usize>,
    ) -> FlowId {
        let FlowNode { changelog, parallelism, partitioned, .. } = self.node(input);
        let (changelog, parallelism) = (*changelog, *parallelism);
        let moved = |columns: &Vec<usize>| -> Option<Vec<usize>> {
            columns.iter().map(|column| place_of(*column)).collect()
        };
        let partitioned = partitioned.as_ref().and_then(moved);
        self.add(FlowNode {
            kind: FlowKind::Operator(spec),
            ports: vec![Port { from: vec![input], distribution: Distribution::Forward }],
            schema,
            changelog,
            parallelism,
            partitioned,
        })
    }

    pub(super) fn into_nodes(self) -> Vec<FlowNode> {
        self.nodes
    }
}

impl FlowNode {
    /// Returns the nodes that it reads.
    pub(super) fn inputs(&self) -> impl Iterator<Item = FlowId> + '_ {
        self.ports.iter().flat_map(|port| port.from.iter().copied())
    }
}

/// Returns a schema of these fields.
pub(super) fn schema_of(fields: Vec<arrow::datatypes::FieldRef>) -> SchemaRef {
    Arc::new(arrow::datatypes::Schema::new(fields))
}
