//! The parts of a moment that PostgreSQL's patterns ask for.

use std::fmt::Write;

use super::moment::{
    DAYS, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, MONTHS, Moment,
    number,
};

/// A keyword with what stands before and after it.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) part: Part,
    pub(super) case: Case,
    /// Whether zeros or blanks fill it up, which `FM` turns off.
    pub(super) fill: bool,
    /// `TH` or `th` after a number.
    pub(super) ordinal: Option<Case>,
}

/// How a word is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Upper,
    Lower,
    Title,
}

/// What of a moment a keyword stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The last so many digits of the year; 4 are all.
    Year(u8),
    /// The year with a comma before its last three digits.
    YearComma,
    /// The same of the year to which the week belongs.
    IsoYear(u8),
    Century,
    Era,
    EraDots,
    Quarter,
    Month,
    MonthName,
    MonthShort,
    Roman,
    /// The week of the month, which begins with its first day.
    WeekOfMonth,
    Week,
    IsoWeek,
    Day,
    DayName,
    DayShort,
    DayOfYear,
    IsoDayOfYear,
    DayOfWeek,
    IsoDayOfWeek,
    JulianDay,
    Hour12,
    Hour24,
    Minute,
    Second,
    /// So many digits of the second behind its point.
    Fraction(u8),
    SecondOfDay,
    HalfOfDay,
    HalfOfDayDots,
    Zone,
    /// The offset from UTC, of which all times here are.
    Offset,
    OffsetMinutes,
    /// Nothing: an instruction for reading.
    Exact,
}

const ROMAN: [&str; 12] =
    ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// Names are filled up to the length of the longest one.
const NAME_WIDTH: usize = 9;

/// The Julian day of 1970-01-01.
const JULIAN_1970: i64 = 2_440_588;

impl Part {
    /// Tells whether it is a word, which may be written as `Word`.
    pub(super) fn is_name(self) -> bool {
        matches!(self, Self::DayName | Self::DayShort | Self::MonthName | Self::MonthShort)
    }

    /// Returns the length of the spans of time within which it is the same.
    pub(super) fn span(self) -> i64 {
        match self {
            Self::Fraction(_) => 1,
            Self::Second | Self::SecondOfDay => MICROS_PER_SECOND,
            Self::Minute => MICROS_PER_MINUTE,
            Self::Hour12 | Self::Hour24 | Self::HalfOfDay | Self::HalfOfDayDots => MICROS_PER_HOUR,
            // These are always the same.
            Self::Zone | Self::Offset | Self::OffsetMinutes | Self::Exact => i64::MAX,
            _ => MICROS_PER_DAY,
        }
    }

    /// Returns the number that it is, and with how many digits that is written at least.
    fn number(self, moment: &Moment) -> Option<(i64, usize)> {
        let second_of_day = moment.hour * 3600 + moment.minute * 60 + moment.second;
        Some(match self {
            Self::Year(digits) => of_year(written_year(moment.year), digits),
            Self::IsoYear(digits) => of_year(written_year(moment.iso_week().0), digits),
            Self::Century if moment.year > 0 => ((moment.year - 1) / 100 + 1, 2),
            Self::Century => ((moment.year - 100) / 100, 2),
            Self::Quarter => (i64::from(moment.month - 1) / 3 + 1, 1),
            Self::Month => (i64::from(moment.month), 2),
            Self::WeekOfMonth => (i64::from(moment.day - 1) / 7 + 1, 1),
            Self::Week => ((moment.day_of_year() - 1) / 7 + 1, 2),
            Self::IsoWeek => (moment.iso_week().1, 2),
            Self::Day => (i64::from(moment.day), 2),
            Self::DayOfYear => (moment.day_of_year(), 3),
            Self::IsoDayOfYear => ((moment.iso_week().1 - 1) * 7 + moment.weekday() as i64 + 1, 3),
            // From Sunday.
            Self::DayOfWeek => ((moment.weekday() as i64 + 1) % 7 + 1, 1),
            Self::IsoDayOfWeek => (moment.weekday() as i64 + 1, 1),
            Self::JulianDay => (moment.days + JULIAN_1970, 1),
            Self::Hour12 => (moment.hour_of_twelve(), 2),
            Self::Hour24 => (moment.hour, 2),
            Self::Minute => (moment.minute, 2),
            Self::Second => (moment.second, 2),
            Self::SecondOfDay => (second_of_day, 1),
            Self::Fraction(digits) => {
                (moment.micros / 10_i64.pow(u32::from(6 - digits)), usize::from(digits))
            }
            _ => return None,
        })
    }

