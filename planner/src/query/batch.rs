//! What DataFusion's batch engine cannot answer, found before anything runs.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::{Optimizer, OptimizerContext};
use sqlparser::tokenizer::Span;

use crate::error::{fail, unsupported};
use crate::options::options;
use crate::rewrite::batch_rules;

/// Refuses what is left of subqueries once DataFusion has made joins of those that it can.
///
/// # Errors
/// `Unsupported`, with the construct's name.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    let context = OptimizerContext::new_with_config_options(Arc::new(options()))
        .without_query_execution_start_time();
    let optimizer = Optimizer::with_rules(batch_rules(plan)?);
    let optimized = match optimizer.optimize(plan.clone(), &context, |_, _| {}) {
        Err(error) if matches!(error.find_root(), DataFusionError::SchemaError(..)) => {
            return Err(correlated());
        }
        optimized => optimized?,
    };
    let mut left = None;
    optimized.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        let is_leaf = node.inputs().is_empty();
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                left = left.or(subquery(part));
                // A condition that was pulled out of a subquery over a column of no input.
                if let Expr::Column(column) = part
                    && !is_leaf
                    && !schema.has_column(column)
                {
                    left = left.or(Some("OUTER"));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    let (what, help) = match left {
        None => return Ok(()),
        Some("OUTER") if has_unnest(plan)? => (
            "UNNEST of another table's column in FROM",
            "write UNNEST(…) into the SELECT list of the table that has the column",
        ),
        Some("OUTER") if has_lateral(&optimized)? => ("LATERAL", "use a join"),
        Some("OUTER") => return Err(correlated()),
        Some("EXISTS") => ("EXISTS outside of WHERE", "use a join"),
        Some(_) => ("IN with a query outside of WHERE", "use a join"),
    };
    Err(fail(unsupported(Span::empty(), format!("{what} is not supported")).with_help(help)))
}

fn correlated() -> DataFusionError {
    let message = "this correlated subquery is not supported";
    fail(unsupported(Span::empty(), message).with_help("use a join"))
}

fn subquery(expr: &Expr) -> Option<&'static str> {
    match expr {
        Expr::OuterReferenceColumn(..) => Some("OUTER"),
        Expr::Exists(_) => Some("EXISTS"),
        Expr::InSubquery(_) | Expr::SetComparison(_) => Some("IN"),
        _ => None,
    }
}

fn has_unnest(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::Unnest(_));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn has_lateral(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::Subquery(_))))
}
