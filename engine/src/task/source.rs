//! The source of a task: which split is read next, and the watermark that follows.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, TimestampMillisecondArray};
use arrow::compute::{cast, max};
use arrow::datatypes::{DataType, TimeUnit};
use futures::future::BoxFuture;

use super::chain::Chain;
use crate::batch::Batch;
use crate::connector::{Read, SourceRef, Split, SplitReader, SplitState};
use crate::graph::WatermarkSpec;
use crate::time::{ClockRef, TimestampMs, Watermark};
use crate::{Error, Result};

/// What a source has to say.
#[derive(Debug)]
pub(crate) enum SourceEvent {
    /// Prepared rows, and the task's watermark after them where it has risen.
    Rows(Batch, Option<Watermark>),
    /// Nothing to read before this processing time.
    NotBefore(TimestampMs),
    /// All splits have ended.
    Ended,
}

/// Reads the splits of one subtask, the one that is furthest behind in event time first, so that
/// two files of one stream do not make each other's rows late.
pub(crate) struct SourceDriver {
    source: SourceRef,
    clock: ClockRef,
    splits: Vec<OpenSplit>,
    prepare: Chain,
    watermark: Option<WatermarkSpec>,
    idle_timeout_ms: Option<i64>,
    limit: Option<u64>,
    emitted_watermark: Watermark,
    prepared: Vec<Batch>,
    /// The split that is being read, and the read.
    reading: Option<(usize, BoxFuture<'static, ReadOutcome>)>,
}

type ReadOutcome = Result<(Box<dyn SplitReader>, Read)>;

/// Reads on, opening the split where that has not been done.
async fn read(
    source: SourceRef,
    split: Split,
    reader: Option<Box<dyn SplitReader>>,
) -> ReadOutcome {
    let mut reader = match reader {
        Some(reader) => reader,
        None => source.open(&split).await?,
    };
    let read = reader.read().await?;
    Ok((reader, read))
}

struct OpenSplit {
    state: SplitState,
    reader: Option<Box<dyn SplitReader>>,
    rows: u64,
    not_before: TimestampMs,
    last_rows_at: TimestampMs,
    skipped_rows: u64,
}

impl SourceDriver {
    pub(crate) fn new(
        source: SourceRef,
        clock: ClockRef,
        splits: Vec<SplitState>,
        prepare: Chain,
        spec: &crate::graph::SourceSpec,
        idle_timeout: Option<std::time::Duration>,
    ) -> Self {
        let now = clock.now_ms();
        let splits = splits
            .into_iter()
            .map(|state| OpenSplit {
                state,
                reader: None,
                rows: 0,
                not_before: TimestampMs::MIN,
                last_rows_at: now,
                skipped_rows: 0,
            })
            .collect();
        Self {
            source,
            clock,
            splits,
            prepare,
            watermark: spec.watermark.clone(),
            idle_timeout_ms: idle_timeout.map(|timeout| timeout.as_millis() as i64),
            limit: spec.limit,
            emitted_watermark: Watermark::MIN,
            prepared: Vec::new(),
            reading: None,
        }
    }

    /// Returns what comes next. Dropping the future before it is done loses nothing: a read that
    /// is under way is kept and gone on with.
    ///
    /// # Errors
    /// What the connector or a computed column fails with.
    pub(crate) async fn next(&mut self) -> Result<SourceEvent> {
        loop {
            if self.reading.is_none() {
                let Some(index) = self.choose(self.clock.now_ms()) else {
                    return Ok(self.nothing_to_read());
                };
                let split = &mut self.splits[index];
                let (source, state) = (Arc::clone(&self.source), split.state.split.clone());
                let reader = split.reader.take();
                self.reading = Some((index, Box::pin(read(source, state, reader))));
            }
            let Some((index, reading)) = self.reading.as_mut() else { continue };
            let (index, outcome) = (*index, reading.await);
            self.reading = None;
            let (reader, read) = outcome?;
            self.splits[index].reader = Some(reader);
            match read {
                Read::Rows(rows) => {
                    if let Some(event) = self.take_rows(index, rows)? {
                        return Ok(event);
                    }
                }
                Read::NotBefore(time) => self.splits[index].not_before = time,
                Read::End => self.finish(index),
            }
        }
    }

    /// Returns the watermark over all splits where it has risen since it was last asked for:
    /// the least over those that have not ended and are not idle.
    pub(crate) fn risen_watermark(&mut self) -> Option<Watermark> {
        self.watermark.as_ref()?;
        let now = self.clock.now_ms();
        let open = self.splits.iter().filter(|split| !split.state.finished);
        let watermark = open
            .filter(|split| !self.is_idle(split, now))
            .map(|split| Watermark(split.state.watermark))
            .min()?;
        (watermark > self.emitted_watermark).then(|| {
            self.emitted_watermark = watermark;
            watermark
        })
    }

