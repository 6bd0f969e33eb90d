//! DataFusion's errors as complaints about SQL.

mod culprit;
mod place;
mod sentences;
mod words;

use datafusion::common::Diagnostic;
use datafusion::error::DataFusionError;
use rainstorm_engine::wording::tidy;
use sqlparser::ast::{Query, Spanned, Visit};
use sqlparser::tokenizer::Span;

use self::sentences::Place;
use self::words::Described;
use crate::error::{SqlError, SqlErrors, ViewError, span_from};
use crate::session::QueryContext;

/// Turns an error of binding into complaints. What has no place of its own is placed at
/// `fallback`.
pub(crate) fn from_datafusion(error: &DataFusionError, fallback: Span) -> SqlErrors {
    sorted(collected(error).into_iter().map(|error| error.or_at(fallback)).collect())
}

/// Turns an error of binding an expression into complaints. What has no place of its own is
/// placed at the text, call or operator that it names, if there is only one of these.
pub(crate) fn from_datafusion_in<T: Visit + Spanned>(
    error: &DataFusionError,
    node: &T,
) -> SqlErrors {
    sorted(collected(error).into_iter().map(|error| placed(error, node)).collect())
}

/// Turns an error of planning a query into complaints. What has no place of its own is placed at
/// the expression that is found to be wrong, else at what it names.
pub(crate) fn from_datafusion_in_query(
    error: &DataFusionError,
    context: QueryContext<'_>,
    query: &Query,
) -> SqlErrors {
    let errors = collected(error);
    let is_placed = |error: &SqlError| error.line > 0;
    let is_whole = errors.iter().all(is_placed);
    if is_whole && !errors.iter().any(|error| error.message.contains(LITERALS)) {
        return sorted(errors);
    }
    let errors = match culprit::find(context, query) {
        Some(found) if is_whole => of_literals(errors, &found.0),
        Some(found) => found.0,
        None => errors,
    };
    sorted(errors.into_iter().map(|error| placed(error, query)).collect())
}

/// The type that DataFusion gives to every whole number that is written down.
const LITERALS: &str = "BIGINT";

/// Gives complaints the words of those that are the same but for the types of literals.
fn of_literals(mut errors: Vec<SqlError>, better: &[SqlError]) -> Vec<SqlError> {
    let plain = |error: &SqlError| error.message.replace(LITERALS, "INT");
    for error in &mut errors {
        if let Some(better) = better.iter().find(|better| plain(better) == plain(error)) {
            error.message.clone_from(&better.message);
        }
    }
    errors
}

fn sorted(mut errors: Vec<SqlError>) -> SqlErrors {
    errors.sort_by_key(|error| (error.line, error.column));
    errors.dedup();
    SqlErrors(errors)
}

/// Gives a complaint without a place that of what it names in `node`.
fn placed<T: Visit + Spanned>(error: SqlError, node: &T) -> SqlError {
    if error.line > 0 {
        return error;
    }
    let span = place::literal_in(&error.message, node)
        .or_else(|| place::construct_in(&error.message, node))
        .or_else(|| place::operation_in(&error.message, node));
    error.or_at(span.unwrap_or_else(|| node.span()))
}

/// Returns the complaints that an error consists of, with those places that it knows.
fn collected(error: &DataFusionError) -> Vec<SqlError> {
    let mut errors = Vec::new();
    collect(error, None, &mut errors);
    errors
}

fn collect(error: &DataFusionError, diagnostic: Option<&Diagnostic>, errors: &mut Vec<SqlError>) {
    match error {
        DataFusionError::Diagnostic(diagnostic, inner) => {
            collect(inner, Some(diagnostic), errors);
        }
        DataFusionError::Context(_, inner) => collect(inner, diagnostic, errors),
        DataFusionError::Shared(inner) => collect(inner, diagnostic, errors),
        DataFusionError::Collection(all) => {
            for error in all {
                collect(error, diagnostic, errors);
            }
        }
        // Complaints of ours that came through DataFusion's planner.
        DataFusionError::External(inner) if inner.is::<SqlErrors>() => {
            errors.extend(
                inner.downcast_ref::<SqlErrors>().into_iter().flat_map(|all| all.0.clone()),
            );
        }
        DataFusionError::External(inner) if inner.is::<ViewError>() => {
            if let Some(error) = inner.downcast_ref::<ViewError>() {
                errors.extend(SqlErrors(collected(&error.cause)).of_view(&error.view).0);
            }
        }
        DataFusionError::External(inner) if inner.is::<SqlError>() => {
            errors.extend(inner.downcast_ref::<SqlError>().cloned());
        }
        other => {
            let Described { code, message, help, place } = words::describe(other);
            let span = diagnostic.and_then(|diagnostic| diagnostic.span);
            let span = span.filter(|_| place == Place::Expression);
            let span = span.as_ref().map_or_else(Span::empty, span_from);
            let mut complaint = SqlError::at(code, span, message);
            complaint.help = help.or_else(|| {
                let help = diagnostic.and_then(|diagnostic| diagnostic.helps.first());
                help.map(|help| tidy(&help.message))
            });
            errors.push(complaint);
        }
    }
}

#[cfg(test)]
mod tests;
