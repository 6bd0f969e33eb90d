//! CSV to columns.
//!
//! Records are cut into fields by csv-core; only the fields of wanted columns are parsed, column
//! by column, straight from the gathered bytes.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use csv_core::ReadFieldResult;

use super::field::{check_type, parse_column, type_name};
use super::{CsvStyle, Decoded, Malformed, RowDecoder};
use crate::batch::TARGET_BATCH_ROWS;
use crate::{Error, Result};

/// The first record of a file and what it takes up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// The names of the columns.
    pub(crate) names: Vec<String>,
    /// Its length in bytes, with what is before it.
    pub(crate) bytes: u64,
    /// The line on which the next record begins.
    pub(crate) next_line: u64,
}

/// Reads the header from the beginning of a file, or returns `None` where `content` holds only a
/// part of it. `ended` says that there is no more.
pub(crate) fn parse_header(content: &[u8], ended: bool, style: &CsvStyle) -> Option<Header> {
    const MARK: &[u8] = "\u{feff}".as_bytes();
    let mark = if content.starts_with(MARK) { MARK.len() } else { 0 };
    let mut records = Records::new(style);
    let mut consumed = mark + records.push(&content[mark..], 1);
    if records.count() == 0 {
        if !ended {
            return None;
        }
        records.finish();
        consumed = content.len();
    }
    let fields = 0..records.fields.len();
    let names = fields.map(|field| records.lossy(field).trim().to_owned()).collect();
    Some(Header { names, bytes: consumed as u64, next_line: records.line })
}

/// Records cut into fields, one after the other in one buffer.
struct Records {
    core: csv_core::Reader,
    quote: u8,
    /// Whether an empty line is a record, as it is in files of one column.
    has_empty: bool,
    data: Vec<u8>,
    data_len: usize,
    fields: Vec<FieldPlace>,
    /// The number of fields of each record.
    widths: Vec<usize>,
    /// The line on which each record begins.
    lines: Vec<u64>,
    /// The record that is being read.
    open: Option<Open>,
    /// Whether a carriage return has ended a line, to which a line feed may still belong.
    after_return: bool,
    line: u64,
}

/// Where a field ends in the buffer; it begins where the one before ends.
#[derive(Debug, Clone, Copy)]
struct FieldPlace {
    end: usize,
    /// Whether it was in quotes, so that it is text and never null.
    quoted: bool,
}

/// A record that is being read.
#[derive(Debug, Clone, Copy)]
struct Open {
    first_field: usize,
    /// Whether the field that is being read is in quotes, once that is known.
    quoted: Option<bool>,
}

impl Records {
    fn new(style: &CsvStyle) -> Self {
        let core =
            csv_core::ReaderBuilder::new().delimiter(style.delimiter).quote(style.quote).build();
        Self {
            core,
            quote: style.quote,
            has_empty: false,
            data: Vec::new(),
            data_len: 0,
            fields: Vec::new(),
            widths: Vec::new(),
            lines: Vec::new(),
            open: None,
            after_return: false,
            line: 1,
        }
    }

    fn count(&self) -> usize {
        self.widths.len()
    }

    /// Takes input until there are `limit` records and returns how much of it.
    fn push(&mut self, input: &[u8], limit: usize) -> usize {
        let mut at = 0;
        while at < input.len() && (self.count() < limit || self.after_return) {
            if std::mem::take(&mut self.after_return) {
                let line_feed = input[at] == b'\n';
                self.line += u64::from(line_feed);
                at += usize::from(line_feed);
            } else if self.open.is_some() || !matches!(input[at], b'\n' | b'\r') {
                at += self.read(&input[at..]);
            } else {
                self.end_line(input[at]);
                at += 1;
            }
        }
        at
    }

    /// Takes the end of a blank line.
    fn end_line(&mut self, byte: u8) {
        self.after_return = byte == b'\r';
        if self.has_empty {
            self.lines.push(self.line);
            self.fields.push(FieldPlace { end: self.data_len, quoted: false });
            self.widths.push(1);
        }
        self.line += u64::from(byte == b'\n');
    }

