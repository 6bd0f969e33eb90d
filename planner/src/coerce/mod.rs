//! The types of a bound plan: each value gets the type that it needs where it stands.
//!
//! Rules of ours, DataFusion's analyser and again rules of ours, each once per query: first what
//! DataFusion would coerce in another way than Flink, then what it leaves as it should not be.

mod agree;
mod arguments;
mod arithmetic;
mod check;
mod coarser;
mod compared;
mod depth;
mod equal;
mod frames;
mod lateral;
mod literals;
mod maps;
mod not_in;
mod rows;
mod set_operations;
mod texts;

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan, Projection};
use datafusion::optimizer::analyzer::Analyzer;
use rainstorm_engine::function::{Registry, TIMESTAMP_TEXT, TO_COARSER};

pub(crate) use self::arithmetic::as_written;
pub(crate) use self::check::{check_constants, is_ambiguous};
pub(crate) use self::compared::compares;
use self::equal::Equality;
pub(crate) use self::rows::{by_position, renamed_to, same_shape};
use crate::options::options;
use crate::session::QueryContext;
use crate::walk::{walk, with_outer_types};

/// What will run a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// DataFusion, once all rows are there.
    Batch,
    /// A job.
    Streams,
}

/// Prepares a bound plan for coercion, and checks what it would pass over.
///
/// # Errors
/// Types that do not fit.
pub(crate) fn prepare(
    plan: LogicalPlan,
    engine: Engine,
    functions: &Registry,
) -> Result<LogicalPlan> {
    let plan = literals::of_plan(plan)?;
    let equality = Equality::new(functions)?;
    let copies = |plan| match engine {
        Engine::Batch => set_operations::count_copies(plan, functions),
        Engine::Streams => Ok(Transformed::no(plan)),
    };
    let plan = walk(
        plan,
        &[
            &|plan| lateral::of_node(plan, functions),
            &|plan| agree::of_node(plan, functions),
            &|plan| set_operations::common_types(plan, functions),
            &copies,
            &|plan| not_in::of_node(plan, engine),
            &|plan| frames::of_node(plan, &equality),
        ],
        &[
            &|expr, schema| agree::of_expr(expr, schema, functions),
            &|expr, schema| rows::of_expr(expr, schema, functions),
            &|expr, schema| Ok(depth::of_expr(expr, schema)),
        ],
    )?;
    let plan = with_outer_types(plan)?;
    check::check_types(&plan)?;
    Ok(plan)
}

/// Coerces the types of a plan that is prepared; its arithmetic fails where results do not fit them.
///
/// # Errors
/// Types that do not fit.
pub(crate) fn coerce(plan: LogicalPlan, context: QueryContext<'_>) -> Result<LogicalPlan> {
    let plan = Analyzer::new().execute_and_check(plan, &options(), |_, _| {})?;
    let timestamp_text = context.functions.udf(TIMESTAMP_TEXT)?;
    let to_coarser = context.functions.udf(TO_COARSER)?;
    let equality = Equality::new(context.functions)?;
    let plan = walk(
        plan,
        &[],
        &[
            &|expr, _| Ok(arguments::of_expr(expr)),
            &|expr, schema| Ok(coarser::of_expr(expr, schema, &to_coarser)),
            &|expr, schema| Ok(maps::of_expr(expr, schema)),
            &|expr, schema| Ok(texts::of_expr(expr, schema, &timestamp_text)),
            &|expr, schema| equality.of_expr(expr, schema),
        ],
    )?;
    // What a node puts around its expressions comes after what is in them.
    let plan = walk(plan, &[&|plan| equality.of_node(plan)], &[])?;
    arithmetic::checked(plan, context.functions, context.session.settings.overflow())
}

/// Does all of it to a plan as it is bound.
///
/// # Errors
/// Types that do not fit, constants that cannot be computed.
pub(crate) fn typed(
    plan: LogicalPlan,
    engine: Engine,
    context: QueryContext<'_>,
) -> Result<LogicalPlan> {
    let plan = coerce(prepare(plan, engine, context.functions)?, context)?;
    check_constants(&plan)?;
    Ok(plan)
}

/// Does all of it to an expression over the columns of a schema, and returns with it the column
/// that a query of it has.
///
/// # Errors
/// Types that do not fit.
pub(crate) fn typed_expression(
    expr: Expr,
    schema: DFSchema,
    context: QueryContext<'_>,
) -> Result<(Expr, FieldRef)> {
    let rows = EmptyRelation { produce_one_row: false, schema: Arc::new(schema) };
    let rows = Arc::new(LogicalPlan::EmptyRelation(rows));
    let query = LogicalPlan::Projection(Projection::try_new(vec![expr], rows)?);
    let plan = coerce(prepare(query, Engine::Streams, context.functions)?, context)?;
    let column = Arc::clone(&plan.schema().fields()[0]);
    Ok((plan.expressions().swap_remove(0), column))
}
