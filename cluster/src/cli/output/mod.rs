//! How results are shown: the only place of the program that writes rows to standard output.

mod fold;
mod out;
mod records;
mod table;
mod text;
mod values;
mod wrap;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int8Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use rainstorm_engine::format::json_text;
use rainstorm_engine::row_kinds;
use rainstorm_proto::client::RowsStarted;

use self::fold::Fold;
pub(crate) use self::out::Out;
use self::table::Table;
use super::error::CliError;

/// A table is laid out by as many of its rows, or fewer if others are late.
const GATHERED_ROWS: usize = 1000;
/// How late.
const GATHERING_TIME: Duration = Duration::from_millis(100);

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns that fit the terminal.
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Json,
    /// Every change as it comes, as CSV with a column `op`: +I, -U, +U, -D.
    Changelog,
}

/// When rows are shown as records, where they are shown to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Records {
    On,
    Off,
    /// Where a table does not fit.
    #[default]
    Auto,
}

/// Writes the rows of one result.
pub(crate) struct RowWriter {
    format: Format,
    started: RowsStarted,
    width: Option<usize>,
    records: Records,
    mode: Mode,
    rows: usize,
    schema: SchemaRef,
}

enum Mode {
    /// Rows are collected and shown once all are known.
    Final(Fold),
    /// The first rows of a table, by which its columns are laid out; the others are then shown as
    /// they come.
    Gathered(Vec<RecordBatch>),
    /// Rows are shown as they come; `op` tells whether with their kind.
    Direct { op: bool, layout: Option<Layout>, header_written: bool },
}

/// How rows are laid out for people.
enum Layout {
    Table(Table),
    /// Where a table does not fit.
    Records,
}

impl RowWriter {
    /// Begins a result. A bounded one is folded into its final rows unless changes are asked for;
    /// where nothing has to wait for the end, rows are written as they come. `width` is the
    /// terminal's.
    ///
    /// # Errors
    /// Where a column's type cannot be compared.
    pub(crate) fn new(
        format: Format,
        started: RowsStarted,
        schema: SchemaRef,
        width: Option<usize>,
        records: Records,
    ) -> Result<Self, ArrowError> {
        let waits = started.retracts
            || !started.order_by.is_empty()
            || started.limit.is_some()
            || started.offset > 0;
        let mode = if started.bounded && format == Format::Table && !waits {
            Mode::Gathered(Vec::new())
        } else if started.bounded && format != Format::Changelog && waits {
            Mode::Final(Fold::new(Arc::clone(&schema), started.retracts)?)
        } else {
            let op = format == Format::Changelog || (started.retracts && !started.bounded);
            Mode::Direct { op, layout: None, header_written: false }
        };
        Ok(Self { format, started, width, records, mode, rows: 0, schema })
    }

    /// Takes rows; `weights` has -1 for each that is taken back.
    ///
    /// # Errors
    /// What the output fails with, as an I/O error.
    pub(crate) fn push(
        &mut self,
        rows: RecordBatch,
        weights: Option<&Int8Array>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        match &mut self.mode {
            Mode::Final(fold) => return fold.push(rows, weights).map_err(io::Error::other),
            Mode::Gathered(gathered) => {
                gathered.push(rows);
                let count = gathered.iter().map(RecordBatch::num_rows).sum::<usize>();
                return if count < GATHERED_ROWS { Ok(()) } else { self.show_gathered(out) };
            }
            Mode::Direct { .. } => {}
        }
        let text = self.direct_text(&rows, weights)?;
        self.rows += rows.num_rows();
        out.write_all(&text)?;
        out.flush()
    }

    /// Returns how long rows that were gathered may wait for others; `None` where there are none.
    pub(crate) fn waits(&self) -> Option<Duration> {
        match &self.mode {
            Mode::Gathered(rows) if !rows.is_empty() => Some(GATHERING_TIME),
            _ => None,
        }
    }

    /// Lays the table out by the rows that were gathered, and shows them.
    ///
    /// # Errors
    /// What the output fails with, as an I/O error.
    pub(crate) fn show_gathered(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let Mode::Gathered(gathered) = &mut self.mode else { return Ok(()) };
        let rows = concat_batches(&self.schema, &std::mem::take(gathered));
        self.mode = Mode::Direct { op: false, layout: None, header_written: false };
        self.push(rows.map_err(io::Error::other)?, None, out)
    }

    /// Tells whether rows are written when they come, and not when all are known.
    pub(crate) fn shows_at_once(&self) -> bool {
        matches!(self.mode, Mode::Direct { .. })
    }

