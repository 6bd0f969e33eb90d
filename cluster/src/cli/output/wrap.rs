//! Texts in columns: broken into lines, or cut.
//!
//! What people see as one character stays whole, also where it is several: a letter with its
//! accents, an emoji that is joined from others.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

const JOINER: char = '\u{200d}';

/// Breaks a text into lines of at most `width` places, after spaces where there are any.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text;
    loop {
        let mut end = fitting(rest, width);
        if end == rest.len() {
            break;
        }
        let broken_word = !rest[end..].starts_with(' ');
        if let Some(space) = rest[..end].rfind(' ').filter(|space| broken_word && *space > 0) {
            end = space;
        }
        lines.push(rest[..end].trim_end().to_owned());
        rest = rest[end..].trim_start();
    }
    lines.push(rest.to_owned());
    lines
}

/// Returns a text in at most `width` places; what does not fit ends in an ellipsis.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let end = fitting(text, width.saturating_sub(1));
    format!("{}…", &text[..end])
}

/// Returns how many bytes of a text fit; at least one character does.
fn fitting(text: &str, width: usize) -> usize {
    let mut end = 0;
    for next in ends(text) {
        if end > 0 && text[..next].width() > width {
            break;
        }
        end = next;
    }
    end
}

/// Returns where what people see as characters ends.
fn ends(text: &str) -> impl Iterator<Item = usize> {
    let mut characters = text.char_indices().peekable();
    std::iter::from_fn(move || {
        let (mut start, mut character) = characters.next()?;
        let belongs = |last: char, next: char| {
            last == JOINER || next.width().unwrap_or(0) == 0 || is_skin_tone(next)
        };
        while let Some((next_start, next)) =
            characters.next_if(|(_, next)| belongs(character, *next))
        {
            (start, character) = (next_start, next);
        }
        Some(start + character.len_utf8())
    })
}

fn is_skin_tone(character: char) -> bool {
    ('\u{1f3fb}'..='\u{1f3ff}').contains(&character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_after_spaces_or_where_they_must() {
        assert_eq!(wrap("a short text", 20), ["a short text"]);
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("0123456789", 4), ["0123", "4567", "89"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn a_character_is_never_broken() {
        let family = "👩\u{200d}👩\u{200d}👧";
        assert_eq!(wrap(&format!("{family}{family}"), 2), [family, family]);
        assert_eq!(wrap("雨雨雨", 5), ["雨雨", "雨"]);
        assert_eq!(wrap("e\u{301}e\u{301}", 1), ["e\u{301}", "e\u{301}"]);
        assert_eq!(cut(&format!("{family}abc"), 4), format!("{family}a…"));
    }
}
