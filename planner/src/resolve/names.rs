//! What the names in an expression mean: columns, and fields of columns.

use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Fields};
use sqlparser::ast::{AccessExpr, Expr, Ident, Spanned, visit_expressions};
use sqlparser::tokenizer::Span;

use super::Resolver;
use super::expression::with_fields;
use super::scope::{Match, OutputColumn, Scope};
use crate::error::{SqlError, SqlErrorCode, suggest};
use crate::types::type_sql;

/// Queries between a name and the one that it is a column of: DataFusion makes joins of those
/// subqueries alone that look one query out.
const MAX_LEVEL: usize = 1;

impl Resolver<'_> {
    /// Resolves an expression and returns its type, where it is that of a column.
    pub(super) fn typed_expression(
        &mut self,
        expr: &mut Expr,
        scope: &Scope<'_>,
    ) -> Option<DataType> {
        match expr {
            Expr::Identifier(name) => self.identifier(name, scope)?.data_type,
            Expr::CompoundIdentifier(_) => self.compound_identifier(expr, scope),
            _ => {
                self.expressions(expr, scope);
                None
            }
        }
    }

    /// Resolves a column in place.
    pub(super) fn identifier(
        &mut self,
        name: &mut Ident,
        scope: &Scope<'_>,
    ) -> Option<OutputColumn> {
        for (level, scope) in scope.chain().enumerate() {
            match scope.find(&name.value) {
                Match::One(column) => {
                    self.check_level(level, name);
                    name.value.clone_from(&column.name);
                    return Some(column.clone());
                }
                Match::Several(names) => {
                    let message = format!("column '{}' is ambiguous", name.value);
                    let error = SqlError::at(SqlErrorCode::Ambiguous, name.span, message);
                    self.errors.push(error.with_help(format!("write {}", names.join(" or "))));
                    return None;
                }
                Match::None if scope.is_open() => return None,
                Match::None => {}
            }
        }
        // Unnamed columns are named after their expression, in a spelling that binding knows.
        if !name.value.contains('(') {
            let message = format!("there is no column '{}'", name.value);
            self.unknown_column(name.span, message, &name.value, scope.column_names());
            if name.quote_style == Some('"')
                && let Some(error) = self.errors.last_mut()
            {
                let help = format!("texts stand in single quotes: '{}'", name.value);
                error.help.get_or_insert(help);
            }
        }
        None
    }

    /// Resolves `relation.column.field…` or `column.field…` in place and returns its type. A
    /// relation, also one of a query around, comes before a column that has no such field.
    pub(super) fn compound_identifier(
        &mut self,
        expr: &mut Expr,
        scope: &Scope<'_>,
    ) -> Option<DataType> {
        let Expr::CompoundIdentifier(names) = expr else { return None };
        let is_marked = names[0].value.is_empty();
        if is_marked {
            return None;
        }
        let mut column = None;
        for (level, scope) in scope.chain().enumerate() {
            if scope.relation(&names[0].value).is_some() {
                return self.of_relation(expr, scope, level, column.is_some());
            }
            match scope.find(&names[0].value) {
                Match::One(found) if column.is_none() => {
                    column = Some((level, found));
                    if has_field(found, &names[1]) {
                        break;
                    }
                }
                _ if scope.is_open() => return None,
                _ => {}
            }
        }
        if let Some((level, found)) = column {
            self.check_level(level, &names[0]);
            names[0].value.clone_from(&found.name);
            let found = self.fields(&found.name, found.data_type.clone()?, &mut names[1..]);
            outer_fields(expr, 1, level);
            return found;
        }
        let first = &names[0];
        let mut known = scope.column_names();
        known.extend(scope.relations.iter().filter_map(|relation| relation.qualifier.as_deref()));
        let message = format!("there is no table or column '{}' in this query", first.value);
        self.unknown_column(first.span, message, &first.value, known);
        None
    }

    /// Resolves what follows the name of a relation, which stands `level` queries out. `is_column`
    /// tells whether a query further in has a column of that name.
    fn of_relation(
        &mut self,
        expr: &mut Expr,
        scope: &Scope<'_>,
        level: usize,
        is_column: bool,
    ) -> Option<DataType> {
        let Expr::CompoundIdentifier(names) = expr else { return None };
        let [first, column, fields @ ..] = names.as_mut_slice() else { return None };
        let relation = scope.relation(&first.value)?;
        if let Some(qualifier) = &relation.qualifier {
            first.value.clone_from(qualifier);
        }
        let Some(found) = relation.columns.find(&column.value).one() else {
            if !relation.columns.open {
                let message = format!("'{first}' has no column '{}'", column.value);
                let names = relation.columns.names().collect();
                self.unknown_column(column.span, message, &column.value, names);
            }
            return None;
        };
        self.check_level(level, column);
        column.value.clone_from(&found.name);
        let found = found.data_type.clone();
        let found = match found {
            Some(found) => self.fields(&column.value.clone(), found, fields),
            None => None,
        };
        outer_fields(expr, 2, level);
        if is_column {
            mark_relation(expr);
        }
        found
    }

    /// Refuses what would be planned as if the column were there, and then not be found.
    fn check_level(&mut self, level: usize, name: &Ident) {
        if level > MAX_LEVEL {
            let message =
                format!("'{}' of a query further out than the next is not supported", name.value);
            let error = SqlError::at(SqlErrorCode::Unsupported, name.span, message);
            self.errors.push(error.with_help("use joins"));
        }
    }

    /// Refuses `column IN (SELECT …)` in a subquery where the column is of the query around:
    /// DataFusion joins the two queries inside on it.
    pub(super) fn no_outer_operand(&mut self, operand: &Expr, scope: &Scope<'_>) {
        let found = visit_expressions(operand, |part| {
            let name = match part {
                Expr::Identifier(name) => name,
                Expr::CompoundIdentifier(names) => &names[0],
                Expr::Subquery(_) | Expr::Exists { .. } => return ControlFlow::Break(None),
                _ => return ControlFlow::Continue(()),
            };
            let is_known = |scope: &Scope<'_>| {
                let is_open = scope.is_open();
                is_open || !matches!(scope.find(&name.value), Match::None)
            };
            let is_inner = is_known(scope) || scope.relation(&name.value).is_some();
            let is_outer = scope.outer.is_some() && !is_inner;
            if is_outer { ControlFlow::Break(Some(part.span())) } else { ControlFlow::Continue(()) }
        });
        if let ControlFlow::Break(Some(span)) = found {
            let message = "IN of a column of the query around is not supported";
            let error = SqlError::at(SqlErrorCode::Unsupported, span, message);
            self.errors.push(error.with_help("write the condition into that query"));
        }
    }

    /// Resolves the fields of a column in place and returns the last one's type.
    fn fields(&mut self, column: &str, of: DataType, names: &mut [Ident]) -> Option<DataType> {
        let [first, rest @ ..] = names else { return Some(of) };
        let DataType::Struct(fields) = &of else {
            let message = format!(
                "'{column}' is of type {} and has no field '{}'",
                type_sql(&of),
                first.value
            );
            self.errors.push(SqlError::at(SqlErrorCode::Type, first.span, message));
            return None;
        };
        let Some((name, data_type)) = find_field(fields, &first.value) else {
            let message = format!("'{column}' has no field '{}'", first.value);
            let known = fields.iter().map(|field| field.name().as_str()).collect();
            self.unknown_column(first.span, message, &first.value, known);
            return None;
        };
        first.value = name;
        self.fields(&first.value.clone(), data_type, rest)
    }

    fn unknown_column(&mut self, span: Span, message: String, name: &str, known: Vec<&str>) {
        let error = SqlError::at(SqlErrorCode::UnknownColumn, span, message);
        self.errors.push(error.with_suggestion(suggest(name, known)));
    }
}

