//! Aggregates: functions travel by name and are looked up where they arrive.

use std::sync::Arc;

use rainstorm_engine::graph::{
    AggregateCall, AggregatePhase, ChangelogMode, Emit, GroupAggregateSpec, WindowAggregateSpec,
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
    let final_input = match &spec.phase {
        AggregatePhase::Final { input } => Some(schema::encode_schema(input)?),
        AggregatePhase::Complete | AggregatePhase::Local => None,
    };
    Ok(proto::WindowAggregate {
        window: Some(window::encode(&spec.window)),
        keys: to_wire(&spec.keys),
        aggregates: spec.aggregates.iter().map(encode_call).collect::<Result<_>>()?,
        local: spec.phase == AggregatePhase::Local,
        final_input,
    })
}

pub(super) fn decode_window(
    spec: &proto::WindowAggregate,
    decoder: Decoder<'_>,
) -> Result<WindowAggregateSpec> {
    let window = spec.window.as_ref().ok_or_else(|| missing("an aggregate's window"))?;
    let final_input = spec.final_input.as_ref().map(|input| schema::decode_schema(input));
    let phase = match final_input.transpose()? {
        Some(input) => AggregatePhase::Final { input },
        None if spec.local => AggregatePhase::Local,
        None => AggregatePhase::Complete,
    };
    // Expressions are over the rows that are aggregated, which the last half does not see.
    let decoder = match &phase {
        AggregatePhase::Final { input } => Decoder { schema: input, ..decoder },
        AggregatePhase::Complete | AggregatePhase::Local => decoder,
    };
    Ok(WindowAggregateSpec {
        window: window::decode(window)?,
        keys: indices(&spec.keys),
        aggregates: decode_calls(&spec.aggregates, decoder)?,
        phase,
    })
}

pub(super) fn encode_group(spec: &GroupAggregateSpec) -> Result<proto::GroupAggregate> {
    Ok(proto::GroupAggregate {
        keys: to_wire(&spec.keys),
        aggregates: spec.aggregates.iter().map(encode_call).collect::<Result<_>>()?,
        retracts: spec.input == ChangelogMode::Retract,
        r#final: spec.emit == Emit::Final,
        new_keys: spec.emit == Emit::First,
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
        emit: match (spec.r#final, spec.new_keys) {
            (false, false) => Emit::Changes,
            (true, false) => Emit::Final,
            (false, true) => Emit::First,
            (true, true) => {
                let message = "an aggregate that emits both at the end and at once";
                return Err(Error::Invalid(message.to_owned()));
            }
        },
    })
}

fn decode_calls(
    calls: &[proto::AggregateCall],
    decoder: Decoder<'_>,
) -> Result<Vec<AggregateCall>> {
    calls.iter().map(|call| decode_call(call, decoder)).collect()
}
