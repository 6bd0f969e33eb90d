//! TUMBLE_START(…) and its relatives, which name parts of the window that a query groups by.

use std::ops::ControlFlow;

use datafusion::error::DataFusionError;
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Spanned, Value,
    VisitorMut,
};
use sqlparser::tokenizer::Span;

use super::kind;
use crate::bind::window_table::{PROCTIME, ROWTIME};
use crate::error::{SqlError, SqlErrorCode, fail};
use crate::parse::interval::length_ms;

/// Puts the window's columns in place of the functions that name them.
pub(super) struct WindowColumns<'a> {
    /// What the query groups by.
    window: Option<&'a Function>,
    /// The kinds of times that are asked for, each with its place.
    pub(super) asked: Vec<Ident>,
}

impl<'a> WindowColumns<'a> {
    pub(super) fn of(window: Option<&'a Function>) -> Self {
        Self { window, asked: Vec::new() }
    }
}

impl VisitorMut for WindowColumns<'_> {
    type Break = DataFusionError;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let span = call.name.span();
        if let Some((function, part)) = parts(call) {
            if let Err(error) = self.check(call, function) {
                return ControlFlow::Break(fail(error));
            }
            let (column, asked) = part.column();
            self.asked.extend(asked.map(|asked| Ident::with_span(span, asked)));
            *expr = Expr::Identifier(Ident::new(column));
        } else if self.window.is_some_and(|window| kind(call) == kind(window) && same(call, window))
        {
            *expr = whole_window(call);
        }
        ControlFlow::Continue(())
    }
}

impl WindowColumns<'_> {
    /// Refuses a call that means another window than the query's.
    fn check(&self, call: &Function, function: &'static str) -> Result<(), SqlError> {
        let wrong = |message: String, help: String| {
            let span = call.name.span();
            Err(SqlError::at(SqlErrorCode::InvalidStatement, span, message).with_help(help))
        };
        match self.window {
            Some(window) if kind(window) == Some(function) && same(call, window) => Ok(()),
            Some(window) => wrong(
                format!("{call} is of another window than the query groups by"),
                format!("the query groups by {window}"),
            ),
            None => wrong(
                format!("{} stands without GROUP BY {function}(…)", call.name),
                format!("add GROUP BY {function}{}", call.args),
            ),
        }
    }
}

/// A part of a window.
#[derive(Clone, Copy)]
enum Part {
    Start,
    End,
    RowTime,
    ProcTime,
}

impl Part {
    /// Returns the window's column, and what must hold of the window's time.
    fn column(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Start => ("window_start", None),
            Self::End => ("window_end", None),
            Self::RowTime => ("window_time", Some(ROWTIME)),
            Self::ProcTime => ("window_time", Some(PROCTIME)),
        }
    }
}

/// Returns the window and the part that a function names.
fn parts(call: &Function) -> Option<(&'static str, Part)> {
    let name = call.name.to_string().to_uppercase();
    let (function, part) = name.split_once('_')?;
    let function =
        ["TUMBLE", "HOP", "CUMULATE", "SESSION"].into_iter().find(|known| *known == function)?;
    let part = match part {
        "START" => Part::Start,
        "END" => Part::End,
        "ROWTIME" => Part::RowTime,
        "PROCTIME" => Part::ProcTime,
        _ => return None,
    };
    Some((function, part))
}

/// Tells whether two calls are of the same window: of the same time, where both name one, and of
/// lengths that are equal however they are written.
fn same(call: &Function, other: &Function) -> bool {
    let (Some((time, lengths)), Some((other_time, other_lengths))) =
        (arguments(call), arguments(other))
    else {
        return false;
    };
    let same_time = time.is_none() || other_time.is_none() || time == other_time;
    same_time && lengths == other_lengths
}

/// An argument after the time.
#[derive(PartialEq, Eq)]
enum Length {
    Milliseconds(i64),
    Written(String),
}

/// Returns the time that a window is of, without the table's name, and the rest.
fn arguments(call: &Function) -> Option<(Option<String>, Vec<Length>)> {
    let FunctionArguments::List(list) = &call.args else { return None };
    let mut time = None;
    let mut lengths = Vec::new();
    for (place, argument) in list.args.iter().enumerate() {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(name))) if place == 0 => {
                time = Some(name.value.clone());
            }
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::CompoundIdentifier(names)))
                if place == 0 =>
            {
                time = names.last().map(|name| name.value.clone());
            }
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Interval(interval))) => {
                let length = length_ms(interval).map(Length::Milliseconds);
                lengths.push(length.unwrap_or_else(|| Length::Written(interval.to_string())));
            }
            other => lengths.push(Length::Written(other.to_string())),
        }
    }
    Some((time, lengths))
}

/// Returns the window itself, `tumble(…)` in a SELECT list, as a row of its start and end.
fn whole_window(call: &Function) -> Expr {
    let text = |text: &str| {
        Expr::Value(Value::SingleQuotedString(text.to_owned()).with_span(Span::empty()))
    };
    let column = |name: &str| Expr::Identifier(Ident::new(name));
    let parts = [text("start"), column("window_start"), text("end"), column("window_end")];
    let mut row = call.clone();
    row.name = vec![Ident::with_span(call.name.span(), "named_struct")].into();
    if let FunctionArguments::List(list) = &mut row.args {
        let unnamed = |expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr));
        list.args = parts.into_iter().map(unnamed).collect();
    }
    Expr::Function(row)
}
