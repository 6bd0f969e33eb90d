//! What AND, OR and CASE need not evaluate must not fail.
//!
//! DataFusion evaluates the right side of an AND for all rows unless nearly all of them are told by
//! the left one, and makes ANDs and ORs of a CASE of truth values. So where a right side can fail,
//! it becomes the arm of a CASE, which is evaluated for its own rows alone, unless the left side is
//! volatile, or may be null and is long: it would be written twice. This is the last thing that is
//! done to expressions: rules before it would undo it.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::{
    BinaryExpr, Case, Expr, ExprSchemable, LogicalPlan, Operator, SortExpr,
};

use super::fallible::{can_fail, node_can_fail};
use crate::walk::each_expression;

/// What is asked of a truth value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Its value, which may be null.
    Value,
    /// Whether it is true, as of a condition.
    Truth,
}

/// Guards what can fail in all expressions of an optimised plan.
///
/// # Errors
/// None of its own.
pub(crate) fn guarded(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        let is_condition = matches!(plan, LogicalPlan::Filter(_));
        let asked = if is_condition { Asked::Truth } else { Asked::Value };
        each_expression(plan, |expr, schema| Ok(Transformed::yes(lazy(expr, schema, asked)?)))
    })?;
    Ok(rewritten.data)
}

/// Keeps an aggregate's argument from being evaluated for rows that its FILTER leaves out.
pub(crate) fn filtered(argument: Expr, filter: Option<&Expr>, schema: &DFSchema) -> Expr {
    match filter {
        Some(filter) if !filter.is_volatile() && can_fail(&argument, schema) => {
            let arm = (Box::new(filter.clone()), Box::new(argument));
            Expr::Case(Case::new(None, vec![arm], None))
        }
        _ => argument,
    }
}

/// Guards what can fail in an expression.
///
/// # Errors
/// None of its own.
pub(crate) fn lazy(expr: Expr, schema: &DFSchema, asked: Asked) -> Result<Expr> {
    let is_lazy = |part: &Expr| match part {
        Expr::BinaryExpr(binary) => is_logic(binary.op),
        Expr::AggregateFunction(call) => call.params.filter.is_some(),
        Expr::WindowFunction(call) => call.params.filter.is_some(),
        _ => false,
    };
    if !expr.exists(|part| Ok(is_lazy(part)))? {
        return Ok(expr);
    }
    Ok(Walk { schema }.expr(expr, asked)?.0)
}

fn is_logic(op: Operator) -> bool {
    matches!(op, Operator::And | Operator::Or)
}

/// Beyond this many nodes nothing is written twice.
const REPEATED_NODES_MAX: usize = 200;

struct Walk<'a> {
    schema: &'a DFSchema,
}

/// An expression, and whether evaluating it can fail.
type Tried = (Expr, bool);

impl Walk<'_> {
    fn expr(&self, expr: Expr, asked: Asked) -> Result<Tried> {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_logic(op) => {
                let mut parts = Vec::new();
                flatten(*left, op, &mut parts);
                flatten(*right, op, &mut parts);
                let parts =
                    parts.into_iter().map(|part| self.expr(part, asked)).collect::<Result<_>>()?;
                Ok(self.chain(op, parts, asked))
            }
            Expr::Case(Case { expr: None, when_then_expr, else_expr }) => {
                let mut fails = false;
                let mut part = |expr: Box<Expr>, asked| -> Result<Box<Expr>> {
                    let (expr, part_fails) = self.expr(*expr, asked)?;
                    fails |= part_fails;
                    Ok(Box::new(expr))
                };
                let arms = when_then_expr
                    .into_iter()
                    .map(|(when, then)| Ok((part(when, Asked::Truth)?, part(then, Asked::Value)?)))
                    .collect::<Result<_>>()?;
                let other = else_expr.map(|other| part(other, Asked::Value)).transpose()?;
                Ok((Expr::Case(Case::new(None, arms, other)), fails))
            }
            Expr::AggregateFunction(mut call) if call.params.filter.is_some() => {
                let params = &mut call.params;
                self.filtered(&mut params.filter, &mut params.args, &mut params.order_by)?;
                Ok((Expr::AggregateFunction(call), true))
            }
            Expr::WindowFunction(mut call) if call.params.filter.is_some() => {
                let params = &mut call.params;
                // What it is ordered by is of all rows.
                self.filtered(&mut params.filter, &mut params.args, &mut Vec::new())?;
                Ok((Expr::WindowFunction(call), true))
            }
            other => {
                let mut fails = node_can_fail(&other, self.schema);
                let mapped = other.map_children(|child| {
                    let (child, child_fails) = self.expr(child, Asked::Value)?;
                    fails |= child_fails;
                    Ok(Transformed::yes(child))
                })?;
                Ok((mapped.data, fails))
            }
        }
    }

    /// Guards the arguments of an aggregate, and what sorts them, by its FILTER.
    fn filtered(
        &self,
        filter: &mut Option<Box<Expr>>,
        args: &mut [Expr],
        order_by: &mut [SortExpr],
    ) -> Result<()> {
        let condition = filter.take();
        for arg in args.iter_mut().chain(order_by.iter_mut().map(|key| &mut key.expr)) {
            let guarded = filtered(std::mem::take(arg), condition.as_deref(), self.schema);
            *arg = self.expr(guarded, Asked::Value)?.0;
        }
        let condition = condition.map(|condition| self.expr(*condition, Asked::Truth));
        *filter = condition.transpose()?.map(|(condition, _)| Box::new(condition));
        Ok(())
    }

    /// Puts the parts of ANDs or of ORs together again, those guarded that can fail.
    fn chain(&self, op: Operator, mut parts: Vec<Tried>, asked: Asked) -> Tried {
        if op == Operator::And && asked == Asked::Truth {
            // Conditions may come in any order, and are not in that in which they were written
            // where one query stands in another. Those that cannot fail guard the others.
            parts.sort_by_key(|(_, fails)| *fails);
        }
        let Some((mut rest, mut fails)) = parts.pop() else {
            return (literal(op == Operator::And), false);
        };
        while let Some((part, part_fails)) = parts.pop() {
            // Parts that cannot fail stay together.
            let first = (0..parts.len()).rev().take_while(|at| !parts[*at].1).last();
            let first = first.filter(|_| !part_fails).unwrap_or(parts.len());
            let before = parts.drain(first..).map(|(part, _)| part);
            let left = together(op, before.chain([part]));
            let guards = fails;
            rest = if guards { self.guard(op, left, rest, asked) } else { binary(left, op, rest) };
            fails |= part_fails;
        }
        (rest, fails)
    }

    /// Evaluates the right side only where the left one does not say enough.
    fn guard(&self, op: Operator, left: Expr, right: Expr, asked: Asked) -> Expr {
        let is_and = op == Operator::And;
        if asked == Asked::Truth || !left.nullable(self.schema).unwrap_or(true) {
            return if is_and {
                case(left, right, literal(false))
            } else {
                case(left, literal(true), right)
            };
        }
        if left.is_volatile() || nodes(&left) > REPEATED_NODES_MAX {
            return binary(left, op, right);
        }
        let undecided = Box::new(left.clone());
        let undecided =
            if is_and { Expr::IsNotFalse(undecided) } else { Expr::IsNotTrue(undecided) };
        case(undecided, binary(left, op, right), literal(!is_and))
    }
}

