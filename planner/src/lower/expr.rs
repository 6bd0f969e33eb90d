//! Logical expressions to physical ones over a node's columns.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, internal_err};
use datafusion::error::Result;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use crate::rewrite::{Asked, lazy};

/// Makes a physical expression over a logical schema.
pub(super) fn physical(expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    guarded(expr, schema, Asked::Value)
}

/// Makes a physical condition over a logical schema: null is as good as false.
pub(super) fn condition(expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    guarded(expr, schema, Asked::Truth)
}

fn guarded(expr: &Expr, schema: &DFSchema, asked: Asked) -> Result<Arc<dyn PhysicalExpr>> {
    let (properties, planning) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    let expr = lazy(expr.clone(), schema, asked)?;
    create_physical_expr(&expr, schema, &properties, &planning)
}

/// Renumbers an expression's columns; `place` gives a column's new name and index.
pub(super) fn renumber(
    expr: Arc<dyn PhysicalExpr>,
    place: impl Fn(usize) -> Option<(String, usize)>,
) -> Result<Arc<dyn PhysicalExpr>> {
    let renumbered = expr.transform_up(|expr| {
        let Some(column) = expr.downcast_ref::<Column>() else {
            return Ok(Transformed::no(expr));
        };
        let Some((name, index)) = place(column.index()) else {
            return internal_err!("column {column} is not there any more");
        };
        Ok(Transformed::yes(Arc::new(Column::new(&name, index)) as Arc<dyn PhysicalExpr>))
    })?;
    Ok(renumbered.data)
}

/// Returns the indices of the columns in expressions.
pub(super) fn columns_of<'a>(
    exprs: impl IntoIterator<Item = &'a Arc<dyn PhysicalExpr>>,
) -> BTreeSet<usize> {
    exprs.into_iter().flat_map(collect_columns).map(|column| column.index()).collect()
}
