//! From queries to jobs.

use arrow::datatypes::SchemaRef;
use sqlparser::ast::{Query, Spanned};

use crate::error::{SqlError, SqlErrorCode, SqlErrors};
use crate::script::{JobPlan, Step};
use crate::session::QueryContext;
use crate::statement::{Insert, Statement};

/// Plans a SELECT whose names are resolved.
///
/// # Errors
/// What is wrong with it or not supported.
pub(crate) fn plan_select(_context: QueryContext<'_>, query: &Query) -> Result<Step, SqlErrors> {
    Err(SqlError::at(SqlErrorCode::Unsupported, query.span(), "queries cannot be run yet").into())
}

/// Plans the INSERTs of one job, whose names are resolved.
///
/// # Errors
/// What is wrong with them or not supported.
pub(crate) fn plan_inserts(
    _context: QueryContext<'_>,
    inserts: &[Insert],
) -> Result<JobPlan, SqlErrors> {
    let span = inserts[0].table.span;
    Err(SqlError::at(SqlErrorCode::Unsupported, span, "INSERT cannot be run yet").into())
}

/// Explains a SELECT or INSERTs whose names are resolved: pairs of a plan's name and its text.
///
/// # Errors
/// What is wrong with it or not supported.
pub(crate) fn explain(
    _context: QueryContext<'_>,
    _statement: &Statement,
) -> Result<Vec<(String, String)>, SqlErrors> {
    Ok(Vec::new())
}

/// Binds a query whose names are resolved and returns its columns.
///
/// # Errors
/// The first thing that is wrong with it.
pub(crate) fn query_schema(
    _context: QueryContext<'_>,
    _query: &Query,
) -> Result<SchemaRef, SqlErrors> {
    Ok(arrow::datatypes::Schema::empty().into())
}
