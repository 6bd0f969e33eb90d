//! Complaints that travel through DataFusion's planner.

use datafusion::error::DataFusionError;
use sqlparser::tokenizer::Span;

use crate::error::{SqlError, SqlErrorCode, SqlErrors};

/// Sends a complaint through DataFusion's planner.
pub(crate) fn fail(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Sends complaints through DataFusion's planner.
pub(super) fn fail_all(errors: SqlErrors) -> DataFusionError {
    DataFusionError::External(Box::new(errors))
}

/// Makes a complaint about SQL that is understood but not supported.
pub(crate) fn unsupported(span: Span, message: impl Into<String>) -> SqlError {
    SqlError::at(SqlErrorCode::Unsupported, span, message)
}
