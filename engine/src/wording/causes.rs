//! Failures that DataFusion and Arrow word for those who program with them.

use arrow::datatypes::DataType;

use super::{type_sql, with_sql_types};

/// Says a failure in SQL's words, where it is one of those that are known.
pub(super) fn in_short(message: &str) -> Option<String> {
    KNOWN.iter().find_map(|known| known(message))
}

/// Each knows one kind of message.
const KNOWN: &[fn(&str) -> Option<String>] = &[
    cast,
    out_of_range,
    array_overflow,
    large_decimal,
    overflowing_decimal,
    text_as_decimal,
    place_of_expression,
    text_as_timestamp,
    text_as_time,
    time_out_of_range,
    date_arithmetic,
    regular_expression,
    large_regular_expression,
    long_text,
    repeated_text,
    filled_text,
    character,
    domain,
    not_supported,
    unsupported_type,
    list_index,
];

fn between<'m>(message: &'m str, before: &str, after: &str) -> Option<&'m str> {
    message.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

fn cannot_cast(value: &str, to: &str) -> String {
    format!("cannot cast {value} to {}", with_sql_types(to))
}

fn cast(message: &str) -> Option<String> {
    for (start, middle, end) in [
        ("Cannot cast string ", " to value of ", " type"),
        ("Cannot cast value ", " to value of ", " type"),
        ("Can't cast value ", " to type ", ""),
    ] {
        if let Some((text, to)) =
            message.strip_prefix(start).and_then(|rest| rest.rsplit_once(middle))
        {
            return Some(cannot_cast(text, to.strip_suffix(end)?));
        }
    }
    None
}

fn out_of_range(message: &str) -> Option<String> {
    let (value, to) = message.strip_prefix("value of ")?.split_once(" is out of range ")?;
    Some(cannot_cast(value, to))
}

fn array_overflow(message: &str) -> Option<String> {
    let (_, call) = message.split_once("Array overflow on ")?;
    Some(format!("{} does not fit its type", call.to_uppercase()))
}

fn large_decimal(message: &str) -> Option<String> {
    let (value, rest) =
        [" is too large to store in a Decimal", " is too small to store in a Decimal"]
            .iter()
            .find_map(|middle| message.split_once(middle))?;
    let digits = rest.split_once("of precision ")?.1.split('.').next()?;
    Some(format!("{value} does not fit a DECIMAL of {digits} digits"))
}

/// "Cannot cast to Decimal128(5, 2). Overflowing on 1234.5".
fn overflowing_decimal(message: &str) -> Option<String> {
    let (to, value) = message.strip_prefix("Cannot cast to ")?.split_once(". Overflowing on ")?;
    Some(cannot_cast(value, to))
}

fn text_as_decimal(message: &str) -> Option<String> {
    let text = message
        .strip_prefix("can't parse the string value ")
        .and_then(|rest| rest.strip_suffix(" to decimal"))
        .or_else(|| message.strip_prefix("Invalid decimal format: "))
        .or_else(|| message.strip_prefix("Cannot parse decimal format: "))
        .or_else(|| between(message, "parse decimal overflow (", ")"))
        .or_else(|| between(message, "Cannot convert ", " to Decimal"))?;
    Some(format!("cannot cast '{}' to DECIMAL", text.trim_matches('"')))
}

/// A syntax tree follows, of which the first word is enough.
fn place_of_expression(message: &str) -> Option<String> {
    let rest = message.strip_prefix("Physical plan does not support logical expression ")?;
    let kind = match rest.split(['(', ' ']).next()? {
        "AggregateFunction" => "an aggregate function",
        "WindowFunction" => "a window function",
        _ => "such an expression",
    };
    Some(format!("{kind} is not supported at this place"))
}

fn text_as_timestamp(message: &str) -> Option<String> {
    let (text, _) = message.strip_prefix("Error parsing timestamp from ")?.rsplit_once(": ")?;
    Some(match text.split_once(" using format ") {
        Some((text, format)) => format!("{text} is no time by the pattern {format}"),
        None => format!("cannot cast {text} to TIMESTAMP"),
    })
}

