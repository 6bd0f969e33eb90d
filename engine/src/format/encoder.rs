//! Rows to the bytes of a file.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::json::writer::LineDelimited;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::csv_writer::write_csv;
use super::json_values::JsonValues;
use super::time_text::{NESTED_FORMAT, times_as_text};
use super::{Compression, Compressor, CsvStyle, Format};
use crate::{Error, Result};

/// Rows of a row group: what is encoded in memory before it is written.
const GROUP_ROWS: usize = 256 << 10;
/// Bytes of a row group, where its rows are wide.
const GROUP_BYTES: usize = 32 << 20;

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
                    .set_max_row_group_bytes(Some(GROUP_BYTES))
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
                let mut text = Vec::new();
                write_csv(rows, style, with_header, &mut text).map_err(failed)?;
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

    /// Returns an estimate of what it holds of rows whose bytes are not ready, in bytes.
    pub(crate) fn held_bytes(&self) -> u64 {
        match &self.0 {
            Kind::Csv { .. } | Kind::Json(_) => 0,
            Kind::Parquet(writer) => writer.memory_size() as u64,
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

/// Writes rows as JSON, one object a line, with nulls.
///
/// # Errors
/// A column of a type that JSON does not have.
pub fn json_text(rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut text = Vec::with_capacity(128 * rows.num_rows());
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .with_encoder_factory(Arc::new(JsonValues))
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

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringViewArray};
    use proptest::prelude::*;

    use super::*;
    use crate::format::testing::{decode_all, rows_as_text, schema};
    use crate::format::{CsvDecoder, JsonDecoder, first_record};

    fn batch(rows: &[(Option<String>, i64)]) -> RecordBatch {
        let texts: ArrayRef =
            Arc::new(rows.iter().map(|row| row.0.as_deref()).collect::<StringViewArray>());
        let numbers: ArrayRef =
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
        RecordBatch::try_new(schema("s STRING, n BIGINT"), vec![texts, numbers]).unwrap()
    }

    fn file(format: Format, style: &CsvStyle, rows: &RecordBatch) -> Vec<u8> {
        let mut encoder =
            Encoder::new(format, style, Compression::None, rows.schema_ref()).unwrap();
        let half = rows.num_rows() / 2;
        let mut file = encoder.encode(&rows.slice(0, half)).unwrap();
        file.extend(encoder.encode(&rows.slice(half, rows.num_rows() - half)).unwrap());
        file.extend(encoder.finish().unwrap());
        file
    }

    fn rows() -> impl Strategy<Value = Vec<(Option<String>, i64)>> {
        // What CSV has to quote, what it has to double, and text of more than one byte.
        let text = proptest::option::of("[a-c,;'\"\\\\\r\n é\u{1f327}{}]{0,8}");
        proptest::collection::vec((text, any::<i64>()), 1..30)
    }

    proptest! {
        #[test]
        fn csv_survives_in_blocks_of_any_size(
            rows in rows(),
            block in 1_usize..40,
            escape in proptest::option::of(prop_oneof![Just(b'\\'), Just(b'-'), Just(b'\'')]),
        ) {
            let (rows, style) = (batch(&rows), CsvStyle { escape, ..CsvStyle::default() });
            let content = file(Format::Csv, &style, &rows);
            let header = first_record(&content, false, &style).unwrap();
            let schema = rows.schema();
            let decoder = CsvDecoder::new(&style, &header.fields, &schema, header.next_line).unwrap();
            let (found, malformed) = decode_all(decoder, &content[header.end as usize..], block);
            prop_assert_eq!(found, rows_as_text(&rows));
            prop_assert!(malformed.is_empty());
        }

        #[test]
        fn json_survives_in_blocks_of_any_size(rows in rows(), block in 1_usize..40) {
            let rows = batch(&rows);
            let content = file(Format::Json, &CsvStyle::default(), &rows);
            let decoder = JsonDecoder::new(&rows.schema(), 1);
            let (found, malformed) = decode_all(decoder, &content, block);
            prop_assert_eq!(found, rows_as_text(&rows));
            prop_assert!(malformed.is_empty());
        }
    }
}
