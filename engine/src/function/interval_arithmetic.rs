//! Arithmetic with INTERVALs that DataFusion has no operators for.
//!
//! It would read the number of `INTERVAL '1' MONTH * n` as an interval. And it adds hours to a DATE
//! as far as they are days; as in PostgreSQL and Flink, a DATE stays one where it is moved by whole
//! days and months, and becomes a TIMESTAMP else.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::compute::try_binary;
use arrow::datatypes::{
    DataType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
};
use arrow::error::ArrowError;
use datafusion::common::{DFSchema, ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    BinaryExpr, Cast, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF,
};

use super::scalar::Scalar;

const DAY_MS: i64 = 86_400_000;
const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
/// The name of the function that multiplies an interval by a whole number, part by part.
pub(crate) const INTERVAL_TIMES: &str = "interval_times";

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![times_function()]
}

fn times_function() -> Arc<ScalarUDF> {
    Scalar::strict(INTERVAL_TIMES, &[&[INTERVAL, DataType::Int64]], |_| INTERVAL, times).udf()
}

fn times(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let intervals = args.args[0].to_array(args.number_rows)?;
    let numbers = args.args[1].to_array(args.number_rows)?;
    let intervals = intervals.as_primitive_opt::<IntervalMonthDayNanoType>();
    let (Some(intervals), Some(numbers)) = (intervals, numbers.as_primitive_opt::<Int64Type>())
    else {
        return exec_err!("expected an interval and a whole number");
    };
    let products: IntervalMonthDayNanoArray =
        try_binary(intervals, numbers, |interval, number| {
            interval_times(interval, number).ok_or_else(|| {
                ArrowError::ComputeError(format!("an interval times {number} is too long"))
            })
        })?;
    Ok(Arc::new(products))
}

/// Multiplies an interval by a whole number, `None` where a part becomes too long.
#[must_use]
pub fn interval_times(interval: IntervalMonthDayNano, number: i64) -> Option<IntervalMonthDayNano> {
    let whole = |part: i32| i32::try_from(i64::from(part).checked_mul(number)?).ok();
    Some(IntervalMonthDayNano {
        months: whole(interval.months)?,
        days: whole(interval.days)?,
        nanoseconds: interval.nanoseconds.checked_mul(number)?,
    })
}

/// Plans such arithmetic before types are coerced.
#[derive(Debug)]
pub(super) struct IntervalArithmetic;

impl ExprPlanner for IntervalArithmetic {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let is = |operator: Operator| expr.op.to_string() == operator.to_string();
        let adds = [Operator::Plus, Operator::Minus].into_iter().find(|operator| is(*operator));
        let multiplies = is(Operator::Multiply);
        if adds.is_none() && !multiplies {
            return Ok(PlannerResult::Original(expr));
        }
        // What has no type is complained about elsewhere. The operands of long chains stand on the
        // right: the chain is not looked at again for each of them.
        let Ok(right) = expr.right.get_type(schema) else {
            return Ok(PlannerResult::Original(expr));
        };
        let is_length = |of: &DataType| matches!(of, &INTERVAL | DataType::Duration(_));
        let left = |is: fn(&DataType) -> bool| {
            expr.left.get_type(schema).is_ok_and(|data_type| is(&data_type))
        };
        let planned = match (right, adds) {
            (number, None) if number.is_integer() && is_interval(&expr.left, schema) => {
                times_function().call(vec![expr.left, expr.right])
            }
            (INTERVAL, None) if left(DataType::is_integer) => {
                times_function().call(vec![expr.right, expr.left])
            }
            (length, Some(operator))
                if is_length(&length) && left(|it| *it == DataType::Date32) =>
            {
                moved(expr.left, operator, expr.right, schema)
            }
            (DataType::Date32, Some(Operator::Plus))
                if left(|it| matches!(it, &INTERVAL | DataType::Duration(_))) =>
            {
                moved(expr.right, Operator::Plus, expr.left, schema)
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(PlannerResult::Planned(planned))
    }
}

/// Tells whether an expression is an interval. A sum of them begins with one, and a product is a
/// call by now.
fn is_interval(mut expr: &Expr, schema: &DFSchema) -> bool {
    while let Expr::BinaryExpr(BinaryExpr { left, op, .. }) = expr {
        if !matches!(op, Operator::Plus | Operator::Minus) {
            return false;
        }
        expr = left;
    }
    expr.get_type(schema).is_ok_and(|data_type| data_type == INTERVAL)
}

/// Moves a date by a length of time.
fn moved(date: Expr, operator: Operator, by: Expr, schema: &DFSchema) -> Expr {
    let cast = |expr: Expr, to: DataType| Expr::Cast(Cast::new(Box::new(expr), to));
    let by_days = is_of_days(&by, schema);
    let is_duration = matches!(by.get_type(schema), Ok(DataType::Duration(_)));
    let by = if is_duration { cast(by, INTERVAL) } else { by };
    let date =
        if by_days { date } else { cast(date, DataType::Timestamp(TimeUnit::Millisecond, None)) };
    Expr::BinaryExpr(BinaryExpr::new(Box::new(date), operator, Box::new(by)))
}

/// Tells whether a length of time is one of days and months for every row, as it is written.
fn is_of_days(by: &Expr, schema: &DFSchema) -> bool {
    match by {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(value), _) => {
            value.is_none_or(|interval| interval.nanoseconds == 0)
        }
        Expr::Negative(inner) => is_of_days(inner, schema),
        Expr::Alias(alias) => is_of_days(&alias.expr, schema),
        Expr::ScalarFunction(call) if call.func.name() == INTERVAL_TIMES => {
            call.args.first().is_some_and(|interval| is_of_days(interval, schema))
        }
        // A number of lengths that are fixed is a number of milliseconds.
        Expr::ScalarFunction(call) if call.func.name() == "arrow_cast" => {
            call.args.first().is_some_and(|count| is_number_of_days(count, schema))
        }
        _ => false,
    }
}

/// Tells whether milliseconds are a whole number times some days.
fn is_number_of_days(milliseconds: &Expr, schema: &DFSchema) -> bool {
    let Expr::Cast(cast) = milliseconds else { return false };
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Multiply, right }) = cast.expr.as_ref()
    else {
        return false;
    };
    let Expr::Literal(factor, _) = right.as_ref() else { return false };
    let factor = factor.cast_to(&DataType::Int64);
    let is_days = matches!(factor, Ok(ScalarValue::Int64(Some(factor))) if factor % DAY_MS == 0);
    is_days && left.get_type(schema).is_ok_and(|number| number.is_integer())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_multiplied_part_by_part() {
        let interval = IntervalMonthDayNano::new(1, -2, 3);
        assert_eq!(interval_times(interval, -4), Some(IntervalMonthDayNano::new(-4, 8, -12)));
        assert_eq!(interval_times(interval, 1 << 31), None);
        let long = IntervalMonthDayNano::new(0, 0, i64::MAX);
        assert_eq!(interval_times(long, 2), None);
    }
}
