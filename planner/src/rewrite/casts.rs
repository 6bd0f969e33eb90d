//! Casts that types ask for, but no value.
//!
//! A CASE that picks one of several texts gives them in the type that is wanted. And a BIGINT has
//! at most 19 digits, DataFusion reckons with 20; what is multiplied with one then has a digit
//! more than in Flink, and writing it into a column of Flink's type would check every row.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Case, Cast, Expr, ExprSchemable};
use rainstorm_engine::function::{Arithmetic, CHECKED_CHAIN};

use rainstorm_engine::function::ASSIGN;

use crate::coerce::compares;

/// Drops a cast that becomes needless when it is done to literals, or once BIGINTs have 19 digits.
pub(super) fn of_expr(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    if let Some(narrowed) = of_comparison(&expr, schema) {
        return Transformed::yes(narrowed);
    }
    let Some((inner, to)) = cast_in(&expr) else { return Transformed::no(expr) };
    // Bodies of functions are cast to the types that are declared.
    if inner.get_type(schema).is_ok_and(|from| from == to) {
        return Transformed::yes(inner.clone());
    }
    if let Expr::Case(case) = inner {
        return match case_of(case, &to) {
            Some(case) => Transformed::yes(Expr::Case(case)),
            None => Transformed::no(expr),
        };
    }
    match arithmetic(inner, schema) {
        Some((narrowed, data_type)) if data_type == to => Transformed::yes(narrowed),
        _ => Transformed::no(expr),
    }
}

/// Returns what a cast, or the assignment to a column, is of, and the type that it gives.
fn cast_in(expr: &Expr) -> Option<(&Expr, DataType)> {
    match expr {
        Expr::Cast(Cast { expr, field }) => Some((expr, field.data_type().clone())),
        Expr::ScalarFunction(call) if call.func.name() == ASSIGN => match call.args.as_slice() {
            [value, Expr::Literal(wanted, _), ..] => Some((value, wanted.data_type())),
            _ => None,
        },
        _ => None,
    }
}

/// Narrows arithmetic that is compared with a literal, so that it is the same as where it is
/// selected and can be computed once.
fn of_comparison(expr: &Expr, schema: &DFSchema) -> Option<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
    let Expr::Literal(value, _) = right.as_ref() else { return None };
    if !compares(*op) || !value.data_type().is_decimal() {
        return None;
    }
    let (narrowed, data_type) = arithmetic(left, schema)?;
    let literal = value.cast_to(&data_type).ok()?;
    // The digits are the same, or the literal does not fit.
    let same = literal.cast_to(&value.data_type()).is_ok_and(|back| back == *value);
    same.then(|| {
        let literal = Expr::Literal(literal, None);
        Expr::BinaryExpr(BinaryExpr::new(Box::new(narrowed), *op, Box::new(literal)))
    })
}

/// Returns decimal arithmetic with BIGINTs of 19 digits, and its type, where that makes it
/// narrower.
fn arithmetic(expr: &Expr, schema: &DFSchema) -> Option<(Expr, DataType)> {
    let narrowed = match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (left, right) = (operand(left, schema), operand(right, schema));
            Expr::BinaryExpr(BinaryExpr::new(Box::new(left), *op, Box::new(right)))
        }
        Expr::ScalarFunction(call)
            if Arithmetic::of(call.func.name()).is_some() || call.func.name() == CHECKED_CHAIN =>
        {
            let args = call.args.iter().map(|arg| operand(arg, schema)).collect();
            Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&call.func), args))
        }
        _ => return None,
    };
    let data_type = narrowed.get_type(schema).ok()?;
    (narrowed != *expr && data_type.is_decimal()).then_some((narrowed, data_type))
}

/// Casts the values of a CASE, where all are literals.
fn case_of(case: &Case, data_type: &DataType) -> Option<Case> {
    let cast = |expr: &Expr| match expr {
        Expr::Literal(value, _) => Some(Expr::Literal(value.cast_to(data_type).ok()?, None)),
        _ => None,
    };
    let mut case = case.clone();
    for (_, value) in &mut case.when_then_expr {
        **value = cast(value)?;
    }
    if let Some(value) = &mut case.else_expr {
        **value = cast(value)?;
    }
    Some(case)
}

fn operand(expr: &Expr, schema: &DFSchema) -> Expr {
    match expr {
        Expr::Cast(Cast { expr: inner, field })
            if *field.data_type() == DataType::Decimal128(20, 0)
                && inner.get_type(schema).is_ok_and(|from| from == DataType::Int64) =>
        {
            Expr::Cast(Cast::new(inner.clone(), DataType::Decimal128(19, 0)))
        }
        other => other.clone(),
    }
}
