//! Flink's options of writing: when a file is followed by another.

use std::collections::BTreeMap;
use std::time::Duration;

use super::options::wrong;
use crate::Result;

const ROLLOVER: &str = "sink.rolling-policy.rollover-interval";
const CHECK: &str = "sink.rolling-policy.check-interval";

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

pub(super) fn parse_duration(text: &str) -> Option<Duration> {
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
}
