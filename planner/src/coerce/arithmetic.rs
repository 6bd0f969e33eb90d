//! Arithmetic that does not fit its type is an error.
//!
//! DataFusion's operators wrap around, and what tells them not to is not shipped. In their place
//! come functions of the engine. One walk from the leaves up hands types along, since asking each
//! level of a long sum for its type would be quadratic.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator};
use rainstorm_engine::function::{
    Arithmetic, CHECKED_CHAIN, LINK, Registry, chain_operators, operators_of_chain,
};

use super::depth::is_link;
use crate::settings::Overflow;
use crate::walk::each_expression;

/// Puts functions that fail where a result does not fit in the place of operators, in a plan whose
/// types are coerced. Whole numbers may be left to wrap around.
///
/// # Errors
/// Expressions that have no type.
pub(super) fn checked(
    plan: LogicalPlan,
    functions: &Registry,
    overflow: Overflow,
) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        each_expression(plan, |expr, schema| Ok(Walk { functions, schema, overflow }.expr(expr)?.0))
    })?;
    Ok(rewritten.data)
}

/// Writes a node's functions as the operators that they stand for.
///
/// # Errors
/// None of its own.
pub(crate) fn as_written(plan: LogicalPlan) -> Result<LogicalPlan> {
    let written = plan.map_expressions(|expr| {
        expr.transform_up(|expr| {
            let Expr::ScalarFunction(call) = &expr else { return Ok(Transformed::no(expr)) };
            Ok(match (Arithmetic::of(call.func.name()), operators_of(call)) {
                (Some(Arithmetic::Negate), _) => {
                    let operand = call.args.first().cloned().unwrap_or_default();
                    Transformed::yes(Expr::Negative(Box::new(operand)))
                }
                (_, Some((operators, operands))) => {
                    Transformed::yes(with_operators(&operators, operands))
                }
                _ => Transformed::no(expr),
            })
        })
    })?;
    Ok(written.data)
}

/// Returns the operators that a call stands for, and what they are between.
fn operators_of(call: &ScalarFunction) -> Option<(Vec<Arithmetic>, &[Expr])> {
    if call.func.name() == CHECKED_CHAIN {
        let (Expr::Literal(written, _), operands) = call.args.split_first()? else { return None };
        return Some((operators_of_chain(written)?, operands));
    }
    let arithmetic = Arithmetic::of(call.func.name())?;
    let operators = vec![arithmetic; call.args.len().checked_sub(1)?];
    (arithmetic != Arithmetic::Negate).then_some((operators, call.args.as_slice()))
}

fn with_operators(operators: &[Arithmetic], operands: &[Expr]) -> Expr {
    let mut operands = operands.iter().cloned();
    let first = operands.next().unwrap_or_default();
    operators.iter().zip(operands).fold(first, |left, (arithmetic, right)| {
        Expr::BinaryExpr(BinaryExpr::new(Box::new(left), arithmetic.operator(), Box::new(right)))
    })
}

/// How many operators of floating point arithmetic are one call: what is nested is shipped within
/// bounds. A few are faster by themselves.
const LONG_CHAIN: usize = 16;

struct Walk<'a> {
    functions: &'a Registry,
    schema: &'a DFSchema,
    overflow: Overflow,
}

/// An expression, and its type where that was found on the way.
type Typed = (Transformed<Expr>, Option<DataType>);

