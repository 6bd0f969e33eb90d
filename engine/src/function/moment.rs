//! Moments by the parts of their dates and times, in the calendar that holds today for all years.

use std::fmt::Write;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, TimeUnit};
use chrono::DateTime;
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;

pub(super) const MICROS_PER_SECOND: i64 = 1_000_000;
pub(super) const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
pub(super) const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;
pub(super) const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;

/// Names of the months.
pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// Names of the days of a week.
pub(super) const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A moment by the parts of its date and time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) year: i64,
    pub(super) month: u32,
    pub(super) day: u32,
    /// Days since 1970.
    pub(super) days: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    pub(super) micros: i64,
}

impl Moment {
    /// Takes a moment apart, in microseconds since 1970.
    pub(super) fn new(micros: i64) -> Self {
        let days = micros.div_euclid(MICROS_PER_DAY);
        let of_day = micros.rem_euclid(MICROS_PER_DAY);
        let (year, month, day) = civil_from_days(days);
        Self {
            year,
            month,
            day,
            days,
            hour: of_day / MICROS_PER_HOUR,
            minute: of_day / MICROS_PER_MINUTE % 60,
            second: of_day / MICROS_PER_SECOND % 60,
            micros: of_day % MICROS_PER_SECOND,
        }
    }

    /// Returns the day of the year, from 1.
    pub(super) fn day_of_year(&self) -> i64 {
        self.days - days_from_civil(self.year, 1, 1) + 1
    }

    /// Returns the day of the week, from Monday = 0.
    pub(super) fn weekday(&self) -> usize {
        (self.days + 3).rem_euclid(7) as usize
    }

    /// Returns year and number, from 1, of the week by ISO 8601: that of its Thursday.
    pub(super) fn iso_week(&self) -> (i64, i64) {
        let thursday = self.days - self.weekday() as i64 + 3;
        let (year, _, _) = civil_from_days(thursday);
        (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
    }

    /// Returns the hour as clocks of twelve hours show it.
    pub(super) fn hour_of_twelve(&self) -> i64 {
        (self.hour + 11) % 12 + 1
    }
}

/// Appends a number with zeros before it up to a width.
pub(super) fn number(value: i64, width: usize, out: &mut String) {
    if (0..100).contains(&value) && width == 2 {
        // The bulk of all digits: two of them, without the formatter.
        out.push(char::from(b'0' + (value / 10) as u8));
        out.push(char::from(b'0' + (value % 10) as u8));
        return;
    }
    // Writing to a String does not fail.
    let _ = write!(out, "{value:0width$}");
}

/// Returns the number of days that a month has.
pub(super) fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Returns the number of days that a year has.
pub(super) fn days_of_year(year: i64) -> i64 {
    days_from_civil(year + 1, 1, 1) - days_from_civil(year, 1, 1)
}

/// Returns year, month and day of a day since 1970 (Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms").
pub(super) fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

/// Returns the day since 1970 of a date; the inverse of [`civil_from_days`].
pub(super) fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month = i64::from(month);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted_month + 2) / 5 + i64::from(day) - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

/// Returns how many units since 1970 numbers stand for, of which each row's one has `width`; null
/// where either is. Parts of a unit go down, but where a DOUBLE counts wider ones: what it has
/// behind the point is inexact, and the nearest unit is meant.
///
/// # Errors
/// Numbers that are no time: infinite ones, and those that are too far from 1970.
pub(super) fn counts_of_numbers(
    array: &ArrayRef,
    unit: TimeUnit,
    width: impl Fn(usize) -> Option<i64>,
) -> Result<Int64Array> {
    match array.data_type() {
        DataType::Decimal128(_, scale) => {
            let numbers = array.as_primitive::<Decimal128Type>();
            let per_one = 10_i128.pow(u32::try_from(*scale).unwrap_or_default());
            counts(array, unit, width, |row, width| {
                let count = numbers.value(row).checked_mul(i128::from(width))?;
                Some(count.div_euclid(per_one))
            })
        }
        floating if floating.is_floating() => {
            let doubles = cast(array, &DataType::Float64)?;
            let numbers = doubles.as_primitive::<Float64Type>();
            counts(array, unit, width, |row, width| {
                let number = numbers.value(row);
                let count =
                    if width == 1 { number.floor() } else { (number * width as f64).round() };
                // Numbers beyond are all too large.
                count.is_finite().then_some(count as i128)
            })
        }
        _ => {
            let integers = cast(array, &DataType::Int64)?;
            let numbers = integers.as_primitive::<Int64Type>();
            counts(array, unit, width, |row, width| {
                let number = numbers.is_valid(row).then(|| numbers.value(row))?;
                Some(i128::from(number) * i128::from(width))
            })
        }
    }
}

