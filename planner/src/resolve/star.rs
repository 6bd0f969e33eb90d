//! What `*` stands for: the columns of a FROM clause, in SQL's order.

use sqlparser::ast::{Ident, JoinConstraint, JoinOperator, ObjectNamePart};
use sqlparser::tokenizer::Span;

use sqlparser::ast::{Expr, SelectItem};

use super::relation::constraint;
use super::scope::{RelationScope, Scope};

/// A column that `*` gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// The index of its relation in the scope.
    relation: usize,
    name: String,
}

/// Returns all columns of a relation, the one at `index` of its scope.
pub(super) fn of_relation(index: usize, relation: &RelationScope) -> Vec<Shown> {
    let names = relation.columns.names();
    names.map(|name| Shown { relation: index, name: name.to_owned() }).collect()
}

/// Returns the columns of a join. Those that USING or NATURAL makes one come first, from the left
/// side; a semi or anti join shows only one of its sides.
pub(super) fn of_join(
    operator: &mut JoinOperator,
    left: Vec<Shown>,
    mut right: Vec<Shown>,
) -> Vec<Shown> {
    let merged = merged(operator, &left, &right);
    match operator {
        JoinOperator::Semi(_)
        | JoinOperator::LeftSemi(_)
        | JoinOperator::Anti(_)
        | JoinOperator::LeftAnti(_) => return left,
        JoinOperator::RightSemi(_) | JoinOperator::RightAnti(_) => return right,
        _ => {}
    }
    let (mut columns, rest): (Vec<_>, Vec<_>) =
        left.into_iter().partition(|column| merged.contains(&column.name));
    columns.sort_by_key(|column| merged.iter().position(|name| *name == column.name));
    right.retain(|column| !merged.contains(&column.name));
    columns.extend(rest);
    columns.extend(right);
    columns
}

/// Returns the names of the columns that a join makes one: those of USING as they are written,
/// those of NATURAL in the order of the left side.
fn merged(operator: &mut JoinOperator, left: &[Shown], right: &[Shown]) -> Vec<String> {
    let in_both = |name: &str| {
        let has = |side: &[Shown]| side.iter().any(|column| column.name == name);
        has(left) && has(right)
    };
    match constraint(operator) {
        Some(JoinConstraint::Using(names)) => names
            .iter()
            .filter_map(|name| match name.0.as_slice() {
                [ObjectNamePart::Identifier(name)] => Some(name.value.clone()),
                _ => None,
            })
            .filter(|name| in_both(name))
            .collect(),
        Some(JoinConstraint::Natural) => {
            left.iter().map(|column| column.name.clone()).filter(|name| in_both(name)).collect()
        }
        _ => Vec::new(),
    }
}

/// Writes the columns of several relations out; `None` where only binding knows them all.
pub(super) fn written_out(span: Span, scope: &Scope<'_>) -> Option<Vec<SelectItem>> {
    let named = |column: &Shown| named(&scope.relations[column.relation], &column.name, span);
    // What a semi join hides needs no name.
    let is_known = |index: usize| {
        let relation = &scope.relations[index];
        relation.qualifier.is_some() && !relation.columns.open
    };
    let all_known = (0..scope.relations.len()).all(is_known);
    if scope.relations.len() < 2 || !all_known {
        return None;
    }
    scope.shown.iter().map(named).collect()
}

/// Writes the columns of one relation out; `None` where only binding knows them all.
pub(super) fn of_one(relation: &RelationScope, span: Span) -> Option<Vec<SelectItem>> {
    if relation.columns.open {
        return None;
    }
    relation.columns.names().map(|name| named(relation, name, span)).collect()
}

fn named(relation: &RelationScope, name: &str, span: Span) -> Option<SelectItem> {
    let exactly = |name: &str| Ident { value: name.to_owned(), quote_style: Some('`'), span };
    let names = vec![exactly(relation.qualifier.as_ref()?), exactly(name)];
    Some(SelectItem::UnnamedExpr(Expr::CompoundIdentifier(names)))
}
