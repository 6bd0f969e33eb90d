//! DataFusion's rules for rows that end, but for what they do wrong.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator};
use datafusion::optimizer::Optimizer;
use rainstorm_engine::function::aggregate_name;

use super::Rules;
use super::fallible::can_fail;
use super::filters::PushDownFilters;

/// Returns the rules by which DataFusion optimises a plan of [`Step::Batch`](crate::script::Step).
///
/// # Errors
/// None of its own.
pub(crate) fn batch_rules(plan: &LogicalPlan) -> Result<Rules> {
    let adds_up = has_sum(plan)?;
    let guards = has_guards(plan)?;
    let is_right = |name: &str| match name {
        // It takes the sum of partial sums where DISTINCT stands beside SUM; these would have to
        // fit the type of the whole.
        "single_distinct_aggregation_to_group_by" => !adds_up,
        // It computes what the first of several conditions has in common with others for all rows,
        // but those that cannot fail go first.
        "common_sub_expression_eliminate" => !guards,
        // They name fields of rows in ways that do not survive being shipped.
        "extract_leaf_expressions" | "push_down_leaf_projections" => false,
        _ => true,
    };
    let rules = Optimizer::new().rules.into_iter().filter(|rule| is_right(rule.name()));
    Ok(rules
        .map(|rule| match rule.name() {
            "push_down_filter" => Arc::new(PushDownFilters::default()),
            _ => rule,
        })
        .collect())
}

/// Tells whether one of several conditions can fail.
fn has_guards(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|expr| {
            let is_logic = |part: &Expr| {
                matches!(part, Expr::BinaryExpr(binary)
                    if matches!(binary.op, Operator::And | Operator::Or))
            };
            found |= expr.exists(|part| Ok(is_logic(part)))? && can_fail(expr, &schema);
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

fn has_sum(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Aggregate(aggregate) = node {
            found |= aggregate.aggr_expr.iter().any(is_sum);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn is_sum(expr: &Expr) -> bool {
    matches!(expr, Expr::AggregateFunction(call)
        if !call.params.distinct && aggregate_name(call.func.name()) == "sum")
}
