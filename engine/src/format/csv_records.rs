//! The records of CSV files.

use std::ops::Range;

use csv_core::ReadFieldResult;

use super::CsvStyle;

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

/// A longer record is malformed, and not kept while it is read: a quote that is not closed makes
/// one of all that follows.
const RECORD_BYTES_MAX: usize = 16 << 20;

/// Records cut into fields, one after the other in one buffer.
pub(super) struct Records {
    core: csv_core::Reader,
    quote: u8,
    /// Whether an empty line is a record, as it is in files of one column.
    pub(super) has_empty: bool,
    pub(super) data: Vec<u8>,
    pub(super) data_len: usize,
    pub(super) fields: Vec<FieldPlace>,
    /// The number of fields of each record.
    pub(super) widths: Vec<usize>,
    /// The line on which each record begins.
    pub(super) lines: Vec<u64>,
    /// The record that is being read.
    open: Option<Open>,
    /// What is wrong with the quotes of the record that was read last.
    pub(super) flaw: Option<String>,
    /// Whether a carriage return has ended a line, to which a line feed may still belong.
    pub(super) after_return: bool,
    pub(super) line: u64,
}

/// Where a field ends in the buffer; it begins where the one before ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct FieldPlace {
    end: usize,
    /// Whether it was in quotes, so that it is text and never null.
    pub(super) quoted: bool,
}

/// A record that is being read.
#[derive(Debug, Clone, Copy)]
struct Open {
    first_field: usize,
    /// Whether the field that is being read is in quotes, once that is known.
    quoted: Option<bool>,
    /// How the quotes of the field that is being read stand.
    quotes: Quotes,
}

/// The quotes of a field that begins with one, so far.
#[derive(Debug, Clone, Copy, Default)]
struct Quotes {
    /// Whether there is an odd number of them: what follows is inside.
    open: bool,
    /// Whether the last byte is one.
    last: bool,
}

impl Quotes {
    fn take(&mut self, input: &[u8], quote: u8) {
        let count = input.iter().map(|byte| usize::from(*byte == quote)).sum::<usize>();
        self.open ^= count % 2 == 1;
        self.last = input.last().map_or(self.last, |last| *last == quote);
    }

    fn flaw(self, field: usize) -> Option<String> {
        if self.open {
            Some(format!("field {field}: its quote is not closed"))
        } else if !self.last {
            Some(format!("field {field}: there is text behind its closing quote"))
        } else {
            None
        }
    }
}

impl Records {
    pub(super) fn new(style: &CsvStyle) -> Self {
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
            flaw: None,
            after_return: false,
            line: 1,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.widths.len()
    }

    /// Takes input until there are `limit` records and returns how much of it.
    pub(super) fn push(&mut self, input: &[u8], limit: usize) -> usize {
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
            self.flaw = None;
            Open { first_field: self.fields.len(), quoted: None, quotes: Quotes::default() }
        });
        let first = input.first().copied();
        let quoted = *open.quoted.get_or_insert(first == Some(self.quote));
        let (result, taken, written) = self.core.read_field(input, &mut self.data[self.data_len..]);
        self.line += input[..taken].iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
        self.data_len += written;
        let begin = open.first_field.checked_sub(1).map_or(0, |field| self.fields[field].end);
        if self.data_len - begin > RECORD_BYTES_MAX {
            self.fields.truncate(open.first_field);
            self.data_len = begin;
            let megabytes = RECORD_BYTES_MAX >> 20;
            self.flaw =
                Some(format!("it is longer than {megabytes} MiB: a quote may not be closed"));
        }
        let ends_field = matches!(result, ReadFieldResult::Field { .. });
        if quoted {
            // What ends a field, unless it is the end of the file, is no part of it.
            let of_field = taken - usize::from(ends_field && taken > 0);
            open.quotes.take(&input[..of_field], self.quote);
        }
        self.open = Some(open);
        if let ReadFieldResult::Field { record_end } = result {
            if quoted && self.flaw.is_none() {
                self.flaw = open.quotes.flaw(self.fields.len() - open.first_field + 1);
            }
            self.fields.push(FieldPlace { end: self.data_len, quoted });
            self.open = Some(Open { quoted: None, quotes: Quotes::default(), ..open });
            if record_end {
                self.after_return = input[..taken].last() == Some(&b'\r');
                self.widths.push(self.fields.len() - open.first_field);
                self.open = None;
            }
        }
        taken
    }

    /// Ends the record that is being read.
    pub(super) fn finish(&mut self) {
        while self.open.is_some() {
            self.read(&[]);
        }
    }

    /// Returns where a field is in `data`.
    pub(super) fn range(&self, field: usize) -> Range<usize> {
        let begin = if field == 0 { 0 } else { self.fields[field - 1].end };
        begin..self.fields[field].end
    }

    pub(super) fn lossy(&self, field: usize) -> String {
        String::from_utf8_lossy(&self.data[self.range(field)]).into_owned()
    }

    /// Forgets the last record.
    pub(super) fn pop(&mut self) {
        let width = self.widths.pop().unwrap_or(0);
        self.lines.pop();
        self.fields.truncate(self.fields.len() - width);
        self.data_len = self.fields.last().map_or(0, |field| field.end);
    }

    pub(super) fn clear(&mut self) {
        self.data_len = 0;
        self.fields.clear();
        self.widths.clear();
        self.lines.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::text;

    const STYLE: &CsvStyle =
        &CsvStyle { header: true, delimiter: b',', quote: b'"', null_literal: String::new() };

    #[test]
    fn a_record_without_end_is_not_kept() {
        let mut records = Records::new(STYLE);
        records.push(b"a,b\n1,\"x", usize::MAX);
        let line = b"2,yyyyyyyyyyyyyyyyyyyyyyyyyyyyy\n".repeat(1 << 15);
        for _ in 0..40 {
            assert_eq!(records.push(&line, usize::MAX), line.len());
        }
        records.finish();
        assert!(records.data.len() <= 4 * RECORD_BYTES_MAX, "{}", records.data.len());
        let flaw = records.flaw.clone().unwrap_or_default();
        assert!(flaw.starts_with("it is longer than 16 MiB"), "{flaw}");
        records.pop();
        assert_eq!((records.count(), records.lossy(1)), (1, "b".to_owned()));
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
}
