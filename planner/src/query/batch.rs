//! Plans for DataFusion's batch engine; what it cannot answer is found before anything runs.

use std::sync::Arc;

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{ScalarValue, TableReference, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::optimizer::{Optimizer, OptimizerContext};
use rainstorm_engine::OperatorId;
use rainstorm_engine::batch_query::QueryTable;
use rainstorm_engine::graph::{BatchQuery, SourceSpec};
use sqlparser::tokenizer::Span;

use crate::analysis::source_options;
use crate::catalog::CatalogTable;
use crate::error::{fail, unsupported};
use crate::options::options;
use crate::rewrite::{batch_rules, guarded};
use crate::stream::{TemporalTable, Watermark, WindowTable, node_of};

/// A query for DataFusion, and what it was made of.
#[derive(Debug, Clone)]
pub(crate) struct BatchPlan {
    /// The plan whose types are coerced.
    pub(crate) plan: LogicalPlan,
    /// What is run.
    pub(crate) query: Arc<BatchQuery>,
}

impl BatchPlan {
    /// Plans a query whose types are coerced.
    ///
    /// # Errors
    /// `Unsupported`, with the construct's name.
    pub(super) fn of(plan: LogicalPlan) -> Result<Self> {
        // Guards come after DataFusion's rules, which would undo them.
        let optimized = guarded(optimized(&plan)?)?;
        let optimized = without_empty_relations(optimized)?;
        let query = Arc::new(BatchQuery { plan: with_sources(optimized)? });
        Ok(Self { plan, query })
    }
}

/// Takes away what is said of event time: nothing waits for it where all rows are there.
///
/// # Errors
/// None of its own.
pub(super) fn without_watermarks(plan: LogicalPlan) -> Result<LogicalPlan> {
    let without = plan.transform_up_with_subqueries(|node| {
        Ok(match node_of::<Watermark>(&node) {
            Some(watermark) => Transformed::yes(watermark.input.clone()),
            None => Transformed::no(node),
        })
    })?;
    without.data.recompute_schema()
}

/// Makes no rows with columns of a row that is left out: the message for no rows has no columns.
fn without_empty_relations(plan: LogicalPlan) -> Result<LogicalPlan> {
    let replaced = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema }) = &node
        else {
            return Ok(Transformed::no(node));
        };
        let null = |(qualifier, field): (Option<&TableReference>, &FieldRef)| {
            let null = Expr::Literal(ScalarValue::try_from(field.data_type())?, None);
            Ok(null.alias_qualified(qualifier.cloned(), field.name()))
        };
        let nulls = schema.iter().map(null).collect::<Result<Vec<_>>>()?;
        LogicalPlanBuilder::empty(true)
            .filter(lit(false))?
            .project(nulls)?
            .build()
            .map(Transformed::yes)
    })?;
    Ok(replaced.data)
}

/// Gives scans what they read of the tables of the catalog.
fn with_sources(plan: LogicalPlan) -> Result<LogicalPlan> {
    let replaced = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
        let Some(table) = CatalogTable::definition_of(&scan.source) else {
            return internal_err!("table '{}' is none of the catalog's", scan.table_name);
        };
        let spec = SourceSpec {
            id: OperatorId(0),
            table: table.name.clone(),
            connector: table.connector.clone(),
            options: source_options(table),
            table_schema: table.physical_schema(),
            schema: table.physical_schema(),
            filters: Vec::new(),
            limit: None,
            prepare: Vec::new(),
            watermark: None,
            query: None,
        };
        scan.source = QueryTable::source(spec);
        Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
    })?;
    Ok(replaced.data)
}

/// Optimises a plan, and refuses what is left of subqueries once DataFusion has made joins of
/// those that it can.
fn optimized(plan: &LogicalPlan) -> Result<LogicalPlan> {
    refuse_streaming(plan)?;
    let context = OptimizerContext::new_with_config_options(Arc::new(options()))
        .without_query_execution_start_time();
    let optimizer = Optimizer::with_rules(batch_rules(plan)?);
    let optimized = match optimizer.optimize(plan.clone(), &context, |_, _| {}) {
        Err(error) if matches!(error.find_root(), DataFusionError::SchemaError(..)) => {
            return Err(correlated());
        }
        optimized => optimized?,
    };
    let mut left = None;
    optimized.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        let is_leaf = node.inputs().is_empty();
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                left = left.or(subquery(part));
                // A condition that was pulled out of a subquery over a column of no input.
                if let Expr::Column(column) = part
                    && !is_leaf
                    && !schema.has_column(column)
                {
                    left = left.or(Some("OUTER"));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    let (what, help) = match left {
        None => return Ok(optimized),
        Some("OUTER") if has_unnest(plan)? => (
            "UNNEST of another table's column in FROM",
            "write UNNEST(…) into the SELECT list of the table that has the column",
        ),
        Some("OUTER") if has_lateral(&optimized)? => ("LATERAL", "use a join"),
        Some("OUTER") => return Err(correlated()),
        Some("EXISTS") => ("EXISTS outside of WHERE", "use a join"),
        Some(_) => ("IN with a query outside of WHERE", "use a join"),
    };
    Err(fail(unsupported(Span::empty(), format!("{what} is not supported")).with_help(help)))
}

/// Refuses our own nodes, which only streams know.
fn refuse_streaming(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let what = if node_of::<TemporalTable>(node).is_some() {
            "a join FOR SYSTEM_TIME AS OF"
        } else if node_of::<WindowTable>(node).is_some() {
            "a windowing function"
        } else {
            return Ok(TreeNodeRecursion::Continue);
        };
        let message = format!("{what} is not supported in batch mode");
        let help = "SET 'execution.runtime-mode' = 'streaming'";
        Err(fail(unsupported(Span::empty(), message).with_help(help)))
    })?;
    Ok(())
}

fn correlated() -> DataFusionError {
    let message = "this correlated subquery is not supported";
    fail(unsupported(Span::empty(), message).with_help("use a join"))
}

fn subquery(expr: &Expr) -> Option<&'static str> {
    match expr {
        Expr::OuterReferenceColumn(..) => Some("OUTER"),
        Expr::Exists(_) => Some("EXISTS"),
        Expr::InSubquery(_) | Expr::SetComparison(_) => Some("IN"),
        _ => None,
    }
}

fn has_unnest(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::Unnest(_));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn has_lateral(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::Subquery(_))))
}
