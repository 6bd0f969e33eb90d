//! From queries to jobs.

mod batch;
mod coerce;
mod output;
mod written;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::LogicalPlan;
use sqlparser::ast::Query;
use sqlparser::tokenizer::Span;

use self::output::Output;
use crate::analysis::describe;
use crate::bind::{CatalogTable, bind_query, bind_view, unsupported};
use crate::catalog::{TableDefinition, ViewDefinition};
use crate::diagnose::{from_datafusion, from_datafusion_in, from_datafusion_in_query};
use crate::error::{SqlError, SqlErrorCode, SqlErrors};
use crate::explain::{graph_text, plan_text, stream_plan_text};
use crate::lower::{Lowering, results_for};
use crate::rewrite::rewrite;
use crate::script::{JobPlan, QueryOutput, Step};
use crate::session::QueryContext;
use crate::statement::{Insert, Statement};
use crate::stream::{Results, derive};
use crate::typing;

/// Plans a SELECT whose names are resolved: for DataFusion where all its tables are plain files,
/// else as a job.
///
/// # Errors
/// What is wrong with it or not supported.
pub(crate) fn plan_select(context: QueryContext<'_>, query: &Query) -> Result<Step, SqlErrors> {
    let plan = bind_query(context, query)?;
    let place = |error: DataFusionError| from_datafusion_in_query(&error, context, query);
    let analyzed = typing::check(&plan, context.functions).map_err(place)?;
    if is_batch(&plan).map_err(place)? {
        batch::check(&plan).map_err(place)?;
        return Ok(Step::Batch(Box::new(analyzed)));
    }
    let (_, job) = select_job(context, plan, query)?;
    Ok(Step::Job(Box::new(job)))
}

/// Plans the INSERTs of one job, whose names are resolved.
///
/// # Errors
/// What is wrong with them or not supported.
pub(crate) fn plan_inserts(
    context: QueryContext<'_>,
    inserts: &[Insert],
) -> Result<JobPlan, SqlErrors> {
    insert_job(context, inserts).map(|(_, job)| job)
}

/// Explains a SELECT or INSERTs whose names are resolved: pairs of a plan's name and its text.
///
/// # Errors
/// What is wrong with it or not supported.
pub(crate) fn explain(
    context: QueryContext<'_>,
    statement: &Statement,
) -> Result<Vec<(String, String)>, SqlErrors> {
    let (plans, job) = match statement {
        Statement::Query(query) => {
            let plan = bind_query(context, query)?;
            let place = |error: DataFusionError| from_datafusion_in_query(&error, context, query);
            let analyzed = typing::check(&plan, context.functions).map_err(place)?;
            if is_batch(&plan).map_err(place)? {
                batch::check(&plan).map_err(place)?;
                return Ok(vec![("batch plan".to_owned(), plan_text(&analyzed))]);
            }
            let (plan, job) = select_job(context, plan, query)?;
            (vec![(plan, Results::Changes)], job)
        }
        Statement::Insert(inserts) => insert_job(context, inserts)?,
        _ => {
            let message = "EXPLAIN takes a SELECT or INSERTs";
            return Err(SqlError::at(SqlErrorCode::InvalidStatement, Span::empty(), message).into());
        }
    };
    let mut logical = Vec::with_capacity(plans.len());
    for (plan, results) in &plans {
        let derived =
            derive(plan, *results).map_err(|error| from_datafusion(&error, Span::empty()))?;
        logical.push(stream_plan_text(&derived));
    }
    let mut graph = graph_text(&job.graph);
    for warning in &job.warnings {
        graph.push_str("\nWarning: ");
        graph.push_str(warning);
    }
    Ok(vec![("logical plan".to_owned(), logical.join("\n\n")), ("job graph".to_owned(), graph)])
}

/// Binds a query whose names are resolved and returns its columns.
///
/// # Errors
/// The first thing that is wrong with it.
pub(crate) fn query_schema(
    context: QueryContext<'_>,
    query: &Query,
) -> Result<SchemaRef, SqlErrors> {
    let plan = bind_query(context, query)?;
    let place = |error: DataFusionError| from_datafusion_in_query(&error, context, query);
    let plan = typing::check(&plan, context.functions).map_err(place)?;
    Ok(Arc::clone(plan.schema().inner()))
}

/// Binds a view and returns its columns.
///
/// # Errors
/// The first thing that is wrong with it, at the place where the view is named: its own text is
/// elsewhere.
pub(crate) fn view_schema(
    context: QueryContext<'_>,
    view: &ViewDefinition,
    named: Span,
) -> Result<SchemaRef, SqlErrors> {
    let plan = bind_view(context, view).map_err(|errors| errors.or_at(named))?;
    let of_view =
        |error: DataFusionError| from_datafusion(&error, Span::empty()).of_view(&view.name, named);
    let plan = typing::check(&plan, context.functions).map_err(of_view)?;
    Ok(Arc::clone(plan.schema().inner()))
}

