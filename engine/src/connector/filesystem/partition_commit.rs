//! Flink's options of committing partitions: when a partition is complete, and what marks it then.

use std::collections::BTreeMap;

use super::options::wrong;
use super::partition;
use super::partition_time::{self, Pattern};
use super::rolling::parse_duration;
use crate::time::TimestampMs;
use crate::{Error, Result};

const TRIGGER: &str = "sink.partition-commit.trigger";
const DELAY: &str = "sink.partition-commit.delay";
const TIME_ZONE: &str = "sink.partition-commit.watermark-time-zone";
const KIND: &str = "sink.partition-commit.policy.kind";
const NAME: &str = "sink.partition-commit.success-file.name";
const EXTRACTOR: &str = "partition.time-extractor.kind";
const PATTERN: &str = "partition.time-extractor.timestamp-pattern";
const FORMATTER: &str = "partition.time-extractor.timestamp-formatter";
const KNOWN: &[&str] = &[TRIGGER, DELAY, TIME_ZONE, KIND, NAME, EXTRACTOR, PATTERN, FORMATTER];

/// What the options begin with that [`PartitionCommit::parse`] knows or refuses.
pub const PREFIXES: &[&str] = &["sink.partition-commit.", "partition.time-extractor."];

/// When a partition is marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trigger {
    /// As its rows are published.
    Published,
    /// When the clock is so much later than when its first rows were published.
    ProcessTime { delay_ms: i64 },
    /// When the watermark is so much later than the time that its folders name.
    PartitionTime { delay_ms: i64, pattern: Option<Pattern> },
}

/// What marks a partition, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartitionCommit {
    /// The name of the file that is put into its folder.
    pub(super) success_file: String,
    pub(super) trigger: Trigger,
}

impl PartitionCommit {
    /// Reads the options; `None` where nothing marks partitions.
    ///
    /// # Errors
    /// `Invalid` where they ask for another mark, or are none.
    pub(super) fn parse(options: &BTreeMap<String, String>) -> Result<Option<Self>> {
        let get = |key: &str| options.get(key).map(String::as_str);
        let is_other = |key: &&String| {
            PREFIXES.iter().any(|prefix| key.starts_with(prefix)) && !KNOWN.contains(&key.as_str())
        };
        if let Some(other) = options.keys().find(is_other) {
            return Err(refused(options, other, "partitions are marked with a file and no more"));
        }
        let trigger = trigger(options)?;
        let Some(kinds) = get(KIND) else { return Ok(None) };
        for kind in kinds.split(',').map(str::trim) {
            match kind {
                "success-file" => {}
                "metastore" => {
                    let reason = "there is no metastore, only success-file is";
                    return Err(refused(options, KIND, reason));
                }
                "custom" => return Err(refused(options, KIND, "only success-file is")),
                _ => return Err(wrong(KIND, kinds, "success-file")),
            }
        }
        let name = get(NAME).unwrap_or("_SUCCESS");
        if name.is_empty() || name.contains('/') || name.starts_with("part-") {
            return Err(wrong(NAME, name, "a file's name that does not begin with part-"));
        }
        Ok(Some(Self { success_file: name.to_owned(), trigger }))
    }

    /// Tells whether it matters how far time is when a checkpoint is taken.
    pub(super) fn follows_time(&self) -> bool {
        self.trigger != Trigger::Published
    }

    /// Tells whether that is the clock's time.
    pub(super) fn follows_clock(&self) -> bool {
        matches!(self.trigger, Trigger::ProcessTime { .. })
    }

    /// Returns the time after which a folder's partition is complete, by the watermark or by the
    /// clock, which was at `begun_ms` when its first rows were published; `None` where it names no
    /// time, so that it is complete when the job ends.
    ///
    /// # Errors
    /// `Invalid` where a partition names something else than a time.
    pub(super) fn deadline(
        &self,
        folder: &str,
        begun_ms: TimestampMs,
    ) -> Result<Option<TimestampMs>> {
        match &self.trigger {
            Trigger::Published => Ok(Some(TimestampMs::MIN)),
            Trigger::ProcessTime { delay_ms } => Ok(Some(begun_ms.saturating_add(*delay_ms))),
            Trigger::PartitionTime { delay_ms, pattern } => {
                let time = partition_time::of_folder(folder, pattern.as_ref())?;
                Ok(time.map(|time| time.saturating_add(*delay_ms)))
            }
        }
    }

    /// Checks that the columns that partitions are named by give them a time.
    ///
    /// # Errors
    /// `Invalid` where the pattern names another column.
    pub(super) fn check(&self, partition_by: &[&str]) -> Result<()> {
        if partition_by.is_empty() {
            let message = format!("option '{KIND}' needs PARTITIONED BY");
            return Err(Error::Invalid(message));
        }
        let Trigger::PartitionTime { pattern: Some(pattern), .. } = &self.trigger else {
            return Ok(());
        };
        match pattern.unknown(partition_by) {
            None => Ok(()),
            Some(name) => {
                let known = partition_by.join(", ");
                let expected = format!("the partition columns {known}, not '{name}'");
                Err(wrong(PATTERN, pattern.as_str(), expected.as_str()))
            }
        }
    }
}

/// Tells whether partitions are marked by the watermark of what is written.
#[must_use]
pub fn awaits_watermark(options: &BTreeMap<String, String>) -> bool {
    options.contains_key(KIND) && options.get(TRIGGER).is_some_and(|it| it == "partition-time")
}

