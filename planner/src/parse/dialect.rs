//! Flink SQL's surface, as sqlparser is told of it.

use std::any::TypeId;

use sqlparser::ast::{CastKind, Expr, Ident};
use sqlparser::dialect::{Dialect, GenericDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::tree::{call, custom_type};
use super::{interval, types};

/// The dialect of expressions and queries. Statements other than queries have parsers of their
/// own in [`crate::parse`].
///
/// sqlparser gives some syntax to dialects by their type only; this one answers with the generic
/// dialect's.
#[derive(Debug)]
pub(crate) struct RainstormDialect;

impl Dialect for RainstormDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`' || ch == '"'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let [first, second] = parser.peek_tokens();
        let Token::Word(word) = first else { return None };
        match (word.keyword, second) {
            (Keyword::TABLE, Token::Word(_)) => Some(parse_table_argument(parser)),
            (Keyword::CAST, Token::LParen) => Some(parse_cast(parser, CastKind::Cast)),
            (Keyword::INTERVAL, Token::SingleQuotedString(_)) => Some(interval::parse(parser)),
            (Keyword::MAP, Token::LBracket) if !is_element(parser) => Some(parse_map(parser)),
            (Keyword::ARRAY, Token::LBracket) => {
                parser.next_token();
                parser.next_token();
                Some(parser.parse_array_expr(true))
            }
            (Keyword::TRY_CAST, Token::LParen) => Some(parse_cast(parser, CastKind::TryCast)),
            _ => None,
        }
    }

    /// sqlparser takes all that follows `IS DISTINCT FROM` for the other side, AND and OR included.
    fn parse_infix(
        &self,
        parser: &mut Parser,
        expr: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        if parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]) {
            let other = parser.parse_subexpr(precedence);
            return Some(
                other.map(|other| Expr::IsDistinctFrom(Box::new(expr.clone()), Box::new(other))),
            );
        }
        if parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]) {
            let other = parser.parse_subexpr(precedence);
            return Some(
                other.map(|other| Expr::IsNotDistinctFrom(Box::new(expr.clone()), Box::new(other))),
            );
        }
        None
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_match_recognize(&self) -> bool {
        true
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_select_wildcard_exclude(&self) -> bool {
        true
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_struct_literal(&self) -> bool {
        true
    }

    fn supports_try_convert(&self) -> bool {
        false
    }
}

/// What stands for `t PARTITION BY …` in the first argument of a windowing table function.
pub(crate) const PARTITION: &str = "PARTITION";

/// Parses `TABLE t`, the first argument of a windowing table function.
fn parse_table_argument(parser: &mut Parser) -> Result<Expr, ParserError> {
    let prefix = parser.parse_identifier()?;
    let name = parser.parse_identifier()?;
    let mut value = Box::new(Expr::Identifier(name));
    if parser.parse_keywords(&[Keyword::PARTITION, Keyword::BY]) {
        parser.parse_identifier()?;
        // What follows is a call: DESCRIPTOR(…).
        while parser.peek_nth_token(2).token != Token::LParen && parser.consume_token(&Token::Comma)
        {
            parser.parse_identifier()?;
        }
        value = Box::new(Expr::Prefixed { prefix: Ident::new(PARTITION), value });
    }
    Ok(Expr::Prefixed { prefix, value })
}

/// Parses a cast to one of Flink's types, which sqlparser does not know all of. The type is kept
/// as its text, which [`types::FlinkTypePlanner`] reads again.
fn parse_cast(parser: &mut Parser, kind: CastKind) -> Result<Expr, ParserError> {
    parser.next_token();
    parser.expect_token(&Token::LParen)?;
    let expr = Box::new(parser.parse_expr()?);
    parser.expect_keyword_is(Keyword::AS)?;
    let data_type = custom_type(types::parse_declared(parser)?.1);
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::Cast { kind, expr, data_type, array: false, format: None })
}

/// Tells whether `map[…]` is an element of a column: there is one thing in the brackets.
fn is_element(parser: &mut Parser) -> bool {
    let mut found = false;
    // Failing leaves the parser where it was.
    let _ = parser.maybe_parse(|parser| {
        parser.next_token();
        parser.expect_token(&Token::LBracket)?;
        parser.parse_expr()?;
        found = parser.peek_token_ref().token == Token::RBracket;
        Err::<(), _>(ParserError::ParserError(String::new()))
    });
    found
}

/// Parses `MAP[key, value, …]`.
fn parse_map(parser: &mut Parser) -> Result<Expr, ParserError> {
    let name = parser.parse_identifier()?;
    parser.expect_token(&Token::LBracket)?;
    let entries = parser.parse_comma_separated(Parser::parse_expr)?;
    let end = parser.expect_token(&Token::RBracket)?;
    if entries.len() % 2 == 1 {
        return parser.expected("a value for each key", end);
    }
    let side = |side: usize| entries.iter().skip(side).step_by(2).cloned().collect();
    let array = |side| call("make_array", side, name.span);
    Ok(call("map", vec![array(side(0)), array(side(1))], name.span))
}
