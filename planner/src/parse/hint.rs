//! Hints: comments that begin with a plus.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned, TableFactor, VisitMut,
    VisitorMut,
};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace};

use super::dialect::RainstormDialect;
use super::{Source, StatementParser};
use crate::error::{SqlError, SqlErrorCode, suggest};
use crate::hint::{self, TABLE};
use crate::statement::{Statement, TableOption};

/// A comment that is a hint.
pub(super) struct Comment {
    text: String,
    span: Span,
    /// Where the token before it ends.
    after: Location,
}

/// The options that a comment gives to what stands before it.
pub(super) struct Hint {
    options: Vec<TableOption>,
    span: Span,
    after: Location,
}

pub(super) fn is_hint(token: &Token) -> bool {
    matches!(token, Token::Whitespace(Whitespace::MultiLineComment(text)) if text.starts_with('+'))
}

/// Complains about a hint that ends in the midst of a text: what follows it is not SQL then.
pub(super) fn cut_short(tokens: &[TokenWithSpan]) -> Option<SqlError> {
    let is_cut = |token: &&TokenWithSpan| {
        is_hint(&token.token) && token.token.to_string().matches('\'').count() % 2 == 1
    };
    tokens.iter().find(is_cut).map(|token| ends_in_text(token.span.start))
}

fn ends_in_text(place: Location) -> SqlError {
    SqlError::at_location(SqlErrorCode::Parse, place, "this hint ends in the midst of a text")
        .with_help("a comment ends at the first */, in a text too")
}

/// Takes the hints out of a statement's tokens.
pub(super) fn take(tokens: Vec<TokenWithSpan>) -> (Vec<TokenWithSpan>, Vec<Comment>) {
    let mut others: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut comments = Vec::new();
    for token in tokens {
        if let Token::Whitespace(Whitespace::MultiLineComment(text)) = token.token {
            let after = others.last().map_or_else(Location::empty, |token| token.span.end);
            comments.push(Comment { text, span: token.span, after });
        } else {
            others.push(token);
        }
    }
    (others, comments)
}

/// Parses what hints say.
pub(super) fn parse(source: &Source, comments: Vec<Comment>) -> Result<Vec<Hint>, SqlError> {
    comments.into_iter().map(|comment| parse_comment(source, comment)).collect()
}

fn parse_comment(source: &Source, comment: Comment) -> Result<Hint, SqlError> {
    let Comment { text, span, after } = comment;
    let text = text.strip_prefix('+').unwrap_or_default();
    // Behind the slash, the star and the plus.
    let start = Location::new(span.start.line, span.start.column + 3);
    let mut tokenizer = Tokenizer::new(&RainstormDialect, text);
    let tokenized = tokenizer.tokenize_with_location();
    let mut tokens = tokenized.map_err(|error| ends_in_text(moved(error.location, start)))?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
    for token in &mut tokens {
        token.span = Span::new(moved(token.span.start, start), moved(token.span.end, start));
    }
    let parser = Parser::new(&RainstormDialect).with_tokens_with_locations(tokens);
    let end = Location::new(span.end.line, span.end.column.saturating_sub(2));
    let mut parser = StatementParser { parser, source, end };
    let options = parser.parse_hints().map_err(|error| error.or_at(Span::new(end, end)))?;
    Ok(Hint { options, span, after })
}

/// Returns where a place of a text is that starts at another one.
fn moved(location: Location, start: Location) -> Location {
    let Location { line, column } = location;
    match line {
        0 | 1 => Location::new(start.line, start.column + column.saturating_sub(1)),
        line => Location::new(start.line + line - 1, column),
    }
}

impl StatementParser<'_> {
    /// Parses `OPTIONS('key' = 'value', …)`, and refuses other hints.
    fn parse_hints(&mut self) -> Result<Vec<TableOption>, SqlError> {
        let mut options: Vec<TableOption> = Vec::new();
        loop {
            let name = self.parser.peek_token();
            let Token::Word(word) = &name.token else {
                let expected = self.parser.expected("a hint", name).map_err(SqlError::from);
                return expected
                    .map_err(|error| error.with_help("a comment that begins with /*+ is a hint"));
            };
            if !word.value.eq_ignore_ascii_case("OPTIONS") {
                let message = format!("the hint {} is not supported", word.value.to_uppercase());
                let error = SqlError::at(SqlErrorCode::Unsupported, name.span, message)
                    .with_help("OPTIONS is, after a table's name");
                return Err(error.with_suggestion(suggest(&word.value, ["OPTIONS"])));
            }
            self.parser.next_token();
            for option in self.parse_options()? {
                if options.iter().any(|known| known.key == option.key) {
                    return Err(given_twice(&option));
                }
                options.push(option);
            }
            let more = self.parser.consume_token(&Token::Comma);
            if !more && self.at_end() {
                return Ok(options);
            }
        }
    }
}

