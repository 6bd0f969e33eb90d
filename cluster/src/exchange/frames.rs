//! Batches as pieces of one Arrow IPC stream.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int8Array, RecordBatch, RecordBatchOptions};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Int8Type, Schema, SchemaRef};
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::{StreamEncoder, StreamWriter};
use bytes::Bytes;
use rainstorm_engine::batch::Batch;
use rainstorm_engine::graph::ChangelogMode;
use rainstorm_engine::{Error, Result, views};

use super::{MAX_MESSAGE_BYTES, pieces};

/// The name of the column that carries weights.
const WEIGHT: &str = "__weight";

/// The columns of a stream and whether weights follow them.
#[derive(Debug)]
struct Layout {
    rows: SchemaRef,
    wire: SchemaRef,
    weighted: bool,
}

impl Layout {
    fn new(rows: &SchemaRef, changelog: ChangelogMode) -> Self {
        // A batch whose columns have no bytes has no body either, and the decoder returns such a
        // batch only when the next one has arrived: it gets weights to have a body.
        let bodiless = rows.fields().iter().all(|field| *field.data_type() == DataType::Null);
        let weighted = changelog == ChangelogMode::Retract || bodiless;
        let weight = weighted.then(|| Arc::new(Field::new(WEIGHT, DataType::Int8, false)));
        let fields: Vec<_> = rows.fields().iter().cloned().chain(weight).collect();
        Self { rows: Arc::clone(rows), wire: Arc::new(Schema::new(fields)), weighted }
    }

    fn on_wire(&self, batch: &Batch) -> Result<RecordBatch> {
        if batch.weights().is_some() && !self.weighted {
            return Err(Error::Internal("weights on an append-only channel".into()));
        }
        let rows = views::compact(batch.rows());
        let mut columns = rows.columns().to_vec();
        if self.weighted {
            let weights = batch.weights().cloned();
            let ones = || Int8Array::from_value(1, batch.num_rows());
            columns.push(Arc::new(weights.unwrap_or_else(ones)));
        }
        RecordBatch::try_new(Arc::clone(&self.wire), columns)
            .map_err(|error| Error::compute("put rows on the wire", error))
    }

    fn off_wire(&self, batch: &RecordBatch) -> Result<Batch> {
        let failed = |error| Error::compute("take rows off the wire", error);
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        let weights = if self.weighted { columns.pop() } else { None };
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.rows), columns, &options)
            .map_err(failed)?;
        match weights {
            Some(weights) => weigh(rows, &weights),
            None => Ok(Batch::insert(rows)),
        }
    }
}

/// Leaves weights away where all rows are insertions, which is what most operators are fast at.
fn weigh(rows: RecordBatch, weights: &ArrayRef) -> Result<Batch> {
    let weights = weights
        .as_primitive_opt::<Int8Type>()
        .ok_or_else(|| Error::Invalid(format!("weights of type {}", weights.data_type())))?;
    if weights.values().iter().all(|weight| *weight == 1) {
        return Ok(Batch::insert(rows));
    }
    Batch::changes(rows, weights.clone())
}

/// Encodes the batches of one channel.
pub(crate) struct Encoder {
    layout: Layout,
    stream: StreamEncoder,
}

impl Encoder {
    /// Makes an encoder of batches with these columns.
    ///
    /// # Errors
    /// `Compute` where Arrow has no encoding for one of the types.
    pub(crate) fn new(rows: &SchemaRef, changelog: ChangelogMode) -> Result<Self> {
        let layout = Layout::new(rows, changelog);
        let stream = StreamEncoder::try_new(&layout.wire)
            .map_err(|error| Error::compute("encode a channel's schema", error))?;
        Ok(Self { layout, stream })
    }

