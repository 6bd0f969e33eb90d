//! The first line of CSV files: whether it names the columns, and what may be wrong with it.

use super::csv_records::Records;
use super::{CsvStyle, after_mark};

/// The first record of a file and what it takes up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FirstRecord {
    /// Its fields without blanks around them.
    pub(crate) fields: Vec<String>,
    /// Where the content begins, after a byte order mark, in bytes.
    pub(crate) begin: u64,
    /// Where the record ends, in bytes.
    pub(crate) end: u64,
    /// The line on which it begins.
    pub(crate) line: u64,
    /// The line on which the next record begins.
    pub(crate) next_line: u64,
}

/// Reads the first record from the beginning of a file, or returns `None` where `content` holds
/// only a part of it. `ended` says that there is no more.
pub(crate) fn first_record(content: &[u8], ended: bool, style: &CsvStyle) -> Option<FirstRecord> {
    let begin = after_mark(content, ended)?;
    let mut records = Records::new(style);
    let mut end = begin + records.push(&content[begin..], 1);
    // A line feed may still belong to a carriage return.
    if !ended && (records.count() == 0 || records.after_return) {
        return None;
    }
    if records.count() == 0 {
        records.finish();
        end = content.len();
    }
    let fields = 0..records.fields.len();
    Some(FirstRecord {
        fields: fields.map(|field| records.lossy(field).trim().to_owned()).collect(),
        begin: begin as u64,
        end: end as u64,
        line: records.lines.first().copied().unwrap_or(1),
        next_line: records.line,
    })
}

/// Tells whether the fields of a first line are names: each of them names one of the table's
/// columns, or all columns that are not in folders are among them.
pub(crate) fn is_header(fields: &[String], columns: &[String], in_file: &[String]) -> bool {
    let all_named = fields.iter().all(|field| columns.contains(field));
    let names_all = !in_file.is_empty() && in_file.iter().all(|column| fields.contains(column));
    !fields.is_empty() && (all_named || names_all)
}

/// Says what a first line that does not fit may be: one with another delimiter or, where it was
/// taken for data, a header, and the other way around.
pub(crate) fn hint(
    fields: &[String],
    columns: usize,
    style: &CsvStyle,
    taken_for_data: bool,
) -> String {
    let parts = |delimiter: &u8| match fields {
        [field] => field.split(char::from(*delimiter)).count(),
        _ => 1,
    };
    let others = *b",;\t|";
    let others = others.iter().filter(|other| **other != style.delimiter && parts(other) > 1);
    let other = others.min_by_key(|other| (parts(other).abs_diff(columns), **other));
    match other {
        Some(other) if columns > 1 => {
            let other = if *other == b'\t' { "\\t".to_owned() } else { char::from(*other).into() };
            format!("if fields are separated by '{other}', say 'csv.field-delimiter' = '{other}'")
        }
        _ if taken_for_data => "if this line is a header, say 'csv.header' = 'true'".to_owned(),
        _ => "if the first line is no header, say 'csv.header' = 'false'".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::STYLE;

    fn names(names: &str) -> Vec<String> {
        names.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn first_records_may_come_in_parts() {
        let content = "\u{feff}\n name ,\"b\nc\"\n1,2\n".as_bytes();
        for length in 0..16 {
            assert_eq!(first_record(&content[..length], false, STYLE), None, "{length}");
        }
        let first = first_record(content, false, STYLE).unwrap();
        assert_eq!(first.fields, ["name", "b\nc"]);
        assert_eq!((first.begin, first.end, first.line, first.next_line), (3, 17, 2, 4));
        assert_eq!(first_record(b"a,b", true, STYLE).unwrap().fields, ["a", "b"]);
        assert!(first_record(b"", true, STYLE).unwrap().fields.is_empty());
        assert_eq!(first_record(b"aa\r", false, STYLE), None);
        assert_eq!(first_record(b"aa\r\n", false, STYLE).unwrap().end, 4);
    }

    #[test]
    fn headers_are_told_from_rows() {
        let check = |fields: &str, columns: &str, in_file: &str| {
            is_header(&names(fields), &names(columns), &names(in_file))
        };
        assert!(check("a b", "a b", "a b"));
        assert!(check("b a more", "a b", "a b"));
        assert!(check("b", "a b", "a b"));
        assert!(check("day a", "day a b", "a b"));
        assert!(check("a x", "day a", "a"));
        assert!(!check("b x", "a b", "a b"));
        assert!(!check("1 2", "a b", "a b"));
        assert!(!check("", "a b", "a b"));
        assert!(!check("x", "day", ""));
    }

    #[test]
    fn hints_say_what_a_line_may_be() {
        let delimiter = |text: &str, columns| hint(&[text.to_owned()], columns, STYLE, true);
        assert!(delimiter("a;b;c", 3).ends_with("'csv.field-delimiter' = ';'"));
        assert!(delimiter("a;b|c", 3).ends_with("'csv.field-delimiter' = ';'"));
        assert!(delimiter("a;b|c|d", 3).ends_with("'csv.field-delimiter' = '|'"));
        assert!(delimiter("a\tb", 3).ends_with("'csv.field-delimiter' = '\\t'"));
        assert!(delimiter("a;b", 1).ends_with("'csv.header' = 'true'"));
        assert!(hint(&names("a b"), 3, STYLE, false).ends_with("'csv.header' = 'false'"));
    }
}
