//! JSON lines to columns.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, RecordBatchOptions,
    StringViewArray, StructArray,
};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;

use super::field::{parse_column, type_name};
use super::json_values::bytes_of;
use super::{Decoded, Malformed, RowDecoder};
use crate::batch::{TARGET_BATCH_BYTES, TARGET_BATCH_ROWS};
use crate::map_entries::{has_maps, last_entries};
use crate::wording::{tidy, with_sql_types};
use crate::{Error, Result};

/// Decodes a file of one JSON object a line. Keys that no column has are ignored, columns that
/// have no key are null. Numbers and booleans in text columns are taken as text.
pub(crate) struct JsonDecoder {
    schema: SchemaRef,
    /// What is decoded: the schema with decimals, whole numbers and bytes as text, of which the
    /// first are then rounded as elsewhere, the second refused where they are not whole and the last
    /// are base64; or a column that nobody looks at where it has none, so that rows are still
    /// checked and counted.
    decoded: SchemaRef,
    has_maps: bool,
    lines: Vec<u8>,
    /// Where each complete line ends, and its number.
    ends: Vec<(usize, u64)>,
    line: u64,
}

impl JsonDecoder {
    /// Makes one for the columns in `schema`; the next row begins on `line`.
    pub(crate) fn new(schema: &SchemaRef, line: u64) -> Self {
        let decoded = if schema.fields().is_empty() {
            Arc::new(Schema::new(vec![Field::new("", DataType::Boolean, true)]))
        } else {
            Arc::new(Schema::new(schema.fields().iter().map(decoded_field).collect::<Vec<_>>()))
        };
        Self {
            schema: Arc::clone(schema),
            decoded,
            has_maps: has_maps(schema),
            lines: Vec::new(),
            ends: Vec::new(),
            line,
        }
    }

    /// Ends the line that is being read; a blank one is no row.
    fn end_line(&mut self) {
        let begin = self.ends.last().map_or(0, |(end, _)| *end);
        if self.lines[begin..].iter().all(u8::is_ascii_whitespace) {
            self.lines.truncate(begin);
        } else {
            self.ends.push((self.lines.len(), self.line));
        }
    }

    fn decode(&self, lines: &[u8], count: usize) -> Result<RecordBatch, ArrowError> {
        let mut decoder = ReaderBuilder::new(Arc::clone(&self.decoded))
            .with_batch_size(count.max(1))
            .with_coerce_primitive(true)
            .build_decoder()?;
        let taken = decoder.decode(lines)?;
        let rows = match decoder.flush()? {
            Some(rows) => rows,
            None => RecordBatch::new_empty(Arc::clone(&self.decoded)),
        };
        if taken < lines.len() && !lines[taken..].iter().all(u8::is_ascii_whitespace) {
            return Err(ArrowError::JsonError("there is more than one object".to_owned()));
        }
        if rows.num_rows() < count {
            return Err(ArrowError::JsonError("there is no object".to_owned()));
        }
        self.with_last_entries(self.with_numbers(rows)?)
    }

    /// Parses the numbers that have been decoded as text.
    fn with_numbers(&self, rows: RecordBatch) -> Result<RecordBatch, ArrowError> {
        if !self.schema.fields().iter().any(is_text_first) {
            return Ok(rows);
        }
        let column = |(column, field): (&ArrayRef, &FieldRef)| parse_numbers(column, field);
        let columns = rows.columns().iter().zip(self.schema.fields()).map(column);
        RecordBatch::try_new(Arc::clone(&self.schema), columns.collect::<Result<_, _>>()?)
    }

    /// Drops entries of maps whose keys come again.
    fn with_last_entries(&self, rows: RecordBatch) -> Result<RecordBatch, ArrowError> {
        if !self.has_maps {
            return Ok(rows);
        }
        let columns = rows.columns().iter().map(last_entries).collect::<Result<_, _>>()?;
        RecordBatch::try_new(rows.schema(), columns)
    }

    /// Decodes line by line, and then together those that are sound.
    fn sort_out(&self) -> Result<(RecordBatch, Vec<Malformed>), ArrowError> {
        let (mut sound, mut count) = (Vec::with_capacity(self.lines.len()), 0);
        let mut malformed = Vec::new();
        let mut begin = 0;
        for (end, line) in &self.ends {
            let text = &self.lines[begin..*end];
            begin = *end;
            match self.decode(text, 1) {
                Ok(_) => {
                    sound.extend_from_slice(text);
                    count += 1;
                }
                Err(error) => malformed.push(Malformed { line: *line, reason: reason(error) }),
            }
        }
        Ok((self.decode(&sound, count)?, malformed))
    }