    /// Takes a part of a field.
    fn read(&mut self, input: &[u8]) -> usize {
        if self.data_len == self.data.len() {
            self.data.resize((2 * self.data.len()).max(64 << 10), 0);
        }
        let mut open = self.open.unwrap_or_else(|| {
            self.lines.push(self.line);
            Open { first_field: self.fields.len(), quoted: None }
        });
        let first = input.first().copied();
        let quoted = *open.quoted.get_or_insert(first == Some(self.quote));
        let (result, taken, written) = self.core.read_field(input, &mut self.data[self.data_len..]);
        self.line += input[..taken].iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
        self.data_len += written;
        self.open = Some(open);
        if let ReadFieldResult::Field { record_end } = result {
            self.fields.push(FieldPlace { end: self.data_len, quoted });
            self.open = Some(Open { quoted: None, ..open });
            if record_end {
                self.after_return = input[..taken].last() == Some(&b'\r');
                self.widths.push(self.fields.len() - open.first_field);
                self.open = None;
            }
        }
        taken
    }

    /// Ends the record that is being read.
    fn finish(&mut self) {
        while self.open.is_some() {
            self.read(&[]);
        }
    }

    /// Returns where a field is in `data`.
    fn range(&self, field: usize) -> Range<usize> {
        let begin = if field == 0 { 0 } else { self.fields[field - 1].end };
        begin..self.fields[field].end
    }

    fn lossy(&self, field: usize) -> String {
        String::from_utf8_lossy(&self.data[self.range(field)]).into_owned()
    }

    /// Forgets the last record.
    fn pop(&mut self) {
        let width = self.widths.pop().unwrap_or(0);
        self.lines.pop();
        self.fields.truncate(self.fields.len() - width);
        self.data_len = self.fields.last().map_or(0, |field| field.end);
    }

    fn clear(&mut self) {
        self.data_len = 0;
        self.fields.clear();
        self.widths.clear();
        self.lines.clear();
    }
}

/// Decodes the records of a CSV file after its header.
pub(crate) struct CsvDecoder {
    records: Records,
    schema: SchemaRef,
    /// The place of each wanted column in a record.
    places: Vec<usize>,
    /// The number of fields of a record.
    width: usize,
    null_literal: String,
    malformed: Vec<Malformed>,
}

impl CsvDecoder {
    /// Makes one for the columns in `schema`, which are looked up by their names in `names`; the
    /// next record begins on `line`.
    pub(crate) fn new(
        style: &CsvStyle,
        names: &[String],
        schema: &SchemaRef,
        line: u64,
    ) -> Result<Self> {
        let place = |field: &Arc<Field>| {
            check_type("csv", field)?;
            names.iter().position(|name| name == field.name()).ok_or_else(|| {
                let names = names.join(", ");
                Error::Invalid(format!("there is no column '{}' among {names}", field.name()))
            })
        };
        let mut records = Records::new(style);
        records.line = line;
        records.has_empty = names.len() == 1;
        Ok(Self {
            records,
            places: schema.fields().iter().map(place).collect::<Result<_>>()?,
            schema: Arc::clone(schema),
            width: names.len(),
            null_literal: style.null_literal.clone(),
            malformed: Vec::new(),
        })
    }

    /// Sorts out the last record where it has too few or too many fields.
    fn check_width(&mut self) {
        let Some(&width) = self.records.widths.last() else { return };
        if width != self.width {
            let line = self.records.lines[self.records.count() - 1];
            let reason = format!("expected {} fields, found {width}", self.width);
            self.records.pop();
            self.malformed.push(Malformed { line, reason });
        }
    }

