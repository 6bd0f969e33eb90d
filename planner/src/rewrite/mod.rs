//! From a plan whose types are coerced to one that is ready to be lowered.
//!
//! Watermarks that nobody consumes are dropped, and those of DataFusion's rules run that hold for
//! rows that never end and may be taken back. The list is explicit: a
//! rule that DataFusion adds does not run here until someone has looked at it.

mod batch;
mod casts;
mod constants;
mod durations;
mod fallible;
mod filters;
mod guards;
mod volatile;
mod watermarks;

use std::sync::Arc;

use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion::optimizer::eliminate_filter::EliminateFilter;
use datafusion::optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::optimize_unions::OptimizeUnions;
use datafusion::optimizer::propagate_empty_relation::PropagateEmptyRelation;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerContext, OptimizerRule};

pub(crate) use self::batch::batch_rules;
pub(crate) use self::fallible::can_fail;
use self::filters::PushDownFilters;
pub(crate) use self::guards::{Asked, filtered, guarded, lazy};
use crate::options::options;
use crate::stream::{self, Results};
use crate::walk::walk;

/// Rules of DataFusion's optimiser.
pub(crate) type Rules = Vec<Arc<dyn OptimizerRule + Send + Sync>>;

/// Rules that hold for streams. Left out are those that need rows to end or to come once: limits
/// pushed down, one DISTINCT turned into two aggregations, joins turned around, scalar subqueries.
fn rules() -> Rules {
    vec![
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(EliminateFilter::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(PropagateEmptyRelation::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownFilters::default()),
        Arc::new(OptimizeProjections::new()),
    ]
}

/// Rules that tidy up after our own.
fn last_rules() -> Rules {
    vec![
        Arc::new(SimplifyExpressions::new()),
        Arc::new(EliminateFilter::new()),
        Arc::new(OptimizeProjections::new()),
    ]
}

/// Rewrites a plan whose types are coerced, of which `results` are wanted. `awaited` tells whether
/// somebody waits for the watermark of its rows.
///
/// # Errors
/// What DataFusion's rules complain about and what [`stream::check`] does.
pub(crate) fn rewrite(plan: LogicalPlan, results: Results, awaited: bool) -> Result<LogicalPlan> {
    let options = options();
    let plan = run(rules(), volatile::number(plan)?, &options)?;
    stream::check(&stream::derive(&plan, results)?)?;
    // Only now subqueries are joins, which may wait for watermarks.
    let plan = watermarks::drop_unused(&plan, awaited)?;
    let plan = watermarks::filter_at_source(plan)?;
    let plan = run(vec![Arc::new(PushDownFilters::default())], plan, &options)?;
    let plan = walk(
        plan,
        &[&constants::of_node],
        &[&|expr, schema| Ok(durations::of_expr(expr, schema)), &|expr, schema| {
            Ok(casts::of_expr(expr, schema))
        }],
    )?;
    run(last_rules(), plan, &options)
}

fn run(rules: Rules, plan: LogicalPlan, options: &ConfigOptions) -> Result<LogicalPlan> {
    // Without a start time nothing folds the current time into a constant.
    let context = OptimizerContext::new_with_config_options(Arc::new(options.clone()))
        .without_query_execution_start_time();
    Optimizer::with_rules(rules).optimize(plan, &context, |_, _| {})
}
