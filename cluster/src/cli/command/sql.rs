//! `rainstorm sql`: statements from the prompt, from -c, or from standard input.

use std::io::{IsTerminal, Read};

use rainstorm_proto::client::ExecuteRequest;

use super::run::{current_directory, script_request};
use crate::cli::Context;
use crate::cli::args::Sql;
use crate::cli::error::{CliError, Result};
use crate::cli::execute::{Screen, execute};
use crate::cli::reach::reach_or_start;
use crate::cli::repl;

/// Runs statements in a session of their own on the shared catalog. The prompt blocks this
/// thread, which must not be one of the runtime.
pub(crate) fn sql(sql: Sql, context: &Context) -> Result<()> {
    if sql.text.is_none() && std::io::stdin().is_terminal() {
        return repl::run(sql, context);
    }
    let text = match &sql.text {
        Some(text) => text.clone(),
        None => read_stdin()?,
    };
    context.runtime.block_on(run_text(&sql, text, context))
}

async fn run_text(sql: &Sql, text: String, context: &Context) -> Result<()> {
    let request = ExecuteRequest { text, ..session_request(sql)? };
    let mut reached = reach_or_start(&sql.target, &context.interrupt).await?;
    let mut screen = Screen::new(sql.format, "<sql>", false);
    let outcome = execute(&mut reached.client, request, &mut screen, &context.interrupt).await;
    reached.close().await;
    outcome.into_result()
}

/// Makes a request in a new session on the shared catalog; its text is still to be set.
pub(crate) fn session_request(sql: &Sql) -> Result<ExecuteRequest> {
    let session = crate::identity::unique_id().simple().to_string();
    Ok(ExecuteRequest { session, ..script_request(&sql.script, &current_directory()?) })
}

fn read_stdin() -> Result<String> {
    let mut text = String::new();
    let read = std::io::stdin().lock().read_to_string(&mut text);
    read.map_err(|error| CliError::io("read standard input", error))?;
    Ok(text)
}
