//! The columns of a SELECT list.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use arrow::datatypes::{DataType, FieldRef};
use sqlparser::ast::{
    Expr, Ident, LimitClause, ObjectNamePart, OrderBy, OrderByKind, Query, SelectItem,
    SelectItemQualifiedWildcardKind, Spanned, Value, visit_expressions_mut,
};

use super::expression::plain_arguments;
use super::scope::{Columns, Scope};
use super::star;

/// Gives each column a name of its own, as Flink does: the second `k` is `k0`. Item number `i`
/// begins at column `starts[i]`; columns of wildcards keep their names, whatever comes before.
pub(super) fn name_apart(items: &mut [SelectItem], starts: &[usize], columns: &mut Columns) {
    let mut taken: BTreeSet<String> = columns.names().map(str::to_owned).collect();
    if taken.len() == columns.list.len() {
        return;
    }
    // The last item that begins here: one before it may have no columns.
    let item_at = |index: usize| starts.iter().rposition(|start| *start == index);
    let is_wildcard = |items: &[SelectItem], index: usize| match item_at(index) {
        Some(item) => {
            !matches!(items[item], SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
        }
        None => true,
    };
    let of_wildcards = columns.list.iter().enumerate();
    let mut seen: BTreeSet<String> = of_wildcards
        .filter(|(index, _)| is_wildcard(items, *index))
        .map(|(_, column)| column.name.clone())
        .collect();
    for (index, column) in columns.list.iter_mut().enumerate() {
        if seen.insert(column.name.clone()) {
            continue;
        }
        let item = item_at(index);
        let (expr, quote) = match item.map(|item| &items[item]) {
            Some(SelectItem::UnnamedExpr(expr)) => (expr.clone(), Some('`')),
            Some(SelectItem::ExprWithAlias { expr, alias }) => (expr.clone(), alias.quote_style),
            _ => continue,
        };
        let mut names = (0_u64..).map(|number| format!("{}{number}", column.name));
        let Some(name) = names.find(|name| !taken.contains(name)) else { continue };
        let alias = Ident { quote_style: quote, ..Ident::new(name.clone()) };
        items[item.unwrap_or_default()] = SelectItem::ExprWithAlias { expr, alias };
        taken.insert(name.clone());
        seen.insert(name.clone());
        column.name = name;
    }
}

/// Writes an expression as it was written before it was parsed.
pub(super) fn written(expr: &Expr) -> String {
    let mut expr = expr.clone();
    let _ = visit_expressions_mut(&mut expr, |part| {
        if let Some(map) = map_written(part) {
            *part = Expr::Identifier(Ident::new(map));
        }
        ControlFlow::<()>::Continue(())
    });
    expr.to_string()
}

/// Writes `MAP[key, value, …]`, which is parsed as a call with an array of either.
fn map_written(expr: &Expr) -> Option<String> {
    let call_of = |expr: &Expr, wanted: &str| match expr {
        Expr::Function(call) if call.name.to_string() == wanted => plain_arguments(&call.args),
        _ => None,
    };
    let sides = call_of(expr, "map")?;
    let [keys, values] = sides.as_slice() else { return None };
    let (keys, values) = (call_of(keys, "make_array")?, call_of(values, "make_array")?);
    let entries = keys.iter().zip(&values).map(|(key, value)| format!("{key}, {value}"));
    Some(format!("MAP[{}]", entries.collect::<Vec<_>>().join(", ")))
}

/// Sorts by a column what is written in ORDER BY as it is in SELECT DISTINCT: of the rows that are
/// left only the columns are known.
pub(super) fn order_by_selected(items: &[SelectItem], order_by: &mut OrderBy) {
    let OrderByKind::Expressions(by) = &mut order_by.kind else { return };
    for by in by {
        if matches!(by.expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_)) {
            continue;
        }
        let wanted = by.expr.to_string();
        let name = items.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if expr.to_string() == wanted => Some(alias),
            _ => None,
        });
        if let Some(name) = name {
            let name = Ident::with_quote('`', name.value.clone());
            by.expr = Expr::Identifier(Ident { span: by.expr.span(), ..name });
        }
    }
}

/// Returns the name of the field that an expression takes out of a column.
pub(super) fn field_name(expr: &Expr, scope: &Scope<'_>) -> Option<String> {
    let Expr::CompoundIdentifier(names) = expr else { return None };
    let [first, rest @ ..] = names.as_slice() else { return None };
    let of_relation = scope.chain().any(|scope| scope.relation(&first.value).is_some());
    let is_field = rest.len() > usize::from(of_relation);
    rest.last().filter(|_| is_field).map(|name| name.value.clone())
}

/// Writes `column.*` as the fields of the column, and wildcards over several relations as their
/// columns, whose names can be the same; other items stay.
pub(super) fn written_out(item: SelectItem, scope: &Scope<'_>) -> Vec<SelectItem> {
    let items = match &item {
        SelectItem::Wildcard(options) => star::written_out(options.wildcard_token.0.span, scope),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
            match name.0.as_slice() {
                [ObjectNamePart::Identifier(ident)] => match scope.relation(&ident.value) {
                    Some(relation) if scope.relations.len() > 1 => {
                        star::of_one(relation, name.span())
                    }
                    Some(_) => None,
                    None => fields_of(ident, scope),
                },
                _ => None,
            }
        }
        _ => None,
    };
    items.unwrap_or_else(|| vec![item])
}

/// Writes FETCH FIRST n ROWS ONLY as LIMIT n.
pub(super) fn fetch_as_limit(query: &mut Query) {
    let Some(fetch) = query.fetch.take() else { return };
    let one = || Expr::value(Value::Number("1".to_owned(), false));
    let rows = Some(fetch.quantity.unwrap_or_else(one));
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit, .. }) => *limit = rows,
        // What says both is refused.
        Some(LimitClause::OffsetCommaLimit { .. }) => {}
        None => {
            let clause =
                LimitClause::LimitOffset { limit: rows, offset: None, limit_by: Vec::new() };
            query.limit_clause = Some(clause);
        }
    }
}

fn fields_of(name: &Ident, scope: &Scope<'_>) -> Option<Vec<SelectItem>> {
    let column = scope.find(&name.value).one()?;
    let Some(DataType::Struct(fields)) = &column.data_type else { return None };
    let field = |field: &FieldRef| {
        let column = Ident { value: column.name.clone(), ..name.clone() };
        let field = Ident { value: field.name().clone(), quote_style: Some('`'), span: name.span };
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(vec![column, field]))
    };
    Some(fields.iter().map(field).collect())
}
