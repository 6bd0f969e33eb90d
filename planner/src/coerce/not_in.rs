//! `x NOT IN (SELECT y …)` as what it means: no row of the query makes `y = x` true or unknown.
//!
//! DataFusion makes an anti join of it that takes nulls into account over the whole of both sides,
//! which is not what it means where the query is correlated: there a null counts among the rows
//! that belong together only, such as those of a window. And only the batch engine has that join.

use std::sync::Arc;

use datafusion::common::DFSchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::{
    Expr, ExprSchemable, Filter, LogicalPlan, LogicalPlanBuilder, Subquery,
};

use super::Engine;

/// Rewrites the condition of a filter.
///
/// # Errors
/// Conditions that have no type.
pub(super) fn of_node(plan: LogicalPlan, engine: Engine) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Filter(Filter { predicate, input, .. }) = plan else {
        return Ok(Transformed::no(plan));
    };
    let schema = Arc::clone(input.schema());
    let is_left =
        |test: &InSubquery| engine == Engine::Batch && test.subquery.outer_ref_columns.is_empty();
    let predicate = predicate.transform_up(|expr| match expr {
        Expr::InSubquery(test) if is_left(&test) => Ok(Transformed::no(Expr::InSubquery(test))),
        Expr::InSubquery(test) if test.negated => as_not_exists(test, &schema),
        // NOT (x IN (…)) is another way to write it.
        Expr::Not(inner) => match *inner {
            Expr::InSubquery(test) if !test.negated && !is_left(&test) => {
                as_not_exists(test, &schema)
            }
            inner => Ok(Transformed::no(Expr::Not(Box::new(inner)))),
        },
        other => Ok(Transformed::no(other)),
    })?;
    predicate.map_data(|predicate| Filter::try_new(predicate, input).map(LogicalPlan::Filter))
}

/// What cannot be null is compared for equality, which is cheaper.
fn as_not_exists(test: InSubquery, schema: &DFSchemaRef) -> Result<Transformed<Expr>> {
    let InSubquery { expr, subquery, .. } = test;
    let of_query = subquery.subquery.schema();
    let column = Expr::Column(of_query.columns().swap_remove(0));
    if !of_query.field(0).is_nullable() && !expr.nullable(schema)? {
        return Ok(Transformed::no(Expr::InSubquery(InSubquery { expr, subquery, negated: true })));
    }
    let mut outer_columns = subquery.outer_ref_columns.clone();
    let outer = expr.transform_up(|part| match part {
        Expr::Column(column) => {
            let (_, field) = Expr::Column(column.clone()).to_field(schema)?;
            let outer = Expr::OuterReferenceColumn(field, column);
            outer_columns.push(outer.clone());
            Ok(Transformed::yes(outer))
        }
        other => Ok(Transformed::no(other)),
    })?;
    let may_match = Expr::IsNotFalse(Box::new(column.eq(outer.data)));
    let plan = LogicalPlanBuilder::from(subquery.subquery).filter(may_match)?.build()?;
    let subquery = Subquery {
        subquery: Arc::new(plan),
        outer_ref_columns: outer_columns,
        spans: subquery.spans,
    };
    Ok(Transformed::yes(Expr::Exists(Exists { subquery, negated: true })))
}
