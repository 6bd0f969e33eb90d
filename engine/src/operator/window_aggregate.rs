//! Aggregation per window and key.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::aggregate::conform;
use super::local_window_aggregate::LocalRows;
use super::partial_groups::Grouping;
use super::passed::Passed;
use super::window::{Rows, Span, divide_batch, divide_by_window, milliseconds, window_columns};
use super::window_clock::WindowClock;
use super::window_slices::Slices;
use super::{Operator, OperatorContext, Output};
use crate::batch::{Batch, TARGET_BATCH_ROWS};
use crate::graph::{AggregatePhase, OperatorNode, Window, WindowAggregateSpec, WindowSpec};
use crate::hash::hash_columns;
use crate::state::{StateReader, StateWriter};
use crate::time::{TimestampMs, Watermark};
use crate::{Error, Result};

/// Aggregates each row once, into its slice, and emits a window when time has passed its end.
/// Windows are emitted in the order of their ends, each with the groups that have rows.
///
/// Where windows are of processing time the output has a watermark of its own, in the clock's time,
/// and that of the input goes no further.
pub(super) struct WindowAggregate {
    window: WindowSpec,
    /// Whether rows are partial aggregates, of the half before the exchange.
    merges: bool,
    slices: Slices,
    /// Windows with rows that have not fired.
    pending: BTreeSet<Span>,
    /// Windows whose [time](Span::time) is not above it have fired: a watermark, or where the clock
    /// has got to.
    passed: Passed,
    /// The clock, where windows are of processing time.
    clock: Option<WindowClock>,
    /// What the windows took that fired together last, until rows come again or all is flushed.
    fired_bytes: usize,
    late_rows: u64,
    untimed_rows: u64,
    schema: SchemaRef,
    key_group_count: u16,
}

impl WindowAggregate {
    /// Makes the operator.
    ///
    /// # Errors
    /// `Invalid` where the windows' lengths are; `Compute` where a function does not take its
    /// arguments.
    pub(super) fn new(
        spec: &WindowAggregateSpec,
        node: &OperatorNode,
        context: &OperatorContext,
    ) -> Result<Self> {
        if let Some(window) = cut(spec.window) {
            window.validate()?;
        }
        let grouping = Grouping::new(&spec.keys, &spec.aggregates, spec.rows(&node.inputs[0]))?;
        Ok(Self {
            window: spec.window,
            merges: matches!(spec.phase, AggregatePhase::Final { .. }),
            slices: Slices::new(grouping),
            pending: BTreeSet::new(),
            passed: Passed::new(context),
            clock: match spec.window {
                WindowSpec::ProcessingTime { window } => Some(WindowClock::new(window)),
                WindowSpec::EventTime { .. } | WindowSpec::Attached { .. } => None,
            },
            fired_bytes: 0,
            late_rows: 0,
            untimed_rows: 0,
            schema: Arc::clone(&node.output),
            key_group_count: context.key_group_count,
        })
    }

    fn add(&mut self, batch: Batch, now: TimestampMs) -> Result<()> {
        let now = self.clock.as_ref().map_or(now, |clock| clock.time_of_rows(now));
        let (spans, without) = divide_batch(self.window, &batch, now)?;
        self.untimed_rows += without as u64;
        let rows = insertions(batch)?;
        let keys = self.slices.grouping().keys(&rows);
        let arguments = self.slices.grouping().arguments(&rows)?;
        for (span, rows) in spans {
            let [on_time, late] = self.divide_late(span, rows, &keys)?;
            self.late_rows += late.len() as u64;
            if on_time.len() > 0 {
                self.slices.update(span, &on_time, &keys, &arguments)?;
            }
        }
        Ok(())
    }

