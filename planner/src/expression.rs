//! Expressions bound on their own: computed columns, watermarks and bodies of functions.

use arrow::datatypes::{FieldRef, Schema};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::Expr as BoundExpr;
use sqlparser::ast::{Expr, Spanned};

use crate::bind::bind_expression;
use crate::coerce::typed_expression;
use crate::diagnose::from_datafusion_in;
use crate::error::{SqlError, SqlErrorCode, SqlErrors};
use crate::session::QueryContext;

/// Returns the type of an expression over columns, and whether it may be null: those that a query
/// gives it, where its parts have been given common types.
///
/// # Errors
/// The first type error, or that it is not an expression of one row.
pub(crate) fn expression_type(
    context: QueryContext<'_>,
    expr: &Expr,
    schema: &Schema,
) -> std::result::Result<FieldRef, SqlErrors> {
    let place = |error| from_datafusion_in(&error, expr);
    let schema = DFSchema::try_from(schema.clone()).map_err(place)?;
    let bound = bind_expression(context, expr, &schema).map_err(place)?;
    if bound.exists(|part| Ok(is_not_of_one_row(part))).unwrap_or(false) {
        let message = format!("'{expr}' is not an expression of one row");
        return Err(SqlError::at(SqlErrorCode::InvalidStatement, expr.span(), message)
            .with_help("aggregates, OVER and subqueries cannot stand here")
            .into());
    }
    let typed = typed_expression(bound, schema, context);
    typed.map(|(_, column)| column).map_err(place)
}

fn is_not_of_one_row(expr: &BoundExpr) -> bool {
    matches!(
        expr,
        BoundExpr::AggregateFunction(_)
            | BoundExpr::WindowFunction(_)
            | BoundExpr::ScalarSubquery(_)
            | BoundExpr::InSubquery(_)
            | BoundExpr::Exists(_)
    )
}

#[cfg(test)]
mod tests;
