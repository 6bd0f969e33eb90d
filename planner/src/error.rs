//! Complaints about SQL, each at its place in the text.

use std::fmt;

use datafusion::error::DataFusionError;
use sqlparser::tokenizer::{Location, Span};

/// What kind of complaint a [`SqlError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SqlErrorCode {
    /// The text is not SQL of this dialect.
    Parse,
    /// A `${NAME}` that was given no value.
    UnknownVariable,
    /// No table or view of this name.
    UnknownTable,
    /// No column or field of this name.
    UnknownColumn,
    /// No function of this name.
    UnknownFunction,
    /// A name that could mean several things.
    Ambiguous,
    /// Types that do not fit, or a wrong number of arguments.
    Type,
    /// SQL that is understood but not supported; the message names it.
    Unsupported,
    /// A WITH option that the connector refuses.
    InvalidOption,
    /// A setting that does not exist or has no such value.
    InvalidSetting,
    /// A statement that cannot stand as it is: a wrong number of columns, a watermark on no
    /// timestamp, a step that would wait for ever.
    InvalidStatement,
    /// Something of this name exists already.
    Exists,
    /// A defect of the planner.
    Internal,
}

impl SqlErrorCode {
    /// Returns the code as users see it, such as `unknown_table`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::UnknownVariable => "unknown_variable",
            Self::UnknownTable => "unknown_table",
            Self::UnknownColumn => "unknown_column",
            Self::UnknownFunction => "unknown_function",
            Self::Ambiguous => "ambiguous",
            Self::Type => "type",
            Self::Unsupported => "unsupported",
            Self::InvalidOption => "invalid_option",
            Self::InvalidSetting => "invalid_setting",
            Self::InvalidStatement => "invalid_statement",
            Self::Exists => "exists",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for SqlErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One complaint about a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// The kind of complaint.
    pub code: SqlErrorCode,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// 1-based line in the script; 0 where the place is not known.
    pub line: usize,
    /// 1-based column in characters; 0 where the place is not known.
    pub column: usize,
    /// How many characters of the line are concerned, at least 1.
    pub length: usize,
    /// What may help, such as a name that was probably meant.
    pub help: Option<String>,
}

impl SqlError {
    /// Makes a complaint about a span of the script. An empty span means an unknown place.
    pub fn at(code: SqlErrorCode, span: Span, message: impl Into<String>) -> Self {
        let (line, column) = (span.start.line as usize, span.start.column as usize);
        let length = if span.end.line == span.start.line {
            (span.end.column.saturating_sub(span.start.column)) as usize
        } else {
            1
        };
        Self { code, message: message.into(), line, column, length: length.max(1), help: None }
    }

    /// Makes a complaint about one place of the script.
    pub fn at_location(code: SqlErrorCode, location: Location, message: impl Into<String>) -> Self {
        Self::at(code, Span::new(location, location), message)
    }

    /// Adds a hint.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a "did you mean", where there is something to suggest.
    #[must_use]
    pub fn with_suggestion(mut self, suggestion: Option<&str>) -> Self {
        if let Some(name) = suggestion {
            self.help = Some(format!("did you mean '{name}'?"));
        }
        self
    }

    /// Adds a hint that is better than those before, where there is one.
    #[must_use]
    pub(crate) fn with_better_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// Gives a complaint without a place this one.
    #[must_use]
    pub fn or_at(mut self, span: Span) -> Self {
        if self.line == 0 {
            let placed = Self::at(self.code, span, String::new());
            (self.line, self.column, self.length) = (placed.line, placed.column, placed.length);
        }
        self
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        write!(f, "{}", self.message)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

impl std::error::Error for SqlError {}

/// All complaints about a script, in the order of its text. Nothing of it has been started and
/// the session is as it was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlErrors(pub Vec<SqlError>);

impl SqlErrors {
    /// Succeeds where there is nothing to complain about.
    ///
    /// # Errors
    /// The complaints.
    pub fn check(errors: Vec<SqlError>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self(errors)) }
    }

    /// Says that the complaints are about the text of a view, which is not the one that is read
    /// now: they have no place in it.
    pub(crate) fn of_view(mut self, view: &str) -> Self {
        for error in &mut self.0 {
            error.line = 0;
            error.message = format!("view '{view}': {}", error.message);
        }
        self
    }
}

impl From<SqlError> for SqlErrors {
    fn from(error: SqlError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for SqlErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SqlErrors {}

/// What is wrong with the text of a view, on its way through DataFusion's planner.
#[derive(Debug, thiserror::Error)]
#[error("view '{view}'")]
pub(crate) struct ViewError {
    pub(crate) view: String,
    #[source]
    pub(crate) cause: DataFusionError,
}

/// Sends a complaint through DataFusion's planner.
pub(crate) fn fail(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Makes a complaint about SQL that is understood but not supported.
pub(crate) fn unsupported(span: Span, message: impl Into<String>) -> SqlError {
    SqlError::at(SqlErrorCode::Unsupported, span, message)
}

/// Returns a place as the parser has it.
pub(crate) fn span_from(span: &datafusion::common::Span) -> Span {
    let start = Location::new(span.start.line, span.start.column);
    Span::new(start, Location::new(span.end.line, span.end.column))
}

/// Returns a number of things, such as `1 column` or `2 columns`.
pub(crate) fn counted(count: usize, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// Returns the candidate that was probably meant by `name`, if one is near.
pub(crate) fn suggest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
