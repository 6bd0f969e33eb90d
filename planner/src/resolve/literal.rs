//! Literals and casts whose types DataFusion takes for others than Flink.

use arrow::datatypes::{DataType, TimeUnit};
use sqlparser::ast::{CastKind, DataType as SqlType, Expr, TimezoneInfo, TypedString, Value};
use sqlparser::tokenizer::Span;

use super::rewrite::interval;
use crate::parse::{call, named_type};
use crate::types::{character_limit, coarser_unit};

/// Returns what a literal or cast stands for, where it stands for something else.
pub(super) fn rewrite_literal(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Value(value) => match &value.value {
            // A number with an exponent is a DOUBLE, one with a point alone a DECIMAL.
            Value::Number(digits, _) if digits.contains(['e', 'E']) => {
                Some(cast(text(digits, value.span), named_type(&DataType::Float64)))
            }
            Value::UnicodeStringLiteral(characters) => Some(text(characters, value.span)),
            _ => None,
        },
        Expr::TypedString(literal) => with_digits(literal).map(Expr::TypedString),
        Expr::Cast { kind: CastKind::Cast | CastKind::TryCast, data_type, .. } => {
            limited(expr, data_type).or_else(|| truncated(expr, data_type))
        }
        _ => None,
    }
}

/// Gives a TIMESTAMP literal as many digits as are written, at least those of milliseconds.
fn with_digits(literal: &TypedString) -> Option<TypedString> {
    if !matches!(literal.data_type, SqlType::Timestamp(None, TimezoneInfo::None)) {
        return None;
    }
    let Value::SingleQuotedString(text) = &literal.value.value else { return None };
    let digits = text
        .split_once('.')
        .map_or(0, |(_, fraction)| fraction.chars().take_while(char::is_ascii_digit).count());
    let unit = match digits {
        0..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    };
    Some(TypedString { data_type: named_type(&DataType::Timestamp(unit, None)), ..literal.clone() })
}

/// Cuts a text to the length of VARCHAR(n); CHAR(n) also fills it up.
fn limited(expr: &Expr, data_type: &SqlType) -> Option<Expr> {
    let (function, length) = character_limit(&data_type.to_string())?;
    let string = named_type(&DataType::Utf8View);
    let mut whole = expr.clone();
    if let Expr::Cast { data_type, .. } = &mut whole {
        *data_type = string.clone();
    }
    let length = Expr::Value(Value::Number(length.to_string(), false).with_span(Span::empty()));
    Some(cast(call(function, vec![whole, length], Span::empty()), string))
}

/// Takes the digits from a time that TIMESTAMP(n) does not have.
fn truncated(expr: &Expr, data_type: &SqlType) -> Option<Expr> {
    let unit = coarser_unit(&data_type.to_string())?;
    let width = interval(&format!("{unit} nanoseconds"), Span::empty());
    Some(call("date_bin", vec![width, expr.clone()], Span::empty()))
}

fn text(value: &str, span: Span) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.to_owned()).with_span(span))
}

fn cast(expr: Expr, data_type: SqlType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}
