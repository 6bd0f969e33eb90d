//! `t CROSS JOIN UNNEST(t.tags) AS u (tag)`: each row of the left side once for each element.
//!
//! DataFusion binds it as a join with a subquery over no rows that reads the other side, and has
//! nothing that runs it. It is an UNNEST over the left side.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ScalarValue, UnnestOptions};
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Expr, ExprSchemable, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Projection,
    Unnest, lit, when,
};
use rainstorm_engine::function::Registry;

/// Rewrites such a join. Others stay, and are refused where they are not supported.
///
/// # Errors
/// None of its own.
pub(super) fn of_node(plan: LogicalPlan, functions: &Registry) -> Result<Transformed<LogicalPlan>> {
    if let LogicalPlan::Join(join) = &plan
        && let Some(elements) = Elements::of(join)
        && let Some(unnested) = elements.over(join, functions)?
    {
        return Ok(Transformed::yes(unnested));
    }
    Ok(Transformed::no(plan))
}

/// What an UNNEST in FROM returns: the columns of a projection of the elements of one array.
struct Elements<'a> {
    array: &'a Expr,
    /// What the elements are called in the projection.
    element: &'a Column,
    columns: &'a [Expr],
}

impl<'a> Elements<'a> {
    fn of(join: &'a Join) -> Option<Self> {
        let is_cross =
            join.on.is_empty() && join.filter.as_ref().is_none_or(|filter| *filter == lit(true));
        // Without a partner a row of the left side is to be shown: a condition is more than a filter.
        if !(join.join_type == JoinType::Inner || join.join_type == JoinType::Left && is_cross) {
            return None;
        }
        // Names of the relation and of its columns come on top.
        let mut right = join.right.as_ref();
        loop {
            right = match right {
                LogicalPlan::SubqueryAlias(alias) => &alias.input,
                LogicalPlan::Subquery(subquery) => &subquery.subquery,
                LogicalPlan::Projection(names) if is_renaming(names) => &names.input,
                _ => break,
            };
        }
        let LogicalPlan::Projection(projection) = right else { return None };
        let LogicalPlan::Unnest(unnest) = projection.input.as_ref() else { return None };
        let (array, element) = array_of(unnest)?;
        Some(Self { array, element, columns: &projection.expr })
    }

    /// Builds it over the left side, `None` where it is not the right side's array.
    fn over(&self, join: &Join, functions: &Registry) -> Result<Option<LogicalPlan>> {
        let left = join.left.schema();
        let name = ELEMENT;
        let array = of_left(self.array.clone())?;
        if array.get_type(left).is_err() {
            return Ok(None);
        }
        let keeps_rows = join.join_type == JoinType::Left;
        let array = if keeps_rows { null_if_empty(array, functions)? } else { array };
        let columns = left.columns().into_iter().map(Expr::Column);
        let with_array = LogicalPlanBuilder::from(Arc::unwrap_or_clone(Arc::clone(&join.left)))
            .project(columns.chain([array.alias(name)]))?;
        let options = UnnestOptions::new().with_preserve_nulls(keeps_rows);
        let element = Expr::Column(Column::new_unqualified(name));
        let unnested = with_array
            .unnest_columns_with_options(vec![Column::new_unqualified(name)], options)?
            .build()?;
        let mut columns: Vec<Expr> = left.columns().into_iter().map(Expr::Column).collect();
        for (column, (qualifier, field)) in self.columns.iter().zip(join.right.schema().iter()) {
            let computed =
                column.clone().unalias_nested().data.transform_up(|part| match part {
                    Expr::Column(column) if column == *self.element => {
                        Ok(Transformed::yes(element.clone()))
                    }
                    part => Ok(Transformed::no(part)),
                })?;
            columns.push(computed.data.alias_qualified(qualifier.cloned(), field.name()));
        }
        let projection = Projection::try_new(columns, Arc::new(unnested))?;
        let projection = LogicalPlan::Projection(projection);
        let equal = join.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
        Ok(Some(match conjunction(equal.chain(join.filter.clone())) {
            Some(condition) => LogicalPlan::Filter(Filter::try_new(condition, projection.into())?),
            None => projection,
        }))
    }
}

/// What the elements are called on the way.
const ELEMENT: &str = "__element";

/// Makes an array without elements NULL, of which a row stays where nulls are preserved.
fn null_if_empty(array: Expr, functions: &Registry) -> Result<Expr> {
    let is_empty = functions.udf("cardinality")?.call(vec![array.clone()]).eq(lit(0_u64));
    when(is_empty, Expr::Literal(ScalarValue::Null, None)).otherwise(array)
}

/// Tells whether a projection gives names alone.
fn is_renaming(projection: &Projection) -> bool {
    let columns = projection.input.schema().columns();
    let is_column = |(expr, column): (&Expr, Column)| match expr {
        Expr::Alias(alias) => *alias.expr == Expr::Column(column),
        expr => *expr == Expr::Column(column),
    };
    let is_same = projection.expr.len() == columns.len();
    let unnests = matches!(projection.input.as_ref(), LogicalPlan::Unnest(_));
    is_same && !unnests && projection.expr.iter().zip(columns).all(is_column)
}

/// Returns the one array that is unnested, over no rows, and what its elements are called.
fn array_of(unnest: &Unnest) -> Option<(&Expr, &Column)> {
    let [(index, list)] = unnest.list_type_columns.as_slice() else { return None };
    let LogicalPlan::Projection(arrays) = unnest.input.as_ref() else { return None };
    let is_of_no_rows = matches!(arrays.input.as_ref(), LogicalPlan::EmptyRelation(_));
    let is_alone = arrays.expr.len() == 1 && unnest.struct_type_columns.is_empty();
    (is_of_no_rows && is_alone && list.depth == 1)
        .then(|| Some((arrays.expr.get(*index)?, &list.output_column)))
        .flatten()
}

/// Reads the columns of an outer query as those of the left side.
fn of_left(expr: Expr) -> Result<Expr> {
    let replaced = expr.unalias_nested().data.transform_up(|part| match part {
        Expr::OuterReferenceColumn(_, column) => Ok(Transformed::yes(Expr::Column(column))),
        part => Ok(Transformed::no(part)),
    })?;
    Ok(replaced.data)
}
