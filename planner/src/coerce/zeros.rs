//! 0.0 and -0.0 are equal; DataFusion sorts one before the other.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{
    Cast, Expr, ExprSchemable, LogicalPlan, Operator, SortExpr, binary_expr, lit,
};

/// Gives what rows are sorted by one zero.
pub(super) fn of_node(plan: LogicalPlan) -> Transformed<LogicalPlan> {
    match plan {
        LogicalPlan::Sort(mut sort) => {
            let changed = sort_keys(&mut sort.expr, sort.input.schema());
            Transformed::new_transformed(LogicalPlan::Sort(sort), changed)
        }
        other => Transformed::no(other),
    }
}

/// Gives what an aggregate sorts by one zero.
pub(super) fn of_expr(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let changed = match &mut expr {
        Expr::AggregateFunction(call) => sort_keys(&mut call.params.order_by, schema),
        _ => false,
    };
    Transformed::new_transformed(expr, changed)
}

fn sort_keys(keys: &mut [SortExpr], schema: &DFSchema) -> bool {
    let mut changed = false;
    for key in keys {
        changed |= of_key(&mut key.expr, schema);
    }
    changed
}

/// Makes -0.0 and 0.0 one value of what is sorted by.
pub(super) fn of_key(key: &mut Expr, schema: &DFSchema) -> bool {
    let Ok(data_type) = key.get_type(schema) else { return false };
    if !data_type.is_floating() {
        return false;
    }
    let number = match std::mem::take(key) {
        number if data_type == DataType::Float64 => number,
        number => Expr::Cast(Cast::new(Box::new(number), DataType::Float64)),
    };
    *key = binary_expr(number, Operator::Plus, lit(0.0));
    true
}
