//! SET and RESET: settings with Flink's keys where Flink has one.

mod flink;

use std::collections::BTreeMap;
use std::time::Duration;

use rainstorm_engine::graph::JobSettings;

use sqlparser::tokenizer::Span;

use crate::error::{SqlError, SqlErrorCode, suggest};

/// A setting: its key, what holds without SET, and what it is.
struct Key {
    name: &'static str,
    default: &'static str,
    kind: Kind,
    description: &'static str,
}

/// What values a setting takes.
#[derive(Clone, Copy)]
enum Kind {
    /// Any text.
    Text,
    /// A duration; zero means never.
    Duration,
    /// A memory size.
    Memory,
    /// A number within these bounds, or nothing.
    Number { min: u64, max: u64 },
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A name of UTC.
    Utc,
}

const CHECKPOINT_INTERVAL: &str = "execution.checkpointing.interval";
const BUFFER_TIMEOUT: &str = "execution.buffer-timeout";
const PARALLELISM: &str = "parallelism.default";
const MAX_PARALLELISM: &str = "pipeline.max-parallelism";
const NAME: &str = "pipeline.name";
const MEMORY_BUDGET: &str = "state.memory-budget";
const RUNTIME_MODE: &str = "execution.runtime-mode";
const TIME_ZONE: &str = "table.local-time-zone";
const ARITHMETIC_OVERFLOW: &str = "table.exec.arithmetic-overflow";
const IDLE_TIMEOUT: &str = "table.exec.source.idle-timeout";
const STAYS_OPEN: &str = "table.exec.source.stays-open";
const STATE_TTL: &str = "table.exec.state.ttl";

/// What arithmetic does whose result does not fit its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// It fails.
    Error,
    /// Whole numbers wrap around; decimals cannot and fail.
    Wrap,
}

/// Who answers queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuntimeMode {
    /// Jobs of streams.
    Streaming,
    /// DataFusion, once all rows are there.
    Batch,
    /// DataFusion where all rows are in files, and where streams do not support what ends.
    Automatic,
}

/// All settings, sorted by key.
const KEYS: &[Key] = &[
    Key {
        name: BUFFER_TIMEOUT,
        default: "5 ms",
        kind: Kind::Duration,
        description: "how long rows may wait for their batch to fill",
    },
    Key {
        name: CHECKPOINT_INTERVAL,
        default: "10 s",
        kind: Kind::Duration,
        description: "time between two checkpoints; 0 takes none but the final one",
    },
    Key {
        name: RUNTIME_MODE,
        default: "automatic",
        kind: Kind::OneOf(&["streaming", "batch", "automatic"]),
        description: "how queries run: streaming, batch once all rows are there, or automatic",
    },
    Key {
        name: PARALLELISM,
        default: "",
        kind: Kind::Number { min: 1, max: 256 },
        description: "subtasks per stage; unset: one per slot of the cluster",
    },
    Key {
        name: MAX_PARALLELISM,
        default: "256",
        kind: Kind::Number { min: 1, max: 32768 },
        description: "number of key groups, fixed for the life of a job's state",
    },
    Key { name: NAME, default: "", kind: Kind::Text, description: "the name of the job" },
    Key {
        name: MEMORY_BUDGET,
        default: "8 gb",
        kind: Kind::Memory,
        description: "state that one worker may hold for a job",
    },
    Key {
        name: ARITHMETIC_OVERFLOW,
        default: "error",
        kind: Kind::OneOf(&["error", "wrap"]),
        description: "what whole numbers do that do not fit their type: error, or wrap as Flink does",
    },
    Key {
        name: IDLE_TIMEOUT,
        default: "0 ms",
        kind: Kind::Duration,
        description: "after this long without rows a source no longer holds the watermark back; 0: never",
    },
    Key {
        name: STAYS_OPEN,
        default: "0 ms",
        kind: Kind::Duration,
        description: "how long sources stay open after their last row, to see what comes before the end",
    },
    Key {
        name: STATE_TTL,
        default: "0 ms",
        kind: Kind::Duration,
        description: "state unused for this long may be dropped; 0: never",
    },
    Key {
        name: TIME_ZONE,
        default: "UTC",
        kind: Kind::Utc,
        description: "the session's time zone",
    },
];

/// Keys of Flink's that are a setting under another name, each with the value by which it leaves
/// the setting alone, if it has one.
const ALIASES: &[(&str, &str, Option<&str>)] = &[
    ("execution.buffer-timeout.interval", BUFFER_TIMEOUT, None),
    ("table.exec.resource.default-parallelism", PARALLELISM, Some("-1")),
];

