//! Values written as text: the fields of CSV files and the values in partition folders.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::compute::kernels::cast_utils::{Parser, parse_decimal, string_to_datetime};
use arrow::datatypes::{
    ArrowTimestampType, DECIMAL128_MAX_PRECISION, DataType, Date32Type, Decimal128Type, Field,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use chrono::{DateTime, Utc};

use crate::wording::type_sql;
use crate::{Error, Result};

/// Refuses types that are not written as one field.
pub(crate) fn check_type(format: &str, field: &Field) -> Result<()> {
    if type_name(field.data_type()).is_some() {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "column '{}' of type {} cannot be kept in {format}",
        field.name(),
        type_sql(field.data_type())
    )))
}

/// Parses one field.
pub(crate) fn parse_value(data_type: &DataType, text: Option<&str>) -> Option<ArrayRef> {
    let mut misfit = false;
    let array = parse_column(data_type, std::iter::once(text), &mut |_, _| misfit = true)?;
    (!misfit).then_some(array)
}

/// Parses the fields of a column; a field that does not fit is null and told to `misfit` with its
/// row. Returns `None` for types that are not written as one field.
pub(crate) fn parse_column<'a>(
    data_type: &DataType,
    fields: impl Iterator<Item = Option<&'a str>>,
    misfit: &mut impl FnMut(usize, &str),
) -> Option<ArrayRef> {
    use DataType as T;
    use TimeUnit as U;
    Some(match data_type {
        T::Utf8View => strings(fields),
        T::Utf8 | T::LargeUtf8 => cast(&strings(fields), data_type).ok()?,
        T::Boolean => Arc::new(BooleanArray::from(parsed(fields, boolean, misfit))),
        T::Int8 => primitive::<Int8Type>(fields, |text| text.parse().ok(), misfit),
        T::Int16 => primitive::<Int16Type>(fields, |text| text.parse().ok(), misfit),
        T::Int32 => primitive::<Int32Type>(fields, |text| text.parse().ok(), misfit),
        T::Int64 => primitive::<Int64Type>(fields, |text| text.parse().ok(), misfit),
        T::UInt8 => primitive::<UInt8Type>(fields, |text| text.parse().ok(), misfit),
        T::UInt16 => primitive::<UInt16Type>(fields, |text| text.parse().ok(), misfit),
        T::UInt32 => primitive::<UInt32Type>(fields, |text| text.parse().ok(), misfit),
        T::UInt64 => primitive::<UInt64Type>(fields, |text| text.parse().ok(), misfit),
        T::Float32 => primitive::<Float32Type>(fields, |text| text.parse().ok(), misfit),
        T::Float64 => primitive::<Float64Type>(fields, |text| text.parse().ok(), misfit),
        T::Date32 => primitive::<Date32Type>(fields, Date32Type::parse, misfit),
        T::Time32(U::Millisecond) => {
            primitive::<Time32MillisecondType>(fields, Time32MillisecondType::parse, misfit)
        }
        &T::Decimal128(precision, scale) => {
            let parse = |text: &str| decimal(text, precision, scale);
            let array = decimals(fields, parse, misfit);
            Arc::new(array.with_precision_and_scale(precision, scale).ok()?)
        }
        T::Timestamp(unit, zone) => timestamps(*unit, zone.as_ref(), fields, misfit),
        _ => return None,
    })
}

fn timestamps<'a>(
    unit: TimeUnit,
    zone: Option<&Arc<str>>,
    fields: impl Iterator<Item = Option<&'a str>>,
    misfit: &mut impl FnMut(usize, &str),
) -> ArrayRef {
    use TimeUnit as U;
    match unit {
        U::Second => {
            let parse = |text: &str| Some(instant(text)?.timestamp());
            timestamp::<TimestampSecondType>(zone, fields, parse, misfit)
        }
        U::Millisecond => {
            let parse = |text: &str| Some(instant(text)?.timestamp_millis());
            timestamp::<TimestampMillisecondType>(zone, fields, parse, misfit)
        }
        U::Microsecond => {
            let parse = |text: &str| Some(instant(text)?.timestamp_micros());
            timestamp::<TimestampMicrosecondType>(zone, fields, parse, misfit)
        }
        U::Nanosecond => {
            let parse = |text: &str| instant(text)?.timestamp_nanos_opt();
            timestamp::<TimestampNanosecondType>(zone, fields, parse, misfit)
        }
    }
}

fn timestamp<'a, T: ArrowTimestampType>(
    zone: Option<&Arc<str>>,
    fields: impl Iterator<Item = Option<&'a str>>,
    parse: impl Fn(&str) -> Option<i64>,
    misfit: &mut impl FnMut(usize, &str),
) -> ArrayRef {
    let array: PrimitiveArray<T> = parsed(fields, parse, misfit).into_iter().collect();
    Arc::new(array.with_timezone_opt(zone.cloned()))
}

fn instant(text: &str) -> Option<DateTime<Utc>> {
    string_to_datetime(&Utc, text).ok()
}

