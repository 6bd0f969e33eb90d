//! Rows as records: their values one below the other.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use unicode_width::UnicodeWidthStr;

use super::values::Cells;

/// Tells whether a text goes over lines, as plans and statements do.
pub(crate) fn has_long_texts(rows: &RecordBatch) -> Result<bool, ArrowError> {
    let cells = Cells::new(rows)?;
    let mut texts =
        (0..rows.num_columns()).filter(|column| is_text(rows.column(*column).data_type()));
    Ok(texts.any(|column| (0..rows.num_rows()).any(|row| cells.text(column, row).contains('\n'))))
}

/// Returns the lines of a single column's texts as rows.
pub(crate) fn as_lines(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let cells = Cells::new(rows)?;
    let texts: Vec<_> = (0..rows.num_rows()).map(|row| cells.text(0, row)).collect();
    let lines: ArrayRef =
        Arc::new(texts.iter().flat_map(|text| text.lines()).map(Some).collect::<StringArray>());
    RecordBatch::try_from_iter([(rows.schema().field(0).name(), lines)])
}

/// Draws each row as its values, one below the other, with all lines of long texts as they are.
/// `before` rows have been drawn already.
pub(crate) fn records(rows: &RecordBatch, before: usize) -> Result<String, ArrowError> {
    let cells = Cells::new(rows)?;
    let mut text = String::new();
    let schema = rows.schema();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let width = names.clone().map(UnicodeWidthStr::width).max().unwrap_or(0);
    for row in 0..rows.num_rows() {
        // Writing into a string does not fail.
        let _ = writeln!(text, "-[ record {} ]-", before + row + 1);
        for (column, name) in names.clone().enumerate() {
            let cell = cells.text(column, row);
            let cell = cell.trim_end();
            let name = format!("{name}{}", " ".repeat(width - name.width()));
            let _ = if cell.contains('\n') {
                writeln!(text, "{name} |\n{cell}")
            } else {
                writeln!(text, "{}", format!("{name} | {cell}").trim_end())
            };
        }
    }
    Ok(text)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_over_lines_are_shown_whole() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["Stage 0\n  Source", "one line"]));
        let names: ArrayRef = Arc::new(StringArray::from(vec!["graph", "note"]));
        let rows = RecordBatch::try_from_iter([("plan", names), ("detail", texts)]).expect("rows");
        assert!(has_long_texts(&rows).expect("printable"));
        assert!(!has_long_texts(&rows.slice(1, 1)).expect("printable"));
        assert_eq!(
            records(&rows, 0).expect("printable"),
            "-[ record 1 ]-\nplan   | graph\ndetail |\nStage 0\n  Source\n\
             -[ record 2 ]-\nplan   | note\ndetail | one line\n"
        );
        assert!(records(&rows, 2).expect("printable").starts_with("-[ record 3 ]-\n"));
    }
}
