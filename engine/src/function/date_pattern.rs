//! Java's patterns of dates and times, such as `yyyy-MM-dd HH:mm:ss.SSS`, compiled.

use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;

use datafusion::common::exec_err;
use datafusion::error::Result;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;
pub(super) const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;

const MONTHS: [&str; 12] = [
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
const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Letters that a pattern can have.
const LETTERS: &str = "yuMLdDHhKkmsSaEQXZ";

/// A compiled pattern.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DatePattern {
    items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    /// A letter and how often it stands in a row.
    Field(char, usize),
    /// Text as it is.
    Literal(String),
}

thread_local! {
    /// Patterns that were used lately: the literals of the queries that run.
    static COMPILED: RefCell<Vec<(String, Rc<DatePattern>)>> = const { RefCell::new(Vec::new()) };
}

const MAX_COMPILED: usize = 32;

impl DatePattern {
    /// Returns a pattern, compiled once per thread while it is in use.
    ///
    /// # Errors
    /// Where a letter is not one that is supported.
    pub(super) fn cached(pattern: &str) -> Result<Rc<Self>> {
        COMPILED.with_borrow_mut(|compiled| {
            if let Some((_, found)) = compiled.iter().find(|(known, _)| known == pattern) {
                return Ok(Rc::clone(found));
            }
            let new = Rc::new(Self::compile(pattern)?);
            if compiled.len() == MAX_COMPILED {
                compiled.remove(0);
            }
            compiled.push((pattern.to_owned(), Rc::clone(&new)));
            Ok(new)
        })
    }

    fn compile(pattern: &str) -> Result<Self> {
        let mut items: Vec<Item> = Vec::new();
        let mut rest = pattern.chars().peekable();
        while let Some(c) = rest.next() {
            if c == '\'' {
                let mut text = String::new();
                loop {
                    match rest.next() {
                        Some('\'') if rest.peek() == Some(&'\'') => {
                            text.push('\'');
                            rest.next();
                        }
                        Some('\'') | None => break,
                        Some(c) => text.push(c),
                    }
                }
                literal(&mut items, if text.is_empty() { "'" } else { &text });
            } else if LETTERS.contains(c) {
                match items.last_mut() {
                    Some(Item::Field(letter, count)) if *letter == c => *count += 1,
                    _ => items.push(Item::Field(c, 1)),
                }
            } else if c.is_ascii_alphabetic() {
                return exec_err!("letter '{c}' of the date pattern '{pattern}' is not supported");
            } else {
                literal(&mut items, c.encode_utf8(&mut [0; 4]));
            }
        }
        Ok(Self { items })
    }

    /// Returns the length of the spans of time, aligned to 1970, within which all moments have the
    /// same text.
    pub(super) fn resolution_micros(&self) -> i64 {
        let of_letter = |letter: char| match letter {
            'S' => 1,
            's' => MICROS_PER_SECOND,
            'm' => MICROS_PER_MINUTE,
            'H' | 'h' | 'K' | 'k' | 'a' => MICROS_PER_HOUR,
            _ => MICROS_PER_DAY,
        };
        let letters = self.items.iter().filter_map(|item| match item {
            Item::Field(letter, _) => Some(of_letter(*letter)),
            Item::Literal(_) => None,
        });
        letters.min().unwrap_or(MICROS_PER_DAY)
    }

    /// Appends the text of a moment, in microseconds since 1970.
    pub(super) fn format(&self, micros: i64, out: &mut String) {
        let moment = Moment::new(micros);
        for item in &self.items {
            match item {
                Item::Literal(text) => out.push_str(text),
                Item::Field(letter, count) => moment.format(*letter, *count, out),
            }
        }
    }

    /// Returns the moment that a text stands for, in microseconds since 1970; `None` where it
    /// does not fit the pattern or is no date.
    pub(super) fn parse(&self, text: &str) -> Option<i64> {
        let mut fields = ParsedFields::default();
        let mut rest = text;
        for (index, item) in self.items.iter().enumerate() {
            match item {
                Item::Literal(literal) => rest = rest.strip_prefix(literal.as_str())?,
                Item::Field(letter, count) => {
                    let next = self.items.get(index + 1);
                    let adjacent =
                        matches!(next, Some(Item::Field(letter, _)) if is_number(*letter));
                    rest = fields.parse(*letter, *count, adjacent, rest)?;
                }
            }
        }
        if rest.is_empty() { fields.micros() } else { None }
    }
}

