//! A query's columns as a table takes them.

use arrow::compute::can_cast_types;
use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use rainstorm_engine::function::{ASSIGN, renamed};
use sqlparser::ast::{Expr as SqlExpr, Query, Select, SelectItem, SetExpr, Spanned};
use sqlparser::tokenizer::Span;

use super::written::Written;
use crate::bind::bind_constant;
use crate::catalog::{Column, TableDefinition};
use crate::coerce::{by_position, is_ambiguous, renamed_to, same_shape, typed_expression};
use crate::diagnose::{from_datafusion, from_datafusion_in};
use crate::error::{SqlError, SqlErrorCode, SqlErrors, counted};
use crate::session::QueryContext;
use crate::statement::Insert;
use crate::types::type_sql;

/// Matches the columns of a query whose types are coerced by their place with those that an INSERT
/// names, casts numbers to numbers and others where nothing can be lost, and adds the rest: partition values, else nulls.
/// `prepared` is the query before its types were coerced, closer to what was written.
///
/// # Errors
/// `InvalidStatement` where the number of columns is wrong, `Type` where types do not fit.
pub(super) fn to_table(
    context: QueryContext<'_>,
    prepared: &LogicalPlan,
    plan: LogicalPlan,
    table: &TableDefinition,
    insert: &Insert,
) -> Result<LogicalPlan, SqlErrors> {
    let span = insert.source.span();
    let names = written_columns(table, insert);
    let columns = plan.schema().columns();
    if columns.len() != names.len() {
        let message = format!(
            "the query has {}, table '{}' takes {}",
            counted(columns.len(), "column"),
            table.name,
            counted(names.len(), "column"),
        );
        return Err(SqlError::at(SqlErrorCode::InvalidStatement, span, message)
            .with_help(format!("the table's columns are {}", names.join(", ")))
            .into());
    }
    let mut exprs = Vec::with_capacity(names.len());
    for column in table.physical_columns() {
        let given = names.iter().position(|name| *name == column.name);
        let expr = if let Some(index) = given {
            let from = plan.schema().field(index).data_type();
            let to = &column.data_type;
            let misfit = match Written::of(prepared, index) {
                Some(written) => written.first_misfit(to).map_err(|(row, error)| {
                    let text = text_of(&insert.source, row, index, names.len());
                    is_none_of_column(&error, column, table, text, &insert.source)
                })?,
                None => Some(0),
            };
            let goes = fits(from, to) || assigns(from, to);
            if !can_cast(from, to) || (misfit.is_some() && !goes) {
                let text = text_of(&insert.source, misfit.unwrap_or(0), index, names.len());
                return Err(does_not_fit(from, column, table, text, span).into());
            }
            let value = Expr::Column(columns[index].clone());
            assigned(context, value, from, column, table)
                .map_err(|error| from_datafusion(&error, span))?
        } else if let Some((_, value)) =
            insert.partition.iter().find(|(name, _)| name.value == column.name)
        {
            let (value, from) = constant(context, value)?;
            assigned(context, value, &from, column, table)
                .map_err(|error| from_datafusion(&error, span))?
        } else if column.nullable {
            let null = ScalarValue::try_from(&column.data_type)
                .map_err(|error| from_datafusion(&error, span))?;
            Expr::Literal(null, None)
        } else {
            let message = format!(
                "column '{}' of table '{}' is NOT NULL and gets no value",
                column.name, table.name
            );
            return Err(SqlError::at(SqlErrorCode::InvalidStatement, span, message).into());
        };
        exprs.push(expr.alias(&column.name));
    }
    LogicalPlanBuilder::from(plan)
        .project(exprs)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|error| from_datafusion(&error, span))
}

