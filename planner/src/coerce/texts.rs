//! Timestamps that become texts, by a cast that is written or one that a text function needs.
//!
//! DataFusion writes them with a `T`, and with as many digits as the value has; Flink with a
//! space, and with as many as the type has.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, ScalarUDF, TryCast};
use std::sync::Arc;

/// Rewrites `CAST(timestamp AS STRING)`.
pub(super) fn of_expr(
    expr: Expr,
    schema: &DFSchema,
    function: &Arc<ScalarUDF>,
) -> Transformed<Expr> {
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
