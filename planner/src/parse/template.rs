//! `${NAME}` variables.

use std::collections::BTreeMap;

use sqlparser::tokenizer::Location;

use crate::error::{SqlError, SqlErrorCode, SqlErrors, suggest};

/// A script's text with its variables put in, which knows where each character came from.
pub(crate) struct Template {
    text: String,
    /// Place in the script of each character of `text`, and of its end.
    places: Vec<Location>,
    /// Index in `places` of each line of `text`.
    lines: Vec<usize>,
}

/// Where a scan of SQL text stands.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Code,
    Quoted(char),
    LineComment,
    BlockComment,
    Hint,
}

impl Template {
    /// Puts the variables in, everywhere but in comments.
    ///
    /// # Errors
    /// A complaint per variable without a value.
    pub(crate) fn new(
        script: &str,
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, SqlErrors> {
        let mut template = Self { text: String::new(), places: Vec::new(), lines: vec![0] };
        let mut errors = Vec::new();
        let mut state = State::Code;
        let mut place = Location::new(1, 1);
        // Editors of some systems begin every file with a byte order mark.
        let mut rest = script.strip_prefix('\u{feff}').unwrap_or(script);
        while let Some(c) = rest.chars().next() {
            if let Some(name) = variable(rest).filter(|_| !state.is_comment()) {
                let length = name.len() + 3;
                match variables.get(name) {
                    Some(value) => value.chars().for_each(|c| template.push(c, place)),
                    None => errors.push(unknown(name, place, variables)),
                }
                place.column += rest[..length].chars().count() as u64;
                rest = &rest[length..];
                continue;
            }
            state = state.after(rest);
            template.push(c, place);
            place = next_place(place, c);
            rest = &rest[c.len_utf8()..];
        }
        template.places.push(place);
        SqlErrors::check(errors)?;
        Ok(template)
    }

    /// Returns the text with all variables put in.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Moves complaints about the text to their places in the script.
    pub(crate) fn locate(&self, mut errors: SqlErrors) -> SqlErrors {
        for error in &mut errors.0 {
            let line = error.line.checked_sub(1).and_then(|line| self.lines.get(line));
            let place = line.and_then(|start| self.places.get(start + error.column.max(1) - 1));
            if let Some(place) = place {
                (error.line, error.column) = (place.line as usize, place.column as usize);
            }
        }
        errors
    }

    fn push(&mut self, c: char, place: Location) {
        self.text.push(c);
        self.places.push(place);
        if c == '\n' {
            self.lines.push(self.places.len());
        }
    }
}

impl State {
    fn is_comment(self) -> bool {
        matches!(self, Self::LineComment | Self::BlockComment)
    }

    /// Returns the state after the first character of `rest`.
    fn after(self, rest: &str) -> Self {
        let c = rest.chars().next();
        match self {
            Self::Code if rest.starts_with("--") => Self::LineComment,
            Self::Code if rest.starts_with("/*+") => Self::Hint,
            Self::Code if rest.starts_with("/*") => Self::BlockComment,
            Self::Code => match c {
                Some(quote @ ('\'' | '"' | '`')) => Self::Quoted(quote),
                _ => Self::Code,
            },
            // A doubled quote ends and begins again, which comes to the same.
            Self::Quoted(quote) if c == Some(quote) => Self::Code,
            Self::LineComment if c == Some('\n') => Self::Code,
            // Left at the slash; the star before it has been seen.
            Self::BlockComment | Self::Hint if rest.starts_with("*/") => Self::Code,
            other => other,
        }
    }
}

fn next_place(place: Location, c: char) -> Location {
    if c == '\n' {
        Location::new(place.line + 1, 1)
    } else {
        Location::new(place.line, place.column + 1)
    }
}

/// Returns the name where the text begins with `${NAME}`.
fn variable(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix("${")?.split_once('}')?;
    let valid = !name.is_empty()
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'));
    valid.then_some(name)
}

fn unknown(name: &str, place: Location, variables: &BTreeMap<String, String>) -> SqlError {
    let message = format!("variable '{name}' has no value");
    let mut error = SqlError::at_location(SqlErrorCode::UnknownVariable, place, message);
    error.length = name.chars().count() + 3;
    match suggest(name, variables.keys().map(String::as_str)) {
        Some(known) => error.with_suggestion(Some(known)),
        None => error.with_help(format!("give it one with -D {name}=value")),
    }
}
