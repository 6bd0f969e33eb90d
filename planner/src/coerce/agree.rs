//! Common types of what stands side by side: what is compared, the alternatives of one value, the
//! elements of an array, the keys of a join, the columns of a UNION.
//!
//! Where DataFusion has another opinion it is given values that agree already. A DECIMAL beside a
//! DOUBLE is a DOUBLE, as in Flink: DataFusion turns the DOUBLE into a decimal of 15 places, which
//! loses the small ones and refuses the large ones. A DATE is a TIMESTAMP of as many digits as the
//! one beside it, and not one of nanoseconds, which ends in 2262. And ROWs go together by position,
//! as in SQL, with the names of the first; DataFusion has them go together by name.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{InSubquery, SetComparison};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Operator, Projection,
    Subquery, Values,
};
use rainstorm_engine::function::{Registry, renamed};

use super::compared::compared;
use super::rows::{by_position, same_shape};

/// Functions whose arguments need no common type.
const TYPES_OF_THEIR_OWN: &[&str] = &["concat", "concat_ws", "named_struct", "struct"];

/// Returns the types to give to what stands side by side, where DataFusion should not find them.
pub(super) fn agreed(types: &[DataType]) -> Option<Vec<DataType>> {
    let has = |is: fn(&DataType) -> bool| types.iter().any(is);
    let has_doubles = has(DataType::is_floating) && has(DataType::is_decimal);
    let times = types.iter().filter(|data_type| matches!(data_type, DataType::Timestamp(..)));
    // Units are ordered from seconds to nanoseconds.
    let finest = times.max_by_key(|data_type| match data_type {
        DataType::Timestamp(unit, _) => Some(*unit),
        _ => None,
    });
    let nested = types.iter().find(|data_type| data_type.is_nested());
    let agreed = types.iter().map(|own| match (own, finest, nested) {
        (own, ..) if own.is_decimal() && has_doubles => DataType::Float64,
        (DataType::Date32, Some(time), _) => time.clone(),
        (own, _, Some(first)) if same_shape(own, first) => renamed(own, first),
        (own, ..) => own.clone(),
    });
    let agreed: Vec<DataType> = agreed.collect();
    (agreed != types).then_some(agreed)
}

/// Returns the types to give to what is compared. Decimals with more digits between them than a
/// DECIMAL has are compared as ones of up to 76, which no value has: each of them fits.
fn compared_as(types: &[DataType]) -> Option<Vec<DataType>> {
    let exact = || {
        let numbers = types.iter().filter(|data_type| !data_type.is_null());
        let digits = numbers.map(digits).collect::<Option<Vec<_>>>()?;
        let whole = digits.iter().map(|(whole, _)| *whole).max()?;
        let scale = digits.iter().map(|(_, scale)| *scale).max()?;
        (whole + scale > DECIMAL128_MAX_PRECISION)
            .then(|| vec![DataType::Decimal256(whole + scale, scale as i8); types.len()])
    };
    let has_decimals = types.iter().any(DataType::is_decimal);
    has_decimals.then(exact).flatten().or_else(|| agreed(types))
}

/// Returns how many digits whole numbers and decimals of a type have before and after the point.
pub(super) fn digits(data_type: &DataType) -> Option<(u8, u8)> {
    match data_type {
        DataType::Decimal128(precision, scale) => {
            let scale = u8::try_from(*scale).ok()?;
            Some((precision.checked_sub(scale)?, scale))
        }
        DataType::Int8 | DataType::UInt8 => Some((3, 0)),
        DataType::Int16 | DataType::UInt16 => Some((5, 0)),
        DataType::Int32 | DataType::UInt32 => Some((10, 0)),
        DataType::Int64 => Some((19, 0)),
        DataType::UInt64 => Some((20, 0)),
        _ => None,
    }
}

/// Gives the columns of a VALUES, and the keys of a join, types that go together.
///
/// # Errors
/// Plans that are wrong otherwise.
pub(super) fn of_node(plan: LogicalPlan, functions: &Registry) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Values(values) => of_values(values, functions),
        LogicalPlan::Join(join) => of_keys(join, functions),
        other => Ok(Transformed::no(other)),
    }
}

/// Gives the parts of an expression that get a common type ones that go together.
///
/// # Errors
/// Types that no value has.
pub(super) fn of_expr(
    mut expr: Expr,
    schema: &DFSchema,
    functions: &Registry,
) -> Result<Transformed<Expr>> {
    let mut changed = false;
    each_group(&mut expr, |group, common| {
        changed |= agree(group, common, schema, functions)?;
        Ok(())
    })?;
    if let Expr::InSubquery(InSubquery { expr, subquery, .. })
    | Expr::SetComparison(SetComparison { expr, subquery, .. }) = &mut expr
    {
        changed |= agree_with_query(expr, subquery, schema, functions)?;
    }
    Ok(Transformed::new_transformed(expr, changed))
}

/// Returns the types to give to what stands side by side.
type Common = fn(&[DataType]) -> Option<Vec<DataType>>;

