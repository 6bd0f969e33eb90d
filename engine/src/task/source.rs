//! The source of a task: which split is read next, and the watermark that follows.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, RecordBatch, TimestampMillisecondArray};
use arrow::compute::{cast, max};
use arrow::datatypes::{DataType, TimeUnit};
use futures::future::BoxFuture;

use super::chain::Chain;
use super::split::OpenSplit;
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
    /// No rows: all that were read have been left out, or time goes on without any.
    NoRows {
        /// The task's watermark where it has risen: a split has ended or become idle.
        watermark: Option<Watermark>,
        /// Whether the last split that held the watermark back has become idle.
        idle: bool,
    },
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
    idle_timeout: Option<Duration>,
    /// How long splits stay open after their last row.
    stays_open: Option<Duration>,
    limit: Option<u64>,
    emitted_watermark: Watermark,
    said_idle: bool,
    prepared: Vec<Batch>,
    /// The split that is being read, and the read.
    reading: Option<(usize, BoxFuture<'static, ReadOutcome>)>,
    /// Since when nobody has asked for what comes next.
    unasked_since: Option<TimestampMs>,
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

/// A driver that is asked for what comes next, until this is dropped.
struct Asked<'a>(&'a mut SourceDriver);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.unasked_since = Some(self.0.clock.now_ms());
    }
}

impl SourceDriver {
    pub(crate) fn new(
        source: SourceRef,
        clock: ClockRef,
        splits: Vec<SplitState>,
        prepare: Chain,
        spec: &crate::graph::SourceSpec,
        idle_timeout: Option<Duration>,
    ) -> Self {
        Self {
            source,
            clock,
            splits: splits.into_iter().map(OpenSplit::new).collect(),
            prepare,
            watermark: spec.watermark.clone(),
            idle_timeout,
            stays_open: None,
            limit: spec.limit,
            emitted_watermark: Watermark::MIN,
            said_idle: false,
            prepared: Vec::new(),
            reading: None,
            unasked_since: None,
        }
    }

    /// Makes splits stay open for a while after their last row.
    pub(crate) fn staying_open(self, stays_open: Option<Duration>) -> Self {
        Self { stays_open, ..self }
    }

    /// Returns what comes next. Dropping the future before it is done loses nothing: a read that
    /// is under way is kept and gone on with.
    ///
    /// # Errors
    /// What the connector or a computed column fails with.
    pub(crate) async fn next(&mut self) -> Result<SourceEvent> {
        if let Some(since) = self.unasked_since.take()
            && let Some((index, _)) = &self.reading
        {
            // The read may have become ready in the meantime, or would have with more polls.
            self.splits[*index].forget(self.clock.now_ms() - since);
        }
        Asked(self).0.go_on().await
    }

    async fn go_on(&mut self) -> Result<SourceEvent> {
        loop {
            let now = self.clock.now_ms();
            self.splits.iter_mut().for_each(|split| split.finish_if_due(now));
            self.ask(now);
            if self.splits.iter().all(|split| split.state.finished) {
                return Ok(SourceEvent::Ended);
            }
            let mut read = self.read_until(None).await;
            if read.is_none() {
                // Only now, when the read has just been found without rows.
                if let Some(event) = self.news() {
                    return Ok(event);
                }
                read = self.read_until(Some(self.next_look(now))).await;
            }
            if let Some((index, outcome)) = read
                && let Some(event) = self.take(index, outcome?)?
            {
                return Ok(event);
            }
        }
    }

    /// Begins a read unless one is under way.
    fn ask(&mut self, now: TimestampMs) {
        if self.reading.is_none()
            && let Some(index) = self.choose(now)
        {
            let split = &mut self.splits[index];
            split.ask(now);
            let (source, state) = (Arc::clone(&self.source), split.state.split.clone());
            let reader = split.reader.take();
            self.reading = Some((index, Box::pin(read(source, state, reader))));
        }
    }

    /// Waits for the read that is under way, but not beyond a time, without which not at all.
    async fn read_until(&mut self, time: Option<TimestampMs>) -> Option<(usize, ReadOutcome)> {
        let waited = async {
            if let Some(time) = time {
                self.clock.sleep_until(time).await;
            }
        };
        let Some((index, reading)) = &mut self.reading else {
            waited.await;
            return None;
        };
        let index = *index;
        let outcome = tokio::select! {
            biased;
            outcome = reading => outcome,
            () = waited => return None,
        };
        self.reading = None;
        Some((index, outcome))
    }

    /// Returns when something follows from the time alone: a split may be read or becomes idle.
    fn next_look(&self, now: TimestampMs) -> TimestampMs {
        let open = || self.splits.iter().filter(|split| !split.state.finished);
        let ready = open().map(OpenSplit::not_before).filter(|_| self.reading.is_none());
        let idle = (0..self.splits.len()).filter_map(|index| self.idle_at(index, now));
        ready.chain(idle.filter(|due| *due > now)).min().unwrap_or(TimestampMs::MAX)
    }

