//! INTERVAL literals.
//!
//! sqlparser takes a unit that it does not know for an alias, and DataFusion then takes a number
//! without a unit for seconds. DataFusion does not know ranges of units, such as DAY TO SECOND.

use arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::common::ScalarValue;
use rainstorm_engine::function::interval_times;
use sqlparser::ast::{
    BinaryOperator, CastKind, DateTimeField, Expr, Interval, UnaryOperator, Value,
};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span, Token};

use super::tree::{call, named_type};
use crate::error::suggest;
use crate::interval::interval_ms;

/// Units, for suggestions.
const UNITS: &[&str] =
    &["YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND", "MILLISECOND"];

/// Units that ranges are made of, each group from the longest.
const RANGES: &[&[&str]] = &[&["YEAR", "MONTH"], &["DAY", "HOUR", "MINUTE", "SECOND"]];

/// Parses `INTERVAL 'value' unit [TO unit]`, or a value with its units inside.
///
/// # Errors
/// A number without a unit, and a value that is not one of its range.
pub(crate) fn parse(parser: &mut Parser) -> Result<Expr, ParserError> {
    parser.next_token();
    let value = parser.next_token();
    let Token::SingleQuotedString(text) = &value.token else {
        return parser.expected("a length of time", value);
    };
    if !parser.next_token_is_temporal_unit() {
        let has_unit = text.contains(char::is_alphabetic);
        return if has_unit { Ok(literal(text, value.span, None)) } else { no_unit(text, parser) };
    }
    let first = parser.parse_date_time_field()?;
    skip_precision(parser)?;
    if !parser.parse_keyword(Keyword::TO) {
        let quarters = (first == DateTimeField::Quarter).then(|| quarters(text, value.span));
        let written = || literal(text, value.span, Some(first));
        return Ok(quarters.flatten().unwrap_or_else(written));
    }
    let last = parser.parse_date_time_field()?;
    skip_precision(parser)?;
    let Some(text) = in_units(text, &first.to_string(), &last.to_string()) else {
        let location = value.span.start;
        return Err(ParserError::ParserError(format!(
            "'{text}' is not an interval of {first} TO {last}{location}"
        )));
    };
    Ok(literal(&text, value.span, None))
}

fn no_unit(text: &str, parser: &Parser) -> Result<Expr, ParserError> {
    let found = parser.peek_token_ref();
    let suggestion = match &found.token {
        Token::Word(word) => suggest(&word.value, UNITS.iter().copied()),
        _ => None,
    };
    let suggestion =
        suggestion.map_or_else(String::new, |unit| format!("; did you mean '{unit}'?"));
    Err(ParserError::ParserError(format!(
        "Expected: a unit of time after INTERVAL '{text}', found: {}{suggestion}{}",
        found.token, found.span.start
    )))
}

/// Skips the digits that a unit may have: they limit nothing here.
fn skip_precision(parser: &mut Parser) -> Result<(), ParserError> {
    if parser.consume_token(&Token::LParen) {
        parser.parse_comma_separated(Parser::parse_literal_uint)?;
        parser.expect_token(&Token::RParen)?;
    }
    Ok(())
}

fn literal(text: &str, span: Span, unit: Option<DateTimeField>) -> Expr {
    let value = Value::SingleQuotedString(text.to_owned()).with_span(span);
    Expr::Interval(Interval {
        value: Box::new(Expr::Value(value)),
        leading_field: unit,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    })
}

/// Writes quarters of a year, a unit that Arrow does not know.
fn quarters(text: &str, span: Span) -> Option<Expr> {
    let month = parse_interval_month_day_nano(&format!("{text} MONTH")).ok()?;
    times(month, 3, span)
}

/// Writes a value of a range with its units: `1 02:03:04` of DAY TO SECOND is
/// `1 DAY 02 HOUR 03 MINUTE 04 SECOND`.
fn in_units(text: &str, first: &str, last: &str) -> Option<String> {
    let units = RANGES.iter().find_map(|units| {
        let place = |wanted: &str| units.iter().position(|unit| *unit == wanted);
        let (from, to) = (place(first)?, place(last)?);
        (from < to).then(|| &units[from..=to])
    })?;
    let text = text.trim();
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => ("-", text),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let separators: &[char] = if first == "YEAR" { &['-'] } else { &[' ', ':'] };
    let numbers: Vec<&str> = text.split(separators).collect();
    let is_number = |(number, unit): (&&str, &&str)| {
        let fraction = usize::from(*unit == "SECOND" && number.contains('.'));
        let digits = number.chars().filter(char::is_ascii_digit).count();
        digits > 0 && digits + fraction == number.len()
    };
    let fits = numbers.len() == units.len() && numbers.iter().zip(units).all(is_number);
    let parts = numbers.iter().zip(units).map(|(number, unit)| format!("{sign}{number} {unit}"));
    fits.then(|| parts.collect::<Vec<_>>().join(" "))
}

