//! From text to statements.

mod create;
mod depth;
mod dialect;
mod hint;
pub(crate) mod interval;
mod query;
mod source;
mod split;
mod table;
mod template;
mod tree;
mod types;

use sqlparser::ast::Ident;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};

use crate::error::{SqlError, SqlErrorCode, SqlErrors, suggest};
use crate::statement::{Drop, ObjectKind, ParsedStatement, Show, Statement};
pub(crate) use dialect::{PARTITION, RainstormDialect};
pub(crate) use source::Source;
pub(crate) use split::is_complete;
pub(crate) use template::Template;
pub(crate) use tree::{call, named_type};
pub(crate) use types::FlinkTypePlanner;

/// Parses a script.
///
/// # Errors
/// One complaint per statement that is not SQL of the dialect.
pub(crate) fn parse_script(text: &str) -> Result<Vec<ParsedStatement>, SqlErrors> {
    let source = Source::new(text);
    let mut errors = Vec::new();
    let mut statements = Vec::new();
    for tokens in split::split(text)? {
        match parse_tokens(&source, tokens) {
            Ok(statement) => statements.push(statement),
            Err(error) => errors.push(error),
        }
    }
    SqlErrors::check(errors)?;
    Ok(statements)
}

/// Parses each statement of a script by itself; with its place and its tokens.
///
/// # Errors
/// Where the text does not even consist of tokens.
pub(crate) fn parse_each(text: &str) -> Result<Vec<Attempt<'_>>, SqlErrors> {
    let source = Source::new(text);
    let statements = split::split(text)?.into_iter().map(|tokens| Attempt {
        sql: source.slice(span_of(&tokens)),
        parsed: parse_tokens(&source, tokens.clone()),
        tokens,
    });
    Ok(statements.collect())
}

/// What may be a statement.
pub(crate) struct Attempt<'a> {
    pub(crate) sql: &'a str,
    pub(crate) tokens: Vec<TokenWithSpan>,
    pub(crate) parsed: Result<ParsedStatement, SqlError>,
}

fn span_of(tokens: &[TokenWithSpan]) -> Span {
    let start = tokens.first().map_or_else(Span::empty, |token| token.span).start;
    Span::new(start, tokens.last().map_or_else(Span::empty, |token| token.span).end)
}

fn parse_tokens(source: &Source, tokens: Vec<TokenWithSpan>) -> Result<ParsedStatement, SqlError> {
    let span = span_of(&tokens);
    let (tokens, comments) = hint::take(tokens);
    depth::check(&tokens)?;
    let hints = hint::parse(source, comments)?;
    let too_deep = depth::nested_too_deeply(&tokens);
    let parser = Parser::new(&RainstormDialect).with_tokens_with_locations(tokens);
    let mut parser = StatementParser { parser, source, end: span.end };
    let place = Span::new(span.end, span.end);
    let mut statement = parser
        .parse_statement()
        .and_then(|statement| parser.expect_end().map(|()| statement))
        .map_err(|error| {
            too_deep.unwrap_or_else(|| parser.at_what_was_found(error).or_at(place))
        })?;
    hint::attach(&mut statement, hints)?;
    Ok(ParsedStatement { statement, span })
}

/// Finds the only text of a statement that a message quotes, as in `FROM 'file.csv'`: the parser
/// gives such names no place.
pub(crate) fn quoted_text(script: &str, statement: Span, message: &str) -> Option<Span> {
    let tokens = split::split(script).ok()?.into_iter().flatten().filter(|token| {
        let is_inside = statement.start <= token.span.start && token.span.end <= statement.end;
        let is_quoted = matches!(&token.token, Token::SingleQuotedString(text)
            if message.contains(&format!("'{text}'")));
        is_inside && is_quoted
    });
    let spans: Vec<Span> = tokens.map(|token| token.span).collect();
    if let [span] = spans.as_slice() { Some(*span) } else { None }
}

/// Statements whose first word is known but that are not supported.
const UNSUPPORTED: &[&str] = &[
    "ALTER", "ANALYZE", "CALL", "COMMIT", "COPY", "DELETE", "GRANT", "LOAD", "MERGE", "REVOKE",
    "ROLLBACK", "START", "TRUNCATE", "UNLOAD", "UPDATE", "USE",
];

