//! The half of a window aggregate before the exchange.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMillisecondArray};
use arrow::compute::sum;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef, TimeUnit};

use datafusion::functions_aggregate::count::count_udaf;

use super::aggregate::conform;
use super::partial_groups::Grouping;
use super::window::{Rows, Span, divide_batch};
use super::window_aggregate::insertions;
use super::window_slices::Slices;
use super::{Operator, Output};
use crate::batch::{Batch, TARGET_BATCH_ROWS};
use crate::graph::{AggregateCall, OperatorNode, WindowAggregateSpec, WindowSpec};
use crate::state::{StateReader, StateWriter};
use crate::time::{TimestampMs, Watermark};
use crate::{Error, Result};

/// Bytes of partial aggregates that are held before they are sent on early: keys that hardly
/// repeat are not worth more, and the other half merges what comes in pieces.
const HELD_BYTES_MAX: usize = 16 << 20;

/// Turns rows into partial aggregates per key and slice, so that fewer cross the exchange. They
/// are sent on before the watermark that passes the slice, and with a flush: so there is no state
/// to write, and a checkpoint fits the query whether or not its aggregates are split. Which rows
/// are late is left to the half after the exchange, whose watermark is that of all senders; for
/// that half to tell how many they are, each group comes with its number of rows.
pub(super) struct LocalWindowAggregate {
    window: WindowSpec,
    slices: Slices,
    untimed_rows: u64,
    schema: SchemaRef,
}

/// Returns the columns that the half before the exchange produces.
///
/// # Errors
/// `Compute` where a function does not take its arguments.
pub(super) fn local_schema(spec: &WindowAggregateSpec, input: &SchemaRef) -> Result<SchemaRef> {
    let grouping = counting(spec, input)?;
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let mut fields = grouping.part_fields();
    let slice = ["slice_start", "slice_end"];
    fields.extend(slice.map(|name| FieldRef::new(Field::new(name, time.clone(), false))));
    Ok(Arc::new(Schema::new(fields)))
}

/// Prepares what is aggregated before the exchange: the query's aggregates, with COUNT(*).
fn counting(spec: &WindowAggregateSpec, input: &SchemaRef) -> Result<Grouping> {
    let grouping = Grouping::new(&spec.keys, &spec.aggregates, input)?;
    if grouping.count_column().is_some() {
        return Ok(grouping);
    }
    let count = AggregateCall {
        function: count_udaf(),
        args: Vec::new(),
        filter: None,
        distinct: false,
        order_by: Vec::new(),
        ignore_nulls: false,
        output: FieldRef::new(Field::new("rows", DataType::Int64, false)),
    };
    let mut calls = spec.aggregates.clone();
    calls.push(count);
    Grouping::new(&spec.keys, &calls, input)
}

/// What the half before the exchange has sent, for the half after it.
pub(super) struct LocalRows<'a> {
    /// Sealed groups of the query's aggregates.
    pub(super) part: &'a [ArrayRef],
    /// The number of rows of each group.
    pub(super) counts: &'a ArrayRef,
    /// The start and the end of each group's slice.
    pub(super) slice: &'a [ArrayRef; 2],
}

impl<'a> LocalRows<'a> {
    /// Takes the columns apart.
    ///
    /// # Errors
    /// `Internal` where columns are missing.
    pub(super) fn of(columns: &'a [ArrayRef], grouping: &Grouping) -> Result<Self> {
        let found = columns.split_last_chunk().and_then(|(columns, slice)| {
            let (part, counts) = match grouping.count_column() {
                Some(column) => (columns, columns.get(column)?),
                None => columns.split_last().map(|(counts, part)| (part, counts))?,
            };
            Some(Self { part, counts, slice })
        });
        found.ok_or_else(|| Error::Internal("partial aggregates lack columns".to_owned()))
    }

    /// Adds up the numbers of rows of some groups.
    pub(super) fn count(&self, groups: &Rows) -> Result<u64> {
        let counts = groups.pick(self.counts)?;
        let rows = counts.as_primitive_opt::<Int64Type>().and_then(sum);
        Ok(rows.unwrap_or(0).unsigned_abs())
    }
}

impl LocalWindowAggregate {
    /// Makes the operator.
    ///
    /// # Errors
    /// `Invalid` where the windows' lengths are, or where windows are of processing time, which
    /// both halves would see differently; `Compute` where a function does not take its arguments.
    pub(super) fn new(spec: &WindowAggregateSpec, node: &OperatorNode) -> Result<Self> {
        match spec.window {
            WindowSpec::EventTime { window, .. } => window.validate()?,
            WindowSpec::Attached { .. } => {}
            WindowSpec::ProcessingTime { .. } => {
                let message = "windows of processing time are not aggregated in two halves";
                return Err(Error::Invalid(message.to_owned()));
            }
        }
        Ok(Self {
            window: spec.window,
            slices: Slices::new(counting(spec, &node.inputs[0])?),
            untimed_rows: 0,
            schema: Arc::clone(&node.output),
        })
    }

