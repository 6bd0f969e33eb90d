//! What must hold of the types and constants of a bound plan, and what binding does not look at.

mod constants;
mod defaults;

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::compute::can_cast_types;
use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Between, BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, TryCast,
};
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerContext};
use rainstorm_engine::wording::type_sql;
use sqlparser::tokenizer::Span;

pub(crate) use self::constants::constant_value;
use self::constants::{
    MAKES_TEXT, constants as compute_constants, constants_of_aggregates, made_text,
    numbers_of_rows, options_of_functions,
};
use self::defaults::default_value;
use super::compared::compares;
use super::rows::same_shape;
use crate::error::{SqlError, SqlErrorCode, fail, span_from};
use crate::options::options;

/// Checks the types of a plan that is not coerced yet.
///
/// # Errors
/// The first type that does not fit.
pub(super) fn check_types(plan: &LogicalPlan) -> Result<()> {
    each_expression(plan, |expr, schema| expr.apply(|part| of_expression(part, schema)).map(drop))
}

/// Computes the constants of a coerced plan, so that what would fail on every row fails now.
///
/// # Errors
/// The first constant that cannot be computed.
pub(crate) fn check_constants(plan: &LogicalPlan) -> Result<()> {
    // Without a start time nothing folds the current time into a constant.
    let context = OptimizerContext::new_with_config_options(Arc::new(options()))
        .without_query_execution_start_time();
    let simplify = Optimizer::with_rules(vec![Arc::new(SimplifyExpressions::new())]);
    let simplified = simplify.optimize(plan.clone(), &context, |_, _| {})?;
    each_expression(&simplified, |expr, schema| {
        compute_constants(expr)?;
        options_of_functions(expr, schema)
    })?;
    constants_of_aggregates(&simplified)
}

fn each_expression(
    plan: &LogicalPlan,
    mut look: impl FnMut(&Expr, &DFSchema) -> Result<()>,
) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|expr| {
            look(expr, &schema)?;
            Ok(TreeNodeRecursion::Continue)
        })
    })
    .map(drop)
}

fn of_expression(expr: &Expr, schema: &DFSchema) -> Result<TreeNodeRecursion> {
    match expr {
        Expr::Case(case) => {
            for (when, _) in &case.when_then_expr {
                match &case.expr {
                    Some(operand) => comparable(operand, Operator::Eq, when, schema)?,
                    None => is_condition(when, schema, "WHEN")?,
                }
            }
        }
        Expr::AggregateFunction(call) => {
            if let Some(filter) = &call.params.filter {
                is_condition(filter, schema, "FILTER")?;
            }
            numbers_of_rows(call.func.name(), &call.params.args)?;
            has_order(call.func.name(), &call.params.args, schema)?;
        }
        Expr::WindowFunction(call) => {
            numbers_of_rows(call.fun.name(), &call.params.args)?;
            default_value(call.fun.name(), &call.params.args, schema)?;
            has_order(call.fun.name(), &call.params.args, schema)?;
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) => {
            comparable(left, *op, right, schema)?;
        }
        Expr::InList(list) => {
            for value in &list.list {
                comparable(&list.expr, Operator::Eq, value, schema)?;
            }
        }
        Expr::InSubquery(InSubquery { expr, subquery, .. }) => {
            let found = subquery.subquery.schema().field(0).data_type();
            comparable_types(expr, &expr.get_type(schema)?, Operator::Eq, None, found)?;
        }
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => {
            of_cast(expr, field.data_type(), schema)?;
        }
        Expr::ScalarFunction(call) if MAKES_TEXT.contains(&call.func.name()) => {
            made_text(call.func.name(), &call.args)?;
        }
        Expr::ScalarFunction(call) if MAP_ELEMENTS.contains(&call.func.name()) => {
            if let [map, key, ..] = call.args.as_slice() {
                is_key(map, key, schema)?;
            }
        }
        Expr::ScalarFunction(call) if ALIKE.contains(&call.func.name()) => {
            alike(&call.func.name().to_uppercase(), &call.args, schema)?;
        }
        Expr::Between(Between { expr, low, high, .. }) => {
            comparable(expr, Operator::GtEq, low, schema)?;
            comparable(expr, Operator::LtEq, high, schema)?;
        }
        _ => {}
    }
    Ok(TreeNodeRecursion::Continue)
}

