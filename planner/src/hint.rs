//! `/*+ OPTIONS('key' = 'value') */` after a table's name: options for one use of the table.
//!
//! Of a table in FROM, sqlparser's tree has a place for hints. A table that is a windowing
//! function's argument stands in a tuple with its hints, `TABLE (t, 'key' = 'value')`, which nobody
//! can write.

use sqlparser::ast::{BinaryOperator, Expr, Ident, Value};

use crate::statement::TableOption;

/// What stands before a table that is an argument.
pub(crate) const TABLE: &str = "TABLE";

/// Writes options as hints in a query's tree.
pub(crate) fn of_options(options: Vec<TableOption>) -> Vec<Expr> {
    let text = |text, span| Box::new(Expr::Value(Value::SingleQuotedString(text).with_span(span)));
    let hint = |option: TableOption| Expr::BinaryOp {
        left: text(option.key, option.key_span),
        op: BinaryOperator::Eq,
        right: text(option.value, option.value_span),
    };
    options.into_iter().map(hint).collect()
}

/// Reads options of hints in a query's tree.
pub(crate) fn options(hints: &[Expr]) -> Vec<TableOption> {
    hints.iter().filter_map(option).collect()
}

fn option(hint: &Expr) -> Option<TableOption> {
    let text = |expr: &Expr| match expr {
        Expr::Value(value) => Some((value.value.clone().into_string()?, value.span)),
        _ => None,
    };
    let Expr::BinaryOp { left, right, .. } = hint else { return None };
    let ((key, key_span), (value, value_span)) = (text(left)?, text(right)?);
    Some(TableOption { key, value, key_span, value_span })
}

/// Writes a table that is an argument.
pub(crate) fn argument(table: Expr, hints: Vec<Expr>) -> Expr {
    if hints.is_empty() {
        return table;
    }
    let parts = std::iter::once(table).chain(hints).collect();
    Expr::Prefixed { prefix: Ident::new(TABLE), value: Box::new(Expr::Tuple(parts)) }
}

/// Returns a table that is an argument, behind the word TABLE, and its hints.
pub(crate) fn parts(argument: &Expr) -> (&Expr, &[Expr]) {
    match argument {
        Expr::Tuple(parts) => parts.split_first().unwrap_or((argument, &[])),
        table => (table, &[]),
    }
}

/// Returns the same, to be changed.
pub(crate) fn parts_mut(argument: &mut Expr) -> Option<(&mut Expr, &mut [Expr])> {
    match argument {
        Expr::Tuple(parts) => parts.split_first_mut(),
        table => Some((table, &mut [])),
    }
}
