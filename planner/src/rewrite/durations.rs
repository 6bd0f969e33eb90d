//! Intervals of fixed length become durations.
//!
//! Arrow adds a duration to a timestamp as it adds integers, and an interval by the calendar, row
//! by row.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};

use crate::interval::interval_ms;

/// Rewrites `timestamp ± interval`.
pub(super) fn of_expr(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &expr else {
        return Transformed::no(expr);
    };
    let (time, literal) = match (op, left.as_ref(), right.as_ref()) {
        (Operator::Plus | Operator::Minus, time, literal @ Expr::Literal(..)) => (time, literal),
        (Operator::Plus, literal @ Expr::Literal(..), time) => (time, literal),
        _ => return Transformed::no(expr),
    };
    let (Expr::Literal(value, _), Ok(DataType::Timestamp(unit, zone))) =
        (literal, time.get_type(schema))
    else {
        return Transformed::no(expr);
    };
    // A day of a time zone may have 23 hours.
    let has_days = matches!(value, ScalarValue::IntervalMonthDayNano(Some(interval))
        if interval.days != 0);
    if !matches!(value, ScalarValue::IntervalMonthDayNano(_)) || (has_days && zone.is_some()) {
        return Transformed::no(expr);
    }
    match interval_ms(value).and_then(|ms| duration(ms, unit)) {
        Some(duration) => Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(
            Box::new(time.clone()),
            *op,
            Box::new(Expr::Literal(duration, None)),
        ))),
        None => Transformed::no(expr),
    }
}

fn duration(ms: i64, unit: TimeUnit) -> Option<ScalarValue> {
    Some(match unit {
        TimeUnit::Second => ScalarValue::DurationSecond((ms % 1000 == 0).then_some(ms / 1000)),
        TimeUnit::Millisecond => ScalarValue::DurationMillisecond(Some(ms)),
        TimeUnit::Microsecond => ScalarValue::DurationMicrosecond(ms.checked_mul(1000)),
        TimeUnit::Nanosecond => ScalarValue::DurationNanosecond(ms.checked_mul(1_000_000)),
    })
    .filter(|duration| !duration.is_null())
}
