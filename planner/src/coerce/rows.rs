//! Casts of rows: by position, as in SQL. DataFusion casts them by the names of their fields.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable};
use rainstorm_engine::function::{RENAME_FIELDS, Registry, TO_COARSER, gets_coarser, renamed};

/// Names the fields of what is cast to rows as the wanted type has them.
///
/// # Errors
/// Expressions that have no type.
pub(super) fn of_expr(
    expr: Expr,
    schema: &DFSchema,
    functions: &Registry,
) -> Result<Transformed<Expr>> {
    match expr {
        Expr::Cast(cast) if cast.field.data_type().is_nested() => {
            let from = cast.expr.get_type(schema)?;
            let to = cast.field.data_type().clone();
            if renamed(&from, &to) == from {
                return Ok(Transformed::no(Expr::Cast(cast)));
            }
            by_position(*cast.expr, &from, &to, functions).map(Transformed::yes)
        }
        expr => Ok(Transformed::no(expr)),
    }
}

/// Casts an expression of one type to another, rows in it by position; times get coarser downwards.
///
/// # Errors
/// Types that no value has.
pub(crate) fn by_position(
    expr: Expr,
    from: &DataType,
    to: &DataType,
    functions: &Registry,
) -> Result<Expr> {
    let expr = renamed_to(expr, from, to, functions)?;
    if gets_coarser(from, to) {
        let wanted = Expr::Literal(ScalarValue::try_from(to)?, None);
        return Ok(functions.udf(TO_COARSER)?.call(vec![expr, wanted]));
    }
    Ok(Expr::Cast(Cast::new(Box::new(expr), to.clone())))
}

/// Names the fields of an expression of one type as another type has them.
///
/// # Errors
/// Types that no value has.
pub(crate) fn renamed_to(
    expr: Expr,
    from: &DataType,
    to: &DataType,
    functions: &Registry,
) -> Result<Expr> {
    if renamed(from, to) == *from {
        return Ok(expr);
    }
    let wanted = Expr::Literal(ScalarValue::try_from(to)?, None);
    Ok(functions.udf(RENAME_FIELDS)?.call(vec![expr, wanted]))
}

/// Tells whether rows can be cast: none has more fields than the other.
pub(crate) fn same_shape(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Struct(from), DataType::Struct(to)) => {
            from.len() == to.len()
                && from
                    .iter()
                    .zip(to)
                    .all(|(from, to)| same_shape(from.data_type(), to.data_type()))
        }
        (DataType::List(from), DataType::List(to))
        | (DataType::Map(from, _), DataType::Map(to, _)) => {
            same_shape(from.data_type(), to.data_type())
        }
        _ => true,
    }
}
