//! Arithmetic that does not fit its type is an error.
//!
//! DataFusion's operators wrap around, and what tells them not to is not shipped. In their place
//! come functions of the engine. One walk from the leaves up hands types along, since asking each
//! level of a long sum for its type would be quadratic.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};
use rainstorm_engine::function::{Arithmetic, Registry};

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
            Ok(match Arithmetic::of(call.func.name()) {
                Some(arithmetic) => Transformed::yes(operators(arithmetic, call.args.clone())),
                None => Transformed::no(expr),
            })
        })
    })?;
    Ok(written.data)
}

fn operators(arithmetic: Arithmetic, args: Vec<Expr>) -> Expr {
    let is_negation = args.len() == 1;
    let between = |left, right| {
        Expr::BinaryExpr(BinaryExpr::new(Box::new(left), arithmetic.operator(), Box::new(right)))
    };
    let written = args.into_iter().reduce(between).unwrap_or_default();
    if is_negation { Expr::Negative(Box::new(written)) } else { written }
}

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

    /// Adds an operator to a chain of the same. What is constant stays by itself, so that it is
    /// computed when the query is planned.
    fn chain(&self, arithmetic: Arithmetic, left: Expr, right: Expr) -> Result<Expr> {
        let is_literal = |expr: &Expr| matches!(expr, Expr::Literal(..));
        match left {
            Expr::ScalarFunction(mut call)
                if call.func.name() == arithmetic.name() && !call.args.iter().all(is_literal) =>
            {
                call.args.push(right);
                Ok(Expr::ScalarFunction(call))
            }
            left => self.call(arithmetic, vec![left, right]),
        }
    }

    fn call(&self, arithmetic: Arithmetic, args: Vec<Expr>) -> Result<Expr> {
        let function = self.functions.udf(arithmetic.name())?;
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&function), args)))
    }
}

fn is_arithmetic(op: Operator) -> bool {
    matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide)
}
