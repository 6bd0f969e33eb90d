//! LIKE … ESCAPE, which DataFusion knows with a backslash only.

use rainstorm_engine::function::{LIKE_PATTERN, like_pattern};
use sqlparser::ast::{Expr, Spanned, Value};

use crate::error::{SqlError, SqlErrorCode};
use crate::parse::call;

/// Takes ESCAPE out of a LIKE: its pattern becomes one that is escaped with backslashes.
///
/// # Errors
/// `Type` where ESCAPE does not give one character, or a written pattern ends with it.
pub(super) fn rewrite_escape(expr: &mut Expr) -> Result<(), SqlError> {
    let (Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. }) = expr
    else {
        return Ok(());
    };
    let Some(escape) = escape_char.take() else { return Ok(()) };
    let wrong = |found: String| {
        let message = format!("ESCAPE takes a text of one character, not {found}");
        SqlError::at(SqlErrorCode::Type, escape.span, message)
    };
    let Value::SingleQuotedString(text) = &escape.value else {
        return Err(wrong(escape.value.to_string()));
    };
    let mut characters = text.chars();
    let (character, None) = (characters.next(), characters.next()) else {
        return Err(wrong(format!("'{text}'")));
    };
    let span = pattern.span();
    let Some(written) = written(pattern) else {
        let inner = std::mem::replace(pattern.as_mut(), Expr::value(Value::Null));
        **pattern = call(LIKE_PATTERN, vec![inner, Expr::Value(escape)], span);
        return Ok(());
    };
    let mut escaped = String::new();
    if !like_pattern(written, character, &mut escaped) {
        let message = format!("the pattern '{written}' ends with its escape character");
        return Err(SqlError::at(SqlErrorCode::Type, span, message));
    }
    *written = escaped;
    Ok(())
}

/// Returns a pattern that is written down.
fn written(pattern: &mut Expr) -> Option<&mut String> {
    match pattern {
        Expr::Nested(inner) => written(inner),
        Expr::Value(value) => match &mut value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}
