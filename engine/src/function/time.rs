//! Functions of dates and times with Java's patterns.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Builder, Int64Builder, StringViewBuilder,
    TimestampMillisecondArray, TimestampMillisecondBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ScalarFunctionArgs, ScalarUDF};

use super::date_pattern::{DatePattern, MICROS_PER_DAY, civil_from_days};
use super::scalar::{Check, Integers, Scalar, Texts};
use crate::format::Times;

/// The function that a cast of a timestamp to a text is.
pub const TIMESTAMP_TEXT: &str = "timestamp_text";

const DEFAULT_PATTERN: &str = "yyyy-MM-dd HH:mm:ss";
const TEXT: DataType = DataType::Utf8View;
const MILLIS: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);
const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
const NANOS: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let text_and_pattern: &[&[DataType]] = &[&[TEXT], &[TEXT, TEXT]];
    let checked = (1, (|pattern| DatePattern::cached(pattern).map(drop)) as Check);
    vec![
        // Milliseconds first: the units that need no conversion are tried in this order.
        Scalar::checked(
            "date_format",
            &[&[MILLIS, TEXT], &[MICROS, TEXT], &[NANOS, TEXT], &[DataType::Date32, TEXT]],
            TEXT,
            date_format,
            checked,
        ),
        Scalar::udf(TIMESTAMP_TEXT, &[&[MILLIS], &[MICROS], &[NANOS]], TEXT, timestamp_text),
        Scalar::checked("to_timestamp", text_and_pattern, MILLIS, to_timestamp, checked),
        Scalar::checked(
            "to_timestamp_ltz",
            &[&[DataType::Int64], &[DataType::Int64, DataType::Int64], &[TEXT], &[TEXT, TEXT]],
            MILLIS,
            to_timestamp_ltz,
            checked,
        ),
        Scalar::checked("to_date", text_and_pattern, DataType::Date32, to_date, checked),
        Scalar::checked(
            "from_unixtime",
            &[&[DataType::Int64], &[DataType::Int64, TEXT]],
            TEXT,
            from_unixtime,
            checked,
        ),
        Scalar::udf(
            "timestampdiff",
            &[&[TEXT, MILLIS, MILLIS], &[TEXT, MICROS, MICROS], &[TEXT, NANOS, NANOS]],
            DataType::Int64,
            timestampdiff,
        ),
    ]
}

