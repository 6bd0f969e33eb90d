//! Long chains of operators, typed in time that grows with their length.
//!
//! DataFusion derives the type of an operation from those of its operands, down to the columns,
//! and does so again at each operation above. A cast has its type written on it.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Operator};
use rainstorm_engine::function::LINK;

/// So many operations are below one that is cast to its own type.
const DEPTH_MAX: usize = 32;

/// Casts an operation or a link to its own type where there are many below it. The optimiser drops such
/// casts.
pub(super) fn of_expr(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    if depth(&expr) < DEPTH_MAX && !is_link(&expr) {
        return Transformed::no(expr);
    }
    // What has no type is complained about elsewhere.
    let Ok(data_type) = expr.get_type(schema) else { return Transformed::no(expr) };
    Transformed::yes(Expr::Cast(Cast::new(Box::new(expr), data_type)))
}

/// Tells whether an expression stands for a chain of operations that is named apart.
pub(super) fn is_link(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == LINK)
}

/// Counts the operations of a chain, down to what has its type written on it.
fn depth(mut expr: &Expr) -> usize {
    let mut depth = 0;
    while let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr
        && (op.is_numerical_operators() || *op == Operator::StringConcat)
    {
        depth += 1;
        // Operators are written from the left; with parentheses also from the right.
        expr = if matches!(**left, Expr::BinaryExpr(_)) { left } else { right };
    }
    depth
}
