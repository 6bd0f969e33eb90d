//! From queries to jobs.

mod assign;
mod batch;
mod insert;
mod output;
mod written;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::LogicalPlan;
use rainstorm_engine::graph::ChangelogMode;
use sqlparser::ast::Query;
use sqlparser::tokenizer::Span;

pub(crate) use self::insert::BoundInsert;
use self::output::Output;
use crate::analysis::describe;
use crate::bind::{bind_query, bind_view};
use crate::catalog::{CatalogTable, ViewDefinition};
use crate::coerce::{Engine, typed};
use crate::diagnose::{from_datafusion, from_datafusion_in, from_datafusion_in_query};
use crate::error::{SqlError, SqlErrors, ViewError, fail, unsupported};
use crate::explain::{graph_text, plan_text, stream_plan_text};
use crate::lower::Lowering;
use crate::rewrite::rewrite;
use crate::script::{JobPlan, QueryOutput, Step};
use crate::session::QueryContext;
use crate::settings::Settings;
use crate::stream::{Results, derive};

/// Plans a SELECT whose names are resolved: for DataFusion where all its tables are plain files,
/// else as a job.
///
/// # Errors
/// What is wrong with it or not supported.
pub(crate) fn plan_select(context: QueryContext<'_>, query: &Query) -> Result<Step, SqlErrors> {
    match bind_select(context, query)? {
        Select::Batch(plan) => Ok(Step::Batch(Box::new(plan))),
        Select::Job(plan) => Ok(Step::Job(Box::new(select_job(context, plan, query)?.1))),
    }
}

/// A SELECT that is bound, with its types coerced.
enum Select {
    /// One for DataFusion.
    Batch(LogicalPlan),
    /// One for a job.
    Job(LogicalPlan),
}

fn bind_select(context: QueryContext<'_>, query: &Query) -> Result<Select, SqlErrors> {
    let bind = || {
        let plan = bind_query(context, query)?;
        if !is_batch(&plan)? {
            return typed(plan, Engine::Streams, context).map(Select::Job);
        }
        let plan = typed(plan, Engine::Batch, context)?;
        batch::check(&plan)?;
        Ok(Select::Batch(plan))
    };
    bind().map_err(|error| from_datafusion_in_query(&error, context, query))
}

/// Plans INSERTs as one job.
///
/// # Errors
/// What is not supported of them.
pub(crate) fn plan_inserts(
    settings: &Settings,
    inserts: &[BoundInsert],
) -> Result<JobPlan, SqlErrors> {
    insert::job(settings, inserts)
}

/// A plan's name and its text.
pub(crate) type Explained = Vec<(String, String)>;

/// Explains a SELECT whose names are resolved.
///
/// # Errors
/// What is wrong with it or not supported.
pub(crate) fn explain_select(
    context: QueryContext<'_>,
    query: &Query,
) -> Result<Explained, SqlErrors> {
    match bind_select(context, query)? {
        Select::Batch(plan) => Ok(vec![("batch plan".to_owned(), plan_text(&plan))]),
        Select::Job(plan) => {
            let (plan, job) = select_job(context, plan, query)?;
            explain_job(&[(&plan, Results::Changes)], &job)
        }
    }
}

/// Explains INSERTs of one job.
///
/// # Errors
/// What is not supported of them.
pub(crate) fn explain_inserts(
    settings: &Settings,
    inserts: &[BoundInsert],
) -> Result<Explained, SqlErrors> {
    let job = insert::job(settings, inserts)?;
    let plans: Vec<_> = inserts.iter().map(BoundInsert::plan).collect();
    explain_job(&plans, &job)
}

fn explain_job(plans: &[(&LogicalPlan, Results)], job: &JobPlan) -> Result<Explained, SqlErrors> {
    let mut logical = Vec::with_capacity(plans.len());
    for (plan, results) in plans {
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
    let plan = bind_query(context, query)
        .and_then(|plan| typed(plan, Engine::Streams, context))
        .map_err(|error| from_datafusion_in_query(&error, context, query))?;
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
    let in_view = |cause| fail(ViewError { view: view.name.clone(), cause });
    let plan = bind_view(context, view)
        .and_then(|plan| typed(plan, Engine::Streams, context).map_err(in_view))
        .map_err(|error| from_datafusion(&error, named))?;
    Ok(Arc::clone(plan.schema().inner()))
}

fn select_job(
    context: QueryContext<'_>,
    plan: LogicalPlan,
    query: &Query,
) -> Result<(LogicalPlan, JobPlan), SqlErrors> {
    let plan = || -> DataFusionResult<_> {
        let output = Output::of(plan)?;
        let first_rows = output.first_rows();
        let plan = rewrite(output.plan, Results::Changes, false)?;
        let settings = context.session.settings.job_settings();
        let parallelism = context.session.settings.parallelism().unwrap_or(1);
        let mut lowering = Lowering::new([&plan], &settings, parallelism)?;
        let (changelog, upsert_key) = lowering.select(&plan, first_rows)?;
        let (graph, bounded, warnings) = lowering.finish()?;
        // Rows that are never taken back are limited where they come from, others once all are
        // known.
        let is_limited = first_rows.is_some() && changelog == ChangelogMode::AppendOnly;
        let sorted = !output.order_by.is_empty() || output.limit.is_some() || output.offset > 0;
        if sorted && !is_limited && !bounded {
            return Err(fail(needs_an_end(output.order_by.is_empty())));
        }
        let (offset, limit) = if is_limited { (0, None) } else { (output.offset, output.limit) };
        let query = QueryOutput {
            schema: Arc::clone(plan.schema().inner()),
            visible: output.visible,
            changelog,
            upsert_key,
            order_by: output.order_by,
            offset,
            limit,
        };
        let name = context.session.settings.job_name().map(str::to_owned);
        let inserts = Vec::new();
        let job = JobPlan { graph, name, inserts, bounded, query: Some(query), warnings };
        Ok((plan, job))
    };
    plan().map_err(|error| from_datafusion_in(&error, query))
}

/// Refuses ORDER BY, or LIMIT of rows that are updated, where there is no end.
fn needs_an_end(is_limit: bool) -> SqlError {
    let what = if is_limit { "LIMIT over updated rows" } else { "ORDER BY over rows" };
    unsupported(Span::empty(), format!("{what} that never end is not supported"))
        .with_help("bound the source's number of rows")
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
