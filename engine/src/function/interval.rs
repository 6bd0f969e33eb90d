//! The order of INTERVALs: a month has 30 days and a day 24 hours, as in PostgreSQL.
//!
//! Arrow compares months, then days, then nanoseconds. What compares, groups or picks intervals is
//! planned with these functions around them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array, IntervalMonthDayNanoArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Decimal256Type, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit, TimeUnit, i256,
};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ScalarFunctionArgs, ScalarUDF};

use super::scalar::Scalar;

/// Returns how long an interval or duration is, in nanoseconds.
pub const INTERVAL_LENGTH: &str = "interval_length";
/// Returns a number that orders intervals by their length and holds the interval itself.
pub const INTERVAL_KEY: &str = "interval_key";
/// Returns the interval that a key holds.
pub const INTERVAL_OF_KEY: &str = "interval_of_key";
/// Returns the interval of the same length that is written in days and nanoseconds.
pub const INTERVAL_IN_DAYS: &str = "interval_in_days";

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
const LENGTH: DataType = DataType::Decimal128(38, 0);
const KEY: DataType = DataType::Decimal256(76, 0);

const DAY_NANOS: i128 = 86_400_000_000_000;
const MONTH_DAYS: i128 = 30;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let units =
        [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond];
    let durations = units.map(|unit| [DataType::Duration(unit)]);
    let mut lengths: Vec<&[DataType]> = vec![&[INTERVAL]];
    lengths.extend(durations.iter().map(<[DataType; 1]>::as_slice));
    vec![
        Scalar::new(INTERVAL_LENGTH, &lengths, |_| LENGTH, lengths_of).udf(),
        Scalar::new(
            INTERVAL_KEY,
            &[&[INTERVAL]],
            |_| KEY,
            |args| {
                let keys: Decimal256Array = intervals(args)?.unary(key);
                Ok(Arc::new(keys.with_data_type(KEY)))
            },
        )
        .udf(),
        Scalar::new(
            INTERVAL_OF_KEY,
            &[&[KEY]],
            |_| INTERVAL,
            |args| {
                let keys = argument::<Decimal256Type>(args)?;
                let intervals: IntervalMonthDayNanoArray = keys.unary(of_key);
                Ok(Arc::new(intervals))
            },
        )
        .udf(),
        Scalar::new(
            INTERVAL_IN_DAYS,
            &[&[INTERVAL]],
            |_| INTERVAL,
            |args| {
                let in_days: IntervalMonthDayNanoArray =
                    intervals(args)?.try_unary(|interval| {
                        interval_of(interval_length(interval)).ok_or_else(|| {
                            arrow::error::ArrowError::ComputeError(
                                "an interval is too long".to_owned(),
                            )
                        })
                    })?;
                Ok(Arc::new(in_days))
            },
        )
        .udf(),
    ]
}

/// Returns how long an interval is, in nanoseconds.
#[must_use]
pub fn interval_length(interval: IntervalMonthDayNano) -> i128 {
    let days = i128::from(interval.months) * MONTH_DAYS + i128::from(interval.days);
    days * DAY_NANOS + i128::from(interval.nanoseconds)
}

/// Returns the interval of a length in days and nanoseconds, `None` where days are not enough.
fn interval_of(length: i128) -> Option<IntervalMonthDayNano> {
    let days = i32::try_from(length / DAY_NANOS).ok()?;
    Some(IntervalMonthDayNano::new(0, days, (length % DAY_NANOS) as i64))
}

/// The length, and below it the months and days, from which the nanoseconds follow.
fn key(interval: IntervalMonthDayNano) -> i256 {
    let ordered = |part: i32| u128::from(part.cast_unsigned() ^ (1 << 31));
    let parts = (ordered(interval.months) << 32) | ordered(interval.days);
    let length = interval_length(interval);
    i256::from_parts((length.cast_unsigned() << 64) | parts, length >> 64)
}

fn of_key(key: i256) -> IntervalMonthDayNano {
    let (low, high) = key.to_parts();
    let part = |bits: u128| (bits as u32 ^ (1 << 31)).cast_signed();
    let (months, days) = (part(low >> 32), part(low));
    let length = (high << 64) | (low >> 64).cast_signed();
    let without = interval_length(IntervalMonthDayNano::new(months, days, 0));
    IntervalMonthDayNano::new(months, days, (length - without) as i64)
}