fn given_twice(option: &TableOption) -> SqlError {
    let message = format!("option '{}' is given twice", option.key);
    SqlError::at(SqlErrorCode::InvalidOption, option.key_span, message)
}

/// Puts hints to the tables whose names they stand behind.
///
/// # Errors
/// The first hint that stands elsewhere.
pub(super) fn attach(statement: &mut Statement, hints: Vec<Hint>) -> Result<(), SqlError> {
    let mut attachment = Attachment { hints };
    attachment.statement(statement)?;
    let Some(misplaced) = attachment.hints.first() else { return Ok(()) };
    let message =
        "this hint does not stand right after the name of a table that is read or written";
    Err(SqlError::at(SqlErrorCode::InvalidStatement, misplaced.span, message)
        .with_help("write FROM t /*+ OPTIONS('key' = 'value') */ AS x"))
}

struct Attachment {
    hints: Vec<Hint>,
}

impl Attachment {
    fn statement(&mut self, statement: &mut Statement) -> Result<(), SqlError> {
        match statement {
            Statement::Query(query) => self.visit(query.as_mut()),
            Statement::CreateView(view) => self.visit(view.query.as_mut()),
            Statement::Insert(inserts) => inserts.iter_mut().try_for_each(|insert| {
                insert.options = self.behind(insert.table.span)?;
                self.visit(insert.source.as_mut())
            }),
            Statement::Explain(explained) => self.statement(explained),
            _ => Ok(()),
        }
    }

    fn visit(&mut self, query: &mut impl VisitMut) -> Result<(), SqlError> {
        match query.visit(self) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    /// Takes the options of the hints that stand behind a name.
    fn behind(&mut self, name: Span) -> Result<Vec<TableOption>, SqlError> {
        let mut options: Vec<TableOption> = Vec::new();
        let is_behind = |hint: &mut Hint| name.end.line > 0 && hint.after == name.end;
        for hint in self.hints.extract_if(.., is_behind) {
            let known = |option: &&TableOption| options.iter().any(|known| known.key == option.key);
            if let Some(twice) = hint.options.iter().find(known) {
                return Err(given_twice(twice));
            }
            options.extend(hint.options);
        }
        Ok(options)
    }

    fn table(&mut self, factor: &mut TableFactor) -> Result<(), SqlError> {
        match factor {
            TableFactor::Table { name, with_hints, args: None, .. } => {
                if let Some(hint) = with_hints.first() {
                    let message = "WITH (…) after a table's name is not supported";
                    return Err(SqlError::at(SqlErrorCode::Unsupported, hint.span(), message)
                        .with_help("write /*+ OPTIONS('key' = 'value') */ right after the name"));
                }
                *with_hints = hint::of_options(self.behind(name.span())?);
                Ok(())
            }
            TableFactor::Table { args: Some(args), .. } => self.arguments(&mut args.args),
            TableFactor::Function { args, .. } => self.arguments(args),
            TableFactor::TableFunction { expr: Expr::Function(call), .. } => match &mut call.args {
                FunctionArguments::List(list) => self.arguments(&mut list.args),
                FunctionArguments::None | FunctionArguments::Subquery(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Finds the table among a table function's arguments.
    fn arguments(&mut self, arguments: &mut [FunctionArg]) -> Result<(), SqlError> {
        for (index, argument) in arguments.iter_mut().enumerate() {
            let (FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))
            | FunctionArg::Named { arg: FunctionArgExpr::Expr(argument), .. }
            | FunctionArg::ExprNamed { arg: FunctionArgExpr::Expr(argument), .. }) = argument
            else {
                continue;
            };
            let table = match argument {
                Expr::Prefixed { prefix, value } if prefix.value.eq_ignore_ascii_case(TABLE) => {
                    value.as_ref().clone()
                }
                Expr::Identifier(_) if index == 0 => argument.clone(),
                _ => continue,
            };
            let hints = hint::of_options(self.behind(table.span())?);
            if !hints.is_empty() {
                *argument = hint::argument(table, hints);
            }
        }
        Ok(())
    }
}

impl VisitorMut for Attachment {
    type Break = SqlError;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<SqlError> {
        match self.table(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}