    /// Ends the result and returns the number of rows that were shown.
    ///
    /// # Errors
    /// What the output fails with, as an I/O error.
    pub(crate) fn finish(mut self, out: &mut dyn Write) -> io::Result<usize> {
        if matches!(self.mode, Mode::Direct { header_written: false, .. }) {
            // A result without rows has a header all the same.
            self.push(RecordBatch::new_empty(Arc::clone(&self.schema)), None, out)?;
        }
        let text = match self.mode {
            Mode::Final(fold) => {
                let rows = fold.finish(&self.started).map_err(io::Error::other)?;
                self.rows = rows.num_rows();
                final_text(self.format, &rows, self.width, self.records)
                    .map_err(io::Error::other)?
            }
            Mode::Gathered(rows) => {
                let rows = concat_batches(&self.schema, &rows).map_err(io::Error::other)?;
                let visible = (0..self.started.visible as usize).collect::<Vec<_>>();
                let rows = rows.project(&visible).map_err(io::Error::other)?;
                self.rows = rows.num_rows();
                final_text(self.format, &rows, self.width, self.records)
                    .map_err(io::Error::other)?
            }
            Mode::Direct { layout: Some(_), .. } => table::footer(self.rows).into_bytes(),
            Mode::Direct { .. } => Vec::new(),
        };
        out.write_all(&text)?;
        out.flush()?;
        Ok(self.rows)
    }

    /// Returns the visible columns of rows as text, with their kinds where these are shown.
    fn direct_text(
        &mut self,
        rows: &RecordBatch,
        weights: Option<&Int8Array>,
    ) -> io::Result<Vec<u8>> {
        let Mode::Direct { op, .. } = &self.mode else { return Ok(Vec::new()) };
        let visible = (0..self.started.visible as usize).collect::<Vec<_>>();
        let mut shown = rows.project(&visible).map_err(io::Error::other)?;
        if *op {
            let key = self.started.upsert_key.as_ref().map(|key| &key.columns);
            let key = key.map(|key| key.iter().map(|index| *index as usize).collect::<Vec<_>>());
            let kinds = row_kinds(rows, weights, key.as_deref()).map_err(io::Error::other)?;
            shown = text::with_op(&shown, &kinds).map_err(io::Error::other)?;
        }
        self.visible_text(&shown).map_err(io::Error::other)
    }

    fn visible_text(&mut self, rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let Mode::Direct { layout, header_written, .. } = &mut self.mode else {
            return Ok(Vec::new());
        };
        let header = !std::mem::replace(header_written, true);
        match self.format {
            Format::Json => json_text(rows),
            Format::Csv | Format::Changelog => text::csv(rows, header),
            Format::Table => {
                let mut text = String::new();
                let layout = if let Some(layout) = layout {
                    layout
                } else {
                    let table = match self.records {
                        Records::On => None,
                        Records::Auto if records::has_long_texts(rows)? => None,
                        Records::Auto => Table::of_stream(&rows.schema(), rows, self.width)?,
                        Records::Off => Table::of_stream(&rows.schema(), rows, None)?,
                    };
                    text.push_str(&table.as_ref().map(Table::header).unwrap_or_default());
                    layout.insert(table.map_or(Layout::Records, Layout::Table))
                };
                text.push_str(&match layout {
                    Layout::Table(table) => table.body(rows)?,
                    Layout::Records => records::records(rows, self.rows)?,
                });
                Ok(text.into_bytes())
            }
        }
    }
}

/// Returns rows that are at hand as text.
pub(crate) fn show_batch(rows: &RecordBatch, format: Format) -> Result<Vec<u8>, CliError> {
    let width = terminal_width();
    final_text(format, rows, width, Records::Auto)
        .map_err(|error| CliError::failed("show rows", &error))
}

/// Returns rows as text for a terminal of a certain width.
#[cfg(test)]
pub(crate) fn show_in(rows: &RecordBatch, format: Format, width: usize) -> Vec<u8> {
    final_text(format, rows, Some(width), Records::Auto).expect("printable")
}

/// Writes text to standard output, through a pager where it is longer than the screen.
///
/// # Errors
/// `OutputClosed` where nobody reads it any more.
pub(crate) fn write_pages(text: &[u8]) -> Result<(), CliError> {
    let mut out = Out::default();
    out.begin(true);
    out.write_all(text).and_then(|()| out.end()).map_err(write_failed)
}

/// Writes text to standard output.
///
/// # Errors
/// `OutputClosed` where nobody reads it any more.
pub(crate) fn write_results(text: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text).and_then(|()| stdout.flush());
    written.map_err(write_failed)
}

