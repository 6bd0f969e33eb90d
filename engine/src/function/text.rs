//! Functions of texts.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Builder, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{ScalarFunctionArgs, ScalarUDF};

use super::scalar::{Integers, Scalar, Texts};

const TEXT: DataType = DataType::Utf8View;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let integer: &[DataType] = &[TEXT, TEXT, DataType::Int64];
    let boolean = |_: &[DataType]| DataType::Boolean;
    vec![
        Scalar::new("split_index", &[integer], |_| TEXT, split_index).udf(),
        Scalar::new("locate", &[&integer[..2], integer], |_| DataType::Int32, locate).udf(),
        Scalar::new("is_alpha", &[&[TEXT]], boolean, |args| {
            all_characters(args, char::is_alphabetic)
        })
        .udf(),
        Scalar::new("is_digit", &[&[TEXT]], boolean, |args| all_characters(args, char::is_numeric))
            .udf(),
        Scalar::new("is_decimal", &[&[TEXT]], boolean, is_decimal).udf(),
    ]
}

/// SPLIT_INDEX(text, delimiter, index): the part with this number, from 0; null where there is
/// none. Delimiters next to each other have an empty part between them.
fn split_index(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let (texts, delimiters) = (Texts::new(args, 0)?, Texts::new(args, 1)?);
    let indices = Integers::new(args, 2)?;
    let mut out = StringViewBuilder::with_capacity(args.number_rows);
    let literal = (delimiters, indices);
    if let (Texts::Scalar(Some(delimiter)), Integers::Scalar(Some(index))) = literal
        && let ([delimiter], Ok(index)) = (delimiter.as_bytes(), usize::try_from(index))
    {
        // The usual case: one ASCII character, which no other character contains.
        for row in 0..args.number_rows {
            out.append_option(texts.get(row).and_then(|text| nth_part(text, *delimiter, index)));
        }
        return Ok(Arc::new(out.finish()));
    }
    for row in 0..args.number_rows {
        let part = match (texts.get(row), delimiters.get(row), indices.get(row)) {
            (Some(text), Some(delimiter), Some(index)) if !text.is_empty() => {
                usize::try_from(index).ok().and_then(|index| split(text, delimiter, index))
            }
            _ => None,
        };
        out.append_option(part);
    }
    Ok(Arc::new(out.finish()))
}

fn nth_part(text: &str, delimiter: u8, index: usize) -> Option<&str> {
    if text.is_empty() {
        return None;
    }
    let bytes = text.as_bytes();
    let start = match index.checked_sub(1) {
        Some(before) => nth_byte(bytes, delimiter, before)? + 1,
        None => 0,
    };
    let end = nth_byte(&bytes[start..], delimiter, 0).map_or(bytes.len(), |length| start + length);
    Some(&text[start..end])
}

/// Finds the occurrence of a byte with this number, from 0. Eight bytes are looked at together,
/// which takes half the time of a loop over bytes: parts are too short for a vectorised search.
fn nth_byte(bytes: &[u8], wanted: u8, mut number: usize) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let mut found = equal_bytes(u64::from_le_bytes(*word), wanted);
        let count = (found >> 7).wrapping_mul(ONES) >> 56;
        if number < count as usize {
            for _ in 0..number {
                found &= found - 1;
            }
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
        number -= count as usize;
    }
    let rest = rest.iter().enumerate().filter(|(_, byte)| **byte == wanted);
    rest.map(|(index, _)| words.len() * 8 + index).nth(number)
}

const ONES: u64 = 0x0101_0101_0101_0101;

/// Sets the highest bit of every byte that is the wanted one, and no other bits.
fn equal_bytes(word: u64, wanted: u8) -> u64 {
    const LOW: u64 = ONES * 0x7f;
    let differ = word ^ (ONES * u64::from(wanted));
    !(((differ & LOW) + LOW) | differ | LOW)
}

fn split<'t>(text: &'t str, delimiter: &str, index: usize) -> Option<&'t str> {
    if delimiter.is_empty() {
        return text.split_whitespace().nth(index);
    }
    text.split(delimiter).nth(index)
}

