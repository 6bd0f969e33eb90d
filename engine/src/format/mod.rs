//! Rows as bytes: CSV, JSON lines, Parquet.

mod compression;

pub use compression::Compression;

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
}

/// The dialect of a CSV file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvStyle {
    /// Whether the first line names the columns.
    pub header: bool,
    /// What is between fields.
    pub delimiter: u8,
    /// What is around fields that contain delimiters or line ends; doubled inside.
    pub quote: u8,
    /// The field that stands for null.
    pub null_literal: String,
}

impl Default for CsvStyle {
    fn default() -> Self {
        Self { header: true, delimiter: b',', quote: b'"', null_literal: String::new() }
    }
}
