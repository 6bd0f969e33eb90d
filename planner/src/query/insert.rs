//! INSERTs: bound where they stand in a script, and lowered together with their neighbours.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use rainstorm_engine::graph::LimitSpec;
use sqlparser::ast::Query;
use sqlparser::tokenizer::Span;

use super::assign;
use super::batch::{self, BatchPlan};
use super::mode::{Inputs, Planned, choose};
use super::output::Output;
use crate::analysis::{awaits_watermark, overlap};
use crate::bind::bind_query;
use crate::catalog::{CatalogTable, TableDefinition};
use crate::coerce::{Engine, check_constants, coerce, prepare};
use crate::diagnose::{from_datafusion, from_datafusion_in, from_datafusion_in_query};
use crate::error::{SqlError, SqlErrorCode, SqlErrors, fail, unsupported};
use crate::lower::{Lowering, results_for};
use crate::resolve::resolve_insert;
use crate::rewrite::rewrite;
use crate::script::JobPlan;
use crate::session::QueryContext;
use crate::settings::{RuntimeMode, Settings};
use crate::statement::Insert;
use crate::stream::{Results, derive};

/// An INSERT with the tables, views and functions that there are where it stands: what comes after
/// it, such as another table of the same name, changes nothing of it.
#[derive(Debug)]
pub(crate) struct BoundInsert {
    table: Arc<TableDefinition>,
    overwrite: bool,
    /// The rows; their columns are the table's physical ones.
    rows: Planned<StreamRows, BatchPlan>,
    /// The tables that are read, also through views.
    reads: Vec<Arc<TableDefinition>>,
    /// The query as it is written.
    source: Query,
    /// Where the table is named.
    span: Span,
}

/// Rows that a job of streams makes.
#[derive(Debug)]
struct StreamRows {
    /// The plan, rewritten.
    plan: LogicalPlan,
    results: Results,
    /// How many rows are wanted.
    first_rows: Option<LimitSpec>,
}

impl BoundInsert {
    /// Binds an INSERT.
    ///
    /// # Errors
    /// What is wrong with it or not supported.
    pub(crate) fn bind(context: QueryContext<'_>, insert: &Insert) -> Result<Self, SqlErrors> {
        let insert = resolve_insert(context, insert)?;
        let span = insert.table.span;
        let table = context.session.table(&insert.table.value).ok_or_else(|| {
            let message = format!("there is no table '{}'", insert.table.value);
            SqlError::at(SqlErrorCode::UnknownTable, span, message)
        })?;
        let table = &Arc::new(table.with_options(&insert.options));
        let place =
            |error: DataFusionError| from_datafusion_in_query(&error, context, &insert.source);
        let bound = bind_query(context, &insert.source).map_err(place)?;
        let inputs = Inputs::of(&bound).map_err(place)?;
        let reads = tables_of(&bound).map_err(place)?;
        let settings = &context.session.settings;
        let assigned = |bound, engine| {
            let prepared = prepare(bound, engine, context.functions).map_err(place)?;
            let typed = coerce(prepared.clone(), context).map_err(place)?;
            let plan = assign::to_table(context, &prepared, typed, table, &insert)?;
            check_constants(&plan).map_err(place)?;
            Ok::<_, SqlErrors>(plan)
        };
        let made = |rows| Self {
            table: Arc::clone(table),
            overwrite: insert.overwrite,
            rows,
            reads: reads.clone(),
            source: insert.source.as_ref().clone(),
            span,
        };
        let stream = || {
            let (bound, first_rows) = limited(bound.clone()).map_err(place)?;
            let plan = assigned(bound, Engine::Streams)?;
            let results = results_for(table, first_rows, &plan).map_err(place)?;
            let awaited = awaits_watermark(table);
            let plan = rewrite(plan, results, awaited).map_err(place)?;
            if awaited {
                check_watermark(&plan, results, table)
                    .map_err(|error| from_datafusion(&error, span))?;
            }
            let insert = made(Planned::Stream(StreamRows { plan, results, first_rows }));
            if inputs.endless.is_none() && settings.runtime_mode() == RuntimeMode::Automatic {
                // Whether streams support it is known once it is lowered.
                job(settings, std::slice::from_ref(&insert))?;
            }
            Ok(insert)
        };
        let batch = || {
            let bound = batch::without_watermarks(bound.clone()).map_err(place)?;
            let plan = BatchPlan::of(assigned(bound, Engine::Batch)?)
                .map_err(|error| from_datafusion_in(&error, &*insert.source))?;
            Ok(made(Planned::Batch(plan)))
        };
        let chosen = choose(settings.runtime_mode(), &inputs, false, stream, batch)?;
        let (Planned::Stream(insert) | Planned::Batch(insert)) = chosen;
        Ok(insert)
    }

    /// Returns the name of the table that is written.
    pub(crate) fn table_name(&self) -> &str {
        &self.table.name
    }

    /// Returns where the table that is written is named.
    pub(crate) fn span(&self) -> Span {
        self.span
    }

