//! Statements and commands one after the other: those of the prompt, of -c and of standard input.

mod meta;
mod pending;

use std::path::{Path, PathBuf};
use std::time::Instant;

use rainstorm_proto::client::ExecuteRequest;

pub(crate) use self::meta::Meta;
pub(crate) use self::pending::Pending;
use super::Context;
use super::args::Sql;
use super::command::session_request;
use super::error::Result;
use super::execute::{Outcome, Screen, complain, execute};
use super::output::{Out, Records};
use super::reach::{Reached, reach_or_start};
use super::repl::Names;
use super::type_ahead::TypeAhead;

/// A session on a cluster. Its methods block, and must not be called on a thread of the runtime.
pub(crate) struct Session<'a> {
    sql: Sql,
    context: &'a Context,
    reached: Reached,
    /// What every statement is sent with.
    request: ExecuteRequest,
    timing: bool,
    records: Records,
    /// Where results go.
    out: Out,
    /// Whether messages such as `CREATE TABLE` are shown.
    verbose: bool,
    /// Keys that are pressed while statements run, at the prompt.
    keys: Option<TypeAhead>,
}

/// What became of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handled {
    Done(Outcome),
    /// The user wants to edit the last statement.
    Edit,
    /// The user wants to leave.
    Quit,
}

impl<'a> Session<'a> {
    /// Reaches or starts the cluster.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) fn start(sql: Sql, context: &'a Context, verbose: bool) -> Result<Self> {
        let request = session_request(&sql)?;
        let reached = context.runtime.block_on(reach_or_start(&sql.target, &context.interrupt))?;
        let (records, out) = (Records::Auto, Out::default());
        Ok(Self {
            sql,
            context,
            reached,
            request,
            timing: false,
            records,
            out,
            verbose,
            keys: None,
        })
    }

    /// Takes keys from the terminal while statements run.
    pub(crate) fn listen(&mut self) {
        self.keys = Some(TypeAhead::new(self.context.interrupt.clone()));
    }

    /// Returns the keys that were pressed, at the prompt.
    pub(crate) fn keys(&mut self) -> Option<&mut TypeAhead> {
        self.keys.as_mut()
    }

    /// Handles a command, or runs statements.
    pub(crate) fn handle(&mut self, text: &str) -> Handled {
        let done = match Meta::parse(text) {
            Meta::Sql("") => Outcome::Finished,
            Meta::Sql(_) => self.execute(text.trim_end(), "<sql>", None),
            Meta::List(statement) => self.execute(statement, "<sql>", None),
            Meta::Describe { name, with_definition } => self.describe(name, with_definition),
            Meta::Include(file) => self.include(&file),
            Meta::Output(file) => self.redirect(file.as_deref()),
            Meta::Records(records) => self.show_records(records),
            Meta::Timing(on) => {
                self.timing = on.unwrap_or(!self.timing);
                complain(if self.timing { "timing is on\n" } else { "timing is off\n" });
                Outcome::Finished
            }
            Meta::Edit if self.keys.is_some() => return Handled::Edit,
            Meta::Edit => {
                complain("error: \\e is for the prompt\n");
                Outcome::Failed
            }
            Meta::Help => {
                complain(meta::HELP);
                Outcome::Finished
            }
            Meta::Unknown(message) => {
                complain(&format!("error: {message}; \\? lists all\n"));
                Outcome::Failed
            }
            Meta::Quit => return Handled::Quit,
        };
        Handled::Done(done)
    }

    fn describe(&mut self, name: &str, with_definition: bool) -> Outcome {
        let text = if with_definition {
            format!("DESCRIBE {name}; SHOW CREATE TABLE {name};")
        } else {
            format!("DESCRIBE {name};")
        };
        self.execute(&text, "<sql>", None)
    }

    fn redirect(&mut self, file: Option<&Path>) -> Outcome {
        match self.out.redirect(file) {
            Ok(()) => Outcome::Finished,
            Err(error) => {
                let file = file.unwrap_or(Path::new("")).display();
                complain(&format!("error: write {file}: {error}\n"));
                Outcome::Failed
            }
        }
    }

    fn show_records(&mut self, records: Option<Records>) -> Outcome {
        let toggled = if self.records == Records::On { Records::Auto } else { Records::On };
        self.records = records.unwrap_or(toggled);
        complain(match self.records {
            Records::On => "rows are shown as records\n",
            Records::Off => "rows are shown as tables\n",
            Records::Auto => "rows are shown as records where a table does not fit\n",
        });
        Outcome::Finished
    }

    fn include(&mut self, file: &Path) -> Outcome {
        match std::fs::read_to_string(file) {
            Ok(text) => {
                let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
                let directory = absolute.parent().map(Path::to_path_buf);
                self.execute(&text, &file.display().to_string(), directory)
            }
            Err(error) => {
                complain(&format!("error: read {}: {error}\n", file.display()));
                Outcome::Failed
            }
        }
    }

    fn execute(&mut self, text: &str, name: &str, directory: Option<PathBuf>) -> Outcome {
        let mut request = self.request_of(text);
        if let Some(directory) = directory {
            request.base_directory = directory.display().to_string();
        }
        // Settings of the command line hold until SET changes them.
        self.request.settings.clear();
        let mut screen = Screen::new(self.sql.format, name, self.verbose)
            .with(std::mem::take(&mut self.out), self.records);
        let started = Instant::now();
        let work = execute(&mut self.reached, request, &mut screen, &self.context.interrupt);
        let outcome = wait(self.context, &mut self.keys, work);
        self.out = screen.into_out();
        if self.timing {
            complain(&format!("time: {:.1} ms\n", started.elapsed().as_secs_f64() * 1000.0));
        }
        outcome
    }

    /// Makes a request of the session.
    fn request_of(&self, text: &str) -> ExecuteRequest {
        ExecuteRequest { text: text.to_owned(), ..self.request.clone() }
    }

    /// Learns the names that can be completed.
    pub(crate) fn refresh(&mut self, names: &Names) {
        let request = self.request_of("SHOW TABLES;");
        let mut operation = self.context.interrupt.begin();
        let client = &mut self.reached.client;
        let refresh = async {
            names.refresh(client, request).await;
            Ok(())
        };
        // Names are a convenience: without an answer the prompt comes all the same.
        let _ = wait(self.context, &mut self.keys, operation.or_interrupted(refresh));
    }

    /// Stops the cluster if it is in this process.
    pub(crate) fn close(self) {
        self.context.runtime.block_on(self.reached.close());
    }
}

/// Waits for work and takes the keys that are pressed meanwhile.
fn wait<T>(context: &Context, keys: &mut Option<TypeAhead>, work: impl Future<Output = T>) -> T {
    match keys {
        Some(keys) => context.runtime.block_on(keys.during(work)),
        None => context.runtime.block_on(work),
    }
}
