//! SQL errors as people read them: the message, the line of the text, a caret, and help.

use std::fmt::Write as _;

use rainstorm_proto::client::SqlError;
use unicode_width::UnicodeWidthStr;

/// Draws an error in `text`, which came from `name` (a file, or `<sql>`).
pub(crate) fn draw(error: &SqlError, name: &str, text: &str) -> String {
    let mut drawn = format!("error[{}]: {}\n", error.code, error.message);
    let line = (error.line as usize).checked_sub(1).and_then(|index| text.lines().nth(index));
    if let Some(line) = line {
        draw_place(&mut drawn, error, name, line);
    }
    if !error.help.is_empty() {
        // Writing into a string does not fail.
        let _ = writeln!(drawn, "  help: {}", error.help);
    }
    drawn
}

fn draw_place(drawn: &mut String, error: &SqlError, name: &str, line: &str) {
    let number = error.line.to_string();
    let margin = " ".repeat(number.len());
    let before = line.chars().take((error.column as usize).saturating_sub(1));
    // Tabs stay tabs, so that the caret stands under its character.
    let before = before.collect::<String>();
    let indent = before
        .chars()
        .map(|character| if character == '\t' { "\t".to_owned() } else { blank(character) })
        .collect::<String>();
    let rest = line.chars().count().saturating_sub(before.chars().count()).max(1);
    let carets = "^".repeat((error.length.max(1) as usize).min(rest));
    let _ = writeln!(drawn, "{margin}--> {name}:{}:{}", error.line, error.column);
    let _ = writeln!(drawn, "{margin} |");
    let _ = writeln!(drawn, "{number} | {line}");
    let _ = writeln!(drawn, "{margin} | {indent}{carets}");
}

fn blank(character: char) -> String {
    " ".repeat(character.to_string().width())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caret_stands_under_the_place() {
        let error = SqlError {
            code: "unknown_column".to_owned(),
            message: "no column 'orign' in flights".to_owned(),
            line: 2,
            column: 8,
            length: 5,
            help: "did you mean 'origin'?".to_owned(),
        };
        assert_eq!(
            draw(&error, "flights.sql", "-- delays\nSELECT orign FROM flights;"),
            "error[unknown_column]: no column 'orign' in flights\n \
             --> flights.sql:2:8\n  |\n\
             2 | SELECT orign FROM flights;\n  |        ^^^^^\n  \
             help: did you mean 'origin'?\n"
        );
    }

    #[test]
    fn an_error_without_a_place_has_no_source_line() {
        let error =
            SqlError { code: "x".to_owned(), message: "m".to_owned(), ..Default::default() };
        assert_eq!(draw(&error, "a.sql", "SELECT 1"), "error[x]: m\n");
    }
}
