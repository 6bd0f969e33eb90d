//! What is done to rows: one operator per file.
//!
//! Operators are synchronous and know no clock, channel, task or thread: the task around them
//! merges watermarks, aligns barriers and moves batches.

mod aggregate;
mod build;
mod filter;
mod group_aggregate;
mod group_changes;
mod group_columns;
mod group_status;
mod interval_join;
mod join;
mod limit;
mod local_window_aggregate;
mod lookup_join;
mod partial_groups;
mod passed;
mod project;
mod sort;
mod split;
#[cfg(test)]
pub(crate) mod testing;
mod transform;
mod window;
mod window_aggregate;
mod window_assign;
mod window_clock;
mod window_join;
mod window_slices;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::Result;
use crate::batch::Batch;
use crate::memory::{Hold, MemoryBudget};
use crate::state::{StateReader, StateWriter};
use crate::time::{TimestampMs, Watermark};
pub use build::build;
pub use split::split_window_aggregates;

/// Something that is done to a stream of batches.
///
/// The trait has no defaulted methods on purpose: an operator that forgets its state must not
/// compile. Those without state implement [`Transform`] instead.
pub trait Operator: Send {
    /// Returns the operator's name, the same in EXPLAIN, metrics and logs.
    fn name(&self) -> &'static str;

    /// Tells whether rows of `port` may be delivered now. While it is false, the task leaves them
    /// in their channels.
    fn accepts(&self, port: usize) -> bool;

    /// Takes a batch from `port`. `now` is the processing time.
    ///
    /// # Errors
    /// `Compute` where an expression fails on these rows.
    fn process(
        &mut self,
        port: usize,
        batch: Batch,
        now: TimestampMs,
        out: &mut Output,
    ) -> Result<()>;

    /// Takes the task's watermark, which is the minimum over its inputs and only ever rises, and
    /// returns the one that holds for the output. What it emits goes before that. One that is not
    /// above those returned before is not passed on.
    ///
    /// # Errors
    /// `Compute` where an aggregate or expression fails.
    fn watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<Watermark>;

    /// Takes the processing time once it has reached [`next_timer`](Self::next_timer). Returns the
    /// output's watermark where that follows from the clock; what it emits goes before that.
    ///
    /// # Errors
    /// `Compute` where an aggregate or expression fails.
    fn processing_time(&mut self, now: TimestampMs, out: &mut Output) -> Result<Option<Watermark>>;

    /// Returns the processing time at which the operator wants to be called next.
    fn next_timer(&self) -> Option<TimestampMs>;

    /// Learns that all channels of `port` have ended. The end of all ports is preceded by
    /// [`Watermark::MAX`] and followed by a last [`flush`](Self::flush).
    ///
    /// # Errors
    /// `Compute` where an aggregate or expression fails.
    fn end(&mut self, port: usize, out: &mut Output) -> Result<()>;

    /// Emits what has been gathered. Called before each barrier, when the input has run dry or
    /// the buffer timeout is over, and at the end: no snapshot contains unemitted changes.
    ///
    /// # Errors
    /// `Compute` where an aggregate or expression fails.
    fn flush(&mut self, out: &mut Output) -> Result<()>;

    /// Tells whether no further row makes a difference to what it emits, from now on for ever.
    fn is_satisfied(&self) -> bool;

    /// Writes its state. Called after a flush, at a barrier.
    ///
    /// # Errors
    /// `Compute` where an aggregate cannot give its state.
    fn snapshot(&mut self, writer: &mut StateWriter) -> Result<()>;

    /// Takes its state back. Called at most once, before anything else.
    ///
    /// # Errors
    /// `Restore` where the state is of another shape.
    fn restore(&mut self, state: &StateReader) -> Result<()>;

    /// Returns an estimate of the bytes that it holds.
    fn memory_bytes(&self) -> usize;

    /// Returns the number of rows dropped for being late, since the start.
    fn late_rows(&self) -> u64;

    /// Returns the number of rows dropped for having no event time, since the start.
    fn untimed_rows(&self) -> u64;
}

