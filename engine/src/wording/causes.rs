//! Failures that DataFusion and Arrow word for those who program with them.

use arrow::datatypes::DataType;

use super::sentence::Ours::{self, Made, Words};
use super::sentence::{filled, holes};
use super::{type_sql, with_sql_types};

/// Says a failure in SQL's words, where it is one of those that are known.
pub(super) fn in_short(message: &str) -> Option<String> {
    known(message).map(|(_, said)| said)
}

/// Finds the failure that a message is about, by its place in the table, and what is said.
pub(super) fn known(message: &str) -> Option<(usize, String)> {
    KNOWN.iter().enumerate().find_map(|(index, (theirs, ours))| {
        let holes = holes(theirs, message)?;
        let said = match ours {
            Words(words) => Some(filled(words, &holes)),
            Made(make) => make(&holes),
        };
        said.map(|said| (index, said))
    })
}

/// What they say, and what is said instead.
pub(super) const KNOWN: &[(&str, Ours<String>)] = &[
    // Texts are read with more digits than the type has.
    ("Cannot cast string {} to value of Decimal", Words("cannot cast {0r} to DECIMAL")),
    ("Cannot cast string {} to value of {} type", Words("cannot cast {0r} to {1}")),
    ("Cannot cast value {} to value of {} type", Words("cannot cast {0r} to {1}")),
    ("Can't cast value {} to type {}", Words("cannot cast {0r} to {1}")),
    ("value of {} is out of range {}", Words("cannot cast {0r} to {1}")),
    ("Casting from {} to {} not supported", Words("cannot cast {0} to {1}")),
    ("Array overflow on {}", Made(|of| Some(overflow(&of[0].to_uppercase())))),
    ("Overflow happened on FACTORIAL({})", Words("FACTORIAL({0r}) does not fit BIGINT")),
    ("Signed integer overflow in {}", Words("{0r} does not fit BIGINT")),
    ("Arithmetic Overflow in AvgAccumulator", Words("the sum of an AVG has too many digits")),
    (
        "{} is too large to store in a Decimal{} of precision {}. Max",
        Words("{0r} does not fit a DECIMAL of {2r} digits"),
    ),
    (
        "{} is too small to store in a Decimal{} of precision {}. Min",
        Words("{0r} does not fit a DECIMAL of {2r} digits"),
    ),
    // "Cannot cast to Decimal128(5, 2). Overflowing on 1234.5".
    ("Cannot cast to {}. Overflowing on {}", Words("cannot cast {1r} to {0}")),
    ("can't parse the string value {} to decimal", Made(|text| Some(as_decimal(text[0])))),
    ("Invalid decimal format: {}", Made(|text| Some(as_decimal(text[0])))),
    ("Cannot parse decimal format: {}", Made(|text| Some(as_decimal(text[0])))),
    ("parse decimal overflow ({})", Made(|text| Some(as_decimal(text[0])))),
    ("Cannot convert {} to Decimal", Made(|text| Some(as_decimal(text[0])))),
    // A syntax tree follows, of which the first word is enough.
    ("Physical plan does not support logical expression {}", Made(place_of_expression)),
    (
        "Error parsing timestamp from {} using format {}: ",
        Words("{0r} is no time by the pattern {1r}"),
    ),
    ("Error parsing timestamp from {}: ", Words("cannot cast {0r} to TIMESTAMP")),
    ("Failed to parse '{}' as time", Words("cannot cast '{0r}' to TIME")),
    ("Error parsing '{}' as time", Words("cannot cast '{0r}' to TIME")),
    ("Timestamp {} out of range", Words("the timestamp is too far from 1970")),
    ("Timestamp out of range", Words("the timestamp is too far from 1970")),
    ("arrow_array::types::{}Type {}", Made(time_out_of_range)),
    ("Date arithmetic overflow", Words("the date is too far from 1970")),
    ("Invalid timezone \"{}\"", Words("there is no time zone '{0r}'")),
    ("Unable to represent {} as {} in a signed 32-bit", Words("an INTERVAL of {0r} is too long")),
    ("Unable to represent {} in a signed 32-bit", Words("an INTERVAL of {0r} is too long")),
    ("Invalid input syntax for type interval: \"{}\"", Words("'{0r}' is no INTERVAL")),
    ("regex parse error:{}", Made(regular_expression)),
    ("CompiledTooBig", Words("the regular expression is too large")),
    ("exceeds size limit", Words("the regular expression is too large")),
    ("byte array offset overflow", Words("a text is too long")),
    ("ncountered non UTF-8 data", Words("these bytes are no text in UTF-8")),
    (
        "string size overflow on repeat, max size is {}, but got {}",
        Words("REPEAT would make a text of {1r} bytes, at most {0r} are possible"),
    ),
    ("{} requested length {} too large, maximum allowed length is {}", Made(filled_text)),
    ("invalid Unicode scalar value: {}", Words("there is no character with the number {0r}")),
    ("negative count not allowed: {}", Words("SUBSTRING takes a length from 0, not {0r}")),
    ("Input range of {} contains out-of-domain", Words("{0r} is not defined for this value")),
    ("Failed to decode value using {}: ", Words("this is no text in {0r}")),
    ("Failed to decode from {}: ", Words("this is no text in {0r}")),
    (
        "Encoding must be a scalar",
        Words("the encoding of ENCODE and DECODE must be a literal, such as 'hex'"),
    ),
    (
        "There is no built-in encoding named '{}', currently supported encodings are: {}",
        Words("there is no encoding '{0r}', only {1r}"),
    ),
    (
        "There is no built-in digest algorithm named '{}', currently supported algorithms are: {}",
        Words("there is no digest '{0r}', only {1r}"),
    ),
    ("date_part requires non-empty constant", Words("the unit of DATE_PART must be a literal")),
    ("Granularity of `{}` must be non-null", Words("the unit of {0u} must be a literal")),
    ("{} delimiter must be a string literal", Words("the separator of {0u} must be a literal")),
    ("{}() requires {} to be 1", Words("{0u} takes a {1r} from 1")),
    ("ange too large to materialize", Words("the array would be too long")),
    ("step can't be 0 for function", Words("the step of an array's numbers must not be 0")),
    ("date range less than 1 day", Words("the step between dates is a day or more")),
    ("array_slice got invalid stride: 0", Words("the step of a slice must not be 0")),
    ("second parameter of {} expects DESC or ASC", Words("{0u} takes 'ASC' or 'DESC'")),
    ("map key must be unique, duplicate key found: {}", Words("the map has the key {0r} twice")),
    ("map key cannot be null", Words("a key of a map must not be NULL")),
    (
        "ound unmasked nulls for non-nullable StructArray field {}",
        Words("'{0q}' inside is NOT NULL and gets NULL"),
    ),
    (
        "non-nullable StructArray child: Field { \"{}\"",
        Words("'{0r}' inside is NOT NULL and gets NULL"),
    ),
    ("on-nullable field of {}Array", Words("an element that is NOT NULL gets NULL")),
    (
        "calar subquery returned more than one row",
        Words("a subquery that stands for one value returns several rows"),
    ),
    ("Unsupported data type {} for function {}", Made(unsupported_type)),
    ("{} does not support type{}", Made(named_unsupported_type)),
    ("{}(DISTINCT) aggregations are not available", Words("{0r}(DISTINCT …) is not supported")),
    (
        "{} DISTINCT with multiple arguments",
        Words("{0r}(DISTINCT …) of several columns is not supported"),
    ),
];

