//! A script's text by lines and columns.

use sqlparser::tokenizer::{Location, Span};

/// A text whose parts are found by place.
pub(crate) struct Source<'a> {
    text: &'a str,
    /// Byte offset of each line.
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(index, _)| index + 1)).collect();
        Self { text, lines }
    }

    /// Returns the text of a span.
    pub(crate) fn slice(&self, span: Span) -> &'a str {
        self.text.get(self.offset(span.start)..self.offset(span.end)).unwrap_or_default()
    }

    /// Returns the byte offset of a place; the text's end for one that is not in it.
    fn offset(&self, location: Location) -> usize {
        let line = (location.line as usize).checked_sub(1).and_then(|line| self.lines.get(line));
        let Some(start) = line else { return self.text.len() };
        let characters = (location.column as usize).saturating_sub(1);
        let rest = &self.text[*start..];
        rest.char_indices().nth(characters).map_or(self.text.len(), |(index, _)| start + index)
    }
}
