//! How types, expressions and failures are told: in SQL's words, never in Arrow's or DataFusion's.

mod causes;
mod foreign;
mod literal;
mod operators;
pub mod sentence;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use arrow::error::ArrowError;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_common::physical_expr::fmt_sql;

pub use self::foreign::{in_plain_words, is_foreign};
use crate::function::{
    ASSIGN, Arithmetic, CHECKED_CHAIN, EQUAL_FLOATS, INTERVAL_TIMES, TO_COARSER, operator_of,
};

/// Returns a type as SQL writes it, such as `ROW<a BIGINT, b STRING NOT NULL>`. Types without a
/// name in SQL get Arrow's.
#[must_use]
pub fn type_sql(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "NULL".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::UInt64 => "UNSIGNED BIGINT".to_owned(),
        DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            format!("DECIMAL({precision}, {scale})")
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTES".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_owned(),
        DataType::Timestamp(unit, None) => format!("TIMESTAMP({})", digits(*unit)),
        DataType::Timestamp(unit, Some(_)) => format!("TIMESTAMP_LTZ({})", digits(*unit)),
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL".to_owned(),
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields.iter().map(|field| field_sql(field)).collect();
            format!("ROW<{}>", fields.join(", "))
        }
        DataType::List(item) | DataType::LargeList(item) => format!("ARRAY<{}>", nested_sql(item)),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(entry) if entry.len() == 2 => {
                format!("MAP<{}, {}>", type_sql(entry[0].data_type()), nested_sql(&entry[1]))
            }
            other => other.to_string(),
        },
        other => other.to_string(),
    }
}

fn field_sql(field: &Field) -> String {
    format!("{} {}", identifier_sql(field.name()), nested_sql(field))
}

fn nested_sql(field: &Field) -> String {
    let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
    format!("{}{not_null}", type_sql(field.data_type()))
}

/// Returns the number of digits of a second that a unit has.
fn digits(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

/// Returns a name in backquotes.
#[must_use]
pub fn identifier_sql(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Writes an expression as people would: columns by their names, fields with dots, texts in
/// quotes, types as SQL has them.
#[must_use]
pub fn expression_sql(expr: &Arc<dyn PhysicalExpr>) -> String {
    let written = Arc::clone(expr).transform_down(|expr| {
        Ok(match readable(&expr) {
            Some(text) => {
                let text: Arc<dyn PhysicalExpr> = Arc::new(Column::new(&text, 0));
                Transformed::new(text, true, TreeNodeRecursion::Jump)
            }
            None => match operators::of_expr(&expr) {
                Some(written) => Transformed::yes(written),
                None => Transformed::no(expr),
            },
        })
    });
    let expr = written.map_or_else(|_| Arc::clone(expr), |written| written.data);
    fmt_sql(expr.as_ref()).to_string()
}

fn readable(expr: &Arc<dyn PhysicalExpr>) -> Option<String> {
    // The name of a column that is an expression, as DataFusion writes it.
    if let Some(column) = expr.downcast_ref::<Column>() {
        return column.name().contains('(').then(|| with_sql_types(column.name()));
    }
    if let Some(literal) = expr.downcast_ref::<Literal>() {
        return literal::value_sql(literal.value());
    }
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        let of = expression_sql(cast.expr());
        return Some(format!("CAST({of} AS {})", type_sql(cast.cast_type())));
    }
    let call = expr.downcast_ref::<ScalarFunctionExpr>()?;
    if call.name() == ASSIGN {
        let of = expression_sql(call.args().first()?);
        return Some(format!("CAST({of} AS {})", type_sql(call.return_type())));
    }
    let is_operator = [CHECKED_CHAIN, INTERVAL_TIMES].contains(&call.name());
    if Arithmetic::of(call.name()).is_some() || is_operator {
        return None;
    }
    if call.name() == EQUAL_FLOATS {
        return Some(expression_sql(call.args().first()?));
    }
    if call.name() == "get_field"
        && let Some(path) = field_path(call)
    {
        return Some(path);
    }
    let args: Vec<String> = call.args().iter().map(expression_sql).collect();
    if let (Some(op), [value, array]) = (operator_of(call.name()), args.as_slice()) {
        return Some(format!("{value} {op} ANY({array})"));
    }
    if let (TO_COARSER, [value, _]) = (call.name(), args.as_slice()) {
        return Some(format!("CAST({value} AS {})", type_sql(call.return_type())));
    }
    Some(format!("{}({})", call.name().to_uppercase(), args.join(", ")))
}

fn field_path(call: &ScalarFunctionExpr) -> Option<String> {
    let (base, names) = call.args().split_first()?;
    let mut path = match base.downcast_ref::<Column>() {
        Some(column) => column.name().to_owned(),
        None => expression_sql(base),
    };
    for name in names {
        path.push('.');
        path.push_str(name.downcast_ref::<Literal>()?.value().try_as_str().flatten()?);
    }
    Some(path)
}

/// Writes a call of an aggregate function as people would, where its arguments are not columns
/// that an expression was put into.
#[must_use]
pub fn aggregate_sql(function: &str, arguments: &[Arc<dyn PhysicalExpr>]) -> String {
    let is_made = |expr: &Arc<dyn PhysicalExpr>| {
        expr.downcast_ref::<Column>().is_some_and(|column| column.name().contains('('))
    };
    let function = function.to_uppercase();
    if arguments.iter().any(is_made) {
        return format!("{function}(…)");
    }
    let arguments: Vec<String> = arguments.iter().map(expression_sql).collect();
    format!("{function}({})", arguments.join(", "))
}

/// Returns a length of time in its largest whole unit.
#[must_use]
pub fn describe_ms(ms: i64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")];
    match units.into_iter().find(|(unit, _)| ms != 0 && ms % unit == 0) {
        Some((unit, name)) => format!("{} {name}", ms / unit),
        None => format!("{ms} ms"),
    }
}

/// What DataFusion or Arrow failed with, told without the names that they have for things.
#[derive(Debug)]
pub struct ComputeFailure(pub DataFusionError);

impl fmt::Display for ComputeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&reason(&self.0))
    }
}

