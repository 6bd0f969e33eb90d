//! Where in a query stands what a message is about.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, JoinConstraint, LimitClause, OrderByKind, Query, Select, SetExpr,
    Spanned, TableFactor, TypedString, Value, Visit, Visitor, visit_expressions,
};
use sqlparser::tokenizer::Span;

use crate::resolve::constraint;

/// Finds the only literal in `node` that a message about a cast can mean.
pub(super) fn literal_in<T: Visit>(message: &str, node: &T) -> Option<Span> {
    let literal = message.split_once("cannot cast ")?.1.rsplit_once(" to ")?.0;
    only(node, |expr| match expr {
        Expr::Value(value) | Expr::TypedString(TypedString { value, .. }) => {
            (value.value.to_string() == literal).then_some(value.span)
        }
        _ => None,
    })
}

/// Finds the only text in `node` that a message quotes.
pub(super) fn quoted_in<T: Visit>(message: &str, node: &T) -> Option<Span> {
    only(node, |expr| match expr {
        Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)) => {
            message.contains(&value.value.to_string()).then_some(value.span)
        }
        _ => None,
    })
}

/// Finds the only call or operation in `node` that a message can mean.
pub(super) fn operation_in<T: Visit>(message: &str, node: &T) -> Option<Span> {
    let function = message
        .split_once("function '")
        .and_then(|(_, rest)| rest.split_once('\''))
        .map(|(name, _)| name)
        .or_else(|| message.split_once(" does not take ").map(|(name, _)| name))
        .or_else(|| message.split_once(' ').map(|(first, _)| first).filter(|word| is_name(word)));
    let operator = message.split_whitespace().find(|word| OPERATORS.contains(word));
    only(node, |expr| match (expr, function, operator) {
        (Expr::Function(call), Some(name), _)
            if call.name.to_string().eq_ignore_ascii_case(name) =>
        {
            Some(call.name.span())
        }
        (Expr::BinaryOp { op, .. }, None, Some(symbol)) if op.to_string() == symbol => {
            Some(expr.span())
        }
        _ => None,
    })
}