/// Statements' first words, for suggestions.
const FIRST_WORDS: &[&str] = &[
    "BEGIN", "CREATE", "DESCRIBE", "DROP", "EXECUTE", "EXPLAIN", "INSERT", "RESET", "SELECT",
    "SET", "SHOW", "VALUES", "WITH",
];

/// Parses one statement: its own grammar around sqlparser's of queries and expressions.
struct StatementParser<'a> {
    parser: Parser<'a>,
    source: &'a Source<'a>,
    /// Where the statement's last token ends.
    end: Location,
}

impl StatementParser<'_> {
    fn parse_statement(&mut self) -> Result<Statement, SqlError> {
        let token = self.parser.peek_token();
        if token.token == Token::LParen {
            return Ok(Statement::Query(self.parser.parse_query()?));
        }
        let Token::Word(word) = &token.token else {
            return Ok(self.parser.expected("a statement", token)?);
        };
        let word = word.value.to_uppercase();
        match word.as_str() {
            "SELECT" | "WITH" | "VALUES" => {
                return Ok(Statement::Query(self.parser.parse_query()?));
            }
            _ => self.parser.next_token(),
        };
        match word.as_str() {
            "CREATE" => self.parse_create(),
            "DROP" => self.parse_drop(),
            "INSERT" => Ok(Statement::Insert(vec![self.parse_insert()?])),
            "BEGIN" if !self.next_is("STATEMENT") => {
                let message = "transactions are not supported";
                Err(SqlError::at(SqlErrorCode::Unsupported, token.span, message)
                    .with_help("BEGIN STATEMENT SET; … END; makes several INSERTs one job"))
            }
            "EXECUTE" | "BEGIN" => self.parse_statement_set(&word),
            "EXPLAIN" => self.parse_explain(),
            "DESCRIBE" | "DESC" => {
                let _ = self.parser.parse_keyword(Keyword::TABLE);
                let [_, name] = self.parser.peek_tokens();
                let how = ["EXTENDED", "FORMATTED"].into_iter().find(|how| self.next_is(how));
                if let (Some(how), Token::Word(_)) = (how, name) {
                    let span = self.parser.peek_token_ref().span;
                    let message = format!("{word} {how} is not supported");
                    return Err(SqlError::at(SqlErrorCode::Unsupported, span, message));
                }
                Ok(Statement::Describe(self.parse_name()?))
            }
            "SHOW" => self.parse_show(),
            "SET" => self.parse_set(),
            "RESET" if self.at_end() => Ok(Statement::Reset(None)),
            "RESET" => Ok(Statement::Reset(Some(self.parse_key(self.end)?))),
            _ if UNSUPPORTED.contains(&word.as_str()) => Err(SqlError::at(
                SqlErrorCode::Unsupported,
                token.span,
                format!("{word} is not supported"),
            )),
            _ => {
                let message = format!("expected a statement, found: {}", token.token);
                Err(SqlError::at(SqlErrorCode::Parse, token.span, message)
                    .with_suggestion(suggest(&word, FIRST_WORDS.iter().copied())))
            }
        }
    }

    fn parse_drop(&mut self) -> Result<Statement, SqlError> {
        let temporary = self.accept("TEMPORARY");
        let kind = self.parse_object_kind()?;
        let if_exists = self.parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
        let name = self.parse_name()?;
        Ok(Statement::Drop(Drop { kind, name, if_exists, temporary }))
    }

    fn parse_object_kind(&mut self) -> Result<ObjectKind, SqlError> {
        if self.accept("TABLE") {
            Ok(ObjectKind::Table)
        } else if self.accept("VIEW") {
            Ok(ObjectKind::View)
        } else if self.accept("FUNCTION") {
            Ok(ObjectKind::Function)
        } else {
            self.unsupported_or_expected("TABLE, VIEW or FUNCTION")
        }
    }

    fn parse_show(&mut self) -> Result<Statement, SqlError> {
        if self.accept("CREATE") {
            if !self.accept("TABLE") && !self.accept("VIEW") {
                return self.unsupported_or_expected("TABLE or VIEW");
            }
            return Ok(Statement::ShowCreate(self.parse_name()?));
        }
        self.accept("USER");
        let kinds = [
            ("TABLES", Show::Tables),
            ("VIEWS", Show::Views),
            ("FUNCTIONS", Show::Functions),
            ("JOBS", Show::Jobs),
            ("SETTINGS", Show::Settings),
        ];
        for (word, show) in kinds {
            if self.accept(word) {
                return Ok(Statement::Show(show));
            }
        }
        self.unsupported_or_expected("TABLES, VIEWS, FUNCTIONS, JOBS, SETTINGS or CREATE")
    }

    fn parse_set(&mut self) -> Result<Statement, SqlError> {
        if self.at_end() {
            return Ok(Statement::Show(Show::Settings));
        }
        let start = self.parser.get_current_index() + 1;
        let mut index = start;
        while !matches!(self.parser.token_at(index).token, Token::Eq | Token::EOF) {
            index += 1;
        }
        let equals = self.parser.token_at(index).clone();
        if equals.token == Token::EOF {
            let message = "expected SET 'key' = 'value'";
            return Err(SqlError::at_location(SqlErrorCode::Parse, self.end, message));
        }
        let key = self.parse_key(equals.span.start)?;
        self.parser.expect_token(&Token::Eq)?;
        let value = self.parse_text(self.end)?;
        Ok(Statement::Set { key, value: value.value })
    }

    /// Parses a setting's key, quoted or bare, that ends before a place.
    fn parse_key(&mut self, end: Location) -> Result<Ident, SqlError> {
        self.parse_text(end)
    }

    /// Takes the text up to a place: a string's value, or what stands there.
    fn parse_text(&mut self, end: Location) -> Result<Ident, SqlError> {
        let first = self.parser.next_token();
        let mut last = first.span.end;
        let mut count = 1;
        while self.parser.peek_token_ref().token != Token::EOF
            && self.parser.peek_token_ref().span.start < end
        {
            last = self.parser.next_token().span.end;
            count += 1;
        }
        let span = Span::new(first.span.start, last);
        match first.token {
            Token::EOF | Token::Eq => Ok(self.parser.expected("a key or value", first)?),
            Token::SingleQuotedString(text) if count == 1 => Ok(Ident::with_span(span, text)),
            _ => Ok(Ident::with_span(span, self.source.slice(span).trim())),
        }
    }

    /// Parses the name of a table, view or function.
    fn parse_name(&mut self) -> Result<Ident, SqlError> {
        let name = self.parser.parse_identifier()?;
        if self.parser.peek_token_ref().token == Token::Period {
            self.parser.next_token();
            let last = self.parser.parse_identifier()?;
            return Err(SqlError::at(
                SqlErrorCode::Unsupported,
                name.span.union(&last.span),
                "names with a catalog or database are not supported",
            ));
        }
        Ok(name)
    }

    /// Takes a word, whatever its case, if it comes next.
    fn accept(&mut self, wanted: &str) -> bool {
        let found = self.next_is(wanted);
        if found {
            self.parser.next_token();
        }
        found
    }

    fn expect(&mut self, wanted: &str) -> Result<(), SqlError> {
        if self.accept(wanted) {
            return Ok(());
        }
        let found = self.parser.peek_token();
        Ok(self.parser.expected(wanted, found)?)
    }

    fn next_is(&self, wanted: &str) -> bool {
        matches!(&self.parser.peek_token_ref().token, Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
    }

    fn at_end(&self) -> bool {
        self.parser.peek_token_ref().token == Token::EOF
    }

    fn expect_end(&mut self) -> Result<(), SqlError> {
        if self.at_end() {
            return Ok(());
        }
        let found = self.parser.peek_token();
        Ok(self.parser.expected("end of statement", found)?)
    }

    /// Moves a complaint to the token that it says was found: where an expression is expected,
    /// sqlparser gives the place of the one behind it.
    fn at_what_was_found(&self, mut error: SqlError) -> SqlError {
        let Some((_, found)) = error.message.split_once(", found: ") else { return error };
        let token = |index: usize| self.parser.token_at(index);
        let is_last = |token: &TokenWithSpan| {
            let start = token.span.start;
            token.token == Token::EOF
                || (start.line as usize, start.column as usize) == (error.line, error.column)
        };
        let is_found = |index: usize| token(index).token.to_string() == found;
        let mut place = 0;
        while !is_last(token(place)) {
            place += 1;
        }
        if place > 0 && !is_found(place) && is_found(place - 1) {
            place -= 1;
            let start = token(place).span.start;
            (error.line, error.column) = (start.line as usize, start.column as usize);
        }
        let is_after_comma = place > 0 && token(place - 1).token == Token::Comma;
        if is_after_comma && error.message.starts_with("expected an expression") {
            error.help = Some("there is a comma too much before it".to_owned());
        }
        error
    }

    /// Complains about the next token: as not supported where it is a known word of SQL.
    fn unsupported_or_expected<T>(&mut self, expected: &str) -> Result<T, SqlError> {
        let found = self.parser.peek_token();
        if let Token::Word(word) = &found.token
            && word.keyword != Keyword::NoKeyword
        {
            let before = self.parser.get_current_token().to_string();
            return Err(SqlError::at(
                SqlErrorCode::Unsupported,
                found.span,
                format!("{before} {} is not supported", word.value),
            )
            .with_help(format!("expected {expected}")));
        }
        Ok(self.parser.expected(expected, found)?)
    }
}

