//! Casts that types ask for, but no value.
//!
//! A CASE that picks one of several texts gives them in the type that is wanted. And a BIGINT has at most 19 digits, DataFusion reckons with 20; what is multiplied with one then has
//! a digit more than in Flink, and writing it into a column of Flink's type would check every row.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Case, Cast, Expr, ExprSchemable, LogicalPlan};

/// Drops casts that become needless when they are done to literals, or once BIGINTs have 19
/// digits.
pub(super) fn narrow(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan
        .transform_up(|plan| {
            let schema = merge_schema(&plan.inputs());
            let preserver = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = preserver.save(&expr);
                let narrowed = expr.transform_down(|expr| Ok(of_expr(expr, &schema)))?;
                Ok(narrowed.update_data(|expr| name.restore(expr)))
            })
        })?
        .data)
}

fn of_expr(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::Cast(Cast { expr: inner, field }) = &expr else { return Transformed::no(expr) };
    if let Expr::Case(case) = inner.as_ref() {
        return match case_of(case, field.data_type()) {
            Some(case) => Transformed::yes(Expr::Case(case)),
            None => Transformed::no(expr),
        };
    }
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = inner.as_ref() else {
        return Transformed::no(expr);
    };
    let narrowed = Expr::BinaryExpr(BinaryExpr::new(
        Box::new(operand(left, schema)),
        *op,
        Box::new(operand(right, schema)),
    ));
    match narrowed.get_type(schema) {
        Ok(data_type) if data_type == *field.data_type() && data_type.is_decimal() => {
            Transformed::yes(narrowed)
        }
        _ => Transformed::no(expr),
    }
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