    fn take(
        &mut self,
        index: usize,
        (reader, read): (Box<dyn SplitReader>, Read),
    ) -> Result<Option<SourceEvent>> {
        let split = &mut self.splits[index];
        split.reader_bytes = reader.memory_bytes();
        split.reader = Some(reader);
        match read {
            Read::Rows(rows) => return self.take_rows(index, rows).map(Some),
            Read::NotBefore(time) => split.found_none_before(time),
            Read::End => match self.stays_open {
                Some(stays_open) => split.finish_after(stays_open, self.clock.now_ms()),
                None => split.finish(),
            },
        }
        Ok(None)
    }

    /// Returns what follows from splits that have ended or become idle.
    fn news(&mut self) -> Option<SourceEvent> {
        let watermark = self.risen_watermark();
        let is_idle = self.is_all_idle(self.clock.now_ms());
        let idle = is_idle && !std::mem::replace(&mut self.said_idle, is_idle);
        (idle || watermark.is_some()).then_some(SourceEvent::NoRows { watermark, idle })
    }

    /// Returns the watermark over all splits where it has risen since it was last asked for:
    /// the least over those that have not ended and are not idle.
    pub(crate) fn risen_watermark(&mut self) -> Option<Watermark> {
        self.watermark.as_ref()?;
        let now = self.clock.now_ms();
        let holds =
            |index: &usize| !self.splits[*index].state.finished && !self.is_idle(*index, now);
        let watermarks = (0..self.splits.len())
            .filter(holds)
            .map(|index| Watermark(self.splits[index].state.watermark));
        let watermark = watermarks.min()?;
        (watermark > self.emitted_watermark).then(|| {
            self.emitted_watermark = watermark;
            watermark
        })
    }

    /// Tells whether no split holds the watermark back, though some have not ended.
    fn is_all_idle(&self, now: TimestampMs) -> bool {
        self.splits.iter().any(|split| !split.state.finished)
            && (0..self.splits.len())
                .all(|index| self.splits[index].state.finished || self.is_idle(index, now))
    }

    fn is_idle(&self, index: usize, now: TimestampMs) -> bool {
        self.idle_at(index, now).is_some_and(|since| since <= now)
    }

    fn idle_at(&self, index: usize, now: TimestampMs) -> Option<TimestampMs> {
        let is_being_read = matches!(&self.reading, Some((reading, _)) if *reading == index);
        let split = Some(&self.splits[index]).filter(|split| !split.state.finished);
        split?.idle_at(self.idle_timeout?, is_being_read, now)
    }

    /// Returns the positions of the splits.
    pub(crate) fn snapshot(&self) -> Vec<SplitState> {
        self.splits.iter().map(|split| split.state.clone()).collect()
    }

    /// Returns an estimate of the bytes that open readers hold.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.splits.iter().map(|split| split.reader_bytes).sum()
    }

    /// Returns the number of malformed rows that were skipped.
    pub(crate) fn skipped_rows(&self) -> u64 {
        self.splits.iter().map(|split| split.skipped_rows).sum()
    }

    fn choose(&self, now: TimestampMs) -> Option<usize> {
        let candidates = self.splits.iter().enumerate().filter(|(_, split)| split.is_ready(now));
        if self.watermark.is_some() {
            candidates.min_by_key(|(_, split)| split.state.watermark).map(|(index, _)| index)
        } else {
            // Without a watermark one after the other, so that few files are open at a time;
            // paced splits take turns by their own deadlines.
            candidates
                .min_by_key(|(index, split)| (split.not_before(), *index))
                .map(|(index, _)| index)
        }
    }

    fn take_rows(&mut self, index: usize, rows: RecordBatch) -> Result<SourceEvent> {
        let now = self.clock.now_ms();
        self.said_idle = false;
        let split = &mut self.splits[index];
        split.note_position();
        split.found_rows();
        split.rows += rows.num_rows() as u64;
        let reached_limit = self.limit.is_some_and(|limit| split.rows >= limit);
        self.prepared.clear();
        self.prepare.push(0, Batch::insert(rows), now, &mut self.prepared)?;
        let batch = self.prepared.pop();
        let split = &mut self.splits[index];
        if let (Some(spec), Some(batch)) = (&self.watermark, &batch) {
            let watermark = batch_watermark(spec, batch.rows())?;
            split.state.watermark = split.state.watermark.max(watermark);
        }
        if reached_limit {
            split.finish();
        }
        let watermark = self.risen_watermark();
        Ok(match batch {
            Some(batch) => SourceEvent::Rows(batch, watermark),
            None => SourceEvent::NoRows { watermark, idle: false },
        })
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

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
