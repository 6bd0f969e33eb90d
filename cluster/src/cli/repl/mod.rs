//! The prompt.

mod complete;
mod meta;

use std::path::{Path, PathBuf};
use std::time::Instant;

use rainstorm_planner::Planner;
use rainstorm_proto::client::ExecuteRequest;
use reedline::{
    ColumnarMenu, Emacs, FileBackedHistory, KeyCode, KeyModifiers, MenuBuilder, Reedline,
    ReedlineEvent, ReedlineMenu, Signal, ValidationResult, Validator, default_emacs_keybindings,
};

use self::complete::{Names, SqlCompleter};
use self::meta::Meta;
use super::Context;
use super::args::Sql;
use super::command::session_request;
use super::error::{CliError, Result};
use super::execute::{Screen, complain, execute};
use super::reach::{Reached, reach_or_start};

const HISTORY_LINES: usize = 10_000;
const MENU: &str = "completion_menu";

/// Reads statements and runs them until the user leaves.
///
/// # Errors
/// Where no cluster is reached or the terminal does not work.
pub(super) fn run(sql: Sql, context: &Context) -> Result<()> {
    let request = session_request(&sql)?;
    let reached = context.runtime.block_on(reach_or_start(&sql.target, &context.interrupt))?;
    let mut session = Session { sql, context, reached, request, timing: false };
    let names = Names::default();
    session.refresh(&names);
    let mut editor = editor(names.clone());
    complain("Rainstorm. Statements end with ; and \\? tells more.\n");
    let result = loop {
        match editor.read_line(&Prompt) {
            Ok(Signal::Success(text)) => {
                if !session.handle(&text) {
                    break Ok(());
                }
                session.refresh(&names);
            }
            Ok(Signal::CtrlD) => break Ok(()),
            Ok(_) => {}
            Err(error) => break Err(CliError::io("read from the terminal", error)),
        }
    };
    context.runtime.block_on(session.reached.close());
    result
}

struct Session<'a> {
    sql: Sql,
    context: &'a Context,
    reached: Reached,
    /// What every statement is sent with.
    request: ExecuteRequest,
    timing: bool,
}

impl Session<'_> {
    /// Handles what was typed and returns whether to go on.
    fn handle(&mut self, text: &str) -> bool {
        match Meta::parse(text) {
            Meta::Sql("") => {}
            Meta::Sql(text) => self.execute(text, "<sql>", None),
            Meta::Describe(None) => self.execute("SHOW TABLES;", "<sql>", None),
            Meta::Describe(Some(name)) => {
                self.execute(&format!("DESCRIBE {name};"), "<sql>", None);
            }
            Meta::Include(file) => match std::fs::read_to_string(&file) {
                Ok(text) => {
                    let absolute = std::path::absolute(&file).unwrap_or_else(|_| file.clone());
                    let directory = absolute.parent().map(Path::to_path_buf);
                    self.execute(&text, &file.display().to_string(), directory);
                }
                Err(error) => complain(&format!("error: read {}: {error}\n", file.display())),
            },
            Meta::Timing => {
                self.timing = !self.timing;
                complain(if self.timing { "timing is on\n" } else { "timing is off\n" });
            }
            Meta::Help => complain(meta::HELP),
            Meta::Unknown(message) => complain(&format!("error: {message}; \\? lists all\n")),
            Meta::Quit => return false,
        }
        true
    }

    fn execute(&mut self, text: &str, name: &str, directory: Option<PathBuf>) {
        let mut request = ExecuteRequest { text: text.to_owned(), ..self.request.clone() };
        if let Some(directory) = directory {
            request.base_directory = directory.display().to_string();
        }
        // Settings of the command line hold until SET changes them.
        self.request.settings.clear();
        let mut screen = Screen::new(self.sql.format, name, true);
        let started = Instant::now();
        let work = execute(&mut self.reached.client, request, &mut screen, &self.context.interrupt);
        self.context.runtime.block_on(work);
        if self.timing {
            complain(&format!("time: {:.1} ms\n", started.elapsed().as_secs_f64() * 1000.0));
        }
    }

    /// Learns the names that can be completed.
    fn refresh(&mut self, names: &Names) {
        let request = ExecuteRequest { text: "SHOW TABLES;".into(), ..self.request.clone() };
        let mut operation = self.context.interrupt.begin();
        let refresh = async {
            names.refresh(&mut self.reached.client, request).await;
            Ok(())
        };
        // Names are a convenience: without an answer the prompt comes all the same.
        let _ = self.context.runtime.block_on(operation.or_interrupted(refresh));
    }
}

fn editor(names: Names) -> Reedline {
    let mut keys = default_emacs_keybindings();
    let complete = ReedlineEvent::UntilFound(vec![
        ReedlineEvent::Menu(MENU.to_owned()),
        ReedlineEvent::MenuNext,
    ]);
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, complete);
    let menu = ReedlineMenu::EngineCompleter(Box::new(ColumnarMenu::default().with_name(MENU)));
    let mut editor = Reedline::create()
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_completer(Box::new(SqlCompleter::new(names)))
        .with_partial_completions(true)
        .with_quick_completions(true)
        .with_menu(menu)
        .with_validator(Box::new(Whole));
    if let Some(home) = std::env::home_dir() {
        let path = home.join(".rainstorm_history");
        match FileBackedHistory::with_file(HISTORY_LINES, path) {
            Ok(history) => editor = editor.with_history(Box::new(history)),
            Err(error) => complain(&format!("warning: no history is kept: {error}\n")),
        }
    }
    editor
}

/// Lets a statement go over lines until its semicolon.
struct Whole;

impl Validator for Whole {
    fn validate(&self, text: &str) -> ValidationResult {
        if Meta::is_one_line(text) || Planner::is_complete(text) {
            ValidationResult::Complete
        } else {
            ValidationResult::Incomplete
        }
    }
}

struct Prompt;

impl reedline::Prompt for Prompt {
    fn render_prompt_left(&self) -> std::borrow::Cow<'_, str> {
        "rainstorm".into()
    }

    fn render_prompt_right(&self) -> std::borrow::Cow<'_, str> {
        "".into()
    }

    fn render_prompt_indicator(&self, _: reedline::PromptEditMode) -> std::borrow::Cow<'_, str> {
        "> ".into()
    }

    fn render_prompt_multiline_indicator(&self) -> std::borrow::Cow<'_, str> {
        "      ...> ".into()
    }

    fn render_prompt_history_search_indicator(
        &self,
        search: reedline::PromptHistorySearch,
    ) -> std::borrow::Cow<'_, str> {
        format!("search '{}': ", search.term).into()
    }
}