fn lengths_of(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let column = args.args[0].to_array(args.number_rows)?;
    let lengths: Decimal128Array = match column.data_type() {
        DataType::Duration(unit) => {
            let nanos_per_unit = match unit {
                TimeUnit::Second => 1_000_000_000,
                TimeUnit::Millisecond => 1_000_000,
                TimeUnit::Microsecond => 1000,
                TimeUnit::Nanosecond => 1,
            };
            let counts = cast(&column, &DataType::Int64)?;
            counts.as_primitive::<Int64Type>().unary(|count| i128::from(count) * nanos_per_unit)
        }
        _ => intervals(args)?.unary::<_, Decimal128Type>(interval_length),
    };
    Ok(Arc::new(lengths.with_data_type(LENGTH)))
}

fn intervals(args: &ScalarFunctionArgs) -> Result<IntervalMonthDayNanoArray> {
    argument::<IntervalMonthDayNanoType>(args)
}

fn argument<T: ArrowPrimitiveType>(
    args: &ScalarFunctionArgs,
) -> Result<arrow::array::PrimitiveArray<T>> {
    let column = args.args[0].to_array(args.number_rows)?;
    let Some(values) = column.as_primitive_opt::<T>() else {
        return exec_err!("expected an interval, not {}", column.data_type());
    };
    Ok(values.clone())
}

#[cfg(test)]
mod tests {
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::ColumnarValue;

    use super::super::scalar::testing::call;
    use super::*;

    /// One interval per length, in their order; those of one line are equally long.
    fn ordered() -> Vec<Vec<IntervalMonthDayNano>> {
        const HOUR: i64 = 3_600_000_000_000;
        let new = IntervalMonthDayNano::new;
        vec![
            vec![new(i32::MIN, i32::MIN, i64::MIN)],
            vec![new(-1, 0, 0), new(0, -30, 0), new(0, -29, -24 * HOUR), new(1, -60, 0)],
            vec![new(0, 0, -1)],
            vec![new(0, 0, 0), new(-1, 30, 0), new(0, 1, -24 * HOUR)],
            vec![new(0, 1, 0), new(0, 0, 24 * HOUR), new(0, 2, -24 * HOUR)],
            vec![new(0, 1, 1)],
            vec![new(0, 1, 12 * HOUR), new(0, 0, 36 * HOUR)],
            vec![new(1, 0, 0), new(0, 30, 0), new(0, 0, 720 * HOUR)],
            vec![new(i32::MAX, i32::MAX, i64::MAX)],
        ]
    }

    #[test]
    fn keys_order_intervals_by_their_length_and_hold_them() {
        let mut before: Option<(i128, i256)> = None;
        for equal in ordered() {
            let lengths: Vec<i128> = equal.iter().map(|it| interval_length(*it)).collect();
            assert!(lengths.iter().all(|length| *length == lengths[0]), "{equal:?}");
            let keys: Vec<i256> = equal.iter().map(|interval| key(*interval)).collect();
            for (interval, key) in equal.iter().zip(&keys) {
                assert_eq!(of_key(*key), *interval);
                assert!(before.is_none_or(|(length, last)| length < lengths[0] && last < *key));
            }
            before = keys.into_iter().max().map(|key| (lengths[0], key));
        }
    }

    #[test]
    fn equal_lengths_are_written_alike() {
        let wide = |interval: &IntervalMonthDayNano| interval.months.unsigned_abs() > 1;
        for equal in ordered().into_iter().filter(|equal| !equal.iter().any(wide)) {
            let column = IntervalMonthDayNanoArray::from(equal.clone());
            let args = vec![ColumnarValue::Array(Arc::new(column))];
            let written = call(&functions(), INTERVAL_IN_DAYS, args, equal.len()).unwrap();
            let written = written.as_primitive::<IntervalMonthDayNanoType>().clone();
            assert!(written.iter().all(|it| it == Some(written.value(0))), "{written:?}");
            assert_eq!(interval_length(written.value(0)), interval_length(equal[0]));
        }
    }

    #[test]
    fn durations_have_lengths_too() {
        for (duration, nanos) in [
            (ScalarValue::DurationSecond(Some(-2)), Some(-2_000_000_000)),
            (
                ScalarValue::DurationMillisecond(Some(i64::MAX)),
                Some(i128::from(i64::MAX) * 1_000_000),
            ),
            (ScalarValue::DurationNanosecond(None), None),
        ] {
            let args = vec![ColumnarValue::Scalar(duration)];
            let length = call(&functions(), INTERVAL_LENGTH, args, 1).unwrap();
            let length = length.as_primitive::<Decimal128Type>().iter().next().flatten();
            assert_eq!(length, nanos);
        }
    }
}
