//! The outputs of a task: which row goes to which receiver, and when.
//!
//! Rows that get scattered are gathered per receiver to batches of [`TARGET_BATCH_ROWS`] and sent
//! earlier when the receiver has nothing to do, after the buffer timeout, before a barrier and at
//! the end. A watermark is sent once the rows that came before it have been, and does not force
//! them out by itself.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::BatchCoalescer;
use arrow::datatypes::{DataType, Field, Int8Type, Schema, SchemaRef};

use super::{Message, OutputChannels, Sender};
use crate::batch::{Batch, TARGET_BATCH_ROWS};
use crate::graph::{ChangelogMode, Edge, Partitioning};
use crate::hash::{hash_columns, key_group, subtask_of};
use crate::held::row_bytes;
use crate::time::{TimestampMs, Watermark};
use crate::{Epoch, Error, Result};

/// Batches of at least this many rows are not copied together with others.
const LARGE_BATCH_ROWS: usize = TARGET_BATCH_ROWS / 4;

/// One output edge of a task.
pub(crate) struct EdgeWriter {
    partitioning: Partitioning,
    key_group_count: u16,
    receivers: Vec<Receiver>,
    /// The next receiver for round robin.
    turn: usize,
    hashes: Vec<u64>,
    /// Row numbers by receiver, kept to reuse their memory.
    indices: Vec<Vec<u32>>,
}

struct Receiver {
    sender: Sender,
    gather: Gather,
    /// Since when rows or a watermark wait to be sent.
    waiting_since: Option<TimestampMs>,
    /// A watermark and the number of rows that have to be sent before it.
    marked: Option<(Watermark, usize)>,
    /// A later watermark than the marked one.
    latest: Option<Watermark>,
}

impl EdgeWriter {
    pub(crate) fn new(edge: &Edge, channels: OutputChannels, key_group_count: u16) -> Self {
        let receivers = channels
            .senders
            .into_iter()
            .map(|sender| Receiver {
                sender,
                gather: Gather::new(&edge.schema, edge.changelog),
                waiting_since: None,
                marked: None,
                latest: None,
            })
            .collect::<Vec<_>>();
        Self {
            partitioning: edge.partitioning.clone(),
            key_group_count,
            indices: vec![Vec::new(); receivers.len()],
            receivers,
            turn: 0,
            hashes: Vec::new(),
        }
    }

    /// Divides a batch among the receivers and sends what has filled up.
    ///
    /// # Errors
    /// `Closed` where a receiver is gone.
    pub(crate) async fn write(&mut self, batch: &Batch, now: TimestampMs) -> Result<()> {
        match &self.partitioning {
            Partitioning::Broadcast => {
                for receiver in &mut self.receivers {
                    receiver.push(batch.clone(), now)?;
                }
            }
            Partitioning::Hash(keys) if self.receivers.len() > 1 => {
                let keys =
                    keys.iter().map(|key| Arc::clone(batch.column(*key))).collect::<Vec<_>>();
                self.scatter(batch, &keys, now)?;
            }
            _ => {
                let turn = self.turn;
                self.turn = (turn + 1) % self.receivers.len();
                self.receivers[turn].push(batch.clone(), now)?;
            }
        }
        for receiver in &mut self.receivers {
            receiver.send_completed().await?;
        }
        Ok(())
    }

    /// Takes a watermark, which is sent after the rows before it.
    ///
    /// # Errors
    /// `Closed` where a receiver is gone.
    pub(crate) async fn watermark(&mut self, watermark: Watermark, now: TimestampMs) -> Result<()> {
        for receiver in &mut self.receivers {
            receiver.watermark(watermark, now);
            receiver.send_completed().await?;
        }
        Ok(())
    }

    /// Sends everything that waits where `when` says so of the receiver's state.
    ///
    /// # Errors
    /// `Closed` where a receiver is gone.
    pub(crate) async fn flush(&mut self, when: FlushWhen) -> Result<()> {
        for receiver in &mut self.receivers {
            let due = match when {
                FlushWhen::Drained => {
                    receiver.waiting_since.is_some() && receiver.sender.is_drained()
                }
                FlushWhen::WaitingSince(limit) => {
                    receiver.waiting_since.is_some_and(|since| since <= limit)
                }
            };
            if due {
                receiver.flush().await?;
            }
        }
        Ok(())
    }

    /// Sends a message to all receivers after everything that waits.
    ///
    /// # Errors
    /// `Closed` where a receiver is gone.
    pub(crate) async fn broadcast(&mut self, message: &Control) -> Result<()> {
        for receiver in &mut self.receivers {
            receiver.flush().await?;
            receiver.sender.send(message.to_message()).await?;
        }
        Ok(())
    }

    /// Returns since when something waits to be sent.
    pub(crate) fn waiting_since(&self) -> Option<TimestampMs> {
        self.receivers.iter().filter_map(|receiver| receiver.waiting_since).min()
    }

