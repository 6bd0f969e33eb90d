//! Casts of rows: by position, as in SQL. DataFusion casts them by the names of their fields.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan};
use rainstorm_engine::function::{RENAME_FIELDS, Registry, renamed};

/// Names the fields of what is cast to rows as the wanted type has them.
///
/// # Errors
/// Expressions that have no type.
pub(crate) fn cast_by_position(plan: LogicalPlan, functions: &Registry) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        let mut casts = false;
        plan.apply_expressions(|expr| {
            casts |= expr.exists(|part| Ok(matches!(part, Expr::Cast(cast) if is_nested(cast))))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        if !casts {
            return Ok(Transformed::no(plan));
        }
        let schema = merge_schema(&plan.inputs());
        let preserver = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = preserver.save(&expr);
            let rewritten = of_expr(expr, &schema, functions)?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })
    })?;
    Ok(rewritten.data)
}

/// Does the same in one expression.
///
/// # Errors
/// Expressions that have no type.
pub(crate) fn of_expr(
    expr: Expr,
    schema: &DFSchema,
    functions: &Registry,
) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| match expr {
        Expr::Cast(cast) if is_nested(&cast) => {
            let from = cast.expr.get_type(schema)?;
            let to = cast.field.data_type().clone();
            by_position(*cast.expr, &from, &to, functions).map(Transformed::yes)
        }
        expr => Ok(Transformed::no(expr)),
    })
}

/// Casts an expression of one type to another, rows in it by position.
///
/// # Errors
/// Types that no value has.
pub(crate) fn by_position(
    mut expr: Expr,
    from: &DataType,
    to: &DataType,
    functions: &Registry,
) -> Result<Expr> {
    if renamed(from, to) != *from {
        let wanted = Expr::Literal(ScalarValue::try_from(to)?, None);
        expr = functions.udf(RENAME_FIELDS)?.call(vec![expr, wanted]);
    }
    Ok(Expr::Cast(Cast::new(Box::new(expr), to.clone())))
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

fn is_nested(cast: &Cast) -> bool {
    cast.field.data_type().is_nested()
}
