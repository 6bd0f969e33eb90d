//! PostgreSQL's patterns of dates and times, such as `YYYY-MM-DD HH24:MI:SS.MS`, compiled.

use std::cell::RefCell;
use std::rc::Rc;

use datafusion::common::exec_err;
use datafusion::error::Result;

use super::char_field::{Case, Field, Part};
use super::lately::Lately;
use super::moment::{MICROS_PER_DAY, Moment};
use super::time_text::Pattern;

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct CharPattern {
    items: Vec<Item>,
}

#[derive(Debug)]
enum Item {
    Field(Field),
    /// Text as it is.
    Literal(String),
}

/// The keywords, those first that begin like others and are longer. All but those of names may be
/// written in upper and in lower case.
const KEYWORDS: &[(&str, Part)] = &[
    ("A.D.", Part::EraDots),
    ("A.M.", Part::HalfOfDayDots),
    ("AD", Part::Era),
    ("AM", Part::HalfOfDay),
    ("B.C.", Part::EraDots),
    ("BC", Part::Era),
    ("CC", Part::Century),
    ("DAY", Part::DayName),
    ("DDD", Part::DayOfYear),
    ("DD", Part::Day),
    ("DY", Part::DayShort),
    ("D", Part::DayOfWeek),
    ("FF1", Part::Fraction(1)),
    ("FF2", Part::Fraction(2)),
    ("FF3", Part::Fraction(3)),
    ("FF4", Part::Fraction(4)),
    ("FF5", Part::Fraction(5)),
    ("FF6", Part::Fraction(6)),
    ("FX", Part::Exact),
    ("HH24", Part::Hour24),
    ("HH12", Part::Hour12),
    ("HH", Part::Hour12),
    ("IDDD", Part::IsoDayOfYear),
    ("ID", Part::IsoDayOfWeek),
    ("IW", Part::IsoWeek),
    ("IYYY", Part::IsoYear(4)),
    ("IYY", Part::IsoYear(3)),
    ("IY", Part::IsoYear(2)),
    ("I", Part::IsoYear(1)),
    ("J", Part::JulianDay),
    ("MI", Part::Minute),
    ("MM", Part::Month),
    ("MONTH", Part::MonthName),
    ("MON", Part::MonthShort),
    ("MS", Part::Fraction(3)),
    ("OF", Part::Offset),
    ("P.M.", Part::HalfOfDayDots),
    ("PM", Part::HalfOfDay),
    ("Q", Part::Quarter),
    ("RM", Part::Roman),
    ("SSSSS", Part::SecondOfDay),
    ("SSSS", Part::SecondOfDay),
    ("SS", Part::Second),
    ("TZH", Part::Offset),
    ("TZM", Part::OffsetMinutes),
    ("TZ", Part::Zone),
    ("US", Part::Fraction(6)),
    ("WW", Part::Week),
    ("W", Part::WeekOfMonth),
    ("Y,YYY", Part::YearComma),
    ("YYYY", Part::Year(4)),
    ("YYY", Part::Year(3)),
    ("YY", Part::Year(2)),
    ("Y", Part::Year(1)),
];

thread_local! {
    static COMPILED: RefCell<Lately<CharPattern>> = const { RefCell::new(Lately::new()) };
}

impl CharPattern {
    /// Returns a pattern, compiled once per thread while it is in use.
    ///
    /// # Errors
    /// Where letters stand in it that mean nothing.
    pub(super) fn cached(pattern: &str) -> Result<Rc<Self>> {
        COMPILED.with_borrow_mut(|compiled| compiled.get(pattern, Self::compile))
    }

    fn compile(pattern: &str) -> Result<Self> {
        let mut items: Vec<Item> = Vec::new();
        let mut rest = pattern;
        while let Some(first) = rest.chars().next() {
            if let Some(quoted) = rest.strip_prefix('"') {
                rest = unquoted(quoted, &mut items);
                continue;
            }
            let (prefix, after) = prefix(rest);
            if let Some((part, case, after)) = keyword(after) {
                let (ordinal, after) = ordinal(after);
                let fill = !(prefix == Some("FM") || (prefix == Some("TM") && part.is_name()));
                items.push(Item::Field(Field { part, case, fill, ordinal }));
                rest = after;
                continue;
            }
            if first.is_ascii_alphabetic() {
                let letters: String = rest.chars().take_while(char::is_ascii_alphabetic).collect();
                return exec_err!(
                    "TO_CHAR does not know '{letters}' in '{pattern}'; text stands in double quotes"
                );
            }
            // Before a double quote, a backslash makes it one.
            let first = if rest.starts_with("\\\"") { '"' } else { first };
            literal(&mut items, first);
            rest = &rest[if rest.starts_with("\\\"") { 2 } else { first.len_utf8() }..];
        }
        Ok(Self { items })
    }

    /// Tells whether it asks for parts of a date.
    pub(super) fn has_date(&self) -> bool {
        self.items.iter().any(|item| match item {
            Item::Field(field) => field.part.span() == MICROS_PER_DAY,
            Item::Literal(_) => false,
        })
    }
}

impl Pattern for CharPattern {
    fn resolution_micros(&self) -> i64 {
        let spans = self.items.iter().filter_map(|item| match item {
            Item::Field(field) if field.part == Part::Exact => None,
            Item::Field(field) => Some(field.part.span()),
            Item::Literal(_) => None,
        });
        spans.min().unwrap_or(MICROS_PER_DAY)
    }

    fn format(&self, micros: i64, out: &mut String) {
        let moment = Moment::new(micros);
        for item in &self.items {
            match item {
                Item::Literal(text) => out.push_str(text),
                Item::Field(field) => field.format(&moment, out),
            }
        }
    }
}

