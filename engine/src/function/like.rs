//! LIKE … ESCAPE: patterns with an escape character of their own.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ScalarFunctionArgs, ScalarUDF};

use super::scalar::{Scalar, Texts};

/// Makes a pattern of LIKE with an escape character one that is escaped with backslashes, which is
/// what LIKE knows.
pub const LIKE_PATTERN: &str = "like_pattern";

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    const TEXT: DataType = DataType::Utf8View;
    vec![Scalar::new(LIKE_PATTERN, &[&[TEXT, TEXT]], |_| TEXT, like_patterns).udf()]
}

fn like_patterns(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let (patterns, escapes) = (Texts::new(args, 0)?, Texts::new(args, 1)?);
    let mut out = StringViewBuilder::with_capacity(args.number_rows);
    let mut escaped = String::new();
    for row in 0..args.number_rows {
        let (Some(pattern), Some(escape)) = (patterns.get(row), escapes.get(row)) else {
            out.append_null();
            continue;
        };
        escaped.clear();
        if !like_pattern(pattern, escape.chars().next(), &mut escaped) {
            return exec_err!("the pattern '{pattern}' of LIKE ends with its escape character");
        }
        out.append_value(&escaped);
    }
    Ok(Arc::new(out.finish()))
}

/// Writes a pattern behind `out`, escaped with backslashes in place of `escape`. Tells whether it
/// is one: it must not end with the escape character.
pub fn like_pattern(pattern: &str, escape: Option<char>, out: &mut String) -> bool {
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let is_escaped = Some(character) == escape;
        let literal = if is_escaped { characters.next() } else { Some(character) };
        let Some(literal) = literal else { return false };
        let is_special = matches!(literal, '%' | '_');
        if literal == '\\' || (is_escaped && is_special) {
            out.push('\\');
        }
        out.push(literal);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::scalar::testing::{call, results, text, texts};
    use super::*;

    #[test]
    fn patterns_are_escaped_with_backslashes() {
        for (pattern, escape, expected) in [
            ("a#%b%", Some('#'), Some(r"a\%b%")),
            ("##_#_", Some('#'), Some(r"#_\_")),
            (r"a\%", Some('#'), Some(r"a\\%")),
            (r"a\%\\", Some('\\'), Some(r"a\%\\")),
            (r"a\%", None, Some(r"a\\%")),
            ("%%_", Some('%'), Some(r"\%_")),
            ("#a", Some('#'), Some("a")),
            ("a#", Some('#'), None),
            ("éé#é", Some('é'), None),
        ] {
            let mut out = String::new();
            let found = like_pattern(pattern, escape, &mut out).then_some(out);
            assert_eq!(found.as_deref(), expected, "{pattern}");
        }
    }

    #[test]
    fn each_row_has_its_pattern() {
        let patterns = texts(&[Some("a!%"), None, Some("b_")]);
        let escaped = call(&functions(), LIKE_PATTERN, vec![patterns, text("!")], 3).unwrap();
        assert_eq!(results(&escaped), [Some(r"a\%"), None, Some("b_")]);
        let wrong = call(&functions(), LIKE_PATTERN, vec![texts(&[Some("a!")]), text("!")], 1);
        let message = wrong.unwrap_err().to_string();
        assert!(message.contains("the pattern 'a!' of LIKE ends with its escape character"));
    }
}
