//! Functions that write times as texts.

use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, FieldRef, Time32MillisecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType,
};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::functions::datetime;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::char_pattern::CharPattern;
use super::date_pattern::DatePattern;
use super::moment::MICROS_PER_SECOND;
use super::scalar::{Scalar, Texts};
use super::time::{JAVA_PATTERN, MICROS, MILLIS, NANOS, TEXT, micros_of_numbers, moments};
use crate::format::Times;

/// The function that a cast of a timestamp to a text is.
pub const TIMESTAMP_TEXT: &str = "timestamp_text";

const DEFAULT_PATTERN: &str = "yyyy-MM-dd HH:mm:ss";
const TIME: DataType = DataType::Time32(TimeUnit::Millisecond);

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let text = |_: &[DataType]| TEXT;
    // Milliseconds first: the units that need no conversion are tried in this order.
    let times: &[&[DataType]] =
        &[&[MILLIS, TEXT], &[MICROS, TEXT], &[NANOS, TEXT], &[DataType::Date32, TEXT]];
    let numbers = [DataType::Int64, DataType::Decimal128(38, 0), DataType::Float64];
    let numbers = numbers.map(|number| [number, TEXT]);
    let seconds: Vec<&[DataType]> =
        numbers.iter().flat_map(|types| [&types[..1], &types[..]]).collect();
    vec![
        Scalar::strict("date_format", &[times, &[&[TEXT, TEXT]]].concat(), text, date_format)
            .checking(1, JAVA_PATTERN)
            .udf(),
        Scalar::strict("to_char", &[times, &[&[TIME, TEXT]]].concat(), text, to_char)
            .checking(1, check_char_pattern)
            .udf(),
        Scalar::new(TIMESTAMP_TEXT, &[&[MILLIS], &[MICROS], &[NANOS]], text, timestamp_text).udf(),
        Scalar::strict("from_unixtime", &seconds, text, from_unixtime)
            .checking(1, JAVA_PATTERN)
            .udf(),
    ]
}

/// A pattern by which moments are written.
pub(super) trait Pattern {
    /// Returns the length of the spans of time, aligned to 1970, within which all moments have the
    /// same text.
    fn resolution_micros(&self) -> i64;

    /// Appends the text of a moment, in microseconds since 1970.
    fn format(&self, micros: i64, out: &mut String);
}

