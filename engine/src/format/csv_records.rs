//! The records of CSV files.

use std::ops::Range;

use super::CsvStyle;

/// A longer record is malformed, and not kept while it is read: a quote that is not closed makes
/// one of all that follows.
pub(crate) const RECORD_BYTES_MAX: usize = 16 << 20;

/// Records cut into fields, one after the other in one buffer.
///
/// A quote counts only where a field begins with it. Inside of quotes it is doubled or escaped, and
/// after the one that closes them their field ends.
pub(super) struct Records {
    quote: u8,
    delimiter: u8,
    escape: Option<u8>,
    /// The bytes that end what is outside of quotes, or need a look.
    is_special: [bool; 256],
    /// Whether an empty line is a record, as it is in files of one column.
    pub(super) has_empty: bool,
    pub(super) data: Vec<u8>,
    pub(super) fields: Vec<FieldPlace>,
    /// The number of fields of each record.
    pub(super) widths: Vec<usize>,
    /// The line on which each record begins.
    pub(super) lines: Vec<u64>,
    state: State,
    /// Where the fields and the data of the record begin that is being read.
    record: (usize, usize),
    /// Whether the field that is being read is in quotes.
    quoted: bool,
    /// What is wrong with the record that was read last.
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

/// Where in a record reading stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between two records.
    Outside,
    /// Before a field's first byte.
    Begin,
    /// In a field or a part of one that is not in quotes.
    Plain,
    /// In quotes.
    Quoted,
    /// After a quote in quotes, which closes them unless another one follows.
    AfterQuote,
    /// After an escape character.
    Escaped,
}

impl Records {
    /// Returns the bytes that its buffers take.
    pub(super) fn memory_bytes(&self) -> usize {
        self.data.capacity()
            + self.fields.capacity() * size_of::<FieldPlace>()
            + self.widths.capacity() * size_of::<usize>()
            + self.lines.capacity() * size_of::<u64>()
    }

    pub(super) fn new(style: &CsvStyle) -> Self {
        let mut is_special = [false; 256];
        let special = [Some(style.delimiter), style.escape, Some(b'\n'), Some(b'\r')];
        special.into_iter().flatten().for_each(|byte| is_special[usize::from(byte)] = true);
        Self {
            quote: style.quote,
            delimiter: style.delimiter,
            escape: style.escape,
            is_special,
            has_empty: false,
            data: Vec::new(),
            fields: Vec::new(),
            widths: Vec::new(),
            lines: Vec::new(),
            state: State::Outside,
            record: (0, 0),
            quoted: false,
            flaw: None,
            after_return: false,
            line: 1,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.widths.len()
    }

    /// Returns the size of the complete records, in bytes.
    pub(super) fn complete_bytes(&self) -> usize {
        if self.state == State::Outside { self.data.len() } else { self.record.1 }
    }

    /// Takes input until there are `limit` records and returns how much of it.
    pub(super) fn push(&mut self, input: &[u8], limit: usize) -> usize {
        let mut at = 0;
        while at < input.len() && (self.count() < limit || self.after_return) {
            if std::mem::take(&mut self.after_return) {
                let line_feed = input[at] == b'\n';
                self.line += u64::from(line_feed);
                at += usize::from(line_feed);
            } else if self.state != State::Outside || !matches!(input[at], b'\n' | b'\r') {
                at += self.read(&input[at..]);
            } else {
                self.end_blank_line(input[at]);
                at += 1;
            }
        }
        at
    }

    /// Takes the end of a blank line.
    fn end_blank_line(&mut self, byte: u8) {
        self.after_return = byte == b'\r';
        if self.has_empty {
            self.lines.push(self.line);
            self.fields.push(FieldPlace { end: self.data.len(), quoted: false });
            self.widths.push(1);
        }
        self.line += u64::from(byte == b'\n');
    }

    /// Takes input of a record, at most up to its end, and returns how much of it.
    fn read(&mut self, input: &[u8]) -> usize {
        if self.state == State::Outside {
            self.lines.push(self.line);
            self.flaw = None;
            self.record = (self.fields.len(), self.data.len());
            self.state = State::Begin;
        }
        let mut rest = input;
        while let [byte, after @ ..] = rest {
            match self.state {
                State::Outside => break,
                State::Begin if *byte == self.quote => {
                    self.quoted = true;
                    self.state = State::Quoted;
                    rest = after;
                }
                State::Begin => self.state = State::Plain,
                State::Plain => rest = self.read_plain(rest),
                State::Quoted => rest = self.read_quoted(rest),
                State::AfterQuote => rest = self.read_after_quote(*byte, rest),
                State::Escaped => {
                    self.unescape(*byte);
                    rest = after;
                }
            }
        }
        input.len() - rest.len()
    }

    /// Takes what is outside of quotes, up to the end of its field, and returns what remains.
    fn read_plain<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let special = input.iter().position(|byte| self.is_special[usize::from(*byte)]);
        let (plain, rest) = input.split_at(special.unwrap_or(input.len()));
        self.keep(plain);
        let [byte, rest @ ..] = rest else { return rest };
        if Some(*byte) == self.escape {
            self.state = State::Escaped;
        } else {
            self.end_field(*byte);
        }
        rest
    }