/// Says that an operation does not fit its type. Messages that do not name the type are about the
/// least number of it, which has no counterpart.
pub(super) fn overflow(of: &str) -> String {
    format!("{of} does not fit {}", type_of_least(of).unwrap_or("its type"))
}

fn type_of_least(text: &str) -> Option<&'static str> {
    let numbers = text.split(|c: char| c != '-' && !c.is_ascii_digit());
    let mut types = numbers.filter_map(|number| match number {
        "-128" => Some("TINYINT"),
        "-32768" => Some("SMALLINT"),
        "-2147483648" => Some("INT"),
        "-9223372036854775808" => Some("BIGINT"),
        _ => None,
    });
    types.next()
}

fn as_decimal(text: &str) -> String {
    format!("cannot cast '{}' to DECIMAL", text.trim_matches('"'))
}

fn place_of_expression(tree: &[&str]) -> Option<String> {
    let kind = match tree[0].split(['(', ' ']).next()? {
        "AggregateFunction" => "an aggregate function",
        "WindowFunction" => "a window function",
        _ => "such an expression",
    };
    Some(format!("{kind} is not supported at this place"))
}

/// Messages with the name of a Rust type and a number of this type's units.
fn time_out_of_range(of: &[&str]) -> Option<String> {
    let value = of[1].split(' ').next()?.trim_end_matches(['.', ',']);
    let unit = ["Nanosecond", "Microsecond", "Millisecond", "Second"]
        .into_iter()
        .find(|unit| of[0].ends_with(unit))
        .map_or_else(String::new, |unit| format!(" {}s", unit.to_lowercase()));
    Some(format!("{value}{unit} since 1970 is too far from 1970 for a time"))
}

/// The expression itself is drawn over several lines.
fn regular_expression(drawn: &[&str]) -> Option<String> {
    let mut lines = drawn[0].lines().map(str::trim).filter(|line| !line.is_empty());
    let expression = lines.next()?;
    let cause = lines.find_map(|line| line.strip_prefix("error: "))?;
    Some(format!("'{expression}' is not a regular expression: {cause}"))
}

fn filled_text(of: &[&str]) -> Option<String> {
    let [name, found, most] = of else { return None };
    let name = name.to_uppercase();
    Some(format!("{name} would make a text of {found} characters, at most {most} are possible"))
}

/// "Unsupported data type Int64 for function lpad".
fn unsupported_type(of: &[&str]) -> Option<String> {
    let [found, name] = of else { return None };
    let name = name.split([',', ' ']).next()?.trim_matches(['`', '"', '.']);
    Some(format!("{} does not take {}", name.to_uppercase(), with_sql_types(found)))
}

/// "array_max does not support type: List(Int32)".
fn named_unsupported_type(of: &[&str]) -> Option<String> {
    let [name, found] = of else { return None };
    let found = found.trim_start_matches([':', ' ']).trim_end_matches('.').trim_matches('\'');
    let known = found.parse::<DataType>().map(|data_type| type_sql(&data_type));
    let found = known.unwrap_or_else(|_| with_sql_types(found));
    Some(format!("{} does not take {found}", name.to_uppercase()))
}

#[cfg(test)]
mod tests;
