//! Functions that make times of texts and numbers, and that compare times.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Builder, Int64Array, Int64Builder, TimestampMillisecondArray,
    TimestampMillisecondBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ScalarFunctionArgs, ScalarUDF};

use super::coarser::to_coarser;
use super::date_pattern::DatePattern;
use super::moment::{MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days, counts_of_numbers};
use super::scalar::{Check, Integers, Scalar, Texts};

pub(super) const TEXT: DataType = DataType::Utf8View;
pub(super) const MILLIS: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);
pub(super) const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
pub(super) const NANOS: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);
const INTEGER: DataType = DataType::Int64;
const DOUBLE: DataType = DataType::Float64;
/// Of any precision and scale.
const DECIMAL: DataType = DataType::Decimal128(38, 0);

/// Compiles a pattern of Java's that is a literal, so that a mistake in it is told at once.
pub(super) const JAVA_PATTERN: Check = |pattern, _| DatePattern::cached(pattern).map(drop);

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let texts: &[&[DataType]] = &[&[TEXT], &[TEXT, TEXT]];
    let numbers: &[&[DataType]] = &[&[INTEGER], &[DECIMAL], &[DOUBLE]];
    let scaled: &[&[DataType]] = &[&[INTEGER, INTEGER], &[DECIMAL, INTEGER], &[DOUBLE, INTEGER]];
    let days: &[&[DataType]] = &[&[DataType::Date32], &[MILLIS], &[MICROS], &[NANOS]];
    vec![
        Scalar::strict("to_timestamp", &[texts, numbers].concat(), timestamp_type, to_timestamp)
            .checking(1, JAVA_PATTERN)
            .udf(),
        Scalar::strict(
            "to_timestamp_ltz",
            &[texts, numbers, scaled].concat(),
            |_| MILLIS,
            to_timestamp_ltz,
        )
        .checking(1, JAVA_PATTERN)
        .udf(),
        Scalar::strict("to_date", &[texts, days].concat(), |_| DataType::Date32, to_date)
            .checking(1, JAVA_PATTERN)
            .udf(),
        Scalar::new(
            "timestampdiff",
            &[&[TEXT, MILLIS, MILLIS], &[TEXT, MICROS, MICROS], &[TEXT, NANOS, NANOS]],
            |_| DataType::Int64,
            timestampdiff,
        )
        .udf(),
    ]
}

/// Seconds with a fraction may have more digits than milliseconds.
fn timestamp_type(types: &[DataType]) -> DataType {
    match types {
        [DataType::Float64 | DataType::Decimal128(..)] => MICROS,
        _ => MILLIS,
    }
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
pub(super) fn moments(args: &ScalarFunctionArgs, index: usize) -> Result<ArrayRef> {
    let array = args.args[index].to_array(args.number_rows)?;
    Ok(to_coarser(&array, &MICROS)?)
}

/// Returns the microseconds of an argument's numbers; see [`counts_of_numbers`].
pub(super) fn micros_of_numbers(
    args: &ScalarFunctionArgs,
    index: usize,
    width: impl Fn(usize) -> Option<i64>,
) -> Result<Int64Array> {
    let array = args.args[index].to_array(args.number_rows)?;
    counts_of_numbers(&array, TimeUnit::Microsecond, width)
}

/// TO_TIMESTAMP(text [, pattern]); TO_TIMESTAMP(seconds since 1970).
fn to_timestamp(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    if args.args[0].data_type().is_numeric() {
        let micros = micros_of_numbers(args, 0, |_| Some(MICROS_PER_SECOND))?;
        return Ok(match args.return_field.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Arc::new(micros.reinterpret_cast::<TimestampMicrosecondType>())
            }
            _ => Arc::new(millis(&micros)),
        });
    }
    if args.args.len() == 1 {
        let array = args.args[0].to_array(args.number_rows)?;
        return Ok(cast(&array, &MILLIS)?);
    }
    let mut out = TimestampMillisecondBuilder::with_capacity(args.number_rows);
    parse_moments(args, |micros| out.append_option(micros.map(|micros| micros.div_euclid(1000))))?;
    Ok(Arc::new(out.finish()))
}

