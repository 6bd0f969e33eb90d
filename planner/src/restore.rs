//! A catalog, read back from its text.
//!
//! What one definition refers to may have changed since it was written. Such a definition is kept
//! as text, since a start must not fail for it, nor may it vanish.

use rainstorm_engine::function::Registry;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::catalog::{Catalog, Unreadable};
use crate::define::Definer;
use crate::error::{SqlError, SqlErrorCode, SqlErrors};
use crate::parse::{self, Attempt};
use crate::session::Session;
use crate::statement::{ObjectKind, Statement};

/// Makes a catalog of its script.
///
/// # Errors
/// Where the script does not consist of CREATE statements.
pub(crate) fn catalog(functions: &Registry, script: &str) -> Result<Catalog, SqlErrors> {
    let mut session = Session::default();
    let definer = Definer { functions, base_directory: "/", checked: false };
    for attempt in parse::parse_each(script)? {
        let Some(kind) = created_kind(&attempt.tokens) else {
            let span = attempt.tokens.first().map(|token| token.span);
            let span = span.unwrap_or_else(sqlparser::tokenizer::Span::empty);
            let message = "a catalog consists of CREATE statements";
            return Err(SqlError::at(SqlErrorCode::InvalidStatement, span, message).into());
        };
        if let Err(errors) = define(&definer, &mut session, &attempt) {
            session.catalog.put_unreadable(unreadable(kind, &attempt, &errors));
        }
    }
    Ok(session.catalog)
}

fn define(
    definer: &Definer<'_>,
    session: &mut Session,
    attempt: &Attempt<'_>,
) -> Result<(), SqlErrors> {
    let parsed = attempt.parsed.as_ref().map_err(Clone::clone)?;
    match &parsed.statement {
        Statement::CreateTable(table) => definer.create_table(session, table)?,
        Statement::CreateView(view) => definer.create_view(session, view)?,
        Statement::CreateFunction(function) => definer.create_function(session, function)?,
        _ => String::new(),
    };
    Ok(())
}

/// Tells what a CREATE statement makes, `None` for other statements.
fn created_kind(tokens: &[TokenWithSpan]) -> Option<ObjectKind> {
    let mut words = tokens.iter().map_while(|token| match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
        _ => None,
    });
    if words.next()? != "CREATE" {
        return None;
    }
    words.find_map(|word| match word.as_str() {
        "TABLE" => Some(ObjectKind::Table),
        "VIEW" => Some(ObjectKind::View),
        "FUNCTION" => Some(ObjectKind::Function),
        _ => None,
    })
}

fn unreadable(kind: ObjectKind, attempt: &Attempt<'_>, errors: &SqlErrors) -> Unreadable {
    // Written definitions have their names in backquotes.
    let name = attempt.tokens.iter().find_map(|token| match &token.token {
        Token::Word(word) if word.quote_style.is_some() => Some(word.value.clone()),
        _ => None,
    });
    let reasons: Vec<&str> = errors.0.iter().map(|error| error.message.as_str()).collect();
    Unreadable {
        kind,
        name: name.unwrap_or_default(),
        sql: attempt.sql.to_owned(),
        reason: reasons.join("; "),
    }
}
