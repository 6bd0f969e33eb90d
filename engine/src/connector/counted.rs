//! What the generating sources share: the numbers of their rows, cut into splits, and a pace.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

use serde_json::{Value, json};

use super::Split;
use crate::batch::TARGET_BATCH_ROWS;
use crate::time::{ClockRef, TimestampMs};
use crate::{Error, Result};

/// A split's share of the numbers `0, 1, 2, …`: they are dealt out in blocks in turn, so that
/// splits read side by side advance in step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share {
    split: u64,
    splits: u64,
    block: u64,
    next: u64,
}

impl Share {
    /// Cuts the numbers into `splits` shares of blocks of `block` numbers.
    pub(super) fn splits(splits: usize, block: u64) -> Vec<Split> {
        let splits = splits.max(1) as u64;
        let share = |split| Self { split, splits, block, next: split * block };
        (0..splits)
            .map(|split| Split { id: split.to_string(), position: share(split).position() })
            .collect()
    }

    /// Reads a position.
    pub(super) fn parse(position: &str) -> Result<Self> {
        let invalid = |reason: &str| Error::Restore {
            what: format!("source position {position}"),
            reason: reason.to_owned(),
        };
        let value: Value = serde_json::from_str(position).map_err(|_| invalid("it is not JSON"))?;
        let number = |key: &str| {
            value.get(key).and_then(Value::as_u64).ok_or_else(|| invalid("a number is missing"))
        };
        let share = Self {
            split: number("split")?,
            splits: number("splits")?,
            block: number("block")?,
            next: number("next")?,
        };
        if share.block == 0 || share.split >= share.splits {
            return Err(invalid("its numbers do not fit together"));
        }
        Ok(share)
    }

    /// Writes the position.
    pub(super) fn position(&self) -> String {
        let Self { split, splits, block, next } = self;
        json!({ "split": split, "splits": splits, "block": block, "next": next }).to_string()
    }

    /// Returns the next number of the share.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Returns the number of numbers in a block.
    pub(super) fn block_len(&self) -> usize {
        self.block as usize
    }

    /// Returns the first number of the round of blocks that the next number lies in.
    fn round(&self) -> u64 {
        let round = self.block * self.splits;
        self.next / round * round
    }

    /// Takes at most `count` adjacent numbers below `end`; `None` where there are none.
    pub(super) fn take(&mut self, end: u64, count: u64) -> Option<Range<u64>> {
        let block_end = (self.next / self.block + 1) * self.block;
        let stop = block_end.min(end).min(self.next.saturating_add(count));
        if self.next >= stop {
            return None;
        }
        let taken = self.next..stop;
        // Between this block and the share's next one lie those of the other splits.
        self.next = if stop == block_end { stop + (self.splits - 1) * self.block } else { stop };
        Some(taken)
    }
}

/// Returns how many adjacent numbers a split takes at a time: as many as fit a batch or, in a
/// paced source, what comes in ten milliseconds, since the others wait for it.
pub(super) fn block_size(rows_per_second: Option<u64>, full: u64) -> u64 {
    rows_per_second.map_or(full, |rate| (rate / 100).clamp(1, full))
}

/// Holds a source to a number of rows per second over all its splits.
#[derive(Debug)]
pub(super) struct Pace {
    rows_per_second: u64,
    clock: ClockRef,
    /// When the row `first` was due; set by the first call.
    started: Option<(TimestampMs, u64)>,
}

impl Pace {
    /// Makes a pace that begins with its first use.
    pub(super) fn new(rows_per_second: u64, clock: ClockRef) -> Self {
        Self { rows_per_second, clock, started: None }
    }

    /// Returns the number below which all rows are due.
    pub(super) fn due(&mut self, share: &Share) -> u64 {
        let now = self.clock.now_ms();
        let (start, first) = *self.started.get_or_insert_with(|| (now, share.round()));
        let elapsed_ms = u128::try_from(now.saturating_sub(start)).unwrap_or(0);
        let due = elapsed_ms * u128::from(self.rows_per_second) / 1000;
        first.saturating_add(u64::try_from(due).unwrap_or(u64::MAX)).saturating_add(1)
    }

    /// Returns when a row will be due.
    pub(super) fn time_of(&self, number: u64) -> TimestampMs {
        let (start, first) = self.started.unwrap_or((self.clock.now_ms(), number));
        let rows = u128::from(number.saturating_sub(first)) * 1000;
        let wait = rows.div_ceil(u128::from(self.rows_per_second.max(1)));
        start.saturating_add(i64::try_from(wait).unwrap_or(i64::MAX))
    }
}

