//! Bounds on the distance of two event times, read from a join's condition.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Column, JoinSide};
use datafusion::logical_expr::{Between, BinaryExpr, Cast, Expr, Operator};
use rainstorm_engine::function::TO_COARSER;

use super::rules::unaliased;
use crate::interval::interval_ms;

/// What a join's condition says of the distance `left time - right time`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bounds {
    /// The left side's time, as a column of the side.
    pub(crate) left_time: usize,
    /// The right side's time, as a column of the side.
    pub(crate) right_time: usize,
    pub(crate) lower_ms: i64,
    pub(crate) upper_ms: i64,
    /// Conditions that the bounds do not say.
    pub(crate) rest: Vec<Expr>,
}

/// A column above whose values the watermark stays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time {
    pub(super) side: JoinSide,
    /// Its place in the side.
    pub(super) column: usize,
    /// Whether two of its values may lie less than a millisecond apart.
    pub(super) is_fine: bool,
}

/// Tells whether values of a type may lie less than a millisecond apart.
pub(super) fn is_fine(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _))
}

/// A time's column plus a length of time.
struct Term {
    time: Time,
    plus_ms: i64,
    /// Whether a cast changes its unit: then bounds in milliseconds may be too wide.
    rounded: bool,
}

/// One comparison, as `left time - right time` against a constant.
struct Comparison {
    left_time: usize,
    right_time: usize,
    lower_ms: Option<i64>,
    upper_ms: Option<i64>,
    exact: bool,
}

/// Finds bounds from both sides. `time_of` tells of a column whether it is a time that the
/// watermark holds for, and where.
pub(super) fn bounds(
    conditions: &[Expr],
    on: &[(Expr, Expr)],
    time_of: impl Fn(&Column) -> Option<Time>,
) -> Option<Bounds> {
    let mut found: Option<(usize, usize)> = None;
    let (mut lower, mut upper) = (i64::MIN, i64::MAX);
    let mut rest = Vec::new();
    for condition in conditions {
        let comparisons = comparisons(condition, &time_of);
        let fits = |comparison: &Comparison| {
            let times = (comparison.left_time, comparison.right_time);
            found.is_none_or(|known| known == times)
        };
        let Some(comparisons) = comparisons.filter(|all| all.iter().all(fits)) else {
            rest.push(condition.clone());
            continue;
        };
        for comparison in &comparisons {
            found = Some((comparison.left_time, comparison.right_time));
            lower = lower.max(comparison.lower_ms.unwrap_or(i64::MIN));
            upper = upper.min(comparison.upper_ms.unwrap_or(i64::MAX));
        }
        if !comparisons.iter().all(|comparison| comparison.exact) {
            rest.push(condition.clone());
        }
    }
    // Equal times are a distance of nothing; the equality stays where it is.
    for (left, right) in on {
        let (Expr::Column(left), Expr::Column(right)) = (unaliased(left), unaliased(right)) else {
            continue;
        };
        if let (Some(left), Some(right)) = (time_of(left), time_of(right))
            && (left.side, right.side) == (JoinSide::Left, JoinSide::Right)
            && found.is_none_or(|known| known == (left.column, right.column))
        {
            found = Some((left.column, right.column));
            (lower, upper) = (lower.max(0), upper.min(0));
        }
    }
    let (left_time, right_time) = found?;
    let bounded = lower > i64::MIN && upper < i64::MAX;
    bounded.then_some(Bounds { left_time, right_time, lower_ms: lower, upper_ms: upper, rest })
}

fn comparisons(
    condition: &Expr,
    time_of: &impl Fn(&Column) -> Option<Time>,
) -> Option<Vec<Comparison>> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            Some(vec![comparison(left, *op, right, time_of)?])
        }
        Expr::Between(Between { expr, negated: false, low, high }) => Some(vec![
            comparison(expr, Operator::GtEq, low, time_of)?,
            comparison(expr, Operator::LtEq, high, time_of)?,
        ]),
        _ => None,
    }
}

fn comparison(
    left: &Expr,
    op: Operator,
    right: &Expr,
    time_of: &impl Fn(&Column) -> Option<Time>,
) -> Option<Comparison> {
    let (first, second) = (term(left, time_of)?, term(right, time_of)?);
    let (first, op, second) = match (first.time.side, second.time.side) {
        (JoinSide::Left, JoinSide::Right) => (first, op, second),
        (JoinSide::Right, JoinSide::Left) => (second, op.swap()?, first),
        _ => return None,
    };
    // first.time + a <op> second.time + b says first.time - second.time <op> b - a.
    let distance = second.plus_ms.checked_sub(first.plus_ms)?;
    // Less than a millisecond apart is apart: there the next millisecond would be too far.
    let is_fine = first.time.is_fine || second.time.is_fine;
    let next_ms = i64::from(!is_fine);
    let (lower_ms, upper_ms) = match op {
        Operator::Eq => (Some(distance), Some(distance)),
        Operator::GtEq => (Some(distance), None),
        Operator::Gt => (Some(distance.checked_add(next_ms)?), None),
        Operator::LtEq => (None, Some(distance)),
        Operator::Lt => (None, Some(distance.checked_sub(next_ms)?)),
        _ => return None,
    };
    let rounded = first.rounded || second.rounded;
    let strict = matches!(op, Operator::Gt | Operator::Lt);
    // Between rounded times a bound may be off by one millisecond; the condition stays.
    let wider = i64::from(rounded);
    Some(Comparison {
        left_time: first.time.column,
        right_time: second.time.column,
        lower_ms: lower_ms.map(|lower| lower.saturating_sub(wider)),
        upper_ms: upper_ms.map(|upper| upper.saturating_add(wider)),
        exact: !(rounded || (strict && is_fine)),
    })
}

fn term(expr: &Expr, time_of: &impl Fn(&Column) -> Option<Time>) -> Option<Term> {
    match unaliased(expr) {
        Expr::Column(column) => Some(Term { time: time_of(column)?, plus_ms: 0, rounded: false }),
        Expr::Cast(Cast { expr, field }) => {
            let DataType::Timestamp(_, None) = field.data_type() else { return None };
            Some(Term { rounded: true, ..term(expr, time_of)? })
        }
        // A cast to fewer digits.
        Expr::ScalarFunction(call) if call.func.name() == TO_COARSER => {
            Some(Term { rounded: true, ..term(call.args.first()?, time_of)? })
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (time, length) = match (op, left.as_ref(), right.as_ref()) {
                (Operator::Plus, time, Expr::Literal(value, _)) => (time, interval_ms(value)?),
                (Operator::Plus, Expr::Literal(value, _), time) => (time, interval_ms(value)?),
                (Operator::Minus, time, Expr::Literal(value, _)) => (time, -interval_ms(value)?),
                _ => return None,
            };
            let term = term(time, time_of)?;
            Some(Term { plus_ms: term.plus_ms.checked_add(length)?, ..term })
        }
        _ => None,
    }
}
