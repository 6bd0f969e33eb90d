//! Parquet to columns: only the leaves that are wanted are fetched and decoded.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StructArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use crate::batch::TARGET_BATCH_ROWS;
use crate::wording::tidy;
use crate::{Error, Result};

/// Fetches the last so many bytes of a file at once: the footer of most.
const FOOTER_BYTES: usize = 64 << 10;

/// Reads a Parquet file from one of its rows on.
pub(crate) struct ParquetFile {
    name: String,
    rows: BoxStream<'static, ParquetResult<RecordBatch>>,
    schema: SchemaRef,
}

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
        // Strings are decoded as views at once, rather than copied into them later.
        let views = ArrowReaderOptions::new().with_schema(with_views(metadata.schema()));
        let metadata =
            ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), views).map_err(failed)?;
        let leaves = wanted_leaves(metadata.schema().fields(), schema.fields())
            .map_err(|reason| Error::Invalid(format!("'{name}': {reason}")))?;
        let (groups, offset) = groups_after(metadata.metadata(), skip);
        let mask = ProjectionMask::leaves(metadata.parquet_schema(), leaves);
        let rows = ParquetRecordBatchStreamBuilder::new_with_metadata(ranges, metadata)
            .with_row_groups(groups)
            .with_offset(offset)
            .with_projection(mask)
            .with_batch_size(TARGET_BATCH_ROWS)
            .build()
            .map_err(failed)?;
        Ok(Self { name: name.to_owned(), rows: rows.boxed(), schema: Arc::clone(schema) })
    }

    /// Returns the next rows, or `None` at the end.
    pub(crate) async fn read(&mut self) -> Result<Option<RecordBatch>> {
        let Some(rows) = self.rows.next().await else { return Ok(None) };
        let rows = rows.map_err(|error| opened(&self.name, error))?;
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

fn with_views(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(fields_with_views(schema.fields())))
}

fn fields_with_views(fields: &Fields) -> Fields {
    fields.iter().map(|field| Arc::new(field_with_views(field))).collect()
}

fn field_with_views(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Struct(fields) => DataType::Struct(fields_with_views(fields)),
        DataType::List(item) => DataType::List(Arc::new(field_with_views(item))),
        other => other.clone(),
    };
    Field::new(field.name(), data_type, field.is_nullable()).with_metadata(field.metadata().clone())
}

/// Returns the numbers of the leaves that hold the wanted fields.
fn wanted_leaves(found: &Fields, wanted: &Fields) -> Result<Vec<usize>, String> {
    let mut leaves = Vec::new();
    select_leaves(found, wanted, 0, &mut leaves)?;
    Ok(leaves)
}

fn select_leaves(
    found: &Fields,
    wanted: &Fields,
    mut next: usize,
    leaves: &mut Vec<usize>,
) -> Result<(), String> {
    if let Some(missing) = wanted.iter().find(|field| found.find(field.name()).is_none()) {
        let names = found.iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
        return Err(format!("there is no column '{}' among {names}", missing.name()));
    }
    for field in found {
        let count = count_leaves(field);
        if let Some((_, wanted)) = wanted.find(field.name()) {
            match (field.data_type(), wanted.data_type()) {
                (DataType::Struct(found), DataType::Struct(wanted)) => {
                    select_leaves(found, wanted, next, leaves)?;
                }
                _ => leaves.extend(next..next + count),
            }
        }
        next += count;
    }
    Ok(())
}

fn count_leaves(field: &FieldRef) -> usize {
    match field.data_type() {
        DataType::Struct(fields) => fields.iter().map(count_leaves).sum(),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            count_leaves(item)
        }
        DataType::Map(entries, _) => count_leaves(entries),
        _ => 1,
    }
}

fn adapt_fields(
    columns: &[ArrayRef],
    found: &Fields,
    wanted: &Fields,
) -> Result<Vec<ArrayRef>, ArrowError> {
    let column = |field: &FieldRef| {
        let (index, _) = found.find(field.name()).ok_or_else(|| {
            ArrowError::SchemaError(format!("there is no column '{}'", field.name()))
        })?;
        adapt(&columns[index], field.data_type())
    };
    wanted.iter().map(column).collect()
}

/// Makes an array have the wanted type.
fn adapt(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    const EXACT: CastOptions<'_> =
        CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };
    match (array.data_type(), wanted) {
        (found, wanted) if found == wanted => Ok(Arc::clone(array)),
        (DataType::Struct(found), DataType::Struct(wanted)) => {
            let rows = array.as_struct();
            let columns = adapt_fields(rows.columns(), found, wanted)?;
            let nulls = rows.nulls().cloned();
            let rows =
                StructArray::try_new_with_length(wanted.clone(), columns, nulls, rows.len())?;
            Ok(Arc::new(rows))
        }
        _ => cast_with_options(array, wanted, &EXACT),
    }
}
