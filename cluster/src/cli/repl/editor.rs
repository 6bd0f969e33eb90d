//! The line that is edited, and what it looks like.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyEvent};
use rainstorm_planner::Planner;
use reedline::{
    ColumnarMenu, EditMode, Emacs, FileBackedHistory, KeyCode, KeyModifiers, MenuBuilder,
    PromptEditMode, Reedline, ReedlineEvent, ReedlineMenu, ReedlineRawEvent, ValidationResult,
    Validator, default_emacs_keybindings,
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
    let is_pasted = Arc::new(AtomicBool::new(false));
    let mut editor = Reedline::create()
        .with_edit_mode(Box::new(Keys {
            emacs: Emacs::new(keys),
            tab: None,
            is_pasted: Arc::clone(&is_pasted),
        }))
        .with_completer(Box::new(SqlCompleter::new(names, is_pasted)))
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

/// The keys of Emacs, with an eye on Tab. All keys that are at hand come here before any of them is
/// acted upon, so that a Tab in a text that is pasted can be told from one that somebody pressed.
struct Keys {
    emacs: Emacs,
    /// When Tab was pressed, unless another key came since.
    tab: Option<Instant>,
    is_pasted: Arc<AtomicBool>,
}

/// Nobody presses two keys this fast.
const TOO_FAST: Duration = Duration::from_millis(5);

impl EditMode for Keys {
    fn parse_event(&mut self, event: ReedlineRawEvent) -> ReedlineEvent {
        let event = Event::from(event);
        if matches!(event, Event::Key(KeyEvent { code: KeyCode::Tab, .. })) {
            self.tab = Some(Instant::now());
            self.is_pasted.store(false, Ordering::Relaxed);
        } else if let Some(tab) = self.tab.take() {
            self.is_pasted.store(tab.elapsed() < TOO_FAST, Ordering::Relaxed);
        }
        match ReedlineRawEvent::try_from(event) {
            Ok(event) => self.emacs.parse_event(event),
            Err(()) => ReedlineEvent::None,
        }
    }

    fn edit_mode(&self) -> PromptEditMode {
        self.emacs.edit_mode()
    }
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
