//! Operators of a chain.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::execution::TaskContext;
use rainstorm_engine::graph::{LimitSpec, OperatorNode, OperatorSpec, SortKey, SortSpec};
use rainstorm_engine::{OperatorId, Result};
use rainstorm_proto::graph as proto;
use rainstorm_proto::graph::operator::Spec;

use super::expression::{self, Decoder};
use super::{aggregate, join, missing, schema, window};

pub(super) fn encode_all(operators: &[OperatorNode]) -> Result<Vec<proto::Operator>> {
    operators.iter().map(encode).collect()
}

fn encode(operator: &OperatorNode) -> Result<proto::Operator> {
    Ok(proto::Operator {
        id: operator.id.0,
        inputs: schema::encode_schemas(&operator.inputs)?,
        output: schema::encode_schema(&operator.output)?,
        spec: Some(encode_spec(&operator.spec)?),
    })
}

fn encode_spec(spec: &OperatorSpec) -> Result<Spec> {
    Ok(match spec {
        OperatorSpec::Project(expressions) => {
            let expressions = expression::encode_all(expressions)?;
            Spec::Project(proto::Expressions { expressions })
        }
        OperatorSpec::Filter(condition) => Spec::Filter(expression::encode(condition)?),
        OperatorSpec::WindowAssign(spec) => Spec::WindowAssign(window::encode(spec)),
        OperatorSpec::WindowAggregate(spec) => {
            Spec::WindowAggregate(aggregate::encode_window(spec)?)
        }
        OperatorSpec::GroupAggregate(spec) => Spec::GroupAggregate(aggregate::encode_group(spec)?),
        OperatorSpec::WindowJoin(spec) => Spec::WindowJoin(join::encode_window(spec)?),
        OperatorSpec::IntervalJoin(spec) => Spec::IntervalJoin(join::encode_interval(spec)?),
        OperatorSpec::LookupJoin(spec) => Spec::LookupJoin(join::encode_lookup(spec)?),
        OperatorSpec::Limit(LimitSpec { offset, count }) => {
            Spec::Limit(proto::Limit { offset: *offset, count: *count })
        }
        OperatorSpec::Sort(spec) => Spec::Sort(encode_sort(spec)),
    })
}

fn encode_sort(spec: &SortSpec) -> proto::Sort {
    let keys = spec.keys.iter().map(|key| proto::SortKey {
        column: key.column as u32,
        descending: key.descending,
        nulls_first: key.nulls_first,
    });
    proto::Sort { keys: keys.collect(), count: spec.count }
}

pub(super) fn decode_all(
    operators: &[proto::Operator],
    functions: &TaskContext,
) -> Result<Vec<OperatorNode>> {
    operators.iter().map(|operator| decode(operator, functions)).collect()
}

fn decode(operator: &proto::Operator, functions: &TaskContext) -> Result<OperatorNode> {
    let inputs = schema::decode_schemas(&operator.inputs)?;
    let columns = concatenated(&inputs);
    let decoder = Decoder { functions, schema: &columns };
    let spec = operator.spec.as_ref().ok_or_else(|| missing("an operator's kind"))?;
    Ok(OperatorNode {
        id: OperatorId(operator.id),
        spec: decode_spec(spec, decoder)?,
        output: schema::decode_schema(&operator.output)?,
        inputs,
    })
}

fn decode_spec(spec: &Spec, decoder: Decoder<'_>) -> Result<OperatorSpec> {
    Ok(match spec {
        Spec::Project(project) => OperatorSpec::Project(decoder.all(&project.expressions)?),
        Spec::Filter(condition) => OperatorSpec::Filter(decoder.expression(condition)?),
        Spec::WindowAssign(spec) => OperatorSpec::WindowAssign(window::decode(spec)?),
        Spec::WindowAggregate(spec) => {
            OperatorSpec::WindowAggregate(aggregate::decode_window(spec, decoder)?)
        }
        Spec::GroupAggregate(spec) => {
            OperatorSpec::GroupAggregate(aggregate::decode_group(spec, decoder)?)
        }
        Spec::WindowJoin(spec) => OperatorSpec::WindowJoin(join::decode_window(spec, decoder)?),
        Spec::IntervalJoin(spec) => {
            OperatorSpec::IntervalJoin(join::decode_interval(spec, decoder)?)
        }
        Spec::LookupJoin(spec) => OperatorSpec::LookupJoin(join::decode_lookup(spec, decoder)?),
        Spec::Limit(proto::Limit { offset, count }) => {
            OperatorSpec::Limit(LimitSpec { offset: *offset, count: *count })
        }
        Spec::Sort(proto::Sort { keys, count }) => {
            let keys = keys.iter().map(|key| SortKey {
                column: key.column as usize,
                descending: key.descending,
                nulls_first: key.nulls_first,
            });
            OperatorSpec::Sort(SortSpec { keys: keys.collect(), count: *count })
        }
    })
}

/// The columns that expressions are over: those of all ports, one after the other.
fn concatenated(inputs: &[SchemaRef]) -> Schema {
    let fields: Vec<FieldRef> =
        inputs.iter().flat_map(|schema| schema.fields().iter().map(Arc::clone)).collect();
    Schema::new(fields)
}
