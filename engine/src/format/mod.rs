//! Rows as bytes: CSV, JSON lines, Parquet.

mod compression;
mod csv_header;
mod csv_reader;
mod csv_records;
mod csv_writer;
mod encoder;
mod field;
mod json_reader;
mod json_values;
mod parquet_columns;
mod parquet_reader;
#[cfg(test)]
pub(crate) mod testing;
mod time_text;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field};

pub use compression::Compression;
pub(crate) use compression::{Compressor, Decompressor};
pub(crate) use csv_header::{FirstRecord, first_record, hint, is_header};
pub(crate) use csv_reader::CsvDecoder;
pub(crate) use csv_records::RECORD_BYTES_MAX;
pub use csv_writer::write_csv;
pub(crate) use encoder::Encoder;
pub use encoder::json_text;
pub(crate) use field::{check_type, parse_value};
pub(crate) use json_reader::JsonDecoder;
pub(crate) use parquet_reader::ParquetFile;
pub(crate) use time_text::{Times, column_as_text};

use crate::wording::type_sql;
use crate::{Error, Result};

/// How the rows of a file are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values, RFC 4180.
    Csv,
    /// One JSON object a line.
    Json,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// Returns the name, as in `'format' = 'csv'`; also the extension of files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Parquet => "parquet",
        }
    }

    /// Refuses a column that files of this format cannot hold.
    pub(crate) fn check_column(self, field: &Field) -> Result<()> {
        match self {
            Self::Csv => check_type("csv", field),
            Self::Json if !keys_are_text(field.data_type()) => Err(Error::Invalid(format!(
                "column '{}' of type {} cannot be kept in json: its keys are not STRING",
                field.name(),
                type_sql(field.data_type())
            ))),
            Self::Json | Self::Parquet => Ok(()),
        }
    }
}

/// Tells whether the keys of all maps in a type are texts, as those of JSON's objects.
fn keys_are_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(entry) => {
                entry[0].data_type().is_string() && keys_are_text(entry[1].data_type())
            }
            _ => false,
        },
        DataType::Struct(fields) => fields.iter().all(|field| keys_are_text(field.data_type())),
        DataType::List(item) => keys_are_text(item.data_type()),
        _ => true,
    }
}

/// The dialect of a CSV file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvStyle {
    /// Whether the first line of what is written names the columns.
    pub header: bool,
    /// What is between fields.
    pub delimiter: u8,
    /// What is around fields that contain delimiters or line ends; doubled or escaped inside.
    pub quote: u8,
    /// What is before a character that is to be text: a quote inside of quotes, a delimiter
    /// outside. After it, as in Flink, `n`, `r`, `t` and `0` are the control characters that they
    /// are in C.
    pub escape: Option<u8>,
    /// The field that stands for null.
    pub null_literal: String,
}

impl Default for CsvStyle {
    fn default() -> Self {
        Self {
            header: true,
            delimiter: b',',
            quote: b'"',
            escape: None,
            null_literal: String::new(),
        }
    }
}

/// Returns the length of the byte order mark that a text begins with, or `None` where `content`
/// holds too little of it to tell. `ended` says that there is no more.
pub(crate) fn after_mark(content: &[u8], ended: bool) -> Option<usize> {
    const MARK: &[u8] = "\u{feff}".as_bytes();
    if content.starts_with(MARK) {
        return Some(MARK.len());
    }
    (ended || !MARK.starts_with(content)).then_some(0)
}

/// Gathers the rows of a text file and turns them into batches.
///
/// It takes no more of its input than fills a batch, so that what it has consumed when a batch is
/// taken is the position after the batch's last row.
pub(crate) trait RowDecoder: Send {
    /// Takes input and returns how many bytes of it: all, unless the batch is full.
    fn push(&mut self, input: &[u8]) -> usize;

    /// Learns that the input has ended.
    fn finish(&mut self);

    /// Tells whether the batch is full.
    fn is_full(&self) -> bool;

    /// Returns the 1-based line on which the next row begins.
    fn line(&self) -> u64;

    /// Decodes the gathered rows.
    fn take(&mut self) -> Result<Decoded>;

    /// Returns an estimate of the bytes that it holds.
    fn memory_bytes(&self) -> usize;
}

/// The rows of a batch, and what became of those that are no rows.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// The rows that fit.
    pub(crate) rows: RecordBatch,
    /// Those that do not, in their order.
    pub(crate) malformed: Vec<Malformed>,
}

/// A row that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// The 1-based line on which it begins.
    pub(crate) line: u64,
    /// Which field, what was found and what was expected.
    pub(crate) reason: String,
}
