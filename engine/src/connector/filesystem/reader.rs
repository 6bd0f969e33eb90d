//! Reads one file of a table.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::common::ScalarValue;
use object_store::ObjectMeta;
use serde_json::{Value, json};

use super::blocks::Blocks;
use super::options::{OnError, Options};
use super::partition;
use super::place::Place;
use crate::connector::{Read, SplitReader};
use crate::format::{
    CsvDecoder, Decoded, Format, JsonDecoder, Malformed, ParquetFile, RowDecoder, parse_header,
    parse_value,
};
use crate::{Error, Result};

/// How many skipped rows of a file are logged.
const LOGGED_ROWS: u64 = 5;

/// How far a file has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Position {
    /// Bytes of its content, for text.
    byte: u64,
    /// Lines, for text.
    lines: u64,
    /// Rows, for Parquet.
    row: u64,
}

impl Position {
    /// Reads the form that goes into checkpoints.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let invalid = || Error::Restore {
            what: format!("source position {text}"),
            reason: "it is no position in a file".to_owned(),
        };
        let value: Value = serde_json::from_str(text).map_err(|_| invalid())?;
        let number = |key: &str| value.get(key).and_then(Value::as_u64).ok_or_else(invalid);
        Ok(Self { byte: number("byte")?, lines: number("lines")?, row: number("row")? })
    }

    /// Writes that form.
    pub(super) fn print(self) -> String {
        json!({ "byte": self.byte, "lines": self.lines, "row": self.row }).to_string()
    }
}

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
    Folder(ScalarValue),
}

impl Assembly {
    fn assemble(&self, rows: RecordBatch) -> Result<RecordBatch> {
        if rows.schema_ref() == &self.schema {
            return Ok(rows);
        }
        let failed = |error| Error::compute("add the columns of partition folders", error);
        let column = |origin: &Origin| match origin {
            Origin::File(index) => Ok(Arc::clone(rows.column(*index))),
            Origin::Folder(value) => value.to_array_of_size(rows.num_rows()),
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
        let (assembly, in_file) = plan(&folders, wanted);
        let store = Arc::clone(&place.store);
        let rows = match wanted.options.format {
            Format::Parquet => {
                let file = ParquetFile::open(store, meta, &name, &in_file, position.row).await?;
                Rows::Parquet(Box::new(file))
            }
            Format::Csv | Format::Json => {
                let file = TextFile { store, meta, name: name.clone(), options: wanted.options };
                let declared = wanted.table_schema.fields().iter().map(|field| field.name());
                let is_in_file =
                    |name: &&String| !folders.iter().any(|(folder, _)| folder == *name);
                let declared = declared.filter(is_in_file).cloned().collect::<Vec<_>>();
                Rows::Text(Box::new(file.open(&in_file, declared, position).await?))
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
                Ok(rows)
            }
            Rows::Text(text) => {
                let Some(decoded) = text.read().await? else { return Ok(None) };
                self.position.byte = text.byte;
                self.position.lines = text.decoder.line() - 1;
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
fn plan(folders: &[(String, ScalarValue)], wanted: &Wanted<'_>) -> (Assembly, SchemaRef) {
    let mut in_file = Vec::new();
    let origin = |field: &FieldRef| {
        if let Some((_, value)) = folders.iter().find(|(name, _)| name == field.name()) {
            return Origin::Folder(value.clone());
        }
        in_file.push(Arc::clone(field));
        Origin::File(in_file.len() - 1)
    };
    let columns = wanted.schema.fields().iter().map(origin).collect();
    if wanted.options.on_error == OnError::Skip {
        let is_wanted = |field: &&FieldRef| {
            wanted.schema.index_of(field.name()).is_ok()
                || folders.iter().any(|(name, _)| name == field.name())
        };
        let declared = wanted.table_schema.fields().iter();
        in_file.extend(declared.filter(|field| !is_wanted(field)).cloned());
    }
    let assembly = Assembly { schema: Arc::clone(wanted.schema), columns };
    (assembly, Arc::new(Schema::new(in_file)))
}

struct TextFile<'a> {
    store: Arc<dyn object_store::ObjectStore>,
    meta: ObjectMeta,
    name: String,
    options: &'a Options,
}

impl TextFile<'_> {
    fn blocks(&self, byte: u64) -> Result<Blocks> {
        let compression = self.options.compression_of(self.meta.location.as_ref());
        Blocks::open(Arc::clone(&self.store), self.meta.clone(), &self.name, compression, byte)
    }

    async fn open(
        &self,
        schema: &SchemaRef,
        declared: Vec<String>,
        position: Position,
    ) -> Result<TextRows> {
        let (mut byte, mut line) = (position.byte, position.lines + 1);
        let style = &self.options.csv;
        let decoder: Box<dyn RowDecoder> = match self.options.format {
            Format::Csv => {
                let names = if style.header {
                    let header = self.header().await?;
                    if byte == 0 {
                        (byte, line) = (header.bytes, header.next_line);
                    }
                    header.names
                } else {
                    declared
                };
                // An empty file has no header and no rows, so no column can be missing.
                let schema = if names.is_empty() { &Arc::new(Schema::empty()) } else { schema };
                let decoder = CsvDecoder::new(style, &names, schema, line);
                Box::new(decoder.map_err(|error| match error {
                    Error::Invalid(reason) => Error::Invalid(format!("'{}': {reason}", self.name)),
                    other => other,
                })?)
            }
            _ => Box::new(JsonDecoder::new(schema, line)),
        };
        Ok(TextRows {
            blocks: self.blocks(byte)?,
            block: Bytes::new(),
            decoder,
            byte,
            ended: false,
        })
    }

    async fn header(&self) -> Result<crate::format::Header> {
        let mut blocks = self.blocks(0)?;
        let mut content = Vec::new();
        loop {
            let block = blocks.next().await?;
            content.extend_from_slice(block.as_deref().unwrap_or_default());
            if let Some(header) = parse_header(&content, block.is_none(), &self.options.csv) {
                return Ok(header);
            }
        }
    }
}

/// The rows of a text file.
struct TextRows {
    blocks: Blocks,
    block: Bytes,
    decoder: Box<dyn RowDecoder>,
    /// How much of the content the decoder has taken.
    byte: u64,
    ended: bool,
}

impl TextRows {
    async fn read(&mut self) -> Result<Option<Decoded>> {
        if self.ended {
            return Ok(None);
        }
        loop {
            if self.decoder.is_full() {
                return self.decoder.take().map(Some);
            }
            if self.block.is_empty() {
                let Some(block) = self.blocks.next().await? else {
                    self.decoder.finish();
                    self.ended = true;
                    return self.decoder.take().map(Some);
                };
                self.block = block;
            }
            let taken = self.decoder.push(&self.block);
            self.byte += taken as u64;
            self.block = self.block.split_off(taken);
        }
    }
}
