//! A watermark that nobody consumes is not computed; others are taken of all rows of a source.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, internal_datafusion_err};
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan};

use crate::analysis::enforces;
use crate::catalog::CatalogTable;
use crate::stream::{Derived, Results, Watermark, derive, node_of, plan_of};

/// Takes watermarks out where nobody waits for them; `awaited` tells whether somebody waits for that
/// of the plan.
pub(super) fn drop_unused(plan: &LogicalPlan, awaited: bool) -> Result<LogicalPlan> {
    without_unused(&derive(plan, Results::Changes)?, awaited)
}

/// `awaited` tells whether somebody above waits for the node's watermark.
fn without_unused(node: &Derived<'_>, awaited: bool) -> Result<LogicalPlan> {
    let inputs = node.inputs.iter().zip(node.awaited(awaited));
    let inputs = inputs.map(|(input, awaited)| without_unused(input, awaited));
    let mut inputs = inputs.collect::<Result<Vec<_>>>()?.into_iter();
    if !awaited && node_of::<Watermark>(node.plan).is_some() {
        return inputs.next().ok_or_else(|| internal_datafusion_err!("a watermark of no rows"));
    }
    let replaced = |input| Ok(Transformed::yes(inputs.next().unwrap_or(input)));
    Ok(node.plan.clone().map_children(replaced)?.data)
}

/// Puts conditions that a source applies itself below its watermark: rows that it never makes
/// cannot show how far time is.
pub(super) fn filter_at_source(plan: LogicalPlan) -> Result<LogicalPlan> {
    let lowered = plan.transform_up(|plan| match plan {
        LogicalPlan::Filter(filter) => through_filter(filter),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(lowered.data)
}

fn through_filter(filter: Filter) -> Result<Transformed<LogicalPlan>> {
    let Some(watermark) = node_of::<Watermark>(&filter.input) else {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    };
    let (first, later): (Vec<Expr>, Vec<Expr>) = split_conjunction_owned(filter.predicate.clone())
        .into_iter()
        .partition(|condition| is_enforced(condition.clone(), &watermark.input));
    let Some(first) = conjunction(first) else {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    };
    let rows = Filter::try_new(first, Arc::new(watermark.input.clone()))?;
    let below = plan_of(Watermark { input: LogicalPlan::Filter(rows), ..watermark.clone() });
    Ok(Transformed::yes(match conjunction(later) {
        Some(later) => LogicalPlan::Filter(Filter::try_new(later, Arc::new(below))?),
        None => below,
    }))
}

/// Tells whether the source that a plan prepares rows of applies a condition on them itself.
fn is_enforced(condition: Expr, plan: &LogicalPlan) -> bool {
    let bare = |column: Column| Expr::Column(Column::new_unqualified(column.name));
    let (input, columns) = match plan {
        LogicalPlan::TableScan(scan) => {
            let columns: Vec<Expr> = plan.schema().columns().into_iter().map(bare).collect();
            let table = CatalogTable::definition_of(&scan.source);
            return over(condition, plan.schema(), &columns)
                .is_ok_and(|condition| table.is_some_and(|table| enforces(table, &condition)));
        }
        LogicalPlan::Filter(filter) => return is_enforced(condition, &filter.input),
        LogicalPlan::SubqueryAlias(alias) => {
            let columns = alias.input.schema().columns().into_iter().map(Expr::Column);
            (&alias.input, columns.collect())
        }
        LogicalPlan::Projection(projection) => (&projection.input, projection.expr.clone()),
        _ => return false,
    };
    over(condition, plan.schema(), &columns).is_ok_and(|condition| is_enforced(condition, input))
}

/// Puts expressions in place of a schema's columns.
fn over(condition: Expr, schema: &DFSchema, columns: &[Expr]) -> Result<Expr> {
    let written = condition.transform_up(|expr| match &expr {
        Expr::Column(column) => {
            Ok(Transformed::yes(columns[schema.index_of_column(column)?].clone().unalias()))
        }
        _ => Ok(Transformed::no(expr)),
    })?;
    Ok(written.data)
}
