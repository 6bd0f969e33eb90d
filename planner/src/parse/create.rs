//! CREATE VIEW and CREATE FUNCTION.

use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token};

use super::StatementParser;
use super::types::parse_type;
use crate::error::{SqlError, SqlErrorCode};
use crate::statement::{CreateFunction, CreateMode, CreateView, Statement};

impl StatementParser<'_> {
    pub(super) fn parse_create(&mut self) -> Result<Statement, SqlError> {
        let or_replace = self.parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
        let temporary = self.accept("TEMPORARY") || self.accept("TEMP");
        self.accept("SYSTEM");
        let mode = CreateMode { or_replace, if_not_exists: false, temporary };
        if self.accept("TABLE") {
            self.parse_create_table(mode)
        } else if self.accept("VIEW") {
            self.parse_create_view(mode)
        } else if self.accept("FUNCTION") {
            self.parse_create_function(mode)
        } else {
            self.unsupported_or_expected("TABLE, VIEW or FUNCTION")
        }
    }

    pub(super) fn parse_if_not_exists(&mut self, mode: CreateMode) -> CreateMode {
        let words = [Keyword::IF, Keyword::NOT, Keyword::EXISTS];
        CreateMode { if_not_exists: self.parser.parse_keywords(&words), ..mode }
    }

    pub(super) fn parse_comment(&mut self) -> Result<Option<String>, SqlError> {
        if !self.accept("COMMENT") {
            return Ok(None);
        }
        Ok(Some(self.parser.parse_literal_string()?))
    }

    fn parse_create_view(&mut self, mode: CreateMode) -> Result<Statement, SqlError> {
        let mode = self.parse_if_not_exists(mode);
        let name = self.parse_name()?;
        let columns = if self.parser.consume_token(&Token::LParen) {
            let columns = self.parser.parse_comma_separated(Parser::parse_identifier)?;
            self.parser.expect_token(&Token::RParen)?;
            columns
        } else {
            Vec::new()
        };
        let comment = self.parse_comment()?;
        self.expect("AS")?;
        let start = self.parser.peek_token_ref().span.start;
        let query = self.parser.parse_query()?;
        let query_sql = self.source.slice(Span::new(start, self.end)).to_owned();
        Ok(Statement::CreateView(CreateView { name, mode, columns, query, query_sql, comment }))
    }

    fn parse_create_function(&mut self, mode: CreateMode) -> Result<Statement, SqlError> {
        let mode = self.parse_if_not_exists(mode);
        let name = self.parse_name()?;
        if self.next_is("AS") {
            return Err(SqlError::at(
                SqlErrorCode::Unsupported,
                self.parser.peek_token_ref().span,
                "functions written in another language are not supported",
            )
            .with_help("write CREATE FUNCTION f(x BIGINT) RETURNS BIGINT RETURN x + 1"));
        }
        self.parser.expect_token(&Token::LParen)?;
        let args = if self.parser.peek_token_ref().token == Token::RParen {
            Vec::new()
        } else {
            self.parser.parse_comma_separated(|parser| {
                Ok((parser.parse_identifier()?, parse_type(parser)?))
            })?
        };
        self.parser.expect_token(&Token::RParen)?;
        self.expect("RETURNS")?;
        let return_type = parse_type(&mut self.parser)?;
        if self.accept("LANGUAGE") {
            self.expect("SQL")?;
        }
        self.expect("RETURN")?;
        let body = self.parser.parse_expr()?;
        let function = CreateFunction { name, mode, args, return_type, body };
        Ok(Statement::CreateFunction(function))
    }
}
