//! What the tests of formats share: schemas and rows as text.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{CsvStyle, RowDecoder};

/// Makes a schema of text such as `a INT, b STRING NOT NULL`.
pub(crate) fn schema(columns: &str) -> SchemaRef {
    let columns = columns.split(", ").filter(|column| !column.is_empty());
    Arc::new(Schema::new(columns.map(field).collect::<Vec<_>>()))
}

fn field(column: &str) -> Field {
    let (column, nullable) = match column.strip_suffix(" NOT NULL") {
        Some(column) => (column, false),
        None => (column, true),
    };
    let (name, type_name) = column.split_once(' ').unwrap();
    let data_type = match type_name {
        "BOOLEAN" => DataType::Boolean,
        "INT" => DataType::Int32,
        "BIGINT" => DataType::Int64,
        "DOUBLE" => DataType::Float64,
        "STRING" => DataType::Utf8View,
        "BYTES" => DataType::Binary,
        "DATE" => DataType::Date32,
        "DECIMAL" => DataType::Decimal128(10, 2),
        "TIMESTAMP" => DataType::Timestamp(TimeUnit::Millisecond, None),
        "TIMESTAMP6" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "TIMESTAMP9" => DataType::Timestamp(TimeUnit::Nanosecond, None),
        "ROW" => DataType::Struct(schema("x BIGINT, y STRING").fields().clone()),
        "MAP" => {
            let entries = schema("key STRING NOT NULL, value INT").fields().clone();
            DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
        }
        "ROWY" => DataType::Struct(schema("y STRING").fields().clone()),
        other => panic!("type {other}"),
    };
    Field::new(name, data_type, nullable)
}

/// The default style.
pub(crate) const STYLE: &CsvStyle = &CsvStyle {
    header: true,
    delimiter: b',',
    quote: b'"',
    escape: None,
    null_literal: String::new(),
};

/// Writes each row as its values between bars.
pub(crate) fn rows_as_text(rows: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let columns = rows.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
    let columns = columns.collect::<Result<Vec<_>, _>>().unwrap();
    let row = |row| {
        let values = columns.iter().map(|column| column.value(row).to_string());
        values.collect::<Vec<_>>().join("|")
    };
    (0..rows.num_rows()).map(row).collect()
}

/// Decodes a file that arrives in blocks: its rows, and its malformed ones with their lines.
pub(crate) fn decode_all(
    mut decoder: impl RowDecoder,
    content: &[u8],
    block: usize,
) -> (Vec<String>, Vec<String>) {
    for mut block in content.chunks(block) {
        while !block.is_empty() {
            let taken = decoder.push(block);
            assert!(taken > 0, "the decoder takes nothing");
            block = &block[taken..];
        }
    }
    decoder.finish();
    let decoded = decoder.take().unwrap();
    let malformed = decoded.malformed.iter();
    let malformed = malformed.map(|row| format!("{}: {}", row.line, row.reason)).collect();
    (rows_as_text(&decoded.rows), malformed)
}
