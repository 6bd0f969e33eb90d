//! Aggregates: functions travel by name and are looked up where they arrive.

use std::sync::Arc;

use rainstorm_engine::graph::{
    AggregateCall, ChangelogMode, GroupAggregateSpec, WindowAggregateSpec,
};
use rainstorm_engine::{Error, Result};
use rainstorm_proto::graph as proto;

use super::expression::{self, Decoder};
use super::graph::decode_changelog;
use super::{indices, missing, schema, to_wire, window};

fn encode_call(call: &AggregateCall) -> Result<proto::AggregateCall> {
    Ok(proto::AggregateCall {
        function: call.function.name().to_owned(),
        args: expression::encode_all(&call.args)?,
        filter: expression::encode_optional(call.filter.as_ref())?,
        distinct: call.distinct,
        order_by: call.order_by.iter().map(expression::encode_sort).collect::<Result<_>>()?,
        ignore_nulls: call.ignore_nulls,
        output: schema::encode_field(&call.output)?,
    })
}

fn decode_call(call: &proto::AggregateCall, decoder: Decoder<'_>) -> Result<AggregateCall> {
    let function =
        decoder.functions.aggregate_functions().get(&call.function).ok_or_else(|| {
            Error::Invalid(format!("unknown aggregate function {}", call.function))
        })?;
    Ok(AggregateCall {
        function: Arc::clone(function),
        args: decoder.all(&call.args)?,
        filter: decoder.optional(call.filter.as_ref())?,
        distinct: call.distinct,
        order_by: call.order_by.iter().map(|sort| decoder.sort(sort)).collect::<Result<_>>()?,
        ignore_nulls: call.ignore_nulls,
        output: schema::decode_field(&call.output)?,
    })
}

pub(super) fn encode_window(spec: &WindowAggregateSpec) -> Result<proto::WindowAggregate> {
    Ok(proto::WindowAggregate {
        window: Some(window::encode(&spec.window)),
        keys: to_wire(&spec.keys),
        aggregates: spec.aggregates.iter().map(encode_call).collect::<Result<_>>()?,
    })
}

pub(super) fn decode_window(
    spec: &proto::WindowAggregate,
    decoder: Decoder<'_>,
) -> Result<WindowAggregateSpec> {
    let window = spec.window.as_ref().ok_or_else(|| missing("an aggregate's window"))?;
    Ok(WindowAggregateSpec {
        window: window::decode(window)?,
        keys: indices(&spec.keys),
        aggregates: decode_calls(&spec.aggregates, decoder)?,
    })
}

pub(super) fn encode_group(spec: &GroupAggregateSpec) -> Result<proto::GroupAggregate> {
    Ok(proto::GroupAggregate {
        keys: to_wire(&spec.keys),
        aggregates: spec.aggregates.iter().map(encode_call).collect::<Result<_>>()?,
        retracts: spec.input == ChangelogMode::Retract,
    })
}

pub(super) fn decode_group(
    spec: &proto::GroupAggregate,
    decoder: Decoder<'_>,
) -> Result<GroupAggregateSpec> {
    Ok(GroupAggregateSpec {
        keys: indices(&spec.keys),
        aggregates: decode_calls(&spec.aggregates, decoder)?,
        input: decode_changelog(spec.retracts),
    })
}

fn decode_calls(
    calls: &[proto::AggregateCall],
    decoder: Decoder<'_>,
) -> Result<Vec<AggregateCall>> {
    calls.iter().map(|call| decode_call(call, decoder)).collect()
}
