//! How deep the trees become that a statement's tokens are parsed to.
//!
//! `a + b + c` is a tree one deeper for each operator, and trees are walked recursively from here
//! to the workers. So what is too deep must be refused before there is a tree. sqlparser itself
//! limits parentheses and operators before their operand.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{SqlError, SqlErrorCode};

/// Operators on one way through an expression. Tests show that stacks are deep enough for it.
pub(super) const OPERATORS_MAX: usize = 1000;

/// Parentheses, brackets and CASEs inside of each other that sqlparser surely takes.
const NESTED_MAX: usize = 45;

/// Set operations and joins on one way through a query. Plans need more stack than expressions.
pub(super) const QUERIES_MAX: usize = 200;

/// Refuses a statement that is nested too deeply.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let mut levels = vec![Level::default()];
    let mut after_period = false;
    for token in tokens {
        let role = if after_period { Role::Other } else { role(&token.token) };
        after_period = token.token == Token::Period;
        let count = levels.len();
        let Some(level) = levels.last_mut() else { break };
        match role {
            // sqlparser refuses far fewer parentheses than that.
            Role::Open if count > OPERATORS_MAX => return Ok(()),
            Role::Open => levels.push(Level::default()),
            // The END of a statement set.
            Role::Close if count == 1 => {}
            Role::Close => {
                let inner = levels.pop().unwrap_or_default().depth();
                if let Some(outer) = levels.last_mut() {
                    outer.inner = outer.inner.max(&inner);
                }
            }
            Role::Operator => level.own.operators += 1,
            Role::Between => {
                level.own.operators += 1;
                level.betweens += 1;
            }
            Role::And if level.betweens > 0 => {
                level.own.operators += 1;
                level.betweens -= 1;
            }
            Role::And => level.end_operand(),
            Role::Query => level.own.queries += 1,
            Role::Comma if level.in_from => level.own.queries += 1,
            Role::Comma | Role::Branch => level.end_expression(),
            Role::Clause(is_from) => {
                level.end_expression();
                level.in_from = is_from;
            }
            Role::Statement => *level = Level::default(),
            Role::Other => {}
        }
        let deepest = levels.last().map(Level::depth).unwrap_or_default();
        let outside = levels.iter().rev().skip(1).map(Level::outside);
        let depth = outside.fold(deepest, |sum, own| sum.plus(&own));
        if depth.operators > OPERATORS_MAX || depth.queries > QUERIES_MAX {
            return Err(too_deep(token, depth));
        }
    }
    Ok(())
}

/// Says that nothing can be parsed where a statement is nested so deeply that sqlparser may have
/// given up: it does not always say so.
pub(super) fn nested_too_deeply(tokens: &[TokenWithSpan]) -> Option<SqlError> {
    let mut nested = 0_usize;
    let deepest = tokens.iter().find(|token| {
        match role(&token.token) {
            Role::Open => nested += 1,
            Role::Close => nested = nested.saturating_sub(1),
            _ => {}
        }
        nested > NESTED_MAX
    })?;
    let message = "an expression that is nested so deeply is not supported";
    let help = "put a part of it into a subquery or a column of its own";
    Some(SqlError::at(SqlErrorCode::Unsupported, deepest.span, message).with_help(help))
}

fn too_deep(token: &TokenWithSpan, depth: Depth) -> SqlError {
    let (message, help) = if depth.operators > OPERATORS_MAX {
        let message = format!("an expression of more than {OPERATORS_MAX} operators");
        (message, "put a part of it into a subquery or a column of its own")
    } else {
        let message = format!("a query of more than {QUERIES_MAX} joins and set operations");
        (message, "put a part of its rows into a table first")
    };
    let message = format!("{message} is not supported");
    SqlError::at(SqlErrorCode::Unsupported, token.span, message).with_help(help)
}

#[derive(Debug, Default, Clone, Copy)]
struct Depth {
    operators: usize,
    queries: usize,
}

impl Depth {
    fn plus(&self, other: &Self) -> Self {
        Self { operators: self.operators + other.operators, queries: self.queries + other.queries }
    }

    fn max(&self, other: &Self) -> Self {
        Self {
            operators: self.operators.max(other.operators),
            queries: self.queries.max(other.queries),
        }
    }
}

/// What stands between a pair of parentheses, so far.
#[derive(Debug, Default)]
struct Level {
    /// Operators of the expression that has begun, and set operations and joins of the query.
    own: Depth,
    /// ANDs and ORs of the expression that has begun.
    logical: usize,
    /// BETWEENs whose AND is to come.
    betweens: usize,
    /// The depth of what was in parentheses in the operand that has begun.
    inner: Depth,
    /// The depth of the deepest operand of an AND or OR that has ended.
    operand: Depth,
    /// The depth of the deepest expression that has ended.
    ended: Depth,
    /// Whether a comma joins.
    in_from: bool,
}

impl Level {
    fn depth(&self) -> Depth {
        let logical = Depth { operators: self.logical, queries: 0 };
        self.own.plus(&self.inner).max(&self.operand).plus(&logical).max(&self.ended)
    }