/// Takes text up to the closing quote, in which a backslash makes the next character plain.
fn unquoted<'p>(pattern: &'p str, items: &mut Vec<Item>) -> &'p str {
    let mut characters = pattern.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return &pattern[index + 1..],
            '\\' => characters.next().into_iter().for_each(|(_, next)| literal(items, next)),
            other => literal(items, other),
        }
    }
    ""
}

fn literal(items: &mut Vec<Item>, character: char) {
    match items.last_mut() {
        Some(Item::Literal(last)) => last.push(character),
        _ => items.push(Item::Literal(character.to_string())),
    }
}

fn prefix(pattern: &str) -> (Option<&'static str>, &str) {
    for known in ["FM", "TM"] {
        if let Some(start) = pattern.get(..2)
            && (start == known || start == known.to_lowercase())
        {
            return (Some(known), &pattern[2..]);
        }
    }
    (None, pattern)
}

fn keyword(pattern: &str) -> Option<(Part, Case, &str)> {
    KEYWORDS.iter().find_map(|(name, part)| {
        let written = pattern.get(..name.len())?;
        let case = if written == *name {
            Case::Upper
        } else if written.eq_ignore_ascii_case(name) && written == written.to_lowercase() {
            Case::Lower
        } else if part.is_name() && written.eq_ignore_ascii_case(name) && is_title(written) {
            Case::Title
        } else {
            return None;
        };
        Some((*part, case, &pattern[name.len()..]))
    })
}

fn is_title(word: &str) -> bool {
    let mut characters = word.chars();
    characters.next().is_some_and(char::is_uppercase) && characters.all(char::is_lowercase)
}

fn ordinal(pattern: &str) -> (Option<Case>, &str) {
    match pattern.get(..2) {
        Some("TH") => (Some(Case::Upper), &pattern[2..]),
        Some("th") => (Some(Case::Lower), &pattern[2..]),
        _ => (None, pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-02-09 17:05:03.007123, a Friday.
    const MOMENT: i64 = 1_707_498_303_007_123;

    #[track_caller]
    fn check(pattern: &str, micros: i64, expected: &str) {
        let mut out = String::new();
        CharPattern::compile(pattern).expect("a pattern").format(micros, &mut out);
        assert_eq!(out, expected, "{pattern}");
    }

    #[test]
    fn keywords_mean_what_they_mean_in_postgresql() {
        for (pattern, expected) in [
            ("YYYY-MM-DD HH24:MI:SS.MS", "2024-02-09 17:05:03.007"),
            ("yyyy-mm-dd hh24:mi:ss.us", "2024-02-09 17:05:03.007123"),
            ("YYY YY Y Y,YYY CC AD bc a.d.", "024 24 4 2,024 21 AD ad a.d."),
            ("HH:MI AM HH12 p.m. A.M.", "05:05 PM 05 p.m. P.M."),
            ("Month|MONTH|month|Mon|MON|mon", "February |FEBRUARY |february |Feb|FEB|feb"),
            ("Day|DAY|day|Dy|DY|dy", "Friday   |FRIDAY   |friday   |Fri|FRI|fri"),
            ("FMMonth FMDD, FMDay TMMonth", "February 9, Friday February"),
            ("D ID DDD IDDD Q W WW IW", "6 5 040 040 1 2 06 06"),
            ("IYYY IYY IY I J", "2024 024 24 4 2460350"),
            ("FF1 FF2 FF3 FF4 FF5 FF6", "0 00 007 0071 00712 007123"),
            ("SSSS SSSSS RM rm FMRM", "61503 61503 II   ii   II"),
            ("DDTH FMDDth MMTH", "09TH 9th 02ND"),
            ("TZ tz TZH:TZM OF", "UTC utc +00:00 +00"),
            (r#"YYYY"T"HH24 "say \"Day\"" FXMI"#, r#"2024T17 say "Day" 05"#),
            (r#"\"YYYY\""#, r#""2024""#),
            ("YYYYMMDDHH24MISS", "20240209170503"),
            ("Müller", "unsupported"),
        ] {
            if expected == "unsupported" {
                assert!(CharPattern::compile(pattern).is_err(), "{pattern}");
            } else {
                check(pattern, MOMENT, expected);
            }
        }
    }

    #[test]
    fn times_before_1970_and_before_the_year_1_have_their_parts() {
        check("YYYY-MM-DD HH24:MI:SS.US", -1, "1969-12-31 23:59:59.999999");
        let day = |year| crate::function::moment::days_from_civil(year, 1, 1) * MICROS_PER_DAY;
        check("YYYY BC CC", day(0), "0001 BC -01");
        check("YYYY BC CC", day(-43), "0044 BC -01");
        check("YYYY CC IYYY-IW-ID", day(2000), "2000 20 1999-52-6");
        check("IDDD", day(2021), "369");
    }

    #[test]
    fn letters_without_a_meaning_are_refused_and_named() {
        let error = |pattern| CharPattern::compile(pattern).expect_err("is refused").to_string();
        assert!(error("YYYY-MM-DDTHH24:MI").contains("does not know 'H'"), "DDTH takes an H");
        assert!(error("YYYY-MM-DD xHH24").contains("'xHH' in 'YYYY-MM-DD xHH24'"));
    }

    #[test]
    fn rows_of_one_span_have_one_text() {
        for (pattern, expected) in
            [("YYYY", MICROS_PER_DAY), ("HH24:MI", 60_000_000), ("MS", 1), ("TZ", i64::MAX)]
        {
            let pattern = CharPattern::compile(pattern).expect("a pattern");
            assert_eq!(pattern.resolution_micros(), expected);
        }
    }
}
