//! CSV to columns.
//!
//! Records are cut into fields; only the fields of wanted columns are parsed, column
//! by column, straight from the gathered bytes.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::csv_records::Records;
use super::field::{check_type, parse_column, type_name};
use super::{CsvStyle, Decoded, Malformed, RowDecoder};
use crate::batch::{TARGET_BATCH_BYTES, TARGET_BATCH_ROWS};
use crate::{Error, Result};

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

    /// Sorts out the last record where it has too few or too many fields, or its quotes are wrong.
    fn check_record(&mut self) {
        let Some(&width) = self.records.widths.last() else { return };
        let flaw = self.records.flaw.take().or_else(|| {
            (width != self.width).then(|| format!("expected {} fields, found {width}", self.width))
        });
        if let Some(reason) = flaw {
            let line = self.records.lines[self.records.count() - 1];
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
        let text = std::str::from_utf8(&self.records.data).ok();
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
                self.check_record();
            }
        }
        at
    }

    fn finish(&mut self) {
        let count = self.records.count();
        self.records.finish();
        if self.records.count() > count {
            self.check_record();
        }
    }

    fn is_full(&self) -> bool {
        let count = self.records.count() + self.malformed.len();
        let is_full =
            count >= TARGET_BATCH_ROWS || self.records.complete_bytes() >= TARGET_BATCH_BYTES;
        is_full && !self.records.after_return
    }

    fn line(&self) -> u64 {
        self.records.line
    }

    fn memory_bytes(&self) -> usize {
        self.records.memory_bytes()
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
    use crate::format::testing::{STYLE, decode_all, schema};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn decode(content: &str, columns: &str) -> (Vec<String>, Vec<String>) {
        decode_styled(STYLE, content, columns)
    }

    fn decode_styled(style: &CsvStyle, content: &str, columns: &str) -> (Vec<String>, Vec<String>) {
        let mut all = Vec::new();
        for block in [1, 3, 1000] {
            let decoder = CsvDecoder::new(style, &names(&["a", "b", "c"]), &schema(columns), 1);
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
    fn quotes_are_closed_and_end_their_field() {
        let (rows, malformed) = decode("1,\"x\"y,2\n2,\"x\"\"\",3\r\n3,\"\",\"4\"\r\n", "b STRING");
        assert_eq!(rows, ["x\"", ""]);
        assert_eq!(malformed, ["1: field 2: there is text behind its closing quote"]);
        let (rows, malformed) = decode("1,a,2\n2,\"x,3\n3,y,4\n4,z,5\n", "b STRING");
        assert_eq!(rows, ["a"]);
        assert_eq!(malformed, ["2: field 2: its quote is not closed"]);
        let (rows, malformed) = decode("1,a,\"2\"", "b STRING, c DOUBLE");
        assert_eq!((rows, malformed.len()), (vec!["a|2.0".to_owned()], 0));
    }

    #[test]
    fn a_quote_within_quotes_is_doubled_or_closes_them() {
        let content = "1,\"{\\\"k\\\":1}\",2\n2,\"\"a\"\",3\r\n3,\"b\" ,4\n4,\"\"\"\"\"\",5\r\n\
            5,\"c\" \"d\",6\n6,\"e\"";
        let (rows, malformed) = decode(&format!("{content},7"), "b STRING");
        assert_eq!(rows, ["\"\"", "e"]);
        let behind = |line| format!("{line}: field 2: there is text behind its closing quote");
        assert_eq!(malformed, [1, 2, 3, 5].map(behind));
    }

    #[test]
    fn quotes_within_plain_fields_are_text() {
        let content = "1,a\"b\"c,2\r\n2, \"x\",3\n3,5\" pipe,4\n4,\"\",5\n5,a\"";
        let (rows, malformed) = decode(&format!("{content},6\r"), "b STRING");
        assert_eq!(rows, ["a\"b\"c", " \"x\"", "5\" pipe", "", "a\""]);
        assert!(malformed.is_empty(), "{malformed:?}");
    }

    #[test]
    fn an_escaped_character_is_text() {
        let style = CsvStyle { escape: Some(b'\\'), ..STYLE.clone() };
        let content = "1,\"{\\\"k\\\":1}\",2\n2,a\\,b\\\\,3\r\n3,\"\\n\"\"\\t\\0\\é\",4\n\
            4,a\\\nb,\\5\n5,x\\\"\r\n6,\"x\"\\,7\n7,y,8\n";
        let (rows, malformed) = decode_styled(&style, content, "b STRING, c DOUBLE");
        let expected = ["{\"k\":1}|2.0", "a,b\\|3.0", "\n\"\t\0é|4.0", "a\nb|5.0", "y|8.0"];
        assert_eq!(rows, expected);
        let expected =
            ["6: expected 3 fields, found 2", "7: field 2: there is text behind its closing quote"];
        assert_eq!(malformed, expected);
        let (rows, malformed) = decode_styled(&style, "1,x,\\", "b STRING");
        assert_eq!(
            (rows.len(), malformed),
            (0, vec!["1: field 3: nothing follows its escape character".to_owned()])
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
    fn a_missing_column_is_told_with_those_that_are_there() {
        let error = CsvDecoder::new(STYLE, &names(&["a", "b"]), &schema("z INT"), 1).err().unwrap();
        assert_eq!(error.to_string(), "there is no column 'z' among a, b");
    }
}
