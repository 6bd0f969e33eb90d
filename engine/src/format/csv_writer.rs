//! Rows to CSV.
//!
//! Values are written straight into the file's bytes, the frequent types without Arrow's display
//! machinery. What has to be told from null or from structure is quoted: an empty text is `""`
//! where nothing stands for null.

use std::io::Write;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringViewArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::CsvStyle;
use super::time_text::Times;

/// Appends rows to `text`, after their names where `header` is set. Columns are of the types that
/// are written as one field.
///
/// # Errors
/// A timestamp that is in no year of the calendar.
pub fn write_csv(
    rows: &RecordBatch,
    style: &CsvStyle,
    header: bool,
    text: &mut Vec<u8>,
) -> Result<(), ArrowError> {
    let quoting = Quoting::new(style);
    if header {
        let schema = rows.schema_ref();
        for (index, field) in schema.fields().iter().enumerate() {
            begin_field(index, style, text);
            quoting.write(field.name().as_bytes(), text);
        }
        text.push(b'\n');
    }
    let columns = rows.columns().iter().map(|column| Column::new(column, &quoting));
    let mut columns = columns.collect::<Result<Vec<_>, _>>()?;
    text.reserve(16 * rows.num_rows() * columns.len());
    for row in 0..rows.num_rows() {
        for (index, column) in columns.iter_mut().enumerate() {
            begin_field(index, style, text);
            column.write(row, style, &quoting, text)?;
        }
        text.push(b'\n');
    }
    Ok(())
}

fn begin_field(index: usize, style: &CsvStyle, text: &mut Vec<u8>) {
    if index > 0 {
        text.push(style.delimiter);
    }
}

/// When a field is put into quotes.
struct Quoting<'a> {
    style: &'a CsvStyle,
    /// Whether numbers and times may contain what is special in the style.
    plain_values_too: bool,
}

impl<'a> Quoting<'a> {
    fn new(style: &'a CsvStyle) -> Self {
        let in_values = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.: ".contains(&byte);
        let special = [Some(style.delimiter), Some(style.quote), style.escape];
        Self { style, plain_values_too: special.into_iter().flatten().any(in_values) }
    }

    fn write(&self, value: &[u8], text: &mut Vec<u8>) {
        let CsvStyle { delimiter, quote, escape, null_literal, .. } = self.style;
        let escape = escape.unwrap_or(*quote);
        let is_special = memchr::memchr3(*delimiter, *quote, b'\n', value).is_some()
            || memchr::memchr2(b'\r', escape, value).is_some();
        if !is_special && value != null_literal.as_bytes() {
            text.extend_from_slice(value);
            return;
        }
        text.push(*quote);
        let mut rest = value;
        while let Some(at) = memchr::memchr2(*quote, escape, rest) {
            text.extend_from_slice(&rest[..at]);
            text.extend([escape, rest[at]]);
            rest = &rest[at + 1..];
        }
        text.extend_from_slice(rest);
        text.push(*quote);
    }
}

/// A column with its type found out.
struct Column<'a> {
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
    /// Where a value is written that may have to be quoted.
    scratch: Option<Vec<u8>>,
}

enum Values<'a> {
    Text(StringViewArray),
    Integer(ScalarBuffer<i64>),
    Double(&'a [f64]),
    Time(ScalarBuffer<i64>, Times),
    Other(ArrayFormatter<'a>),
}

impl<'a> Column<'a> {
    fn new(column: &'a ArrayRef, quoting: &Quoting<'_>) -> Result<Self, ArrowError> {
        let integers = |column: &ArrayRef| -> Result<ScalarBuffer<i64>, ArrowError> {
            let integers = cast(column, &DataType::Int64)?;
            Ok(integers.as_primitive::<Int64Type>().values().clone())
        };
        let values = match column.data_type() {
            DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8 => {
                Values::Text(cast(column, &DataType::Utf8View)?.as_string_view().clone())
            }
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                Values::Integer(integers(column)?)
            }
            DataType::Float64 => Values::Double(column.as_primitive::<Float64Type>().values()),
            DataType::Timestamp(unit, zone) => {
                Values::Time(integers(column)?, Times::new(*unit, zone.is_some()))
            }
            _ => Values::Other(ArrayFormatter::try_new(column, &FormatOptions::new())?),
        };
        let scratch = quoting.plain_values_too.then(Vec::new);
        Ok(Self { nulls: column.nulls(), values, scratch })
    }

    fn write(
        &mut self,
        row: usize,
        style: &CsvStyle,
        quoting: &Quoting<'_>,
        text: &mut Vec<u8>,
    ) -> Result<(), ArrowError> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            text.extend_from_slice(style.null_literal.as_bytes());
            return Ok(());
        }
        if let Values::Text(texts) = &self.values {
            quoting.write(texts.value(row).as_bytes(), text);
            return Ok(());
        }
        let Some(scratch) = &mut self.scratch else { return self.values.write(row, text) };
        scratch.clear();
        self.values.write(row, scratch)?;
        quoting.write(scratch, text);
        Ok(())
    }
}

impl Values<'_> {
    fn write(&self, row: usize, text: &mut Vec<u8>) -> Result<(), ArrowError> {
        match self {
            Self::Text(texts) => text.extend_from_slice(texts.value(row).as_bytes()),
            Self::Integer(values) => {
                text.extend_from_slice(itoa::Buffer::new().format(values[row]).as_bytes());
            }
            // The shortest digits that read back as the same number, 1e300 with an exponent.
            Self::Double(values) => write!(text, "{:?}", values[row])?,
            Self::Time(values, times) => times.write(values[row], text)?,
            Self::Other(values) => write!(text, "{}", values.value(row))?,
        }
        Ok(())
    }
}