    /// Returns the word that it is, and to what width that is filled up.
    fn word(self, moment: &Moment) -> (&'static str, usize) {
        let afternoon = moment.hour >= 12;
        let month = moment.month as usize - 1;
        let (month_name, day_name) = (MONTHS[month], DAYS[moment.weekday()]);
        match self {
            Self::MonthName => (month_name, NAME_WIDTH),
            Self::MonthShort => (&month_name[..3], 0),
            Self::DayName => (day_name, NAME_WIDTH),
            Self::DayShort => (&day_name[..3], 0),
            Self::Roman => (ROMAN[month], 4),
            Self::HalfOfDay => (if afternoon { "PM" } else { "AM" }, 0),
            Self::HalfOfDayDots => (if afternoon { "P.M." } else { "A.M." }, 0),
            Self::Era => (if moment.year > 0 { "AD" } else { "BC" }, 0),
            Self::EraDots => (if moment.year > 0 { "A.D." } else { "B.C." }, 0),
            Self::Zone => ("UTC", 0),
            Self::Offset => ("+00", 0),
            Self::OffsetMinutes => ("00", 0),
            _ => ("", 0),
        }
    }
}

/// Returns the year as it is written: there is none before 1 but 1 BC.
fn written_year(year: i64) -> i64 {
    if year > 0 { year } else { 1 - year }
}

fn of_year(year: i64, digits: u8) -> (i64, usize) {
    let shown = if digits == 4 { year } else { year % 10_i64.pow(u32::from(digits)) };
    (shown, usize::from(digits))
}

impl Field {
    /// Appends what it is of a moment.
    pub(super) fn format(&self, moment: &Moment, out: &mut String) {
        let start = out.len();
        if self.part == Part::YearComma {
            let year = written_year(moment.year);
            // Writing to a String does not fail.
            let _ = write!(out, "{},{:03}", year / 1000, year % 1000);
        } else if let Some((value, digits)) = self.part.number(moment) {
            // A sign takes no digit's place, and those of a second are not left out.
            let digits = digits + usize::from(value < 0);
            let is_filled = self.fill || matches!(self.part, Part::Fraction(_));
            number(value, if is_filled { digits } else { 1 }, out);
        } else {
            let (word, width) = self.part.word(moment);
            self.write(word, if self.fill { width } else { 0 }, out);
            return;
        }
        if let Some(case) = self.ordinal {
            let suffix = ordinal_suffix(&out[start..]);
            out.push_str(&if case == Case::Upper { suffix.to_uppercase() } else { suffix.into() });
        }
    }

    fn write(&self, word: &str, width: usize, out: &mut String) {
        let lower = |character: char| character.to_ascii_lowercase();
        match self.case {
            Case::Upper => out.extend(word.chars().map(|character| character.to_ascii_uppercase())),
            Case::Lower => out.extend(word.chars().map(lower)),
            Case::Title => out.push_str(word),
        }
        out.extend((word.len()..width).map(|_| ' '));
    }
}

/// Returns what makes a number an ordinal one.
fn ordinal_suffix(digits: &str) -> &'static str {
    let mut last = digits.bytes().rev();
    match (last.next(), last.next()) {
        (_, Some(b'1')) => "th",
        (Some(b'1'), _) => "st",
        (Some(b'2'), _) => "nd",
        (Some(b'3'), _) => "rd",
        _ => "th",
    }
}
