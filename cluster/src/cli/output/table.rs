//! Rows as a table that fits the terminal.

use std::fmt::Write as _;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::values::Cells;

/// No column is made narrower than this to fit others in.
const NARROWEST: usize = 6;
/// What separates two columns takes this many places.
const SEPARATOR: usize = 3;

/// Draws rows in columns as psql does: numbers to the right, everything else to the left.
pub(crate) struct Table {
    names: Vec<String>,
    right: Vec<bool>,
    widths: Vec<usize>,
    /// Columns that do not fit are left out, from the end.
    shown: usize,
}

impl Table {
    /// Lays out columns for `rows`, in at most `width` places where that is limited.
    pub(crate) fn new(
        schema: &SchemaRef,
        rows: &RecordBatch,
        width: Option<usize>,
    ) -> Result<Self, ArrowError> {
        let names = schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        let right = schema.fields().iter().map(|field| is_number(field.data_type())).collect();
        let cells = Cells::new(rows)?;
        let widths = names
            .iter()
            .enumerate()
            .map(|(column, name)| {
                let texts = (0..rows.num_rows()).map(|row| cells.text(column, row).width());
                texts.chain([name.width()]).max().unwrap_or(0)
            })
            .collect();
        let mut table = Self { shown: names.len(), names, right, widths };
        if let Some(width) = width {
            table.fit(width);
        }
        Ok(table)
    }

    /// Makes columns at least as wide as values of their type usually are, for rows that are not
    /// known yet.
    pub(crate) fn widen_for_types(&mut self, schema: &SchemaRef, width: Option<usize>) {
        for (column, field) in schema.fields().iter().enumerate() {
            let usual = match field.data_type() {
                DataType::Timestamp(..) => 23,
                DataType::Int64 | DataType::Float64 | DataType::Date32 => 10,
                DataType::Utf8 | DataType::Utf8View => 16,
                _ => 8,
            };
            self.widths[column] = self.widths[column].max(usual);
        }
        self.shown = self.names.len();
        if let Some(width) = width {
            self.fit(width);
        }
    }

    /// Returns the names and the line under them.
    pub(crate) fn header(&self) -> String {
        let names = self.names.iter().map(String::as_str);
        let mut text = self.line(names, |_| false);
        let rules = self.widths[..self.shown].iter().map(|width| "-".repeat(width + 2));
        text.push_str(&rules.collect::<Vec<_>>().join("+"));
        text.push_str(if self.shown < self.names.len() { "+--" } else { "" });
        text.push('\n');
        text
    }

    /// Returns a line for each row.
    pub(crate) fn body(&self, rows: &RecordBatch) -> Result<String, ArrowError> {
        let cells = Cells::new(rows)?;
        let mut text = String::new();
        for row in 0..rows.num_rows() {
            let texts = (0..self.shown).map(|column| cells.text(column, row));
            let texts = texts.collect::<Vec<_>>();
            text.push_str(
                &self.line(texts.iter().map(String::as_str), |column| self.right[column]),
            );
        }
        Ok(text)
    }