/// Formats moments in microseconds, one pattern for all of them or one per row.
fn format_moments(
    rows: usize,
    moment: impl Fn(usize) -> Option<i64>,
    patterns: Texts<'_>,
) -> Result<ArrayRef> {
    let mut out = StringViewBuilder::with_capacity(rows);
    let mut text = String::new();
    if let Texts::Scalar(Some(pattern)) = patterns {
        let pattern = DatePattern::cached(pattern)?;
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
                DatePattern::cached(pattern)?.format(micros, &mut text);
                out.append_value(&text);
            }
            _ => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// Reads texts by a pattern, each a moment in microseconds; what does not fit is null.
fn parse_moments(args: &ScalarFunctionArgs, mut append: impl FnMut(Option<i64>)) -> Result<()> {
    let (texts, patterns) = (Texts::new(args, 0)?, Texts::new(args, 1)?);
    let literal = match patterns {
        Texts::Scalar(Some(pattern)) => Some(DatePattern::cached(pattern)?),
        _ => None,
    };
    for row in 0..args.number_rows {
        let parsed = match (texts.get(row), patterns.get(row), &literal) {
            (Some(text), _, Some(pattern)) => pattern.parse(text),
            (Some(text), Some(pattern), None) => DatePattern::cached(pattern)?.parse(text),
            _ => None,
        };
        append(parsed);
    }
    Ok(())
}

/// Returns an argument's moments in microseconds.
fn moments(args: &ScalarFunctionArgs, index: usize) -> Result<ArrayRef> {
    let array = args.args[index].to_array(args.number_rows)?;
    Ok(cast(&array, &MICROS)?)
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

fn date_format(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let patterns = Texts::new(args, 1)?;
    let array = args.args[0].to_array(args.number_rows)?;
    // The usual unit is not copied into another one.
    if let Some(millis) = array.as_primitive_opt::<TimestampMillisecondType>() {
        let moment = |row| millis.is_valid(row).then(|| millis.value(row).saturating_mul(1000));
        return format_moments(args.number_rows, moment, patterns);
    }
    let array = cast(&array, &MICROS)?;
    let micros = array.as_primitive::<TimestampMicrosecondType>();
    let moment = |row| micros.is_valid(row).then(|| micros.value(row));
    format_moments(args.number_rows, moment, patterns)
}

fn from_unixtime(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let seconds = Integers::new(args, 0)?;
    let patterns = match args.args.len() {
        1 => Texts::Scalar(Some(DEFAULT_PATTERN)),
        _ => Texts::new(args, 1)?,
    };
    let moment = |row| seconds.get(row).map(|seconds| seconds.saturating_mul(1_000_000));
    format_moments(args.number_rows, moment, patterns)
}

fn to_timestamp(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    if args.args.len() == 1 {
        let array = args.args[0].to_array(args.number_rows)?;
        return Ok(cast(&array, &MILLIS)?);
    }
    let mut out = TimestampMillisecondBuilder::with_capacity(args.number_rows);
    parse_moments(args, |micros| out.append_option(micros.map(|micros| micros.div_euclid(1000))))?;
    Ok(Arc::new(out.finish()))
}

/// TO_TIMESTAMP_LTZ(number [, precision]): seconds, or milliseconds with precision 3.
fn to_timestamp_ltz(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    if args.args[0].data_type() != DataType::Int64 {
        return to_timestamp(args);
    }
    let numbers = Integers::new(args, 0)?;
    let precisions = match args.args.len() {
        1 => Integers::Scalar(Some(3)),
        _ => Integers::new(args, 1)?,
    };
    let scale = |precision: i64| match precision {
        0 => Ok(1000),
        3 => Ok(1),
        other => exec_err!("TO_TIMESTAMP_LTZ takes precision 0 or 3, not {other}"),
    };
    let millis = (0..args.number_rows)
        .map(|row| match (numbers.get(row), precisions.get(row)) {
            (Some(number), Some(precision)) => Ok(Some(number.saturating_mul(scale(precision)?))),
            _ => Ok(None),
        })
        .collect::<Result<TimestampMillisecondArray>>()?;
    Ok(Arc::new(millis))
}

fn to_date(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    if args.args.len() == 1 {
        let array = args.args[0].to_array(args.number_rows)?;
        return Ok(cast(&array, &DataType::Date32)?);
    }
    let mut out = Date32Builder::with_capacity(args.number_rows);
    let day = |micros: i64| micros.div_euclid(MICROS_PER_DAY) as i32;
    parse_moments(args, |micros| out.append_option(micros.map(day)))?;
    Ok(Arc::new(out.finish()))
}

/// UNIX_TIMESTAMP(text [, pattern]).
pub(super) fn seconds_of_texts(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let mut out = Int64Builder::with_capacity(args.number_rows);
    if args.args.len() == 1 {
        let array = cast(&args.args[0].to_array(args.number_rows)?, &MILLIS)?;
        let millis = array.as_primitive::<TimestampMillisecondType>();
        out.extend(millis.iter().map(|millis| millis.map(|millis| millis.div_euclid(1000))));
    } else {
        parse_moments(args, |micros| {
            out.append_option(micros.map(|micros| micros.div_euclid(1_000_000)));
        })?;
    }
    Ok(Arc::new(out.finish()))
}

/// TIMESTAMPDIFF(unit, from, to): whole units between two moments, towards zero.
fn timestampdiff(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let Texts::Scalar(Some(unit)) = Texts::new(args, 0)? else {
        return exec_err!("TIMESTAMPDIFF takes a unit such as SECOND");
    };
    let (from, to) = (moments(args, 1)?, moments(args, 2)?);
    let from = from.as_primitive::<TimestampMicrosecondType>();
    let to = to.as_primitive::<TimestampMicrosecondType>();
    let difference = difference(unit)?;
    let mut out = Int64Builder::with_capacity(args.number_rows);
    for (from, to) in from.iter().zip(to) {
        out.append_option(from.zip(to).map(|(from, to)| difference(from, to)));
    }
    Ok(Arc::new(out.finish()))
}

fn difference(unit: &str) -> Result<fn(i64, i64) -> i64> {
    Ok(match unit.to_uppercase().trim_end_matches('S') {
        "MILLISECOND" => |from, to| (to - from) / 1_000,
        "SECOND" => |from, to| (to - from) / 1_000_000,
        "MINUTE" => |from, to| (to - from) / 60_000_000,
        "HOUR" => |from, to| (to - from) / 3_600_000_000,
        "DAY" => |from, to| (to - from) / MICROS_PER_DAY,
        "WEEK" => |from, to| (to - from) / (7 * MICROS_PER_DAY),
        "MONTH" => months_between,
        "QUARTER" => |from, to| months_between(from, to) / 3,
        "YEAR" => |from, to| months_between(from, to) / 12,
        _ => return exec_err!("TIMESTAMPDIFF does not know the unit '{unit}'"),
    })
}

/// Returns the whole months between two moments, towards zero.
fn months_between(from: i64, to: i64) -> i64 {
    if to < from {
        return -months_between(to, from);
    }
    let parts = |micros: i64| {
        let (year, month, day) = civil_from_days(micros.div_euclid(MICROS_PER_DAY));
        (year * 12 + i64::from(month), (day, micros.rem_euclid(MICROS_PER_DAY)))
    };
    let ((from_month, from_rest), (to_month, to_rest)) = (parts(from), parts(to));
    to_month - from_month - i64::from(to_rest < from_rest)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Date32Type, Int64Type};
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::ColumnarValue;

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
    fn to_timestamp_gives_null_for_what_does_not_fit() {
        let args =
            vec![texts(&[Some("2024-01-01 00:00:01.5"), Some("2024-01-01"), Some("x"), None])];
        let array = run("to_timestamp", args, 4);
        let found: Vec<_> = array.as_primitive::<TimestampMillisecondType>().iter().collect();
        assert_eq!(found, [Some(1_704_067_201_500), Some(1_704_067_200_000), None, None]);
        let args = vec![texts(&[Some("01.01.2024"), Some("1.1.2024")]), text("dd.MM.yyyy")];
        let array = run("to_timestamp", args, 2);
        let found: Vec<_> = array.as_primitive::<TimestampMillisecondType>().iter().collect();
        assert_eq!(found, [Some(1_704_067_200_000), None]);
        let array = run("to_date", vec![text("20240101"), text("yyyyMMdd")], 1);
        assert_eq!(array.as_primitive::<Date32Type>().value(0), 19_723);
    }

    #[test]
    fn epochs_become_times_and_texts() {
        for (value, precision, expected) in
            [(1_704_067_200_123, 3, 1_704_067_200_123), (10, 0, 10_000)]
        {
            let array = run("to_timestamp_ltz", vec![number(value), number(precision)], 1);
            assert_eq!(array.as_primitive::<TimestampMillisecondType>().value(0), expected);
        }
        let array = run("from_unixtime", vec![number(44)], 1);
        assert_eq!(results(&array), [Some("1970-01-01 00:00:44")]);
        let array = run("from_unixtime", vec![number(44), text("HH:mm:ss")], 1);
        assert_eq!(results(&array), [Some("00:00:44")]);
    }

    #[test]
    fn differences_are_whole_units() {
        let day = 86_400_000;
        for (unit, from, to, expected) in [
            ("SECOND", 0, 1_999, 1),
            ("minute", 0, -61_000, -1),
            ("DAY", 0, 2 * day - 1, 1),
            ("MONTH", 30 * day, 58 * day, 0),
            ("MONTH", 30 * day, 61 * day, 1),
            ("YEAR", 0, 365 * day, 1),
        ] {
            let array = run("timestampdiff", vec![text(unit), moment(from), moment(to)], 1);
            assert_eq!(array.as_primitive::<Int64Type>().value(0), expected, "{unit} {from} {to}");
        }
    }
}
