//! INSERT, statement sets and EXPLAIN.

use sqlparser::ast::{Expr, Ident};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::StatementParser;
use crate::error::{SqlError, SqlErrorCode};
use crate::statement::{Insert, Statement};

impl StatementParser<'_> {
    /// Parses what follows the word INSERT.
    pub(super) fn parse_insert(&mut self) -> Result<Insert, SqlError> {
        let overwrite = self.accept("OVERWRITE");
        if !overwrite {
            self.expect("INTO")?;
        }
        self.accept("TABLE");
        let table = self.parse_name()?;
        let partition = if self.accept("PARTITION") { self.parse_partition()? } else { Vec::new() };
        let columns = if self.columns_follow() {
            self.parser.next_token();
            let columns = self.parser.parse_comma_separated(Parser::parse_identifier)?;
            self.parser.expect_token(&Token::RParen)?;
            columns
        } else {
            Vec::new()
        };
        let source = self.parser.parse_query()?;
        let options = Vec::new();
        Ok(Insert { table, options, columns, partition, overwrite, source })
    }

    fn parse_partition(&mut self) -> Result<Vec<(Ident, Expr)>, SqlError> {
        self.parser.expect_token(&Token::LParen)?;
        let partition = self.parser.parse_comma_separated(|parser| {
            let name = parser.parse_identifier()?;
            parser.expect_token(&Token::Eq)?;
            Ok((name, parser.parse_expr()?))
        })?;
        self.parser.expect_token(&Token::RParen)?;
        Ok(partition)
    }

    /// Tells a list of columns from a query in parentheses.
    fn columns_follow(&self) -> bool {
        let [first, second] = self.parser.peek_tokens();
        first == Token::LParen
            && matches!(second, Token::Word(word)
                if !matches!(word.keyword, Keyword::SELECT | Keyword::WITH | Keyword::VALUES))
    }

    /// Parses what follows EXECUTE or BEGIN: the INSERTs of a statement set up to its END.
    pub(super) fn parse_statement_set(&mut self, first: &str) -> Result<Statement, SqlError> {
        if first == "EXECUTE" && self.accept("INSERT") {
            return Ok(Statement::Insert(vec![self.parse_insert()?]));
        }
        let span = self.parser.get_current_token().span;
        self.expect("STATEMENT")?;
        self.expect("SET")?;
        if first == "EXECUTE" {
            self.expect("BEGIN")?;
        }
        let mut inserts = Vec::new();
        loop {
            while self.parser.consume_token(&Token::SemiColon) {}
            if self.accept("END") {
                break;
            }
            self.expect("INSERT")?;
            inserts.push(self.parse_insert()?);
            if !self.next_is("END") {
                self.parser.expect_token(&Token::SemiColon)?;
            }
        }
        if inserts.is_empty() {
            let message = "a statement set needs at least one INSERT";
            return Err(SqlError::at(SqlErrorCode::InvalidStatement, span, message));
        }
        Ok(Statement::Insert(inserts))
    }

    pub(super) fn parse_explain(&mut self) -> Result<Statement, SqlError> {
        if self.accept("PLAN") {
            self.expect("FOR")?;
        }
        let token = self.parser.peek_token();
        match self.parse_statement()? {
            statement @ (Statement::Insert(_) | Statement::Query(_)) => {
                Ok(Statement::Explain(Box::new(statement)))
            }
            _ => Err(SqlError::at(
                SqlErrorCode::Unsupported,
                token.span,
                format!("EXPLAIN {} is not supported", token.token),
            )
            .with_help("EXPLAIN takes a SELECT or an INSERT")),
        }
    }
}