/// An operator without state, timers or more than one input.
pub trait Transform: Send {
    /// Returns the operator's name.
    fn name(&self) -> &'static str;

    /// Turns a batch into another; an empty one is not passed on.
    ///
    /// # Errors
    /// `Compute` where an expression fails on these rows.
    fn transform(&mut self, batch: Batch, now: TimestampMs) -> Result<Batch>;
}

/// Bytes that are emitted between two entries in the books.
const BYTES_PER_HOLD: usize = 4 << 20;

/// Collects what an operator emits, and counts it where it becomes much: one call may emit as much
/// as the operator holds.
#[derive(Debug, Default)]
pub struct Output {
    batches: Vec<Batch>,
    /// The budget, and on whose account what is emitted goes.
    account: Option<(Arc<MemoryBudget>, &'static str)>,
    holds: Vec<Hold>,
    unaccounted_bytes: usize,
}

impl Output {
    /// Makes the output of an operator, whose bytes count.
    pub(crate) fn of(operator: &'static str, budget: Arc<MemoryBudget>) -> Self {
        Self { account: Some((budget, operator)), ..Self::default() }
    }

    /// Emits a batch; an empty one is dropped.
    ///
    /// # Errors
    /// `Memory` where what is emitted does not fit the budget beside what is held.
    pub fn push(&mut self, batch: Batch) -> Result<()> {
        let has_others = !self.batches.is_empty();
        if let Some((budget, operator)) = &self.account
            && has_others
        {
            self.unaccounted_bytes += batch.memory_bytes();
            if self.unaccounted_bytes > BYTES_PER_HOLD {
                let bytes = std::mem::take(&mut self.unaccounted_bytes);
                self.holds.push(budget.hold(operator, bytes)?);
            }
        }
        self.push_own(batch);
        Ok(())
    }

    /// Emits rows that the operator no longer holds, and which are still on its account; an empty
    /// batch is dropped.
    pub fn push_own(&mut self, batch: Batch) {
        if !batch.is_empty() {
            self.batches.push(batch);
        }
    }

    /// Takes what has been emitted, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = Batch> + '_ {
        self.holds.clear();
        self.unaccounted_bytes = 0;
        self.batches.drain(..)
    }

    /// Tells whether nothing has been emitted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }
}

/// What an operator learns about its surroundings when it is built.
#[derive(Debug, Clone)]
pub struct OperatorContext {
    /// Its subtask's number.
    pub subtask: usize,
    /// The number of subtasks.
    pub parallelism: usize,
    /// The key groups whose rows it gets.
    pub key_groups: Range<u16>,
    /// The number of key groups of the job.
    pub key_group_count: u16,
    /// How long state may be unused before it is dropped; `None` for ever.
    pub state_ttl: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;

    #[test]
    fn what_is_emitted_at_once_counts_until_it_is_handed_on() {
        let megabytes = |count: usize| {
            let numbers = arrow::array::Int64Array::from(vec![7; count << 17]);
            let columns = [("a", Arc::new(numbers) as arrow::array::ArrayRef)];
            Batch::insert(arrow::array::RecordBatch::try_from_iter(columns).unwrap())
        };
        let budget = Arc::new(MemoryBudget::new(20 << 20));
        let mut output = Output::of("Sort", Arc::clone(&budget));
        output.push(megabytes(30)).unwrap();
        assert_eq!(budget.held_bytes(), 0, "one batch is what every operator emits");
        output.push(megabytes(3)).unwrap();
        output.push(megabytes(3)).unwrap();
        assert_eq!(budget.held_bytes(), 6 << 20);
        output.push_own(megabytes(30));
        assert_eq!(budget.held_bytes(), 6 << 20);
        let refused = output.push(megabytes(15)).unwrap_err().to_string();
        assert!(refused.starts_with("Sort (others 0 bytes) holds"), "{refused}");
        assert_eq!(output.drain().count(), 4);
        assert_eq!(budget.held_bytes(), 0);
    }
}