    /// Tells whether it is a job of its own: it ends with a number of rows, or with all of them
    /// and without checkpoints.
    pub(crate) fn is_alone(&self) -> bool {
        match &self.rows {
            Planned::Stream(rows) => rows.first_rows.is_some_and(|limit| limit.count < u64::MAX),
            Planned::Batch(_) => true,
        }
    }

    /// Returns a table that is read and that another INSERT writes.
    pub(crate) fn reads_of(&self, other: &Self) -> Option<&TableDefinition> {
        self.reads.iter().find(|table| overlap(table, &other.table)).map(Arc::as_ref)
    }

    /// Tells whether it cannot start before an INSERT before it has ended.
    pub(crate) fn waits_for(&self, before: &Self) -> bool {
        let replaces = self.overwrite || before.overwrite;
        self.reads_of(before).is_some() || (replaces && overlap(&self.table, &before.table))
    }

    /// Returns the rows' plan and what is asked of them.
    pub(super) fn plan(&self) -> Planned<(&LogicalPlan, Results), &LogicalPlan> {
        match &self.rows {
            Planned::Stream(rows) => Planned::Stream((&rows.plan, rows.results)),
            Planned::Batch(batch) => Planned::Batch(&batch.plan),
        }
    }
}

/// Takes LIMIT and OFFSET off a query, where rows need not be sorted before.
fn limited(plan: LogicalPlan) -> Result<(LogicalPlan, Option<LimitSpec>), DataFusionError> {
    if !matches!(plan, LogicalPlan::Limit(_)) {
        return Ok((plan, None));
    }
    let output = Output::of(plan.clone())?;
    Ok(match output.first_rows() {
        Some(limit) => (output.plan, Some(limit)),
        None => (plan, None),
    })
}

/// Refuses rows without a watermark where partitions would wait for it for ever.
fn check_watermark(
    plan: &LogicalPlan,
    results: Results,
    table: &TableDefinition,
) -> Result<(), DataFusionError> {
    let known = derive(plan, results)?.properties;
    if known.bounded || known.watermark.domain().is_some() {
        return Ok(());
    }
    let name = &table.name;
    let message =
        format!("partitions of table '{name}' are committed by the watermark, and there is none");
    Err(fail(
        SqlError::at(SqlErrorCode::InvalidStatement, Span::empty(), message)
            .with_help("declare WATERMARK FOR in CREATE TABLE of what is read"),
    ))
}

/// Returns the tables that a bound plan reads.
fn tables_of(plan: &LogicalPlan) -> Result<Vec<Arc<TableDefinition>>, DataFusionError> {
    let mut tables = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            tables.extend(CatalogTable::definition_of(&scan.source).cloned());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(tables)
}

/// Plans INSERTs as one job.
///
/// # Errors
/// What is not supported of them.
pub(super) fn job(settings: &Settings, inserts: &[BoundInsert]) -> Result<JobPlan, SqlErrors> {
    let job_settings = settings.job_settings();
    let parallelism = settings.parallelism().unwrap_or(1);
    let first = inserts.first().map_or_else(Span::empty, BoundInsert::span);
    let of_job = |error: DataFusionError| from_datafusion(&error, first);
    let plans = inserts.iter().filter_map(|insert| match &insert.rows {
        Planned::Stream(rows) => Some(&rows.plan),
        Planned::Batch(_) => None,
    });
    let mut lowering = Lowering::new(plans, &job_settings, parallelism).map_err(of_job)?;
    for insert in inserts {
        lowering.at(insert.span);
        let (table, overwrite) = (&insert.table, insert.overwrite);
        let lowered = match &insert.rows {
            Planned::Stream(StreamRows { plan, results, first_rows }) => {
                lowering.insert(plan, table, overwrite, (*results, *first_rows))
            }
            Planned::Batch(batch) => lowering.insert_batch(&batch.query, table, overwrite),
        };
        lowered.map_err(|error| from_datafusion_in(&error, &insert.source))?;
    }
    let (graph, bounded, warnings) = lowering.finish().map_err(of_job)?;
    if let Some(insert) = inserts.iter().find(|insert| insert.overwrite && !bounded) {
        let message = "INSERT OVERWRITE of rows that never end is not supported";
        return Err(unsupported(insert.span, message)
            .with_help("the table is replaced when the job ends; use INSERT INTO")
            .into());
    }
    let batch = inserts.iter().find(|insert| matches!(insert.rows, Planned::Batch(_)));
    if let Some(insert) = batch.filter(|_| !bounded) {
        let message = "an INSERT in batch mode beside one that never ends is not supported";
        return Err(unsupported(insert.span, message)
            .with_help("take it out of the statement set")
            .into());
    }
    let inserts = inserts.iter().map(|insert| insert.table.name.clone()).collect();
    let name = settings.job_name().map(str::to_owned);
    Ok(JobPlan { graph, name, inserts, bounded, query: None, warnings })
}
