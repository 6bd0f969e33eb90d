//! CREATE TABLE.

use sqlparser::ast::{Expr, Ident};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token, Word};

use super::StatementParser;
use super::types::{parse_declared, parse_nullable};
use crate::error::{SqlError, SqlErrorCode};
use crate::statement::{
    ColumnClause, ColumnClauseKind, CreateMode, CreateTable, Statement, TableOption,
};

/// What stands between the parentheses of CREATE TABLE.
#[derive(Default)]
struct Elements {
    columns: Vec<ColumnClause>,
    watermark: Option<(Ident, Expr)>,
    primary_key: Vec<Ident>,
}

/// What other databases have after a column's type.
const UNSUPPORTED: &[&str] =
    &["AUTO_INCREMENT", "CHECK", "COLLATE", "DEFAULT", "GENERATED", "REFERENCES", "UNIQUE"];

impl StatementParser<'_> {
    pub(super) fn parse_create_table(&mut self, mode: CreateMode) -> Result<Statement, SqlError> {
        let mode = self.parse_if_not_exists(mode);
        let name = self.parse_name()?;
        let Elements { columns, watermark, primary_key } = self.parse_elements()?;
        let comment = self.parse_comment()?;
        if self.next_is("DISTRIBUTED") {
            return self.unsupported_or_expected("PARTITIONED BY, WITH or LIKE");
        }
        let partitioned_by = if self.accept("PARTITIONED") {
            self.expect("BY")?;
            self.parse_names_in_parentheses()?
        } else {
            Vec::new()
        };
        let options = if self.parser.parse_keyword(Keyword::WITH) {
            self.parse_options()?
        } else {
            Vec::new()
        };
        let like = if self.accept("LIKE") { Some(self.parse_like()?) } else { None };
        if self.next_is("AS") {
            return Err(SqlError::at(
                SqlErrorCode::Unsupported,
                self.parser.peek_token_ref().span,
                "CREATE TABLE AS SELECT is not supported",
            )
            .with_help("create the table, then INSERT INTO it"));
        }
        Ok(Statement::CreateTable(CreateTable {
            name,
            mode,
            columns,
            watermark,
            primary_key,
            partitioned_by,
            options,
            like,
            comment,
        }))
    }

    fn parse_elements(&mut self) -> Result<Elements, SqlError> {
        let mut elements = Elements::default();
        if !self.parser.consume_token(&Token::LParen) {
            return Ok(elements);
        }
        loop {
            self.parse_element(&mut elements)?;
            if self.parser.consume_token(&Token::RParen) {
                return Ok(elements);
            }
            if !self.parser.consume_token(&Token::Comma) {
                let found = self.parser.peek_token();
                return Ok(self.parser.expected("',' or ')' after a column", found)?);
            }
        }
    }

    fn parse_element(&mut self, elements: &mut Elements) -> Result<(), SqlError> {
        let [_, second] = self.parser.peek_tokens();
        let second_is = |wanted: &str| matches!(&second, Token::Word(word) if word.value.eq_ignore_ascii_case(wanted));
        if self.next_is("WATERMARK") && second_is("FOR") {
            return self.parse_watermark(elements);
        }
        if self.next_is("LIKE") && matches!(second, Token::Word(_)) {
            let span = self.parser.peek_token_ref().span;
            let message = "LIKE between the parentheses of CREATE TABLE is not supported";
            return Err(SqlError::at(SqlErrorCode::Unsupported, span, message)
                .with_help(format!("write LIKE {second} after them")));
        }
        if self.next_is("CONSTRAINT") {
            self.parser.next_token();
            self.parser.parse_identifier()?;
        }
        if self.next_is("PRIMARY") && (second_is("KEY") || elements.primary_key.is_empty()) {
            self.parser.next_token();
            self.expect("KEY")?;
            let names = self.parse_names_in_parentheses()?;
            return self.set_primary_key(elements, names);
        }
        self.parse_column(elements)
    }

    fn parse_watermark(&mut self, elements: &mut Elements) -> Result<(), SqlError> {
        let span = self.parser.next_token().span;
        self.expect("FOR")?;
        let time = self.parser.parse_identifier()?;
        self.expect("AS")?;
        let expr = self.parser.parse_expr()?;
        if elements.watermark.replace((time, expr)).is_some() {
            let message = "a table has one WATERMARK";
            return Err(SqlError::at(SqlErrorCode::InvalidStatement, span, message));
        }
        Ok(())
    }

    fn set_primary_key(
        &mut self,
        elements: &mut Elements,
        names: Vec<Ident>,
    ) -> Result<(), SqlError> {
        let span = self.parser.get_current_token().span;
        if !self.parser.parse_keyword(Keyword::NOT) {
            let message = "PRIMARY KEY is not enforced and must say so";
            return Err(SqlError::at(SqlErrorCode::Unsupported, span, message)
                .with_help("write PRIMARY KEY … NOT ENFORCED"));
        }
        self.expect("ENFORCED")?;
        if !elements.primary_key.is_empty() {
            let message = "a table has one PRIMARY KEY";
            return Err(SqlError::at(SqlErrorCode::InvalidStatement, span, message));
        }
        elements.primary_key = names;
        Ok(())
    }

    fn parse_column(&mut self, elements: &mut Elements) -> Result<(), SqlError> {
        let name = self.parser.parse_identifier()?;
        if self.accept("AS") {
            let kind = ColumnClauseKind::Computed(self.parser.parse_expr()?);
            let comment = self.parse_comment()?;
            elements.columns.push(ColumnClause { name, kind, comment });
            return Ok(());
        }
        let (data_type, declared) = parse_declared(&mut self.parser)?;
        let mut nullable = parse_nullable(&mut self.parser);
        if self.next_is("METADATA") {
            return Err(SqlError::at(
                SqlErrorCode::Unsupported,
                self.parser.peek_token_ref().span,
                format!("metadata columns such as '{}' are not supported", name.value),
            ));
        }
        if self.accept("PRIMARY") {
            self.expect("KEY")?;
            self.set_primary_key(elements, vec![name.clone()])?;
            nullable = false;
        }
        if let Some(word) = UNSUPPORTED.iter().find(|word| self.next_is(word)) {
            let span = self.parser.peek_token_ref().span;
            let message = format!("{word} of a column is not supported");
            return Err(SqlError::at(SqlErrorCode::Unsupported, span, message));
        }
        let comment = self.parse_comment()?;
        let kind = ColumnClauseKind::Physical { data_type, declared, nullable };
        elements.columns.push(ColumnClause { name, kind, comment });
        Ok(())
    }

    fn parse_names_in_parentheses(&mut self) -> Result<Vec<Ident>, SqlError> {
        self.parser.expect_token(&Token::LParen)?;
        let names = self.parser.parse_comma_separated(Parser::parse_identifier)?;
        self.parser.expect_token(&Token::RParen)?;
        Ok(names)
    }

    pub(super) fn parse_options(&mut self) -> Result<Vec<TableOption>, SqlError> {
        self.parser.expect_token(&Token::LParen)?;
        let mut options: Vec<TableOption> = Vec::new();
        while !self.parser.consume_token(&Token::RParen) {
            if !options.is_empty() {
                self.parser.expect_token(&Token::Comma)?;
            }
            let Ident { value: key, span: key_span, .. } = self.parse_option_key()?;
            self.parser.expect_token(&Token::Eq)?;
            let value_span = self.parser.peek_token_ref().span;
            let value = self.parser.parse_literal_string()?;
            if options.iter().any(|option| option.key == key) {
                let message = format!("option '{key}' is given twice");
                return Err(SqlError::at(SqlErrorCode::InvalidOption, key_span, message));
            }
            options.push(TableOption { key, value, key_span, value_span });
        }
        Ok(options)
    }

    /// Parses an option's key: a text, or words and dots as they stand.
    fn parse_option_key(&mut self) -> Result<Ident, SqlError> {
        let first = self.parser.peek_token();
        if let Token::Word(Word { value, quote_style: Some(_), .. }) = &first.token {
            self.parser.next_token();
            return Ok(Ident::with_span(first.span, value));
        }
        if !matches!(first.token, Token::Word(_)) {
            return Ok(Ident::with_span(first.span, self.parser.parse_literal_string()?));
        }
        let mut end = first.span.end;
        while matches!(
            self.parser.peek_token_ref().token,
            Token::Word(_) | Token::Period | Token::Minus
        ) {
            end = self.parser.next_token().span.end;
        }
        let span = Span::new(first.span.start, end);
        Ok(Ident::with_span(span, self.source.slice(span)))
    }

    fn parse_like(&mut self) -> Result<Ident, SqlError> {
        let name = self.parse_name()?;
        if self.parser.peek_token_ref().token == Token::LParen {
            return Err(SqlError::at(
                SqlErrorCode::Unsupported,
                self.parser.peek_token_ref().span,
                "LIKE with INCLUDING or EXCLUDING is not supported",
            ));
        }
        Ok(name)
    }
}