    fn without_placeholder(&self, rows: RecordBatch) -> Result<RecordBatch> {
        if !self.schema.fields().is_empty() {
            return Ok(rows);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), Vec::new(), &options)
            .map_err(failed)
    }
}

/// Tells whether a column is, or contains, numbers that are decoded as text.
fn is_text_first(field: &FieldRef) -> bool {
    decoded_type(field.data_type()) != *field.data_type()
}

fn decoded_field(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(decoded_type(field.data_type())))
}

fn decoded_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(decoded_field).collect()),
        DataType::List(item) => DataType::List(decoded_field(item)),
        DataType::Map(entries, sorted) => DataType::Map(decoded_field(entries), *sorted),
        number if number.is_integer() => DataType::Utf8View,
        DataType::Decimal128(..) | DataType::Binary => DataType::Utf8View,
        other => other.clone(),
    }
}

fn parse_numbers(decoded: &ArrayRef, field: &FieldRef) -> Result<ArrayRef, ArrowError> {
    Ok(match field.data_type() {
        _ if !is_text_first(field) => Arc::clone(decoded),
        DataType::Struct(fields) => Arc::new(parse_struct(decoded.as_struct(), fields, field)?),
        DataType::List(item) => {
            let list = decoded.as_list::<i32>();
            let values = parse_numbers(list.values(), &named_as(item, field))?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, nulls)?)
        }
        DataType::Map(entries, sorted) => {
            let map = decoded.as_map();
            let DataType::Struct(fields) = entries.data_type() else {
                return Err(ArrowError::SchemaError("the entries of a map are rows".to_owned()));
            };
            let values = parse_struct(map.entries(), fields, field)?;
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Arc::new(MapArray::try_new(Arc::clone(entries), offsets, values, nulls, *sorted)?)
        }
        _ => parse_texts(decoded.as_string_view(), field)?,
    })
}

fn parse_struct(
    rows: &StructArray,
    fields: &Fields,
    of: &FieldRef,
) -> Result<StructArray, ArrowError> {
    let column = |(column, field)| parse_numbers(column, &named_as(field, of));
    let columns = rows.columns().iter().zip(fields).map(column).collect::<Result<Vec<_>, _>>()?;
    StructArray::try_new(fields.clone(), columns, rows.nulls().cloned())
}

/// Names a part of a column, for complaints, as the column: what has no column of its own is told
/// by the one that it is in.
fn named_as(part: &FieldRef, of: &FieldRef) -> FieldRef {
    Arc::new(part.as_ref().clone().with_name(of.name()))
}

fn parse_texts(texts: &StringViewArray, field: &FieldRef) -> Result<ArrayRef, ArrowError> {
    if *field.data_type() == DataType::Binary {
        let wrong = |text| format!("field '{}': expected base64, found '{text}'", field.name());
        return bytes_of(texts).map_err(|text| ArrowError::JsonError(wrong(text)));
    }
    let whole = field.data_type().is_integer().then(|| without_points(texts));
    let texts = whole.as_ref().unwrap_or(texts);
    let mut misfit = None;
    let parsed = parse_column(field.data_type(), texts.iter(), &mut |_, text: &str| {
        misfit.get_or_insert_with(|| text.to_owned());
    });
    let expected = type_name(field.data_type()).unwrap_or_default();
    match (parsed, misfit) {
        (Some(parsed), None) => Ok(parsed),
        (_, misfit) => Err(ArrowError::JsonError(format!(
            "field '{}': expected {expected}, found '{}'",
            field.name(),
            misfit.unwrap_or_default()
        ))),
    }
}

/// Writes whole numbers such as `1.0` and `1e3` without point and exponent.
fn without_points(texts: &StringViewArray) -> StringViewArray {
    let has_point = |text: &str| text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    if !texts.iter().flatten().any(has_point) {
        return texts.clone();
    }
    let whole = |text: &str| {
        // Beyond 2^53 a DOUBLE does not tell whole numbers apart.
        let number = text.parse::<f64>().ok().filter(|number| number.abs() <= 2_f64.powi(53))?;
        (number.fract() == 0.0).then(|| (number as i64).to_string())
    };
    texts
        .iter()
        .map(|text| {
            let text = text?;
            let number = if has_point(text) { whole(text) } else { None };
            Some(number.map_or(Cow::Borrowed(text), Cow::Owned))
        })
        .collect()
}

fn reason(error: ArrowError) -> String {
    match error {
        ArrowError::JsonError(reason) => in_our_words(&reason),
        other => in_our_words(&other.to_string()),
    }
}

