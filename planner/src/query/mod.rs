//! From queries to jobs.

mod assign;
mod batch;
mod insert;
mod mode;
mod output;
mod written;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::LogicalPlan;
use rainstorm_engine::graph::ChangelogMode;
use sqlparser::ast::Query;
use sqlparser::tokenizer::Span;

use self::batch::BatchPlan;
pub(crate) use self::insert::BoundInsert;
use self::mode::{Inputs, Planned, choose};
use self::output::Output;
use crate::bind::{bind_query, bind_view};
use crate::catalog::ViewDefinition;
use crate::coerce::{Engine, typed};
use crate::diagnose::{from_datafusion, from_datafusion_in, from_datafusion_in_query};
use crate::error::{SqlError, SqlErrors, ViewError, fail, unsupported};
use crate::explain::{graph_text, plan_text, stream_plan_text};
use crate::lower::{Lowering, results_of};
use crate::rewrite::rewrite;
use crate::script::{JobPlan, QueryOutput, Step};
use crate::session::QueryContext;
use crate::settings::Settings;
use crate::stream::{Results, derive};

/// Plans a SELECT whose names are resolved: for DataFusion where the mode says so, all its tables
/// are plain files, or streams do not support it and it ends; else as a job.
///
/// # Errors
/// What is wrong with it or not supported.
pub(crate) fn plan_select(context: QueryContext<'_>, query: &Query) -> Result<Step, SqlErrors> {
    let settings = &context.session.settings;
    Ok(match select(context, query)? {
        Planned::Batch(batch) => Step::Batch {
            query: batch.query,
            memory_budget_bytes: settings.job_settings().memory_budget_bytes,
        },
        Planned::Stream((_, _, job)) => Step::Job(Box::new(job)),
    })
}

/// A plan of streams, what is asked of it, and the job that it becomes.
type Streamed = (LogicalPlan, Results, JobPlan);

fn select(
    context: QueryContext<'_>,
    query: &Query,
) -> Result<Planned<Streamed, BatchPlan>, SqlErrors> {
    let place = |error: DataFusionError| from_datafusion_in_query(&error, context, query);
    let bound = bind_query(context, query).map_err(place)?;
    let inputs = Inputs::of(&bound).map_err(place)?;
    let stream = || {
        let plan = typed(bound.clone(), Engine::Streams, context).map_err(place)?;
        select_job(context, plan, query)
    };
    let batch = || {
        let plan = batch::without_watermarks(bound.clone())
            .and_then(|plan| typed(plan, Engine::Batch, context));
        BatchPlan::of(plan.map_err(place)?).map_err(|error| from_datafusion_in(&error, query))
    };
    let mode = context.session.settings.runtime_mode();
    choose(mode, &inputs, inputs.are_files, stream, batch)
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
    match select(context, query)? {
        Planned::Batch(batch) => Ok(vec![(BATCH_PLAN.to_owned(), plan_text(&batch.plan))]),
        Planned::Stream((plan, results, job)) => {
            Ok(vec![logical_plan(&[(&plan, results)])?, job_graph(&job)])
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
    let (mut streams, mut batches) = (Vec::new(), Vec::new());
    for insert in inserts {
        match insert.plan() {
            Planned::Stream(plan) => streams.push(plan),
            Planned::Batch(plan) => batches.push(plan_text(plan)),
        }
    }
    let mut explained = Vec::new();
    if !streams.is_empty() {
        explained.push(logical_plan(&streams)?);
    }
    if !batches.is_empty() {
        explained.push((BATCH_PLAN.to_owned(), batches.join("\n\n")));
    }
    explained.push(job_graph(&job));
    Ok(explained)
}

/// The name of a plan that DataFusion runs.
const BATCH_PLAN: &str = "batch plan";

fn logical_plan(plans: &[(&LogicalPlan, Results)]) -> Result<(String, String), SqlErrors> {
    let mut logical = Vec::with_capacity(plans.len());
    for (plan, results) in plans {
        let derived =
            derive(plan, *results).map_err(|error| from_datafusion(&error, Span::empty()))?;
        logical.push(stream_plan_text(&derived));
    }
    Ok(("logical plan".to_owned(), logical.join("\n\n")))
}

fn job_graph(job: &JobPlan) -> (String, String) {
    let mut graph = graph_text(&job.graph);
    for warning in &job.warnings {
        graph.push_str("\nWarning: ");
        graph.push_str(warning);
    }
    ("job graph".to_owned(), graph)
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
) -> Result<Streamed, SqlErrors> {
    let plan = || -> DataFusionResult<_> {
        let output = Output::of(plan)?;
        let first_rows = output.first_rows();
        let results = results_of(&output.plan)?;
        let plan = rewrite(output.plan, results, false)?;
        let settings = context.session.settings.job_settings();
        let parallelism = context.session.settings.parallelism().unwrap_or(1);
        let mut lowering = Lowering::new([&plan], &settings, parallelism)?;
        let (changelog, upsert_key) = lowering.select(&plan, (results, first_rows))?;
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
        Ok((plan, results, job))
    };
    plan().map_err(|error| from_datafusion_in(&error, query))
}

/// Refuses ORDER BY, or LIMIT of rows that are updated, where there is no end.
fn needs_an_end(is_limit: bool) -> SqlError {
    let what = if is_limit { "LIMIT over updated rows" } else { "ORDER BY over rows" };
    unsupported(Span::empty(), format!("{what} that never end is not supported"))
        .with_help("bound the source's number of rows")
}
