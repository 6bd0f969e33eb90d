//! Casts of times to fewer digits, which go down, and comparisons of times with more digits.
//!
//! Arrow cuts digits off, which goes up before 1970. And DataFusion compares a column of
//! milliseconds with a literal of microseconds by cutting the literal: `ts < '….000500'` would
//! leave out the millisecond that is less.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{
    Between, BinaryExpr, Cast, Expr, ExprSchemable, Operator, ScalarUDF, TryCast,
};
use rainstorm_engine::function::gets_coarser;

use super::check::{compares, constant_value};

/// Puts the function that goes down in the place of casts that make times coarser, and of those
/// that DataFusion would turn around.
pub(super) fn of_expr(
    expr: Expr,
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
    match expr {
        Expr::BinaryExpr(BinaryExpr { mut left, op, mut right })
            if compares(op)
                || matches!(op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom) =>
        {
            let changed = keep_digits(&mut [&mut *left, &mut *right], schema, function);
            let expr = Expr::BinaryExpr(BinaryExpr { left, op, right });
            if changed { Transformed::yes(expr) } else { Transformed::no(expr) }
        }
        Expr::Between(Between { mut expr, negated, mut low, mut high }) => {
            let parts = &mut [&mut *expr, &mut *low, &mut *high];
            let changed = keep_digits(parts, schema, function);
            let expr = Expr::Between(Between { expr, negated, low, high });
            if changed { Transformed::yes(expr) } else { Transformed::no(expr) }
        }
        Expr::InList(InList { mut expr, mut list, negated }) => {
            let mut parts: Vec<&mut Expr> =
                std::iter::once(&mut *expr).chain(list.iter_mut()).collect();
            let changed = keep_digits(&mut parts, schema, function);
            let expr = Expr::InList(InList { expr, list, negated });
            if changed { Transformed::yes(expr) } else { Transformed::no(expr) }
        }
        expr => Transformed::no(expr),
    }
}

fn called(function: &Arc<ScalarUDF>, value: &Expr, to: &DataType) -> Option<Expr> {
    let null = Expr::Literal(ScalarValue::try_from(to).ok()?, None);
    Some(function.call(vec![value.clone(), null]))
}

/// Hides casts of times to more digits where a constant beside them has digits that the time has
/// not.
fn keep_digits(parts: &mut [&mut Expr], schema: &DFSchema, function: &Arc<ScalarUDF>) -> bool {
    let widened: Vec<(usize, DataType)> = parts
        .iter()
        .enumerate()
        .filter_map(|(index, part)| Some((index, time_before_cast(part, schema)?)))
        .collect();
    let mut changed = false;
    for (index, from) in widened {
        let loses = |part: &Expr| {
            constant_value(part).is_some_and(|value| {
                let back = value.cast_to(&from).and_then(|cut| cut.cast_to(&value.data_type()));
                gets_coarser(&value.data_type(), &from) && back.is_ok_and(|back| back != value)
            })
        };
        if !parts.iter().any(|part| loses(part)) {
            continue;
        }
        if let Expr::Cast(Cast { expr, field }) = &*parts[index]
            && let Some(call) = called(function, expr, field.data_type())
        {
            *parts[index] = call;
            changed = true;
        }
    }
    changed
}

/// Returns the type of a time that is cast to more digits.
fn time_before_cast(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    let Expr::Cast(Cast { expr, field }) = expr else { return None };
    let from = expr.get_type(schema).ok()?;
    gets_coarser(field.data_type(), &from).then_some(from)
}
