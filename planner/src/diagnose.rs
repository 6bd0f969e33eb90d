//! DataFusion's errors as complaints about SQL.

use std::ops::ControlFlow;

use datafusion::common::{Diagnostic, SchemaError};
use datafusion::error::DataFusionError;
use sqlparser::ast::{Expr, Spanned, Visit, visit_expressions};
use sqlparser::tokenizer::{Location, Span};

use crate::error::{SqlError, SqlErrorCode, SqlErrors, suggest};

/// Turns an error of binding into complaints. What has no place of its own is placed at
/// `fallback`.
pub(crate) fn from_datafusion(error: &DataFusionError, fallback: Span) -> SqlErrors {
    let mut errors = Vec::new();
    collect(error, None, &mut errors);
    errors.sort_by_key(|error| (error.line, error.column));
    errors.dedup();
    SqlErrors(errors.into_iter().map(|error| error.or_at(fallback)).collect())
}

/// Turns an error of binding a query or expression into complaints. What has no place of its own
/// is placed at the call or operator that it names, if there is only one of these.
pub(crate) fn from_datafusion_in<T: Visit + Spanned>(
    error: &DataFusionError,
    node: &T,
) -> SqlErrors {
    let mut errors = Vec::new();
    collect(error, None, &mut errors);
    let place = |error: SqlError| {
        if error.line > 0 {
            return error;
        }
        let span = culprit(&error.message, node).unwrap_or_else(|| node.span());
        error.or_at(span)
    };
    let mut errors: Vec<SqlError> = errors.into_iter().map(place).collect();
    errors.sort_by_key(|error| (error.line, error.column));
    errors.dedup();
    SqlErrors(errors)
}

/// Finds the only call or operation that a message can mean.
fn culprit<T: Visit>(message: &str, node: &T) -> Option<Span> {
    let function =
        quoted_after(message, "function '").or_else(|| quoted_before(message, "' function"));
    let operator = message.split_whitespace().find(|word| OPERATORS.contains(word));
    let mut found = Vec::new();
    let _ = visit_expressions(node, |expr| {
        match (expr, function, operator) {
            (Expr::Function(call), Some(name), _)
                if call.name.to_string().eq_ignore_ascii_case(name) =>
            {
                found.push(call.name.span());
            }
            (Expr::BinaryOp { op, .. }, None, Some(symbol)) if op.to_string() == symbol => {
                found.push(expr.span());
            }
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    match found.as_slice() {
        [span] => Some(*span).filter(|span| span.start.line > 0),
        _ => None,
    }
}

/// Operators that DataFusion names in its messages.
const OPERATORS: &[&str] =
    &["+", "-", "*", "/", "%", "=", "<>", "!=", "<", "<=", ">", ">=", "||", "AND", "OR", "LIKE"];

fn quoted_after<'m>(message: &'m str, before: &str) -> Option<&'m str> {
    message.split_once(before)?.1.split_once('\'').map(|(name, _)| name)
}

fn quoted_before<'m>(message: &'m str, after: &str) -> Option<&'m str> {
    message.split_once(after)?.0.rsplit_once('\'').map(|(_, name)| name)
}

fn collect(error: &DataFusionError, diagnostic: Option<&Diagnostic>, errors: &mut Vec<SqlError>) {
    match error {
        DataFusionError::Diagnostic(diagnostic, inner) => {
            collect(inner, Some(diagnostic), errors);
        }
        DataFusionError::Context(_, inner) => collect(inner, diagnostic, errors),
        DataFusionError::Shared(inner) => collect(inner, diagnostic, errors),
        DataFusionError::Collection(all) => {
            for error in all {
                collect(error, diagnostic, errors);
            }
        }
        // Complaints of ours that came through DataFusion's planner.
        DataFusionError::External(inner) if inner.is::<SqlErrors>() => {
            errors.extend(
                inner.downcast_ref::<SqlErrors>().into_iter().flat_map(|all| all.0.clone()),
            );
        }
        DataFusionError::External(inner) if inner.is::<SqlError>() => {
            errors.extend(inner.downcast_ref::<SqlError>().cloned());
        }
        other => {
            let (code, message, help) = describe(other);
            let span = diagnostic.and_then(|diagnostic| diagnostic.span).map_or_else(
                Span::empty,
                |span| {
                    let start = Location::new(span.start.line, span.start.column);
                    Span::new(start, Location::new(span.end.line, span.end.column))
                },
            );
            let mut complaint = SqlError::at(code, span, message);
            complaint.help = help.or_else(|| {
                let help = diagnostic.and_then(|diagnostic| diagnostic.helps.first());
                help.map(|help| tidy(&help.message))
            });
            errors.push(complaint);
        }
    }
}