/// LOCATE(wanted, text [, start]): the position of the first occurrence, from 1 in characters; 0
/// where there is none.
fn locate(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let (wanted, texts) = (Texts::new(args, 0)?, Texts::new(args, 1)?);
    let starts = match args.args.len() {
        2 => Integers::Scalar(Some(1)),
        _ => Integers::new(args, 2)?,
    };
    let mut out = Int32Builder::with_capacity(args.number_rows);
    for row in 0..args.number_rows {
        let position = match (wanted.get(row), texts.get(row), starts.get(row)) {
            (Some(wanted), Some(text), Some(start)) => Some(position(wanted, text, start)),
            _ => None,
        };
        out.append_option(position);
    }
    Ok(Arc::new(out.finish()))
}

fn position(wanted: &str, text: &str, start: i64) -> i32 {
    let Some(skipped) = usize::try_from(start - 1).ok() else { return 0 };
    let offset = text.char_indices().nth(skipped).map(|(offset, _)| offset);
    let Some(offset) = offset.or_else(|| (skipped == 0).then_some(0)) else { return 0 };
    match text[offset..].find(wanted) {
        Some(found) => (skipped + text[offset..offset + found].chars().count() + 1) as i32,
        None => 0,
    }
}

fn all_characters(args: &ScalarFunctionArgs, is_fine: fn(char) -> bool) -> Result<ArrayRef> {
    let texts = Texts::new(args, 0)?;
    let fine = |text: &str| !text.is_empty() && text.chars().all(is_fine);
    let array: BooleanArray =
        (0..args.number_rows).map(|row| Some(texts.get(row).is_some_and(fine))).collect();
    Ok(Arc::new(array))
}

fn is_decimal(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let texts = Texts::new(args, 0)?;
    let fine = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite);
    let array: BooleanArray =
        (0..args.number_rows).map(|row| Some(texts.get(row).is_some_and(fine))).collect();
    Ok(Arc::new(array))
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int32Type;
    use datafusion::logical_expr::ColumnarValue;

    use super::super::scalar::testing::{call, number, results, text, texts};
    use super::*;

    fn run(name: &str, args: Vec<ColumnarValue>, rows: usize) -> ArrayRef {
        call(&functions(), name, args, rows).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn split_index_counts_parts_from_zero() {
        let url = "https://www.nexmark.com/abcde/fghij/klmno/item.htm?query=1";
        let column = texts(&[Some(url), Some("a//b"), Some(""), None, Some("grün/é/ß")]);
        for (index, expected) in [
            (0, [Some("https:"), Some("a"), None, None, Some("grün")]),
            (1, [Some(""), Some(""), None, None, Some("é")]),
            (3, [Some("abcde"), None, None, None, None]),
            (-1, [None; 5]),
        ] {
            let args = vec![column.clone(), text("/"), number(index)];
            assert_eq!(results(&run("split_index", args, 5)), expected, "{index}");
        }
        let args = vec![texts(&[Some("a::b::c")]), text("::"), number(2)];
        assert_eq!(results(&run("split_index", args, 1)), [Some("c")]);
    }

    #[test]
    fn every_occurrence_of_a_byte_is_found() {
        let text = "//aé/\u{ff}//////////b/cc/ddd/eeee/fffff/gggggg/h/\u{0}/";
        for (start, _) in text.char_indices() {
            let bytes = &text.as_bytes()[start..];
            let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'/').collect();
            let found: Vec<usize> = (0..).map_while(|n| nth_byte(bytes, b'/', n)).collect();
            assert_eq!(found, places, "{start}");
        }
    }

    #[test]
    fn locate_counts_characters_from_one() {
        let check = |wanted: &str, of: &str, start: i64, expected: i32| {
            let args = vec![text(wanted), text(of), number(start)];
            let array = run("locate", args, 1);
            assert_eq!(
                array.as_primitive::<Int32Type>().value(0),
                expected,
                "{wanted} {of} {start}"
            );
        };
        check("b", "abcb", 1, 2);
        check("b", "abcb", 3, 4);
        check("x", "abc", 1, 0);
        check("ß", "grüß", 1, 4);
        check("a", "", 1, 0);
        check("a", "a", 0, 0);
        check("a", "a", 5, 0);
    }

    #[test]
    fn characters_are_classified() {
        let check = |name: &str, of: &str, expected: bool| {
            assert_eq!(run(name, vec![text(of)], 1).as_boolean().value(0), expected, "{name} {of}");
        };
        check("is_alpha", "abc", true);
        check("is_alpha", "a1", false);
        check("is_digit", "123", true);
        check("is_digit", "", false);
        check("is_decimal", "-1.5", true);
        check("is_decimal", "x", false);
    }
}