    /// Parses a column and tells the rows whose field does not fit it.
    fn parse(
        &self,
        text: Option<&str>,
        column: usize,
        misfits: &mut Vec<(usize, String)>,
    ) -> Result<ArrayRef> {
        let (records, place) = (&self.records, self.places[column]);
        let field = self.schema.field(column);
        let mut misfit = |row: usize, reason: String| {
            misfits.push((row, format!("field {} '{}': {reason}", place + 1, field.name())));
        };
        // A number in quotes is a number, and nothing in quotes is none.
        let can_be_empty =
            matches!(field.data_type(), DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8);
        let mut values = Vec::with_capacity(records.count());
        for row in 0..records.count() {
            let index = row * self.width + place;
            let value = match text {
                Some(text) => text.get(records.range(index)),
                None => std::str::from_utf8(&records.data[records.range(index)]).ok(),
            };
            if value.is_none() {
                misfit(row, format!("'{}' is not UTF-8", records.lossy(index)));
            }
            let is_text = can_be_empty && records.fields[index].quoted;
            let value = value.filter(|value| is_text || *value != self.null_literal);
            if value.is_none() && !field.is_nullable() {
                misfit(row, "it is null, but the column is NOT NULL".to_owned());
            }
            values.push(value);
        }
        let type_name = type_name(field.data_type()).unwrap_or_default();
        let mut wrong = |row: usize, text: &str| {
            misfit(row, format!("expected {type_name}, found '{text}'"));
        };
        parse_column(field.data_type(), values.into_iter(), &mut wrong).ok_or_else(|| {
            Error::Internal(format!("column '{}' has a type that csv cannot hold", field.name()))
        })
    }

    /// Parses all columns and leaves out the rows that do not fit.
    fn decode(&mut self) -> Result<RecordBatch> {
        let failed = |error| Error::compute("read rows of a csv file", error);
        let text = std::str::from_utf8(&self.records.data[..self.records.data_len]).ok();
        let mut misfits = Vec::new();
        let columns = (0..self.places.len()).map(|column| self.parse(text, column, &mut misfits));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.records.count()));
        let schema = Arc::clone(&self.schema);
        if misfits.is_empty() {
            return RecordBatch::try_new_with_options(schema, columns, &options).map_err(failed);
        }
        misfits.sort_by_key(|(row, _)| *row);
        misfits.dedup_by_key(|(row, _)| *row);
        let mut sound = vec![true; self.records.count()];
        for (row, reason) in misfits {
            sound[row] = false;
            self.malformed.push(Malformed { line: self.records.lines[row], reason });
        }
        self.malformed.sort_by_key(|malformed| malformed.line);
        let nullable =
            schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let nullable = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        let rows = RecordBatch::try_new_with_options(nullable, columns, &options)
            .and_then(|rows| filter_record_batch(&rows, &BooleanArray::from(sound)))
            .map_err(failed)?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(schema, rows.columns().to_vec(), &options).map_err(failed)
    }
}

impl RowDecoder for CsvDecoder {
    fn push(&mut self, input: &[u8]) -> usize {
        let mut at = 0;
        while at < input.len() && !self.is_full() {
            let count = self.records.count();
            at += self.records.push(&input[at..], count + 1);
            if self.records.count() > count {
                self.check_width();
            }
        }
        at
    }

    fn finish(&mut self) {
        let count = self.records.count();
        self.records.finish();
        if self.records.count() > count {
            self.check_width();
        }
    }

    fn is_full(&self) -> bool {
        let count = self.records.count() + self.malformed.len();
        count >= TARGET_BATCH_ROWS && !self.records.after_return
    }

    fn line(&self) -> u64 {
        self.records.line
    }

