//! Reads options and notices those that nobody asks for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use crate::connector::counted::{option, wrong_option};
use crate::{Error, Result};

/// The options of a table, and which of them have been asked for.
#[derive(Debug)]
pub(super) struct Options<'a> {
    options: &'a BTreeMap<String, String>,
    asked: RefCell<BTreeSet<String>>,
}

impl<'a> Options<'a> {
    pub(super) fn new(options: &'a BTreeMap<String, String>) -> Self {
        Self { options, asked: RefCell::default() }
    }

    /// Returns an option as text.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.asked.borrow_mut().insert(key.to_owned());
        self.options.get(key).map(String::as_str)
    }

    /// Returns an option as a number.
    pub(super) fn number<T: FromStr>(&self, key: &str, expected: &str) -> Result<Option<T>> {
        self.text(key);
        option(self.options, key, expected)
    }

    /// Returns an option as a whole number above 0.
    pub(super) fn positive(&self, key: &str) -> Result<Option<u64>> {
        const EXPECTED: &str = "a whole number of at least 1";
        match self.number(key, EXPECTED)? {
            Some(0) => Err(wrong_option(key, 0, EXPECTED)),
            number => Ok(number),
        }
    }

    /// Returns an option as a length of time, written as Flink writes it: `10 s`, `1 d`.
    pub(super) fn duration(&self, key: &str) -> Result<Option<Duration>> {
        let Some(text) = self.text(key) else { return Ok(None) };
        parse_duration(text)
            .map(Some)
            .ok_or_else(|| wrong_option(key, text, "a length of time such as '10 s' or '1 d'"))
    }

    /// Complains about the first option that was not asked for.
    pub(super) fn finish(self) -> Result<()> {
        let asked = self.asked.into_inner();
        match self.options.keys().find(|key| !asked.contains(*key)) {
            None => Ok(()),
            Some(unknown) => Err(Error::Invalid(format!(
                "connector 'datagen' has no option '{unknown}' for this table"
            ))),
        }
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit_ms = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => 1000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_ms).map(Duration::from_millis)
}
