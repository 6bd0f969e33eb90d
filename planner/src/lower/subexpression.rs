//! What several expressions compute alike is computed once.
//!
//! DataFusion's own rule would put a projection right above the table, which then has to pass
//! whole structs; here the columns that are read are settled already.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use datafusion::common::Column;
use datafusion::common::cse::HashNode;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{BinaryExpr, Case, Expr, Operator};

use super::site::is_cheap;

/// Beyond this many nodes of expressions nothing is looked for: the search is quadratic.
const NODES_MAX: usize = 2000;

/// Expressions and their parts, each once. Equal ones have equal hashes: expressions are compared
/// where their hashes are equal only, since they can be deep.
#[derive(Debug, Default)]
struct Occurrences<'a> {
    found: Vec<Occurrence<'a>>,
    by_hash: HashMap<u64, Vec<usize>>,
}

/// An expression's number of nodes, and a hash of all of them.
#[derive(Debug, Clone, Copy)]
struct Counted {
    nodes: usize,
    hash: u64,
}

/// How often an expression occurs.
#[derive(Debug)]
struct Occurrence<'a> {
    expr: &'a Expr,
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
        let mut occurrences = Occurrences::default();
        for expr in exprs.iter() {
            occurrences.count(expr, true)?;
        }
        for expr in later.iter() {
            occurrences.count(expr, false)?;
        }
        let found = occurrences.found;
        if found.iter().map(|occurrence| occurrence.total).sum::<usize>() > NODES_MAX {
            return Ok(parts);
        }
        let repeated =
            found.into_iter().filter(|occurrence| occurrence.total > 1 && occurrence.certain > 0);
        let Some(largest) = repeated.max_by_key(|occurrence| occurrence.nodes) else {
            return Ok(parts);
        };
        let largest = largest.expr.clone();
        let column = Expr::Column(Column::new_unqualified(name(parts.len())));
        for expr in exprs.iter_mut().chain(later.iter_mut()) {
            *expr = replaced(std::mem::take(expr), &largest, &column)?;
        }
        parts.push(largest);
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

impl<'a> Occurrences<'a> {
    /// Counts an expression and its parts. `certain` tells whether it is evaluated for every row.
    fn count(&mut self, expr: &'a Expr, certain: bool) -> Result<Counted> {
        let mut hasher = DefaultHasher::new();
        if is_cheap(expr) || expr.is_volatile() {
            expr.hash(&mut hasher);
            return Ok(Counted { nodes: 1, hash: hasher.finish() });
        }
        expr.hash_node(&mut hasher);
        let mut nodes = 1;
        let mut add = |part: Counted| {
            nodes += part.nodes;
            part.hash.hash(&mut hasher);
        };
        match expr {
            // The right side may not be evaluated where the left one says enough.
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
                add(self.count(left, certain)?);
                add(self.count(right, false)?);
            }
            Expr::Case(case) => self.count_case(case, certain, &mut add)?,
            other => other
                .apply_children(|child| {
                    add(self.count(child, certain)?);
                    Ok(TreeNodeRecursion::Continue)
                })
                .map(|_| ())?,
        }
        let counted = Counted { nodes, hash: hasher.finish() };
        self.add(expr, counted, certain);
        Ok(counted)
    }

    /// Of a CASE only the operand and the first condition are evaluated in any case.
    fn count_case(
        &mut self,
        case: &'a Case,
        certain: bool,
        add: &mut impl FnMut(Counted),
    ) -> Result<()> {
        if let Some(operand) = &case.expr {
            add(self.count(operand, certain)?);
        }
        for (index, (when, then)) in case.when_then_expr.iter().enumerate() {
            add(self.count(when, certain && index == 0)?);
            add(self.count(then, false)?);
        }
        if let Some(value) = &case.else_expr {
            add(self.count(value, false)?);
        }
        Ok(())
    }

    fn add(&mut self, expr: &'a Expr, Counted { nodes, hash }: Counted, certain: bool) {
        let alike = self.by_hash.entry(hash).or_default();
        if let Some(index) = alike.iter().find(|index| self.found[**index].expr == expr) {
            let occurrence = &mut self.found[*index];
            occurrence.total += 1;
            occurrence.certain += usize::from(certain);
            return;
        }
        alike.push(self.found.len());
        let certain = usize::from(certain);
        self.found.push(Occurrence { expr, nodes, total: 1, certain });
    }
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