    fn send_until(&mut self, time: TimestampMs, out: &mut Output) -> Result<()> {
        while let Some(slice) = self.slices.first()
            && slice.time() <= time
        {
            self.send(slice, out)?;
        }
        Ok(())
    }

    fn send(&mut self, slice: Span, out: &mut Output) -> Result<()> {
        let part = self.slices.take_part(slice)?;
        let count = part.num_rows();
        let times =
            |time| -> ArrayRef { Arc::new(TimestampMillisecondArray::from_value(time, count)) };
        let columns = part.columns().iter().cloned();
        let columns = columns
            .chain([times(slice.start), times(slice.end)])
            .zip(self.schema.fields())
            .map(|(column, field)| conform(column, field))
            .collect::<Result<_>>()?;
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| Error::compute("put partial aggregates together", error))?;
        for first in (0..count).step_by(TARGET_BATCH_ROWS) {
            out.push_own(Batch::insert(rows.slice(first, TARGET_BATCH_ROWS.min(count - first))));
        }
        Ok(())
    }
}

impl Operator for LocalWindowAggregate {
    fn name(&self) -> &'static str {
        "LocalWindowAggregate"
    }

    fn accepts(&self, _port: usize) -> bool {
        true
    }

    fn process(
        &mut self,
        _port: usize,
        batch: Batch,
        now: TimestampMs,
        out: &mut Output,
    ) -> Result<()> {
        let (spans, without) = divide_batch(self.window, &batch, now)?;
        self.untimed_rows += without as u64;
        let rows = insertions(batch)?;
        let keys = self.slices.grouping().keys(&rows);
        let arguments = self.slices.grouping().arguments(&rows)?;
        for (span, rows) in spans {
            self.slices.update(span, &rows, &keys, &arguments)?;
        }
        if self.slices.memory_bytes() > HELD_BYTES_MAX {
            self.send_until(TimestampMs::MAX, out)?;
        }
        Ok(())
    }

    fn watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<Watermark> {
        self.send_until(watermark.0, out)?;
        Ok(watermark)
    }

    fn processing_time(
        &mut self,
        _now: TimestampMs,
        _out: &mut Output,
    ) -> Result<Option<Watermark>> {
        Ok(None)
    }

    fn next_timer(&self) -> Option<TimestampMs> {
        None
    }

    fn end(&mut self, _port: usize, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    fn flush(&mut self, out: &mut Output) -> Result<()> {
        self.send_until(TimestampMs::MAX, out)
    }

    fn is_satisfied(&self) -> bool {
        false
    }

    fn snapshot(&mut self, _writer: &mut StateWriter) -> Result<()> {
        Ok(())
    }

    fn restore(&mut self, _state: &StateReader) -> Result<()> {
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.slices.memory_bytes()
    }

    fn late_rows(&self) -> u64 {
        0
    }

    fn untimed_rows(&self) -> u64 {
        self.untimed_rows
    }
}

#[cfg(test)]
mod tests {
    use datafusion::functions_aggregate::average::avg_udaf;
    use datafusion::functions_aggregate::count::count_udaf;
    use datafusion::functions_aggregate::min_max::max_udaf;
    use proptest::prelude::*;

    use super::super::testing::{Harness, call, schema};
    use super::*;
    use crate::OperatorId;
    use crate::graph::{AggregatePhase, OperatorSpec, Window};

    const INPUT: &str = "k:text v:float t:ts";
    const OUTPUT: &str =
        "k:text n:int a:float hi:text window_start:ts window_end:ts window_time:ts";
    const HOP: Window = Window::Hop { size_ms: 10, slide_ms: 5, offset_ms: 0 };

    fn node(phase: AggregatePhase, input: &SchemaRef) -> OperatorNode {
        let spec = WindowAggregateSpec {
            window: WindowSpec::EventTime { window: HOP, time: 2 },
            keys: vec![0],
            aggregates: vec![
                call("n:int", count_udaf(), &[]),
                call("a:float", avg_udaf(), &[("v", 1)]),
                call("hi:text", max_udaf(), &[("k", 0)]),
            ],
            phase,
        };
        let partial = local_schema(&spec, &schema(INPUT)).unwrap();
        let output = if spec.phase == AggregatePhase::Local { partial } else { schema(OUTPUT) };
        let inputs = vec![Arc::clone(input)];
        OperatorNode {
            id: OperatorId(1),
            spec: OperatorSpec::WindowAggregate(spec),
            inputs,
            output,
        }
    }

