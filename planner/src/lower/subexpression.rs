//! What several expressions compute alike is computed once.
//!
//! DataFusion's own rule would put a projection right above the table, which then has to pass
//! whole structs; here the columns that are read are settled already.

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{BinaryExpr, Case, Expr, Operator};

use super::site::is_cheap;

/// Beyond this many nodes of expressions nothing is looked for: the search is quadratic.
const NODES_MAX: usize = 2000;

/// How often an expression occurs.
#[derive(Debug)]
struct Occurrence {
    expr: Expr,
    nodes: usize,
    total: usize,
    /// Occurrences that are evaluated for every row.
    certain: usize,
}

/// Takes out of `exprs` what occurs more than once, counting `later` ones, and is evaluated for
/// every row in any case. Returns the parts taken out; a column by the name that `name` gives to
/// a part's number stands for it.
pub(super) fn extract(
    exprs: &mut [Expr],
    later: &mut [Expr],
    name: impl Fn(usize) -> String,
) -> Result<Vec<Expr>> {
    let mut parts = Vec::new();
    loop {
        let mut found = Vec::new();
        for expr in exprs.iter() {
            count(expr, true, &mut found)?;
        }
        for expr in later.iter() {
            count(expr, false, &mut found)?;
        }
        if found.iter().map(|occurrence| occurrence.total).sum::<usize>() > NODES_MAX {
            return Ok(parts);
        }
        let repeated =
            found.into_iter().filter(|occurrence| occurrence.total > 1 && occurrence.certain > 0);
        let Some(largest) = repeated.max_by_key(|occurrence| occurrence.nodes) else {
            return Ok(parts);
        };
        let column = Expr::Column(Column::new_unqualified(name(parts.len())));
        for expr in exprs.iter_mut().chain(later.iter_mut()) {
            *expr = replaced(std::mem::take(expr), &largest.expr, &column)?;
        }
        parts.push(largest.expr);
    }
}

fn replaced(expr: Expr, part: &Expr, column: &Expr) -> Result<Expr> {
    let replaced = expr.transform_down(|expr| {
        Ok(if expr == *part {
            Transformed::new(column.clone(), true, TreeNodeRecursion::Jump)
        } else {
            Transformed::no(expr)
        })
    })?;
    Ok(replaced.data)
}

/// Counts an expression and its parts. `certain` tells whether it is evaluated for every row.
/// Returns its number of nodes.
fn count(expr: &Expr, certain: bool, found: &mut Vec<Occurrence>) -> Result<usize> {
    if is_cheap(expr) || expr.is_volatile() {
        return Ok(1);
    }
    let mut nodes = 1;
    match expr {
        // The right side may not be evaluated where the left one says enough.
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
            nodes += count(left, certain, found)?;
            nodes += count(right, false, found)?;
        }
        Expr::Case(case) => nodes += count_case(case, certain, found)?,
        other => other
            .apply_children(|child| {
                nodes += count(child, certain, found)?;
                Ok(TreeNodeRecursion::Continue)
            })
            .map(|_| ())?,
    }
    match found.iter_mut().find(|occurrence| occurrence.expr == *expr) {
        Some(occurrence) => {
            occurrence.total += 1;
            occurrence.certain += usize::from(certain);
        }
        None => found.push(Occurrence {
            expr: expr.clone(),
            nodes,
            total: 1,
            certain: usize::from(certain),
        }),
    }
    Ok(nodes)
}

/// Of a CASE only the operand and the first condition are evaluated in any case.
fn count_case(case: &Case, certain: bool, found: &mut Vec<Occurrence>) -> Result<usize> {
    let mut nodes = 0;
    if let Some(operand) = &case.expr {
        nodes += count(operand, certain, found)?;
    }
    for (index, (when, then)) in case.when_then_expr.iter().enumerate() {
        nodes += count(when, certain && index == 0, found)?;
        nodes += count(then, false, found)?;
    }
    if let Some(value) = &case.else_expr {
        nodes += count(value, false, found)?;
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit, when};

    use super::*;

    fn check(exprs: &[Expr], later: &[Expr], expected: &[&str]) {
        let (mut exprs, mut later) = (exprs.to_vec(), later.to_vec());
        let parts = extract(&mut exprs, &mut later, |part| format!("part{part}")).unwrap();
        let written = |exprs: &[Expr]| exprs.iter().map(ToString::to_string).collect::<Vec<_>>();
        let all = [written(&parts), written(&exprs), written(&later)].concat();
        assert_eq!(all, expected);
    }

    #[test]
    fn what_is_computed_twice_is_taken_out_whole() {
        let sum = col("a") + col("b");
        check(
            &[sum.clone() * lit(2), sum.clone() * lit(2) + lit(1)],
            &[sum],
            &["(a + b) * Int32(2)", "part0", "part0 + Int32(1)", "a + b"],
        );
    }

    #[test]
    fn what_may_not_be_evaluated_stays() {
        let quotient = col("a") / col("b");
        let guarded = when(col("b").not_eq(lit(0)), quotient.clone()).otherwise(lit(0)).unwrap();
        let both = col("b").not_eq(lit(0)).and(quotient.gt(lit(1)));
        check(
            &[guarded],
            &[both],
            &[
                "b != Int32(0)",
                "CASE WHEN part0 THEN a / b ELSE Int32(0) END",
                "part0 AND a / b > Int32(1)",
            ],
        );
    }
}