/// Visits the groups of an expression's parts that get a common type.
fn each_group(
    expr: &mut Expr,
    mut visit: impl FnMut(Vec<&mut Expr>, Common) -> Result<()>,
) -> Result<()> {
    visit(compared(expr), compared_as)?;
    match expr {
        Expr::Case(case) => {
            let thens = case.when_then_expr.iter_mut().map(|(_, then)| then.as_mut());
            visit(thens.chain(case.else_expr.as_deref_mut()).collect(), agreed)
        }
        Expr::ScalarFunction(call) if !TYPES_OF_THEIR_OWN.contains(&call.func.name()) => {
            visit(call.args.iter_mut().collect(), agreed)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
            visit(vec![left, right], agreed)
        }
        _ => Ok(()),
    }
}

/// Makes the parts of a group go together, and tells whether they did not.
fn agree(
    group: Vec<&mut Expr>,
    common: Common,
    schema: &DFSchema,
    functions: &Registry,
) -> Result<bool> {
    let types = group.iter().map(|expr| expr.get_type(schema)).collect::<Result<Vec<_>>>();
    // What has no type is complained about elsewhere.
    let Ok(types) = types else { return Ok(false) };
    let Some(agreed) = common(&types) else { return Ok(false) };
    for ((expr, from), to) in group.into_iter().zip(&types).zip(&agreed) {
        *expr = converted(std::mem::take(expr), from, to, functions)?;
    }
    Ok(true)
}

/// Casts an expression, where it is not of the type.
///
/// # Errors
/// Types that no value has.
pub(super) fn converted(
    expr: Expr,
    from: &DataType,
    to: &DataType,
    functions: &Registry,
) -> Result<Expr> {
    if from == to {
        return Ok(expr);
    }
    if let Expr::Literal(value, metadata) = &expr
        && !to.is_nested()
        && let Ok(value) = value.cast_to(to)
    {
        return Ok(Expr::Literal(value, metadata.clone()));
    }
    by_position(expr, from, to, functions)
}

/// Makes what is looked for and what a query returns go together, and tells whether they did not.
fn agree_with_query(
    value: &mut Expr,
    query: &mut Subquery,
    schema: &DFSchema,
    functions: &Registry,
) -> Result<bool> {
    let Ok(own) = value.get_type(schema) else { return Ok(false) };
    let types = [own, query.subquery.schema().field(0).data_type().clone()];
    let Some(agreed) = compared_as(&types) else { return Ok(false) };
    *value = converted(std::mem::take(value), &types[0], &agreed[0], functions)?;
    if types[1] != agreed[1] {
        let inner = Arc::clone(&query.subquery);
        let (qualifier, field) = inner.schema().qualified_field(0);
        let column = Expr::from((qualifier, field));
        let column = converted(column, &types[1], &agreed[1], functions)?;
        let column = column.alias_qualified(qualifier.cloned(), field.name());
        let projection = Projection::try_new(vec![column], Arc::clone(&inner))?;
        *query = query.with_plan(Arc::new(LogicalPlan::Projection(projection)));
    }
    Ok(true)
}

fn of_keys(mut join: Join, functions: &Registry) -> Result<Transformed<LogicalPlan>> {
    let mut changed = false;
    for (left, right) in &mut join.on {
        let types = [left.get_type(join.left.schema())?, right.get_type(join.right.schema())?];
        if let Some(agreed) = compared_as(&types) {
            *left = converted(std::mem::take(left), &types[0], &agreed[0], functions)?;
            *right = converted(std::mem::take(right), &types[1], &agreed[1], functions)?;
            changed = true;
        }
    }
    Ok(Transformed::new_transformed(LogicalPlan::Join(join), changed))
}

/// Undoes the casts that DataFusion has put around the values of a column, where they are not to
/// their common type.
fn of_values(values: Values, functions: &Registry) -> Result<Transformed<LogicalPlan>> {
    let empty = DFSchema::empty();
    let mut rows = values.values.clone();
    let mut changed = false;
    for (index, field) in values.schema.fields().iter().enumerate() {
        let written = |expr: &Expr| match expr {
            Expr::Cast(cast) if cast.field.data_type() == field.data_type() => (*cast.expr).clone(),
            // A null of the column's type may have been one of none.
            Expr::Literal(value, metadata) if value.is_null() => {
                Expr::Literal(ScalarValue::Null, metadata.clone())
            }
            expr => expr.clone(),
        };
        let mut column: Vec<Expr> = values.values.iter().map(|row| written(&row[index])).collect();
        if agree(column.iter_mut().collect(), agreed, &empty, functions)? {
            changed = true;
            for (row, expr) in rows.iter_mut().zip(column) {
                row[index] = expr;
            }
        }
    }
    if changed {
        LogicalPlanBuilder::values(rows)?.build().map(Transformed::yes)
    } else {
        Ok(Transformed::no(LogicalPlan::Values(values)))
    }
}
