//! Timestamps that become texts, by a cast that is written or one that a text function needs.
//!
//! DataFusion writes them with a `T`, and with as many digits as the value has; Flink with a
//! space, and with as many as the type has.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, ScalarUDF, TryCast};
use rainstorm_engine::function::{Registry, TIMESTAMP_TEXT};
use std::sync::Arc;

/// Rewrites `CAST(timestamp AS STRING)` in all expressions of a plan and its subqueries.
pub(super) fn rewrite(plan: LogicalPlan, functions: &Registry) -> Result<LogicalPlan> {
    let Some(function) = functions.scalar(TIMESTAMP_TEXT) else { return Ok(plan) };
    Ok(plan
        .transform_up_with_subqueries(|plan| {
            let mut schema = merge_schema(&plan.inputs());
            if let LogicalPlan::TableScan(scan) = &plan {
                schema = scan.projected_schema.as_ref().clone();
            }
            let preserver = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = preserver.save(&expr);
                let rewritten = expr.transform_up(|expr| Ok(of_expr(expr, &schema, &function)))?;
                Ok(rewritten.update_data(|expr| name.restore(expr)))
            })
        })?
        .data)
}

fn of_expr(expr: Expr, schema: &DFSchema, function: &Arc<ScalarUDF>) -> Transformed<Expr> {
    let (Expr::Cast(Cast { expr: inner, field }) | Expr::TryCast(TryCast { expr: inner, field })) =
        &expr
    else {
        return Transformed::no(expr);
    };
    let Ok(DataType::Timestamp(unit, None)) = inner.get_type(schema) else {
        return Transformed::no(expr);
    };
    if !field.data_type().is_string() {
        return Transformed::no(expr);
    }
    let time = inner.as_ref().clone();
    let arguments = vec![match unit {
        TimeUnit::Second => {
            let millis = DataType::Timestamp(TimeUnit::Millisecond, None);
            Expr::Cast(Cast::new(Box::new(time), millis))
        }
        _ => time,
    }];
    let text = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), arguments));
    Transformed::yes(match field.data_type() {
        DataType::Utf8View => text,
        other => Expr::Cast(Cast::new(Box::new(text), other.clone())),
    })
}
