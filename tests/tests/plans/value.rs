//! Values and rows as the interpreter holds them.

use std::cmp::Ordering;
use std::fmt::{Display, Formatter};

/// Midnight of 2024-01-01 in milliseconds: where event time and the clock begin.
pub(crate) const START_MS: i64 = 1_704_067_200_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Int,
    Float,
    Text,
    Bool,
    /// Times in microseconds, whatever the column's precision.
    Time,
}

impl Type {
    pub(crate) fn sql(self) -> &'static str {
        match self {
            Self::Int => "BIGINT",
            Self::Float => "DOUBLE",
            Self::Text => "STRING",
            Self::Bool => "BOOLEAN",
            Self::Time => "TIMESTAMP(6)",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Float(f64),
    Text(String),
    Bool(bool),
    Time(i64),
}

impl Value {
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Compares as SQL does: unknown where either is NULL.
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Null, _) | (_, Self::Null) => None,
            _ => Some(self.order(other)),
        }
    }

    /// Orders values of one type, NULL first.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Null, _) => Ordering::Less,
            (_, Self::Null) => Ordering::Greater,
            (Self::Int(a), Self::Int(b)) | (Self::Time(a), Self::Time(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (a, b) => a.number().total_cmp(&b.number()),
        }
    }

    /// Returns a number as a float; zero for what is none.
    pub(crate) fn number(&self) -> f64 {
        match self {
            Self::Int(number) => *number as f64,
            Self::Float(number) => *number,
            _ => 0.0,
        }
    }

    /// Returns a time in milliseconds, rounded down.
    pub(crate) fn ms(&self) -> Option<i64> {
        match self {
            Self::Time(micros) => Some(micros.div_euclid(1000)),
            _ => None,
        }
    }

    pub(crate) fn sql(&self, of: Type) -> String {
        match self {
            Self::Null => format!("CAST(NULL AS {})", of.sql()),
            Self::Float(number) => format!("CAST({number:.1} AS DOUBLE)"),
            Self::Text(text) => format!("'{text}'"),
            Self::Time(_) => format!("TIMESTAMP '{self}'"),
            _ => self.to_string(),
        }
    }

    pub(crate) fn json(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Text(_) | Self::Time(_) => format!("\"{self}\""),
            Self::Float(number) => format!("{number:.1}"),
            _ => self.to_string(),
        }
    }
}

/// Times are written as on the first of January 2024 and the days around it.
impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Int(number) => write!(f, "{number}"),
            // Twelve digits are those that rounding does not touch.
            Self::Float(number) => write!(f, "{number:.12e}"),
            Self::Text(text) => f.write_str(text),
            Self::Bool(truth) => f.write_str(if *truth { "TRUE" } else { "FALSE" }),
            Self::Time(micros) => {
                let day = if *micros < START_MS * 1000 { "2023-12-31" } else { "2024-01-01" };
                let rest = micros.rem_euclid(86_400_000_000);
                let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
                let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
                write!(f, "{day} {hours:02}:{minutes:02}:{:02}.{fraction:06}", seconds % 60)
            }
        }
    }
}