fn of_cast(expr: &Expr, to: &DataType, schema: &DFSchema) -> Result<()> {
    let from = &expr.get_type(schema)?;
    if let DataType::Timestamp(_, Some(zone)) = to
        && zone.parse::<Tz>().is_err()
    {
        let message = format!("there is no time zone '{zone}'");
        let error = SqlError::at(SqlErrorCode::Type, Span::empty(), message);
        return Err(fail(error.with_help("zones are such as 'Europe/Berlin' or '+02:00'")));
    }
    let refused = || {
        let message = format!("cannot cast {} to {}", type_sql(from), type_sql(to));
        SqlError::at(SqlErrorCode::Type, span_of(expr), message)
    };
    if !can_cast_types(from, to) || !same_shape(from, to) {
        return Err(fail(refused()));
    }
    if is_ambiguous(from, to) {
        let help = "of seconds since 1970 TO_TIMESTAMP makes a TIMESTAMP";
        return Err(fail(refused().with_help(help)));
    }
    if from.is_temporal() && is_short(to) && !is_days(from) {
        return Err(fail(refused().with_help("it does not fit; cast to BIGINT")));
    }
    Ok(())
}

/// Tells whether a number is to become a time: it does not say since when it counts, nor what.
pub(crate) fn is_ambiguous(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Struct(from), DataType::Struct(to)) => {
            from.iter().zip(to).any(|(from, to)| is_ambiguous(from.data_type(), to.data_type()))
        }
        (DataType::List(from), DataType::List(to))
        | (DataType::Map(from, _), DataType::Map(to, _)) => {
            is_ambiguous(from.data_type(), to.data_type())
        }
        (from, DataType::Timestamp(..) | DataType::Date32 | DataType::Time64(_)) => {
            from.is_numeric()
        }
        _ => false,
    }
}

/// Refuses texts beside other values in the queries of a set operation: DataFusion turns one into
/// the other.
///
/// # Errors
/// `Type`, where the columns differ first.
pub(crate) fn alike_columns(operation: &str, queries: &[&LogicalPlan]) -> Result<()> {
    let Some((first, others)) = queries.split_first() else { return Ok(()) };
    for other in others {
        let columns = first.schema().fields().iter().zip(other.schema().fields());
        for (index, (before, found)) in columns.enumerate() {
            let (before, found) = (before.data_type(), found.data_type());
            let differ = |text: &DataType, other: &DataType| {
                text.is_string() && !other.is_string() && !other.is_null()
            };
            if differ(before, found) || differ(found, before) {
                let message = format!(
                    "the queries of {operation} differ: column {} is {}, before it is {}",
                    index + 1,
                    type_sql(found),
                    type_sql(before)
                );
                let span = match other {
                    LogicalPlan::Projection(projection) => span_of(&projection.expr[index]),
                    _ => Span::empty(),
                };
                let error = SqlError::at(SqlErrorCode::Type, span, message);
                return Err(fail(error.with_help("write CAST(… AS …) around one of them")));
            }
        }
    }
    Ok(())
}

/// Refuses the least and the greatest of values that have no order, or one that DataFusion's
/// batch engine and its groups do not know.
fn has_order(function: &str, args: &[Expr], schema: &DFSchema) -> Result<()> {
    let [argument, ..] = args else { return Ok(()) };
    if !matches!(function, "min" | "max") {
        return Ok(());
    }
    let of = argument.get_type(schema)?;
    let is_ordered = match &of {
        DataType::List(item) => !item.data_type().is_nested(),
        DataType::Struct(fields) => fields.iter().all(|field| !field.data_type().is_nested()),
        other => !other.is_nested(),
    };
    if is_ordered {
        return Ok(());
    }
    let message = format!("{} does not take {}", function.to_uppercase(), type_sql(&of));
    let error = SqlError::at(SqlErrorCode::Unsupported, span_of(argument), message);
    Err(fail(error.with_help("take it of a field or an element")))
}

fn is_condition(expr: &Expr, schema: &DFSchema, clause: &str) -> Result<()> {
    match expr.get_type(schema)? {
        DataType::Boolean | DataType::Null => Ok(()),
        other => {
            let message = format!("{clause} takes a BOOLEAN, not {}", type_sql(&other));
            Err(fail(SqlError::at(SqlErrorCode::Type, span_of(expr), message)))
        }
    }
}