fn counts(
    array: &ArrayRef,
    unit: TimeUnit,
    width: impl Fn(usize) -> Option<i64>,
    count: impl Fn(usize, i64) -> Option<i128>,
) -> Result<Int64Array> {
    let count_of_row = |row: usize| {
        let Some(width) = width(row).filter(|_| array.is_valid(row)) else { return Ok(None) };
        let count = count(row, width).and_then(|count| i64::try_from(count).ok());
        let Some(count) = count.filter(|count| is_time(*count, unit)) else {
            let value = ScalarValue::try_from_array(array, row)?;
            return exec_err!("{value} is no time: it is too far from 1970");
        };
        Ok(Some(count))
    };
    (0..array.len()).map(count_of_row).collect()
}

/// Tells whether a number of units since 1970 is a time that has a date.
fn is_time(count: i64, unit: TimeUnit) -> bool {
    match unit {
        TimeUnit::Second => DateTime::from_timestamp(count, 0).is_some(),
        TimeUnit::Millisecond => DateTime::from_timestamp_millis(count).is_some(),
        TimeUnit::Microsecond => DateTime::from_timestamp_micros(count).is_some(),
        TimeUnit::Nanosecond => true,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Decimal128Array, Float64Array, UInt64Array};

    use super::*;

    #[test]
    fn numbers_count_units_and_what_is_less_goes_down() {
        let doubles = |value| Arc::new(Float64Array::from(vec![value])) as ArrayRef;
        let decimals = |value| Arc::new(Decimal128Array::from(vec![value])) as ArrayRef;
        let one = |array: &ArrayRef, unit, width| {
            counts_of_numbers(array, unit, |_| Some(width)).map(|counts| counts.value(0))
        };
        for (array, width, expected) in [
            (doubles(-1.5), 1, -2),
            (doubles(1.9), 1, 1),
            (doubles(1_672_535_000.123_456), MICROS_PER_SECOND, 1_672_535_000_123_456),
            // With ten digits behind the point.
            (decimals(-1), MICROS_PER_SECOND, -1),
            (decimals(19_999), MICROS_PER_SECOND, 1),
        ] {
            assert_eq!(one(&array, TimeUnit::Microsecond, width).expect("a time"), expected);
        }
        for wrong in [doubles(1e300), doubles(f64::NAN), decimals(i128::MAX)] {
            for unit in [TimeUnit::Second, TimeUnit::Nanosecond] {
                let error = one(&wrong, unit, 1).expect_err("is refused").to_string();
                assert!(error.contains("too far from 1970"), "{error}");
            }
        }
        let large = Arc::new(UInt64Array::from(vec![u64::MAX])) as ArrayRef;
        assert!(one(&large, TimeUnit::Nanosecond, 1).is_err());
        let counts = counts_of_numbers(&doubles(1.0), TimeUnit::Second, |_| None);
        assert!(counts.expect("nulls").is_null(0));
    }

    #[test]
    fn dates_and_days_are_inverse() {
        for days in (-1_000_000..1_000_000).step_by(997) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(civil_from_days(19_782), (2024, 2, 29));
    }

    #[test]
    fn weeks_are_those_of_their_thursdays() {
        for (date, expected) in [
            ((2024, 1, 1), (2024, 1)),
            ((2023, 1, 1), (2022, 52)),
            ((2020, 12, 31), (2020, 53)),
            ((2019, 12, 30), (2020, 1)),
            ((1969, 12, 28), (1969, 52)),
        ] {
            let (year, month, day) = date;
            let micros = days_from_civil(year, month, day) * MICROS_PER_DAY;
            assert_eq!(Moment::new(micros).iso_week(), expected, "{date:?}");
        }
    }
}
