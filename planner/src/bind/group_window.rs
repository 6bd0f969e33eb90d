//! The older form `GROUP BY TUMBLE(ts, INTERVAL …)` as the windowing table that it means.
//!
//! `FROM t GROUP BY k, TUMBLE(ts, i)` becomes `FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), i))
//! GROUP BY k, window_start, window_end`, with TUMBLE_START and its relatives for the window's
//! columns. Arroyo's `GROUP BY tumble(i)` is the same over the table's only event time.

mod auxiliary;

use std::ops::ControlFlow;

use datafusion::error::{DataFusionError, Result};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArguments,
    GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, Spanned, TableFactor, VisitMut,
    VisitorMut,
};
use sqlparser::tokenizer::Span;

use self::auxiliary::WindowColumns;
use super::window_table::{GROUPED, argument_names};
use crate::error::{SqlError, SqlErrorCode, fail, unsupported};
use crate::hint;

/// Rewrites every SELECT of a query.
pub(super) fn rewrite(query: &mut Query) -> Result<()> {
    match query.visit(&mut GroupWindows) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct GroupWindows;

impl VisitorMut for GroupWindows {
    type Break = DataFusionError;

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        let window = match rewrite_body(&mut query.body) {
            Err(error) => return ControlFlow::Break(error),
            Ok(window) => window,
        };
        query.order_by.visit(&mut WindowColumns::of(window.as_ref()))
    }
}

/// Rewrites the SELECTs of a query's body; returns the window where the body is one SELECT.
fn rewrite_body(body: &mut SetExpr) -> Result<Option<Function>> {
    match body {
        SetExpr::Select(select) => rewrite_select(select),
        SetExpr::SetOperation { left, right, .. } => {
            rewrite_body(left)?;
            rewrite_body(right)?;
            Ok(None)
        }
        // Queries are visited by themselves.
        _ => Ok(None),
    }
}

fn rewrite_select(select: &mut Select) -> Result<Option<Function>> {
    let window = take_window(select)?;
    let mut columns = WindowColumns::of(window.as_ref());
    break_with(select.projection.visit(&mut columns))?;
    break_with(select.having.visit(&mut columns))?;
    let asked = columns.asked;
    // What stands elsewhere belongs to no window.
    break_with(select.visit(&mut WindowColumns::of(None)))?;
    let Some(call) = window else { return Ok(None) };
    let [from] = select.from.as_mut_slice() else {
        return Err(over_join(&call));
    };
    if !from.joins.is_empty() {
        return Err(over_join(&call));
    }
    let count = if asked.is_empty() { 2 } else { 3 };
    wrap(&mut from.relation, &call, asked)?;
    if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
        let names = ["window_start", "window_end", "window_time"];
        keys.extend(names.into_iter().take(count).map(|name| Expr::Identifier(Ident::new(name))));
    }
    Ok(Some(call))
}

/// Takes the window out of a SELECT's GROUP BY.
fn take_window(select: &mut Select) -> Result<Option<Function>> {
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return Ok(None) };
    for key in keys.iter_mut() {
        if let Some(call) = aliased_window(key, &select.projection) {
            *key = call;
        }
    }
    let Some(place) = keys.iter().position(is_window) else { return Ok(None) };
    let Expr::Function(call) = keys.remove(place) else { return Ok(None) };
    if kind(&call) == Some("SESSION") {
        return Err(fail(unsupported(call.name.span(), "SESSION windows are not supported")));
    }
    if keys.iter().any(is_window) {
        return Err(fail(unsupported(call.name.span(), "GROUP BY two windows is not supported")));
    }
    Ok(Some(call))
}

fn is_window(key: &Expr) -> bool {
    matches!(key, Expr::Function(call) if kind(call).is_some())
}

/// Returns the window that a name in GROUP BY stands for: `SELECT tumble(…) AS w … GROUP BY w`.
fn aliased_window(key: &Expr, items: &[SelectItem]) -> Option<Expr> {
    let Expr::Identifier(name) = key else { return None };
    items.iter().find_map(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } if alias.value == name.value => {
            is_window(expr).then(|| expr.clone())
        }
        _ => None,
    })
}

fn break_with(flow: ControlFlow<DataFusionError>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn over_join(call: &Function) -> DataFusionError {
    let message = format!("GROUP BY {} over a join is not supported", call.name);
    fail(unsupported(call.name.span(), message).with_help("put the join into a subquery"))
}

/// Puts a window around a table, which keeps its alias. `asked` are names of further arguments.
fn wrap(relation: &mut TableFactor, call: &Function, asked: Vec<Ident>) -> Result<()> {
    let (data, alias) = match relation {
        TableFactor::Table { name, alias, args: None, version: None, with_hints, .. } => {
            let names = name.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
            let table = Expr::CompoundIdentifier(names);
            (hint::argument(table, std::mem::take(with_hints)), alias.take())
        }
        TableFactor::Derived { subquery, alias, lateral: false, .. } => {
            (Expr::Subquery(subquery.clone()), alias.take())
        }
        _ => {
            let message = format!("GROUP BY {} over this FROM is not supported", call.name);
            return Err(fail(unsupported(call.name.span(), message)));
        }
    };
    let mut call = call.clone();
    let FunctionArguments::List(list) = &mut call.args else { return Ok(()) };
    let written = std::mem::take(&mut list.args);
    list.args.push(named(Ident::new("DATA"), data));
    list.args.extend(by_name(&call.name.to_string(), call.name.span(), written)?);
    let marks = std::iter::once(Ident::new(GROUPED)).chain(asked);
    list.args.extend(marks.map(|mark| named(mark.clone(), Expr::Identifier(mark))));
    *relation = TableFactor::TableFunction { expr: Expr::Function(call), alias };
    Ok(())
}

/// Names the arguments of a group window: the time, which may be left out, and lengths.
fn by_name(function: &str, span: Span, written: Vec<FunctionArg>) -> Result<Vec<FunctionArg>> {
    let is_length = |arg: &FunctionArg| {
        matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Interval(_))))
    };
    let function = function.to_uppercase();
    let skipped = if written.first().is_some_and(is_length) { 2 } else { 1 };
    let names = argument_names(&function).get(skipped..).unwrap_or_default();
    if written.len() > names.len() {
        let message = format!("{function} takes {} arguments, not {}", names.len(), written.len());
        let error = SqlError::at(SqlErrorCode::InvalidStatement, span, message);
        return Err(fail(error.with_help(format!("they are {function}({})", names.join(", ")))));
    }
    let arguments = written.into_iter().zip(names).map(|(argument, name)| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => named(Ident::new(*name), expr),
        other => other,
    });
    Ok(arguments.collect())
}

fn named(name: Ident, expr: Expr) -> FunctionArg {
    let (arg, operator) = (FunctionArgExpr::Expr(expr), FunctionArgOperator::RightArrow);
    FunctionArg::Named { name, arg, operator }
}

fn kind(call: &Function) -> Option<&'static str> {
    let name = call.name.to_string().to_uppercase();
    ["TUMBLE", "HOP", "CUMULATE", "SESSION"].into_iter().find(|known| *known == name)
}

#[cfg(test)]
mod tests;
