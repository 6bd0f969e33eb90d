//! What the options of a nexmark table say.

use std::collections::BTreeMap;

use arrow::compute::kernels::cast_utils::string_to_datetime;

use crate::connector::counted::{option, wrong_option};
use crate::time::TimestampMs;
use crate::{Error, Result};

/// The options of the connector.
pub const OPTIONS: &[&str] = &[
    "events",
    "rate",
    "base-time",
    "seed",
    "rows-per-second",
    "splits",
    "out-of-order-group-size",
    "stays-open-ms",
];

/// 2024-01-01 00:00:00 UTC.
const DEFAULT_BASE_TIME_MS: TimestampMs = 1_704_067_200_000;

/// Which events are generated and how fast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Config {
    /// `events`: the number of events of all types; without it the source does not end.
    pub(super) events: Option<u64>,
    /// `rate`: events per second of event time, default 10,000; higher puts more into a window.
    pub(super) rate: u64,
    /// `base-time`: the event time of event 0, default 2024-01-01 00:00:00.
    pub(super) base_time_ms: TimestampMs,
    /// `seed`: another one gives other values in the same distributions; default 0.
    pub(super) seed: u64,
    /// `rows-per-second`: events handed out per second of processing time over all splits; by
    /// default as fast as they are taken.
    pub(super) rows_per_second: Option<u64>,
    /// `out-of-order-group-size`: events are handed out shuffled within groups of so many, as in
    /// Beam's generator; default 1, in their order. A row is late by less than a group's time.
    pub(super) group: u64,
    /// `stays-open-ms`: how long the source stays open after its last event, for looks at what a
    /// query has emitted before its input ends; by default it ends at once.
    pub(super) open_ms: Option<i64>,
    /// `splits`: into how many parts the events are cut; by default one per subtask.
    pub(super) splits: Option<usize>,
}

impl Config {
    /// Reads the options.
    pub(super) fn parse(options: &BTreeMap<String, String>) -> Result<Self> {
        if let Some(unknown) = options.keys().find(|key| !OPTIONS.contains(&key.as_str())) {
            let known = OPTIONS.join(", ");
            return Err(Error::Invalid(format!(
                "connector 'nexmark' has no option '{unknown}', only {known}"
            )));
        }
        Ok(Self {
            events: option(options, "events", "a number of events")?,
            rate: positive(options, "rate")?.unwrap_or(10_000),
            base_time_ms: base_time(options)?,
            seed: option(options, "seed", "a whole number of at least 0")?.unwrap_or(0),
            rows_per_second: positive(options, "rows-per-second")?,
            group: positive(options, "out-of-order-group-size")?.unwrap_or(1),
            open_ms: positive(options, "stays-open-ms")?
                .map(|open_ms| i64::try_from(open_ms).unwrap_or(i64::MAX)),
            splits: positive(options, "splits")?.map(|splits| splits.min(1024) as usize),
        })
    }

    /// Returns which event is handed out at a place: another one of the same group.
    #[inline]
    pub(super) fn event_at(&self, place: u64) -> u64 {
        let first = place / self.group * self.group;
        if self.events.is_some_and(|events| first + self.group > events) {
            // The last group lacks events to change places with.
            return place;
        }
        // A prime as the factor makes this a permutation, unless the group is a multiple of it.
        let is_coprime = |prime: &u64| !self.group.is_multiple_of(*prime);
        let factor = [953, 967].into_iter().find(is_coprime).unwrap_or(1);
        first + (place - first) * factor % self.group
    }

    /// Returns the event time of an event.
    #[inline]
    pub(super) fn time_ms(&self, event: u64) -> TimestampMs {
        self.base_time_ms + (event * 1000 / self.rate) as i64
    }
}

fn positive(options: &BTreeMap<String, String>, key: &str) -> Result<Option<u64>> {
    const EXPECTED: &str = "a whole number of at least 1";
    match option(options, key, EXPECTED)? {
        Some(0) => Err(wrong_option(key, 0, EXPECTED)),
        number => Ok(number),
    }
}

fn base_time(options: &BTreeMap<String, String>) -> Result<TimestampMs> {
    let Some(text) = options.get("base-time") else { return Ok(DEFAULT_BASE_TIME_MS) };
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    string_to_datetime(&chrono::Utc, text).map(|time| time.timestamp_millis()).map_err(|_| {
        wrong_option("base-time", text, "a timestamp such as 2024-01-01 00:00:00, or milliseconds")
    })
}