/// DataFusion compares a text with a number by reading the text as one, row by row, and fails on
/// the first that is none. A literal is read when the query is planned; for others that is asked
/// for with CAST.
fn comparable(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Result<()> {
    if matches!(left, Expr::Literal(..)) && matches!(right, Expr::Literal(..)) {
        return Ok(());
    }
    let (left_type, right_type) = (left.get_type(schema)?, right.get_type(schema)?);
    comparable_types(left, &left_type, op, Some(right), &right_type)
}

/// The same of types; the right side of IN is a query and no expression.
fn comparable_types(
    left: &Expr,
    left_type: &DataType,
    op: Operator,
    right: Option<&Expr>,
    right_type: &DataType,
) -> Result<()> {
    let sides = [(Some(left), left_type, right_type), (right, right_type, left_type)];
    for (text, of, other) in sides {
        if of.is_string() && other.is_numeric() && !matches!(text, Some(Expr::Literal(..))) {
            let message =
                format!("cannot compare {} {op} {}", type_sql(left_type), type_sql(right_type));
            let span = span_of(text.unwrap_or(left));
            let error = SqlError::at(SqlErrorCode::Type, span, message);
            let help = text.map_or_else(
                || format!("write CAST(… AS {}) in the query", type_sql(other)),
                |text| cast_help(text, other),
            );
            return Err(fail(error.with_help(help)));
        }
    }
    Ok(())
}

/// Tells whether a type of numbers is too short for times.
fn is_short(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int8 | DataType::Int16 | DataType::Int32)
}

fn is_days(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Time32(_))
}

/// Functions of a map and a key.
const MAP_ELEMENTS: &[&str] = &["get_field", "map_extract"];

/// DataFusion looks a key of another type up as a text, and finds nothing.
fn is_key(map: &Expr, key: &Expr, schema: &DFSchema) -> Result<()> {
    let DataType::Map(entries, _) = map.get_type(schema)? else { return Ok(()) };
    let DataType::Struct(pair) = entries.data_type() else { return Ok(()) };
    let (wanted, found) = (pair[0].data_type(), key.get_type(schema)?);
    if wanted.is_string() == found.is_string() || found.is_null() {
        return Ok(());
    }
    let message = format!("keys of this map are {}, not {}", type_sql(wanted), type_sql(&found));
    Err(fail(SqlError::at(SqlErrorCode::Type, span_of(map), message)))
}

/// Functions that return one of their arguments, for which these must have a common type.
const ALIKE: &[&str] = &["coalesce", "greatest", "least", "nullif", "nvl"];

/// Refuses texts beside numbers: DataFusion would read the texts as numbers, row by row. Literals
/// are read when the query is planned.
fn alike(function: &str, args: &[Expr], schema: &DFSchema) -> Result<()> {
    let types = args.iter().map(|arg| arg.get_type(schema)).collect::<Result<Vec<_>>>()?;
    let Some(number) = types.iter().find(|data_type| data_type.is_numeric()) else {
        return Ok(());
    };
    let text = args
        .iter()
        .zip(&types)
        .find(|(arg, data_type)| data_type.is_string() && !matches!(arg, Expr::Literal(..)));
    let Some((text, _)) = text else { return Ok(()) };
    let names: Vec<String> = types.iter().map(type_sql).collect();
    let message = format!("{function} does not take ({})", names.join(", "));
    let error = SqlError::at(SqlErrorCode::Type, span_of(text), message);
    Err(fail(error.with_help(cast_help(text, number))))
}

fn cast_help(text: &Expr, to: &DataType) -> String {
    match text {
        Expr::Column(column) => format!("write CAST({} AS {})", column.name, type_sql(to)),
        _ => format!("write CAST(… AS {})", type_sql(to)),
    }
}

/// Returns where a column stands; other expressions do not say it.
pub(super) fn span_of(expr: &Expr) -> Span {
    let span = match expr {
        Expr::Column(column) => column.spans().first(),
        _ => None,
    };
    span.as_ref().map_or_else(Span::empty, span_from)
}
