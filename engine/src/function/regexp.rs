//! REGEXP_EXTRACT and REGEXP_MATCH.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, StringViewBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{exec_datafusion_err, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ScalarFunctionArgs, ScalarUDF};
use regex::{CaptureLocations, Regex};

use super::lately::Lately;
use super::scalar::{Check, Integers, Scalar, Texts};

const TEXT: DataType = DataType::Utf8View;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let pattern: &[DataType] = &[TEXT, TEXT];
    let check: Check = |pattern, _| compiled(pattern).map(drop);
    let texts = |_: &[DataType]| DataType::List(Arc::new(Field::new_list_field(TEXT, true)));
    let group: &[DataType] = &[TEXT, TEXT, DataType::Int64];
    vec![
        Scalar::new("regexp_extract", &[pattern, group], |_| TEXT, regexp_extract)
            .checking(1, check)
            .udf(),
        Scalar::strict("regexp_match", &[pattern, &[TEXT, TEXT, TEXT]], texts, regexp_match)
            .checking(1, check)
            .udf(),
    ]
}

thread_local! {
    static COMPILED: RefCell<Lately<Regex>> = const { RefCell::new(Lately::new()) };
}

/// Returns an expression, compiled once per thread while it is in use.
fn compiled(pattern: &str) -> Result<Rc<Regex>> {
    COMPILED.with_borrow_mut(|compiled| {
        compiled.get(pattern, |pattern| {
            Regex::new(pattern).map_err(|error| {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default();
                let reason = reason.trim_start_matches("error: ");
                exec_datafusion_err!("'{pattern}' is not a regular expression: {reason}")
            })
        })
    })
}

/// What stands in `(?…)`: whatever the case, over lines, `.` for their ends too, lazily, with
/// blanks that do not count.
const FLAGS: &str = "imsUxR";

/// An expression with the place for its groups.
struct Extractor {
    regex: Rc<Regex>,
    groups: CaptureLocations,
}

impl Extractor {
    fn new(pattern: &str) -> Result<Self> {
        let regex = compiled(pattern)?;
        let groups = regex.capture_locations();
        Ok(Self { regex, groups })
    }

    /// Makes one of an expression with flags before it.
    fn with_flags(pattern: &str, flags: Option<&str>) -> Result<Self> {
        match flags.unwrap_or_default() {
            "" => Self::new(pattern),
            flags if flags.contains('g') => {
                exec_err!("REGEXP_MATCH gives the first match and takes no flag 'g'")
            }
            flags if flags.chars().all(|flag| FLAGS.contains(flag)) => {
                Self::new(&format!("(?{flags}){pattern}"))
            }
            flags => exec_err!("'{flags}' are no flags of a regular expression"),
        }
    }

    /// Returns what a group of the first match holds.
    fn extract<'t>(&mut self, text: &'t str, group: usize) -> Option<&'t str> {
        if group == 0 {
            return self.regex.find(text).map(|found| found.as_str());
        }
        self.regex.captures_read(&mut self.groups, text)?;
        self.groups.get(group).map(|(start, end)| &text[start..end])
    }

    /// Appends what the groups of the first match hold, and tells whether there is a match.
    fn groups(&mut self, text: &str, out: &mut ListBuilder<StringViewBuilder>) -> bool {
        if self.regex.captures_read(&mut self.groups, text).is_none() {
            return false;
        }
        // Group 0 is the whole match.
        let first = usize::from(self.groups.len() > 1);
        for group in first..self.groups.len() {
            let found = self.groups.get(group).map(|(start, end)| &text[start..end]);
            out.values().append_option(found);
        }
        true
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

/// REGEXP_MATCH(text, expression [, flags]): the groups of the first match, null for one that took
/// no part; the whole match where there are no groups; null where there is no match.
fn regexp_match(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let (texts, patterns) = (Texts::new(args, 0)?, Texts::new(args, 1)?);
    let flags = match args.args.len() {
        2 => Texts::Scalar(Some("")),
        _ => Texts::new(args, 2)?,
    };
    let mut out = ListBuilder::new(StringViewBuilder::new());
    let mut literal = match (patterns, flags) {
        (Texts::Scalar(Some(pattern)), Texts::Scalar(flags)) => {
            Some(Extractor::with_flags(pattern, flags)?)
        }
        _ => None,
    };
    for row in 0..args.number_rows {
        let found = match (texts.get(row), patterns.get(row), flags.get(row), &mut literal) {
            (Some(text), _, Some(_), Some(extractor)) => extractor.groups(text, &mut out),
            (Some(text), Some(pattern), flags @ Some(_), None) => {
                Extractor::with_flags(pattern, flags)?.groups(text, &mut out)
            }
            _ => false,
        };
        out.append(found);
    }
    Ok(Arc::new(out.finish()))
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::ColumnarValue;

    use arrow::array::{Array, AsArray};

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
    fn groups_that_took_no_part_are_null_in_their_place() {
        let matches = |args: Vec<ColumnarValue>, rows| -> Vec<Option<String>> {
            let array = call(&functions(), "regexp_match", args, rows).expect("matches");
            let lists = array.as_list::<i32>();
            let text = |row: usize| {
                let groups = lists.value(row);
                let group = |group: Option<&str>| group.unwrap_or("-").to_owned();
                groups.as_string_view().iter().map(group).collect::<Vec<_>>().join(",")
            };
            (0..rows).map(|row| lists.is_valid(row).then(|| text(row))).collect()
        };
        let some = |text: &str| Some(text.to_owned());
        let column = texts(&[Some("ac"), Some("abc"), Some("x"), None]);
        let found = matches(vec![column.clone(), text("(a)(b)?(c)")], 4);
        assert_eq!(found, [some("a,-,c"), some("a,b,c"), None, None]);
        let found = matches(vec![column.clone(), text("B|C"), text("i")], 4);
        assert_eq!(found, [some("c"), some("b"), None, None]);
        let patterns = texts(&[Some("(b)|(a)"), Some(""), Some("y"), Some("a")]);
        assert_eq!(matches(vec![column, patterns], 4), [some("-,a"), some(""), None, None]);
    }

    #[test]
    fn flags_are_looked_at() {
        for (flags, said) in
            [("g", "takes no flag 'g'"), ("i)(", "are no flags"), ("q", "no flags")]
        {
            let args = vec![text("a"), text("a"), text(flags)];
            let error = call(&functions(), "regexp_match", args, 1).expect_err("is refused");
            assert!(error.to_string().contains(said), "{flags}: {error}");
        }
    }

    #[test]
    fn a_broken_expression_is_an_error_that_names_it() {
        let error = run(vec![text("a"), text("(")], 1).expect_err("is refused").to_string();
        assert!(error.contains("'(' is not a regular expression"), "{error}");
    }
}