    /// Returns the bytes of the rows that are being gathered and of those that wait to leave the
    /// process, which no receiver here counts.
    pub(crate) fn memory_bytes(&self) -> usize {
        let bytes =
            |receiver: &Receiver| receiver.gather.bytes_waiting + receiver.sender.leaving_bytes();
        self.receivers.iter().map(bytes).sum()
    }

    fn scatter(&mut self, batch: &Batch, keys: &[ArrayRef], now: TimestampMs) -> Result<()> {
        if keys.is_empty() {
            return self.receivers[0].push(batch.clone(), now);
        }
        hash_columns(keys, &mut self.hashes)?;
        self.indices.iter_mut().for_each(Vec::clear);
        let (count, groups) = (self.receivers.len(), self.key_group_count);
        for (row, hash) in self.hashes.iter().enumerate() {
            let subtask = subtask_of(key_group(*hash, groups), count, groups);
            self.indices[subtask].push(row as u32);
        }
        for (receiver, indices) in self.receivers.iter_mut().zip(&self.indices) {
            if indices.len() == batch.num_rows() {
                receiver.push(batch.clone(), now)?;
            } else if !indices.is_empty() {
                receiver.push(batch.take(&UInt32Array::from(indices.clone()))?, now)?;
            }
        }
        Ok(())
    }
}

/// Which receivers are flushed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FlushWhen {
    /// Those that have taken everything that was sent.
    Drained,
    /// Those for which something has waited since then or longer.
    WaitingSince(TimestampMs),
}

/// What is sent to all receivers alike.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Control {
    /// See [`Message::Idle`].
    Idle,
    /// See [`Message::Barrier`].
    Barrier(Epoch),
    /// See [`Message::End`].
    End,
}

impl Control {
    fn to_message(self) -> Message {
        match self {
            Self::Idle => Message::Idle,
            Self::Barrier(epoch) => Message::Barrier(epoch),
            Self::End => Message::End,
        }
    }
}

impl Receiver {
    fn push(&mut self, batch: Batch, now: TimestampMs) -> Result<()> {
        self.waiting_since.get_or_insert(now);
        self.gather.push(batch)
    }

    fn watermark(&mut self, watermark: Watermark, now: TimestampMs) {
        self.waiting_since.get_or_insert(now);
        match self.marked {
            None => self.marked = Some((watermark, self.gather.waiting_rows())),
            Some(_) => self.latest = Some(watermark),
        }
    }

    /// Sends the batches that are full, and the watermark once what came before it has gone.
    async fn send_completed(&mut self) -> Result<()> {
        while let Some(batch) = self.gather.next_completed()? {
            self.send_batch(batch).await?;
        }
        self.send_reached_watermark().await?;
        if self.gather.waiting_rows() == 0 && self.marked.is_none() {
            self.waiting_since = None;
        }
        Ok(())
    }

    async fn send_batch(&mut self, batch: Batch) -> Result<()> {
        let rows = batch.num_rows();
        if let Some((_, before)) = &mut self.marked {
            // A batch may hold rows from before and after the watermark: it goes after both.
            *before = before.saturating_sub(rows);
        }
        self.sender.send(Message::Data(batch)).await
    }

    async fn send_reached_watermark(&mut self) -> Result<()> {
        while let Some((watermark, 0)) = self.marked {
            self.sender.send(Message::Watermark(watermark)).await?;
            self.marked = self.latest.take().map(|latest| (latest, self.gather.waiting_rows()));
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.gather.finish()?;
        self.send_completed().await
    }
}

/// Gathers rows for one receiver to batches of the target size.
struct Gather {
    coalescer: BatchCoalescer,
    weighted: bool,
    rows_waiting: usize,
    bytes_waiting: usize,
    schema: SchemaRef,
}

impl Gather {
    fn new(schema: &SchemaRef, changelog: ChangelogMode) -> Self {
        let weighted = changelog == ChangelogMode::Retract;
        let mut fields = schema.fields().to_vec();
        if weighted {
            fields.push(Arc::new(Field::new("__weight", DataType::Int8, false)));
        }
        let coalescer = BatchCoalescer::new(Arc::new(Schema::new(fields)), TARGET_BATCH_ROWS)
            .with_biggest_coalesce_batch_size(Some(LARGE_BATCH_ROWS));
        let schema = Arc::clone(schema);
        Self { coalescer, weighted, rows_waiting: 0, bytes_waiting: 0, schema }
    }

    fn waiting_rows(&self) -> usize {
        self.rows_waiting
    }

    fn push(&mut self, batch: Batch) -> Result<()> {
        let num_rows = batch.num_rows();
        let (rows, weights) = batch.into_parts();
        let mut columns = rows.columns().to_vec();
        if self.weighted {
            let weights = weights.unwrap_or_else(|| vec![1; num_rows].into());
            columns.push(Arc::new(weights));
        } else if weights.is_some() {
            return Err(Error::Internal("weights on an append-only edge".to_owned()));
        }
        let rows = with_columns(&self.coalescer.schema(), columns, num_rows)?;
        self.rows_waiting += num_rows;
        self.bytes_waiting += row_bytes(&rows);
        self.coalescer.push_batch(rows).map_err(|error| Error::compute("gather rows", error))
    }

