//! Parquet to columns: only the leaves that are wanted are fetched and decoded.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{SchemaRef, TimeUnit};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};

use super::parquet_columns::{
    adapt_fields, are_same_times, as_read, has_long_times, unit_of_long_times, wanted_leaves,
};
use crate::batch::{TARGET_BATCH_BYTES, TARGET_BATCH_ROWS};
use crate::wording::tidy;
use crate::{Error, Result};

/// Fetches the last so many bytes of a file at once: the footer of most.
const FOOTER_BYTES: usize = 64 << 10;

/// What is decoded at a time of a column, at most, by the usual sizes of pages and dictionaries.
const DECODED_BYTES: i64 = 2 << 20;

/// Reads a Parquet file from one of its rows on.
pub(crate) struct ParquetFile {
    name: String,
    rows: Rows,
    rows_left: u64,
    /// What is in memory of the file while it is being read.
    held_bytes: usize,
    schema: SchemaRef,
}

type Rows = BoxStream<'static, ParquetResult<RecordBatch>>;

impl ParquetFile {
    /// Opens a file for the columns in `schema`, after its first `skip` rows. `name` is for
    /// people.
    pub(crate) async fn open(
        store: Arc<dyn ObjectStore>,
        meta: ObjectMeta,
        name: &str,
        schema: &SchemaRef,
        skip: u64,
    ) -> Result<Self> {
        let failed = |error| opened(name, error);
        let mut ranges = Ranges { store, meta };
        let metadata = ArrowReaderMetadata::load_async(&mut ranges, ArrowReaderOptions::new());
        let metadata = metadata.await.map_err(failed)?;
        let leaves = wanted_leaves(metadata.schema().fields(), schema.fields())
            .map_err(|reason| Error::Invalid(format!("'{name}': {reason}")))?;
        let unit = unit_of_long_times(schema.fields());
        let is_long = has_long_times(metadata.parquet_schema(), &leaves);
        let rows = |unit| rows_after(skip, &ranges, &metadata, &leaves, unit).map_err(failed);
        Ok(Self {
            name: name.to_owned(),
            rows: match unit {
                TimeUnit::Nanosecond if is_long => checked(rows(unit)?, rows(TimeUnit::Second)?),
                _ => rows(unit)?,
            },
            held_bytes: held_bytes(metadata.metadata(), &leaves),
            rows_left: (metadata.metadata().file_metadata().num_rows() as u64).saturating_sub(skip),
            schema: Arc::clone(schema),
        })
    }

    /// Returns an estimate of the bytes that it holds.
    pub(crate) fn memory_bytes(&self) -> usize {
        if self.ended() { 0 } else { self.held_bytes }
    }

    /// Tells whether the rows that were returned are all.
    pub(crate) fn ended(&self) -> bool {
        self.rows_left == 0
    }

    /// Returns the next rows, or `None` at the end.
    pub(crate) async fn read(&mut self) -> Result<Option<RecordBatch>> {
        let Some(rows) = self.rows.next().await else { return Ok(None) };
        let rows = rows.map_err(|error| opened(&self.name, error))?;
        self.rows_left = self.rows_left.saturating_sub(rows.num_rows() as u64);
        let columns =
            adapt_fields(rows.columns(), rows.schema_ref().fields(), self.schema.fields());
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        columns
            .and_then(|columns| {
                RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            })
            .map(Some)
            .map_err(|error| Error::compute(format!("read rows of '{}'", self.name), error))
    }
}

fn opened(name: &str, error: ParquetError) -> Error {
    let source = match error {
        ParquetError::External(source) => source,
        other => Box::new(other),
    };
    match source.downcast::<object_store::Error>() {
        Ok(error) => Error::storage(format!("read '{name}'"), *error),
        Err(source) => {
            let source = tidy(&source.to_string()).into();
            Error::storage(
                format!("read '{name}' as parquet"),
                object_store::Error::Generic { store: "parquet", source },
            )
        }
    }
}