fn write_failed(error: io::Error) -> CliError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => CliError::OutputClosed,
        _ => CliError::io("write to standard output", error),
    }
}

/// Returns the width of the terminal that standard output is, where it is one. COLUMNS overrides
/// it.
pub(crate) fn terminal_width() -> Option<usize> {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    columns.or_else(|| {
        terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0))
    })
}

fn final_text(
    format: Format,
    rows: &RecordBatch,
    width: Option<usize>,
    as_records: Records,
) -> Result<Vec<u8>, ArrowError> {
    match format {
        Format::Json => json_text(rows),
        Format::Csv | Format::Changelog => text::csv(rows, true),
        Format::Table => {
            let footer = table::footer(rows.num_rows());
            let lines;
            let mut rows = rows;
            if as_records != Records::On
                && rows.num_columns() == 1
                && records::has_long_texts(rows)?
            {
                lines = records::as_lines(rows)?;
                rows = &lines;
            }
            let table = match as_records {
                Records::On => None,
                Records::Auto if records::has_long_texts(rows)? => None,
                Records::Auto => Table::new(&rows.schema(), rows, width)?,
                Records::Off => Table::new(&rows.schema(), rows, None)?,
            };
            let text = match table {
                Some(table) => table.header() + &table.body(rows)?,
                None => records::records(rows, 0)?,
            };
            Ok((text + &footer).into_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    /// Makes the writer of a bounded table and batches of numbers for it.
    fn table_of_numbers() -> (RowWriter, impl Fn(std::ops::Range<i64>) -> RecordBatch) {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
        let started = RowsStarted { visible: 1, bounded: true, ..RowsStarted::default() };
        let writer =
            RowWriter::new(Format::Table, started, Arc::clone(&schema), None, Records::Auto)
                .unwrap();
        let rows = move |range: std::ops::Range<i64>| {
            let column = Int64Array::from_iter_values(range);
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(column)]).unwrap()
        };
        (writer, rows)
    }

    #[test]
    fn a_table_is_shown_once_its_first_rows_are_known_and_then_as_rows_come() {
        let (mut writer, rows) = table_of_numbers();
        let mut out = Vec::new();
        writer.push(rows(0..400), None, &mut out).unwrap();
        assert_eq!((out.len(), writer.waits()), (0, Some(GATHERING_TIME)));
        writer.push(rows(400..1000), None, &mut out).unwrap();
        let lines = |out: &[u8]| String::from_utf8_lossy(out).lines().count();
        assert_eq!((lines(&out), writer.waits()), (1002, None));
        writer.push(rows(1000..1001), None, &mut out).unwrap();
        assert_eq!(lines(&out), 1003);
        assert_eq!(writer.finish(&mut out).unwrap(), 1001);
        assert!(String::from_utf8_lossy(&out).ends_with(" 1000\n(1001 rows)\n"));
    }

    #[test]
    fn rows_of_a_table_do_not_wait_for_late_ones() {
        let (mut writer, rows) = table_of_numbers();
        let mut out = Vec::new();
        writer.push(rows(0..1), None, &mut out).unwrap();
        writer.show_gathered(&mut out).unwrap();
        assert!(String::from_utf8_lossy(&out).ends_with(" 0\n"));
        writer.push(rows(1..2), None, &mut out).unwrap();
        assert_eq!(writer.finish(&mut out).unwrap(), 2);
        assert!(String::from_utf8_lossy(&out).ends_with(" 1\n(2 rows)\n"));
    }

    #[test]
    fn a_short_table_is_as_narrow_as_its_values() {
        let (mut writer, rows) = table_of_numbers();
        let mut out = Vec::new();
        writer.push(rows(1..3), None, &mut out).unwrap();
        writer.finish(&mut out).unwrap();
        assert_eq!(String::from_utf8_lossy(&out), " a\n---\n 1\n 2\n(2 rows)\n");
    }

    #[test]
    fn only_rows_that_wait_for_the_last_one_leave_the_screen_to_progress() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
        let at_once = |format, bounded, retracts| {
            let started = RowsStarted { visible: 1, bounded, retracts, ..RowsStarted::default() };
            RowWriter::new(format, started, Arc::clone(&schema), None, Records::Auto)
                .unwrap()
                .shows_at_once()
        };
        assert!(!at_once(Format::Table, true, true) && !at_once(Format::Csv, true, true));
        assert!(at_once(Format::Table, false, true) && at_once(Format::Csv, true, false));
    }
}