fn text_as_time(message: &str) -> Option<String> {
    let text = between(message, "Failed to parse '", "' as time")
        .or_else(|| between(message, "Error parsing '", "' as time"))?;
    Some(format!("cannot cast '{text}' to TIME"))
}

/// Messages with the name of a Rust type and a number of this type's units.
fn time_out_of_range(message: &str) -> Option<String> {
    if message == "Timestamp out of range" {
        return Some("the timestamp is too far from 1970".to_owned());
    }
    let (_, rest) = message.split_once("arrow_array::types::")?;
    let (name, rest) = rest.split_once("Type ")?;
    let value = rest.split(' ').next()?.trim_end_matches(['.', ',']);
    let name = with_sql_types(name);
    let unit = ["Nanosecond", "Microsecond", "Millisecond", "Second"]
        .into_iter()
        .find(|unit| name.ends_with(unit))
        .map_or_else(String::new, |unit| format!(" {}s", unit.to_lowercase()));
    Some(format!("{value}{unit} since 1970 is too far from 1970 for a time"))
}

fn date_arithmetic(message: &str) -> Option<String> {
    message
        .starts_with("Date arithmetic overflow")
        .then(|| "the date is too far from 1970".to_owned())
}

/// The expression itself is drawn over several lines.
fn regular_expression(message: &str) -> Option<String> {
    let (_, drawn) = message.split_once("regex parse error:")?;
    let mut lines = drawn.lines().map(str::trim).filter(|line| !line.is_empty());
    let expression = lines.next()?;
    let cause = lines.find_map(|line| line.strip_prefix("error: "))?;
    Some(format!("'{expression}' is not a regular expression: {cause}"))
}

fn large_regular_expression(message: &str) -> Option<String> {
    let is_large = message.contains("CompiledTooBig") || message.contains("exceeds size limit");
    is_large.then(|| "the regular expression is too large".to_owned())
}

fn long_text(message: &str) -> Option<String> {
    message.starts_with("byte array offset overflow").then(|| "a text is too long".to_owned())
}

fn repeated_text(message: &str) -> Option<String> {
    let (most, found) = message
        .strip_prefix("string size overflow on repeat, max size is ")?
        .split_once(", but got ")?;
    Some(format!("REPEAT would make a text of {found} bytes, at most {most} are possible"))
}

fn filled_text(message: &str) -> Option<String> {
    let (name, rest) = message.split_once(" requested length ")?;
    let (found, most) = rest.split_once(" too large, maximum allowed length is ")?;
    let name = name.to_uppercase();
    Some(format!("{name} would make a text of {found} characters, at most {most} are possible"))
}

fn character(message: &str) -> Option<String> {
    let number = message.strip_prefix("invalid Unicode scalar value: ")?;
    Some(format!("there is no character with the number {number}"))
}

fn domain(message: &str) -> Option<String> {
    let name = between(message, "Input range of ", " contains out-of-domain values")?;
    Some(format!("{name} is not defined for this value"))
}

fn not_supported(message: &str) -> Option<String> {
    let types = message.strip_prefix("Casting from ")?.strip_suffix(" not supported")?;
    Some(format!("cannot cast {}", with_sql_types(types)))
}

/// "Unsupported data type Int64 for function lpad", "array_max does not support type: List(Int32)".
fn unsupported_type(message: &str) -> Option<String> {
    if let Some(rest) = message.strip_prefix("Unsupported data type ") {
        let (found, name) = rest.split_once(" for function ")?;
        let name = name.split([',', ' ']).next()?.trim_matches(['`', '"']);
        return Some(format!("{} does not take {}", name.to_uppercase(), with_sql_types(found)));
    }
    let (name, found) = message.split_once(" does not support type")?;
    let found = found.trim_start_matches([':', ' ']).trim_end_matches('.').trim_matches('\'');
    let known = found.parse::<DataType>().map(|data_type| type_sql(&data_type));
    let found = known.unwrap_or_else(|_| with_sql_types(found));
    Some(format!("{} does not take {found}", name.to_uppercase()))
}

fn list_index(message: &str) -> Option<String> {
    let index = message.strip_prefix("array_slice got invalid index: ")?;
    Some(format!("there is no element {index}"))
}
