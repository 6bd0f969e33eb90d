//! Java's patterns of dates and times, such as `yyyy-MM-dd HH:mm:ss.SSS`, compiled.

use std::cell::RefCell;
use std::rc::Rc;

use datafusion::common::exec_err;
use datafusion::error::Result;

use super::lately::Lately;
use super::moment::{
    DAYS, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, MONTHS, Moment,
    days_from_civil, days_of_month, days_of_year, number,
};
use super::time_text::Pattern;

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
    static COMPILED: RefCell<Lately<DatePattern>> = const { RefCell::new(Lately::new()) };
}

impl DatePattern {
    /// Returns a pattern, compiled once per thread while it is in use.
    ///
    /// # Errors
    /// Where a letter is not one that is supported.
    pub(super) fn cached(pattern: &str) -> Result<Rc<Self>> {
        COMPILED.with_borrow_mut(|compiled| compiled.get(pattern, Self::compile))
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

impl Pattern for DatePattern {
    fn resolution_micros(&self) -> i64 {
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

    fn format(&self, micros: i64, out: &mut String) {
        let moment = Moment::new(micros);
        for item in &self.items {
            match item {
                Item::Literal(text) => out.push_str(text),
                Item::Field(letter, count) => field(&moment, *letter, *count, out),
            }
        }
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

/// Appends the text that a letter, so often in a row, stands for.
fn field(moment: &Moment, letter: char, count: usize, out: &mut String) {
    let month = MONTHS[moment.month as usize - 1];
    match (letter, count) {
        ('y' | 'u', 2) => number(moment.year.rem_euclid(100), 2, out),
        ('y' | 'u', _) => number(moment.year, count, out),
        ('M' | 'L', 3) => out.push_str(&month[..3]),
        ('M' | 'L', 4..) => out.push_str(month),
        ('M' | 'L', _) => number(i64::from(moment.month), count, out),
        ('d', _) => number(i64::from(moment.day), count, out),
        ('D', _) => number(moment.day_of_year(), count, out),
        ('H', _) => number(moment.hour, count, out),
        ('h', _) => number(moment.hour_of_twelve(), count, out),
        ('K', _) => number(moment.hour % 12, count, out),
        ('k', _) => number((moment.hour + 23) % 24 + 1, count, out),
        ('m', _) => number(moment.minute, count, out),
        ('s', _) => number(moment.second, count, out),
        ('S', _) => fraction(moment.micros, count, out),
        ('a', _) => out.push_str(if moment.hour < 12 { "AM" } else { "PM" }),
        ('E', _) => {
            let name = DAYS[moment.weekday()];
            out.push_str(if count < 4 { &name[..3] } else { name });
        }
        ('Q', _) => number(i64::from(moment.month - 1) / 3 + 1, count, out),
        ('X', _) => out.push('Z'),
        _ => out.push_str("+0000"),
    }
}

/// Appends digits of the second behind its point.
fn fraction(micros: i64, count: usize, out: &mut String) {
    let mut digits = micros;
    (count..6).for_each(|_| digits /= 10);
    number(digits, count.min(6), out);
    (6..count).for_each(|_| out.push('0'));
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
            Some(day) if day < 1 || day > days_of_year(year) => return None,
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
            ("yyyy DDD", "2023 366", None),
        ] {
            assert_eq!(parse(pattern, text), expected, "{pattern} {text}");
        }
    }
}
