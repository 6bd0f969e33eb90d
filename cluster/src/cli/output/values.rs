//! Single values as text.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// How timestamps are written everywhere but in JSON's own types.
pub(crate) const TIMESTAMP_FORMAT: &str = "%Y-%m-%d %H:%M:%S%.3f";

/// The cells of a batch as text; NULL is `NULL`.
pub(crate) struct Cells<'a> {
    columns: Vec<ArrayFormatter<'a>>,
}

impl<'a> Cells<'a> {
    pub(crate) fn new(rows: &'a RecordBatch) -> Result<Self, ArrowError> {
        const OPTIONS: FormatOptions<'static> = FormatOptions::new()
            .with_null("NULL")
            .with_timestamp_format(Some(TIMESTAMP_FORMAT))
            .with_datetime_format(Some(TIMESTAMP_FORMAT));
        let columns = rows.columns().iter();
        let columns = columns.map(|column| ArrayFormatter::try_new(column.as_ref(), &OPTIONS));
        Ok(Self { columns: columns.collect::<Result<_, _>>()? })
    }

    pub(crate) fn text(&self, column: usize, row: usize) -> String {
        self.columns[column].value(row).to_string()
    }
}