    /// Returns how deep what comes in parentheses lies in this level.
    fn outside(&self) -> Depth {
        Depth { operators: self.own.operators + self.logical, ..self.own }
    }

    /// `a = 1 OR a = 2` is deeper by its ORs, not by all its operators.
    fn end_operand(&mut self) {
        self.operand = self.operand.max(&self.own.plus(&self.inner));
        self.own.operators = 0;
        self.inner = Depth::default();
        self.logical += 1;
    }

    fn end_expression(&mut self) {
        self.ended = self.depth();
        self.own.operators = 0;
        (self.logical, self.betweens) = (0, 0);
        (self.inner, self.operand) = (Depth::default(), Depth::default());
    }
}

/// What a token does to the depth.
enum Role {
    Open,
    Close,
    /// Makes an expression one deeper.
    Operator,
    /// As an operator, with an AND of its own.
    Between,
    /// AND or OR.
    And,
    /// Makes a query one deeper.
    Query,
    Comma,
    /// Begins another expression of a CASE or a join.
    Branch,
    /// Begins a clause of a query, which is FROM or not.
    Clause(bool),
    /// Begins another statement of a set.
    Statement,
    Other,
}

fn role(token: &Token) -> Role {
    match token {
        Token::LParen | Token::LBracket | Token::LBrace => Role::Open,
        Token::RParen | Token::RBracket | Token::RBrace => Role::Close,
        Token::Comma => Role::Comma,
        Token::SemiColon => Role::Statement,
        Token::Word(word) if word.quote_style.is_none() => role_of_word(word.keyword),
        Token::Word(_)
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::Period => Role::Other,
        _ => Role::Operator,
    }
}

fn role_of_word(keyword: Keyword) -> Role {
    match keyword {
        Keyword::CASE => Role::Open,
        Keyword::END => Role::Close,
        Keyword::WHEN | Keyword::THEN | Keyword::ELSE | Keyword::ON => Role::Branch,
        Keyword::FROM => Role::Clause(true),
        Keyword::SELECT
        | Keyword::WHERE
        | Keyword::GROUP
        | Keyword::HAVING
        | Keyword::ORDER
        | Keyword::LIMIT
        | Keyword::VALUES => Role::Clause(false),
        Keyword::JOIN | Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT => Role::Query,
        Keyword::AND | Keyword::OR => Role::And,
        Keyword::BETWEEN => Role::Between,
        Keyword::XOR
        | Keyword::NOT
        | Keyword::IS
        | Keyword::IN
        | Keyword::LIKE
        | Keyword::ILIKE
        | Keyword::RLIKE
        | Keyword::REGEXP
        | Keyword::SIMILAR
        | Keyword::DIV
        | Keyword::COLLATE
        | Keyword::OVERLAPS
        | Keyword::AT => Role::Operator,
        _ => Role::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::{OPERATORS_MAX, QUERIES_MAX, check};
    use crate::parse::split::split;

    /// Repeats a part of a statement as often as may be, then once more.
    #[track_caller]
    fn check_limit(before: &str, part: &str, after: &str, times: usize) {
        let fits = |times: usize| {
            let tokens = split(&format!("{before}{}{after}", part.repeat(times))).expect("tokens");
            check(&tokens[0]).is_ok()
        };
        assert!(fits(times), "{part} {times} times");
        assert!(!fits(times + 1), "{part} {times} + 1 times");
    }

    #[test]
    fn what_makes_a_tree_deeper_is_counted() {
        check_limit("SELECT a", " + 1", " FROM t", OPERATORS_MAX);
        check_limit("SELECT a", " OR a = 1", "", OPERATORS_MAX - 1);
        check_limit("SELECT a", " BETWEEN 1 AND 2", "", OPERATORS_MAX / 2);
        check_limit("SELECT a", " IS NULL", "", OPERATORS_MAX);
        check_limit("SELECT 0", " + CASE WHEN a = 1 THEN 1 ELSE 2 END", "", OPERATORS_MAX - 1);
        check_limit("SELECT w.end", " + w.end", "", OPERATORS_MAX);
        check_limit("SELECT f(", "1 + ", "1) + (1 - 2)", OPERATORS_MAX - 1);
        check_limit("SELECT 1", " UNION ALL SELECT 1", "", QUERIES_MAX);
        check_limit("SELECT 1 FROM a", " JOIN b ON b.x = a.x AND b.y = 1", "", QUERIES_MAX);
        check_limit("SELECT 1 FROM a", ", b", " WHERE x = 1", QUERIES_MAX);
    }

    #[test]
    fn what_stands_side_by_side_is_not() {
        for (before, part) in [
            ("INSERT INTO t VALUES (0)", ", (1 + 2, -3)"),
            ("SELECT 0", ", a + 1"),
            ("SELECT CASE x", " WHEN a = 1 THEN b + 1"),
            ("SELECT a IN (0", ", 1"),
        ] {
            let tokens = split(&format!("{before}{}", part.repeat(5000))).expect("tokens");
            assert!(check(&tokens[0]).is_ok(), "{part}");
        }
    }
}
