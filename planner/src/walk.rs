//! Rules of ours over plans, those of one stage in one walk.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Rewrites a node whose inputs are rewritten, before its expressions are.
pub(crate) type NodeRule<'a> = &'a dyn Fn(LogicalPlan) -> Result<Transformed<LogicalPlan>>;

/// Rewrites an expression over the columns of a schema whose parts are rewritten.
pub(crate) type ExprRule<'a> = &'a dyn Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>;

/// Applies rules to each node of a plan and of the subqueries in it, from the bottom up, in their
/// order. Columns keep their names. Where an expression gets another type, what is above has it.
///
/// # Errors
/// Those of the rules.
pub(crate) fn walk(
    plan: LogicalPlan,
    nodes: &[NodeRule<'_>],
    exprs: &[ExprRule<'_>],
) -> Result<LogicalPlan> {
    // What is above a change, which comes after it, may have other types.
    let mut changed = false;
    let walked = plan.transform_up_with_subqueries(|plan| {
        let plan = apply(nodes, plan, |rule, plan| rule(plan))?;
        let rewritten = plan.transform_data(|plan| {
            each_expression(plan, |expr, schema| of_expr(expr, schema, exprs))
        })?;
        changed |= rewritten.transformed;
        rewritten.map_data(|plan| if changed { plan.recompute_schema() } else { Ok(plan) })
    })?;
    Ok(walked.data)
}

/// Gives what subqueries say of the columns of outer queries the types that these have now.
///
/// # Errors
/// None of its own.
pub(crate) fn with_outer_types(plan: LogicalPlan) -> Result<LogicalPlan> {
    let told = plan.transform_down_with_subqueries(|node| {
        let outer = merge_schema(&node.inputs());
        node.map_subqueries(|subquery| of_subquery(subquery, &outer))
    })?;
    if !told.transformed {
        return Ok(told.data);
    }
    let recomputed = told
        .data
        .transform_up_with_subqueries(|node| node.recompute_schema().map(Transformed::yes))?;
    Ok(recomputed.data)
}

fn of_subquery(plan: LogicalPlan, outer: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    let of_part = |part: Expr| {
        let Expr::OuterReferenceColumn(known, column) = &part else {
            return Ok(Transformed::no(part));
        };
        Ok(match outer.field_from_column(column) {
            Ok(now) if now.data_type() != known.data_type() => {
                let now = Expr::OuterReferenceColumn(Arc::clone(now), column.clone());
                Transformed::yes(now)
            }
            _ => Transformed::no(part),
        })
    };
    plan.transform_down_with_subqueries(|node| {
        node.map_expressions(|expr| expr.transform_up(of_part))
    })
}

/// Rewrites each expression of a node as a whole. Columns keep their names.
///
/// # Errors
/// Those of the rule.
pub(crate) fn each_expression(
    plan: LogicalPlan,
    rule: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let schema = match &plan {
        LogicalPlan::TableScan(scan) => scan.projected_schema.as_ref().clone(),
        plan => merge_schema(&plan.inputs()),
    };
    let preserver = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        if matches!(expr, Expr::Column(_) | Expr::Literal(..)) {
            return Ok(Transformed::no(expr));
        }
        let name = preserver.save(&expr);
        let rewritten = rule(expr, &schema)?;
        Ok(rewritten.update_data(|expr| name.restore(expr)))
    })
}

/// Applies rules to an expression and its parts, from the bottom up.
fn of_expr(expr: Expr, schema: &DFSchema, rules: &[ExprRule<'_>]) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| apply(rules, expr, |rule, expr| rule(expr, schema)))
}

fn apply<R, T>(
    rules: &[R],
    value: T,
    each: impl Fn(&R, T) -> Result<Transformed<T>>,
) -> Result<Transformed<T>> {
    rules.iter().try_fold(Transformed::no(value), |before, rule| {
        let after = each(rule, before.data)?;
        let transformed = before.transformed || after.transformed;
        Ok(Transformed::new(after.data, transformed, TreeNodeRecursion::Continue))
    })
}
