//! Names under which operators find their state again.
//!
//! An operator's id is a hash of what it does and of the operators with state that feed it; what
//! has no state may change in between. Operators that are alike are numbered in their order.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use rainstorm_engine::OperatorId;
use rainstorm_engine::graph::OperatorSpec;

use super::flow::{FlowId, FlowKind, FlowNode, Port};
use crate::explain::operator_text;

/// Computes the ids of all nodes.
pub(super) fn ids(nodes: &[FlowNode]) -> Vec<OperatorId> {
    let mut ids: Vec<OperatorId> = Vec::with_capacity(nodes.len());
    let mut roots: Vec<Vec<u64>> = Vec::with_capacity(nodes.len());
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    for node in nodes {
        let inputs: Vec<u64> =
            node.inputs().flat_map(|FlowId(input)| roots[input].iter().copied()).collect();
        let mut hash = Hasher::new();
        hash.write(signature(node, nodes).as_bytes());
        for input in &inputs {
            hash.write(&input.to_le_bytes());
        }
        let plain = hash.finish();
        let count = seen.entry(plain).or_insert(0);
        let id = if *count == 0 {
            plain
        } else {
            hash.write(&count.to_le_bytes());
            hash.finish()
        };
        *count += 1;
        ids.push(OperatorId(id));
        roots.push(if keeps_state(node) { vec![id] } else { inputs });
    }
    ids
}

fn keeps_state(node: &FlowNode) -> bool {
    !matches!(
        &node.kind,
        FlowKind::Operator(
            OperatorSpec::Project(_) | OperatorSpec::Filter(_) | OperatorSpec::WindowAssign(_)
        )
    )
}

fn signature(node: &FlowNode, nodes: &[FlowNode]) -> String {
    match &node.kind {
        FlowKind::Source(spec) => {
            let filters: Vec<String> = spec.filters.iter().map(ToString::to_string).collect();
            format!("source {} {}", spec.table, filters.join(" AND "))
        }
        FlowKind::Sink(spec) => format!("sink {}", spec.table),
        FlowKind::Operator(spec) => {
            let first = |port: &Port| port.from.first().map(|input| nodes[input.0].schema.clone());
            let inputs: Vec<SchemaRef> = node.ports.iter().filter_map(first).collect();
            operator_text(spec, &inputs)
        }
    }
}

/// FNV-1a with a final mix: the same in every build and on every machine.
#[derive(Debug, Clone)]
pub(super) struct Hasher(u64);

impl Hasher {
    pub(super) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(super) fn finish(&self) -> u64 {
        let mut hash = self.0;
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    }
}
