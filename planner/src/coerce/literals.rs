//! Whole numbers that are written down: INT where they fit, as in Flink.
//!
//! DataFusion has each as BIGINT.

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Values};

/// Gives the literals of a bound plan the types that they have in Flink.
///
/// # Errors
/// Rows of VALUES whose types have nothing in common.
pub(super) fn of_plan(plan: LogicalPlan) -> Result<LogicalPlan> {
    let typed = plan.transform_up_with_subqueries(|node| match node {
        // Numbers of rows are looked at as they are.
        LogicalPlan::Limit(_) => Ok(Transformed::no(node)),
        LogicalPlan::Values(Values { schema, values }) => {
            let row = |row: Vec<Expr>| {
                row.into_iter().map(|expr| Ok(of_expr(expr)?.data)).collect::<Result<_>>()
            };
            let values = values.into_iter().map(row).collect::<Result<_>>()?;
            let rebuilt = LogicalPlanBuilder::values(values)?.build()?;
            let is_named_so = rebuilt.schema().field_names() == schema.field_names();
            Ok(Transformed::yes(if is_named_so {
                rebuilt
            } else {
                let names = schema.fields().iter().map(|field| field.name());
                let exprs = rebuilt.schema().columns().into_iter().zip(names);
                let exprs = exprs.map(|(column, name)| Expr::Column(column).alias(name));
                LogicalPlanBuilder::from(rebuilt).project(exprs)?.build()?
            }))
        }
        node => {
            let preserver = NamePreserver::new(&node);
            let named = |expr: Expr| {
                let name = preserver.save(&expr);
                Ok(of_expr(expr)?.update_data(|expr| name.restore(expr)))
            };
            let node = node.map_expressions(|expr| match expr {
                // Each of its parts is a column.
                Expr::GroupingSet(_) => expr.map_children(named),
                expr => named(expr),
            })?;
            node.map_data(LogicalPlan::recompute_schema)
        }
    })?;
    Ok(typed.data)
}

fn of_expr(expr: Expr) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| {
        Ok(match &expr {
            Expr::Literal(ScalarValue::Int64(Some(value)), metadata) => {
                match i32::try_from(*value) {
                    Ok(value) => {
                        let value = ScalarValue::Int32(Some(value));
                        Transformed::yes(Expr::Literal(value, metadata.clone()))
                    }
                    Err(_) => Transformed::no(expr),
                }
            }
            _ => Transformed::no(expr),
        })
    })
}
