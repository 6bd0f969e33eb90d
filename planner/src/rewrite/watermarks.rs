//! A watermark that nobody consumes is not computed.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::{Join, LogicalPlan};

use crate::bind::{Watermark, WindowTable, node_of, temporal_table};

/// Takes watermarks out where nothing above needs them. `needed` tells whether something does.
pub(super) fn drop_unused(plan: LogicalPlan, needed: bool) -> Result<LogicalPlan> {
    if !needed && let Some(watermark) = node_of::<Watermark>(&plan) {
        return drop_unused(watermark.input.clone(), needed);
    }
    if let LogicalPlan::Join(join) = plan {
        return through_join(join, needed);
    }
    let needed = needed
        || matches!(&plan, LogicalPlan::Aggregate(aggregate) if reads_windows(&aggregate.input))
        || matches!(&plan, LogicalPlan::Distinct(distinct) if reads_windows(distinct.input()));
    let children = plan.map_children(|child| Ok(Transformed::yes(drop_unused(child, needed)?)))?;
    Ok(children.data)
}

/// A lookup needs no time; other joins are bounded by it.
fn through_join(mut join: Join, needed: bool) -> Result<LogicalPlan> {
    let is_lookup = temporal_table(&join.right).is_some();
    let left = Arc::unwrap_or_clone(join.left);
    let right = Arc::unwrap_or_clone(join.right);
    join.left = Arc::new(drop_unused(left, needed || !is_lookup)?);
    join.right = Arc::new(drop_unused(right, !is_lookup)?);
    Ok(LogicalPlan::Join(join))
}

fn reads_windows(plan: &LogicalPlan) -> bool {
    let is_windowed =
        |plan: &LogicalPlan| node_of::<WindowTable>(plan).is_some_and(|table| table.time.is_some());
    plan.exists(|plan| Ok(is_windowed(plan))).unwrap_or(true)
}
