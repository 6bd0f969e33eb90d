//! Where rows end.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use rainstorm_engine::OperatorId;
use rainstorm_engine::connector::SinkMode;
use rainstorm_engine::graph::{
    BatchQuery, ChangelogMode, LimitSpec, SinkSpec, SinkTarget, SourceSpec,
};

use super::Lowering;
use super::flow::{Distribution, FlowKind, FlowNode, Port};
use crate::analysis::{describe, table_options};
use crate::catalog::TableDefinition;
use crate::error::{SqlError, SqlErrorCode, fail, unsupported};
use crate::stream::{Properties, Results};

impl Lowering<'_> {
    /// Lowers a query whose rows go into a table. Its columns are the table's physical ones.
    ///
    /// # Errors
    /// What of the query is not supported, and a table that does not take its changes.
    pub(crate) fn insert(
        &mut self,
        plan: &LogicalPlan,
        table: &TableDefinition,
        overwrite: bool,
        (results, first_rows): (Results, Option<LimitSpec>),
    ) -> Result<()> {
        let mode = self.sink_mode(table, overwrite)?;
        let (input, derived) = self.root(plan, results, first_rows)?;
        let changelog = derived.properties.changes;
        if first_rows.is_some() && changelog == ChangelogMode::Retract {
            return self.unsupported(
                "LIMIT over updated rows that never end",
                "bound the source's number of rows",
            );
        }
        self.check_mode(table, mode, changelog)?;
        let nodes = self.laid_out(&input, plan.schema())?;
        let spec = SinkSpec {
            changelog,
            upsert_key: upsert_key(&derived.properties),
            ..sink_of(table, overwrite)
        };
        // All changes of one key go through one writer, in their order.
        let primary_key = table_options(table).primary_key;
        let keyed = changelog == ChangelogMode::Retract && !primary_key.is_empty();
        let distribution =
            if keyed { Distribution::Keys(primary_key) } else { Distribution::Forward };
        let parallelism = input.parallelism(&self.flow);
        self.add_sink(spec, nodes, distribution, parallelism);
        Ok(())
    }

    /// Lowers a query in batch whose rows go into a table. Its columns are the table's physical
    /// ones.
    ///
    /// # Errors
    /// A table that is not written.
    pub(crate) fn insert_batch(
        &mut self,
        query: &Arc<BatchQuery>,
        table: &TableDefinition,
        overwrite: bool,
    ) -> Result<()> {
        self.sink_mode(table, overwrite)?;
        let schema = Arc::clone(query.plan.schema().inner());
        let source = self.flow.add(FlowNode {
            kind: FlowKind::Source(Box::new(SourceSpec {
                id: OperatorId(0),
                table: "query".to_owned(),
                connector: "batch".to_owned(),
                options: BTreeMap::new(),
                table_schema: Arc::clone(&schema),
                schema: Arc::clone(&schema),
                filters: Vec::new(),
                limit: None,
                prepare: Vec::new(),
                watermark: None,
                query: Some(Arc::clone(query)),
            })),
            ports: Vec::new(),
            schema,
            changelog: ChangelogMode::AppendOnly,
            parallelism: 1,
            partitioned: None,
        });
        self.restarts = true;
        self.add_sink(sink_of(table, overwrite), vec![source], Distribution::Forward, 1);
        Ok(())
    }

    /// Returns what a table takes.
    fn sink_mode(&self, table: &TableDefinition, overwrite: bool) -> Result<SinkMode> {
        let Some(mode) = describe(table)?.sink else {
            let message = format!(
                "table '{}' cannot be written: connector '{}' only reads",
                table.name, table.connector
            );
            return Err(fail(SqlError::at(SqlErrorCode::InvalidStatement, self.span, message)));
        };
        if overwrite && table.connector != "filesystem" {
            return self.unsupported(
                format!("INSERT OVERWRITE into a table with connector '{}'", table.connector),
                "use INSERT INTO",
            );
        }
        Ok(mode)
    }

    fn check_mode(
        &self,
        table: &TableDefinition,
        mode: SinkMode,
        changelog: ChangelogMode,
    ) -> Result<()> {
        if changelog == ChangelogMode::AppendOnly || mode == SinkMode::Changelog {
            return Ok(());
        }
        if mode == SinkMode::Upsert && !table.primary_key.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the query updates rows, but table '{}' with connector '{}' takes {}",
            table.name,
            table.connector,
            if mode == SinkMode::Upsert {
                "updates by PRIMARY KEY only"
            } else {
                "insertions only"
            },
        );
        let help = match mode {
            SinkMode::Upsert => "declare a PRIMARY KEY … NOT ENFORCED",
            _ => "aggregate per window, or write into a table that takes changes, such as print",
        };
        Err(fail(unsupported(self.span, message).with_help(help)))
    }

    /// Lowers a query whose rows go to the client, of those that are never taken back the first
    /// that come. Returns whether rows may be taken back, and
    /// what tells them apart then.
    ///
    /// # Errors
    /// What of the query is not supported.
    pub(crate) fn select(
        &mut self,
        plan: &LogicalPlan,
        (results, first_rows): (Results, Option<LimitSpec>),
    ) -> Result<(ChangelogMode, Option<Vec<usize>>)> {
        let (input, derived) = self.root(plan, results, first_rows)?;
        let changelog = derived.properties.changes;
        let nodes = self.laid_out(&input, plan.schema())?;
        let upsert_key = upsert_key(&derived.properties);
        let spec = SinkSpec {
            id: OperatorId(0),
            table: "client".to_owned(),
            target: SinkTarget::Client,
            schema: Arc::clone(plan.schema().inner()),
            changelog,
            upsert_key: upsert_key.clone(),
        };
        self.add_sink(spec, nodes, Distribution::Single, 1);
        Ok((changelog, upsert_key))
    }

    fn add_sink(
        &mut self,
        spec: SinkSpec,
        from: Vec<super::FlowId>,
        distribution: Distribution,
        parallelism: usize,
    ) {
        self.flow.add(FlowNode {
            schema: Arc::clone(&spec.schema),
            changelog: spec.changelog,
            kind: FlowKind::Sink(Box::new(spec)),
            ports: vec![Port { from, distribution }],
            parallelism,
            partitioned: None,
        });
    }
}