/// Words that are often mistyped inside statements, for suggestions.
const CLAUSES: &[&str] = &[
    "FROM",
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "SELECT",
    "VALUES",
    "UNION",
    "WATERMARK",
    "PARTITIONED",
    "ENFORCED",
    "PRIMARY",
    "WITH",
    "INTO",
    "JOIN",
    "RETURN",
    "RETURNS",
    "TABLE",
    "VIEW",
    "FUNCTION",
    "TABLES",
    "VIEWS",
    "FUNCTIONS",
    "SETTINGS",
];

impl From<ParserError> for SqlError {
    /// sqlparser writes the place into its message; it is taken out again.
    fn from(error: ParserError) -> Self {
        let text = match error {
            ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
            ParserError::RecursionLimitExceeded => "expression is nested too deeply".to_owned(),
        };
        let (text, location) = split_location(&text);
        let (message, help) = match text.split_once("; did you mean ") {
            Some((message, name)) => (message, Some(format!("did you mean {name}"))),
            None => (text, None),
        };
        let message = match message.strip_prefix("Expected: ") {
            Some(rest) => format!("expected {rest}"),
            None if message.starts_with("Expected ") => message.replacen('E', "e", 1),
            None if message.starts_with("No infix parser for token") => {
                "there is no such operator".to_owned()
            }
            None => message.trim_start_matches("sql parser error: ").to_owned(),
        };
        let message = message.replace("literal int", "a whole number");
        let found = message.split_once(", found: ").map(|(_, found)| found.to_owned());
        let mut error = Self::at_location(SqlErrorCode::Parse, location, message);
        error.help = help;
        if let Some((_, name)) = error.message.split_once("there is no type '") {
            error.length = name.trim_end_matches('\'').chars().count().max(1);
        }
        if let Some(found) = found {
            error.message = error.message.replace(", found: EOF", ", found the end");
            error.length = found.chars().count().max(1);
            let is_clause = CLAUSES.iter().any(|clause| clause.eq_ignore_ascii_case(&found));
            if error.help.is_none() && !is_clause {
                error = error.with_suggestion(suggest(&found, CLAUSES.iter().copied()));
            }
        }
        error
    }
}

fn split_location(text: &str) -> (&str, Location) {
    let parse = || {
        let (message, place) = text.rsplit_once(" at Line: ")?;
        let (line, column) = place.split_once(", Column: ")?;
        Some((message, Location::new(line.parse().ok()?, column.parse().ok()?)))
    };
    parse().unwrap_or((text, Location::empty()))
}

#[cfg(test)]
mod tests;
