//! Commands that are not SQL.

use std::path::PathBuf;

use crate::cli::output::Records;

/// What the prompt knows besides SQL.
pub(super) const HELP: &str = "\
\\d            list tables and views; also \\dt
\\d NAME       show the columns of a table or view
\\d+ NAME      and the statement that made it
\\df           list functions
\\e            edit the last statement in $EDITOR and run it
\\i FILE       run a file of SQL; its paths are relative to it
\\o FILE       write results to a file; without FILE to the screen again
\\x            show rows as records or not; also \\x on, off and auto (where
              a table does not fit)
\\timing       show how long statements take; also \\timing on and off
\\?            this; also help
\\q            leave; also quit, exit and Ctrl-D
Statements end with ; and may go over several lines; Tab completes words.
Ctrl-C ends a running query, or clears the line.
Long results are shown by $PAGER, or else by less; an empty PAGER is none.
Try: SHOW TABLES; SHOW JOBS; SHOW FUNCTIONS; EXPLAIN SELECT …; SET;
";

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meta<'a> {
    Sql(&'a str),
    /// Runs a statement that is the same each time.
    List(&'static str),
    Describe {
        name: &'a str,
        with_definition: bool,
    },
    Edit,
    Include(PathBuf),
    /// Where results go; without a file to the screen.
    Output(Option<PathBuf>),
    /// Without a value on, or what it was before that.
    Records(Option<Records>),
    /// On or off; without either the other one.
    Timing(Option<bool>),
    Help,
    Quit,
    Unknown(String),
}

/// Words that mean something where a statement would begin.
const WORDS: [&str; 3] = ["help", "quit", "exit"];

impl<'a> Meta<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let text = text.trim();
        if !Self::is_one_line(text) {
            return Self::Sql(text);
        }
        let text = text.trim_end_matches(';').trim_end();
        let (command, argument) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let argument = Some(argument.trim()).filter(|argument| !argument.is_empty());
        match (command.to_lowercase().as_str(), argument) {
            ("\\d" | "\\d+" | "\\dt" | ".tables", None) => Self::List("SHOW TABLES;"),
            ("\\dv", None) => Self::List("SHOW VIEWS;"),
            ("\\df", None) => Self::List("SHOW FUNCTIONS;"),
            ("\\d", Some(name)) => Self::Describe { name, with_definition: false },
            ("\\d+" | ".schema", Some(name)) => Self::Describe { name, with_definition: true },
            ("\\e", None) => Self::Edit,
            ("\\i", Some(file)) => Self::Include(path(file)),
            ("\\i", None) => Self::Unknown("\\i needs a file".into()),
            ("\\o", file) => Self::Output(file.map(path)),
            ("\\x", None) => Self::Records(None),
            ("\\x", Some("on")) => Self::Records(Some(Records::On)),
            ("\\x", Some("off")) => Self::Records(Some(Records::Off)),
            ("\\x", Some("auto")) => Self::Records(Some(Records::Auto)),
            ("\\x", Some(_)) => Self::Unknown("\\x is on, off or auto".into()),
            ("\\timing", None) => Self::Timing(None),
            ("\\timing", Some("on")) => Self::Timing(Some(true)),
            ("\\timing", Some("off")) => Self::Timing(Some(false)),
            ("\\timing", Some(_)) => Self::Unknown("\\timing is on or off".into()),
            ("\\?" | "\\h" | "help" | ".help" | "?", _) => Self::Help,
            ("\\q" | "quit" | "exit" | ".quit" | ".exit", None) => Self::Quit,
            _ => Self::Unknown(format!("'{text}' is not known")),
        }
    }

    /// Tells whether a line needs no semicolon. No SQL begins with a backslash, a dot, a question
    /// mark or one of the words.
    pub(crate) fn is_one_line(text: &str) -> bool {
        let text = text.trim();
        let word = text.trim_end_matches(';').trim_end();
        text.starts_with(['\\', '.', '?']) || WORDS.iter().any(|it| word.eq_ignore_ascii_case(it))
    }

    /// Returns what stands before a `\q` on the last of several lines: it leaves an unfinished
    /// statement too.
    pub(crate) fn before_quit(text: &str) -> Option<&str> {
        let (before, last) = text.trim_end().rsplit_once('\n')?;
        (last.trim() == "\\q").then_some(before)
    }
}

fn path(text: &str) -> PathBuf {
    text.trim_matches('\'').into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_sql() {
        let describe = |with_definition| Meta::Describe { name: "flights", with_definition };
        assert_eq!(Meta::parse(" SELECT 1; "), Meta::Sql("SELECT 1;"));
        for tables in ["\\d", "\\dt", ".tables", "\\d;"] {
            assert_eq!(Meta::parse(tables), Meta::List("SHOW TABLES;"));
        }
        assert_eq!(Meta::parse("\\df"), Meta::List("SHOW FUNCTIONS;"));
        assert_eq!(Meta::parse("\\d flights;"), describe(false));
        assert_eq!(Meta::parse("\\d+ flights"), describe(true));
        assert_eq!(Meta::parse("\\i 'a b.sql'"), Meta::Include("a b.sql".into()));
        assert_eq!(Meta::parse("\\o r.txt"), Meta::Output(Some("r.txt".into())));
        assert_eq!(Meta::parse("\\o"), Meta::Output(None));
        assert_eq!(Meta::parse("\\x"), Meta::Records(None));
        assert_eq!(Meta::parse("\\x auto"), Meta::Records(Some(Records::Auto)));
        assert_eq!(Meta::parse("\\timing"), Meta::Timing(None));
        assert_eq!(Meta::parse("\\timing off;"), Meta::Timing(Some(false)));
        for help in ["\\?", "help", "HELP;", "?"] {
            assert_eq!(Meta::parse(help), Meta::Help);
        }
        for quit in ["\\q", "quit", "EXIT;", ".exit"] {
            assert_eq!(Meta::parse(quit), Meta::Quit);
        }
        for unknown in ["\\timing maybe", "\\x maybe", "\\i", "\\nothing", ".nothing"] {
            assert!(matches!(Meta::parse(unknown), Meta::Unknown(_)), "{unknown}");
        }
    }

    #[test]
    fn all_commands_are_in_the_help() {
        for command in ["\\d", "\\dt", "\\df", "\\d+", "\\e", "\\i", "\\o", "\\x", "\\timing"] {
            assert!(HELP.split_whitespace().any(|word| word == command), "{command}");
        }
        assert!(HELP.lines().all(|line| line.chars().count() < 80));
    }

    #[test]
    fn an_unfinished_statement_can_be_left() {
        assert_eq!(Meta::before_quit("SELECT 1\n  + 2\n \\q\n"), Some("SELECT 1\n  + 2"));
        assert_eq!(Meta::before_quit("SELECT 1\n\\quit"), None);
        assert_eq!(Meta::before_quit("\\q"), None);
    }

    #[test]
    fn sql_goes_on_until_its_semicolon_and_commands_do_not() {
        assert!(
            Meta::is_one_line("\\d t") && Meta::is_one_line("quit") && Meta::is_one_line("help")
        );
        assert!(!Meta::is_one_line("SELECT") && !Meta::is_one_line("help me"));
    }
}