/// Tells whether a word can be a function's name as messages have them.
fn is_name(word: &str) -> bool {
    word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

/// Operators that DataFusion names in its messages.
const OPERATORS: &[&str] =
    &["+", "-", "*", "/", "%", "=", "<>", "!=", "<", "<=", ">", ">=", "||", "AND", "OR", "LIKE"];

fn only<T: Visit>(node: &T, mut span: impl FnMut(&Expr) -> Option<Span>) -> Option<Span> {
    let mut found = Vec::new();
    let _ = visit_expressions(node, |expr| {
        found.extend(span(expr));
        ControlFlow::<()>::Continue(())
    });
    match found.as_slice() {
        [span] => Some(*span).filter(|span| span.start.line > 0),
        _ => None,
    }
}

/// Finds the first place of the construct that a message names.
pub(super) fn construct_in<T: Visit>(message: &str, node: &T) -> Option<Span> {
    let mut constructs = Constructs::default();
    let _ = node.visit(&mut constructs);
    let named = |name: &str| {
        message.match_indices(name).any(|(start, _)| {
            let boundary = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
            boundary(message[..start].chars().next_back())
                && boundary(message[start + name.len()..].chars().next())
        })
    };
    NAMES
        .iter()
        .filter(|name| named(name))
        .find_map(|name| constructs.0.iter().find(|(known, _)| known == name))
        .map(|(_, span)| *span)
}

/// Names of constructs, those first that say more.
const NAMES: &[&str] = &[
    TABLE_FUNCTION,
    SYSTEM_TIME,
    INTERSECT,
    EXCEPT,
    UNION,
    UNNEST,
    LATERAL,
    EXISTS,
    IN,
    OVER,
    HAVING,
    LIMIT,
    OFFSET,
    ORDER_BY,
    GROUP_BY,
    DISTINCT,
    SUBQUERY,
    SQL_JOIN,
    JOIN,
    ON,
    WHERE,
];
const TABLE_FUNCTION: &str = "table functions";
const SYSTEM_TIME: &str = "FOR SYSTEM_TIME";
const INTERSECT: &str = "INTERSECT";
const EXCEPT: &str = "EXCEPT";
const UNION: &str = "UNION";
const UNNEST: &str = "UNNEST";
const LATERAL: &str = "LATERAL";
const EXISTS: &str = "EXISTS";
const IN: &str = "IN";
const OVER: &str = "OVER";
const HAVING: &str = "HAVING";
const LIMIT: &str = "LIMIT";
const OFFSET: &str = "OFFSET";
const ORDER_BY: &str = "ORDER BY";
const GROUP_BY: &str = "GROUP BY";
const DISTINCT: &str = "DISTINCT";
const SUBQUERY: &str = "subquery";
const JOIN: &str = "join";
const SQL_JOIN: &str = "JOIN";
const ON: &str = "ON";
const WHERE: &str = "condition";

/// Constructs of a query with their places, in the order of its text.
#[derive(Default)]
struct Constructs(Vec<(&'static str, Span)>);

impl Constructs {
    fn add(&mut self, name: &'static str, span: Span) {
        if span.start.line > 0 {
            self.0.push((name, span));
        }
    }

    fn add_join(&mut self, right: &TableFactor) {
        self.add(JOIN, right.span());
        self.add(SQL_JOIN, right.span());
    }

    fn set_expr(&mut self, body: &SetExpr) {
        let SetExpr::SetOperation { op, left, right, .. } = body else { return };
        self.set_expr(left);
        let name = match op.to_string().as_str() {
            "INTERSECT" => INTERSECT,
            "UNION" => UNION,
            _ => EXCEPT,
        };
        self.add(name, right.span());
        self.set_expr(right);
    }
}

impl Visitor for Constructs {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.set_expr(&query.body);
        if let Some(order_by) = &query.order_by
            && let OrderByKind::Expressions(exprs) = &order_by.kind
        {
            // A number is what can be wrong about the clause as such.
            let number = exprs.iter().find(|by| matches!(by.expr, Expr::Value(_)));
            let span = number.or(exprs.first()).map(|by| by.expr.span());
            self.add(ORDER_BY, span.unwrap_or_else(Span::empty));
        }
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
            if let Some(limit) = limit {
                self.add(LIMIT, limit.span());
            }
            if let Some(offset) = offset {
                self.add(OFFSET, offset.value.span());
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if let GroupByExpr::Expressions(exprs, _) = &select.group_by {
            let number = exprs.iter().find(|expr| matches!(expr, Expr::Value(_)));
            let span = number.or(exprs.first()).map(Spanned::span);
            self.add(GROUP_BY, span.unwrap_or_else(Span::empty));
        }
        if let Some(condition) = &select.selection {
            self.add(WHERE, condition.span());
        }
        if let Some(condition) = &select.having {
            self.add(HAVING, condition.span());
        }
        if let (None, Some(condition)) = (&select.selection, &select.having) {
            self.add(WHERE, condition.span());
        }
        if let Some(Distinct::On(exprs)) = &select.distinct {
            let span = exprs.first().map(Spanned::span);
            self.add(DISTINCT, span.unwrap_or_else(Span::empty));
        }
        for from in &select.from {
            for join in &from.joins {
                self.add_join(&join.relation);
                let mut operator = join.join_operator.clone();
                if let Some(JoinConstraint::On(condition)) = constraint(&mut operator) {
                    self.add(ON, condition.span());
                }
            }
        }
        for from in select.from.iter().skip(1) {
            self.add_join(&from.relation);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::UNNEST { array_exprs, .. } => {
                let span = array_exprs.first().map(Spanned::span);
                self.add(UNNEST, span.unwrap_or_else(Span::empty));
            }
            TableFactor::Derived { lateral: true, subquery, .. } => {
                self.add(LATERAL, subquery.span());
            }
            TableFactor::Table { name, args: Some(_), .. } => {
                self.add(TABLE_FUNCTION, name.span());
            }
            TableFactor::Table { name, version: Some(_), .. } => {
                self.add(SYSTEM_TIME, name.span());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Exists { subquery, .. } => self.add(EXISTS, subquery.span()),
            Expr::InSubquery { expr, .. } => self.add(IN, expr.span()),
            Expr::Subquery(query) => self.add(SUBQUERY, query.span()),
            Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case(UNNEST) => {
                self.add(UNNEST, call.name.span());
            }
            Expr::Function(call) if call.over.is_some() => self.add(OVER, call.name.span()),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
