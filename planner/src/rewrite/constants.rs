//! What a filter at a source makes constant is a constant above it.
//!
//! Nexmark's views filter on `event_type = 2`; with that, `CASE event_type …` over the person's,
//! the auction's and the bid's columns becomes the bid's column, and no other is read.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, Projection};

/// Puts constants in place of columns, in a projection right above a filtered table.
///
/// # Errors
/// None of its own.
pub(super) fn of_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Projection(projection) => through(projection),
        other => Ok(Transformed::no(other)),
    }
}

fn through(projection: Projection) -> Result<Transformed<LogicalPlan>> {
    let constants = match projection.input.as_ref() {
        LogicalPlan::Filter(filter) if matches!(*filter.input, LogicalPlan::TableScan(_)) => {
            split_conjunction(&filter.predicate).into_iter().filter_map(constant).collect()
        }
        _ => Vec::new(),
    };
    if constants.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Projection(projection)));
    }
    let preserver = NamePreserver::new_for_projection();
    let mut exprs = Vec::with_capacity(projection.expr.len());
    for expr in projection.expr {
        let name = preserver.save(&expr);
        exprs.push(name.restore(substitute(expr, &constants)?));
    }
    let projection = Projection::try_new(exprs, Arc::clone(&projection.input))?;
    Ok(Transformed::yes(LogicalPlan::Projection(projection)))
}

fn substitute(expr: Expr, constants: &[(Column, ScalarValue)]) -> Result<Expr> {
    // A column that is passed on as it is stays one: the source may not have to make it.
    if matches!(expr, Expr::Column(_)) {
        return Ok(expr);
    }
    let replaced = expr.transform_up(|expr| {
        let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
        Ok(match constants.iter().find(|(known, _)| known == column) {
            Some((_, value)) => Transformed::yes(Expr::Literal(value.clone(), None)),
            None => Transformed::no(expr),
        })
    })?;
    Ok(replaced.data)
}

/// Reads `column = literal` of equal types, which a row must fulfil to come through.
fn constant(predicate: &Expr) -> Option<(Column, ScalarValue)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = predicate else {
        return None;
    };
    match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(value, _))
        | (Expr::Literal(value, _), Expr::Column(column))
            if !value.is_null() && !value.data_type().is_floating() =>
        {
            Some((column.clone(), value.clone()))
        }
        _ => None,
    }
}