fn is_number(letter: char) -> bool {
    !matches!(letter, 'a' | 'E' | 'X' | 'Z')
}

fn literal(items: &mut Vec<Item>, text: &str) {
    match items.last_mut() {
        Some(Item::Literal(last)) => last.push_str(text),
        _ => items.push(Item::Literal(text.to_owned())),
    }
}

/// A moment by the parts of its date and time.
struct Moment {
    year: i64,
    month: u32,
    day: u32,
    /// Days since 1970.
    days: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
}

impl Moment {
    fn new(micros: i64) -> Self {
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

    fn format(&self, letter: char, count: usize, out: &mut String) {
        let month = MONTHS[self.month as usize - 1];
        match (letter, count) {
            ('y' | 'u', 2) => number(self.year.rem_euclid(100), 2, out),
            ('y' | 'u', _) => number(self.year, count, out),
            ('M' | 'L', 3) => out.push_str(&month[..3]),
            ('M' | 'L', 4..) => out.push_str(month),
            ('M' | 'L', _) => number(i64::from(self.month), count, out),
            ('d', _) => number(i64::from(self.day), count, out),
            ('D', _) => number(self.days - days_from_civil(self.year, 1, 1) + 1, count, out),
            ('H', _) => number(self.hour, count, out),
            ('h', _) => number((self.hour + 11) % 12 + 1, count, out),
            ('K', _) => number(self.hour % 12, count, out),
            ('k', _) => number((self.hour + 23) % 24 + 1, count, out),
            ('m', _) => number(self.minute, count, out),
            ('s', _) => number(self.second, count, out),
            ('S', _) => self.format_fraction(count, out),
            ('a', _) => out.push_str(if self.hour < 12 { "AM" } else { "PM" }),
            ('E', _) => {
                let name = DAYS[(self.days + 3).rem_euclid(7) as usize];
                out.push_str(if count < 4 { &name[..3] } else { name });
            }
            ('Q', _) => number(i64::from(self.month - 1) / 3 + 1, count, out),
            ('X', _) => out.push('Z'),
            _ => out.push_str("+0000"),
        }
    }

    fn format_fraction(&self, count: usize, out: &mut String) {
        let mut digits = self.micros;
        (count..6).for_each(|_| digits /= 10);
        number(digits, count.min(6), out);
        (6..count).for_each(|_| out.push('0'));
    }
}

fn number(value: i64, width: usize, out: &mut String) {
    if (0..100).contains(&value) && width == 2 {
        // The bulk of all digits: two of them, without the formatter.
        out.push(char::from(b'0' + (value / 10) as u8));
        out.push(char::from(b'0' + (value % 10) as u8));
        return;
    }
    // Writing to a String does not fail.
    let _ = write!(out, "{value:0width$}");
}

/// The parts of a moment as a text gives them.
#[derive(Default)]
struct ParsedFields {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: i64,
    /// Whether the hour is one of twelve.
    of_twelve: bool,
    afternoon: bool,
    minute: i64,
    second: i64,
    micros: i64,
}

impl ParsedFields {
    /// Reads a field off the front of a text and returns the rest.
    fn parse<'t>(
        &mut self,
        letter: char,
        count: usize,
        adjacent: bool,
        text: &'t str,
    ) -> Option<&'t str> {
        match (letter, count) {
            ('M' | 'L', 3..) => {
                let length = |name: &&str| if count == 3 { 3 } else { name.len() };
                let index =
                    MONTHS.iter().position(|name| has_prefix(text, &name[..length(name)]))?;
                self.month = Some(index as i64 + 1);
                return text.get(length(&MONTHS[index])..);
            }
            ('E', _) => {
                let length = |name: &&str| if count < 4 { 3 } else { name.len() };
                let name = DAYS.iter().find(|name| has_prefix(text, &name[..length(name)]))?;
                return text.get(length(name)..);
            }
            ('a', _) => {
                self.afternoon = has_prefix(text, "PM");
                return (self.afternoon || has_prefix(text, "AM")).then(|| &text[2..]);
            }
            ('X', _) => return text.strip_prefix('Z'),
            ('Z', _) => return text.strip_prefix("+0000"),
            _ => {}
        }
        let (value, digits, rest) = take_number(text, count, adjacent)?;
        match letter {
            'y' | 'u' if count == 2 => self.year = Some(2000 + value),
            'y' | 'u' => self.year = Some(value),
            'M' | 'L' => self.month = Some(value),
            'd' => self.day = Some(value),
            'D' => self.day_of_year = Some(value),
            'H' => self.hour = value,
            'k' => self.hour = value % 24,
            'h' | 'K' => (self.hour, self.of_twelve) = (value % 12, true),
            'm' => self.minute = value,
            's' => self.second = value,
            'S' => self.micros = scale_to_micros(value, digits),
            _ => {}
        }
        Some(rest)
    }

    fn micros(&self) -> Option<i64> {
        let year = self.year.unwrap_or(1970);
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        let valid = (1..=12).contains(&month)
            && (1..=days_of_month(year, month)).contains(&day)
            && (0..24).contains(&self.hour)
            && (0..60).contains(&self.minute)
            && (0..60).contains(&self.second);
        if !valid {
            return None;
        }
        let days = match self.day_of_year {
            Some(day) => days_from_civil(year, 1, 1) + day - 1,
            None => days_from_civil(year, month as u32, day as u32),
        };
        let afternoon = if self.of_twelve && self.afternoon { 12 } else { 0 };
        let of_day = (self.hour + afternoon) * MICROS_PER_HOUR
            + self.minute * MICROS_PER_MINUTE
            + self.second * MICROS_PER_SECOND
            + self.micros;
        days.checked_mul(MICROS_PER_DAY)?.checked_add(of_day)
    }
}

