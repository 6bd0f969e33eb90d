//! Reads one file of a table.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Fields, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use object_store::ObjectMeta;

use super::options::{OnError, Options};
use super::partition;
use super::place::Place;
use super::position::Position;
use super::text_reader::{CsvLayout, TextFile, TextRows};
use crate::connector::{Read, SplitReader};
use crate::format::{Format, Malformed, ParquetFile, parse_value};
use crate::{Error, Result};

/// How many skipped rows of a file are logged.
const LOGGED_ROWS: u64 = 5;

/// What to read from a file.
pub(super) struct Wanted<'a> {
    pub(super) options: &'a Options,
    pub(super) table_schema: &'a SchemaRef,
    pub(super) schema: &'a SchemaRef,
    pub(super) limit: Option<u64>,
}

/// Where each column of a batch comes from.
struct Assembly {
    schema: SchemaRef,
    columns: Vec<Origin>,
}

enum Origin {
    File(usize),
    /// The same for all rows: of a folder, or null.
    Known(ScalarValue),
}

impl Assembly {
    fn assemble(&self, rows: RecordBatch) -> Result<RecordBatch> {
        if rows.schema_ref() == &self.schema {
            return Ok(rows);
        }
        let failed = |error| Error::compute("add the columns that a file lacks", error);
        let column = |origin: &Origin| match origin {
            Origin::File(index) => Ok(Arc::clone(rows.column(*index))),
            Origin::Known(value) => value.to_array_of_size(rows.num_rows()),
        };
        let columns = self.columns.iter().map(column).collect::<Result<_, _>>().map_err(failed)?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| failed(error.into()))
    }
}

/// Reads one file.
pub(super) struct FileReader {
    name: String,
    rows: Rows,
    assembly: Assembly,
    position: Position,
    on_error: OnError,
    skipped_rows: u64,
    remaining: u64,
}

enum Rows {
    Text(Box<TextRows>),
    Parquet(Box<ParquetFile>),
}

impl FileReader {
    /// Opens a file of the table at `place`.
    pub(super) async fn open(
        place: &Place,
        meta: ObjectMeta,
        position: Position,
        wanted: &Wanted<'_>,
    ) -> Result<Self> {
        let name = place.display(&meta.location);
        let relative = if place.is_pattern() {
            meta.location.as_ref()
        } else {
            place.relative(&meta.location)
        };
        let folders = folder_values(relative, wanted.table_schema, &name)?;
        let store = Arc::clone(&place.store);
        let (assembly, rows) = match wanted.options.format {
            Format::Parquet => {
                let (assembly, in_file) = plan(&folders, wanted);
                let file = ParquetFile::open(store, meta, &name, &in_file, position.row).await?;
                (assembly, Rows::Parquet(Box::new(file)))
            }
            Format::Json => {
                let (assembly, in_file) = plan(&folders, wanted);
                let file = TextFile { store, meta, name: name.clone(), options: wanted.options };
                (assembly, Rows::Text(Box::new(file.open_json(&in_file, &position).await?)))
            }
            Format::Csv => {
                let file = TextFile { store, meta, name: name.clone(), options: wanted.options };
                open_csv(&file, folders, &position, wanted).await?
            }
        };
        Ok(Self {
            name,
            rows,
            assembly,
            position,
            on_error: wanted.options.on_error,
            skipped_rows: 0,
            remaining: wanted.limit.unwrap_or(u64::MAX),
        })
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        match &mut self.rows {
            Rows::Parquet(file) => {
                let rows = file.read().await?;
                self.position.row += rows.as_ref().map_or(0, |rows| rows.num_rows() as u64);
                self.position.ended = file.ended();
                Ok(rows)
            }
            Rows::Text(text) => {
                let Some(decoded) = text.read().await? else { return Ok(None) };
                text.locate(&mut self.position);
                self.sort_out(&decoded.malformed)?;
                Ok(Some(decoded.rows))
            }
        }
    }

    /// Fails or counts rows that do not fit.
    fn sort_out(&mut self, malformed: &[Malformed]) -> Result<()> {
        for Malformed { line, reason } in malformed {
            if self.on_error == OnError::Fail {
                return Err(Error::MalformedRow {
                    location: format!("{}:{line}", self.name),
                    reason: reason.clone(),
                });
            }
            self.skipped_rows += 1;
            if self.skipped_rows <= LOGGED_ROWS {
                tracing::warn!(file = self.name, line, reason, "skipped a malformed row");
            }
        }
        Ok(())
    }
}

#[async_trait]
impl SplitReader for FileReader {
    async fn read(&mut self) -> Result<Read> {
        while self.remaining > 0 {
            let Some(rows) = self.next().await? else { return Ok(Read::End) };
            let wanted = self.remaining.min(rows.num_rows() as u64);
            self.remaining -= wanted;
            if wanted > 0 {
                let rows = self.assembly.assemble(rows.slice(0, wanted as usize))?;
                return Ok(Read::Rows(rows));
            }
        }
        Ok(Read::End)
    }

