//! Rows as a table that fits the terminal.
//!
//! No value is ever cut: long texts wrap, numbers and times keep their width, and where that leaves
//! no room the rows are shown as records. Only names of columns are cut.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use unicode_width::UnicodeWidthStr;

use super::values::{Cells, usual_width};
use super::wrap::{cut, wrap};

/// No name of a column is cut to less than this.
const NARROWEST_NAME: usize = 6;
/// No column of texts is made narrower than this to fit others in.
const NARROWEST_TEXT: usize = 12;
/// What no text is made narrower than where nothing else helps, the first column's included.
const NARROWEST: usize = 8;
/// The places of a date, after which a time wraps where nothing else helps.
const DATE: usize = 10;

/// Draws rows in columns as psql does: numbers to the right, everything else to the left.
pub(crate) struct Table {
    columns: Vec<Column>,
    /// Whether texts wrap; they do on a terminal.
    wraps: bool,
    /// What stands on both sides of a separator, and at the edges: a space, or nothing where that
    /// lets the rows fit.
    margin: &'static str,
}

struct Column {
    name: String,
    kind: Kind,
    width: usize,
    /// The least that shows all values that are known as they are.
    needed: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    /// A time, a date, a truth value.
    Fixed,
    Text,
}

impl Table {
    /// Lays out columns for `rows`, in at most `width` places where that is limited; `None` where
    /// they do not fit.
    ///
    /// # Errors
    /// Where values cannot be shown.
    pub(crate) fn new(
        schema: &SchemaRef,
        rows: &RecordBatch,
        width: Option<usize>,
    ) -> Result<Option<Self>, ArrowError> {
        let mut table = Self::natural(schema, rows, width.is_some())?;
        Ok(table.fit(width).then_some(table))
    }

    /// Lays out columns for rows of which only the first are known: with room for every number and
    /// time that may come.
    ///
    /// # Errors
    /// Where values cannot be shown.
    pub(crate) fn of_stream(
        schema: &SchemaRef,
        first: &RecordBatch,
        width: Option<usize>,
    ) -> Result<Option<Self>, ArrowError> {
        let mut table = Self::natural(schema, first, width.is_some())?;
        for (column, field) in table.columns.iter_mut().zip(schema.fields()) {
            let usual = usual_width(field.data_type());
            column.width = column.width.max(usual);
            column.needed = column.needed.max(usual);
        }
        Ok(table.fit(width).then_some(table))
    }

    fn natural(schema: &SchemaRef, rows: &RecordBatch, wraps: bool) -> Result<Self, ArrowError> {
        let cells = Cells::new(rows)?;
        let columns = schema.fields().iter().enumerate().map(|(index, field)| {
            let texts = (0..rows.num_rows()).map(|row| one_line(&cells.text(index, row)).width());
            let needed = texts.max().unwrap_or(0);
            let width = needed.max(field.name().width());
            Column { name: field.name().clone(), kind: kind(field.data_type()), width, needed }
        });
        Ok(Self { columns: columns.collect(), wraps, margin: " " })
    }

