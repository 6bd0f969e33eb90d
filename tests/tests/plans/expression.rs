//! Scalar expressions over the columns of one or two inputs: their text and their value.

use std::cmp::Ordering;

use super::value::{Type, Value};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    Column(usize),
    Literal(Value, Type),
    /// `+`, `-` or `*`.
    Arithmetic(char, Box<Expr>, Box<Expr>),
    /// One of SQL's six comparisons.
    Compare(&'static str, Box<Expr>, Box<Expr>),
    /// `IS [NOT] DISTINCT FROM`; true where negated.
    Distinct(bool, Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    /// `IS [NOT] NULL`; true where negated.
    IsNull(bool, Box<Expr>),
    Case(Box<Expr>, Box<Expr>, Option<Box<Expr>>),
    Coalesce(Box<Expr>, Box<Expr>),
    /// `[NOT] IN (…)`; true where negated.
    InList(bool, Box<Expr>, Vec<(Value, Type)>),
}

impl Expr {
    pub(crate) fn sql(&self, name: &impl Fn(usize) -> String) -> String {
        let two = |between: &str, a: &Self, b: &Self| {
            format!("({} {between} {})", a.sql(name), b.sql(name))
        };
        let not = |negated: &bool| if *negated { "NOT " } else { "" };
        match self {
            Self::Column(index) => name(*index),
            Self::Literal(value, of) => value.sql(*of),
            Self::Arithmetic(sign, a, b) => two(&sign.to_string(), a, b),
            Self::Compare(sign, a, b) => two(sign, a, b),
            Self::Distinct(negated, a, b) => {
                two(&format!("IS {}DISTINCT FROM", not(negated)), a, b)
            }
            Self::And(a, b) => two("AND", a, b),
            Self::Or(a, b) => two("OR", a, b),
            Self::Not(a) => format!("(NOT {})", a.sql(name)),
            Self::IsNull(negated, a) => format!("({} IS {}NULL)", a.sql(name), not(negated)),
            Self::Case(when, then, otherwise) => {
                let otherwise =
                    otherwise.as_ref().map(|other| format!(" ELSE {}", other.sql(name)));
                let (when, then) = (when.sql(name), then.sql(name));
                format!("CASE WHEN {when} THEN {then}{} END", otherwise.unwrap_or_default())
            }
            Self::Coalesce(a, b) => format!("COALESCE({}, {})", a.sql(name), b.sql(name)),
            Self::InList(negated, a, list) => {
                let list = list.iter().map(|(value, of)| value.sql(*of)).collect::<Vec<_>>();
                format!("({} {}IN ({}))", a.sql(name), not(negated), list.join(", "))
            }
        }
    }

    pub(crate) fn value(&self, row: &[Value]) -> Value {
        match self {
            Self::Column(index) => row[*index].clone(),
            Self::Literal(value, _) => value.clone(),
            Self::Arithmetic(sign, a, b) => arithmetic(*sign, &a.value(row), &b.value(row)),
            Self::Case(when, then, otherwise) => {
                if when.truth(row) == Some(true) {
                    return then.value(row);
                }
                otherwise.as_ref().map_or(Value::Null, |otherwise| otherwise.value(row))
            }
            Self::Coalesce(a, b) => match a.value(row) {
                Value::Null => b.value(row),
                value => value,
            },
            _ => self.truth(row).map_or(Value::Null, Value::Bool),
        }
    }

    /// Returns whether a condition is true, false or, as `None`, unknown.
    pub(crate) fn truth(&self, row: &[Value]) -> Option<bool> {
        match self {
            Self::Compare(sign, a, b) => Some(holds(sign, a.value(row).compare(&b.value(row))?)),
            Self::Distinct(negated, a, b) => {
                Some((a.value(row).order(&b.value(row)) != Ordering::Equal) != *negated)
            }
            Self::And(a, b) => match (a.truth(row), b.truth(row)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(a, b) => match (a.truth(row), b.truth(row)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::Not(a) => a.truth(row).map(|truth| !truth),
            Self::IsNull(negated, a) => Some(a.value(row).is_null() != *negated),
            Self::InList(negated, a, list) => {
                let values = list.iter().map(|(value, _)| value);
                is_in(&a.value(row), values).map(|found| found != *negated)
            }
            _ => match self.value(row) {
                Value::Bool(truth) => Some(truth),
                _ => None,
            },
        }
    }
}

/// Tells whether a value is among others: unknown where a NULL might be it.
pub(crate) fn is_in<'a>(
    value: &Value,
    others: impl IntoIterator<Item = &'a Value>,
) -> Option<bool> {
    let mut unknown = false;
    for other in others {
        match value.compare(other) {
            Some(Ordering::Equal) => return Some(true),
            Some(_) => {}
            None => unknown = true,
        }
    }
    (!unknown).then_some(false)
}

pub(crate) fn holds(sign: &str, order: Ordering) -> bool {
    match sign {
        "=" => order.is_eq(),
        "<>" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    }
}

fn arithmetic(sign: char, a: &Value, b: &Value) -> Value {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => Value::Null,
        (Value::Int(a), Value::Int(b)) => Value::Int(match sign {
            '+' => a + b,
            '-' => a - b,
            _ => a * b,
        }),
        (a, b) => Value::Float(match sign {
            '+' => a.number() + b.number(),
            '-' => a.number() - b.number(),
            _ => a.number() * b.number(),
        }),
    }
}