/// Makes a value what a column takes.
fn assigned(
    context: QueryContext<'_>,
    value: Expr,
    from: &DataType,
    column: &Column,
    table: &TableDefinition,
) -> Result<Expr, DataFusionError> {
    let to = &column.data_type;
    if from == to {
        return Ok(value);
    }
    if !assigns(from, to) || always_fits(from, to) {
        return by_position(value, from, to, context.functions);
    }
    let value = renamed_to(value, from, to, context.functions)?;
    let wanted = Expr::Literal(ScalarValue::try_from(to)?, None);
    let names = [&table.name, &column.name].map(|name| lit(name.as_str()));
    let [table, column] = names;
    Ok(context.functions.udf(ASSIGN)?.call(vec![value, wanted, table, column]))
}

fn constant(context: QueryContext<'_>, value: &SqlExpr) -> Result<(Expr, DataType), SqlErrors> {
    let typed = bind_constant(context, value)
        .and_then(|value| typed_expression(value, DFSchema::empty(), context));
    typed
        .map(|(value, column)| (value, column.data_type().clone()))
        .map_err(|error| from_datafusion_in(&error, value))
}

fn written_columns<'a>(table: &'a TableDefinition, insert: &'a Insert) -> Vec<&'a str> {
    if !insert.columns.is_empty() {
        return insert.columns.iter().map(|name| name.value.as_str()).collect();
    }
    let in_partition =
        |column: &&Column| insert.partition.iter().any(|(name, _)| name.value == column.name);
    let columns = table.physical_columns().filter(|column| !in_partition(column));
    columns.map(|column| column.name.as_str()).collect()
}

/// Returns the expression that is written for one of `count` columns, in this row of VALUES, where
/// the query says it.
fn text_of(query: &Query, row: usize, index: usize, count: usize) -> Option<&SqlExpr> {
    let mut body = query.body.as_ref();
    loop {
        match body {
            SetExpr::Query(query) => body = &query.body,
            SetExpr::Values(values) => return values.rows.get(row)?.content.get(index),
            SetExpr::Select(select) => return selected(select, index, count),
            _ => return None,
        }
    }
}