fn in_our_words(reason: &str) -> String {
    let field = |rest: &'_ str| {
        let (name, rest) = rest.split_once("': ")?;
        Some(format!("field '{name}': {}", in_our_words(rest)))
    };
    let value = |rest: &'_ str| {
        let (value, data_type) = rest.split_once(" as ")?;
        let data_type = data_type.split(": ").next().unwrap_or(data_type);
        Some(format!("expected {}, found {value}", with_sql_types(data_type)))
    };
    let kind = |rest: &'_ str| {
        let (expected, found) = rest.split_once(" got ")?;
        let expected = match expected {
            "{" => "an object",
            "[" => "an array",
            "primitive" => "a single value",
            other => return Some(format!("expected {}, found {found}", other.to_uppercase())),
        };
        Some(format!("expected {expected}, found {found}"))
    };
    let character = |rest: &'_ str| {
        let (found, what) = rest.split_once(" whilst parsing ")?;
        Some(format!("unexpected {found} in {what}"))
    };
    let end = |what: &'_ str| Some(format!("the line ends inside of {what}"));
    let strip = |prefix| reason.strip_prefix(prefix);
    strip("whilst decoding field '")
        .and_then(field)
        .or_else(|| strip("failed to parse ").and_then(value))
        .or_else(|| strip("expected ").and_then(kind))
        .or_else(|| strip("Encountered unexpected ").and_then(character))
        .or_else(|| strip("Truncated record whilst reading ").and_then(end))
        .unwrap_or_else(|| tidy(reason))
}

fn failed(error: ArrowError) -> Error {
    Error::compute("read rows of a json file", error)
}

impl RowDecoder for JsonDecoder {
    fn push(&mut self, input: &[u8]) -> usize {
        let mut at = 0;
        while at < input.len() && !self.is_full() {
            let rest = &input[at..];
            let end = rest.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(rest.len(), |end| end + 1);
            self.lines.extend_from_slice(&rest[..taken]);
            at += taken;
            if end.is_some() {
                self.end_line();
                self.line += 1;
            }
        }
        at
    }

    fn finish(&mut self) {
        self.end_line();
    }

    fn is_full(&self) -> bool {
        let bytes = self.ends.last().map_or(0, |(end, _)| *end);
        self.ends.len() >= TARGET_BATCH_ROWS || bytes >= TARGET_BATCH_BYTES
    }

    fn line(&self) -> u64 {
        self.line
    }

    fn memory_bytes(&self) -> usize {
        self.lines.capacity() + self.ends.capacity() * size_of::<(usize, u64)>()
    }