fn millis(micros: &Int64Array) -> TimestampMillisecondArray {
    micros.unary(|micros| micros.div_euclid(1000))
}

/// TO_TIMESTAMP_LTZ(number [, precision]): seconds, or milliseconds with precision 3.
fn to_timestamp_ltz(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    if !args.args[0].data_type().is_numeric() {
        return to_timestamp(args);
    }
    let precisions = match args.args.len() {
        1 => Integers::Scalar(Some(3)),
        _ => Integers::new(args, 1)?,
    };
    let wrong = |precision: &i64| !matches!(precision, 0 | 3);
    let found = (0..args.number_rows).filter_map(|row| precisions.get(row)).find(wrong);
    if let Some(precision) = found {
        return exec_err!("TO_TIMESTAMP_LTZ takes precision 0 or 3, not {precision}");
    }
    let width = |row| precisions.get(row).map(|digits| if digits == 0 { 1_000_000 } else { 1000 });
    Ok(Arc::new(millis(&micros_of_numbers(args, 0, width)?)))
}

/// TO_DATE(text [, pattern]); TO_DATE(time).
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

/// UNIX_TIMESTAMP(text [, pattern]); UNIX_TIMESTAMP(time).
pub(super) fn seconds_of_moments(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let mut out = Int64Builder::with_capacity(args.number_rows);
    let seconds = |micros: i64| micros.div_euclid(MICROS_PER_SECOND);
    if args.args.len() == 1 {
        let array = args.args[0].to_array(args.number_rows)?;
        // A text that is no time is null.
        let array = match array.data_type() {
            DataType::Utf8View => cast(&array, &MICROS)?,
            _ => to_coarser(&array, &MICROS)?,
        };
        let micros = array.as_primitive::<TimestampMicrosecondType>();
        out.extend(micros.iter().map(|micros| micros.map(seconds)));
    } else {
        parse_moments(args, |micros| out.append_option(micros.map(seconds)))?;
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
    use arrow::datatypes::{Date32Type, Int64Type, TimestampMillisecondType};
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::ColumnarValue;

    use super::super::scalar::testing::{call, number, text, texts};
    use super::*;

    fn run(name: &str, args: Vec<ColumnarValue>, rows: usize) -> ArrayRef {
        call(&functions(), name, args, rows).unwrap_or_else(|error| panic!("{error}"))
    }

    fn moment(millis: i64) -> ColumnarValue {
        ColumnarValue::Scalar(ScalarValue::TimestampMillisecond(Some(millis), None))
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
    fn epochs_become_times() {
        for (value, precision, expected) in
            [(1_704_067_200_123, 3, 1_704_067_200_123), (10, 0, 10_000)]
        {
            let array = run("to_timestamp_ltz", vec![number(value), number(precision)], 1);
            assert_eq!(array.as_primitive::<TimestampMillisecondType>().value(0), expected);
        }
        let array = run("to_timestamp", vec![number(-1)], 1);
        assert_eq!(array.as_primitive::<TimestampMillisecondType>().value(0), -1000);
    }

    #[test]
    fn fractions_of_seconds_become_microseconds() {
        let decimal = |value| ColumnarValue::Scalar(ScalarValue::Decimal128(Some(value), 20, 7));
        let double = |value| ColumnarValue::Scalar(ScalarValue::Float64(Some(value)));
        for (number, expected) in [
            (decimal(16_725_350_001_234_567), 1_672_535_000_123_456),
            (decimal(-1), -1),
            (double(1_672_535_000.123_456), 1_672_535_000_123_456),
            (double(-0.5), -500_000),
        ] {
            let array = run("to_timestamp", vec![number], 1);
            assert_eq!(array.as_primitive::<TimestampMicrosecondType>().value(0), expected);
        }
        for wrong in [double(f64::NAN), double(1e300), number(i64::MAX)] {
            let error = call(&functions(), "to_timestamp", vec![wrong], 1);
            assert!(error.expect_err("is refused").to_string().contains("too far from 1970"));
        }
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
