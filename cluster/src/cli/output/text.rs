//! Rows as CSV and as JSON lines.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use rainstorm_engine::RowKind;
use rainstorm_engine::format::{CsvStyle, write_csv};

use super::values::Cells;

/// Returns rows as CSV, with a header where asked for; NULL is empty, nested values are text.
pub(crate) fn csv(rows: &RecordBatch, header: bool) -> Result<Vec<u8>, ArrowError> {
    let mut text = Vec::new();
    write_csv(&flatten(rows)?, &CsvStyle::default(), header, &mut text)?;
    Ok(text)
}

/// Puts a first column `op` before the rows: the symbols of their kinds.
pub(crate) fn with_op(rows: &RecordBatch, kinds: &[RowKind]) -> Result<RecordBatch, ArrowError> {
    let ops = kinds.iter().map(|kind| Some(kind.symbol()));
    let ops: ArrayRef = Arc::new(ops.collect::<StringArray>());
    let schema = rows.schema();
    let mut fields = vec![Arc::new(Field::new("op", DataType::Utf8, false))];
    fields.extend(schema.fields().iter().cloned());
    let columns = std::iter::once(ops).chain(rows.columns().iter().cloned()).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// Turns nested columns, which CSV does not have, into text.
fn flatten(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    if !rows.schema().fields().iter().any(|field| field.data_type().is_nested()) {
        return Ok(rows.clone());
    }
    let cells = Cells::new(rows)?;
    let schema = rows.schema();
    let columns = schema.fields().iter().enumerate().map(|(index, field)| {
        let column = rows.column(index);
        if !field.data_type().is_nested() {
            return (field.name().clone(), Arc::clone(column));
        }
        let texts =
            (0..rows.num_rows()).map(|row| column.is_valid(row).then(|| cells.text(index, row)));
        let text: ArrayRef = Arc::new(texts.collect::<StringArray>());
        (field.name().clone(), text)
    });
    let (names, columns): (Vec<_>, Vec<_>) = columns.unzip();
    let fields = names
        .into_iter()
        .zip(&columns)
        .map(|(name, column)| Field::new(name, column.data_type().clone(), true));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, TimestampMicrosecondArray, TimestampMillisecondArray};

    use rainstorm_engine::format::json_text;

    use super::*;

    fn rows() -> RecordBatch {
        let times = TimestampMillisecondArray::from(vec![978_307_200_000, 978_307_200_250]);
        let numbers = Int64Array::from(vec![Some(1), None]);
        RecordBatch::try_from_iter([
            ("at", Arc::new(times) as ArrayRef),
            ("n", Arc::new(numbers) as ArrayRef),
        ])
        .expect("columns of one length")
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn csv_has_a_header_and_timestamps_with_milliseconds() {
        assert_eq!(
            text(csv(&rows(), true).expect("printable")),
            "at,n\n2001-01-01 00:00:00.000,1\n2001-01-01 00:00:00.250,\n"
        );
    }

    #[test]
    fn json_has_an_object_a_line_with_nulls() {
        assert_eq!(
            text(json_text(&rows()).expect("printable")),
            "{\"at\":\"2001-01-01 00:00:00.000\",\"n\":1}\n\
             {\"at\":\"2001-01-01 00:00:00.250\",\"n\":null}\n"
        );
    }

    #[test]
    fn timestamps_are_shown_in_full_and_zoned_ones_in_utc() {
        let micros = TimestampMicrosecondArray::from(vec![978_307_200_000_001]);
        let zoned = TimestampMillisecondArray::from(vec![978_307_200_000]).with_timezone("+00:00");
        let rows = |column: ArrayRef| RecordBatch::try_from_iter([("at", column)]);
        let shown = |column: ArrayRef| {
            let rows = rows(column).expect("one column");
            (
                text(csv(&rows, false).expect("printable")),
                text(json_text(&rows).expect("printable")),
            )
        };
        let (csv, json) = shown(Arc::new(micros));
        assert_eq!(csv, "2001-01-01 00:00:00.000001\n");
        assert_eq!(json, "{\"at\":\"2001-01-01 00:00:00.000001\"}\n");
        let (csv, json) = shown(Arc::new(zoned));
        assert_eq!(csv, "2001-01-01 00:00:00.000Z\n");
        assert_eq!(json, "{\"at\":\"2001-01-01 00:00:00.000Z\"}\n");
    }
}