    fn finish(&mut self) -> Result<()> {
        self.coalescer.finish_buffered_batch().map_err(|error| Error::compute("gather rows", error))
    }

    fn next_completed(&mut self) -> Result<Option<Batch>> {
        let Some(rows) = self.coalescer.next_completed_batch() else { return Ok(None) };
        let num_rows = rows.num_rows();
        let left = self.rows_waiting - num_rows;
        // An estimate, as if all rows were alike.
        self.bytes_waiting = (self.bytes_waiting / self.rows_waiting.max(1)) * left;
        self.rows_waiting = left;
        if !self.weighted {
            return Ok(Some(Batch::insert(rows)));
        }
        let mut columns = rows.columns().to_vec();
        let weights = columns.pop();
        let rows = with_columns(&self.schema, columns, num_rows)?;
        let weights = weights
            .and_then(|weights| weights.as_primitive_opt::<Int8Type>().cloned())
            .ok_or_else(|| {
            Error::Internal("a gathered batch has lost its weights".to_owned())
        })?;
        Batch::changes(rows, weights).map(Some)
    }
}

/// Makes a batch of `num_rows` rows, which may have no columns.
fn with_columns(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    num_rows: usize,
) -> Result<RecordBatch> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(num_rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| Error::compute("put an exchange's columns together", error))
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;
    use crate::StageId;
    use crate::task::{Receiver as ChannelReceiver, channel};

    fn writer(partitioning: Partitioning, receivers: usize) -> (EdgeWriter, Vec<ChannelReceiver>) {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
        let edge = Edge {
            from: StageId(0),
            to: StageId(1),
            port: 0,
            partitioning,
            schema,
            changelog: ChangelogMode::AppendOnly,
        };
        let (senders, ends) = (0..receivers).map(|_| channel(1 << 24)).unzip();
        (EdgeWriter::new(&edge, OutputChannels { edge: 0, senders }, 256), ends)
    }

    fn rows(values: impl IntoIterator<Item = i64>) -> Batch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
        Batch::insert(RecordBatch::try_new(schema, vec![column]).expect("one column"))
    }

    async fn received(mut end: ChannelReceiver) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(message) = end.recv().await {
            found.push(match message {
                Message::Data(batch) => format!("{} rows", batch.num_rows()),
                Message::Watermark(watermark) => format!("watermark {}", watermark.0),
                other => format!("{other:?}"),
            });
        }
        found
    }

    #[tokio::test]
    async fn a_watermark_goes_after_the_rows_before_it_and_does_not_force_them_out() {
        let (mut writer, mut ends) = writer(Partitioning::Forward, 1);
        writer.write(&rows(0..10), 0).await.expect("open");
        writer.watermark(Watermark(5), 0).await.expect("open");
        assert!(writer.receivers[0].sender.is_drained(), "nothing has been sent yet");
        writer.write(&rows(0..10), 0).await.expect("open");
        writer.flush(FlushWhen::Drained).await.expect("open");
        writer.broadcast(&Control::End).await.expect("open");
        drop(writer);
        assert_eq!(received(ends.remove(0)).await, ["20 rows", "watermark 5", "End"]);
    }

    #[tokio::test]
    async fn a_watermark_is_sent_under_load_without_a_flush() {
        let (mut writer, mut ends) = writer(Partitioning::Forward, 1);
        for turn in 0..20 {
            writer.write(&rows(0..1000), 0).await.expect("open");
            writer.watermark(Watermark(turn), 0).await.expect("open");
        }
        drop(writer);
        assert_eq!(
            received(ends.remove(0)).await,
            ["8192 rows", "watermark 0", "8192 rows", "watermark 7"]
        );
    }

    #[tokio::test]
    async fn equal_keys_go_to_the_same_receiver_and_no_row_is_lost() {
        let (mut writer, ends) = writer(Partitioning::Hash(vec![0]), 3);
        for _ in 0..4 {
            writer.write(&rows(0..1000), 0).await.expect("open");
        }
        writer.broadcast(&Control::End).await.expect("open");
        drop(writer);
        let mut counts = std::collections::BTreeMap::<i64, (usize, usize)>::new();
        for (index, mut end) in ends.into_iter().enumerate() {
            while let Some(Message::Data(batch)) = end.recv().await {
                let column = batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().clone();
                for value in column.values() {
                    let entry = counts.entry(*value).or_insert((index, 0));
                    assert_eq!(entry.0, index, "key {value} went to two receivers");
                    entry.1 += 1;
                }
            }
        }
        assert_eq!(counts.len(), 1000);
        assert!(counts.values().all(|(_, count)| *count == 4));
    }
}