    fn local() -> Harness {
        Harness::of_node(node(AggregatePhase::Local, &schema(INPUT)), 0, 1)
    }

    fn last(partial: &SchemaRef) -> Harness {
        let phase = AggregatePhase::Final { input: schema(INPUT) };
        Harness::of_node(node(phase, partial), 0, 1)
    }

    #[test]
    fn slices_are_sent_on_before_the_watermark_that_passes_them_or_with_a_flush() {
        let mut test = local();
        test.rows("+ a 1 3\n+ a 2 4\n+ b 2 4\n+ a 3 5");
        assert_eq!(test.watermark(3), 3);
        test.expect("");
        test.watermark(4);
        test.expect("+ a 2 2 3.0 a 0 5\n+ b 1 1 2.0 b 0 5");
        test.rows("+ c 9 1");
        test.expect("");
        assert!(test.snapshot().is_empty());
        test.expect("+ c 1 1 9.0 c 0 5\n+ a 1 1 3.0 a 5 10");
        assert_eq!(test.operator().memory_bytes(), 0);
    }

    #[test]
    fn the_last_half_drops_what_is_late_for_all() {
        let mut first = local();
        first.rows("+ a 1 3\n+ a 7 4\n+ b 1 4\n+ a 2 12");
        first.end(0);
        let batches = first.batches();
        let mut last = last(&batches[0].schema());
        last.watermark(9);
        for batch in batches {
            last.batch_at(0, batch);
        }
        last.end(0);
        last.expect("+ a 1 2.0 a 5 15 14\n+ a 1 2.0 a 10 20 19");
        assert_eq!(last.operator().late_rows(), 3);
    }

    #[test]
    fn late_rows_are_counted_where_the_query_does_not_count() {
        let without_count = |phase, input: &SchemaRef| {
            let mut node = node(phase, input);
            let OperatorSpec::WindowAggregate(spec) = &mut node.spec else { unreachable!() };
            spec.aggregates.remove(0);
            node.output = match &spec.phase {
                AggregatePhase::Local => local_schema(spec, input).unwrap(),
                _ => schema("k:text a:float hi:text window_start:ts window_end:ts window_time:ts"),
            };
            node
        };
        let local = without_count(AggregatePhase::Local, &schema(INPUT));
        let phase = AggregatePhase::Final { input: schema(INPUT) };
        let mut last = Harness::of_node(without_count(phase, &local.output), 0, 1);
        last.watermark(9);
        let mut first = Harness::of_node(local, 0, 1);
        first.rows("+ a 1 3\n+ a 7 4\n+ b 1 4\n+ a 2 12");
        first.end(0);
        for batch in first.batches() {
            last.batch_at(0, batch);
        }
        assert_eq!(last.operator().late_rows(), 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 64, failure_persistence: None, ..ProptestConfig::default()
        })]

        /// Two halves, with several firsts and flushes, give what one operator gives.
        #[test]
        fn two_halves_are_one_whole(
            rows in proptest::collection::vec((0_u8..4, -5_i64..5, 0_i64..40, 0_usize..2), 1..60),
            cuts in proptest::collection::vec((1_usize..10, any::<bool>()), 1..6),
        ) {
            let lines: Vec<(usize, String)> =
                rows.iter().map(|(k, v, t, to)| (*to, format!("+ k{k} {v} {t}"))).collect();
            let mut whole =
                Harness::of_node(node(AggregatePhase::Complete, &schema(INPUT)), 0, 1);
            let mut firsts = [local(), local()];
            let mut partial = Vec::new();
            let mut rest = lines.as_slice();
            for (length, barrier) in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*length).min(rest.len()));
                for (to, line) in now {
                    whole.rows(line);
                    firsts[*to].rows(line);
                }
                if *barrier {
                    firsts.iter_mut().for_each(Harness::flush);
                    partial.extend(firsts.iter_mut().flat_map(Harness::batches));
                }
                rest = later;
                if rest.is_empty() { break; }
            }
            for mut first in firsts {
                first.end(0);
                partial.extend(first.batches());
            }
            let mut last = last(&partial[0].schema());
            for batch in partial {
                last.batch_at(0, batch);
            }
            let state = last.snapshot();
            let mut last = last.restored(&state, 0, 1);
            last.end(0);
            whole.end(0);
            let (mut found, mut expected) = (last.lines(), whole.lines());
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected);
        }
    }
}