    fn take(&mut self) -> Result<Decoded> {
        let (rows, malformed) = match self.decode(&self.lines, self.ends.len()) {
            Ok(rows) => (rows, Vec::new()),
            Err(_) => self.sort_out().map_err(failed)?,
        };
        self.lines.clear();
        self.ends.clear();
        Ok(Decoded { rows: self.without_placeholder(rows)?, malformed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{decode_all, schema};

    fn decode(content: &str, columns: &str) -> (Vec<String>, Vec<String>) {
        let mut all = Vec::new();
        for block in [1, 3, 1000] {
            all.push(decode_all(JsonDecoder::new(&schema(columns), 1), content.as_bytes(), block));
        }
        assert!(all.iter().all(|found| *found == all[0]), "{all:?}");
        all.swap_remove(0)
    }

    #[test]
    fn keys_become_columns() {
        let content =
            "{\"b\":\"x\",\"a\":1,\"more\":[1,{}]}\n\n{\"a\":null}\r\n{\"a\":3,\"b\":\"é\"}";
        let (rows, malformed) = decode(content, "a BIGINT, b STRING");
        assert_eq!(rows, ["1|x", "NULL|NULL", "3|é"]);
        assert!(malformed.is_empty(), "{malformed:?}");
    }

    #[test]
    fn numbers_may_be_text() {
        let content = "{\"s\":1.50}\n{\"s\":true}\n";
        assert_eq!(decode(content, "s STRING").0, ["1.50", "true"]);
    }

    #[test]
    fn decimals_are_rounded() {
        let content = "{\"d\":1.239}\n{\"d\":\"-1.235\"}\n{\"d\":null}\n{\"d\":\"x\"}\n";
        let (rows, malformed) = decode(content, "d DECIMAL");
        assert_eq!(rows, ["1.24", "-1.24", "NULL"]);
        assert_eq!(malformed, ["4: field 'd': expected DECIMAL(10, 2), found 'x'"]);
    }

    #[test]
    fn whole_numbers_are_whole() {
        let content = "{\"a\":1.0}\n{\"a\":\"2\"}\n{\"a\":-3e2}\n{\"a\":1.5}\n{\"a\":3e9}\n";
        let (rows, malformed) = decode(content, "a INT");
        assert_eq!(rows, ["1", "2", "-300"]);
        let expected = ["4: field 'a': expected INT, found '1.5'"];
        assert_eq!(malformed[..1], expected);
        assert_eq!(malformed[1], "5: field 'a': expected INT, found '3000000000'");
    }

    #[test]
    fn numbers_within_rows_are_whole_too() {
        let content =
            "{\"r\":{\"x\":1.0,\"y\":\"a\"}}\n{\"r\":{\"x\":1.5}}\n{\"r\":{}}\n{\"r\":null}";
        let (rows, malformed) = decode(content, "r ROW");
        assert_eq!(rows, ["{x: 1, y: a}", "{x: NULL, y: NULL}", "NULL"]);
        assert_eq!(malformed, ["2: field 'r': expected BIGINT, found '1.5'"]);
    }

    #[test]
    fn the_last_of_the_same_keys_counts() {
        let content = "{\"m\":{\"a\":1,\"b\":2,\"a\":3}}\n{\"m\":null}\n{\"m\":{}}\n\
            {\"m\":{\"b\":4}}\n{\"m\":{\"a\":5,\"a\":null}}\n";
        let (rows, malformed) = decode(content, "m MAP");
        assert_eq!(rows, ["{b: 2, a: 3}", "NULL", "{}", "{b: 4}", "{a: NULL}"]);
        assert!(malformed.is_empty(), "{malformed:?}");
    }

    #[test]
    fn bytes_are_base64() {
        let content = "{\"b\":\"AAH/\"}\n{\"b\":\"\"}\n{\"b\":null}\n{\"b\":\"A\"}\n";
        let (rows, malformed) = decode(content, "b BYTES");
        assert_eq!(rows, ["0001ff", "", "NULL"]);
        assert_eq!(malformed, ["4: field 'b': expected base64, found 'A'"]);
    }

    #[test]
    fn complaints_have_sqls_words() {
        let content = "{\"t\":\"noon\"}\n{\"t\":[]}\n{\"t\":x}\n[]\n{\"t\":{\"a\":1}";
        let (_, malformed) = decode(content, "t TIMESTAMP");
        let expected = [
            "1: field 't': expected TIMESTAMP(3), found \"noon\"",
            "2: field 't': expected a single value, found []",
            "3: unexpected 'x' in value",
            "4: expected an object, found []",
            "5: the line ends inside of object",
        ];
        assert_eq!(malformed, expected);
    }

    #[test]
    fn rows_within_rows_are_narrowed() {
        let content = "{\"r\":{\"x\":1,\"y\":\"a\",\"z\":true}}\n{\"r\":null}\n";
        assert_eq!(decode(content, "r ROW").0, ["{x: 1, y: a}", "NULL"]);
        assert_eq!(decode(content, "r ROWY").0, ["{y: a}", "NULL"]);
    }

    #[test]
    fn times_are_text_in_either_spelling() {
        let content = "{\"t\":\"2001-01-01 00:00:00.5\"}\n{\"t\":\"2001-01-01T00:00:00Z\"}\n";
        let (rows, _) = decode(content, "t TIMESTAMP");
        assert_eq!(rows, ["2001-01-01T00:00:00.500", "2001-01-01T00:00:00"]);
    }

    #[test]
    fn malformed_rows_are_told_with_their_lines() {
        let content =
            "{\"a\":1}\n\n{\"a\":\n{\"a\":\"x\"}\n{\"a\":4}{\"a\":5}\n7\n{\"a\":8}\n{\"a\"";
        let (rows, malformed) = decode(content, "a INT");
        assert_eq!(rows, ["1", "8"]);
        let lines = malformed.iter().map(|row| row.split_once(':').unwrap().0).collect::<Vec<_>>();
        assert_eq!(lines, ["3", "4", "5", "6", "8"], "{malformed:?}");
        assert_eq!(malformed[0], "3: the line ends inside of value");
        assert_eq!(malformed[1], "4: field 'a': expected INT, found 'x'");
        assert_eq!(malformed[2], "5: there is more than one object");
    }

    #[test]
    fn rows_are_counted_where_no_column_is_wanted() {
        let (rows, malformed) = decode("{\"a\":1}\n{}\nx\n", "");
        assert_eq!((rows.len(), malformed.len()), (2, 1));
    }
}
