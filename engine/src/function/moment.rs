//! Moments by the parts of their dates and times, in the calendar that holds today for all years.

use std::fmt::Write;

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

#[cfg(test)]
mod tests {
    use super::*;

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
