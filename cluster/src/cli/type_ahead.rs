//! What is typed or pasted while statements run.

use std::pin::pin;
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, poll, read};

use super::interrupt::Interrupt;
use super::terminal;

/// How often keys are looked for while a statement runs: Ctrl-C is among them.
const TICK: Duration = Duration::from_millis(10);
/// What Ctrl-D sends.
const END: char = '\u{4}';

/// Text that waits for what runs.
#[derive(Debug)]
pub(crate) struct TypeAhead {
    text: String,
    interrupt: Interrupt,
    /// Lines that Ctrl-C took away.
    dropped: usize,
}

/// What comes next of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A line, with its end.
    Line(String),
    /// Ctrl-D at the start of a line.
    End,
}

impl TypeAhead {
    /// Takes keys from the terminal, Ctrl-C as an interrupt.
    pub(crate) fn new(interrupt: Interrupt) -> Self {
        Self { text: String::new(), interrupt, dropped: 0 }
    }

    /// Takes keys while something runs to its end.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            if let Ok(done) = tokio::time::timeout(TICK, &mut work).await {
                return done;
            }
            self.take_keys();
        }
    }

    /// Takes all keys that have been pressed.
    pub(crate) fn take_keys(&mut self) {
        if terminal::is_lent() {
            return;
        }
        while let Ok(true) = poll(Duration::ZERO) {
            let Ok(event) = read() else { return };
            self.add(event);
        }
    }

    fn add(&mut self, event: Event) {
        match event {
            Event::Paste(text) => {
                self.text.push_str(&text.replace("\r\n", "\n").replace('\r', "\n"));
            }
            Event::Key(KeyEvent { code, modifiers, kind, .. })
                if kind != KeyEventKind::Release && !modifiers.contains(KeyModifiers::ALT) =>
            {
                self.press(code, modifiers.contains(KeyModifiers::CONTROL));
            }
            _ => {}
        }
    }

    fn press(&mut self, code: KeyCode, control: bool) {
        let line = self.text.rfind('\n').map_or(0, |end| end + 1);
        match code {
            KeyCode::Enter => self.text.push('\n'),
            KeyCode::Tab => self.text.push('\t'),
            KeyCode::Backspace if self.text.len() > line => drop(self.text.pop()),
            KeyCode::Char('c') if control => {
                self.drop_all();
                self.interrupt.press();
            }
            KeyCode::Char('d') if control => self.text.push(END),
            KeyCode::Char('j') if control => self.text.push('\n'),
            KeyCode::Char('u') if control => self.text.truncate(line),
            KeyCode::Char(character) if !control => self.text.push(character),
            // Other keys edit lines that can be seen.
            _ => {}
        }
    }

    /// Forgets what was typed, as a terminal does at Ctrl-C.
    fn drop_all(&mut self) {
        self.dropped += self.text.lines().filter(|line| !line.trim().is_empty()).count();
        self.text.clear();
    }

    /// Returns how many lines were forgotten since this was last asked.
    pub(crate) fn dropped(&mut self) -> usize {
        std::mem::take(&mut self.dropped)
    }

    /// Tells whether something is complete.
    pub(crate) fn has_next(&self) -> bool {
        self.text.contains(['\n', END])
    }

    /// Takes the next line that is complete.
    pub(crate) fn next(&mut self) -> Option<Next> {
        loop {
            let end = self.text.find(['\n', END])?;
            if self.text[end..].starts_with('\n') {
                return Some(Next::Line(self.text.drain(..=end).collect()));
            }
            self.text.remove(end);
            // Anywhere else it deletes what comes behind it, which is nothing.
            if self.text[..end].trim().is_empty() {
                return Some(Next::End);
            }
        }
    }

    /// Takes the line that is not complete.
    pub(crate) fn rest(&mut self) -> String {
        std::mem::take(&mut self.text)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn typed(keys: &str) -> TypeAhead {
        let interrupt = Interrupt::deaf();
        interrupt.stay(true);
        let mut ahead = TypeAhead::new(interrupt);
        for key in keys.chars() {
            let (code, modifiers) = match key {
                '\r' => (KeyCode::Enter, KeyModifiers::NONE),
                '\t' => (KeyCode::Tab, KeyModifiers::NONE),
                '\u{7f}' => (KeyCode::Backspace, KeyModifiers::NONE),
                '\u{1}'..='\u{1a}' => {
                    let letter = char::from(key as u8 - 1 + b'a');
                    (KeyCode::Char(letter), KeyModifiers::CONTROL)
                }
                other => (KeyCode::Char(other), KeyModifiers::NONE),
            };
            ahead.add(Event::Key(KeyEvent::new(code, modifiers)));
        }
        ahead
    }

    fn lines(ahead: &mut TypeAhead) -> Vec<String> {
        let lines = std::iter::from_fn(|| match ahead.next()? {
            Next::Line(line) => Some(line),
            Next::End => Some("(end)".to_owned()),
        });
        lines.collect()
    }

    #[test]
    fn all_lines_come_in_their_order_and_the_last_one_can_be_gone_on_with() {
        let mut ahead = typed("SELECT\t1;\r2\u{7f}3\u{a}wrong\u{15}right\r\u{7f}SEL");
        ahead.add(Event::Paste("ECT 4;\r\nSELECT".to_owned()));
        assert_eq!(lines(&mut ahead), ["SELECT\t1;\n", "3\n", "right\n", "SELECT 4;\n"]);
        assert_eq!(ahead.rest(), "SELECT");
        assert_eq!(ahead.next(), None);
    }

    #[test]
    fn an_interrupt_drops_what_came_before_it_and_nothing_else() {
        let mut ahead = typed("a;\rb;\r\rc");
        let mut operation = ahead.interrupt.begin();
        ahead.press(KeyCode::Char('c'), true);
        ahead.press(KeyCode::Char('d'), false);
        assert_eq!((ahead.dropped(), ahead.dropped(), &*ahead.rest()), (3, 0, "d"));
        assert!(operation.interrupted().now_or_never().is_some());
    }

    #[test]
    fn the_end_is_where_a_line_would_begin() {
        assert_eq!(lines(&mut typed("a\u{4};\r\u{4}b\r")), ["a;\n", "(end)", "b\n"]);
    }
}
