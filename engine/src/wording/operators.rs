//! The operators that people have written, where expressions have something in their place.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, Literal, NegativeExpr};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::function::{Arithmetic, CHECKED_CHAIN, INTERVAL_TIMES, operators_of_chain};

/// Writes what stands for operators with them: calls of arithmetic, and the CASE of an AND or OR
/// that keeps its right side from being evaluated.
pub(super) fn of_expr(expr: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
    if let Some(case) = expr.downcast_ref::<CaseExpr>() {
        return logic(case);
    }
    let call = expr.downcast_ref::<ScalarFunctionExpr>()?;
    let between = |left, arithmetic: Arithmetic, right| -> Arc<dyn PhysicalExpr> {
        Arc::new(BinaryExpr::new(left, arithmetic.operator(), right))
    };
    if call.name() == CHECKED_CHAIN {
        let (operators, operands) = call.args().split_first()?;
        let operators = operators_of_chain(operators.downcast_ref::<Literal>()?.value())?;
        let (first, others) = operands.split_first()?;
        let steps = operators.into_iter().zip(others.iter().cloned());
        return Some(steps.fold(Arc::clone(first), |left, (op, right)| between(left, op, right)));
    }
    if call.name() == INTERVAL_TIMES
        && let [interval, number] = call.args()
    {
        return Some(between(Arc::clone(interval), Arithmetic::Multiply, Arc::clone(number)));
    }
    let arithmetic = Arithmetic::of(call.name())?;
    if let [operand] = call.args() {
        return Some(Arc::new(NegativeExpr::new(Arc::clone(operand))));
    }
    call.args().iter().cloned().reduce(|left, right| between(left, arithmetic, right))
}

fn logic(case: &CaseExpr) -> Option<Arc<dyn PhysicalExpr>> {
    let truth = |expr: &Arc<dyn PhysicalExpr>| match expr.downcast_ref::<Literal>()?.value() {
        ScalarValue::Boolean(truth) => *truth,
        _ => None,
    };
    let ([(when, then)], Some(other), None) =
        (case.when_then_expr(), case.else_expr(), case.expr())
    else {
        return None;
    };
    let (op, right) = match (truth(then), truth(other)) {
        (None, Some(decided)) => {
            let op = if decided { Operator::Or } else { Operator::And };
            if let (Some(tested), Some(whole)) =
                (when.downcast_ref::<BinaryExpr>(), then.downcast_ref::<BinaryExpr>())
                && *tested.op() == Operator::IsDistinctFrom
                && *whole.op() == op
                && tested.left() == whole.left()
            {
                return Some(Arc::clone(then));
            }
            if decided {
                return None;
            }
            (op, then)
        }
        (Some(true), None) => (Operator::Or, other),
        _ => return None,
    };
    Some(Arc::new(BinaryExpr::new(Arc::clone(when), op, Arc::clone(right))))
}