    /// Adds partial aggregates.
    fn merge(&mut self, batch: Batch) -> Result<()> {
        let rows = insertions(batch)?;
        let local = LocalRows::of(rows.columns(), self.slices.grouping())?;
        let LocalRows { slice: [start, end], part, .. } = local;
        let keys = &part[..self.slices.grouping().num_keys()];
        let (spans, _) = divide_by_window(&milliseconds(start)?, &milliseconds(end)?);
        for (span, groups) in spans {
            let [on_time, late] = self.divide_late(span, groups, keys)?;
            self.late_rows += local.count(&late)?;
            if on_time.len() > 0 {
                self.slices.merge(span, &on_time, part)?;
            }
        }
        Ok(())
    }

    /// Divides rows of a slice into those that it takes, for which it is prepared, and those that
    /// are late, for which all its windows have fired.
    fn divide_late(&mut self, slice: Span, rows: Rows, keys: &[ArrayRef]) -> Result<[Rows; 2]> {
        let last = self.last_window(slice).time();
        let [on_time, late] = if last > self.passed.for_some() {
            [rows, Rows::none()]
        } else if last <= self.passed.for_all() {
            [Rows::none(), rows]
        } else {
            let picked = keys.iter().map(|key| rows.pick(key)).collect::<Result<Vec<_>>>()?;
            let has_fired = self.have_fired(last, &picked, rows.len())?;
            rows.divide(&has_fired)
        };
        if on_time.len() > 0 && !self.slices.contains(slice) {
            self.expect(slice);
        }
        Ok([on_time, late])
    }

    /// Tells for each row of keys whether a window of this time has fired for it.
    fn have_fired(&self, time: TimestampMs, keys: &[ArrayRef], rows: usize) -> Result<Vec<bool>> {
        let mut hashes = vec![0; rows];
        if !keys.is_empty() {
            hash_columns(keys, &mut hashes)?;
        }
        Ok(hashes.into_iter().map(|hash| time <= self.passed.for_hash(hash)).collect())
    }

    fn last_window(&self, slice: Span) -> Span {
        cut(self.window).map_or(slice, |window| window.last_window(slice))
    }

    /// Expects the windows of a new slice that have not fired.
    fn expect(&mut self, slice: Span) {
        match cut(self.window) {
            None => {
                self.pending.insert(slice);
            }
            Some(window) => window.windows(slice, |window| {
                if window.time() > self.passed.for_all() {
                    self.pending.insert(window);
                }
            }),
        }
    }

    fn fire_until(&mut self, time: TimestampMs, out: &mut Output) -> Result<()> {
        while let Some(window) = self.pending.first().copied()
            && window.time() <= time
        {
            self.pending.remove(&window);
            self.fire(window, out)?;
        }
        Ok(())
    }

    fn fire(&mut self, window: Span, out: &mut Output) -> Result<()> {
        let (columns, groups) = match cut(self.window) {
            None => self.slices.take(&[window])?,
            Some(cut) => self.fire_slices(cut, window)?,
        };
        self.fired_bytes = self.fired_bytes.max(self.slices.take_fired_bytes());
        let (columns, groups) = self.unfired(window, columns, groups)?;
        let mut columns = columns
            .into_iter()
            .zip(self.schema.fields())
            .map(|(column, field)| conform(column, field))
            .collect::<Result<Vec<_>>>()?;
        columns.extend(window_columns(&vec![window; groups]));
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| Error::compute("put a window's results together", error))?;
        for first in (0..groups).step_by(TARGET_BATCH_ROWS) {
            let length = TARGET_BATCH_ROWS.min(groups - first);
            out.push_own(Batch::insert(rows.slice(first, length)));
        }
        Ok(())
    }

    /// Leaves out the groups for which the window has fired before a restore put them together with
    /// others for which it had not.
    fn unfired(
        &self,
        window: Span,
        columns: Vec<ArrayRef>,
        groups: usize,
    ) -> Result<(Vec<ArrayRef>, usize)> {
        if window.time() > self.passed.for_some() {
            return Ok((columns, groups));
        }
        let keys = &columns[..self.slices.grouping().num_keys()];
        let has_fired = self.have_fired(window.time(), keys, groups)?;
        let [unfired, _] = Rows::Range(0..groups).divide(&has_fired);
        let columns = columns.iter().map(|column| unfired.pick(column)).collect::<Result<_>>()?;
        Ok((columns, unfired.len()))
    }

    fn fire_slices(&mut self, cut: Window, window: Span) -> Result<(Vec<ArrayRef>, usize)> {
        let spans = self.slices.within(window);
        let (done, alive): (Vec<Span>, Vec<Span>) =
            spans.iter().partition(|slice| cut.last_window(**slice) <= window);
        if alive.is_empty() {
            return self.slices.take(&done);
        }
        if matches!(cut, Window::Cumulate { .. }) {
            // The windows to come contain all these slices, so they need not be merged again.
            self.slices.combine(&spans)?;
        }
        let result = self.slices.read(&spans);
        self.slices.remove(&done);
        result
    }
}

