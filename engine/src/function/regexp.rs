//! REGEXP_EXTRACT.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ScalarFunctionArgs, ScalarUDF};
use regex::{CaptureLocations, Regex};

use super::scalar::{Check, Integers, Scalar, Texts};

const TEXT: DataType = DataType::Utf8View;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let takes: &[&[DataType]] = &[&[TEXT, TEXT], &[TEXT, TEXT, DataType::Int64]];
    let checked = (1, (|pattern| compiled(pattern).map(drop)) as Check);
    vec![Scalar::checked("regexp_extract", takes, TEXT, regexp_extract, checked)]
}

thread_local! {
    /// Expressions that were used lately, by their text: the literals of the queries that run.
    static COMPILED: RefCell<Vec<(String, Regex)>> = const { RefCell::new(Vec::new()) };
}

const MAX_COMPILED: usize = 32;

/// Returns an expression, compiled once per thread while it is in use.
fn compiled(pattern: &str) -> Result<Regex> {
    COMPILED.with_borrow_mut(|compiled| {
        if let Some((_, found)) = compiled.iter().find(|(known, _)| known == pattern) {
            return Ok(found.clone());
        }
        let new = Regex::new(pattern).map_err(|error| {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
            exec_datafusion_err!("'{pattern}' is not a regular expression: {reason}")
        })?;
        if compiled.len() == MAX_COMPILED {
            compiled.remove(0);
        }
        compiled.push((pattern.to_owned(), new.clone()));
        Ok(new)
    })
}

/// An expression with the place for its groups.
struct Extractor {
    regex: Regex,
    groups: CaptureLocations,
}

impl Extractor {
    fn new(pattern: &str) -> Result<Self> {
        let regex = compiled(pattern)?;
        let groups = regex.capture_locations();
        Ok(Self { regex, groups })
    }

    /// Returns what a group of the first match holds.
    fn extract<'t>(&mut self, text: &'t str, group: usize) -> Option<&'t str> {
        if group == 0 {
            return self.regex.find(text).map(|found| found.as_str());
        }
        self.regex.captures_read(&mut self.groups, text)?;
        self.groups.get(group).map(|(start, end)| &text[start..end])
    }
}

/// REGEXP_EXTRACT(text, expression [, group]): what the group, from 1, of the first match holds;
/// group 0 is the whole match. Null where there is no match or no such group.
fn regexp_extract(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let (texts, patterns) = (Texts::new(args, 0)?, Texts::new(args, 1)?);
    let groups = match args.args.len() {
        2 => Integers::Scalar(Some(0)),
        _ => Integers::new(args, 2)?,
    };
    let mut out = StringViewBuilder::with_capacity(args.number_rows);
    let mut literal = match patterns {
        Texts::Scalar(Some(pattern)) => Some(Extractor::new(pattern)?),
        _ => None,
    };
    for row in 0..args.number_rows {
        let group = groups.get(row).and_then(|group| usize::try_from(group).ok());
        let found = match (texts.get(row), patterns.get(row), group, &mut literal) {
            (Some(text), _, Some(group), Some(extractor)) => extractor.extract(text, group),
            (Some(text), Some(pattern), Some(group), None) => {
                Extractor::new(pattern)?.extract(text, group)
            }
            _ => None,
        };
        out.append_option(found);
    }
    Ok(Arc::new(out.finish()))
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::ColumnarValue;

    use super::super::scalar::testing::{call, number, results, text, texts};
    use super::*;

    fn run(args: Vec<ColumnarValue>, rows: usize) -> Result<ArrayRef> {
        call(&functions(), "regexp_extract", args, rows)
    }

    #[test]
    fn a_group_of_the_first_match_is_returned() {
        let column = texts(&[
            Some("https://x/item.htm?query=1&channel_id=42&channel_id=7"),
            Some("channel_id=9"),
            Some("https://x/item.htm?query=1"),
            None,
        ]);
        let pattern = text("(&|^)channel_id=([^&]*)");
        let array = run(vec![column.clone(), pattern.clone(), number(2)], 4).unwrap();
        assert_eq!(results(&array), [Some("42"), Some("9"), None, None]);
        let array = run(vec![column.clone(), pattern.clone()], 4).unwrap();
        assert_eq!(results(&array)[1], Some("channel_id=9"));
        let array = run(vec![column, pattern, number(3)], 4).unwrap();
        assert_eq!(results(&array), [None; 4]);
    }

    #[test]
    fn expressions_may_differ_by_row() {
        let args = vec![text("a1b2"), texts(&[Some("[0-9]"), Some("b."), None])];
        assert_eq!(results(&run(args, 3).unwrap()), [Some("1"), Some("b2"), None]);
    }

    #[test]
    fn a_broken_expression_is_an_error_that_names_it() {
        let error = run(vec![text("a"), text("(")], 1).expect_err("is refused").to_string();
        assert!(error.contains("'(' is not a regular expression"), "{error}");
    }
}