fn has_prefix(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Reads a number: of exactly `count` digits where there are several or others follow at once,
/// else of as many as there are.
fn take_number(text: &str, count: usize, adjacent: bool) -> Option<(i64, usize, &str)> {
    let most = if count == 1 && !adjacent { 18 } else { count };
    let digits = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let least = if most == count { count } else { 1 };
    if digits < least {
        return None;
    }
    Some((text[..digits].parse().ok()?, digits, &text[digits..]))
}

fn scale_to_micros(value: i64, digits: usize) -> i64 {
    let scale = 10_i64.pow(digits.abs_diff(6) as u32);
    if digits <= 6 { value * scale } else { value / scale }
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
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

    /// 2024-02-09 17:05:03.007123, a Friday.
    const MOMENT: i64 = 1_707_498_303_007_123;

    fn format(pattern: &str, micros: i64) -> String {
        let mut out = String::new();
        DatePattern::compile(pattern).expect("a pattern").format(micros, &mut out);
        out
    }

    #[test]
    fn letters_mean_what_they_mean_in_java() {
        for (pattern, expected) in [
            ("yyyy-MM-dd HH:mm:ss.SSS", "2024-02-09 17:05:03.007"),
            ("yy/M/d h:m a", "24/2/9 5:5 PM"),
            ("EEE, dd MMM yyyy", "Fri, 09 Feb 2024"),
            ("EEEE MMMM", "Friday February"),
            ("yyyyMMddHHmmssSSSSSS", "20240209170503007123"),
            ("DDD Q", "040 1"),
            ("HH 'o''clock'", "17 o'clock"),
            ("yyyy-MM-dd'T'HH:mm:ssX", "2024-02-09T17:05:03Z"),
            ("SSSSSSSSS", "007123000"),
        ] {
            assert_eq!(format(pattern, MOMENT), expected, "{pattern}");
        }
        assert_eq!(format("yyyy-MM-dd HH:mm:ss", -1), "1969-12-31 23:59:59");
        assert!(DatePattern::compile("yyyy-MM-ddTHH").is_err(), "T stands in quotes");
    }

    #[test]
    fn texts_are_parsed_strictly() {
        let parse = |pattern: &str, text: &str| {
            DatePattern::compile(pattern).expect("a pattern").parse(text)
        };
        let second = 1_707_498_303_000_000;
        for (pattern, text, expected) in [
            ("yyyy-MM-dd HH:mm:ss.SSSSSS", "2024-02-09 17:05:03.007123", Some(MOMENT)),
            ("yyyyMMddHHmmss", "20240209170503", Some(second)),
            ("d/M/yy h:mm:ss a", "9/2/24 5:05:03 PM", Some(second)),
            ("dd MMM yyyy HH:mm:ss", "09 feb 2024 17:05:03", Some(second)),
            ("yyyy-MM-dd", "2024-02-30", None),
            ("yyyy-MM-dd", "2024-2-9", None),
            ("yyyy-MM-dd", "2024-02-09x", None),
            ("HH:mm", "24:00", None),
            ("HH:mm", "", None),
        ] {
            assert_eq!(parse(pattern, text), expected, "{pattern} {text}");
        }
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
}