/// Checks that a folder names a time, where that is asked for.
pub(super) fn check_folder(commit: Option<&PartitionCommit>, folder: &str) -> Result<()> {
    match commit {
        Some(commit) if !folder.is_empty() => commit.deadline(folder, 0).map(drop),
        _ => Ok(()),
    }
}

/// Returns the columns of a folder with their values.
pub(super) fn values(folder: &str) -> impl Iterator<Item = (String, Option<String>)> {
    partition::values(&format!("{folder}/")).collect::<Vec<_>>().into_iter()
}

fn trigger(options: &BTreeMap<String, String>) -> Result<Trigger> {
    let get = |key: &str| options.get(key).map(String::as_str);
    let delay_ms = match get(DELAY) {
        None => 0,
        Some(text) => parse_duration(text)
            .and_then(|delay| i64::try_from(delay.as_millis()).ok())
            .ok_or_else(|| wrong(DELAY, text, "a time such as '1 h'"))?,
    };
    if get(TIME_ZONE).is_some_and(|zone| zone != "UTC") {
        return Err(refused(options, TIME_ZONE, "times are UTC"));
    }
    match get(EXTRACTOR) {
        None | Some("default") => {}
        Some("custom") => return Err(refused(options, EXTRACTOR, "only default is")),
        Some(other) => return Err(wrong(EXTRACTOR, other, "default")),
    }
    if get(FORMATTER).is_some_and(|format| format != "yyyy-MM-dd HH:mm:ss") {
        return Err(refused(options, FORMATTER, "only 'yyyy-MM-dd HH:mm:ss' is"));
    }
    match get(TRIGGER) {
        None | Some("process-time") if delay_ms == 0 => Ok(Trigger::Published),
        None | Some("process-time") => Ok(Trigger::ProcessTime { delay_ms }),
        Some("partition-time") => {
            let pattern = get(PATTERN).map(Pattern::new);
            Ok(Trigger::PartitionTime { delay_ms, pattern })
        }
        Some(other) => Err(wrong(TRIGGER, other, "process-time or partition-time")),
    }
}

fn refused(options: &BTreeMap<String, String>, key: &str, reason: &str) -> Error {
    let value = options.get(key).map(String::as_str).unwrap_or_default();
    Error::Invalid(format!("option '{key}' = '{value}' is not supported: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(options: &[(&str, &str)]) -> BTreeMap<String, String> {
        let kind = [(KIND, "success-file")];
        let all = kind.iter().chain(options);
        all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn parse(all: &[(&str, &str)]) -> PartitionCommit {
        PartitionCommit::parse(&options(all)).expect("options").expect("a mark")
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_the_reason() {
        let check = |key: &str, value: &str, expected: &str| {
            let error = PartitionCommit::parse(&options(&[(key, value)])).unwrap_err().to_string();
            assert!(error.starts_with(&format!("option '{key}' = '{value}'")), "{error}");
            assert!(error.contains(expected), "{error}");
        };
        check(TRIGGER, "moon", "process-time or partition-time");
        check(DELAY, "soon", "a time such as");
        check(TIME_ZONE, "CET", "times are UTC");
        check(KIND, "metastore,success-file", "there is no metastore");
        check(EXTRACTOR, "custom", "only default is");
        check(FORMATTER, "yyyyMMdd", "only 'yyyy-MM-dd HH:mm:ss' is");
        check("partition.time-extractor.class", "X", "a file and no more");
        check(NAME, "a/b", "a file's name");
        let pattern = parse(&[(TRIGGER, "partition-time"), (PATTERN, "$dt $hour:00:00")]);
        assert!(pattern.check(&["dt", "hour"]).is_ok());
        let error = pattern.check(&["dt"]).unwrap_err().to_string();
        assert!(error.contains("the partition columns dt, not 'hour'"), "{error}");
    }

    #[test]
    fn a_success_file_has_a_name() {
        assert_eq!(PartitionCommit::parse(&BTreeMap::new()).unwrap(), None);
        assert_eq!(parse(&[]).success_file, "_SUCCESS");
        assert_eq!(parse(&[(NAME, "_DONE"), (DELAY, "0 s")]).success_file, "_DONE");
        assert_eq!(parse(&[]).trigger, Trigger::Published);
    }

    #[test]
    fn a_partition_is_complete_after_its_time_and_the_delay() {
        const HOUR: i64 = 3_600_000;
        let by_clock = parse(&[(DELAY, "1 h")]);
        assert_eq!(by_clock.deadline("dt=x", 5).unwrap(), Some(HOUR + 5));
        let all = [(TRIGGER, "partition-time"), (DELAY, "1 h"), (PATTERN, "$dt $hour:00:00")];
        let by_time = parse(&all);
        let folder = "dt=1970-01-01/hour=2";
        assert_eq!(by_time.deadline(folder, 5).unwrap(), Some(3 * HOUR));
        let none = "dt=__HIVE_DEFAULT_PARTITION__/hour=2";
        assert_eq!(by_time.deadline(none, 5).unwrap(), None);
        assert!(by_time.deadline("dt=x/hour=2", 5).is_err());
        assert!(awaits_watermark(&options(&all)) && !awaits_watermark(&options(&[])));
    }
}
