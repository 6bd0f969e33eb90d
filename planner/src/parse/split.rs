//! Where statements begin and end.

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use super::dialect::RainstormDialect;
use super::hint::{self, is_hint};
use crate::error::{SqlError, SqlErrorCode, SqlErrors};

/// Splits a script into the tokens of its statements, without white space, comments that are no
/// hints and the semicolons between them.
pub(crate) fn split(text: &str) -> Result<Vec<Vec<TokenWithSpan>>, SqlErrors> {
    let tokens = tokenize(text)?;
    let mut statements = vec![Statement::default()];
    for token in tokens {
        if token.token == Token::SemiColon && !statements.last().is_some_and(Statement::is_open) {
            statements.push(Statement::default());
        } else if let Some(statement) = statements.last_mut() {
            statement.tokens.push(token);
        }
    }
    let tokens = statements.into_iter().map(|statement| statement.tokens);
    Ok(tokens.filter(|tokens| !tokens.is_empty()).map(adapt_tokens).collect())
}

/// Tells whether a text ends with a complete statement, or has none. What is not SQL is complete
/// too: more text does not mend it.
pub(crate) fn is_complete(text: &str) -> bool {
    match tokenize(text) {
        Ok(mut tokens) => {
            tokens.retain(|token| !is_hint(&token.token));
            let ends =
                matches!(tokens.last(), None | Some(TokenWithSpan { token: Token::SemiColon, .. }));
            let mut open = Statement::default();
            for token in tokens {
                let ends = token.token == Token::SemiColon && !open.is_open();
                open.tokens.push(token);
                if ends {
                    open.tokens.clear();
                }
            }
            ends && open.tokens.is_empty()
        }
        Err(error) => !error.0.iter().any(|error| error.message.starts_with("unterminated")),
    }
}

fn tokenize(text: &str) -> Result<Vec<TokenWithSpan>, SqlErrors> {
    let mut tokenizer = Tokenizer::new(&RainstormDialect, text);
    let mut tokens = Vec::new();
    tokenizer.tokenize_with_location_into_buf(&mut tokens).map_err(|error| {
        if let Some(cut) = hint::cut_short(&tokens) {
            return cut;
        }
        let message = match error.message.as_str() {
            message if message.contains("Expected close") => "unterminated name".to_owned(),
            "Unterminated string literal" => "unterminated text".to_owned(),
            message if message.starts_with("Unterminated") => message.replacen('U', "u", 1),
            message if message.contains("EOF") => "unterminated comment".to_owned(),
            message => message.to_owned(),
        };
        SqlError::at_location(SqlErrorCode::Parse, error.location, message)
    })?;
    tokens.retain(|TokenWithSpan { token, .. }| {
        is_hint(token) || !matches!(token, Token::Whitespace(_) | Token::EOF)
    });
    Ok(tokens)
}

/// The tokens of a statement so far.
#[derive(Default)]
struct Statement {
    tokens: Vec<TokenWithSpan>,
}

impl Statement {
    /// Tells whether a semicolon now separates the INSERTs of a statement set.
    fn is_open(&self) -> bool {
        let words = ["EXECUTE", "STATEMENT", "SET", "BEGIN"];
        let is_set = self.begins_with(&words) || self.begins_with(&["BEGIN", "STATEMENT", "SET"]);
        is_set && !self.tokens.last().is_some_and(|token| is_word(token, "END"))
    }

    fn begins_with(&self, words: &[&str]) -> bool {
        let explain = usize::from(self.tokens.first().is_some_and(|t| is_word(t, "EXPLAIN")));
        let tokens = &self.tokens[explain..];
        tokens.len() >= words.len()
            && tokens.iter().zip(words).all(|(token, word)| is_word(token, word))
    }
}

fn is_word(token: &TokenWithSpan, wanted: &str) -> bool {
    matches!(&token.token, Token::Word(word)
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
}

/// Rewrites tokens that sqlparser cannot be taught: the `>>` that closes nested types becomes two
/// tokens. Places stay.
pub(crate) fn adapt_tokens(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut adapted = Vec::with_capacity(tokens.len());
    let mut depth = 0_usize;
    for token in tokens {
        match token.token {
            Token::Lt if adapted.last().is_some_and(opens_type) => {
                depth += 1;
                adapted.push(token);
            }
            Token::Gt => {
                depth = depth.saturating_sub(1);
                adapted.push(token);
            }
            Token::ShiftRight if depth > 0 => {
                depth = depth.saturating_sub(2);
                let Span { start, end } = token.span;
                let middle = Location::new(start.line, start.column + 1);
                adapted.push(TokenWithSpan::new(Token::Gt, Span::new(start, middle)));
                adapted.push(TokenWithSpan::new(Token::Gt, Span::new(middle, end)));
            }
            _ => adapted.push(token),
        }
    }
    adapted
}

fn opens_type(token: &TokenWithSpan) -> bool {
    ["ROW", "ARRAY", "MAP", "STRUCT"].iter().any(|word| is_word(token, word))
}