fn selected(select: &Select, index: usize, count: usize) -> Option<&SqlExpr> {
    match select.projection.get(index).filter(|_| select.projection.len() == count)? {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// Expressions that are repeated in a message are at most so long.
const REPEATED_CHARS: usize = 40;

fn does_not_fit(
    from: &DataType,
    column: &Column,
    table: &TableDefinition,
    text: Option<&SqlExpr>,
    whole: Span,
) -> SqlError {
    let to = &column.data_type;
    let (name, to_sql, from_sql) = (&column.name, type_sql(to), type_sql(from));
    let message = format!("column '{name}' of table '{}' is {to_sql}, not {from_sql}", table.name);
    let span = text.map(Spanned::span).filter(|span| span.start.line > 0);
    let error = SqlError::at(SqlErrorCode::Type, span.unwrap_or(whole), message);
    if !can_cast(from, to) || is_ambiguous(from, to) {
        return error;
    }
    let text = text.map(ToString::to_string).filter(|text| text.chars().count() <= REPEATED_CHARS);
    let text = text.as_deref().unwrap_or("…");
    error.with_help(format!("write CAST({text} AS {to_sql})"))
}

/// Says that a constant is no value of a column.
fn is_none_of_column(
    error: &DataFusionError,
    column: &Column,
    table: &TableDefinition,
    text: Option<&SqlExpr>,
    source: &Query,
) -> SqlErrors {
    let mut errors = match text.filter(|text| text.span().start.line > 0) {
        Some(text) => from_datafusion(error, text.span()),
        None => from_datafusion_in(error, source),
    };
    for error in &mut errors.0 {
        let number = text.filter(|_| column.data_type.is_numeric()).map(ToString::to_string);
        let number = number.filter(|text| text.parse::<f64>().is_ok());
        let why = match number {
            Some(number) => format!("{number} does not fit {}", type_sql(&column.data_type)),
            None => error.message.clone(),
        };
        error.message = format!("column '{}' of table '{}': {why}", column.name, table.name);
    }
    errors
}

fn can_cast(from: &DataType, to: &DataType) -> bool {
    same_shape(from, to) && can_cast_types(&renamed(from, to), to)
}

/// Tells whether values are numbers, or hold them at the same places, of which some may not fit.
fn assigns(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (from, to) if from.is_numeric() && to.is_numeric() => true,
        (DataType::Struct(from), DataType::Struct(to)) if from.len() == to.len() => {
            let mut fields = from.iter().zip(to);
            fields.all(|(from, to)| {
                let (from, to) = (from.data_type(), to.data_type());
                assigns(from, to) || fits(from, to)
            })
        }
        (DataType::List(from), DataType::List(to))
        | (DataType::Map(from, _), DataType::Map(to, _)) => {
            assigns(from.data_type(), to.data_type())
        }
        _ => false,
    }
}

/// Tells whether every number of a type is one of another, as nearly as that has it.
fn always_fits(from: &DataType, to: &DataType) -> bool {
    use DataType::{Decimal128, Decimal256, Float32, Float64};
    let whole_digits = |precision: u8, scale: i8| i16::from(precision) - i16::from(scale);
    match (from, to) {
        (from, Float64 | Float32) => from.is_numeric() && *from != Float64,
        (
            Decimal128(precision, scale) | Decimal256(precision, scale),
            Decimal128(to_precision, to_scale) | Decimal256(to_precision, to_scale),
        ) => {
            // Rounding may carry into another digit.
            let carry = i16::from(scale > to_scale);
            whole_digits(*precision, *scale) + carry <= whole_digits(*to_precision, *to_scale)
        }
        (from, to) if from.is_integer() && to.is_integer() => {
            from.is_signed_integer() && integer_bytes(from) <= integer_bytes(to)
        }
        (from, Decimal128(precision, scale)) if from.is_integer() => {
            whole_digits(*precision, *scale) >= 20
        }
        _ => false,
    }
}

/// Tells whether every value of a type is one of another, or fails aloud.
pub(super) fn fits(from: &DataType, to: &DataType) -> bool {
    from == to || loses_nothing(from, to)
}

/// Tells whether every value of a type is one of another, or fails aloud: decimals and times may
/// be rounded, as in Flink.
fn loses_nothing(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Date32, Decimal128, Decimal256, Float32, Float64, LargeBinary,
        LargeUtf8, Null, Time32, Time64, Timestamp, Utf8, Utf8View,
    };
    match (from, to) {
        (Null, _) => true,
        (from, to) if from.is_integer() && to.is_integer() => {
            // Unsigned ones are only counts of DataFusion's; a cast that does not fit fails.
            integer_bytes(from) <= integer_bytes(to)
        }
        (from, Float64 | Decimal128(..) | Decimal256(..)) if from.is_integer() => true,
        (from, Float32) if from.is_integer() => true,
        (Float32, Float64) => true,
        (Decimal128(..) | Decimal256(..), Decimal128(..) | Decimal256(..) | Float64) => true,
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => true,
        (Binary | LargeBinary | BinaryView, Binary | LargeBinary | BinaryView) => true,
        (Timestamp(_, from), Timestamp(_, to)) => from.is_some() == to.is_some(),
        (Date32, Timestamp(_, None)) => true,
        // Of whatever unit: they are all TIME.
        (Time32(_) | Time64(_), Time32(_) | Time64(_)) => true,
        (DataType::Struct(from), DataType::Struct(to)) => {
            from.len() == to.len()
                && from.iter().zip(to).all(|(from, to)| fits(from.data_type(), to.data_type()))
        }
        (DataType::Map(from, _), DataType::Map(to, _)) => {
            let (DataType::Struct(from), DataType::Struct(to)) = (from.data_type(), to.data_type())
            else {
                return false;
            };
            from.iter().zip(to).all(|(from, to)| fits(from.data_type(), to.data_type()))
        }
        (DataType::List(from), DataType::List(to)) => fits(from.data_type(), to.data_type()),
        (DataType::Dictionary(_, from), to) => fits(from, to),
        _ => false,
    }
}

fn integer_bytes(data_type: &DataType) -> usize {
    data_type.primitive_width().unwrap_or(usize::MAX)
}