/// Begins to read leaves of a file after its first `skip` rows, times of twelve bytes in `unit`.
fn rows_after(
    skip: u64,
    ranges: &Ranges,
    metadata: &ArrowReaderMetadata,
    leaves: &[usize],
    unit: TimeUnit,
) -> ParquetResult<Rows> {
    let descriptor = metadata.parquet_schema();
    let schema = as_read(metadata.schema(), descriptor, unit);
    let mask = ProjectionMask::leaves(descriptor, leaves.iter().copied());
    let (groups, offset) = groups_after(metadata.metadata(), skip);
    let options = ArrowReaderOptions::new().with_schema(schema);
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)?;
    let batch_rows = batch_rows(metadata.metadata(), leaves);
    let rows = ParquetRecordBatchStreamBuilder::new_with_metadata(ranges.clone(), metadata)
        .with_row_groups(groups)
        .with_offset(offset)
        .with_projection(mask)
        .with_batch_size(batch_rows)
        .build()?;
    Ok(rows.boxed())
}

/// Returns how many rows make a batch: fewer where rows are wide.
fn batch_rows(metadata: &ParquetMetaData, leaves: &[usize]) -> usize {
    let groups = metadata.row_groups().iter();
    let group_rows = |group: &RowGroupMetaData| {
        let bytes = leaves.iter().map(|leaf| group.column(*leaf).uncompressed_size()).sum::<i64>();
        (TARGET_BATCH_BYTES as i64).saturating_mul(group.num_rows()) / bytes.max(1)
    };
    let rows = groups.filter(|group| group.num_rows() > 0).map(group_rows).min();
    rows.unwrap_or(i64::MAX).clamp(1, TARGET_BATCH_ROWS as i64) as usize
}

/// Returns what reading leaves takes: the wanted columns of a row group as they are in the file, and
/// of each a page and a dictionary that are decoded.
fn held_bytes(metadata: &ParquetMetaData, leaves: &[usize]) -> usize {
    let bytes = |group: &RowGroupMetaData| {
        let column = |leaf: &usize| {
            let column = group.column(*leaf);
            column.compressed_size() + column.uncompressed_size().min(DECODED_BYTES)
        };
        leaves.iter().map(column).sum::<i64>()
    };
    let largest = metadata.row_groups().iter().map(bytes).max();
    usize::try_from(largest.unwrap_or(0)).unwrap_or(0)
}

/// Refuses times that were read in nanoseconds and are not those that were read in seconds.
fn checked(rows: Rows, seconds: Rows) -> Rows {
    let check = |(rows, seconds): (ParquetResult<RecordBatch>, ParquetResult<RecordBatch>)| {
        let (rows, seconds) = (rows?, seconds?);
        if are_same_times(&rows, &seconds)? {
            return Ok(rows);
        }
        Err(ParquetError::General("a time does not fit into TIMESTAMP(9)".to_owned()))
    };
    rows.zip(seconds).map(check).boxed()
}

/// Returns the row groups that hold rows after the first `skip`, and how many of theirs to skip.
fn groups_after(metadata: &ParquetMetaData, skip: u64) -> (Vec<usize>, usize) {
    let mut offset = skip;
    for (index, group) in metadata.row_groups().iter().enumerate() {
        let rows = group.num_rows() as u64;
        if offset < rows {
            return ((index..metadata.num_row_groups()).collect(), offset as usize);
        }
        offset -= rows;
    }
    (Vec::new(), 0)
}

/// Reads ranges of a file's bytes.
#[derive(Clone)]
struct Ranges {
    store: Arc<dyn ObjectStore>,
    meta: ObjectMeta,
}

impl AsyncFileReader for Ranges {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.store.get_range(&self.meta.location, range).map(|bytes| Ok(bytes?)).boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move { Ok(self.store.get_ranges(&self.meta.location, &ranges).await?) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        let size = self.meta.size;
        let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER_BYTES));
        async move { Ok(Arc::new(reader.load_and_finish(self, size).await?)) }.boxed()
    }
}
