//! The columns of a SELECT list.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, FieldRef};
use sqlparser::ast::{Expr, Ident, ObjectNamePart, SelectItem, SelectItemQualifiedWildcardKind};

use super::scope::{Columns, Scope};

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

/// Returns the name of the field that an expression takes out of a column.
pub(super) fn field_name(expr: &Expr, scope: &Scope<'_>) -> Option<String> {
    let Expr::CompoundIdentifier(names) = expr else { return None };
    let [first, rest @ ..] = names.as_slice() else { return None };
    let of_relation = scope.chain().any(|scope| scope.relation(&first.value).is_some());
    let is_field = rest.len() > usize::from(of_relation);
    rest.last().filter(|_| is_field).map(|name| name.value.clone())
}

/// Writes `column.*` as the fields of the column; other items stay.
pub(super) fn with_fields(item: SelectItem, scope: &Scope<'_>) -> Vec<SelectItem> {
    let fields = match &item {
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
            match name.0.as_slice() {
                [ObjectNamePart::Identifier(name)] => fields_of(name, scope),
                _ => None,
            }
        }
        _ => None,
    };
    fields.unwrap_or_else(|| vec![item])
}

fn fields_of(name: &Ident, scope: &Scope<'_>) -> Option<Vec<SelectItem>> {
    if scope.relation(&name.value).is_some() {
        return None;
    }
    let column = scope.find(&name.value).one()?;
    let Some(DataType::Struct(fields)) = &column.data_type else { return None };
    let field = |field: &FieldRef| {
        let column = Ident { value: column.name.clone(), ..name.clone() };
        let field = Ident { value: field.name().clone(), quote_style: Some('`'), span: name.span };
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(vec![column, field]))
    };
    Some(fields.iter().map(field).collect())
}