fn select_job(
    context: QueryContext<'_>,
    plan: LogicalPlan,
    query: &Query,
) -> Result<(LogicalPlan, JobPlan), SqlErrors> {
    let plan = || -> DataFusionResult<_> {
        let output = Output::of(plan)?;
        let plan = rewrite(output.plan, context.functions, Results::Changes)?;
        let settings = context.session.settings.job_settings();
        let parallelism = context.session.settings.parallelism().unwrap_or(1);
        let mut lowering = Lowering::new([&plan], &settings, parallelism)?;
        let (changelog, upsert_key) = lowering.select(&plan)?;
        let (graph, bounded, warnings) = lowering.finish()?;
        let sorted = !output.order_by.is_empty() || output.limit.is_some() || output.offset > 0;
        if sorted && !bounded {
            let what = if output.order_by.is_empty() { "LIMIT" } else { "ORDER BY" };
            let message = format!("{what} over rows that never end is not supported");
            let error =
                unsupported(Span::empty(), message).with_help("bound the source's number of rows");
            return Err(crate::bind::fail(error));
        }
        let query = QueryOutput {
            schema: Arc::clone(plan.schema().inner()),
            visible: output.visible,
            changelog,
            upsert_key,
            order_by: output.order_by,
            offset: output.offset,
            limit: output.limit,
        };
        let job = JobPlan { graph, inserts: Vec::new(), bounded, query: Some(query), warnings };
        Ok((plan, job))
    };
    plan().map_err(|error| from_datafusion_in(&error, query))
}

fn insert_job(
    context: QueryContext<'_>,
    inserts: &[Insert],
) -> Result<(Vec<(LogicalPlan, Results)>, JobPlan), SqlErrors> {
    let mut plans = Vec::with_capacity(inserts.len());
    let mut tables: Vec<Arc<TableDefinition>> = Vec::with_capacity(inserts.len());
    for insert in inserts {
        let table = context.session.table(&insert.table.value).ok_or_else(|| {
            let message = format!("there is no table '{}'", insert.table.value);
            SqlError::at(SqlErrorCode::UnknownTable, insert.table.span, message)
        })?;
        let table = &Arc::new(table.with_options(&insert.options));
        let place =
            |error: DataFusionError| from_datafusion_in_query(&error, context, &insert.source);
        let bound = bind_query(context, &insert.source)?;
        let plan = coerce::to_table(context, &bound, table, insert)?;
        typing::check(&plan, context.functions).map_err(place)?;
        let results = results_for(table).map_err(place)?;
        let plan = rewrite(plan, context.functions, results).map_err(place)?;
        plans.push((plan, results));
        tables.push(Arc::clone(table));
    }
    let settings = context.session.settings.job_settings();
    let parallelism = context.session.settings.parallelism().unwrap_or(1);
    let first = inserts.first().map_or_else(Span::empty, |insert| insert.table.span);
    let mut lowering = Lowering::new(plans.iter().map(|(plan, _)| plan), &settings, parallelism)
        .map_err(|error| from_datafusion(&error, first))?;
    for ((insert, (plan, _)), table) in inserts.iter().zip(&plans).zip(&tables) {
        lowering.at(insert.table.span);
        lowering
            .insert(plan, table, insert.overwrite)
            .map_err(|error| from_datafusion_in(&error, &*insert.source))?;
    }
    let (graph, bounded, warnings) =
        lowering.finish().map_err(|error| from_datafusion(&error, first))?;
    if let Some(insert) = inserts.iter().find(|insert| insert.overwrite && !bounded) {
        let message = "INSERT OVERWRITE of rows that never end is not supported";
        return Err(unsupported(insert.table.span, message)
            .with_help("the table is replaced when the job ends; use INSERT INTO")
            .into());
    }
    let inserts = tables.iter().map(|table| table.name.clone()).collect();
    Ok((plans, JobPlan { graph, inserts, bounded, query: None, warnings }))
}

/// Tells whether DataFusion can answer a query by itself: all its tables are plain files and
/// nothing of streaming is used.
fn is_batch(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut batch = true;
    plan.apply_with_subqueries(|node| {
        batch &= match node {
            LogicalPlan::TableScan(scan) => match CatalogTable::definition_of(&scan.source) {
                Some(table) => table.connector == "filesystem" && describe(table)?.bounded,
                None => false,
            },
            LogicalPlan::Extension(_) => false,
            _ => true,
        };
        Ok(if batch { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(batch)
}