/// Takes the column out of `relation.column['key']`, which is parsed as an access to fields of
/// `relation`.
pub(super) fn column_of_relation(root: &mut Expr, chain: &mut Vec<AccessExpr>, scope: &Scope<'_>) {
    let Expr::Identifier(first) = root else { return };
    let Some(AccessExpr::Dot(Expr::Identifier(column))) = chain.first() else { return };
    for scope in scope.chain() {
        if scope.relation(&first.value).is_some() {
            let names = vec![first.clone(), column.clone()];
            chain.remove(0);
            *root = Expr::CompoundIdentifier(names);
            return;
        }
        let found = scope.find(&first.value).one();
        let is_column = found.is_some_and(|found| has_field(found, column));
        if is_column || scope.is_open() {
            return;
        }
    }
}

/// Tells whether a column is known to have a field.
fn has_field(column: &OutputColumn, name: &Ident) -> bool {
    match &column.data_type {
        Some(DataType::Struct(fields)) => find_field(fields, &name.value).is_some(),
        _ => false,
    }
}

/// Writes the fields of another query's column as accesses to fields: DataFusion knows its columns
/// alone. The first `count` names are the column's.
fn outer_fields(expr: &mut Expr, count: usize, level: usize) {
    let Expr::CompoundIdentifier(names) = expr else { return };
    if level == 0 || names.len() <= count {
        return;
    }
    let fields = names.split_off(count);
    let column = match names.as_slice() {
        [name] => Expr::Identifier(name.clone()),
        _ => Expr::CompoundIdentifier(std::mem::take(names)),
    };
    *expr = with_fields(column, &fields);
}

/// Says that a name is that of a relation: DataFusion takes `name.column` for a field where the
/// inner query has a column of that name. No relation is of the schema that is written here, and
/// DataFusion finds one of no schema by a name with any.
fn mark_relation(expr: &mut Expr) {
    match expr {
        Expr::CompoundIdentifier(names) => names.insert(0, Ident::with_quote('`', "")),
        Expr::CompoundFieldAccess { root, .. } => mark_relation(root),
        _ => {}
    }
}

fn find_field(fields: &Fields, name: &str) -> Option<(String, DataType)> {
    let exact = fields.iter().find(|field| field.name() == name);
    let field = exact.or_else(|| fields.iter().find(|f| f.name().eq_ignore_ascii_case(name)))?;
    Some((field.name().clone(), field.data_type().clone()))
}
