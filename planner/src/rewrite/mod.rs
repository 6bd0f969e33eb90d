//! From a bound plan to one that is ready to be lowered.
//!
//! Types are coerced, watermarks that nobody consumes are dropped, and those of DataFusion's
//! rules run that hold for rows that never end and may be taken back. The list is explicit: a
//! rule that DataFusion adds does not run here until someone has looked at it.

mod casts;
mod constants;
mod doubles;
mod durations;
mod maps;
mod not_in;
mod rows;
mod set_operations;
mod texts;
mod volatile;
mod watermarks;

use std::sync::Arc;

use datafusion::common::tree_node::TreeNode;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::optimizer::analyzer::Analyzer;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion::optimizer::eliminate_filter::EliminateFilter;
use datafusion::optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::optimize_unions::OptimizeUnions;
use datafusion::optimizer::propagate_empty_relation::PropagateEmptyRelation;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerContext, OptimizerRule};
use rainstorm_engine::function::{Registry, TIMESTAMP_TEXT};

pub(crate) use self::doubles::{of_expr as doubles_of, with_doubles};
pub(crate) use self::rows::{by_position, cast_by_position, of_expr as cast_rows_of, same_shape};
pub(crate) use self::set_operations::{common_types, count_copies};
use crate::stream::{self, Results};

type Rules = Vec<Arc<dyn OptimizerRule + Send + Sync>>;

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
        Arc::new(PushDownFilter::new()),
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

/// Rewrites a bound plan, of which `results` are wanted.
///
/// # Errors
/// Types that do not fit, what DataFusion's rules complain about and what [`stream::check`] does.
pub(crate) fn rewrite(
    plan: LogicalPlan,
    functions: &Registry,
    results: Results,
) -> Result<LogicalPlan> {
    let options = crate::bind::options();
    let plan = analyze(not_in::rewrite(plan)?, functions)?;
    let plan = run(rules(), volatile::number(plan)?, &options)?;
    stream::check(&stream::derive(&plan, results)?)?;
    // Only now subqueries are joins, which may wait for watermarks.
    let plan = watermarks::drop_unused(&plan)?;
    let plan = watermarks::filter_at_source(plan)?;
    let plan = run(vec![Arc::new(PushDownFilter::new())], plan, &options)?;
    let plan = constants::propagate(plan)?;
    let plan = durations::rewrite(plan)?;
    let plan = casts::narrow(plan)?;
    run(last_rules(), plan, &options)
}

/// Coerces the types of a bound plan; casts become Flink's, keys of maps the maps'.
///
/// # Errors
/// Types that do not fit.
pub(crate) fn analyze(plan: LogicalPlan, functions: &Registry) -> Result<LogicalPlan> {
    let plan = Analyzer::new().execute_and_check(plan, &crate::bind::options(), |_, _| {})?;
    let timestamp_text = functions.scalar(TIMESTAMP_TEXT);
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        let mut schema = merge_schema(&plan.inputs());
        if let LogicalPlan::TableScan(scan) = &plan {
            schema = scan.projected_schema.as_ref().clone();
        }
        let preserver = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = preserver.save(&expr);
            let rewritten = expr.transform_up(|expr| match &timestamp_text {
                Some(text) => maps::of_expr(expr, &schema)
                    .transform_data(|expr| Ok(texts::of_expr(expr, &schema, text))),
                None => Ok(maps::of_expr(expr, &schema)),
            })?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })
    })?;
    Ok(rewritten.data)
}

fn run(rules: Rules, plan: LogicalPlan, options: &ConfigOptions) -> Result<LogicalPlan> {
    // Without a start time nothing folds the current time into a constant.
    let context = OptimizerContext::new_with_config_options(Arc::new(options.clone()))
        .without_query_execution_start_time();
    Optimizer::with_rules(rules).optimize(plan, &context, |_, _| {})
}
