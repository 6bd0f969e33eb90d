//! The sink `print`: writes changes for people to read, in the manner of Flink's: `+I[1, abc]`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;

use super::{CommitId, Committable, Sink, SinkWriter};
use crate::batch::Batch;
use crate::time::Watermark;
use crate::{Epoch, Error, Result, RowKind, row_kinds};

/// The options of the connector.
pub const OPTIONS: &[&str] = &["print-identifier", "standard-error"];

const FORMAT: FormatOptions<'static> = FormatOptions::new()
    .with_null("null")
    .with_timestamp_format(Some("%Y-%m-%dT%H:%M:%S%.f"))
    .with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.fZ"));

static IS_UNREAD: AtomicBool = AtomicBool::new(false);

/// Tells whether rows could not be printed in this process because nobody reads its output any
/// more, as behind `| head`.
pub fn is_unread() -> bool {
    IS_UNREAD.load(Ordering::Relaxed)
}

/// Where lines go, shared by the writers of all subtasks.
type Lines = Arc<Mutex<dyn Write + Send>>;

/// Prints rows on standard output, a line each.
pub struct PrintSink {
    prefix: String,
    upsert_key: Option<Vec<usize>>,
    lines: Lines,
    /// What comes before rows: on a terminal it takes away a line that shows progress.
    start: &'static str,
}

const CLEAR_LINE: &str = "\r\x1b[K";

impl PrintSink {
    /// Makes the sink. `print-identifier` begins each line; `standard-error` says where to.
    /// `upsert_key` are the columns that tell updates from insertions and deletions.
    ///
    /// # Errors
    /// `Invalid` where an option is unknown or wrong.
    pub fn new(options: &BTreeMap<String, String>, upsert_key: Option<Vec<usize>>) -> Result<Self> {
        let (lines, is_terminal): (Lines, bool) =
            match options.get("standard-error").map(String::as_str) {
                None | Some("false") => (Arc::new(Mutex::new(stdout())), stdout().is_terminal()),
                Some("true") => (Arc::new(Mutex::new(stderr())), true),
                Some(other) => {
                    return Err(Error::Invalid(format!(
                        "option 'standard-error' = '{other}': expected true or false"
                    )));
                }
            };
        let start = if is_terminal && stderr().is_terminal() { CLEAR_LINE } else { "" };
        Ok(Self { start, ..Self::with_lines(options, upsert_key, lines)? })
    }

    /// Makes a sink whose lines go elsewhere.
    ///
    /// # Errors
    /// `Invalid` where an option is unknown.
    pub fn with_lines(
        options: &BTreeMap<String, String>,
        upsert_key: Option<Vec<usize>>,
        lines: Lines,
    ) -> Result<Self> {
        if let Some(unknown) = options.keys().find(|key| !OPTIONS.contains(&key.as_str())) {
            let known = OPTIONS.join(", ");
            return Err(Error::Invalid(format!(
                "connector 'print' has no option '{unknown}', only {known}"
            )));
        }
        let identifier = options.get("print-identifier").filter(|text| !text.is_empty());
        let prefix = identifier.map_or_else(String::new, |text| format!("{text}> "));
        Ok(Self { prefix, upsert_key, lines, start: "" })
    }
}

impl fmt::Debug for PrintSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrintSink").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[async_trait]
impl Sink for PrintSink {
    async fn writer(&self, _subtask: usize, _attempt: &str) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(PrintWriter {
            prefix: self.prefix.clone(),
            upsert_key: self.upsert_key.clone(),
            lines: Arc::clone(&self.lines),
            start: self.start,
        }))
    }

    async fn commit(&self, _id: &CommitId, _committables: &[Committable]) -> Result<()> {
        Ok(())
    }

    async fn roll_back(&self, _id: &CommitId) -> Result<()> {
        Ok(())
    }
}

struct PrintWriter {
    prefix: String,
    upsert_key: Option<Vec<usize>>,
    lines: Lines,
    start: &'static str,
}