    fn line<'a>(
        &self,
        texts: impl Iterator<Item = &'a str>,
        right: impl Fn(usize) -> bool,
    ) -> String {
        let mut line = String::new();
        for (column, text) in texts.take(self.shown).enumerate() {
            line.push_str(if column == 0 { " " } else { " | " });
            line.push_str(&padded(text, self.widths[column], right(column)));
        }
        if self.shown < self.names.len() {
            line.push_str(" | …");
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }

    /// Narrows the widest columns until all fit; where that does not do, leaves out the last ones.
    fn fit(&mut self, width: usize) {
        while self.taken() > width {
            let widest = self.widths[..self.shown].iter().max().copied().unwrap_or(0);
            if widest <= NARROWEST {
                if self.shown <= 1 {
                    return;
                }
                self.shown -= 1;
                continue;
            }
            let next = self.widths[..self.shown].iter().filter(|width| **width < widest).max();
            let next = next.copied().unwrap_or(0).max(NARROWEST);
            let wide = self.widths[..self.shown].iter().filter(|width| **width == widest).count();
            let too_many = self.taken() - width;
            let narrowed = widest.saturating_sub(too_many.div_ceil(wide)).max(next);
            for width in &mut self.widths[..self.shown] {
                *width = (*width).min(narrowed);
            }
        }
    }

    fn taken(&self) -> usize {
        let left_out = if self.shown < self.names.len() { SEPARATOR + 1 } else { 0 };
        let columns: usize = self.widths[..self.shown].iter().sum();
        columns + self.shown.saturating_sub(1) * SEPARATOR + 2 + left_out
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

/// Returns `text` in exactly `width` places; what does not fit ends in an ellipsis.
fn padded(text: &str, width: usize, right: bool) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut taken = 0;
    let fits = text.width() <= width;
    for character in text.chars() {
        let character = if character.is_control() { ' ' } else { character };
        let wide = character.width().unwrap_or(0);
        if taken + wide > if fits { width } else { width.saturating_sub(1) } {
            break;
        }
        shown.push(character);
        taken += wide;
    }
    if !fits {
        shown.push('…');
        taken += 1;
    }
    let padding = " ".repeat(width.saturating_sub(taken));
    if right { padding + &shown } else { shown + &padding }
}

/// Tells whether a text goes over lines, as plans and statements do.
pub(crate) fn has_long_texts(rows: &RecordBatch) -> Result<bool, ArrowError> {
    let cells = Cells::new(rows)?;
    let texts = (0..rows.num_columns()).filter(|column| is_text(rows.column(*column).data_type()));
    Ok(texts
        .into_iter()
        .any(|column| (0..rows.num_rows()).any(|row| cells.text(column, row).contains('\n'))))
}

/// Draws each row as its values, one below the other, with all lines of long texts as they are.
pub(crate) fn expanded(rows: &RecordBatch) -> Result<String, ArrowError> {
    let cells = Cells::new(rows)?;
    let mut text = String::new();
    for row in 0..rows.num_rows() {
        if row > 0 {
            text.push('\n');
        }
        for (column, field) in rows.schema().fields().iter().enumerate() {
            let cell = cells.text(column, row);
            let cell = cell.trim_end();
            // Writing into a string does not fail.
            let _ = if cell.contains('\n') {
                writeln!(text, "{}:\n{cell}", field.name())
            } else {
                writeln!(text, "{}: {cell}", field.name())
            };
        }
    }
    Ok(text)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8)
}

/// Says how many rows there were, as psql does.
pub(crate) fn footer(rows: usize) -> String {
    let mut text = String::new();
    let plural = if rows == 1 { "" } else { "s" };
    // Writing into a string does not fail.
    let _ = writeln!(text, "({rows} row{plural})");
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn check(names: &[&str], texts: &[&str], number: i64, width: Option<usize>) -> String {
        let mut columns: Vec<(String, ArrayRef)> = names
            .iter()
            .zip(texts)
            .map(|(name, text)| ((*name).to_owned(), Arc::new(StringArray::from(vec![*text])) as _))
            .collect();
        columns.push(("n".to_owned(), Arc::new(Int64Array::from(vec![number]))));
        let rows = RecordBatch::try_from_iter(columns).expect("columns of one length");
        let table = Table::new(&rows.schema(), &rows, width).expect("printable");
        table.header() + &table.body(&rows).expect("printable")
    }

    #[test]
    fn numbers_are_aligned_to_the_right() {
        let text = check(&["airport"], &["ATL"], 5, None);
        assert_eq!(text, " airport | n\n---------+---\n ATL     | 5\n");
    }

    #[test]
    fn the_widest_column_gives_way_first() {
        let text =
            check(&["a", "b"], &["short", "a text that is longer than the others"], 1, Some(30));
        let widths = text.lines().map(UnicodeWidthStr::width).collect::<Vec<_>>();
        assert!(widths.iter().all(|width| *width <= 30), "{text}");
        assert!(text.contains("short") && text.contains('…'), "{text}");
    }

    #[test]
    fn columns_that_cannot_fit_are_left_out_from_the_end() {
        let long = "0123456789";
        let text = check(&["a", "b", "c", "d"], &[long, long, long, long], 1, Some(24));
        assert!(text.lines().all(|line| line.width() <= 24), "{text}");
        assert!(text.contains("| …") && !text.contains(" d "), "{text}");
    }

    #[test]
    fn texts_over_lines_are_shown_whole() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["Stage 0\n  Source", "one line"]));
        let names: ArrayRef = Arc::new(StringArray::from(vec!["graph", "note"]));
        let rows = RecordBatch::try_from_iter([("plan", names), ("text", texts)]).expect("rows");
        assert!(has_long_texts(&rows).expect("printable"));
        assert!(!has_long_texts(&rows.slice(1, 1)).expect("printable"));
        assert_eq!(
            expanded(&rows).expect("printable"),
            "plan: graph\ntext:\nStage 0\n  Source\n\nplan: note\ntext: one line\n"
        );
    }

    #[test]
    fn wide_characters_take_two_places() {
        let text = check(&["a"], &["雨"], 1, None);
        assert!(text.ends_with(" 雨 | 1\n"), "{text}");
    }
}