/// Names of UTC beside those that offsets may follow.
const UTC: &[&str] = &["UCT", "UNIVERSAL", "ZULU", "GREENWICH"];

/// Values of settings, all valid. Settings without one have their default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    values: BTreeMap<&'static str, String>,
}

/// Why a setting was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidSetting {
    /// Key, value and what was expected.
    pub message: String,
    /// The key that was probably meant.
    pub help: Option<String>,
}

impl From<InvalidSetting> for SqlError {
    fn from(error: InvalidSetting) -> Self {
        let refused = Self::at(SqlErrorCode::InvalidSetting, Span::empty(), error.message);
        Self { help: error.help, ..refused }
    }
}

impl Settings {
    /// Sets a value. Returns what that does, for people: settings of Flink's that nothing here
    /// depends on are taken, too.
    ///
    /// # Errors
    /// Where there is no such key, or it does not take such a value.
    pub fn set(&mut self, key: &str, value: &str) -> Result<String, InvalidSetting> {
        if let Some(accepted) = flink::accept(key, value) {
            return accepted;
        }
        let value = value.trim();
        let alias = ALIASES.iter().find(|(alias, ..)| alias.eq_ignore_ascii_case(key));
        if let Some((_, known, Some(default))) = alias
            && value == *default
        {
            return Ok(format!("{key} makes no difference: {known} holds"));
        }
        let key = find(alias.map_or(key, |(_, known, _)| *known))?;
        if let Err(expected) = key.kind.check(value) {
            let message = format!("setting '{}' takes {expected}, not '{value}'", key.name);
            return Err(InvalidSetting { message, help: key.kind.help() });
        }
        self.values.insert(key.name, value.to_owned());
        Ok(format!("{} set to {value}", key.name))
    }

    /// Puts a setting back to its default.
    ///
    /// # Errors
    /// Where there is no such key.
    pub fn reset(&mut self, key: &str) -> Result<(), InvalidSetting> {
        if flink::is_known(key) {
            return Ok(());
        }
        let alias = ALIASES.iter().find(|(alias, ..)| alias.eq_ignore_ascii_case(key));
        self.values.remove(find(alias.map_or(key, |(_, known, _)| *known))?.name);
        Ok(())
    }

    /// Puts all settings back to their defaults.
    pub fn reset_all(&mut self) {
        self.values.clear();
    }

    /// Returns the value of a setting as text.
    ///
    /// # Errors
    /// Where there is no such key.
    pub fn get(&self, key: &str) -> Result<&str, InvalidSetting> {
        find(key).map(|key| self.text(key.name, key.default))
    }

    /// Returns key, value and description of all settings, sorted by key.
    pub fn list(&self) -> impl Iterator<Item = (&'static str, &str, &'static str)> {
        KEYS.iter().map(|key| (key.name, self.text(key.name, key.default), key.description))
    }

    /// Returns the settings that differ from their defaults, for [`set`](Self::set) elsewhere.
    pub fn changed(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values.iter().map(|(key, value)| (*key, value.as_str()))
    }

    /// Returns `parallelism.default`; `None` leaves it to the cluster.
    #[must_use]
    pub fn parallelism(&self) -> Option<usize> {
        self.value(PARALLELISM).parse().ok()
    }

    /// Returns `pipeline.name`.
    #[must_use]
    pub fn job_name(&self) -> Option<&str> {
        Some(self.value(NAME)).filter(|name| !name.is_empty())
    }

    /// Returns `table.exec.arithmetic-overflow`.
    pub(crate) fn overflow(&self) -> Overflow {
        match self.value(ARITHMETIC_OVERFLOW).to_ascii_lowercase().as_str() {
            "wrap" => Overflow::Wrap,
            _ => Overflow::Error,
        }
    }

    /// Returns `execution.runtime-mode`.
    pub(crate) fn runtime_mode(&self) -> RuntimeMode {
        match self.value(RUNTIME_MODE).to_ascii_lowercase().as_str() {
            "streaming" => RuntimeMode::Streaming,
            "batch" => RuntimeMode::Batch,
            _ => RuntimeMode::Automatic,
        }
    }

