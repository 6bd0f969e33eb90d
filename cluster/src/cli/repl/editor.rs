//! The line that is edited, and what it looks like.

use rainstorm_planner::Planner;
use reedline::{
    ColumnarMenu, Emacs, FileBackedHistory, KeyCode, KeyModifiers, MenuBuilder, Reedline,
    ReedlineEvent, ReedlineMenu, ValidationResult, Validator, default_emacs_keybindings,
};

use super::complete::SqlCompleter;
use super::names::Names;
use crate::cli::execute::complain;
use crate::cli::session::Meta;

const HISTORY_LINES: usize = 10_000;
const MENU: &str = "completion_menu";

pub(super) fn editor(names: Names) -> Reedline {
    let mut keys = default_emacs_keybindings();
    let complete = ReedlineEvent::UntilFound(vec![
        ReedlineEvent::Menu(MENU.to_owned()),
        ReedlineEvent::MenuNext,
    ]);
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, complete);
    // Whether it leaves or deletes is for who knows the lines to say.
    let leave = ReedlineEvent::ExecuteHostCommand(String::new());
    keys.add_binding(KeyModifiers::CONTROL, KeyCode::Char('d'), leave);
    keys.add_binding(KeyModifiers::CONTROL, KeyCode::Char('j'), ReedlineEvent::Enter);
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

/// Writes a line that was typed before the prompt could show it.
pub(super) fn echo(line: &str, goes_on: bool) {
    let prompt = if goes_on { GOES_ON.to_owned() } else { format!("{NAME}{INDICATOR}") };
    complain(&format!("{prompt}{}\n", line.trim_end()));
}

const NAME: &str = "rainstorm";
const INDICATOR: &str = "> ";
const GOES_ON: &str = "      ...> ";

pub(super) struct Prompt;

impl reedline::Prompt for Prompt {
    fn render_prompt_left(&self) -> std::borrow::Cow<'_, str> {
        NAME.into()
    }

    fn render_prompt_right(&self) -> std::borrow::Cow<'_, str> {
        "".into()
    }

    fn render_prompt_indicator(&self, _: reedline::PromptEditMode) -> std::borrow::Cow<'_, str> {
        INDICATOR.into()
    }

    fn render_prompt_multiline_indicator(&self) -> std::borrow::Cow<'_, str> {
        GOES_ON.into()
    }

    fn render_prompt_history_search_indicator(
        &self,
        search: reedline::PromptHistorySearch,
    ) -> std::borrow::Cow<'_, str> {
        format!("search '{}': ", search.term).into()
    }
}
