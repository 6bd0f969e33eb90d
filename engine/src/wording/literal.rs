//! How constants are written.

use arrow::array::types::IntervalMonthDayNano;
use arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::ScalarValue;

use super::describe_ms;

/// Writes a constant as SQL does, where that is not how DataFusion writes it.
pub(super) fn value_sql(value: &ScalarValue) -> Option<String> {
    if value.is_null() {
        return None;
    }
    match value {
        ScalarValue::Date32(_) => Some(format!("DATE '{value}'")),
        ScalarValue::TimestampSecond(_, zone)
        | ScalarValue::TimestampMillisecond(_, zone)
        | ScalarValue::TimestampMicrosecond(_, zone)
        | ScalarValue::TimestampNanosecond(_, zone) => {
            let text = value.cast_to(&DataType::Utf8).ok()?;
            let text = text.try_as_str()??.trim_end_matches('Z').replace('T', " ");
            let local = if zone.is_some() { "_LTZ" } else { "" };
            Some(format!("TIMESTAMP{local} '{text}'"))
        }
        ScalarValue::DurationMillisecond(Some(ms)) => Some(describe_ms(*ms)),
        ScalarValue::IntervalMonthDayNano(Some(interval)) => Some(interval_text(*interval)),
        ScalarValue::IntervalYearMonth(_) | ScalarValue::IntervalDayTime(_) => {
            let most = DataType::Interval(IntervalUnit::MonthDayNano);
            value_sql(&value.cast_to(&most).ok()?)
        }
        value => {
            let text = value.try_as_str()??;
            Some(format!("'{}'", text.replace('\'', "''")))
        }
    }
}

/// Writes an interval by its parts, such as `1 mon 2 d 12 h`.
fn interval_text(interval: IntervalMonthDayNano) -> String {
    let IntervalMonthDayNano { months, days, nanoseconds } = interval;
    let mut parts = Vec::new();
    if months != 0 {
        parts.push(format!("{months} mon"));
    }
    if days != 0 {
        parts.push(format!("{days} d"));
    }
    if nanoseconds % 1_000_000 != 0 {
        parts.push(format!("{nanoseconds} ns"));
    } else if nanoseconds != 0 || parts.is_empty() {
        parts.push(describe_ms(nanoseconds / 1_000_000));
    }
    parts.join(" ")
}

/// Writes a constant as SQL does that DataFusion has written with its type, as
/// `DurationMillisecond("5000")`: the type's name and what stands in the parentheses.
pub(super) fn written_sql(type_name: &str, inside: &str) -> Option<String> {
    let plain = inside.trim_matches('"');
    let number = || plain.parse::<i64>().ok();
    let value = match type_name {
        "Utf8" | "Utf8View" | "LargeUtf8" if inside != "NULL" => {
            ScalarValue::Utf8(Some(plain.to_owned()))
        }
        "Utf8" | "Utf8View" | "LargeUtf8" | "Boolean" | "Int8" | "Int16" | "Int32" | "Int64"
        | "UInt64" | "Float32" | "Float64" => return Some(inside.to_owned()),
        "Date32" => return Some(format!("DATE '{plain}'")),
        "TimestampMillisecond" => {
            let (ms, zone) = plain.split_once(", ")?;
            let zone = (zone != "None").then(|| "UTC".into());
            ScalarValue::TimestampMillisecond(ms.parse().ok(), zone)
        }
        "DurationMillisecond" => ScalarValue::DurationMillisecond(number()),
        "IntervalMonthDayNano" => {
            let part = |name: &str| {
                let (_, rest) = plain.split_once(name)?;
                rest.trim_start_matches(": ").split([',', ' ']).next()?.parse::<i64>().ok()
            };
            let months = part("months")?.try_into().ok()?;
            let days = part("days")?.try_into().ok()?;
            let interval = IntervalMonthDayNano::new(months, days, part("nanoseconds")?);
            ScalarValue::IntervalMonthDayNano(Some(interval))
        }
        _ => return None,
    };
    value_sql(&value)
}