    /// Takes what is in quotes, up to the next one, and returns what remains.
    fn read_quoted<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let special = memchr::memchr2(self.quote, self.escape.unwrap_or(self.quote), input);
        let (text, rest) = input.split_at(special.unwrap_or(input.len()));
        self.keep(text);
        self.line += memchr::memchr_iter(b'\n', text).count() as u64;
        let [byte, rest @ ..] = rest else { return rest };
        self.state = if *byte == self.quote { State::AfterQuote } else { State::Escaped };
        rest
    }

    /// Finds out what the quote before `byte`, the first of `input`, was.
    fn read_after_quote<'a>(&mut self, byte: u8, input: &'a [u8]) -> &'a [u8] {
        if byte == self.quote {
            self.keep(&[byte]);
            self.state = State::Quoted;
            return &input[1..];
        }
        if !self.is_special[usize::from(byte)] || Some(byte) == self.escape {
            self.complain("there is text behind its closing quote");
            self.quoted = false;
        }
        self.state = State::Plain;
        input
    }

    /// Takes the byte after an escape character.
    fn unescape(&mut self, byte: u8) {
        self.line += u64::from(byte == b'\n');
        self.keep(&[match byte {
            b'0' => 0,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            other => other,
        }]);
        self.state = if self.quoted { State::Quoted } else { State::Plain };
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
        let (field, begin) = self.record;
        if self.data.len() - begin > RECORD_BYTES_MAX {
            self.fields.truncate(field);
            self.data.truncate(begin);
            let megabytes = RECORD_BYTES_MAX >> 20;
            self.flaw =
                Some(format!("it is longer than {megabytes} MiB: a quote may not be closed"));
        }
    }

    /// Notes what is wrong with the field that is being read, unless something was before it.
    fn complain(&mut self, reason: &str) {
        let field = self.fields.len() - self.record.0 + 1;
        self.flaw.get_or_insert_with(|| format!("field {field}: {reason}"));
    }

    /// Ends a field, and its record where a line ends.
    fn end_field(&mut self, byte: u8) {
        let quoted = std::mem::take(&mut self.quoted);
        self.fields.push(FieldPlace { end: self.data.len(), quoted });
        self.state = State::Begin;
        if byte != self.delimiter {
            self.widths.push(self.fields.len() - self.record.0);
            self.after_return = byte == b'\r';
            self.line += u64::from(byte == b'\n');
            self.state = State::Outside;
        }
    }

    /// Ends the record that is being read.
    pub(super) fn finish(&mut self) {
        match self.state {
            State::Outside => return,
            State::Quoted => self.complain("its quote is not closed"),
            State::Escaped => self.complain("nothing follows its escape character"),
            State::Begin | State::Plain | State::AfterQuote => {}
        }
        let line = self.line;
        self.end_field(b'\n');
        self.line = line;
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
        self.data.truncate(self.fields.last().map_or(0, |field| field.end));
    }

    pub(super) fn clear(&mut self) {
        self.data.clear();
        self.fields.clear();
        self.widths.clear();
        self.lines.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::STYLE;

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
}
