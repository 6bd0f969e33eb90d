//! Lengths of intervals.

use datafusion::common::ScalarValue;

/// Returns an interval's length where it has a fixed one in whole milliseconds.
pub(crate) fn interval_ms(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::IntervalMonthDayNano(Some(interval)) => {
            let whole = interval.months == 0 && interval.nanoseconds % 1_000_000 == 0;
            whole.then(|| i64::from(interval.days) * 86_400_000 + interval.nanoseconds / 1_000_000)
        }
        ScalarValue::IntervalDayTime(Some(interval)) => {
            Some(i64::from(interval.days) * 86_400_000 + i64::from(interval.milliseconds))
        }
        ScalarValue::DurationSecond(Some(seconds)) => Some(seconds * 1000),
        ScalarValue::DurationMillisecond(Some(ms)) => Some(*ms),
        ScalarValue::DurationMicrosecond(Some(us)) => (us % 1000 == 0).then(|| us / 1000),
        ScalarValue::DurationNanosecond(Some(ns)) => (ns % 1_000_000 == 0).then(|| ns / 1_000_000),
        _ => None,
    }
}
