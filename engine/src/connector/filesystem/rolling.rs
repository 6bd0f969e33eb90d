//! Flink's options of writing: when a file is followed by another, and what marks a partition.

use std::collections::BTreeMap;
use std::time::Duration;

use super::options::wrong;
use crate::{Error, Result};

const ROLLOVER: &str = "sink.rolling-policy.rollover-interval";
const CHECK: &str = "sink.rolling-policy.check-interval";
const TRIGGER: &str = "sink.partition-commit.trigger";
const DELAY: &str = "sink.partition-commit.delay";
const KIND: &str = "sink.partition-commit.policy.kind";
const NAME: &str = "sink.partition-commit.success-file.name";

/// What the options begin with that [`success_file`] knows or refuses.
pub const PREFIXES: &[&str] = &["sink.partition-commit.", "partition.time-extractor."];

/// Returns after which time a file is followed by another; without an answer only its size and
/// checkpoints end it. It is looked at with every batch, at least as often as the other interval
/// asks for.
pub(super) fn rollover(options: &BTreeMap<String, String>) -> Result<Option<Duration>> {
    duration(options, CHECK)?;
    duration(options, ROLLOVER)
}

fn duration(options: &BTreeMap<String, String>, key: &str) -> Result<Option<Duration>> {
    let Some(text) = options.get(key) else { return Ok(None) };
    let duration = parse_duration(text).filter(|duration| !duration.is_zero());
    duration.map(Some).ok_or_else(|| wrong(key, text, "a time such as '30 min'"))
}

fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => 1000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60 * 1000,
        "h" | "hour" | "hours" => 60 * 60 * 1000,
        "d" | "day" | "days" => 24 * 60 * 60 * 1000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_ms).map(Duration::from_millis)
}

/// Returns the name of the file that marks a partition once rows of it are published.
///
/// # Errors
/// `Invalid` where the options ask for another moment or another mark.
pub(super) fn success_file(options: &BTreeMap<String, String>) -> Result<Option<String>> {
    let get = |key: &str| options.get(key).map(String::as_str);
    let known = [TRIGGER, DELAY, KIND, NAME];
    let refuse = |key: &str, reason: &str| {
        let value = get(key).unwrap_or_default();
        Err(Error::Invalid(format!("option '{key}' = '{value}' is not supported: {reason}")))
    };
    match get(TRIGGER) {
        None | Some("process-time") => {}
        Some("partition-time") => {
            return refuse(
                TRIGGER,
                "partitions are marked as their rows are published, only process-time is",
            );
        }
        Some(other) => return Err(wrong(TRIGGER, other, "process-time")),
    }
    match get(DELAY).map(parse_duration) {
        None => {}
        Some(Some(delay)) if delay.is_zero() => {}
        Some(Some(_)) => {
            return refuse(
                DELAY,
                "partitions are marked as their rows are published, only '0 s' is",
            );
        }
        Some(None) => return Err(wrong(DELAY, get(DELAY).unwrap_or_default(), "'0 s'")),
    }
    let is_other = |key: &&String| {
        PREFIXES.iter().any(|prefix| key.starts_with(prefix)) && !known.contains(&key.as_str())
    };
    if let Some(other) = options.keys().find(is_other) {
        let reason = "partitions are marked as their rows are published, whatever their time";
        return refuse(other, reason);
    }
    let Some(kinds) = get(KIND) else { return Ok(None) };
    for kind in kinds.split(',').map(str::trim) {
        match kind {
            "success-file" => {}
            "metastore" => return refuse(KIND, "there is no metastore, only success-file is"),
            "custom" => return refuse(KIND, "only success-file is"),
            _ => return Err(wrong(KIND, kinds, "success-file")),
        }
    }
    let name = get(NAME).unwrap_or("_SUCCESS");
    if name.is_empty() || name.contains('/') || name.starts_with("part-") {
        return Err(wrong(NAME, name, "a file's name that does not begin with part-"));
    }
    Ok(Some(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(options: &[(&str, &str)]) -> BTreeMap<String, String> {
        options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn intervals_have_units() {
        let interval = |text| rollover(&options(&[(ROLLOVER, text)]));
        assert_eq!(interval("30 min").unwrap(), Some(Duration::from_mins(30)));
        assert_eq!(interval("250").unwrap(), Some(Duration::from_millis(250)));
        assert_eq!(interval("1d").unwrap(), Some(Duration::from_hours(24)));
        assert!(interval("0 s").is_err() && interval("soon").is_err());
        assert!(rollover(&options(&[(CHECK, "often")])).is_err());
        assert_eq!(rollover(&options(&[(CHECK, "1 min")])).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_the_reason() {
        let check = |key: &str, value: &str, expected: &str| {
            let error = success_file(&options(&[(KIND, "success-file"), (key, value)]));
            let error = error.unwrap_err().to_string();
            assert!(error.starts_with(&format!("option '{key}' = '{value}'")), "{error}");
            assert!(error.contains(expected), "{error}");
        };
        check(TRIGGER, "partition-time", "only process-time is");
        check(DELAY, "1 h", "only '0 s' is");
        check(KIND, "metastore,success-file", "there is no metastore");
        check("partition.time-extractor.timestamp-pattern", "$dt", "whatever their time");
        check(NAME, "a/b", "a file's name");
    }

    #[test]
    fn a_success_file_has_a_name() {
        let name = |all: &[(&str, &str)]| success_file(&options(all)).unwrap();
        assert_eq!(name(&[]), None);
        assert_eq!(name(&[(KIND, "success-file")]).as_deref(), Some("_SUCCESS"));
        let named = [(KIND, "success-file"), (NAME, "_DONE"), (DELAY, "0 s")];
        assert_eq!(name(&named).as_deref(), Some("_DONE"));
    }
}
