//! SQL errors as people read them: the message, the line of the text, a caret, and help.

use std::fmt::Write as _;

use rainstorm_proto::client::SqlError;
use unicode_width::UnicodeWidthStr;

/// Draws an error in `text`, which came from `name` (a file, or `<sql>`), for a terminal of `width`
/// columns, where it is one.
pub(crate) fn draw(error: &SqlError, name: &str, text: &str, width: Option<usize>) -> String {
    let mut drawn = format!("error[{}]: {}\n", error.code, error.message);
    let line = (error.line as usize).checked_sub(1).and_then(|index| text.lines().nth(index));
    if let Some(line) = line {
        let number = error.line.to_string();
        // The line's number, and the signs of what is left out.
        let width = width.map(|width| width.saturating_sub(number.len() + 5).max(WIDTH_LEAST));
        draw_place(&mut drawn, error, name, line, width.unwrap_or(WIDTH).min(WIDTH));
    }
    if !error.help.is_empty() {
        // Writing into a string does not fail.
        let _ = writeln!(drawn, "  help: {}", error.help);
    }
    drawn
}

/// Characters of a line that are shown at most.
const WIDTH: usize = 200;
/// Characters of a line that are shown in a narrow terminal.
const WIDTH_LEAST: usize = 20;

/// Cuts a long line to what stands around a place, and returns where the place is in that.
fn cut(line: &str, column: usize, width: usize) -> (String, usize) {
    let length = line.chars().count();
    if length <= width {
        return (line.to_owned(), column);
    }
    let start = column.saturating_sub(1 + width / 2).min(length - width);
    let shown: String = line.chars().skip(start).take(width).collect();
    let (before, marked) = if start > 0 { ("…", column - start + 1) } else { ("", column) };
    let after = if start + width < length { "…" } else { "" };
    (format!("{before}{shown}{after}"), marked)
}

fn draw_place(drawn: &mut String, error: &SqlError, name: &str, line: &str, width: usize) {
    let (line, column) = cut(line, error.column as usize, width);
    let number = error.line.to_string();
    let margin = " ".repeat(number.len());
    let before = line.chars().take(column.saturating_sub(1));
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
            draw(&error, "flights.sql", "-- delays\nSELECT orign FROM flights;", None),
            "error[unknown_column]: no column 'orign' in flights\n \
             --> flights.sql:2:8\n  |\n\
             2 | SELECT orign FROM flights;\n  |        ^^^^^\n  \
             help: did you mean 'origin'?\n"
        );
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("SELECT {}nope, {}1", "a, ".repeat(200), "b, ".repeat(200));
        let error = SqlError { line: 1, column: 608, length: 4, ..Default::default() };
        for (terminal, width) in [(None, "1 | ".len() + WIDTH + 2), (Some(80), 80)] {
            let drawn = draw(&error, "x.sql", &text, terminal);
            let lines: Vec<&str> = drawn.lines().collect();
            assert_eq!(lines[3].chars().count(), width, "{drawn}");
            let caret = lines[4].find('^').unwrap();
            let marked: String = lines[3].chars().skip(caret).take(4).collect();
            assert_eq!(marked, "nope", "{drawn}");
            assert!(drawn.contains("--> x.sql:1:608"), "{drawn}");
        }
    }

    #[test]
    fn an_error_without_a_place_has_no_source_line() {
        let error =
            SqlError { code: "x".to_owned(), message: "m".to_owned(), ..Default::default() };
        assert_eq!(draw(&error, "a.sql", "SELECT 1", None), "error[x]: m\n");
    }
}
