//! Rows to the bytes of a file.

use arrow::array::RecordBatch;
use arrow::csv;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::json::writer::LineDelimited;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::time_text::{NESTED_FORMAT, times_as_text};
use super::{Compression, Compressor, CsvStyle, Format};
use crate::{Error, Result};

/// Rows of a row group: what is encoded in memory before it is written.
const GROUP_ROWS: usize = 256 << 10;

/// Encodes the rows of one file.
pub(crate) struct Encoder(Kind);

enum Kind {
    Csv { style: CsvStyle, header_written: bool, compressor: Compressor },
    Json(Compressor),
    Parquet(Box<ArrowWriter<Vec<u8>>>),
}

impl Encoder {
    /// Begins a file for rows of `schema`.
    pub(crate) fn new(
        format: Format,
        style: &CsvStyle,
        compression: Compression,
        schema: &SchemaRef,
    ) -> Result<Self> {
        Ok(Self(match format {
            Format::Csv => {
                let compressor = Compressor::new(compression)?;
                Kind::Csv { style: style.clone(), header_written: false, compressor }
            }
            Format::Json => Kind::Json(Compressor::new(compression)?),
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(ParquetCompression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(GROUP_ROWS))
                    .build();
                let schema = SchemaRef::clone(schema);
                let writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties));
                Kind::Parquet(Box::new(writer.map_err(|error| failed(error.into()))?))
            }
        }))
    }

    /// Adds rows and returns the bytes of the file that are ready.
    pub(crate) fn encode(&mut self, rows: &RecordBatch) -> Result<Vec<u8>> {
        match &mut self.0 {
            Kind::Csv { style, header_written, compressor } => {
                let with_header = style.header && !std::mem::replace(header_written, true);
                let text = csv_text(rows, style, with_header).map_err(failed)?;
                compressor.push(&text)?;
                Ok(compressor.take())
            }
            Kind::Json(compressor) => {
                compressor.push(&json_text(rows).map_err(failed)?)?;
                Ok(compressor.take())
            }
            Kind::Parquet(writer) => {
                writer.write(rows).map_err(|error| failed(error.into()))?;
                Ok(std::mem::take(writer.inner_mut()))
            }
        }
    }

    /// Ends the file and returns its last bytes.
    pub(crate) fn finish(self) -> Result<Vec<u8>> {
        match self.0 {
            Kind::Csv { compressor, .. } | Kind::Json(compressor) => compressor.finish(),
            Kind::Parquet(writer) => writer.into_inner().map_err(|error| failed(error.into())),
        }
    }
}

fn csv_text(rows: &RecordBatch, style: &CsvStyle, header: bool) -> Result<Vec<u8>, ArrowError> {
    let mut text = Vec::with_capacity(64 * rows.num_rows());
    let mut writer = csv::WriterBuilder::new()
        .with_header(header)
        .with_delimiter(style.delimiter)
        .with_quote(style.quote)
        .with_null(style.null_literal.clone())
        .build(&mut text);
    writer.write(&times_as_text(rows)?)?;
    drop(writer);
    Ok(text)
}

fn json_text(rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut text = Vec::with_capacity(128 * rows.num_rows());
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .with_timestamp_format(NESTED_FORMAT.to_owned())
        .with_timestamp_tz_format(format!("{NESTED_FORMAT}Z"))
        .build::<_, LineDelimited>(&mut text);
    writer.write(&times_as_text(rows)?)?;
    writer.finish()?;
    drop(writer);
    Ok(text)
}

fn failed(error: ArrowError) -> Error {
    Error::compute("write rows into a file", error)
}
