//! DataFusion's rule that filters rows early, but for conditions without columns on groups.
//!
//! The rule takes a condition below an aggregation if all its columns are keys, which also holds of
//! one without columns. But an aggregation without keys has a row where it is given none, and a
//! condition on a random number is to be met by groups.

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// Pushes filters down as DataFusion does, where that is right.
#[derive(Debug, Default)]
pub(super) struct PushDownFilters(PushDownFilter);

impl OptimizerRule for PushDownFilters {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        if is_about_no_column_of_groups(&plan) {
            return Ok(Transformed::no(plan));
        }
        self.0.rewrite(plan, config)
    }
}

fn is_about_no_column_of_groups(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Filter(filter) = plan else { return false };
    matches!(*filter.input, LogicalPlan::Aggregate(_))
        && split_conjunction(&filter.predicate)
            .into_iter()
            .any(|condition| condition.column_refs().is_empty())
}