    /// Returns what a job needs to know.
    ///
    /// # Panics
    /// Never: values are checked when they are set.
    #[must_use]
    pub fn job_settings(&self) -> JobSettings {
        JobSettings {
            checkpoint_interval: self.duration(CHECKPOINT_INTERVAL),
            idle_timeout: self.duration(IDLE_TIMEOUT),
            buffer_timeout: self.duration(BUFFER_TIMEOUT).unwrap_or_default(),
            memory_budget_bytes: parse_memory(self.value(MEMORY_BUDGET))
                .expect("values are checked when they are set")
                as usize,
            stays_open: self.duration(STAYS_OPEN),
            state_ttl: self.duration(STATE_TTL),
            key_groups: self
                .value(MAX_PARALLELISM)
                .parse()
                .expect("values are checked when they are set"),
        }
    }

    fn duration(&self, key: &str) -> Option<Duration> {
        let duration = parse_duration(self.value(key)).expect("values are checked when set");
        Some(duration).filter(|duration| !duration.is_zero())
    }

    fn value(&self, key: &str) -> &str {
        self.get(key).expect("the settings' own keys exist")
    }

    fn text(&self, key: &str, default: &'static str) -> &str {
        self.values.get(key).map_or(default, String::as_str)
    }
}

impl Kind {
    /// Succeeds, or tells what is expected.
    fn check(self, value: &str) -> Result<(), String> {
        let valid = match self {
            Self::Text => true,
            Self::Duration => parse_duration(value).is_some(),
            Self::Memory => parse_memory(value).is_some_and(|bytes| bytes > 0),
            Self::Number { min, max } => {
                value.parse().is_ok_and(|number: u64| (min..=max).contains(&number))
            }
            Self::OneOf(values) => values.iter().any(|known| known.eq_ignore_ascii_case(value)),
            Self::Utc => is_utc(value),
        };
        if valid { Ok(()) } else { Err(self.expected()) }
    }

    fn expected(self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Duration => "a duration such as '10 s', '500 ms' or '1 min'".to_owned(),
            Self::Memory => "a size such as '512 mb' or '8 gb'".to_owned(),
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::OneOf(values) => values.join(" or "),
            Self::Utc => "UTC".to_owned(),
        }
    }

    fn help(self) -> Option<String> {
        let help = "times are kept and shown in UTC; add an INTERVAL for those of another place";
        matches!(self, Self::Utc).then(|| help.to_owned())
    }
}

fn find(key: &str) -> Result<&'static Key, InvalidSetting> {
    KEYS.iter().find(|known| known.name.eq_ignore_ascii_case(key)).ok_or_else(|| {
        let help = suggest(key, KEYS.iter().map(|key| key.name)).map_or_else(
            || "SET; lists the settings".to_owned(),
            |name| format!("did you mean '{name}'?"),
        );
        InvalidSetting { message: format!("there is no setting '{key}'"), help: Some(help) }
    })
}

/// Tells whether a time zone is UTC, as Java names time zones: by an identifier, or by an offset
/// that may follow a name.
fn is_utc(zone: &str) -> bool {
    let zone = zone.to_uppercase();
    let zone = zone.strip_prefix("ETC/").unwrap_or(&zone);
    let bare = ["UTC", "GMT", "UT", "Z"].into_iter().find_map(|name| zone.strip_prefix(name));
    let has_sign = zone.contains(['+', '-']);
    let offset = bare.unwrap_or(zone).trim_start_matches(['+', '-']);
    let is_none = ["0", "00", "00:00", "0000", "00:00:00"].contains(&offset);
    UTC.contains(&zone) || bare == Some("") || (is_none && (has_sign || bare.is_some()))
}

/// Parses a duration as Flink writes it: a whole number and a unit, milliseconds without one.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let nanos_per_unit: u64 = match unit.as_str() {
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
        "µs" | "us" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000_000,
        "h" | "hour" | "hours" => 3_600_000_000_000,
        "d" | "day" | "days" => 86_400_000_000_000,
        _ => return None,
    };
    number.checked_mul(nanos_per_unit).map(Duration::from_nanos)
}

/// Parses a memory size as Flink writes it, in bytes: a whole number and a unit of powers of
/// 1024, bytes without one.
#[must_use]
pub fn parse_memory(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let shift = match unit.as_str() {
        "" | "b" | "bytes" => 0,
        "k" | "kb" | "kib" | "kibibytes" => 10,
        "m" | "mb" | "mib" | "mebibytes" => 20,
        "g" | "gb" | "gib" | "gibibytes" => 30,
        "t" | "tb" | "tib" | "tebibytes" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

fn number_and_unit(text: &str) -> Option<(u64, String)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..digits].parse().ok()?;
    Some((number, text[digits..].trim().to_lowercase()))
}

#[cfg(test)]
mod tests;
