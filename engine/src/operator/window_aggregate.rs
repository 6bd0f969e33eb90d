//! Aggregation per window and key.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::{concat_batches, max};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};

use super::aggregate::conform;
use super::partial_groups::{Grouping, part};
use super::window::{
    Rows, Span, divide, divide_by_time, divide_by_window, milliseconds, window_columns,
};
use super::window_slices::Slices;
use super::{Operator, OperatorContext, Output};
use crate::batch::{Batch, TARGET_BATCH_ROWS};
use crate::graph::{OperatorNode, Window, WindowAggregateSpec, WindowSpec};
use crate::hash::{hash_columns, key_group};
use crate::state::{StateReader, StateWriter};
use crate::time::{TimestampMs, Watermark};
use crate::{Error, Result};

const VERSION: u16 = 1;
/// Columns of the state before those of a part: the slice's start and end.
const SPAN_COLUMNS: usize = 2;

/// Aggregates each row once, into its slice, and emits a window when time has passed its end.
/// Windows are emitted in the order of their ends, each with the groups that have rows.
pub(super) struct WindowAggregate {
    window: WindowSpec,
    slices: Slices,
    /// Windows with rows that have not fired.
    pending: BTreeSet<Span>,
    /// Windows whose [time](Span::time) is not above it have fired. A watermark, or the clock's
    /// time less one where windows are of processing time.
    passed: TimestampMs,
    late_rows: u64,
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
        let grouping = Grouping::new(&spec.keys, &spec.aggregates, &node.inputs[0])?;
        Ok(Self {
            window: spec.window,
            slices: Slices::new(grouping),
            pending: BTreeSet::new(),
            passed: i64::MIN,
            late_rows: 0,
            schema: Arc::clone(&node.output),
            key_group_count: context.key_group_count,
        })
    }

    /// Divides a batch by slice. Rows without a time are late.
    fn divide(&mut self, batch: &Batch, now: TimestampMs) -> Result<Vec<(Span, Rows)>> {
        let (spans, without) = match self.window {
            WindowSpec::EventTime { window, time } => {
                divide_by_time(window, &milliseconds(batch.column(time))?)
            }
            WindowSpec::ProcessingTime { window } => {
                // A clock that was set back must not reach into windows that have fired.
                let slice = window.slice(now.max(self.passed.saturating_add(1)));
                (vec![(slice, Rows::Range(0..batch.num_rows()))], 0)
            }
            WindowSpec::Attached { start, end } => divide_by_window(
                &milliseconds(batch.column(start))?,
                &milliseconds(batch.column(end))?,
            ),
        };
        self.late_rows += without as u64;
        Ok(spans)
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
                if window.time() > self.passed {
                    self.pending.insert(window);
                }
            }),
        }
    }

    fn fire_until(&mut self, time: TimestampMs, out: &mut Output) -> Result<()> {
        self.passed = self.passed.max(time);
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
            out.push(Batch::insert(rows.slice(first, length)));
        }
        Ok(())
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

    fn key_groups(&self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u16>> {
        if keys.is_empty() {
            return Ok(vec![0; rows]);
        }
        let mut hashes = Vec::new();
        hash_columns(keys, &mut hashes)?;
        Ok(hashes.into_iter().map(|hash| key_group(hash, self.key_group_count)).collect())
    }

    fn restore_part(&mut self, rows: &RecordBatch) -> Result<()> {
        let (spans, columns) = rows.columns().split_at(SPAN_COLUMNS);
        let starts = spans[0].as_primitive::<Int64Type>();
        let ends = spans[1].as_primitive::<Int64Type>();
        let (spans, _) = divide(rows.num_rows(), |row, _| {
            Some(Span { end: ends.value(row), start: starts.value(row) })
        });
        for (span, rows) in spans {
            let columns = columns.iter().map(|column| rows.pick(column)).collect::<Result<_>>()?;
            self.slices.add_part(span, part(columns, rows.len())?);
            self.expect(span);
        }
        Ok(())
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

/// Puts the span before a part's columns.
fn with_span(span: Span, rows: &RecordBatch) -> Result<RecordBatch> {
    let count = rows.num_rows();
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_value(span.start, count)),
        Arc::new(Int64Array::from_value(span.end, count)),
    ];
    columns.extend(rows.columns().iter().cloned());
    part(columns, count)
}

/// Refuses rows that are taken back.
fn insertions(batch: Batch) -> Result<RecordBatch> {
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
        let spans = self.divide(&batch, now)?;
        let rows = insertions(batch)?;
        let keys = self.slices.grouping().keys(&rows);
        let arguments = self.slices.grouping().arguments(&rows)?;
        for (span, rows) in spans {
            if self.last_window(span).time() <= self.passed {
                self.late_rows += rows.len() as u64;
            } else if self.slices.update(span, &rows, &keys, &arguments)? {
                self.expect(span);
            }
        }
        Ok(())
    }

    fn watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<Watermark> {
        let by_clock = matches!(self.window, WindowSpec::ProcessingTime { .. });
        if !by_clock || watermark == Watermark::MAX {
            self.fire_until(watermark.0, out)?;
        }
        Ok(watermark)
    }

    fn processing_time(&mut self, now: TimestampMs, out: &mut Output) -> Result<()> {
        if matches!(self.window, WindowSpec::ProcessingTime { .. }) {
            self.fire_until(now.saturating_sub(1), out)?;
        }
        Ok(())
    }

    fn next_timer(&self) -> Option<TimestampMs> {
        match self.window {
            WindowSpec::ProcessingTime { .. } => self.pending.first().map(|window| window.end),
            _ => None,
        }
    }

    fn end(&mut self, _port: usize, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    fn flush(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    fn snapshot(&mut self, writer: &mut StateWriter) -> Result<()> {
        let mut parts = Vec::new();
        for (span, rows) in self.slices.sealed()? {
            parts.push(with_span(span, &rows)?);
        }
        if let Some(first) = parts.first() {
            let rows = concat_batches(&first.schema(), &parts)
                .map_err(|error| Error::compute("put slices together", error))?;
            let keys = SPAN_COLUMNS..SPAN_COLUMNS + self.slices.grouping().num_keys();
            let key_groups = self.key_groups(&rows.columns()[keys], rows.num_rows())?;
            writer.keyed("slices", VERSION, rows, key_groups);
        }
        let passed: ArrayRef = Arc::new(Int64Array::from(vec![self.passed]));
        writer.list("passed", VERSION, part(vec![passed], 1)?);
        Ok(())
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        for rows in state.list("passed", VERSION)? {
            let passed = column(&rows, 0)?;
            let passed = max(passed.as_primitive::<Int64Type>()).unwrap_or(i64::MIN);
            self.passed = self.passed.max(passed);
        }
        for rows in state.keyed("slices", VERSION)? {
            column(&rows, 0)?;
            column(&rows, 1)?;
            self.restore_part(&rows)?;
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.slices.memory_bytes()
    }

    fn late_rows(&self) -> u64 {
        self.late_rows
    }
}

/// Returns a column of the state that must be of 64-bit integers.
fn column(rows: &RecordBatch, index: usize) -> Result<ArrayRef> {
    let found = rows.columns().get(index).cloned();
    found.filter(|column| column.data_type() == &DataType::Int64).ok_or_else(|| Error::Restore {
        what: "WindowAggregate".to_owned(),
        reason: format!("state column {index} is not a number"),
    })
}

#[cfg(test)]
mod tests;
