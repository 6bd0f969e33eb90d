//! `rainstorm sql`: statements from the prompt, from -c, or from standard input.

use std::io::{self, BufRead, IsTerminal};

use rainstorm_proto::client::ExecuteRequest;
use tokio::sync::mpsc;

use super::run::{current_directory, script_request};
use crate::cli::Context;
use crate::cli::args::Sql;
use crate::cli::error::{CliError, Result};
use crate::cli::execute::Outcome;
use crate::cli::repl;
use crate::cli::session::{Handled, Pending, Session};

/// Lines of standard input that are read ahead.
const QUEUED_LINES: usize = 16;

/// Runs statements in a session of their own on the shared catalog. This thread is blocked and must
/// not be one of the runtime.
pub(crate) fn sql(sql: Sql, context: &Context) -> Result<()> {
    if sql.texts.is_empty() && io::stdin().is_terminal() {
        return repl::run(sql, context);
    }
    let texts = sql.texts.clone();
    let mut session = Session::start(sql, context, false)?;
    let result = if texts.is_empty() {
        run_stdin(&mut session, context)
    } else {
        texts.iter().try_for_each(|text| handle(&mut session, text).map(drop))
    };
    session.close();
    result
}

/// Makes a request in a new session on the shared catalog; its text is still to be set.
pub(crate) fn session_request(sql: &Sql) -> Result<ExecuteRequest> {
    let session = crate::identity::unique_id().simple().to_string();
    Ok(ExecuteRequest {
        session,
        restore: sql.start.restore(),
        fresh: sql.start.fresh,
        ..script_request(&sql.script, &current_directory()?)
    })
}

/// Runs a text and tells whether to go on.
fn handle(session: &mut Session<'_>, text: &str) -> Result<bool> {
    match session.handle(text) {
        Handled::Quit | Handled::Edit => Ok(false),
        Handled::Done(outcome) => Outcome::into_result(outcome).map(|()| true),
    }
}

/// Runs each statement of standard input once it is complete.
fn run_stdin(session: &mut Session<'_>, context: &Context) -> Result<()> {
    let mut lines = read_lines();
    let mut pending = Pending::of_input();
    loop {
        let mut operation = context.interrupt.begin();
        let next = operation.or_interrupted(async { Ok(lines.recv().await) });
        let (text, last) = match context.runtime.block_on(next)? {
            Some(line) => {
                let line = line.map_err(|error| CliError::io("read standard input", error))?;
                (pending.push(&line), false)
            }
            None => (pending.take(), true),
        };
        let goes_on = match text {
            Some(text) => handle(session, &text)?,
            None => true,
        };
        if last || !goes_on {
            return Ok(());
        }
    }
}

/// Reads lines on a thread of its own, since reading standard input cannot be cancelled.
fn read_lines() -> mpsc::Receiver<io::Result<String>> {
    let (sender, lines) = mpsc::channel(QUEUED_LINES);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let mut line = String::new();
            let read = match stdin.read_line(&mut line) {
                Ok(0) => return,
                Ok(_) => Ok(line),
                Err(error) => Err(error),
            };
            if sender.blocking_send(read).is_err() {
                return;
            }
        }
    });
    lines
}