/// Takes ANDs of ANDs apart, or ORs of ORs.
fn flatten(expr: Expr, op: Operator, parts: &mut Vec<Expr>) {
    let mut rights = Vec::new();
    let mut left = expr;
    loop {
        match left {
            Expr::BinaryExpr(binary) if binary.op == op => {
                rights.push(*binary.right);
                left = *binary.left;
            }
            first => {
                parts.push(first);
                break;
            }
        }
    }
    for right in rights.into_iter().rev() {
        flatten(right, op, parts);
    }
}

fn together(op: Operator, parts: impl Iterator<Item = Expr>) -> Expr {
    parts.reduce(|left, right| binary(left, op, right)).unwrap_or_default()
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

fn case(when: Expr, then: Expr, other: Expr) -> Expr {
    Expr::Case(Case::new(None, vec![(Box::new(when), Box::new(then))], Some(Box::new(other))))
}

fn literal(truth: bool) -> Expr {
    Expr::Literal(ScalarValue::Boolean(Some(truth)), None)
}

fn nodes(expr: &Expr) -> usize {
    let mut count = 0;
    // Walking an expression fails only where the visitor does.
    let _ = expr.apply(|_| {
        count += 1;
        Ok(TreeNodeRecursion::Continue)
    });
    count
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::prelude::{col, lit};

    use super::*;

    #[track_caller]
    fn check(expr: Expr, asked: Asked, expected: &str) {
        let fields = ["a", "b"].map(|name| Field::new(name, DataType::Int32, name == "a"));
        let schema = DFSchema::try_from(Schema::new(fields.to_vec())).unwrap();
        assert_eq!(lazy(expr, &schema, asked).unwrap().to_string(), expected);
    }

    fn quotient() -> Expr {
        (col("a") / col("b")).gt(lit(1))
    }

    #[test]
    fn what_can_fail_is_evaluated_where_nothing_else_decides() {
        check(
            col("b").not_eq(lit(0)).and(quotient()),
            Asked::Value,
            "CASE WHEN b != Int32(0) THEN a / b > Int32(1) ELSE Boolean(false) END",
        );
        check(
            col("b").eq(lit(0)).or(quotient()),
            Asked::Value,
            "CASE WHEN b = Int32(0) THEN Boolean(true) ELSE a / b > Int32(1) END",
        );
    }

    #[test]
    fn nulls_on_the_left_are_nulls_of_the_whole() {
        check(
            col("a").gt(lit(0)).and(quotient()),
            Asked::Value,
            "CASE WHEN a > Int32(0) IS NOT FALSE THEN a > Int32(0) AND a / b > Int32(1) ELSE \
             Boolean(false) END",
        );
        check(
            col("a").gt(lit(0)).and(quotient()),
            Asked::Truth,
            "CASE WHEN a > Int32(0) THEN a / b > Int32(1) ELSE Boolean(false) END",
        );
    }

    #[test]
    fn conditions_that_cannot_fail_come_first() {
        check(
            quotient().and(col("b").not_eq(lit(0))).and(col("a").gt(lit(0))),
            Asked::Truth,
            "CASE WHEN b != Int32(0) AND a > Int32(0) THEN a / b > Int32(1) ELSE Boolean(false) \
             END",
        );
    }

    #[test]
    fn what_cannot_fail_stays_as_it_is() {
        let third = (col("a") / lit(3)).gt(lit(1));
        let both = col("b").not_eq(lit(0)).and(third).and(col("a").gt(lit(0)));
        check(both, Asked::Value, "b != Int32(0) AND a / Int32(3) > Int32(1) AND a > Int32(0)");
    }
}