fn describe(error: &DataFusionError) -> (SqlErrorCode, String, Option<String>) {
    match error {
        DataFusionError::SchemaError(error, _) => describe_schema_error(error),
        DataFusionError::NotImplemented(message) => {
            (SqlErrorCode::Unsupported, tidy(message), None)
        }
        DataFusionError::Plan(message)
        | DataFusionError::Execution(message)
        | DataFusionError::Configuration(message) => (code_of(message), tidy(message), None),
        DataFusionError::SQL(error, _) => {
            let error = SqlError::from((**error).clone());
            (SqlErrorCode::Parse, error.message, error.help)
        }
        DataFusionError::ArrowError(error, _) => {
            let message = error.to_string();
            (SqlErrorCode::Type, tidy(message.trim_start_matches("Cast error: ")), None)
        }
        DataFusionError::Internal(message) => (SqlErrorCode::Internal, tidy(message), None),
        other => (SqlErrorCode::Type, tidy(&other.strip_backtrace()), None),
    }
}

/// Some of DataFusion's plan errors are of other kinds than types.
fn code_of(message: &str) -> SqlErrorCode {
    if message.contains("not supported") || message.contains("Unsupported") {
        SqlErrorCode::Unsupported
    } else if message.contains("mbiguous") {
        SqlErrorCode::Ambiguous
    } else {
        SqlErrorCode::Type
    }
}

fn describe_schema_error(error: &SchemaError) -> (SqlErrorCode, String, Option<String>) {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names: Vec<String> = valid_fields.iter().map(|c| c.name().to_owned()).collect();
            let help = suggest(field.name(), names.iter().map(String::as_str))
                .map(|name| format!("did you mean '{name}'?"));
            (
                SqlErrorCode::UnknownColumn,
                format!("there is no column '{}'", field.flat_name()),
                help,
            )
        }
        SchemaError::AmbiguousReference { field } => {
            (SqlErrorCode::Ambiguous, format!("column '{}' is ambiguous", field.flat_name()), None)
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => (
            SqlErrorCode::Ambiguous,
            format!("there are two columns '{name}'"),
            Some("give one of them another name with AS".to_owned()),
        ),
    }
}

/// Arrow's names of types and SQL's.
const TYPE_NAMES: &[(&str, &str)] = &[
    ("Utf8View", "STRING"),
    ("LargeUtf8", "STRING"),
    ("Utf8", "STRING"),
    ("Boolean", "BOOLEAN"),
    ("Int8", "TINYINT"),
    ("Int16", "SMALLINT"),
    ("Int32", "INT"),
    ("Int64", "BIGINT"),
    ("Float32", "FLOAT"),
    ("Float64", "DOUBLE"),
    ("Decimal128", "DECIMAL"),
    ("Date32", "DATE"),
];

/// Brings a message into the house's form: lower case, no full stop, no backtrace, SQL's types.
fn tidy(message: &str) -> String {
    let message = message.split("\n\nbacktrace:").next().unwrap_or_default().trim();
    let message = message.trim_start_matches("Error during planning: ").trim_end_matches('.');
    let message = wrong_arguments(message).unwrap_or_else(|| message.to_owned());
    let message = with_sql_types(&message);
    let mut characters = message.chars();
    match (characters.next(), characters.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => message,
    }
}

/// Shortens DataFusion's answer to arguments that a function does not take.
fn wrong_arguments(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("ailed to coerce arguments to satisfy a call to '")?;
    let (name, rest) = rest.split_once("' function: coercion from ")?;
    let (types, _) = rest.split_once(" to the signature ")?;
    let types = if types.is_empty() { "no arguments".to_owned() } else { format!("({types})") };
    Some(format!("function '{name}' does not take {types}"))
}

fn with_sql_types(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let known = TYPE_NAMES.iter().find(|(arrow, _)| *arrow == word);
        out.push_str(known.map_or(word, |(_, sql)| sql));
        let separators = after.find(char::is_alphanumeric).unwrap_or(after.len());
        out.push_str(&after[..separators]);
        rest = &after[separators..];
    }
    out
}
