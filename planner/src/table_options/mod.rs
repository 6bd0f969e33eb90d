//! Options of tables, of CREATE TABLE and of hints.

mod path;

use rainstorm_engine::connector::describe;
use sqlparser::tokenizer::Span;

pub(crate) use self::path::absolute_url;
use self::path::wrong_scheme;
use crate::catalog::TableDefinition;
use crate::error::{SqlError, SqlErrorCode, SqlErrors};
use crate::session::QueryContext;
use crate::statement::{ColumnClause, TableOption};

/// Checks the options that a hint gives a table for one use, and makes its path absolute.
///
/// # Errors
/// `InvalidOption`, as where the table is created with them.
pub(crate) fn check_hint(
    context: QueryContext<'_>,
    table: &TableDefinition,
    options: &mut [TableOption],
) -> Result<(), SqlErrors> {
    let refused = |span, message: &str, help: &str| {
        let error = SqlError::at(SqlErrorCode::InvalidOption, span, message);
        Err(error.with_help(help).into())
    };
    for option in options.iter_mut() {
        if option.key == "connector" {
            let message = "a hint cannot change a table's connector";
            return refused(option.key_span, message, "CREATE TABLE … LIKE makes another table");
        }
        if option.key == "path" {
            let is_absolute = option.value.contains("://") || option.value.starts_with('/');
            if !is_absolute && context.base_directory.is_none() {
                let message = "a view cannot have a relative path: it may be read anywhere";
                return refused(option.value_span, message, "write the whole path");
            }
            option.value = absolute_url(&option.value, context.base_directory.unwrap_or_default());
        }
    }
    let span = options.first().map_or_else(Span::empty, |option| option.key_span);
    check_options(&table.with_options(options), options, &[], span)
}

/// Asks the connector whether it takes the table's options, of which some are written here.
///
/// # Errors
/// `InvalidOption`, at the option or column that it is about, else at the whole.
pub(crate) fn check_options(
    table: &TableDefinition,
    options: &[TableOption],
    columns: &[ColumnClause],
    whole: Span,
) -> Result<(), SqlErrors> {
    let described = describe(&table.connector, &table.connector_options());
    let Err(error) = described else { return check_path(table, options, whole) };
    let message = error.to_string();
    let is_named = |name: &str| message.contains(&format!("column '{name}'"));
    let column = columns.iter().find(|column| is_named(&column.name.value));
    let option = |key: &str| options.iter().find(|option| option.key == key);
    let named = options.iter().find(|o| message.contains(&format!("option '{}'", o.key)));
    let span = match named {
        Some(option) if message.contains("has no option") => option.key_span,
        Some(option) => option.value_span,
        None if column.is_some() => column.map_or(whole, |column| column.name.span),
        None if message.contains("needs the option") => whole,
        None => option("connector").map_or(whole, |option| option.value_span),
    };
    let (message, help) = match message.split_once("; did you mean ") {
        Some((message, name)) => (message.to_owned(), Some(format!("did you mean {name}"))),
        None => (message, None),
    };
    let mut refused = SqlError::at(SqlErrorCode::InvalidOption, span, message);
    refused.help = help;
    Err(refused.into())
}

fn check_path(
    table: &TableDefinition,
    options: &[TableOption],
    whole: Span,
) -> Result<(), SqlErrors> {
    let url = table.options.get("path").filter(|_| table.connector == "filesystem");
    let Some(message) = url.and_then(|url| wrong_scheme(url)) else { return Ok(()) };
    let option = options.iter().find(|option| option.key == "path");
    let span = option.map_or(whole, |option| option.value_span);
    Err(SqlError::at(SqlErrorCode::InvalidOption, span, message).into())
}
