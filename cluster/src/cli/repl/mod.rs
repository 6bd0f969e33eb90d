//! The prompt.

mod complete;

use rainstorm_planner::Planner;
use reedline::{
    ColumnarMenu, Emacs, FileBackedHistory, KeyCode, KeyModifiers, MenuBuilder, Reedline,
    ReedlineEvent, ReedlineMenu, Signal, ValidationResult, Validator, default_emacs_keybindings,
};

use self::complete::{Names, SqlCompleter};
use super::Context;
use super::args::Sql;
use super::error::{CliError, Result};
use super::execute::complain;
use super::session::{Handled, Meta, Session};

const HISTORY_LINES: usize = 10_000;
const MENU: &str = "completion_menu";

/// Reads statements and runs them until the user leaves.
///
/// # Errors
/// Where no cluster is reached or the terminal does not work.
pub(super) fn run(sql: Sql, context: &Context) -> Result<()> {
    let mut session = Session::start(sql, context, true)?;
    context.interrupt.stay(true);
    let names = Names::default();
    refresh(&mut session, &names);
    let mut editor = editor(names.clone());
    complain("Rainstorm. Statements end with ; and \\? tells more.\n");
    let result = loop {
        match editor.read_line(&Prompt) {
            Ok(Signal::Success(text)) => {
                let left = Meta::before_quit(&text);
                let statements = left.unwrap_or(&text);
                let unfinished = left.is_some() && !Planner::is_complete(statements);
                if !unfinished && session.handle(statements) == Handled::Quit || left.is_some() {
                    break Ok(());
                }
                refresh(&mut session, &names);
            }
            Ok(Signal::CtrlD) => break Ok(()),
            Ok(_) => {}
            Err(error) => break Err(CliError::io("read from the terminal", error)),
        }
    };
    context.interrupt.stay(false);
    session.close();
    result
}

/// Learns the names that can be completed.
fn refresh(session: &mut Session<'_>, names: &Names) {
    let request = session.request_of("SHOW TABLES;");
    let context = session.context();
    let mut operation = context.interrupt.begin();
    let refresh = async {
        names.refresh(session.client(), request).await;
        Ok(())
    };
    // Names are a convenience: without an answer the prompt comes all the same.
    let _ = context.runtime.block_on(operation.or_interrupted(refresh));
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
        let ends = Meta::is_one_line(text) || Meta::before_quit(text).is_some();
        if ends || Planner::is_complete(text) {
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