    /// Tells whether no split holds the watermark back, though some have not ended.
    pub(crate) fn is_all_idle(&self) -> bool {
        let now = self.clock.now_ms();
        self.idle_timeout_ms.is_some()
            && self.splits.iter().all(|split| split.state.finished || self.is_idle(split, now))
    }

    /// Returns the processing time at which the next split becomes idle.
    pub(crate) fn next_idle_at(&self) -> Option<TimestampMs> {
        let timeout = self.idle_timeout_ms?;
        let now = self.clock.now_ms();
        let open = self.splits.iter().filter(|split| !split.state.finished);
        open.map(|split| split.last_rows_at + timeout).filter(|due| *due > now).min()
    }

    /// Returns the positions of the splits.
    pub(crate) fn snapshot(&self) -> Vec<SplitState> {
        self.splits.iter().map(|split| split.state.clone()).collect()
    }

    /// Returns the number of malformed rows that were skipped.
    pub(crate) fn skipped_rows(&self) -> u64 {
        self.splits.iter().map(|split| split.skipped_rows).sum()
    }

    fn choose(&self, now: TimestampMs) -> Option<usize> {
        let ready = |split: &OpenSplit| !split.state.finished && split.not_before <= now;
        let candidates = self.splits.iter().enumerate().filter(|(_, split)| ready(split));
        if self.watermark.is_some() {
            candidates.min_by_key(|(_, split)| split.state.watermark).map(|(index, _)| index)
        } else {
            // Without a watermark one after the other, so that few files are open at a time;
            // paced splits take turns by their own deadlines.
            candidates
                .min_by_key(|(index, split)| (split.not_before, *index))
                .map(|(index, _)| index)
        }
    }

    fn nothing_to_read(&self) -> SourceEvent {
        let open = self.splits.iter().filter(|split| !split.state.finished);
        match open.map(|split| split.not_before).min() {
            Some(time) => SourceEvent::NotBefore(time),
            None => SourceEvent::Ended,
        }
    }

    fn take_rows(&mut self, index: usize, rows: RecordBatch) -> Result<Option<SourceEvent>> {
        let now = self.clock.now_ms();
        let split = &mut self.splits[index];
        if let Some(reader) = &split.reader {
            split.state.split.position = reader.position();
            split.skipped_rows = reader.skipped_rows();
        }
        split.last_rows_at = now;
        split.rows += rows.num_rows() as u64;
        let reached_limit = self.limit.is_some_and(|limit| split.rows >= limit);
        self.prepared.clear();
        self.prepare.push(0, Batch::insert(rows), now, &mut self.prepared)?;
        let Some(batch) = self.prepared.pop() else {
            if reached_limit {
                self.finish(index);
            }
            return Ok(None);
        };
        if let Some(spec) = &self.watermark {
            let split = &mut self.splits[index];
            let watermark = batch_watermark(spec, batch.rows())?;
            split.state.watermark = split.state.watermark.max(watermark);
        }
        if reached_limit {
            self.finish(index);
        }
        Ok(Some(SourceEvent::Rows(batch, self.risen_watermark())))
    }

    fn finish(&mut self, index: usize) {
        let split = &mut self.splits[index];
        if let Some(reader) = split.reader.take() {
            split.state.split.position = reader.position();
            split.skipped_rows = reader.skipped_rows();
        }
        split.state.finished = true;
    }

    fn is_idle(&self, split: &OpenSplit, now: TimestampMs) -> bool {
        self.idle_timeout_ms.is_some_and(|timeout| now - split.last_rows_at >= timeout)
    }
}

/// Returns the greatest value of the watermark's expression over `rows`, less one millisecond.
fn batch_watermark(spec: &WatermarkSpec, rows: &RecordBatch) -> Result<TimestampMs> {
    let failed = |error| Error::compute("compute a watermark", error);
    let values = spec.expr.evaluate(rows).map_err(failed)?;
    let values = values.into_array(rows.num_rows()).map_err(failed)?;
    let greatest = if *values.data_type() == DataType::Timestamp(TimeUnit::Millisecond, None) {
        max_ms(values.as_ref())
    } else {
        let cast = cast(&values, &DataType::Timestamp(TimeUnit::Millisecond, None))
            .map_err(|error| Error::compute("compute a watermark", error))?;
        max_ms(cast.as_ref())
    };
    Ok(greatest.map_or(TimestampMs::MIN, |value| value.saturating_sub(1)))
}

fn max_ms(values: &dyn Array) -> Option<TimestampMs> {
    values.as_any().downcast_ref::<TimestampMillisecondArray>().and_then(max)
}

impl SplitState {
    /// Makes the state of a split that has not been read yet.
    #[must_use]
    pub fn unread(split: Split) -> Self {
        Self { split, watermark: TimestampMs::MIN, finished: false }
    }
}