/// Formats moments in microseconds, one pattern for all of them or one per row, which `compiled`
/// makes of its text.
fn format_moments<P: Pattern>(
    rows: usize,
    moment: impl Fn(usize) -> Option<i64>,
    patterns: Texts<'_>,
    compiled: impl Fn(&str) -> Result<Rc<P>>,
) -> Result<ArrayRef> {
    let mut out = StringViewBuilder::with_capacity(rows);
    let mut text = String::new();
    if let Texts::Scalar(Some(pattern)) = patterns {
        let pattern = compiled(pattern)?;
        let resolution = pattern.resolution_micros();
        // Rows come in the order of time: most have the text of the row before.
        let mut last = None;
        for row in 0..rows {
            let Some(micros) = moment(row) else {
                out.append_null();
                continue;
            };
            let span = micros.div_euclid(resolution);
            if last != Some(span) {
                text.clear();
                pattern.format(micros, &mut text);
                last = Some(span);
            }
            out.append_value(&text);
        }
        return Ok(Arc::new(out.finish()));
    }
    for row in 0..rows {
        match (moment(row), patterns.get(row)) {
            (Some(micros), Some(pattern)) => {
                text.clear();
                compiled(pattern)?.format(micros, &mut text);
                out.append_value(&text);
            }
            _ => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// `timestamp_text(time)`: what a cast to STRING gives, `2001-01-01 00:00:00.000` with as many
/// digits as the type has.
fn timestamp_text(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let array = args.args[0].to_array(args.number_rows)?;
    let (unit, digits) = match array.data_type() {
        DataType::Timestamp(unit @ TimeUnit::Microsecond, _) => (*unit, 6),
        DataType::Timestamp(unit @ TimeUnit::Nanosecond, _) => (*unit, 9),
        _ => (TimeUnit::Millisecond, 3),
    };
    let mut out = StringViewBuilder::with_capacity(args.number_rows);
    let times = Times::new(unit, false).with_digits_min(digits);
    times.each_text(&array, |text| out.append_option(text))?;
    Ok(Arc::new(out.finish()))
}

/// DATE_FORMAT(time, Java's pattern).
fn date_format(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    format_times(args, DatePattern::cached)
}

fn format_times<P: Pattern>(
    args: &ScalarFunctionArgs,
    compiled: impl Fn(&str) -> Result<Rc<P>>,
) -> Result<ArrayRef> {
    let patterns = Texts::new(args, 1)?;
    let array = args.args[0].to_array(args.number_rows)?;
    // The usual unit is not copied into another one.
    if let Some(millis) = array.as_primitive_opt::<TimestampMillisecondType>() {
        let moment = |row| millis.is_valid(row).then(|| millis.value(row).saturating_mul(1000));
        return format_moments(args.number_rows, moment, patterns, compiled);
    }
    if let Some(times) = array.as_primitive_opt::<Time32MillisecondType>() {
        let moment = |row| times.is_valid(row).then(|| i64::from(times.value(row)) * 1000);
        return format_moments(args.number_rows, moment, patterns, compiled);
    }
    let array = moments(args, 0)?;
    let micros = array.as_primitive::<TimestampMicrosecondType>();
    let moment = |row| micros.is_valid(row).then(|| micros.value(row));
    format_moments(args.number_rows, moment, patterns, compiled)
}

/// FROM_UNIXTIME(seconds [, Java's pattern]).
fn from_unixtime(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let micros = micros_of_numbers(args, 0, |_| Some(MICROS_PER_SECOND))?;
    let patterns = match args.args.len() {
        1 => Texts::Scalar(Some(DEFAULT_PATTERN)),
        _ => Texts::new(args, 1)?,
    };
    let moment = |row| micros.is_valid(row).then(|| micros.value(row));
    format_moments(args.number_rows, moment, patterns, DatePattern::cached)
}

/// TO_CHAR(time, PostgreSQL's pattern). One with a `%` is one of C's, which DataFusion has.
fn to_char(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let patterns = Texts::new(args, 1)?;
    match patterns {
        Texts::Scalar(Some(pattern)) if pattern.contains('%') => {
            let times = args.args[0].to_array(args.number_rows)?;
            return with_percents(&times, pattern);
        }
        Texts::Array(array) if array.iter().flatten().any(|pattern| pattern.contains('%')) => {
            return row_by_row(args, patterns);
        }
        _ => {}
    }
    let of_time = args.args[0].data_type() == TIME;
    format_times(args, |pattern| char_pattern(pattern, of_time))
}

/// Formats rows of which some have patterns of C's.
fn row_by_row(args: &ScalarFunctionArgs, patterns: Texts<'_>) -> Result<ArrayRef> {
    let times = args.args[0].to_array(args.number_rows)?;
    let mut out = StringViewBuilder::with_capacity(args.number_rows);
    for row in 0..args.number_rows {
        let pattern = patterns.get(row).map(|pattern| ScalarValue::Utf8View(Some(pattern.into())));
        let Some(pattern) = pattern else {
            out.append_null();
            continue;
        };
        let time = ColumnarValue::Array(times.slice(row, 1));
        let one = ScalarFunctionArgs {
            args: vec![time, ColumnarValue::Scalar(pattern)],
            arg_fields: args.arg_fields.clone(),
            number_rows: 1,
            return_field: Arc::clone(&args.return_field),
            config_options: Arc::clone(&args.config_options),
        };
        out.append_option(to_char(&one)?.as_string_view().iter().next().flatten());
    }
    Ok(Arc::new(out.finish()))
}

fn char_pattern(pattern: &str, of_time: bool) -> Result<Rc<CharPattern>> {
    let compiled = CharPattern::cached(pattern)?;
    if of_time && compiled.has_date() {
        return exec_err!("TO_CHAR of a TIME has no date, for which '{pattern}' asks");
    }
    Ok(compiled)
}

fn check_char_pattern(pattern: &str, fields: &[FieldRef]) -> Result<()> {
    let of = fields[0].data_type();
    if !pattern.contains('%') {
        return char_pattern(pattern, *of == TIME).map(drop);
    }
    let some = ScalarValue::new_default(of)?.to_array()?;
    with_percents(&some, pattern).map(drop)
}

fn with_percents(times: &ArrayRef, pattern: &str) -> Result<ArrayRef> {
    let pattern_value = ScalarValue::Utf8(Some(pattern.to_owned()));
    let texts = datetime::to_char().invoke_with_args(ScalarFunctionArgs {
        args: vec![ColumnarValue::Array(Arc::clone(times)), ColumnarValue::Scalar(pattern_value)],
        arg_fields: Vec::new(),
        number_rows: times.len(),
        return_field: Arc::new(arrow::datatypes::Field::new("", DataType::Utf8, true)),
        config_options: Arc::default(),
    });
    let Ok(texts) = texts.and_then(|texts| texts.into_array(times.len())) else {
        return exec_err!("TO_CHAR does not know the pattern '{pattern}'");
    };
    Ok(cast(&texts, &TEXT)?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, Time32MillisecondArray, TimestampMillisecondArray};

    use super::super::scalar::testing::{call, number, results, text, texts};
    use super::*;

    fn run(name: &str, args: Vec<ColumnarValue>, rows: usize) -> ArrayRef {
        call(&functions(), name, args, rows).unwrap_or_else(|error| panic!("{error}"))
    }

    fn millis(values: &[Option<i64>]) -> ColumnarValue {
        let array: TimestampMillisecondArray = values.iter().copied().collect();
        ColumnarValue::Array(Arc::new(array))
    }

    fn moment(millis: i64) -> ColumnarValue {
        ColumnarValue::Scalar(ScalarValue::TimestampMillisecond(Some(millis), None))
    }

    #[test]
    fn date_format_repeats_the_text_of_rows_in_one_span() {
        let times = millis(&[
            Some(1_704_067_200_000),
            Some(1_704_067_259_999),
            None,
            Some(1_704_067_260_000),
        ]);
        let array = run("date_format", vec![times.clone(), text("HH:mm")], 4);
        assert_eq!(results(&array), [Some("00:00"), Some("00:00"), None, Some("00:01")]);
        let array = run("date_format", vec![times, text("yyyy-MM-dd")], 4);
        assert_eq!(results(&array)[3], Some("2024-01-01"));
    }

    #[test]
    fn a_timestamp_as_text_has_the_digits_of_its_type() {
        let number = Some(1_500_000_000);
        for (value, expected) in [
            (ScalarValue::TimestampMillisecond(Some(-122_900), None), "1969-12-31 23:57:57.100"),
            (ScalarValue::TimestampMicrosecond(number, None), "1970-01-01 00:25:00.000000"),
            (ScalarValue::TimestampNanosecond(number, None), "1970-01-01 00:00:01.500000000"),
        ] {
            let array = run(TIMESTAMP_TEXT, vec![ColumnarValue::Scalar(value)], 1);
            assert_eq!(results(&array), [Some(expected)]);
        }
    }

    #[test]
    fn patterns_may_differ_by_row() {
        let args = vec![moment(0), texts(&[Some("yyyy"), Some("MM"), None])];
        assert_eq!(results(&run("date_format", args, 3)), [Some("1970"), Some("01"), None]);
    }

    #[test]
    fn to_char_takes_postgresqls_patterns_and_those_with_percents() {
        let times = millis(&[Some(-1), None]);
        let array = run("to_char", vec![times.clone(), text("YYYY-MM-DD HH24:MI:SS.MS")], 2);
        assert_eq!(results(&array), [Some("1969-12-31 23:59:59.999"), None]);
        let array = run("to_char", vec![times, text("%Y/%m")], 2);
        assert_eq!(results(&array), [Some("1969/12"), None]);
        let args = vec![moment(0), texts(&[Some("YYYY"), Some("%d.%m."), None, Some("Mon")])];
        let array = run("to_char", args, 4);
        assert_eq!(results(&array), [Some("1970"), Some("01.01."), None, Some("Jan")]);
    }

    #[test]
    fn to_char_of_dates_and_of_times_of_the_day() {
        let dates = ColumnarValue::Array(Arc::new(Date32Array::from(vec![-1, 19_782])));
        let array = run("to_char", vec![dates, text("DD Mon YYYY HH24")], 2);
        assert_eq!(results(&array), [Some("31 Dec 1969 00"), Some("29 Feb 2024 00")]);
        let times = Arc::new(Time32MillisecondArray::from(vec![3_723_004]));
        let times = ColumnarValue::Array(times);
        let array = run("to_char", vec![times.clone(), text("HH12:MI:SS.MS AM")], 1);
        assert_eq!(results(&array), [Some("01:02:03.004 AM")]);
        let error = call(&functions(), "to_char", vec![times, text("YYYY")], 1);
        assert!(error.expect_err("is refused").to_string().contains("of a TIME has no date"));
    }

    #[test]
    fn seconds_become_texts() {
        let array = run("from_unixtime", vec![number(44)], 1);
        assert_eq!(results(&array), [Some("1970-01-01 00:00:44")]);
        let array = run("from_unixtime", vec![number(44), text("HH:mm:ss")], 1);
        assert_eq!(results(&array), [Some("00:00:44")]);
        let error = call(&functions(), "from_unixtime", vec![number(i64::MAX)], 1);
        assert!(error.expect_err("is refused").to_string().contains("too far from 1970"));
    }
}
