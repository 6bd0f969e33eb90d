//! Joins. Their filters are over the left columns followed by the right ones.

use datafusion::common::JoinType;
use rainstorm_engine::graph::{IntervalJoinSpec, LookupJoinSpec, WindowJoinSpec};
use rainstorm_engine::{Error, Result};
use rainstorm_proto::graph as proto;

use super::expression::{self, Decoder};
use super::{index, missing};

fn encode_type(join_type: JoinType) -> i32 {
    let join_type = match join_type {
        JoinType::Inner => proto::JoinType::Inner,
        JoinType::Left => proto::JoinType::Left,
        JoinType::Right => proto::JoinType::Right,
        JoinType::Full => proto::JoinType::Full,
        JoinType::LeftSemi => proto::JoinType::LeftSemi,
        JoinType::RightSemi => proto::JoinType::RightSemi,
        JoinType::LeftAnti => proto::JoinType::LeftAnti,
        JoinType::RightAnti => proto::JoinType::RightAnti,
        JoinType::LeftMark => proto::JoinType::LeftMark,
        JoinType::RightMark => proto::JoinType::RightMark,
    };
    join_type.into()
}

fn decode_type(join_type: proto::JoinType) -> Result<JoinType> {
    match join_type {
        proto::JoinType::Unspecified => Err(missing("a type of join")),
        proto::JoinType::Inner => Ok(JoinType::Inner),
        proto::JoinType::Left => Ok(JoinType::Left),
        proto::JoinType::Right => Ok(JoinType::Right),
        proto::JoinType::Full => Ok(JoinType::Full),
        proto::JoinType::LeftSemi => Ok(JoinType::LeftSemi),
        proto::JoinType::RightSemi => Ok(JoinType::RightSemi),
        proto::JoinType::LeftAnti => Ok(JoinType::LeftAnti),
        proto::JoinType::RightAnti => Ok(JoinType::RightAnti),
        proto::JoinType::LeftMark => Ok(JoinType::LeftMark),
        proto::JoinType::RightMark => Ok(JoinType::RightMark),
    }
}

fn encode_pairs(pairs: &[(usize, usize)]) -> proto::Pairs {
    let (left, right) = pairs.iter().map(|(left, right)| (*left as u32, *right as u32)).unzip();
    proto::Pairs { left, right }
}

fn decode_pairs(pairs: Option<&proto::Pairs>) -> Result<Vec<(usize, usize)>> {
    let Some(proto::Pairs { left, right }) = pairs else { return Ok(Vec::new()) };
    if left.len() != right.len() {
        let (left, right) = (left.len(), right.len());
        return Err(Error::Invalid(format!("{left} left and {right} right columns of a join")));
    }
    Ok(left.iter().zip(right).map(|(left, right)| (index(*left), index(*right))).collect())
}

pub(super) fn encode_window(spec: &WindowJoinSpec) -> Result<proto::WindowJoin> {
    Ok(proto::WindowJoin {
        join_type: encode_type(spec.join_type),
        on: Some(encode_pairs(&spec.on)),
        left_start: spec.left_window.0 as u32,
        left_end: spec.left_window.1 as u32,
        right_start: spec.right_window.0 as u32,
        right_end: spec.right_window.1 as u32,
        filter: expression::encode_optional(spec.filter.as_ref())?,
    })
}

pub(super) fn decode_window(
    spec: &proto::WindowJoin,
    decoder: Decoder<'_>,
) -> Result<WindowJoinSpec> {
    Ok(WindowJoinSpec {
        join_type: decode_type(spec.join_type())?,
        on: decode_pairs(spec.on.as_ref())?,
        left_window: (index(spec.left_start), index(spec.left_end)),
        right_window: (index(spec.right_start), index(spec.right_end)),
        filter: decoder.optional(spec.filter.as_ref())?,
    })
}

pub(super) fn encode_interval(spec: &IntervalJoinSpec) -> Result<proto::IntervalJoin> {
    Ok(proto::IntervalJoin {
        join_type: encode_type(spec.join_type),
        on: Some(encode_pairs(&spec.on)),
        left_time: spec.left_time as u32,
        right_time: spec.right_time as u32,
        lower_ms: spec.lower_ms,
        upper_ms: spec.upper_ms,
        filter: expression::encode_optional(spec.filter.as_ref())?,
    })
}

pub(super) fn decode_interval(
    spec: &proto::IntervalJoin,
    decoder: Decoder<'_>,
) -> Result<IntervalJoinSpec> {
    Ok(IntervalJoinSpec {
        join_type: decode_type(spec.join_type())?,
        on: decode_pairs(spec.on.as_ref())?,
        left_time: index(spec.left_time),
        right_time: index(spec.right_time),
        lower_ms: spec.lower_ms,
        upper_ms: spec.upper_ms,
        filter: decoder.optional(spec.filter.as_ref())?,
    })
}

pub(super) fn encode_lookup(spec: &LookupJoinSpec) -> Result<proto::LookupJoin> {
    Ok(proto::LookupJoin {
        join_type: encode_type(spec.join_type),
        on: Some(encode_pairs(&spec.on)),
        filter: expression::encode_optional(spec.filter.as_ref())?,
    })
}

pub(super) fn decode_lookup(
    spec: &proto::LookupJoin,
    decoder: Decoder<'_>,
) -> Result<LookupJoinSpec> {
    Ok(LookupJoinSpec {
        join_type: decode_type(spec.join_type())?,
        on: decode_pairs(spec.on.as_ref())?,
        filter: decoder.optional(spec.filter.as_ref())?,
    })
}
