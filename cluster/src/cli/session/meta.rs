//! Commands that are not SQL.

use std::path::PathBuf;

/// What the prompt knows besides SQL.
pub(super) const HELP: &str = "\
\\d            list tables and views
\\d NAME       show the columns of a table or view
\\i FILE       run a file of SQL; its paths are relative to it
\\timing       show how long statements take; also \\timing on and off
\\?            this
\\q            leave, like Ctrl-D and quit
Statements end with ; and may go over several lines; Tab completes words.
Ctrl-C ends a running query, or clears the line.
Try: SHOW TABLES; SHOW JOBS; SHOW FUNCTIONS; EXPLAIN SELECT …; SET;
";

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meta<'a> {
    Sql(&'a str),
    Describe(Option<&'a str>),
    Include(PathBuf),
    /// On or off; without either the other one.
    Timing(Option<bool>),
    Help,
    Quit,
    Unknown(String),
}

impl<'a> Meta<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let text = text.trim();
        if is_quit(text) {
            return Self::Quit;
        }
        if !text.starts_with('\\') {
            return Self::Sql(text);
        }
        let text = text.trim_end_matches(';').trim_end();
        let (command, argument) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let argument = Some(argument.trim()).filter(|argument| !argument.is_empty());
        match (command, argument) {
            ("\\d", name) => Self::Describe(name),
            ("\\i", Some(file)) => Self::Include(file.trim_matches('\'').into()),
            ("\\i", None) => Self::Unknown("\\i needs a file".into()),
            ("\\timing", None) => Self::Timing(None),
            ("\\timing", Some("on")) => Self::Timing(Some(true)),
            ("\\timing", Some("off")) => Self::Timing(Some(false)),
            ("\\timing", Some(_)) => Self::Unknown("\\timing is on or off".into()),
            ("\\?" | "\\h", _) => Self::Help,
            ("\\q", None) => Self::Quit,
            _ => Self::Unknown(format!("'{text}' is not known")),
        }
    }

    /// Tells whether a line needs no semicolon.
    pub(crate) fn is_one_line(text: &str) -> bool {
        let text = text.trim();
        text.starts_with('\\') || is_quit(text)
    }

    /// Returns what stands before a `\q` on the last of several lines: it leaves an unfinished
    /// statement too.
    pub(crate) fn before_quit(text: &str) -> Option<&str> {
        let (before, last) = text.trim_end().rsplit_once('\n')?;
        (last.trim() == "\\q").then_some(before)
    }
}

fn is_quit(text: &str) -> bool {
    let word = text.trim_end_matches(';').trim_end();
    word.eq_ignore_ascii_case("quit") || word.eq_ignore_ascii_case("exit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_sql() {
        assert_eq!(Meta::parse(" SELECT 1; "), Meta::Sql("SELECT 1;"));
        assert_eq!(Meta::parse("\\d"), Meta::Describe(None));
        assert_eq!(Meta::parse("\\d flights;"), Meta::Describe(Some("flights")));
        assert_eq!(Meta::parse("\\i 'a b.sql'"), Meta::Include("a b.sql".into()));
        assert_eq!(Meta::parse("\\timing"), Meta::Timing(None));
        assert_eq!(Meta::parse("\\timing off;"), Meta::Timing(Some(false)));
        assert!(matches!(Meta::parse("\\timing maybe"), Meta::Unknown(_)));
        assert_eq!(Meta::parse("\\?"), Meta::Help);
        for quit in ["\\q", "quit", "EXIT;"] {
            assert_eq!(Meta::parse(quit), Meta::Quit);
        }
        assert!(matches!(Meta::parse("\\x"), Meta::Unknown(_)));
        assert!(matches!(Meta::parse("\\i"), Meta::Unknown(_)));
    }

    #[test]
    fn an_unfinished_statement_can_be_left() {
        assert_eq!(Meta::before_quit("SELECT 1\n  + 2\n \\q\n"), Some("SELECT 1\n  + 2"));
        assert_eq!(Meta::before_quit("SELECT 1\n\\quit"), None);
        assert_eq!(Meta::before_quit("\\q"), None);
    }

    #[test]
    fn sql_goes_on_until_its_semicolon_and_commands_do_not() {
        assert!(Meta::is_one_line("\\d t") && Meta::is_one_line("quit"));
        assert!(!Meta::is_one_line("SELECT"));
    }
}
