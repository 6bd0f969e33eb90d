//! DOUBLEs: what they have in common with DECIMALs, and the order of their zeros.
//!
//! A number with a point is a DECIMAL, and beside a DOUBLE a DOUBLE, as in Flink. DataFusion turns
//! the DOUBLEs that meet one into decimals of 15 places, which loses the small ones and refuses the
//! large ones. 0.0 and -0.0 are equal; DataFusion sorts one before the other.

use super::compared::compared;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{
    Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, SortExpr, Values,
    binary_expr, lit,
};

/// Functions whose arguments need no common type.
const TYPES_OF_THEIR_OWN: &[&str] = &["concat", "concat_ws", "named_struct", "struct"];

/// Casts the DECIMALs of a VALUES to DOUBLE where they share a column with DOUBLEs, and gives what
/// rows are sorted by one zero.
///
/// # Errors
/// Plans that are wrong otherwise.
pub(super) fn of_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Values(values) => of_values(values),
        LogicalPlan::Sort(mut sort) => {
            let changed = sort_keys(&mut sort.expr, sort.input.schema());
            Ok(Transformed::new_transformed(LogicalPlan::Sort(sort), changed))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Casts DECIMALs to DOUBLE where an expression compares them with DOUBLEs or gives both one type;
/// what an aggregate sorts by gets one zero.
pub(super) fn of_expr(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let mut changed = match &mut expr {
        Expr::AggregateFunction(call) => sort_keys(&mut call.params.order_by, schema),
        _ => false,
    };
    each_group(&mut expr, |group| changed |= widen(group, schema));
    if changed { Transformed::yes(expr) } else { Transformed::no(expr) }
}

fn sort_keys(keys: &mut [SortExpr], schema: &DFSchema) -> bool {
    let mut changed = false;
    for key in keys {
        changed |= unsigned_zeros(&mut key.expr, schema);
    }
    changed
}

/// Makes -0.0 and 0.0 one value of what is sorted by.
pub(super) fn unsigned_zeros(key: &mut Expr, schema: &DFSchema) -> bool {
    let Ok(data_type) = key.get_type(schema) else { return false };
    if !data_type.is_floating() {
        return false;
    }
    let number = std::mem::take(key);
    let number = if data_type == DataType::Float64 { number } else { double(number) };
    *key = binary_expr(number, Operator::Plus, lit(0.0));
    true
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