    fn take(&mut self) -> Result<Decoded> {
        let rows = self.decode()?;
        self.records.clear();
        Ok(Decoded { rows, malformed: std::mem::take(&mut self.malformed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{decode_all, schema, text};

    const STYLE: &CsvStyle =
        &CsvStyle { header: true, delimiter: b',', quote: b'"', null_literal: String::new() };

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn decode(content: &str, columns: &str) -> (Vec<String>, Vec<String>) {
        let mut all = Vec::new();
        for block in [1, 3, 1000] {
            let decoder = CsvDecoder::new(STYLE, &names(&["a", "b", "c"]), &schema(columns), 1);
            all.push(decode_all(decoder.unwrap(), content.as_bytes(), block));
        }
        assert!(all.iter().all(|found| *found == all[0]), "{all:?}");
        all.swap_remove(0)
    }

    #[test]
    fn wanted_columns_are_found_by_name() {
        let (rows, malformed) =
            decode("1,x,2.5\n2,,-1\r\n\n3,\"y, \"\"z\"\"\",0", "c DOUBLE, b STRING");
        assert_eq!(rows, ["2.5|x", "-1.0|NULL", "0.0|y, \"z\""]);
        assert!(malformed.is_empty(), "{malformed:?}");
    }

    #[test]
    fn text_in_quotes_is_never_null() {
        let (rows, malformed) =
            decode("1,\"\",2\n2,,\"\"\n\"\",\"x\"\"\",1\n", "b STRING, c DOUBLE");
        assert_eq!(rows, ["|2.0", "NULL|NULL", "x\"|1.0"]);
        assert!(malformed.is_empty(), "{malformed:?}");
    }

    #[test]
    fn an_empty_line_is_a_row_of_a_single_column() {
        for (content, block) in [("\nx\n\n\"\"\n", 1), ("\r\nx\r\n\r\n\"\"\r\n", 3)] {
            let decoder = CsvDecoder::new(STYLE, &names(&["a"]), &schema("a STRING"), 1).unwrap();
            let (rows, malformed) = decode_all(decoder, content.as_bytes(), block);
            assert_eq!(rows, ["NULL", "x", "NULL", ""]);
            assert!(malformed.is_empty(), "{malformed:?}");
        }
    }

    #[test]
    fn rows_are_counted_where_no_column_is_wanted() {
        let (rows, _) = decode("1,x,2\n3,4,5\n", "");
        assert_eq!(rows, ["", ""]);
    }

    #[test]
    fn malformed_rows_are_told_with_their_lines() {
        let content = "1,x,2\n3,4\n\n\"a\nb\",y,3\nfive,y,3\n6,y,3,4\n7,y,oops\n8,z,9\n";
        let (rows, malformed) = decode(content, "a INT, c DOUBLE");
        assert_eq!(rows, ["1|2.0", "8|9.0"]);
        assert_eq!(
            malformed,
            [
                "2: expected 3 fields, found 2",
                "4: field 1 'a': expected INT, found 'a\nb'",
                "6: field 1 'a': expected INT, found 'five'",
                "7: expected 3 fields, found 4",
                "8: field 3 'c': expected DOUBLE, found 'oops'",
            ]
        );
    }

    #[test]
    fn nulls_do_not_go_into_columns_that_refuse_them() {
        let (rows, malformed) = decode(",x,2\n3,y,4\n", "a INT NOT NULL, b STRING");
        assert_eq!(rows, ["3|y"]);
        assert_eq!(malformed, ["1: field 1 'a': it is null, but the column is NOT NULL"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_malformed() {
        let decoder = CsvDecoder::new(STYLE, &names(&["a", "b"]), &schema("a STRING, b INT"), 1);
        let found = decode_all(decoder.unwrap(), b"x,1\n\xff,2\ny,3\n", 1000);
        assert_eq!(found.0, ["x|1", "y|3"]);
        assert_eq!(found.1, ["2: field 1 'a': '\u{fffd}' is not UTF-8"]);
    }

    #[test]
    fn headers_may_come_in_parts() {
        let content = text("\u{feff}\n name ,\"b\nc\"\n1,2\n");
        assert_eq!(parse_header(&content[..9], false, STYLE), None);
        let header = parse_header(&content, false, STYLE).unwrap();
        assert_eq!(header.names, ["name", "b\nc"]);
        assert_eq!((header.bytes, header.next_line), (17, 4));
        assert_eq!(parse_header(b"a,b", true, STYLE).unwrap().names, ["a", "b"]);
        assert!(parse_header(b"", true, STYLE).unwrap().names.is_empty());
    }

    #[test]
    fn a_missing_column_is_told_with_those_that_are_there() {
        let error = CsvDecoder::new(STYLE, &names(&["a", "b"]), &schema("z INT"), 1).err().unwrap();
        assert_eq!(error.to_string(), "there is no column 'z' among a, b");
    }
}