    /// Returns the next pieces of the stream, which hold this batch: each one a part of its rows
    /// that is small enough for a message.
    ///
    /// # Errors
    /// `Compute` where the batch has other columns; `Invalid` where a row is too large.
    pub(crate) fn encode_pieces(&mut self, batch: &Batch) -> Result<Vec<Bytes>> {
        if batch.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let rows = self.layout.on_wire(batch)?;
        pieces(&rows).iter().map(|rows| self.encode_rows(rows)).collect()
    }

    /// Returns the next piece of the stream, which holds this batch whole.
    ///
    /// # Errors
    /// `Compute` where the batch has other columns; `Invalid` where it is too large.
    #[cfg(test)]
    pub(crate) fn encode(&mut self, batch: &Batch) -> Result<Bytes> {
        self.encode_rows(&self.layout.on_wire(batch)?)
    }

    fn encode_rows(&mut self, rows: &RecordBatch) -> Result<Bytes> {
        let buffers = self
            .stream
            .encode(rows)
            .map_err(|error| Error::compute("encode rows for the wire", error))?;
        check_size(buffers.iter().map(Buffer::len).sum())?;
        let mut piece = Vec::with_capacity(buffers.iter().map(Buffer::len).sum());
        for buffer in &buffers {
            piece.extend_from_slice(buffer);
        }
        Ok(piece.into())
    }
}

/// Decodes the batches of one channel.
#[derive(Debug)]
pub(crate) struct Decoder {
    layout: Layout,
    stream: StreamDecoder,
}

impl Decoder {
    /// Makes a decoder of batches with these columns.
    pub(crate) fn new(rows: &SchemaRef, changelog: ChangelogMode) -> Self {
        Self { layout: Layout::new(rows, changelog), stream: StreamDecoder::new() }
    }

    /// Takes the next piece of the stream and returns its batch.
    ///
    /// # Errors
    /// `Compute` or `Invalid` where the piece does not hold one batch of these columns.
    pub(crate) fn decode(&mut self, piece: Bytes) -> Result<Batch> {
        let mut piece = Buffer::from(piece);
        let batch = self
            .stream
            .decode(&mut piece)
            .map_err(|error| Error::compute("decode rows from the wire", error))?;
        match batch {
            Some(batch) if piece.is_empty() => self.layout.off_wire(&batch),
            _ => Err(Error::Invalid("a piece of a channel that does not hold one batch".into())),
        }
    }
}

/// Encodes a batch as Arrow IPC streams, each with a part of its rows that is small enough for a
/// message, and with a last column of weights where the changelog has them.
///
/// # Errors
/// `Compute` where the batch has other columns; `Invalid` where a row is too large.
pub(crate) fn encode_rows(
    schema: &SchemaRef,
    changelog: ChangelogMode,
    batch: &Batch,
) -> Result<Vec<Bytes>> {
    let layout = Layout::new(schema, changelog);
    encode_streams(&layout.on_wire(batch)?)
}

/// Encodes rows as Arrow IPC streams, each with a part of them that is small enough for a message.
///
/// # Errors
/// `Compute` where Arrow has no encoding for one of the types; `Invalid` where a row is too large.
pub(crate) fn encode_streams(rows: &RecordBatch) -> Result<Vec<Bytes>> {
    let encode = |rows: &RecordBatch| {
        let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema())?;
        writer.write(rows)?;
        writer.into_inner()
    };
    let encode = |rows: &RecordBatch| {
        let stream =
            encode(rows).map_err(|error| Error::compute("encode rows for the client", error))?;
        check_size(stream.len())?;
        Ok(Bytes::from(stream))
    };
    pieces(rows).iter().map(encode).collect()
}

/// Refuses a row that no message holds.
fn check_size(bytes: usize) -> Result<()> {
    // Around the rows there are a few numbers and names.
    const ENVELOPE_BYTES: usize = 64 << 10;
    let most = MAX_MESSAGE_BYTES - ENVELOPE_BYTES;
    if bytes > most {
        let text = format!("a row of {bytes} bytes: {most} bytes can go to another process");
        return Err(Error::Invalid(text));
    }
    Ok(())
}
