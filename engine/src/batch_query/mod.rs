//! Queries over tables that end, which DataFusion's batch engine answers once all rows are there.
//!
//! Such a query keeps no state over a checkpoint: where it fails, it starts anew. What its
//! operators hold is counted in the budget of the job, and nothing is written to disk.

mod memory;
mod source;
mod table;
mod window_memory;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::internal_err;
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::{DefaultTableSource, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{Expr, LogicalPlan, TableSource, TableType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt as _;

use self::memory::BudgetPool;
pub use self::source::source_of;
pub use self::table::BatchTable;
use crate::connector::ConnectorContext;
use crate::graph::{BatchQuery, SourceSpec};
use crate::memory::MemoryBudget;

/// What a scan of a [`BatchQuery`] reads. It goes where the plan goes; a [`BatchTable`] takes its
/// place where the query runs.
#[derive(Debug)]
pub struct QueryTable(SourceSpec);

impl QueryTable {
    /// Makes what a scan reads.
    #[must_use]
    pub fn source(spec: SourceSpec) -> Arc<dyn TableSource> {
        provider_as_source(Arc::new(Self::new(spec)))
    }

    /// Makes the table of a source.
    #[must_use]
    pub fn new(spec: SourceSpec) -> Self {
        Self(spec)
    }

    /// Returns the source that is read.
    #[must_use]
    pub fn spec(&self) -> &SourceSpec {
        &self.0
    }

    fn spec_of(source: &Arc<dyn TableSource>) -> Option<&SourceSpec> {
        let source: &dyn std::any::Any = source.as_ref();
        let table = &source.downcast_ref::<DefaultTableSource>()?.table_provider;
        table.downcast_ref::<Self>().map(Self::spec)
    }
}

#[async_trait]
impl TableProvider for QueryTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        _: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        internal_err!("table '{}' is read before it was put into place", self.0.table)
    }
}

/// Runs a query. Malformed rows that are left out are added to `skipped_rows`; what operators hold
/// is counted in `memory`.
///
/// # Errors
/// What DataFusion or a connector fails with.
pub async fn run(
    query: &BatchQuery,
    connectors: &ConnectorContext,
    skipped_rows: &Arc<AtomicU64>,
    memory: &Arc<MemoryBudget>,
) -> Result<SendableRecordBatchStream> {
    let plan = with_tables(&query.plan, connectors, skipped_rows)?;
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let pool = Arc::new(BudgetPool::new(Arc::clone(memory)));
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::clone(&pool) as _)
        .with_disk_manager_builder(disk);
    let state = SessionStateBuilder::new_with_default_features()
        .with_config(SessionConfig::new())
        .with_runtime_env(runtime.build_arc()?)
        .build();
    // This notes when the query starts, too.
    let state = SessionContext::new_with_state(state).state();
    let plan = state.query_planner().create_physical_plan(&plan, &state).await?;
    let rows = execute_stream(window_memory::counted(plan)?, state.task_ctx())?;
    let schema = rows.schema();
    let rows = rows.map_err(move |error| pool.explain(error));
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
}

/// Puts tables that can be read in place of what scans carry.
fn with_tables(
    plan: &LogicalPlan,
    connectors: &ConnectorContext,
    skipped_rows: &Arc<AtomicU64>,
) -> Result<LogicalPlan> {
    let replaced = plan.clone().transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
        let Some(spec) = QueryTable::spec_of(&scan.source) else {
            return internal_err!("table '{}' is no table of a query", scan.table_name);
        };
        let table = BatchTable::new(spec.clone(), connectors.clone(), Arc::clone(skipped_rows))
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        scan.source = provider_as_source(Arc::new(table));
        Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
    })?;
    Ok(replaced.data)
}
