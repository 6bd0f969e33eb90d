//! What DOUBLEs and DECIMALs have in common: DOUBLE, as in Flink.
//!
//! A number with a point is a DECIMAL. DataFusion turns the DOUBLEs that meet one into decimals of
//! 15 places, which loses the small ones and refuses the large ones.

use super::compared::compared;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{
    Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Values,
};

/// Functions whose arguments need no common type.
const TYPES_OF_THEIR_OWN: &[&str] = &["concat", "concat_ws", "named_struct", "struct"];

/// Casts the DECIMALs of a VALUES to DOUBLE where they share a column with DOUBLEs.
///
/// # Errors
/// Plans that are wrong otherwise.
pub(super) fn of_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Values(values) => of_values(values),
        other => Ok(Transformed::no(other)),
    }
}

/// Casts DECIMALs to DOUBLE where an expression compares them with DOUBLEs or gives both one type.
pub(super) fn of_expr(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let mut changed = false;
    each_group(&mut expr, |group| changed |= widen(group, schema));
    if changed { Transformed::yes(expr) } else { Transformed::no(expr) }
}

/// Visits the groups of an expression's parts that get a common type.
fn each_group(expr: &mut Expr, mut visit: impl FnMut(Vec<&mut Expr>)) {
    visit(compared(expr));
    match expr {
        Expr::Case(case) => {
            let thens = case.when_then_expr.iter_mut().map(|(_, then)| then.as_mut());
            visit(thens.chain(case.else_expr.as_deref_mut()).collect());
        }
        Expr::ScalarFunction(call) if !TYPES_OF_THEIR_OWN.contains(&call.func.name()) => {
            visit(call.args.iter_mut().collect());
        }
        _ => {}
    }
}

/// Makes DECIMALs beside DOUBLEs DOUBLEs, and tells whether there were any.
fn widen(group: Vec<&mut Expr>, schema: &DFSchema) -> bool {
    let types = group.iter().map(|expr| expr.get_type(schema)).collect::<Result<Vec<_>>>();
    // What has no type is complained about elsewhere.
    let Ok(types) = types else { return false };
    if !is_mixed(&types) {
        return false;
    }
    for (expr, data_type) in group.into_iter().zip(&types) {
        if data_type.is_decimal() {
            *expr = double(std::mem::take(expr));
        }
    }
    true
}

fn is_mixed(types: &[DataType]) -> bool {
    types.iter().any(DataType::is_floating) && types.iter().any(DataType::is_decimal)
}

fn double(expr: Expr) -> Expr {
    if let Expr::Literal(value, metadata) = &expr
        && let Ok(value) = value.cast_to(&DataType::Float64)
    {
        return Expr::Literal(value, metadata.clone());
    }
    Expr::Cast(Cast::new(Box::new(expr), DataType::Float64))
}

/// Undoes the casts that DataFusion has put around the values of a column.
fn of_values(values: Values) -> Result<Transformed<LogicalPlan>> {
    let empty = DFSchema::empty();
    let mut rows = values.values.clone();
    let mut changed = false;
    for (index, field) in values.schema.fields().iter().enumerate() {
        let written = |expr: &Expr| match expr {
            Expr::Cast(cast) if cast.field.data_type() == field.data_type() => (*cast.expr).clone(),
            expr => expr.clone(),
        };
        let mut column: Vec<Expr> = values.values.iter().map(|row| written(&row[index])).collect();
        if widen(column.iter_mut().collect(), &empty) {
            changed = true;
            for (row, expr) in rows.iter_mut().zip(column) {
                row[index] = expr;
            }
        }
    }
    if changed {
        LogicalPlanBuilder::values(rows)?.build().map(Transformed::yes)
    } else {
        Ok(Transformed::no(LogicalPlan::Values(values)))
    }
}