/// What a generating reader does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Make the rows of these numbers.
    Numbers(Range<u64>),
    /// Nothing before this processing time.
    NotBefore(TimestampMs),
    /// There are no more numbers.
    End,
}

/// A split's share of the numbers below an end, held to a pace.
#[derive(Debug)]
pub(super) struct Counter {
    pub(super) share: Share,
    pub(super) end: u64,
    pub(super) pace: Option<Pace>,
    /// How long the split stays open after its last number, and the time when that is over.
    pub(super) stay: Option<Stay>,
}

/// Keeps a split open after its last number.
#[derive(Debug)]
pub(super) struct Stay {
    pub(super) open_ms: i64,
    pub(super) clock: ClockRef,
    /// Set when the numbers have run out.
    pub(super) until: Option<TimestampMs>,
}

impl Stay {
    fn next(&mut self) -> Next {
        let now = self.clock.now_ms();
        let until = *self.until.get_or_insert(now.saturating_add(self.open_ms));
        if now < until { Next::NotBefore(until) } else { Next::End }
    }
}

impl Counter {
    /// Returns the next numbers, at most a batch of them.
    pub(super) fn next(&mut self) -> Next {
        if self.share.next() >= self.end {
            return self.stay.as_mut().map_or(Next::End, Stay::next);
        }
        let due = self.pace.as_mut().map_or(u64::MAX, |pace| pace.due(&self.share));
        match self.share.take(self.end.min(due), TARGET_BATCH_ROWS as u64) {
            Some(numbers) => Next::Numbers(numbers),
            None => Next::NotBefore(self.wake_time()),
        }
    }

    /// Returns when it is worth coming back: where rows are due more often than every ten
    /// milliseconds, when ten milliseconds' worth of them is.
    fn wake_time(&self) -> TimestampMs {
        self.pace.as_ref().map_or(i64::MAX, |pace| {
            let worth = pace.rows_per_second / 100;
            let last = self.share.next().saturating_add(worth.saturating_sub(1));
            pace.time_of(last.min(self.end - 1))
        })
    }
}

/// Reads an option such as a number.
pub(super) fn option<T: FromStr>(
    options: &BTreeMap<String, String>,
    key: &str,
    expected: &str,
) -> Result<Option<T>> {
    let Some(text) = options.get(key) else { return Ok(None) };
    text.trim().parse().map(Some).map_err(|_| wrong_option(key, text, expected))
}

/// Complains about an option's value.
pub(super) fn wrong_option(key: &str, found: impl Display, expected: &str) -> Error {
    Error::Invalid(format!("option '{key}' = '{found}': expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SimulatedClock;
    use std::sync::Arc;

    #[test]
    fn shares_are_disjoint_and_complete_whatever_the_steps() {
        let mut seen = vec![0; 1000];
        for split in Share::splits(3, 7) {
            let mut share = Share::parse(&split.position).unwrap();
            while let Some(numbers) = share.take(1000, 5) {
                assert_eq!(Share::parse(&share.position()).unwrap(), share);
                numbers.for_each(|number| seen[number as usize] += 1);
            }
        }
        assert!(seen.iter().all(|count| *count == 1));
    }

    #[test]
    fn a_pace_hands_out_what_is_due_and_says_when_to_come_back() {
        let clock = Arc::new(SimulatedClock::new(1000));
        let share = Share::parse(&Share::splits(1, 50)[0].position).unwrap();
        let pace = Some(Pace::new(10, clock.clone()));
        let stay = Some(Stay { open_ms: 100, clock: clock.clone(), until: None });
        let mut counter = Counter { share, end: 4, pace, stay };
        assert_eq!(counter.next(), Next::Numbers(0..1));
        assert_eq!(counter.next(), Next::NotBefore(1100));
        clock.advance_to(1250);
        assert_eq!(counter.next(), Next::Numbers(1..3));
        clock.advance_to(9000);
        assert_eq!(counter.next(), Next::Numbers(3..4));
        assert_eq!(counter.next(), Next::NotBefore(9100), "it stays open");
        clock.advance_to(9100);
        assert_eq!(counter.next(), Next::End);
    }

    #[test]
    fn a_damaged_position_is_refused() {
        for position in ["", "{}", r#"{"split":2,"splits":2,"block":1,"next":0}"#] {
            assert!(matches!(Share::parse(position), Err(Error::Restore { .. })), "{position}");
        }
    }
}
