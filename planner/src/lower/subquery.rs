//! Subqueries that did not become joins.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};
use sqlparser::tokenizer::Span;

use crate::error::{fail, unsupported};

/// Refuses a plan with subqueries in its expressions, by their names in SQL.
///
/// # Errors
/// `Unsupported`.
pub(super) fn refuse(plan: &LogicalPlan) -> Result<()> {
    let mut found = None;
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                found = found.or(name(part));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    let Some(what) = found else { return Ok(()) };
    let message = format!("{what} over streams is not supported");
    Err(fail(unsupported(Span::empty(), message).with_help("use a join")))
}

fn name(expr: &Expr) -> Option<&'static str> {
    match expr {
        Expr::Exists(_) => Some("EXISTS in this place"),
        Expr::InSubquery(_) | Expr::SetComparison(_) => Some("IN with a query in this place"),
        Expr::ScalarSubquery(_) => Some("a subquery as a value"),
        Expr::OuterReferenceColumn(..) => Some("a LATERAL or correlated subquery"),
        _ => None,
    }
}
