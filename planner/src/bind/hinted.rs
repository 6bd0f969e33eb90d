//! `table /*+ OPTIONS(…) */`: the table with other options.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use sqlparser::ast::TableFactor;

use crate::catalog::CatalogTable;
use crate::hint;
use crate::statement::TableOption;

/// Plans tables with hints, which have been checked where names were resolved.
#[derive(Debug)]
pub(super) struct HintedTablePlanner;

impl RelationPlanner for HintedTablePlanner {
    fn plan_relation(
        &self,
        mut relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::Table { alias, with_hints, .. } = &mut relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        if with_hints.is_empty() {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        }
        let options = hint::options(&std::mem::take(with_hints));
        let alias = alias.take();
        let plan = with_options(context.plan(relation)?, &options)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

/// Gives the only table that a plan reads these options.
fn with_options(plan: LogicalPlan, options: &[TableOption]) -> Result<LogicalPlan> {
    let hinted = plan.transform_up(|node| {
        let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
        if let Some(table) = CatalogTable::definition_of(&scan.source) {
            scan.source = Arc::new(CatalogTable::new(Arc::new(table.with_options(options))));
        }
        Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
    })?;
    Ok(hinted.data)
}