impl Walk<'_> {
    fn expr(&self, expr: Expr) -> Result<Typed> {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_arithmetic(op) => {
                let (left, left_type) = self.typed(*left)?;
                let (right, right_type) = self.typed(*right)?;
                let inside = left.transformed || right.transformed;
                let data_type =
                    BinaryTypeCoercer::new(&left_type, &op, &right_type).get_result_type().ok();
                let arithmetic = Arithmetic::of_operator(op, &left_type, &right_type)
                    .filter(|_| self.is_checked(&left_type));
                let (left, right) = (left.data, right.data);
                if left_type.is_floating()
                    && left_type == right_type
                    && let Some(symbol) = Arithmetic::of_symbol(op)
                {
                    return Ok((self.float_chain(symbol, left, right, inside)?, data_type));
                }
                if let Some(arithmetic) = arithmetic {
                    let checked = self.chain(arithmetic, left, right)?;
                    return Ok((Transformed::yes(checked), data_type));
                }
                let same = BinaryExpr::new(Box::new(left), op, Box::new(right));
                Ok((Transformed::new_transformed(Expr::BinaryExpr(same), inside), data_type))
            }
            Expr::Negative(inner) => {
                let (inner, data_type) = self.typed(*inner)?;
                if !data_type.is_integer() || !self.is_checked(&data_type) {
                    let same = inner.update_data(|inner| Expr::Negative(Box::new(inner)));
                    return Ok((same, Some(data_type)));
                }
                let negated = self.call(Arithmetic::Negate, vec![inner.data])?;
                Ok((Transformed::yes(negated), Some(data_type)))
            }
            Expr::ScalarFunction(mut link) if link.func.name() == LINK => {
                // It has done its work.
                let (inner, data_type) = self.expr(link.args.swap_remove(0))?;
                Ok((Transformed::yes(inner.data), data_type))
            }
            // Such a cast is one of ours, or makes no difference either.
            Expr::Cast(cast) if is_operation(&cast.expr) || is_link(&cast.expr) => {
                let data_type = cast.field.data_type().clone();
                let (inner, from) = self.typed(*cast.expr)?;
                if from == data_type {
                    return Ok((Transformed::yes(inner.data), Some(data_type)));
                }
                let cast = |inner| Expr::Cast(Cast { expr: Box::new(inner), field: cast.field });
                Ok((inner.update_data(cast), Some(data_type)))
            }
            other => Ok((other.map_children(|child| Ok(self.expr(child)?.0))?, None)),
        }
    }

    fn typed(&self, expr: Expr) -> Result<(Transformed<Expr>, DataType)> {
        let (expr, data_type) = self.expr(expr)?;
        let data_type = match data_type {
            Some(data_type) => data_type,
            None => expr.data.get_type(self.schema)?,
        };
        Ok((expr, data_type))
    }

    fn is_checked(&self, data_type: &DataType) -> bool {
        self.overflow == Overflow::Error || !data_type.is_integer()
    }

    /// Adds an operator to a chain of its like. What is constant stays by itself, so that it is
    /// computed when the query is planned.
    fn chain(&self, arithmetic: Arithmetic, left: Expr, right: Expr) -> Result<Expr> {
        let Expr::ScalarFunction(mut call) = left else {
            return self.call(arithmetic, vec![left, right]);
        };
        let is_literal = |expr: &Expr| matches!(expr, Expr::Literal(..));
        let extended = operators_of(&call).and_then(|(mut operators, operands)| {
            let goes_on = operators.iter().all(|before| before.chains_with(arithmetic));
            operators.push(arithmetic);
            (goes_on && !operands.iter().all(is_literal)).then_some(operators)
        });
        let Some(operators) = extended else {
            return self.call(arithmetic, vec![Expr::ScalarFunction(call), right]);
        };
        if call.func.name() == arithmetic.name() {
            call.args.push(right);
            return Ok(Expr::ScalarFunction(call));
        }
        if call.func.name() == CHECKED_CHAIN {
            call.args[0] = chain_operators(&operators);
            call.args.push(right);
            return Ok(Expr::ScalarFunction(call));
        }
        self.chain_of(&operators, call.args.into_iter().chain([right]))
    }

    /// Makes one call of floating point arithmetic that is no longer a short chain.
    fn float_chain(
        &self,
        last: Arithmetic,
        left: Expr,
        right: Expr,
        is_rewritten: bool,
    ) -> Result<Transformed<Expr>> {
        let goes_on = |call: &ScalarFunction| {
            let is_chain = call.func.name() == CHECKED_CHAIN;
            let operators = operators_of(call).filter(|_| is_chain).map(|(operators, _)| operators);
            operators.is_some_and(|operators| operators.iter().all(|it| it.chains_with(last)))
        };
        if matches!(&left, Expr::ScalarFunction(call) if goes_on(call)) {
            return self.chain(last, left, right).map(Transformed::yes);
        }
        let (mut operators, mut first) = (vec![last], &left);
        while let Some((inner, arithmetic, _)) = operation(first)
            && arithmetic.chains_with(last)
        {
            operators.push(arithmetic);
            first = inner;
        }
        if operators.len() < LONG_CHAIN {
            let (left, right) = (Box::new(left), Box::new(right));
            let same = Expr::BinaryExpr(BinaryExpr::new(left, last.operator(), right));
            return Ok(Transformed::new_transformed(same, is_rewritten));
        }
        let (mut operands, mut rest) = (vec![right], &left);
        for _ in 1..operators.len() {
            let Some((inner, _, operand)) = operation(rest) else { break };
            operands.push(operand.clone());
            rest = inner;
        }
        operands.push(rest.clone());
        operators.reverse();
        self.chain_of(&operators, operands.into_iter().rev()).map(Transformed::yes)
    }

    fn chain_of(
        &self,
        operators: &[Arithmetic],
        operands: impl Iterator<Item = Expr>,
    ) -> Result<Expr> {
        let args = std::iter::once(chain_operators(operators)).chain(operands).collect();
        let function = self.functions.udf(CHECKED_CHAIN)?;
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, args)))
    }

    fn call(&self, arithmetic: Arithmetic, args: Vec<Expr>) -> Result<Expr> {
        let function = self.functions.udf(arithmetic.name())?;
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, args)))
    }
}

/// Returns the parts of an operation.
fn operation(expr: &Expr) -> Option<(&Expr, Arithmetic, &Expr)> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            Some((left, Arithmetic::of_symbol(*op)?, right))
        }
        _ => None,
    }
}

fn is_operation(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryExpr(binary) if is_arithmetic(binary.op))
}

fn is_arithmetic(op: Operator) -> bool {
    Arithmetic::of_symbol(op).is_some()
}