impl std::error::Error for ComputeFailure {}

/// Tells why DataFusion or Arrow refused something.
#[must_use]
pub fn reason(error: &DataFusionError) -> String {
    in_plain_words(told(error), "an expression cannot be computed")
}

fn told(error: &DataFusionError) -> String {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => told(inner),
        DataFusionError::Shared(inner) => told(inner),
        DataFusionError::Collection(all) => all.first().map_or_else(String::new, told),
        DataFusionError::ArrowError(error, _) => arrow_reason(error),
        DataFusionError::External(inner) => {
            let message = inner.to_string();
            causes::in_short(&message).unwrap_or(message)
        }
        DataFusionError::Execution(message)
        | DataFusionError::Plan(message)
        | DataFusionError::NotImplemented(message)
        | DataFusionError::Configuration(message)
        | DataFusionError::ResourcesExhausted(message)
        | DataFusionError::Internal(message) => tidy(message),
        other => tidy(&other.strip_backtrace()),
    }
}

fn arrow_reason(error: &ArrowError) -> String {
    match error {
        ArrowError::DivideByZero => "division by zero".to_owned(),
        ArrowError::CastError(message)
        | ArrowError::ParseError(message)
        | ArrowError::ComputeError(message)
        | ArrowError::InvalidArgumentError(message)
        | ArrowError::NotYetImplemented(message) => tidy(message),
        ArrowError::ArithmeticOverflow(message) => {
            let of = message.rsplit_once("on: ").map_or("", |(_, of)| of);
            if of.is_empty() { "overflow".to_owned() } else { causes::overflow(of) }
        }
        ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
            Some(inner) => told(inner),
            None => inner.to_string(),
        },
        other => tidy(&other.to_string()),
    }
}

/// Brings a message into the house's form: lower case, no full stop, no backtrace, no appeal to
/// report a bug, SQL's types.
#[must_use]
pub fn tidy(message: &str) -> String {
    let message = message.split("\n\nbacktrace:").next().unwrap_or_default();
    let message = message.split("\nThis issue was likely caused by a bug").next().unwrap_or("");
    let mut message = message.trim();
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| message.strip_prefix(prefix)) {
        message = rest;
    }
    let message = message.trim_end_matches('.');
    let message = causes::in_short(message).unwrap_or_else(|| with_sql_types(message));
    let mut characters = message.chars();
    match (characters.next(), characters.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => message,
    }
}

/// What DataFusion and Arrow put before their messages to say which part of them speaks.
const PREFIXES: &[&str] = &[
    "Error during planning: ",
    "Execution error: ",
    "Arrow error: ",
    "Internal error: ",
    "This feature is not implemented: ",
    "Cast error: ",
    "Parser error: ",
    "Parquet error: ",
    "Compute error: ",
    "Invalid argument error: ",
];

/// Puts SQL's names of types in the place of Arrow's.
#[must_use]
pub fn with_sql_types(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        if let Some((text, length)) = in_parentheses(rest, end) {
            out.push_str(&text);
            rest = &rest[length..];
        } else {
            let (word, after) = rest.split_at(end);
            out.push_str(word_sql(word));
            rest = after;
        }
        let separators = rest.find(char::is_alphanumeric).unwrap_or(rest.len());
        out.push_str(&rest[..separators]);
        rest = &rest[separators..];
    }
    out
}

/// Writes a type with something in parentheses, as `List(Int32)`, or a literal that DataFusion
/// writes with its type, as `Int64(1)`, and tells how long it was.
fn in_parentheses(text: &str, word_end: usize) -> Option<(String, usize)> {
    if !text[word_end..].starts_with('(') || !text.starts_with(char::is_uppercase) {
        return None;
    }
    let mut depth = 0_usize;
    let length = text[word_end..].char_indices().find_map(|(index, character)| {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some(word_end + index + 1)
    })?;
    if let Ok(data_type) = text[..length].parse() {
        return Some((type_sql(&data_type), length));
    }
    let literal = literal::written_sql(&text[..word_end], &text[word_end + 1..length - 1])?;
    Some((literal, length))
}

/// Returns SQL's name of a type that is one word, also of DataFusion's families of types.
fn word_sql(word: &str) -> &str {
    match word {
        "Utf8View" | "LargeUtf8" | "Utf8" => "STRING",
        "Boolean" => "BOOLEAN",
        "Int8" => "TINYINT",
        "Int16" => "SMALLINT",
        "Int32" => "INT",
        "Int64" => "BIGINT",
        "UInt8" | "UInt16" | "UInt32" | "UInt64" => "UNSIGNED BIGINT",
        "Float16" | "Float32" => "FLOAT",
        "Float64" => "DOUBLE",
        "Decimal128" | "Decimal256" => "DECIMAL",
        "Date32" => "DATE",
        "Time32" | "Time64" => "TIME",
        "Binary" | "LargeBinary" | "BinaryView" => "BYTES",
        "ScalarValue" => "value",
        word => word,
    }
}

#[cfg(test)]
mod tests;
