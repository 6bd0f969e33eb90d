//! Constant arguments of functions, computed before anything asks for types.
//!
//! What ROUND(DECIMAL, n) returns depends on n, once it is a literal. A literal that coercion has
//! put into a cast is none until the plan is optimised, and a column would be described as another
//! type than its rows have.

use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::Expr;

use super::check::constant_value;

/// Computes the arguments of a call that are constants. What fails stays as it is, and is complained
/// about where that is known not to be in a branch that is never taken.
pub(super) fn of_expr(mut expr: Expr) -> Transformed<Expr> {
    let Expr::ScalarFunction(call) = &mut expr else { return Transformed::no(expr) };
    let mut changed = false;
    for argument in &mut call.args {
        if matches!(argument, Expr::Cast(_) | Expr::Negative(_) | Expr::BinaryExpr(_))
            && let Some(value) = constant_value(argument)
        {
            *argument = Expr::Literal(value, None);
            changed = true;
        }
    }
    if changed { Transformed::yes(expr) } else { Transformed::no(expr) }
}
