//! Quotients that only the checked function can be asked for: DataFusion finds the type of an
//! operator by letting Arrow divide nothing, which fails where a divisor has many digits behind the
//! point, as the product of two prices has.

use std::sync::Arc;

use arrow::array::new_empty_array;
use arrow::compute::kernels::numeric::div;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, ScalarUDF};

use super::{Arithmetic, Checked, is_decimal};

/// Puts the function in the place of the operator before types are coerced.
#[derive(Debug)]
pub(in crate::function) struct LongQuotients;

impl ExprPlanner for LongQuotients {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        if expr.op.to_string() != Operator::Divide.to_string() {
            return Ok(PlannerResult::Original(expr));
        }
        Ok(match long_quotient(&expr, schema) {
            Some(quotient) => PlannerResult::Planned(quotient),
            None => PlannerResult::Original(expr),
        })
    }
}

/// Returns the quotient of decimals, if Arrow has no type for it. What else is wrong with an
/// operand is told where the operator is looked at.
fn long_quotient(expr: &RawBinaryExpr, schema: &DFSchema) -> Option<Expr> {
    let right = expr.right.get_type(schema).ok().filter(is_decimal)?;
    let left = expr.left.get_type(schema).ok()?;
    // Both sides are made decimals as they are where they are added.
    let added = BinaryTypeCoercer::new(&left, &Operator::Plus, &right);
    let (left, right) = added.get_input_types().ok()?;
    if !is_decimal(&left) || div(&new_empty_array(&left), &new_empty_array(&right)).is_ok() {
        return None;
    }
    let left = expr.left.clone().cast_to(&left, schema).ok()?;
    let right = expr.right.clone().cast_to(&right, schema).ok()?;
    let function = Arc::new(ScalarUDF::from(Checked::new(Arithmetic::Divide)));
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![left, right])))
}
