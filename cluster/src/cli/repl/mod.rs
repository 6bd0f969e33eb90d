//! The prompt.

mod complete;
mod edit;
mod editor;
mod names;

use reedline::{EditCommand, HistoryItem, Reedline, Signal};

use self::editor::{Prompt, echo, editor};
pub(super) use self::names::Names;
use super::Context;
use super::args::Sql;
use super::error::{CliError, Result};
use super::execute::{Outcome, complain};
use super::session::{Handled, Meta, Pending, Session};
use super::terminal::Quiet;
use super::type_ahead::{Next, TypeAhead};

/// Reads statements and runs them until the user leaves.
///
/// # Errors
/// Where no cluster is reached or the terminal does not work.
pub(super) fn run(sql: Sql, context: &Context) -> Result<()> {
    let mut session = Session::start(sql, context, true)?;
    context.interrupt.stay(true);
    complain("Rainstorm. Statements end with ; and \\? tells more.\n");
    let quiet = Quiet::begin();
    session.listen();
    let names = Names::default();
    let editor = editor(names.clone());
    let (pending, last) = (Pending::default(), String::new());
    let result = Repl { session: &mut session, editor, names, pending, last }.run();
    drop(quiet);
    context.interrupt.stay(false);
    session.close();
    result
}

struct Repl<'s, 'c> {
    session: &'s mut Session<'c>,
    editor: Reedline,
    names: Names,
    /// The statement that has been begun.
    pending: Pending,
    /// The statement before it, for \e.
    last: String,
}

/// Whether there is more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    GoesOn,
    /// Not with what was typed together with it.
    Stops,
    Leaves,
}

impl Repl<'_, '_> {
    fn run(&mut self) -> Result<()> {
        loop {
            let keys = self.session.keys();
            let next = keys.and_then(|keys| {
                keys.take_keys();
                keys.next()
            });
            let flow = match next {
                Some(Next::Line(line)) => {
                    echo(&line, !self.pending.is_empty());
                    self.line(&line, true)
                }
                Some(Next::End) => Flow::Leaves,
                None => self.edit()?,
            };
            if flow == Flow::Leaves {
                return Ok(());
            }
        }
    }

    /// Lets the user edit what has been begun, and runs it.
    fn edit(&mut self) -> Result<Flow> {
        self.session.refresh(&self.names);
        if self.session.keys().is_some_and(|keys| keys.has_next()) {
            // It came while names were asked for.
            return Ok(Flow::GoesOn);
        }
        let begun = self.pending.take().unwrap_or_default();
        let rest = self.session.keys().map(TypeAhead::rest).unwrap_or_default();
        self.editor.run_edit_commands(&[EditCommand::InsertString(begun + &rest)]);
        loop {
            match self.editor.read_line(&Prompt) {
                Ok(Signal::Success(text)) => return Ok(self.text(&text)),
                // Ctrl-D.
                Ok(Signal::HostCommand(_)) if self.is_at_new_line() => {
                    complain("\n");
                    return Ok(Flow::Leaves);
                }
                Ok(Signal::HostCommand(_)) => {
                    self.editor.run_edit_commands(&[EditCommand::Delete]);
                }
                Ok(_) => return Ok(Flow::GoesOn),
                Err(error) => return Err(CliError::io("read from the terminal", error)),
            }
        }
    }

    /// Tells whether nothing has been typed into the line at the end.
    fn is_at_new_line(&self) -> bool {
        let text = self.editor.current_buffer_contents();
        let at_end = self.editor.current_insertion_point() == text.len();
        at_end && text.rsplit('\n').next().is_none_or(|line| line.trim().is_empty())
    }

    /// Runs the statements of a text one after the other.
    fn text(&mut self, text: &str) -> Flow {
        for line in text.split_inclusive('\n') {
            let flow = self.line(line, false);
            if flow != Flow::GoesOn {
                return flow;
            }
        }
        // A comment, which nothing ends.
        match self.pending.take() {
            Some(rest) => self.handle(&rest),
            None => Flow::GoesOn,
        }
    }

    /// Adds a line and runs what is complete with it.
    fn line(&mut self, line: &str, remember: bool) -> Flow {
        // It leaves an unfinished statement too.
        if line.trim() == "\\q" {
            return Flow::Leaves;
        }
        let Some(text) = self.pending.push(line) else { return Flow::GoesOn };
        if remember {
            let item = HistoryItem::from_command_line(text.trim());
            // The history is a convenience.
            let _ = self.editor.history_mut().save(item);
        }
        self.handle(&text)
    }

    fn handle(&mut self, text: &str) -> Flow {
        if !Meta::is_one_line(text) {
            text.trim().clone_into(&mut self.last);
        }
        self.names.may_change(text);
        let handled = self.session.handle(text);
        let dropped = self.session.keys().map_or(0, TypeAhead::dropped);
        if dropped > 0 {
            let lines = if dropped == 1 { "line was" } else { "lines were" };
            complain(&format!("note: {dropped} {lines} typed ahead and dropped\n"));
        }
        match handled {
            Handled::Quit => Flow::Leaves,
            Handled::Edit => self.edit_last(),
            Handled::Done(Outcome::Cancelled) => Flow::Stops,
            Handled::Done(_) => Flow::GoesOn,
        }
    }

    /// Runs what the user makes of the last statement; what is not complete can be gone on with.
    fn edit_last(&mut self) -> Flow {
        let text = match edit::edit(&self.last) {
            Ok(text) => text,
            Err(error) => {
                error.report();
                return Flow::GoesOn;
            }
        };
        for (index, line) in text.trim().lines().enumerate() {
            echo(line, index > 0);
        }
        for line in text.trim_end().split_inclusive('\n') {
            let flow = self.line(&format!("{}\n", line.trim_end()), true);
            if flow != Flow::GoesOn {
                return flow;
            }
        }
        Flow::GoesOn
    }
}