    /// Returns the names and the line under them.
    pub(crate) fn header(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|it| cut(&it.name, it.width)).collect();
        let mut text = self.line(names.iter().map(String::as_str), |_| false);
        let around = 2 * self.margin.len();
        let rules = self.columns.iter().map(|column| "-".repeat(column.width + around));
        text.push_str(&rules.collect::<Vec<_>>().join("+"));
        text.push('\n');
        text
    }

    /// Returns the lines of each row: one, or as many as its longest text needs.
    ///
    /// # Errors
    /// Where values cannot be shown.
    pub(crate) fn body(&self, rows: &RecordBatch) -> Result<String, ArrowError> {
        let cells = Cells::new(rows)?;
        let mut text = String::new();
        let right = |column: usize| self.columns[column].kind == Kind::Number;
        for row in 0..rows.num_rows() {
            let values = (0..self.columns.len()).map(|column| one_line(&cells.text(column, row)));
            let pieces: Vec<_> = values.zip(&self.columns).map(|it| self.pieces(it)).collect();
            let lines = pieces.iter().map(Vec::len).max().unwrap_or(1);
            for line in 0..lines {
                let piece = |pieces: &'_ Vec<String>| pieces.get(line).cloned().unwrap_or_default();
                let parts: Vec<_> = pieces.iter().map(piece).collect();
                text.push_str(&self.line(parts.iter().map(String::as_str), right));
            }
        }
        Ok(text)
    }

    fn pieces(&self, (value, column): (String, &Column)) -> Vec<String> {
        if self.wraps && column.kind != Kind::Number && self.columns.len() > 1 {
            wrap(&value, column.width)
        } else {
            vec![value]
        }
    }

    fn line<'a>(
        &self,
        texts: impl Iterator<Item = &'a str>,
        right: impl Fn(usize) -> bool,
    ) -> String {
        let mut line = String::new();
        for (index, text) in texts.enumerate() {
            if index > 0 {
                line.push_str(self.margin);
                line.push('|');
            }
            line.push_str(self.margin);
            line.push_str(&padded(text, self.columns[index].width, right(index)));
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }

    /// Cuts names and then narrows texts, the widest first, until all fit; tells whether they do.
    /// The first column tells rows apart and stays whole, and a single column runs over the edge.
    /// Where that is not enough, the spaces around separators go, and then times and the first
    /// column wrap too.
    fn fit(&mut self, width: Option<usize>) -> bool {
        let Some(width) = width else { return true };
        if let [only] = self.columns.as_mut_slice() {
            // Its values run over the edge, the line under its name does not.
            only.width = only.width.min(width.saturating_sub(2)).max(1);
            return true;
        }
        let natural: Vec<_> = self.columns.iter().map(|column| column.width).collect();
        for (margin, wraps_all) in [(" ", false), ("", false), ("", true)] {
            self.margin = margin;
            for (column, natural) in self.columns.iter_mut().zip(&natural) {
                column.width = *natural;
            }
            if self.narrow_to(width, wraps_all) {
                return true;
            }
        }
        false
    }

    /// Narrows columns to fit, those that must stay whole only where `wraps_all`; tells whether
    /// they do.
    fn narrow_to(&mut self, width: usize, wraps_all: bool) -> bool {
        let name = |column: &Column| column.name.width().min(NARROWEST_NAME);
        let whole: Vec<_> = self.columns.iter().map(|it| it.needed.max(name(it))).collect();
        self.narrow(width, &whole);
        let least = |(index, (column, whole)): (usize, (&Column, &usize))| match column.kind {
            Kind::Text if wraps_all => (*whole).min(NARROWEST),
            Kind::Fixed if wraps_all => (*whole).min(DATE.max(name(column))),
            Kind::Text if index > 0 => (*whole).min(NARROWEST_TEXT),
            _ => *whole,
        };
        let floors: Vec<_> = self.columns.iter().zip(&whole).enumerate().map(least).collect();
        self.narrow(width, &floors);
        self.taken() <= width
    }

    /// Narrows the widest columns to no less than their floors until all fit.
    fn narrow(&mut self, width: usize, floors: &[usize]) {
        for _ in width..self.taken() {
            let columns = self.columns.iter_mut().zip(floors);
            let above = columns.filter(|(column, floor)| column.width > **floor);
            let Some((widest, _)) = above.max_by_key(|(column, _)| column.width) else { return };
            widest.width -= 1;
        }
    }

    fn taken(&self) -> usize {
        let columns: usize = self.columns.iter().map(|column| column.width).sum();
        columns + self.columns.len() * (2 * self.margin.len() + 1) - 1
    }
}

fn kind(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Boolean => Kind::Fixed,
        _ if data_type.is_numeric() => Kind::Number,
        _ if data_type.is_temporal() => Kind::Fixed,
        _ => Kind::Text,
    }
}

/// Replaces what would break the line.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Returns `text` in at least `width` places.
fn padded(text: &str, width: usize, right: bool) -> String {
    let padding = " ".repeat(width.saturating_sub(text.width()));
    if right { padding + text } else { text.to_owned() + &padding }
}

