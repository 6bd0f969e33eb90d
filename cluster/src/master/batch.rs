//! Queries over plain files, which DataFusion's batch engine answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use datafusion::common::tree_node::Transformed;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{SessionConfig, SessionContext};
use rainstorm_engine::connector::ConnectorContext;
use rainstorm_engine::graph::SourceSpec;
use rainstorm_engine::{BatchTable, OperatorId};
use rainstorm_planner::catalog::{CatalogTable, TableDefinition};
use rainstorm_planner::{batch_rules, guarded};

/// Runs a plan whose scans stand for tables of the catalog. Malformed rows that are left out are
/// added to `skipped_rows`.
///
/// # Errors
/// What DataFusion or a connector fails with.
pub(super) async fn run(
    plan: LogicalPlan,
    connectors: &ConnectorContext,
    skipped_rows: &Arc<AtomicU64>,
) -> DataFusionResult<SendableRecordBatchStream> {
    let plan = with_tables(plan, connectors, skipped_rows)?;
    let state = SessionStateBuilder::new_with_default_features()
        .with_config(SessionConfig::new())
        .with_optimizer_rules(batch_rules(&plan)?)
        .build();
    // This notes when the query starts, too.
    let state = SessionContext::new_with_state(state).state();
    // Its types are coerced already. Guards come after DataFusion's rules, which would undo them.
    let plan = guarded(state.optimizer().optimize(plan, &state, |_, _| {})?)?;
    let plan = state.query_planner().create_physical_plan(&plan, &state).await?;
    execute_stream(plan, state.task_ctx())
}

/// Puts tables that can be read in place of the catalog's.
fn with_tables(
    plan: LogicalPlan,
    connectors: &ConnectorContext,
    skipped_rows: &Arc<AtomicU64>,
) -> DataFusionResult<LogicalPlan> {
    let replaced = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
        let Some(definition) = CatalogTable::definition_of(&scan.source) else {
            return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
        };
        let source = source_of(definition);
        let table = BatchTable::new(source, connectors.clone(), Arc::clone(skipped_rows))
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        scan.source = provider_as_source(Arc::new(table));
        Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
    })?;
    Ok(replaced.data)
}

fn source_of(definition: &TableDefinition) -> SourceSpec {
    let options: BTreeMap<String, String> = definition.options.clone();
    SourceSpec {
        id: OperatorId(0),
        table: definition.name.clone(),
        connector: definition.connector.clone(),
        options,
        table_schema: definition.physical_schema(),
        schema: definition.physical_schema(),
        filters: Vec::new(),
        limit: None,
        prepare: Vec::new(),
        watermark: None,
    }
}
