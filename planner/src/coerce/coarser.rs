//! Casts of times to fewer digits, which go down, and comparisons of times with more digits.
//!
//! Arrow cuts digits off, which goes up before 1970. And DataFusion compares a column of
//! milliseconds with a literal of microseconds by cutting the literal: `ts < '….000500'` would
//! leave out the millisecond that is less.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, ScalarUDF, TryCast};
use rainstorm_engine::function::gets_coarser;

use super::check::constant_value;
use super::compared::compared;

/// Puts the function that goes down in the place of casts that make times coarser, and of those
/// that DataFusion would turn around.
pub(super) fn of_expr(
    mut expr: Expr,
    schema: &DFSchema,
    function: &Arc<ScalarUDF>,
) -> Transformed<Expr> {
    if let Expr::Cast(Cast { expr: inner, field }) | Expr::TryCast(TryCast { expr: inner, field }) =
        &expr
        && inner.get_type(schema).is_ok_and(|from| gets_coarser(&from, field.data_type()))
        && let Some(call) = called(function, inner, field.data_type())
    {
        return Transformed::yes(call);
    }
    let changed = keep_digits(compared(&mut expr), schema, function);
    Transformed::new_transformed(expr, changed)
}

fn called(function: &Arc<ScalarUDF>, value: &Expr, to: &DataType) -> Option<Expr> {
    let null = Expr::Literal(ScalarValue::try_from(to).ok()?, None);
    Some(function.call(vec![value.clone(), null]))
}

/// Hides casts of times to more digits, but where all that is beside them are constants that have
/// no digits that the time has not: a column may yet turn out to be a constant.
fn keep_digits(mut parts: Vec<&mut Expr>, schema: &DFSchema, function: &Arc<ScalarUDF>) -> bool {
    let widened: Vec<(usize, DataType)> = parts
        .iter()
        .enumerate()
        .filter_map(|(index, part)| Some((index, time_before_cast(part, schema)?)))
        .collect();
    let loses_nothing = |part: &Expr, to: &DataType| {
        constant_value(part).is_some_and(|value| {
            let back = value.cast_to(to).and_then(|cut| cut.cast_to(&value.data_type()));
            back.is_ok_and(|back| back == value)
        })
    };
    let mut hidden = Vec::new();
    for (index, from) in widened {
        let mut others = parts.iter().enumerate().filter(|(other, _)| *other != index);
        if others.all(|(_, part)| loses_nothing(part, &from)) {
            continue;
        }
        if let Expr::Cast(Cast { expr, field }) = &*parts[index]
            && let Some(call) = called(function, expr, field.data_type())
        {
            hidden.push((index, call));
        }
    }
    let changed = !hidden.is_empty();
    for (index, call) in hidden {
        *parts[index] = call;
    }
    changed
}

/// Returns the type of a time that is cast to more digits.
fn time_before_cast(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    let Expr::Cast(Cast { expr, field }) = expr else { return None };
    let from = expr.get_type(schema).ok()?;
    gets_coarser(field.data_type(), &from).then_some(from)
}
