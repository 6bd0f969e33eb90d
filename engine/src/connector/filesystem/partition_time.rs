//! The time that the folders of a partition name.

use chrono::{NaiveDate, NaiveTime};

use super::partition_commit::values;
use crate::time::TimestampMs;
use crate::{Error, Result};

/// A text in which `$column` stands for the value of a partition's column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(String);

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns a name in the pattern that is none of these columns.
    pub(super) fn unknown(&self, columns: &[&str]) -> Option<&str> {
        self.0.split('$').skip(1).find_map(|rest| {
            let is_known = columns.iter().any(|column| rest.starts_with(column));
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            (!is_known).then(|| &rest[..end])
        })
    }

    /// Puts values in the places of their columns; `None` where one of these is null.
    fn fill(&self, mut values: Vec<(String, Option<String>)>) -> Option<String> {
        // One column's name may begin with another's.
        values.sort_by_key(|(column, _)| std::cmp::Reverse(column.len()));
        let mut text = String::new();
        let mut parts = self.0.split('$');
        text.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let named = values.iter().find(|(column, _)| part.starts_with(column.as_str()));
            if let Some((column, value)) = named {
                text.push_str(value.as_deref()?);
                text.push_str(&part[column.len()..]);
            } else {
                text.push('$');
                text.push_str(part);
            }
        }
        Some(text)
    }
}

/// Returns the time that a partition's folders name: the pattern's, else that of the first column.
/// A partition of nulls has none.
///
/// # Errors
/// `Invalid` where they name something else.
pub(super) fn of_folder(folder: &str, pattern: Option<&Pattern>) -> Result<Option<TimestampMs>> {
    let text = match pattern {
        Some(pattern) => pattern.fill(values(folder).collect()),
        None => values(folder).next().and_then(|(_, value)| value),
    };
    let Some(text) = text else { return Ok(None) };
    parse(&text).map(Some).ok_or_else(|| {
        Error::Invalid(format!(
            "partition '{folder}': '{text}' is no time such as '2024-01-31 12:00:00', \
             by which partitions are committed"
        ))
    })
}

/// Reads a date, or a date and a time, with one or two digits each.
fn parse(text: &str) -> Option<TimestampMs> {
    let text = text.trim();
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, "0:00:00"));
    let mut date = date.split('-').map(str::parse::<i32>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut time = time.trim().split(':').map(str::parse::<u32>);
    let (hour, minute) = (time.next()?.ok()?, time.next()?.ok()?);
    let second = time.next().unwrap_or(Ok(0)).ok()?;
    if date.next().is_some()
        || time.next().is_some()
        || !fraction.bytes().all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let millis = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let date = NaiveDate::from_ymd_opt(year, u32::try_from(month).ok()?, u32::try_from(day).ok()?)?;
    let time = NaiveTime::from_hms_milli_opt(hour, minute, second, millis)?;
    Some(date.and_time(time).and_utc().timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_flink_does() {
        const DAY: i64 = 86_400_000;
        for (text, expected) in [
            ("1970-01-02", Some(DAY)),
            ("1970-1-2 3:00:00", Some(DAY + 3 * 3_600_000)),
            ("1970-01-02 00:01:02.5", Some(DAY + 62_500)),
            ("1970-01-02 00:01", Some(DAY + 60_000)),
            ("1969-12-31", Some(-DAY)),
            ("19700102", None),
            ("1970-13-02", None),
            ("1970-01-02 25:00:00", None),
            ("soon", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn columns_stand_in_the_pattern() {
        let time = |folder, pattern: &str| of_folder(folder, Some(&Pattern::new(pattern)));
        let folder = "d=1970-01-01/day=1/h=05";
        assert_eq!(time(folder, "$d $h:00:00").unwrap(), Some(5 * 3_600_000));
        assert_eq!(time(folder, "1970-01-$day").unwrap(), Some(0));
        assert!(time(folder, "$x").is_err());
        assert_eq!(of_folder("at=1970-01-01 00%3A00%3A01", None).unwrap(), Some(1000));
        assert_eq!(of_folder("at=__HIVE_DEFAULT_PARTITION__", None).unwrap(), None);
        assert_eq!(Pattern::new("$d $hour").unknown(&["d", "h"]), None);
        assert_eq!(Pattern::new("$x_y:00").unknown(&["d"]), Some("x_y"));
    }
}
