//! How far event time has passed for an operator, also in checkpoints.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};

use super::OperatorContext;
use super::partial_groups::part;
use super::window_slices::numbers;
use crate::hash::key_group;
use crate::state::{StateReader, StateWriter};
use crate::time::TimestampMs;
use crate::{Error, Result};

const NAME: &str = "passed";
const VERSION: u16 = 2;

/// What has passed: what lies at or below it is late, or has been emitted.
///
/// It is the same for all keys of a subtask, but not for all subtasks, since each learns in its own
/// time which of its inputs are idle. So where a restore puts keys of several together, each key
/// group keeps what had passed for it, until that has passed for all: what would have been taken
/// without the failure is taken, and what was late stays so.
#[derive(Debug)]
pub(super) struct Passed {
    all: TimestampMs,
    /// The key groups for which more has passed.
    ahead: BTreeMap<u16, TimestampMs>,
    own: Range<u16>,
    key_group_count: u16,
}

impl Passed {
    /// Starts at the beginning of time.
    pub(super) fn new(context: &OperatorContext) -> Self {
        Self {
            all: TimestampMs::MIN,
            ahead: BTreeMap::new(),
            own: context.key_groups.clone(),
            key_group_count: context.key_group_count,
        }
    }

    /// Returns what has passed for all keys.
    pub(super) fn for_all(&self) -> TimestampMs {
        self.all
    }

    /// Returns what has passed for some keys at least.
    pub(super) fn for_some(&self) -> TimestampMs {
        self.ahead.values().copied().max().unwrap_or(self.all)
    }

    /// Tells whether the same has passed for all keys.
    pub(super) fn is_even(&self) -> bool {
        self.ahead.is_empty()
    }

    /// Returns what has passed for keys of this hash.
    pub(super) fn for_hash(&self, hash: u64) -> TimestampMs {
        if self.is_even() {
            return self.all;
        }
        let group = key_group(hash, self.key_group_count);
        self.ahead.get(&group).copied().unwrap_or(self.all)
    }

    /// Lets time pass. It never goes back.
    pub(super) fn advance(&mut self, to: TimestampMs) {
        self.all = self.all.max(to);
        self.ahead.retain(|_, passed| *passed > self.all);
    }

    /// Writes what has passed for the subtask's key groups.
    pub(super) fn write(&self, writer: &mut StateWriter) -> Result<()> {
        let mut ranges: Vec<(Range<u16>, TimestampMs)> = Vec::new();
        for group in self.own.clone() {
            let passed = self.ahead.get(&group).copied().unwrap_or(self.all);
            match ranges.last_mut() {
                Some((range, same)) if *same == passed => range.end = group + 1,
                _ => ranges.push((group..group + 1, passed)),
            }
        }
        let column = |value: fn(&(Range<u16>, TimestampMs)) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(ranges.iter().map(value)))
        };
        let columns = vec![
            column(|(_, passed)| *passed),
            column(|(range, _)| i64::from(range.start)),
            column(|(range, _)| i64::from(range.end)),
        ];
        writer.list(NAME, VERSION, part(columns, ranges.len())?);
        Ok(())
    }

    /// Takes back what had passed for the key groups that are now the subtask's own.
    pub(super) fn restore(&mut self, state: &StateReader) -> Result<()> {
        let mut by_group: BTreeMap<u16, TimestampMs> = BTreeMap::new();
        for rows in state.list(NAME, VERSION)? {
            let [passed, first, end] = [numbers(&rows, 0)?, numbers(&rows, 1)?, numbers(&rows, 2)?];
            for (row, passed) in passed.values().iter().enumerate() {
                let [first, end] = [group(first.value(row))?, group(end.value(row))?];
                for group in first.max(self.own.start)..end.min(self.own.end) {
                    by_group
                        .entry(group)
                        .and_modify(|least| *least = (*least).min(*passed))
                        .or_insert(*passed);
                }
            }
        }
        self.all = by_group.values().copied().min().unwrap_or(TimestampMs::MIN);
        by_group.retain(|_, passed| *passed > self.all);
        self.ahead = by_group;
        Ok(())
    }
}

fn group(number: i64) -> Result<u16> {
    u16::try_from(number).map_err(|_| Error::Restore {
        what: format!("state table {NAME}"),
        reason: format!("{number} is not a key group"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::context;
    use super::*;

    /// Of 16 key groups, what the first subtask of two has passed goes for 8, as of the second.
    fn state(first: TimestampMs, second: TimestampMs) -> Vec<crate::state::StateTable> {
        let mut writer = StateWriter::default();
        for (subtask, time) in [first, second].into_iter().enumerate() {
            let mut passed = Passed::new(&context(subtask, 2));
            passed.advance(time);
            passed.write(&mut writer).unwrap();
        }
        writer.finish()
    }

    fn restored(subtask: usize, parallelism: usize, state: &[crate::state::StateTable]) -> Passed {
        let context = context(subtask, parallelism);
        let mut passed = Passed::new(&context);
        passed.restore(&StateReader::new(state.to_vec(), context.key_groups)).unwrap();
        passed
    }

    #[test]
    fn each_key_group_keeps_what_had_passed_for_it_until_all_have_caught_up() {
        let mut merged = restored(0, 1, &state(4, 10));
        assert_eq!((merged.for_all(), merged.for_some()), (4, 10));
        assert_eq!(merged.ahead.keys().copied().collect::<Vec<_>>(), (8..16).collect::<Vec<_>>());
        merged.advance(2);
        assert_eq!((merged.for_all(), merged.for_some()), (4, 10), "time does not go back");
        merged.advance(10);
        assert!(merged.is_even());
    }

    #[test]
    fn what_is_uneven_survives_another_checkpoint_and_is_divided_again() {
        let merged = restored(0, 1, &state(4, 10));
        let mut writer = StateWriter::default();
        merged.write(&mut writer).unwrap();
        let tables = writer.finish();
        assert_eq!(tables[0].rows.num_rows(), 2, "one row for each range of key groups");
        let all: Vec<_> = (0..4)
            .map(|subtask| restored(subtask, 4, &tables))
            .map(|passed| (passed.for_all(), passed.is_even()))
            .collect();
        assert_eq!(all, [(4, true), (4, true), (10, true), (10, true)]);
    }
}