    fn position(&self) -> String {
        self.position.print()
    }

    fn skipped_rows(&self) -> u64 {
        self.skipped_rows
    }

    fn memory_bytes(&self) -> usize {
        match &self.rows {
            Rows::Parquet(file) => file.memory_bytes(),
            Rows::Text(text) => text.memory_bytes(),
        }
    }
}

/// Opens a CSV file. Columns that its header lacks are null, like those of a folder without value.
async fn open_csv(
    file: &TextFile<'_>,
    mut known: Vec<(String, ScalarValue)>,
    position: &Position,
    wanted: &Wanted<'_>,
) -> Result<(Assembly, Rows)> {
    let declared = wanted.table_schema.fields();
    let columns = declared.iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let in_file = columns.iter().filter(|name| known.iter().all(|(known, _)| known != *name));
    let layout = file.csv_layout(&columns, in_file.cloned().collect()).await?;
    if layout.lets_columns_lack {
        let lacking = lacking(&layout, declared, &known, &file.name)?;
        known.extend(lacking);
    }
    let (assembly, in_file) = plan(&known, wanted);
    let rows = file.open_csv(layout, &in_file, position)?;
    Ok((assembly, Rows::Text(Box::new(rows))))
}

/// Returns the nulls of the columns that neither a header nor folders have.
fn lacking(
    layout: &CsvLayout,
    declared: &Fields,
    known: &[(String, ScalarValue)],
    file: &str,
) -> Result<Vec<(String, ScalarValue)>> {
    let is_lacking = |field: &&FieldRef| {
        !layout.names.contains(field.name()) && known.iter().all(|(name, _)| name != field.name())
    };
    let null = |field: &FieldRef| {
        let name = field.name();
        if !field.is_nullable() {
            let names = layout.names.join(", ");
            return Err(Error::Invalid(format!(
                "'{file}': there is no column '{name}' among {names}, and it is NOT NULL"
            )));
        }
        let null = ScalarValue::try_from(field.data_type());
        let null = null.map_err(|error| Error::compute("make a column of nulls", error))?;
        Ok((name.clone(), null))
    };
    declared.iter().filter(is_lacking).map(null).collect()
}

/// A file that has been read to its end: it need not be there any more.
pub(super) struct EndedReader(pub(super) Position);

#[async_trait]
impl SplitReader for EndedReader {
    async fn read(&mut self) -> Result<Read> {
        Ok(Read::End)
    }

    fn position(&self) -> String {
        self.0.print()
    }

    fn skipped_rows(&self) -> u64 {
        0
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

/// Returns the values of declared columns that the folders of a file name.
fn folder_values(
    path: &str,
    table_schema: &Schema,
    name: &str,
) -> Result<Vec<(String, ScalarValue)>> {
    let mut values = Vec::new();
    for (column, text) in partition::values(path) {
        let Ok(field) = table_schema.field_with_name(&column) else { continue };
        let value = parse_value(field.data_type(), text.as_deref())
            .and_then(|array| ScalarValue::try_from_array(&array, 0).ok());
        let value = value.ok_or_else(|| {
            let text = text.unwrap_or_default();
            let expected = field.data_type();
            Error::Invalid(format!("'{name}': folder value {column}={text} is no {expected}"))
        })?;
        values.push((column, value));
    }
    Ok(values)
}

/// Tells which columns are read from the file, and where each wanted one comes from.
///
/// Where rows that do not fit are left out, all columns are read: which rows there are must not
/// depend on the columns that a query looks at.
fn plan(known: &[(String, ScalarValue)], wanted: &Wanted<'_>) -> (Assembly, SchemaRef) {
    let mut in_file = Vec::new();
    let origin = |field: &FieldRef| {
        if let Some((_, value)) = known.iter().find(|(name, _)| name == field.name()) {
            return Origin::Known(value.clone());
        }
        in_file.push(Arc::clone(field));
        Origin::File(in_file.len() - 1)
    };
    let columns = wanted.schema.fields().iter().map(origin).collect();
    if wanted.options.on_error == OnError::Skip {
        let is_wanted = |field: &&FieldRef| {
            wanted.schema.index_of(field.name()).is_ok()
                || known.iter().any(|(name, _)| name == field.name())
        };
        let declared = wanted.table_schema.fields().iter();
        in_file.extend(declared.filter(|field| !is_wanted(field)).cloned());
    }
    let assembly = Assembly { schema: Arc::clone(wanted.schema), columns };
    (assembly, Arc::new(Schema::new(in_file)))
}
