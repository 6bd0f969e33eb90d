//! The older form `GROUP BY TUMBLE(ts, INTERVAL …)` as the windowing table that it means.
//!
//! `FROM t GROUP BY k, TUMBLE(ts, i)` becomes `FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), i))
//! GROUP BY k, window_start, window_end`, with TUMBLE_START and its relatives for the window's
//! columns.

use std::ops::ControlFlow;

use datafusion::error::{DataFusionError, Result};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, Query,
    Select, SetExpr, Spanned, TableFactor, VisitMut, VisitorMut,
};

use super::{fail, unsupported};

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
        let SetExpr::Select(select) = query.body.as_mut() else {
            return ControlFlow::Continue(());
        };
        match rewrite_select(select) {
            Err(error) => return ControlFlow::Break(error),
            Ok(false) => return ControlFlow::Continue(()),
            Ok(true) => {}
        }
        if let Some(order_by) = &mut query.order_by {
            let mut columns = WindowColumns::default();
            let _ = order_by.visit(&mut columns);
        }
        ControlFlow::Continue(())
    }
}

fn rewrite_select(select: &mut Select) -> Result<bool> {
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return Ok(false) };
    let is_window = |key: &Expr| matches!(key, Expr::Function(call) if kind(call).is_some());
    let Some(place) = keys.iter().position(is_window) else { return Ok(false) };
    let Expr::Function(call) = keys.remove(place) else { return Ok(false) };
    let kind = kind(&call).unwrap_or_default();
    if kind == "SESSION" {
        return Err(fail(unsupported(call.span(), "SESSION windows are not supported")));
    }
    if keys.iter().any(is_window) {
        return Err(fail(unsupported(call.span(), "GROUP BY two windows is not supported")));
    }
    let [from] = select.from.as_mut_slice() else {
        return Err(over_join(&call));
    };
    if !from.joins.is_empty() {
        return Err(over_join(&call));
    }
    wrap(&mut from.relation, call)?;
    let mut columns = WindowColumns::default();
    let _ = select.projection.visit(&mut columns);
    let _ = select.having.visit(&mut columns);
    if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
        let names = ["window_start", "window_end", "window_time"];
        let count = if columns.time { 3 } else { 2 };
        keys.extend(names.into_iter().take(count).map(|name| Expr::Identifier(Ident::new(name))));
    }
    Ok(true)
}

fn over_join(call: &Function) -> DataFusionError {
    fail(
        unsupported(call.span(), format!("GROUP BY {} over a join is not supported", call.name))
            .with_help("put the join into a subquery"),
    )
}

/// Puts a window around a table, which keeps its alias.
fn wrap(relation: &mut TableFactor, call: Function) -> Result<()> {
    let span = call.span();
    let (data, alias) = match relation {
        TableFactor::Table { name, alias, args: None, version: None, .. } => {
            let names = name.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
            (Expr::CompoundIdentifier(names), alias.take())
        }
        TableFactor::Derived { subquery, alias, lateral: false, .. } => {
            (Expr::Subquery(subquery.clone()), alias.take())
        }
        _ => {
            return Err(fail(unsupported(
                span,
                format!("GROUP BY {} over this FROM is not supported", call.name),
            )));
        }
    };
    let mut call = call;
    if let FunctionArguments::List(list) = &mut call.args {
        list.args.insert(0, FunctionArg::Unnamed(FunctionArgExpr::Expr(data)));
    }
    *relation = TableFactor::TableFunction { expr: Expr::Function(call), alias };
    Ok(())
}

fn kind(call: &Function) -> Option<&'static str> {
    let name = call.name.to_string().to_uppercase();
    ["TUMBLE", "HOP", "CUMULATE", "SESSION"].into_iter().find(|known| *known == name)
}

/// Puts the window's columns in place of TUMBLE_START(…) and its relatives.
#[derive(Default)]
struct WindowColumns {
    /// Whether the window's time is asked for.
    time: bool,
}

impl VisitorMut for WindowColumns {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(call) = expr
            && let Some(column) = column(call)
        {
            self.time |= column == "window_time";
            *expr = Expr::Identifier(Ident::new(column));
        }
        ControlFlow::Continue(())
    }
}

fn column(call: &Function) -> Option<&'static str> {
    let name = call.name.to_string().to_uppercase();
    let (window, part) = name.split_once('_')?;
    if !["TUMBLE", "HOP", "CUMULATE"].contains(&window) {
        return None;
    }
    match part {
        "START" => Some("window_start"),
        "END" => Some("window_end"),
        "ROWTIME" | "PROCTIME" => Some("window_time"),
        _ => None,
    }
}
