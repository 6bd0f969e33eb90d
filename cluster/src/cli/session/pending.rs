//! Lines that become statements.

use rainstorm_planner::Planner;

use super::Meta;

/// The lines since the last complete statement.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    text: String,
    /// Whether the text begins with an empty line for each that was taken before, so that errors
    /// tell the lines of the whole input.
    counts_lines: bool,
}

impl Pending {
    /// Takes statements of an input whose lines are counted.
    pub(crate) fn of_input() -> Self {
        Self { text: String::new(), counts_lines: true }
    }

    /// Tells whether no statement has been begun.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// Adds a line and takes what is complete with it.
    pub(crate) fn push(&mut self, line: &str) -> Option<String> {
        let command = self.is_empty() && Meta::is_one_line(line);
        self.text.push_str(line);
        if command || (line.contains(';') && Planner::is_complete(&self.text)) {
            return self.take();
        }
        None
    }

    /// Takes all that there is.
    pub(crate) fn take(&mut self) -> Option<String> {
        let lines = if self.counts_lines { self.text.matches('\n').count() } else { 0 };
        let text = std::mem::replace(&mut self.text, "\n".repeat(lines));
        (!text.trim().is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_taken_once_they_are_complete() {
        let mut pending = Pending::of_input();
        assert_eq!(pending.push("SELECT 1,\n"), None);
        assert_eq!(pending.push("';';\n").as_deref(), Some("SELECT 1,\n';';\n"));
        assert_eq!(pending.push("\\d t\n").as_deref(), Some("\n\n\\d t\n"));
        assert_eq!(pending.push("SELECT 2"), None);
        assert_eq!(pending.take().as_deref(), Some("\n\n\nSELECT 2"));
        assert_eq!(pending.take(), None);
    }

    #[test]
    fn statements_of_the_prompt_count_their_own_lines() {
        let mut pending = Pending::default();
        assert_eq!(pending.push("SELECT 1;\n").as_deref(), Some("SELECT 1;\n"));
        assert!(pending.is_empty());
        assert_eq!(pending.push("SELECT 2;\n").as_deref(), Some("SELECT 2;\n"));
    }
}