/// Parses a decimal and rounds it half away from zero, as casts do, which Arrow's parser does not.
fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let Ok(finer) = parse_decimal::<Decimal128Type>(text, DECIMAL128_MAX_PRECISION, scale + 1)
    else {
        // A number with as many digits as there can be has none to round by.
        return parse_decimal::<Decimal128Type>(text, precision, scale).ok();
    };
    let rounded = (finer + 5 * finer.signum()) / 10;
    (rounded.unsigned_abs() < 10_u128.pow(precision.into())).then_some(rounded)
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn strings<'a>(fields: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    let mut builder = StringViewBuilder::with_capacity(fields.size_hint().0);
    fields.for_each(|text| builder.append_option(text));
    Arc::new(builder.finish())
}

fn primitive<'a, T: ArrowPrimitiveType>(
    fields: impl Iterator<Item = Option<&'a str>>,
    parse: impl Fn(&str) -> Option<T::Native>,
    misfit: &mut impl FnMut(usize, &str),
) -> ArrayRef {
    Arc::new(parsed(fields, parse, misfit).into_iter().collect::<PrimitiveArray<T>>())
}

fn decimals<'a>(
    fields: impl Iterator<Item = Option<&'a str>>,
    parse: impl Fn(&str) -> Option<i128>,
    misfit: &mut impl FnMut(usize, &str),
) -> PrimitiveArray<Decimal128Type> {
    parsed(fields, parse, misfit).into_iter().collect()
}

fn parsed<'a, V>(
    fields: impl Iterator<Item = Option<&'a str>>,
    parse: impl Fn(&str) -> Option<V>,
    misfit: &mut impl FnMut(usize, &str),
) -> Vec<Option<V>> {
    let value = |(row, text): (usize, Option<&str>)| {
        let text = text?;
        let value = parse(text.trim());
        if value.is_none() {
            misfit(row, text);
        }
        value
    };
    fields.enumerate().map(value).collect()
}

/// Returns the type as SQL names it, for types that are written as one field.
pub(super) fn type_name(data_type: &DataType) -> Option<String> {
    use DataType as T;
    Some(match data_type {
        T::Utf8View | T::Utf8 | T::LargeUtf8 => "STRING".to_owned(),
        T::Boolean => "BOOLEAN".to_owned(),
        T::Int8 => "TINYINT".to_owned(),
        T::Int16 => "SMALLINT".to_owned(),
        T::Int32 => "INT".to_owned(),
        T::Int64 => "BIGINT".to_owned(),
        T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => data_type.to_string().to_uppercase(),
        T::Float32 => "FLOAT".to_owned(),
        T::Float64 => "DOUBLE".to_owned(),
        T::Date32 => "DATE".to_owned(),
        T::Time32(TimeUnit::Millisecond) => "TIME".to_owned(),
        T::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        T::Timestamp(_, None) => "TIMESTAMP".to_owned(),
        T::Timestamp(_, Some(_)) => "TIMESTAMP_LTZ".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use arrow::util::display::array_value_to_string;

    use super::*;

    fn check(data_type: &DataType, text: &str, expected: Option<&str>) {
        let found = parse_value(data_type, Some(text));
        let found = found.map(|array| array_value_to_string(&array, 0).unwrap());
        assert_eq!(found.as_deref(), expected, "{text} as {data_type}");
    }

    #[test]
    fn values_are_parsed_by_type() {
        check(&DataType::Int64, "-42", Some("-42"));
        check(&DataType::Int64, "4.2", None);
        check(&DataType::Int8, "128", None);
        check(&DataType::Float64, " 1.5e3", Some("1500.0"));
        check(&DataType::Boolean, "TRUE", Some("true"));
        check(&DataType::Boolean, "1", None);
        check(&DataType::Decimal128(5, 2), "123.454", Some("123.45"));
        check(&DataType::Decimal128(5, 2), "-123.455", Some("-123.46"));
        check(&DataType::Decimal128(5, 2), "999.995", None);
        check(
            &DataType::Decimal128(38, 38),
            "0.12345678901234567890123456789012345678",
            Some("0.12345678901234567890123456789012345678"),
        );
        check(&DataType::Decimal128(5, 2), "12345", None);
        check(&DataType::Date32, "2001-02-03", Some("2001-02-03"));
        check(&DataType::Utf8View, " as it is ", Some(" as it is "));
    }

    #[test]
    fn timestamps_come_in_three_spellings() {
        let millis = DataType::Timestamp(TimeUnit::Millisecond, None);
        check(&millis, "2001-01-01 00:00:00", Some("2001-01-01T00:00:00"));
        check(&millis, "2001-01-01 00:00:00.25", Some("2001-01-01T00:00:00.250"));
        check(&millis, "2001-01-01T10:00:00.250Z", Some("2001-01-01T10:00:00.250"));
        check(&millis, "2001-01-01T10:00:00+02:00", Some("2001-01-01T08:00:00"));
        check(&millis, "2001-13-01 00:00:00", None);
        check(&millis, "yesterday", None);
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        check(&zoned, "2001-01-01 10:00:00", Some("2001-01-01T10:00:00Z"));
        check(
            &DataType::Timestamp(TimeUnit::Second, None),
            "1969-12-31 23:59:59",
            Some("1969-12-31T23:59:59"),
        );
    }

    #[test]
    fn nested_types_are_no_fields() {
        let list = DataType::new_list(DataType::Int32, true);
        let error = check_type("csv", &Field::new("items", list, true)).unwrap_err();
        assert!(error.to_string().starts_with("column 'items' of type ARRAY<INT>"), "{error}");
    }
}