#[async_trait]
impl SinkWriter for PrintWriter {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        let kinds = row_kinds(batch.rows(), batch.weights(), self.upsert_key.as_deref())?;
        let text = self
            .format(batch.rows(), &kinds)
            .map_err(|error| Error::compute("print rows", error))?;
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .write_all(text.as_bytes())
            .and_then(|()| lines.flush())
            .inspect_err(|error| {
                if error.kind() == ErrorKind::BrokenPipe {
                    IS_UNREAD.store(true, Ordering::Relaxed);
                }
            })
            .map_err(|error| Error::io("print rows", error))
    }

    async fn prepare(&mut self, _: Epoch, _: Option<Watermark>) -> Result<Vec<Committable>> {
        Ok(Vec::new())
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl PrintWriter {
    fn format(&self, rows: &RecordBatch, kinds: &[RowKind]) -> Result<String, ArrowError> {
        let row_values = Values::of_batch(rows)?;
        let mut text = self.start.to_owned();
        for (row, kind) in kinds.iter().enumerate() {
            text.push_str(&self.prefix);
            text.push_str(kind.symbol());
            row_values.write(row, &mut text)?;
            text.push('\n');
        }
        Ok(text)
    }
}

/// Formats the values of a column.
enum Values<'a> {
    Scalar(ArrayFormatter<'a>),
    Row { array: Option<&'a dyn Array>, fields: Vec<Values<'a>> },
}

impl<'a> Values<'a> {
    fn of_batch(rows: &'a RecordBatch) -> Result<Self, ArrowError> {
        let fields = rows.columns().iter().map(|column| Self::of(column.as_ref()));
        Ok(Self::Row { array: None, fields: fields.collect::<Result<_, _>>()? })
    }

    fn of(array: &'a dyn Array) -> Result<Self, ArrowError> {
        match array.data_type() {
            DataType::Struct(_) => {
                let fields =
                    array.as_struct().columns().iter().map(|column| Self::of(column.as_ref()));
                Ok(Self::Row { array: Some(array), fields: fields.collect::<Result<_, _>>()? })
            }
            _ => ArrayFormatter::try_new(array, &FORMAT).map(Self::Scalar),
        }
    }

    fn write(&self, row: usize, text: &mut String) -> Result<(), ArrowError> {
        match self {
            Self::Scalar(values) => values.value(row).write(text),
            Self::Row { array: Some(array), .. } if array.is_null(row) => {
                text.push_str("null");
                Ok(())
            }
            Self::Row { array, fields } => {
                // Flink gives a row within a row its kind as well, which is always +I.
                text.push_str(if array.is_some() { "+I[" } else { "[" });
                for (index, values) in fields.iter().enumerate() {
                    if index > 0 {
                        text.push_str(", ");
                    }
                    values.write(row, text)?;
                }
                text.push(']');
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        ArrayRef, Int8Array, Int32Array, StringViewArray, StructArray, TimestampMillisecondArray,
    };

    async fn printed(options: &[(&str, &str)]) -> String {
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
        let words: ArrayRef = Arc::new(StringViewArray::from(vec!["abc", "x, y"]));
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![0, 1500]));
        let inner: ArrayRef =
            Arc::new(StructArray::try_from(vec![("n", numbers.clone())]).unwrap());
        let rows = [("n", numbers), ("word", words), ("at", times), ("row", inner)];
        let rows = RecordBatch::try_from_iter(rows).unwrap();
        let options = options.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = PrintSink::with_lines(&options, None, lines.clone()).unwrap();
        let mut writer = sink.writer(0, "a").await.unwrap();
        let batch = Batch::changes(rows, Int8Array::from(vec![1, -1])).unwrap();
        writer.write(batch).await.unwrap();
        String::from_utf8(lines.lock().unwrap().clone()).unwrap()
    }

    #[tokio::test]
    async fn rows_are_printed_as_flink_prints_them() {
        let expected = "+I[1, abc, 1970-01-01T00:00:00, +I[1]]\n\
                        -D[null, x, y, 1970-01-01T00:00:01.500, +I[null]]\n";
        assert_eq!(printed(&[]).await, expected);
    }

    #[tokio::test]
    async fn an_identifier_begins_each_line() {
        let text = printed(&[("print-identifier", "out")]).await;
        assert!(text.lines().all(|line| line.starts_with("out> ")), "{text}");
    }

    #[test]
    fn unknown_options_are_refused() {
        let options = BTreeMap::from([("colour".to_owned(), "red".to_owned())]);
        assert!(PrintSink::new(&options, None).unwrap_err().to_string().contains("'colour'"));
    }
}