/// Returns the sink of a table that takes insertions.
fn sink_of(table: &TableDefinition, overwrite: bool) -> SinkSpec {
    let options = table_options(table);
    SinkSpec {
        id: OperatorId(0),
        table: table.name.clone(),
        target: SinkTarget::Connector {
            connector: table.connector.clone(),
            options: table.options.clone(),
            overwrite,
            partition_by: options.partition_by,
            primary_key: options.primary_key,
        },
        // The table's columns: they may refuse nulls that the query's do not.
        schema: options.table_schema,
        changelog: ChangelogMode::AppendOnly,
        upsert_key: None,
    }
}

/// Tells what a table takes of a query: where insertions only or only some of all rows, final ones.
///
/// # Errors
/// `InvalidOption` where the connector refuses the table's options.
pub(crate) fn results_for(
    table: &TableDefinition,
    first_rows: Option<LimitSpec>,
    plan: &LogicalPlan,
) -> Result<Results> {
    let is_insert = describe(table)?.sink == Some(SinkMode::Insert);
    let is_final = is_insert || first_rows.is_some();
    if is_final { Ok(Results::Final) } else { results_of(plan) }
}

/// Tells what is asked of a query: final rows where it sorts or limits some of them on its way,
/// which takes none back.
///
/// # Errors
/// None of its own.
pub(crate) fn results_of(plan: &LogicalPlan) -> Result<Results> {
    let mut picks = false;
    plan.apply_with_subqueries(|node| {
        picks |= matches!(node, LogicalPlan::Sort(_) | LogicalPlan::Limit(_));
        Ok(if picks { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(if picks { Results::Final } else { Results::Changes })
}

/// Returns the columns by which changes find their rows. Rows that are never taken back need none.
fn upsert_key(properties: &Properties) -> Option<Vec<usize>> {
    let retracts = properties.changes == ChangelogMode::Retract;
    properties.upsert_keys.first().filter(|_| retracts).cloned()
}
