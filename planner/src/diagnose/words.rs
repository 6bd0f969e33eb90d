//! DataFusion's messages in SQL's words.

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use rainstorm_engine::wording::{in_plain_words, reason, tidy};

use super::sentences::{Place, known};
use crate::error::{SqlError, SqlErrorCode, suggest};

/// What is said about an error, and where its place is found.
pub(super) struct Described {
    pub(super) code: SqlErrorCode,
    pub(super) message: String,
    pub(super) help: Option<String>,
    pub(super) place: Place,
}

impl Described {
    pub(super) fn new(code: SqlErrorCode, message: String) -> Self {
        Self { code, message, help: None, place: Place::Expression }
    }
}

pub(super) fn describe(error: &DataFusionError) -> Described {
    match error {
        DataFusionError::SchemaError(error, _) => describe_schema_error(error),
        DataFusionError::NotImplemented(message) => {
            known(message).unwrap_or_else(|| unknown(SqlErrorCode::Unsupported, message))
        }
        DataFusionError::Plan(message)
        | DataFusionError::Execution(message)
        | DataFusionError::Configuration(message) => {
            known(message).unwrap_or_else(|| unknown(code_of(message), message))
        }
        DataFusionError::SQL(error, _) => {
            let SqlError { message, help, .. } = SqlError::from((**error).clone());
            Described { help, ..Described::new(SqlErrorCode::Parse, message) }
        }
        DataFusionError::Internal(message) => {
            known(message).unwrap_or_else(|| unknown(SqlErrorCode::Internal, message))
        }
        other => {
            let message = reason(other);
            known(&message).unwrap_or_else(|| Described::new(SqlErrorCode::Type, message))
        }
    }
}

/// Says what is in no table, where it is not for programmers only.
fn unknown(code: SqlErrorCode, message: &str) -> Described {
    let instead = match code {
        SqlErrorCode::Internal => "this cannot be planned, which is a defect of the planner",
        SqlErrorCode::Type => "this does not fit together",
        _ => "this is not supported",
    };
    Described::new(code, in_plain_words(tidy(message), instead))
}

/// Some of DataFusion's plan errors are of other kinds than types.
fn code_of(message: &str) -> SqlErrorCode {
    if message.contains("not supported") || message.contains("Unsupported") {
        SqlErrorCode::Unsupported
    } else if message.contains("mbiguous") {
        SqlErrorCode::Ambiguous
    } else {
        SqlErrorCode::Type
    }
}

fn describe_schema_error(error: &SchemaError) -> Described {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names: Vec<String> = valid_fields.iter().map(|c| c.name().to_owned()).collect();
            let help = suggest(field.name(), names.iter().map(String::as_str))
                .map(|name| format!("did you mean '{name}'?"));
            let message = format!("there is no column '{}'", field.flat_name());
            Described { help, ..Described::new(SqlErrorCode::UnknownColumn, message) }
        }
        SchemaError::AmbiguousReference { field } => Described::new(
            SqlErrorCode::Ambiguous,
            format!("column '{}' is ambiguous", field.flat_name()),
        ),
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            let message = format!("there are two columns '{name}'");
            let help = Some("give one of them another name with AS".to_owned());
            Described { help, ..Described::new(SqlErrorCode::Ambiguous, message) }
        }
    }
}
