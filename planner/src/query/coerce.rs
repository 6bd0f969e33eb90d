//! A query's columns as a table takes them.

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{
    BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast,
};
use sqlparser::ast::Spanned;
use sqlparser::tokenizer::Span;

use super::unaliased;
use crate::bind::bind_constant;
use crate::catalog::{Column, TableDefinition};
use crate::diagnose::{from_datafusion, from_datafusion_in, from_datafusion_in_query};
use crate::error::{SqlError, SqlErrorCode, SqlErrors};
use crate::rewrite::analyze;
use crate::session::QueryContext;
use crate::statement::Insert;
use crate::types::type_sql;

/// Matches a query's columns by their place with those that an INSERT names, casts them where
/// nothing can be lost, and adds the rest: partition values, else nulls.
///
/// # Errors
/// `InvalidStatement` where the number of columns is wrong, `Type` where types do not fit.
pub(super) fn to_table(
    context: QueryContext<'_>,
    bound: &LogicalPlan,
    table: &TableDefinition,
    insert: &Insert,
) -> Result<LogicalPlan, SqlErrors> {
    let span = insert.source.span();
    // What UNION and CASE are of is known only once their parts have a common type.
    let plan = analyze(bound.clone(), context.functions)
        .map_err(|error| from_datafusion_in_query(&error, context, &insert.source))?;
    let names = written_columns(table, insert);
    let columns = plan.schema().columns();
    if columns.len() != names.len() {
        let message = format!(
            "the query has {}, table '{}' takes {}",
            count(columns.len()),
            table.name,
            count(names.len()),
        );
        return Err(SqlError::at(SqlErrorCode::InvalidStatement, span, message)
            .with_help(format!("the table's columns are {}", names.join(", ")))
            .into());
    }
    let mut exprs = Vec::with_capacity(names.len());
    for column in table.physical_columns() {
        let given = names.iter().position(|name| *name == column.name);
        let expr = if let Some(index) = given {
            let field = plan.schema().field(index);
            let expr = Expr::Column(columns[index].clone());
            let constants = constants(bound, index);
            let castable =
                |value: &&ScalarValue| can_cast_types(&value.data_type(), &column.data_type);
            for value in constants.iter().flatten().filter(castable) {
                let cast = value.cast_to(&column.data_type);
                cast.map_err(|error| from_datafusion_in(&error, &*insert.source))?;
            }
            let keeps = |value: &ScalarValue| keeps_its_value(value, &column.data_type);
            let constant = constants.is_some_and(|values| values.iter().all(keeps))
                || (field.data_type().is_integer() && is_narrower(bound, index, &column.data_type));
            cast_to(expr, field.data_type(), field.name(), constant, column, table, span)?
        } else if let Some((_, value)) =
            insert.partition.iter().find(|(name, _)| name.value == column.name)
        {
            cast(bind_constant(context, value)?, column.data_type.clone())
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

fn count(columns: usize) -> String {
    if columns == 1 { "1 column".to_owned() } else { format!("{columns} columns") }
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

fn cast_to(
    expr: Expr,
    from: &DataType,
    name: &str,
    constant: bool,
    column: &Column,
    table: &TableDefinition,
    span: Span,
) -> Result<Expr, SqlErrors> {
    let to = &column.data_type;
    if from == to {
        return Ok(expr);
    }
    if loses_nothing(from, to) || (constant && can_cast_types(from, to)) {
        return Ok(Expr::Cast(Cast::new(Box::new(expr), to.clone())));
    }
    let message = format!(
        "column '{}' of table '{}' is {}, the query's column '{name}' is {}",
        column.name,
        table.name,
        type_sql(to),
        type_sql(from),
    );
    let error = SqlError::at(SqlErrorCode::Type, span, message);
    let help = match to {
        DataType::Struct(fields) => {
            let field = |field: &FieldRef| format!("'{}', …", field.name());
            let fields: Vec<String> = fields.iter().map(field).collect();
            format!("write named_struct({})", fields.join(", "))
        }
        to if can_cast_types(from, to) => format!("write CAST({name} AS {})", type_sql(to)),
        _ => return Err(error.into()),
    };
    Err(error.with_help(help).into())
}

/// Tells whether every value of a type is one of another, or fails aloud: decimals and times may
/// be rounded, as in Flink.
fn loses_nothing(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Date32, Decimal128, Decimal256, Float32, Float64, LargeBinary,
        LargeUtf8, Null, Timestamp, Utf8, Utf8View,
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
        (DataType::Struct(from), DataType::Struct(to)) => {
            from.len() == to.len()
                && from.iter().zip(to).all(|(from, to)| {
                    from.name() == to.name() && fits(from.data_type(), to.data_type())
                })
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

fn fits(from: &DataType, to: &DataType) -> bool {
    from == to || loses_nothing(from, to)
}

fn integer_bytes(data_type: &DataType) -> usize {
    data_type.primitive_width().unwrap_or(usize::MAX)
}

/// Returns a column's values where they are written down in the query: then they decide, not their
/// type.
fn constants(plan: &LogicalPlan, index: usize) -> Option<Vec<ScalarValue>> {
    match plan {
        LogicalPlan::Values(values) => {
            let value = |row: &Vec<Expr>| {
                constant(&row[index]).or_else(|| match &row[index] {
                    // Where rows differ in their types, DataFusion casts them to a common one.
                    Expr::Cast(cast) => constant(&cast.expr),
                    _ => None,
                })
            };
            values.values.iter().map(value).collect()
        }
        LogicalPlan::SubqueryAlias(alias) => constants(&alias.input, index),
        LogicalPlan::Projection(projection) => match unaliased(&projection.expr[index]) {
            Expr::Column(column) => {
                let index = projection.input.schema().maybe_index_of_column(column)?;
                constants(&projection.input, index)
            }
            expr => constant(expr).map(|value| vec![value]),
        },
        _ => None,
    }
}

/// Tells whether a number that becomes an integer is one.
fn keeps_its_value(value: &ScalarValue, to: &DataType) -> bool {
    let from = value.data_type();
    if !to.is_integer() || !from.is_numeric() || from.is_integer() {
        return true;
    }
    let back = value.cast_to(to).and_then(|integer| integer.cast_to(&from));
    back.is_ok_and(|back| back == *value)
}

fn constant(expr: &Expr) -> Option<ScalarValue> {
    match unaliased(expr) {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Negative(inner) => constant(inner)?.arithmetic_negate().ok(),
        Expr::Cast(Cast { expr, field }) => match expr.as_ref() {
            // A number with an exponent.
            Expr::Literal(text, _)
                if text.data_type().is_string() && *field.data_type() == DataType::Float64 =>
            {
                text.cast_to(&DataType::Float64).ok()
            }
            _ => None,
        },
        _ => None,
    }
}

/// Tells whether a column is an integer that would fit another type, were numbers in the query of
/// the least type that holds them, at least INT, as in Flink. DataFusion has them as BIGINT.
fn is_narrower(plan: &LogicalPlan, index: usize, to: &DataType) -> bool {
    let bytes = match plan {
        LogicalPlan::Projection(projection) if to.is_integer() => {
            bytes_needed(&projection.expr[index], projection.input.schema())
        }
        _ => None,
    };
    bytes.is_some_and(|bytes| bytes <= integer_bytes(to))
}

fn bytes_needed(expr: &Expr, schema: &DFSchema) -> Option<usize> {
    match unaliased(expr) {
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => {
            Some(if i32::try_from(*value).is_ok() { 4 } else { 8 })
        }
        Expr::Negative(inner) => bytes_needed(inner, schema),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.is_numerical_operators() => {
            Some(bytes_needed(left, schema)?.max(bytes_needed(right, schema)?))
        }
        Expr::Case(case) => {
            let values = case.when_then_expr.iter().map(|(_, value)| value);
            let mut needed = values
                .chain(&case.else_expr)
                .map(|value| bytes_needed(value, schema))
                .collect::<Option<Vec<_>>>()?
                .into_iter();
            needed.next().map(|first| needed.fold(first, usize::max))
        }
        other => {
            let data_type = other.get_type(schema).ok()?;
            data_type.is_integer().then(|| integer_bytes(&data_type))
        }
    }
}