/// Says how many rows there were, as psql does.
pub(crate) fn footer(rows: usize) -> String {
    let plural = if rows == 1 { "" } else { "s" };
    format!("({rows} row{plural})\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn rows(names: &[&str], texts: &[&str], number: i64) -> RecordBatch {
        let mut columns: Vec<(String, ArrayRef)> = names
            .iter()
            .zip(texts)
            .map(|(name, text)| ((*name).to_owned(), Arc::new(StringArray::from(vec![*text])) as _))
            .collect();
        columns.push(("n".to_owned(), Arc::new(Int64Array::from(vec![number]))));
        RecordBatch::try_from_iter(columns).expect("columns of one length")
    }

    fn shown(table: &Table, rows: &RecordBatch) -> String {
        table.header() + &table.body(rows).expect("printable")
    }

    fn check(names: &[&str], texts: &[&str], number: i64, width: Option<usize>) -> String {
        let rows = rows(names, texts, number);
        let table = Table::new(&rows.schema(), &rows, width).expect("printable").expect("fits");
        shown(&table, &rows)
    }

    #[test]
    fn numbers_are_aligned_to_the_right() {
        let text = check(&["airport"], &["ATL"], 5, None);
        assert_eq!(text, " airport | n\n---------+---\n ATL     | 5\n");
    }

    #[test]
    fn long_texts_wrap_and_nothing_is_cut() {
        let long = "a text that is longer than the others";
        assert_eq!(
            check(&["a", "b"], &["short", long], 1, Some(30)),
            " a     | b                | n\n\
             -------+------------------+---\n \
             short | a text that is   | 1\n       \
             | longer than the  |\n       \
             | others           |\n"
        );
        assert!(check(&["a", "b"], &["short", long], 1, None).contains(long));
    }

    #[test]
    fn names_are_cut_before_values_are_touched() {
        let text = check(&["a_name_that_is_long", "b"], &["value1", "value2"], i64::MIN, Some(42));
        assert!(text.lines().all(|line| line.width() <= 42), "{text}");
        assert!(text.contains("…") && text.contains("-9223372036854775808"), "{text}");
        assert!(text.contains("value1") && text.contains("value2"), "{text}");
    }

    #[test]
    fn what_does_not_fit_is_no_table() {
        let long = "0123456789";
        let rows = rows(&["a", "b", "c", "d"], &[long, long, long, long], 1);
        assert!(Table::new(&rows.schema(), &rows, Some(24)).expect("printable").is_none());
        // A number stays whole.
        let rows = super::tests::rows(&["a"], &["x"], i64::MIN);
        assert!(Table::new(&rows.schema(), &rows, Some(21)).expect("printable").is_none());
    }

    #[test]
    fn rows_that_are_a_little_too_wide_are_set_tightly_and_then_wrap() {
        let number = 1_234_567_890;
        assert_eq!(
            check(&["id", "b"], &["0123456789", "x"], number, Some(24)),
            "id        |b|n\n\
             ----------+-+----------\n\
             0123456789|x|1234567890\n"
        );
        assert_eq!(
            check(&["id", "b"], &["0123456789", "x"], number, Some(22)),
            "id       |b|n\n\
             ---------+-+----------\n\
             012345678|x|1234567890\n\
             9        | |\n"
        );
        let time: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![978_307_200_000]));
        let number: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN]));
        let rows = RecordBatch::try_from_iter([("n", number), ("at", time)]).expect("a row");
        let table = Table::new(&rows.schema(), &rows, Some(35)).expect("printable").expect("fits");
        assert_eq!(
            table.body(&rows).expect("printable"),
            "-9223372036854775808|2001-01-01\n                    |00:00:00.000\n"
        );
    }

    #[test]
    fn rows_that_come_later_have_room_for_their_numbers() {
        let fields = vec![
            Field::new("n", DataType::Int64, false),
            Field::new(
                "at",
                DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, None),
                false,
            ),
            Field::new("a_name_of_a_text_that_is_long", DataType::Utf8, false),
        ];
        let schema = Arc::new(Schema::new(fields));
        let row = |number: i64| {
            let time: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![978_307_200_000]));
            let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
            let number: ArrayRef = Arc::new(Int64Array::from(vec![number]));
            RecordBatch::try_new(Arc::clone(&schema), vec![number, time, text]).expect("a row")
        };
        for width in [Some(70), None] {
            let table = Table::of_stream(&schema, &row(1), width).expect("printable");
            let text = shown(&table.expect("fits"), &row(i64::MIN));
            assert!(
                text.contains(" -9223372036854775808 | 2001-01-01 00:00:00.000 | x\n"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_single_column_runs_over_the_edge_but_not_its_rule() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["a text of more than ten places"]));
        let rows = RecordBatch::try_from_iter([("plan", text)]).expect("one column");
        let table = Table::new(&rows.schema(), &rows, Some(10)).expect("printable").expect("fits");
        assert_eq!(table.header(), " plan\n----------\n");
        assert!(table.body(&rows).expect("printable").contains("more than ten places"));
    }

    #[test]
    fn wide_characters_take_two_places() {
        let text = check(&["a"], &["雨"], 1, None);
        assert!(text.ends_with(" 雨 | 1\n"), "{text}");
        let family = "👩\u{200d}👩\u{200d}👧";
        assert!(check(&["a"], &[family], 1, Some(40)).contains(family));
    }
}