/// Returns what a number times an interval stands for: a longer interval where the number is
/// written down, else a duration where the interval is of a fixed length.
pub(crate) fn multiply(expr: &Expr) -> Option<Expr> {
    let Expr::BinaryOp { left, op: BinaryOperator::Multiply, right } = expr else { return None };
    let ((number, Expr::Interval(interval)) | (Expr::Interval(interval), number)) =
        (&**left, &**right)
    else {
        return None;
    };
    let length = length_of(interval)?;
    match whole_number(number) {
        Some(number) => times(length, number, Span::empty()),
        None => duration(number, length),
    }
}

/// Returns the length of an interval that is a fixed number of whole milliseconds.
pub(crate) fn length_ms(interval: &Interval) -> Option<i64> {
    interval_ms(&ScalarValue::IntervalMonthDayNano(Some(length_of(interval)?)))
}

/// Reads an interval that has been parsed.
pub(crate) fn length_of(interval: &Interval) -> Option<IntervalMonthDayNano> {
    let Expr::Value(value) = &*interval.value else { return None };
    let Value::SingleQuotedString(text) = &value.value else { return None };
    match &interval.leading_field {
        Some(unit) => parse_interval_month_day_nano(&format!("{text} {unit}")).ok(),
        None => parse_interval_month_day_nano(text).ok(),
    }
}

fn whole_number(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => whole_number(expr)?.checked_neg(),
        _ => None,
    }
}

fn times(length: IntervalMonthDayNano, number: i64, span: Span) -> Option<Expr> {
    interval_times(length, number).map(|parts| of_parts(parts, span))
}

/// Writes an interval with its parts.
pub(crate) fn of_parts(parts: IntervalMonthDayNano, span: Span) -> Expr {
    let IntervalMonthDayNano { months, days, nanoseconds } = parts;
    literal(&format!("{months} MONTH {days} DAY {nanoseconds} NANOSECOND"), span, None)
}

fn duration(number: &Expr, length: IntervalMonthDayNano) -> Option<Expr> {
    let milliseconds = interval_ms(&ScalarValue::IntervalMonthDayNano(Some(length)))?;
    let value = |value: Value| Expr::Value(value.with_span(Span::empty()));
    let factor = value(Value::Number(milliseconds.to_string(), false));
    let product = Expr::BinaryOp {
        left: Box::new(Expr::Nested(Box::new(number.clone()))),
        op: BinaryOperator::Multiply,
        right: Box::new(factor),
    };
    let whole = Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Nested(Box::new(product))),
        data_type: named_type(&DataType::Int64),
        array: false,
        format: None,
    };
    let unit = value(Value::SingleQuotedString("Duration(Millisecond)".to_owned()));
    Some(call("arrow_cast", vec![whole, unit], Span::empty()))
}

#[cfg(test)]
mod tests {
    use super::in_units;

    #[test]
    fn ranges_are_written_with_their_units() {
        for (text, first, last, expected) in [
            ("1 02:03:04.5", "DAY", "SECOND", Some("1 DAY 02 HOUR 03 MINUTE 04.5 SECOND")),
            ("-1-6", "YEAR", "MONTH", Some("-1 YEAR -6 MONTH")),
            ("1:30", "MINUTE", "SECOND", Some("1 MINUTE 30 SECOND")),
            ("3 12", "DAY", "HOUR", Some("3 DAY 12 HOUR")),
            ("1:30", "DAY", "SECOND", None),
            ("1.5:30", "HOUR", "MINUTE", None),
            ("1", "SECOND", "DAY", None),
            ("1-1", "YEAR", "DAY", None),
        ] {
            assert_eq!(in_units(text, first, last).as_deref(), expected, "{text}");
        }
    }
}