fn cut(window: WindowSpec) -> Option<Window> {
    match window {
        WindowSpec::EventTime { window, .. } | WindowSpec::ProcessingTime { window } => {
            Some(window)
        }
        WindowSpec::Attached { .. } => None,
    }
}

/// Refuses rows that are taken back.
pub(super) fn insertions(batch: Batch) -> Result<RecordBatch> {
    let (rows, weights) = batch.into_parts();
    if weights.is_some_and(|weights| weights.values().iter().any(|weight| *weight < 0)) {
        return Err(Error::Invalid("WindowAggregate does not take rows back".to_owned()));
    }
    Ok(rows)
}

impl Operator for WindowAggregate {
    fn name(&self) -> &'static str {
        "WindowAggregate"
    }

    fn accepts(&self, _port: usize) -> bool {
        true
    }

    fn process(
        &mut self,
        _port: usize,
        batch: Batch,
        now: TimestampMs,
        _out: &mut Output,
    ) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.fired_bytes = 0;
        if self.merges { self.merge(batch) } else { self.add(batch, now) }
    }

    fn watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<Watermark> {
        if self.clock.is_some() && watermark < Watermark::MAX {
            return Ok(Watermark::MIN);
        }
        self.fire_until(watermark.0, out)?;
        // At the end windows fire before their time by the clock, which is saved as it is: another
        // subtask may go on from here.
        if self.clock.is_none() {
            self.passed.advance(watermark.0);
        }
        Ok(watermark)
    }

    fn processing_time(&mut self, now: TimestampMs, out: &mut Output) -> Result<Option<Watermark>> {
        let Some(clock) = &mut self.clock else { return Ok(None) };
        let passed = clock.advance(now);
        self.fire_until(passed, out)?;
        self.passed.advance(passed);
        Ok(Some(Watermark(passed)))
    }

    fn next_timer(&self) -> Option<TimestampMs> {
        self.clock.as_ref().map(WindowClock::next_timer)
    }

    fn end(&mut self, _port: usize, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    fn flush(&mut self, _out: &mut Output) -> Result<()> {
        self.fired_bytes = 0;
        Ok(())
    }

    fn is_satisfied(&self) -> bool {
        false
    }

    fn snapshot(&mut self, writer: &mut StateWriter) -> Result<()> {
        self.slices.snapshot(writer, self.key_group_count)?;
        if let Some(clock) = &self.clock {
            clock.write(writer)?;
        }
        self.passed.write(writer)
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        self.passed.restore(state)?;
        // One subtask may have fired what another had not: what still has rows is expected.
        for slice in self.slices.restore(state)? {
            self.expect(slice);
        }
        match &mut self.clock {
            Some(clock) => clock.restore(state),
            None => Ok(()),
        }
    }

    fn memory_bytes(&self) -> usize {
        self.slices.memory_bytes() + self.fired_bytes
    }

    fn late_rows(&self) -> u64 {
        self.late_rows
    }

    fn untimed_rows(&self) -> u64 {
        self.untimed_rows
    }
}

#[cfg(test)]
mod tests;
