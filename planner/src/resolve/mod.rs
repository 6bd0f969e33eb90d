//! Names: every table, column and function of a statement is found, or reported, before the
//! statement is bound.
//!
//! The pass also rewrites: names get their declared spelling, and calls of functions that were
//! written as expressions become those expressions. What it cannot see into, it lets through;
//! binding reports what is left.

mod expression;
mod frame;
mod like;
mod literal;
mod names;
mod output;
mod refuse;
mod relation;
mod rewrite;
mod scope;
mod star;
mod window;

use std::collections::BTreeSet;

use arrow::datatypes::Schema;
use sqlparser::ast::{
    Cte, Expr, GroupByExpr, Ident, OrderBy, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, Values, Visit, VisitMut,
};

use crate::error::{SqlError, SqlErrorCode, SqlErrors, counted, suggest};
use crate::session::QueryContext;
use crate::statement::{Insert, ObjectKind};
use crate::table_options::check_hint;
use expression::ExpressionVisitor;
pub(crate) use expression::is_built_in;
pub(crate) use relation::constraint;
pub(crate) use rewrite::{RENAMED_FUNCTIONS, REWRITTEN_FUNCTIONS};
use scope::{Columns, OutputColumn, RelationScope, Scope};

/// Resolves the names of a query.
///
/// # Errors
/// All names that mean nothing or several things.
pub(crate) fn resolve_query(context: QueryContext<'_>, query: &Query) -> Result<Query, SqlErrors> {
    let mut resolver = Resolver::over(context, query);
    let mut node = query.clone();
    resolver.query(&mut node, None);
    resolver.finish(node)
}

/// Resolves the names of an INSERT: its table, its columns and its query.
///
/// # Errors
/// All names that mean nothing or several things, and columns that cannot be written.
pub(crate) fn resolve_insert(
    context: QueryContext<'_>,
    insert: &Insert,
) -> Result<Insert, SqlErrors> {
    let mut resolver = Resolver::over(context, &*insert.source);
    let mut node = insert.clone();
    resolver.insert_target(&mut node);
    resolver.query(&mut node.source, None);
    resolver.finish(node)
}

/// Resolves the names of an expression over columns.
///
/// # Errors
/// All names that mean nothing or several things.
pub(crate) fn resolve_expression(
    context: QueryContext<'_>,
    expr: &Expr,
    schema: &Schema,
) -> Result<Expr, SqlErrors> {
    let mut resolver = Resolver::over(context, expr);
    let mut node = expr.clone();
    let columns = Columns::of_schema(schema);
    let scope = Scope::of(RelationScope { columns, ..RelationScope::default() });
    resolver.expressions(&mut node, &scope);
    resolver.finish(node)
}

/// Views nested more deeply than this refer to themselves.
const MAX_VIEW_DEPTH: usize = 64;

struct Resolver<'a> {
    context: QueryContext<'a>,
    errors: Vec<SqlError>,
    /// WITH queries in scope, inner ones last.
    ctes: Vec<(String, Columns)>,
    view_depth: usize,
}

impl<'a> Resolver<'a> {
    fn new(context: QueryContext<'a>) -> Self {
        Self { context, errors: Vec::new(), ctes: Vec::new(), view_depth: 0 }
    }

    /// Starts with what is not supported of a part of a statement.
    fn over<T: Visit>(context: QueryContext<'a>, node: &T) -> Self {
        Self { errors: refuse::unsupported(node), ..Self::new(context) }
    }

    fn finish<T>(mut self, node: T) -> Result<T, SqlErrors> {
        self.errors.sort_by_key(|error| (error.line, error.column));
        self.errors.dedup();
        SqlErrors::check(self.errors).map(|()| node)
    }

    fn insert_target(&mut self, insert: &mut Insert) {
        let session = self.context.session;
        let Some(relation) = session.relation(&insert.table.value) else {
            self.unknown_table(&insert.table);
            return;
        };
        insert.table.value = relation.name().to_owned();
        let Some(table) = session.table(&insert.table.value) else {
            let message = format!("'{}' is a view and cannot be written", insert.table.value);
            let span = insert.table.span;
            self.errors.push(SqlError::at(SqlErrorCode::InvalidStatement, span, message));
            return;
        };
        if !insert.options.is_empty()
            && let Err(errors) = check_hint(self.context, table, &mut insert.options)
        {
            self.errors.extend(errors.0);
        }
        self.insert_partition(insert, &table.partitioned_by);
        let physical = Columns::of_schema(&table.physical_schema());
        let all = Columns::of_schema(&table.schema());
        let partition = insert.partition.iter_mut().map(|(name, _)| name);
        let mut given = BTreeSet::new();
        for name in insert.columns.iter_mut().chain(partition) {
            if let Some(column) = physical.find(&name.value).one() {
                name.value.clone_from(&column.name);
                if !given.insert(column.name.clone()) {
                    let message = format!("column '{}' is written twice", column.name);
                    self.errors.push(SqlError::at(SqlErrorCode::Ambiguous, name.span, message));
                }
            } else if all.find(&name.value).one().is_some() {
                let message = format!("column '{}' is computed and cannot be written", name.value);
                let error = SqlError::at(SqlErrorCode::InvalidStatement, name.span, message);
                self.errors.push(error);
            } else {
                let message = format!("table '{}' has no column '{}'", table.name, name.value);
                let error = SqlError::at(SqlErrorCode::UnknownColumn, name.span, message);
                self.errors.push(error.with_suggestion(suggest(&name.value, physical.names())));
            }
        }
    }

    /// Reports what cannot be said in PARTITION (…).
    fn insert_partition(&mut self, insert: &Insert, partitioned_by: &[String]) {
        let Some((first, _)) = insert.partition.first() else { return };
        if insert.overwrite {
            let message = "INSERT OVERWRITE of one PARTITION is not supported";
            let error = SqlError::at(SqlErrorCode::Unsupported, first.span, message);
            self.errors.push(error.with_help("INSERT OVERWRITE replaces the whole table"));
        }
        for (name, _) in &insert.partition {
            let is_known = |known: &String| known.eq_ignore_ascii_case(&name.value);
            if !partitioned_by.iter().any(is_known) {
                let message = format!("the table is not PARTITIONED BY '{}'", name.value);
                let code = SqlErrorCode::InvalidStatement;
                self.errors.push(SqlError::at(code, name.span, message));
            }
        }
    }

    /// Resolves a query and returns its columns.
    fn query(&mut self, query: &mut Query, outer: Option<&Scope<'_>>) -> Columns {
        let outside = self.ctes.len();
        if let Some(with) = &mut query.with {
            for cte in &mut with.cte_tables {
                let name = &cte.alias.name;
                if self.ctes[outside..].iter().any(|(known, _)| *known == name.value) {
                    let message = format!("there are two WITH queries '{}'", name.value);
                    self.errors.push(SqlError::at(SqlErrorCode::Ambiguous, name.span, message));
                }
                self.cte(cte, with.recursive, outer);
            }
        }
        output::fetch_as_limit(query);
        let order_by = query.order_by.as_mut();
        let columns = self.set_expr(&mut query.body, order_by, outer);
        self.ctes.truncate(outside);
        columns
    }

    fn cte(&mut self, cte: &mut Cte, recursive: bool, outer: Option<&Scope<'_>>) {
        let inside = self.ctes.len();
        if recursive {
            self.ctes.push((cte.alias.name.value.clone(), Columns::open()));
        }
        let columns = self.query(&mut cte.query, outer);
        self.ctes.truncate(inside);
        let columns = self.aliased(None, columns, Some(&cte.alias)).columns;
        self.ctes.push((cte.alias.name.value.clone(), columns));
    }

    fn set_expr(
        &mut self,
        body: &mut SetExpr,
        order_by: Option<&mut OrderBy>,
        outer: Option<&Scope<'_>>,
    ) -> Columns {
        match body {
            SetExpr::Select(select) => self.select(select, order_by, outer),
            SetExpr::Query(query) => {
                let columns = self.query(query, outer);
                self.order_by(order_by, columns)
            }
            SetExpr::SetOperation { left, right, .. } => {
                let columns = self.set_expr(left, None, outer);
                self.set_expr(right, None, outer);
                self.order_by(order_by, columns)
            }
            SetExpr::Values(values) => {
                let width = values.rows.first().map_or(0, |row| row.content.len());
                self.row_lengths(values, width);
                self.expressions(values, &Scope { outer, ..Scope::default() });
                let columns = (1..=width)
                    .map(|index| OutputColumn { name: format!("column{index}"), data_type: None });
                let columns = Columns { list: columns.collect(), open: false };
                self.order_by(order_by, columns)
            }
            SetExpr::Table(_)
            | SetExpr::Insert(_)
            | SetExpr::Update(_)
            | SetExpr::Delete(_)
            | SetExpr::Merge(_) => Columns::open(),
        }
    }

    /// Reports the first row of VALUES that is longer or shorter than the first of all.
    fn row_lengths(&mut self, values: &Values, width: usize) {
        let mut rows = values.rows.iter().enumerate();
        let Some((index, row)) = rows.find(|(_, row)| row.content.len() != width) else { return };
        let found = counted(row.content.len(), "value");
        let message = format!("row {} of VALUES has {found}, the first has {width}", index + 1);
        let span = row.opening_token.0.span.union(&row.closing_token.0.span);
        self.errors.push(SqlError::at(SqlErrorCode::Type, span, message));
    }

    /// Resolves an ORDER BY over a query's own columns.
    fn order_by(&mut self, order_by: Option<&mut OrderBy>, columns: Columns) -> Columns {
        let Some(order_by) = order_by else { return columns };
        let mut scope = Scope::of(RelationScope { columns, ..RelationScope::default() });
        self.expressions(order_by, &scope);
        scope.relations.remove(0).columns
    }

    fn select(
        &mut self,
        select: &mut Select,
        mut order_by: Option<&mut OrderBy>,
        outer: Option<&Scope<'_>>,
    ) -> Columns {
        self.errors.extend(window::expand(select, order_by.as_deref_mut()));
        let mut scope = Scope { outer, ..Scope::default() };
        for table in &mut select.from {
            let shown = self.table_with_joins(table, &mut scope);
            scope.shown.extend(shown);
        }
        let items = std::mem::take(&mut select.projection);
        select.projection =
            items.into_iter().flat_map(|item| output::written_out(item, &scope)).collect();
        let mut columns = Columns::default();
        let mut starts = Vec::with_capacity(select.projection.len());
        for item in &mut select.projection {
            starts.push(columns.list.len());
            self.select_item(item, &scope, &mut columns);
        }
        output::name_apart(&mut select.projection, &starts, &mut columns);
        self.expressions(&mut select.selection, &scope);
        self.of_single_rows(&select.selection, "WHERE");
        self.expressions(&mut select.lateral_views, &scope);
        self.expressions(&mut select.distinct, &scope);
        scope.aliases = columns;
        if let GroupByExpr::Expressions(..) = &select.group_by {
            self.expressions(&mut select.group_by, &scope);
            self.of_single_rows(&select.group_by, "GROUP BY");
        }
        self.expressions(&mut select.having, &scope);
        for window in &mut select.named_window {
            self.errors.extend(frame::of_named(window).err());
        }
        self.expressions(&mut select.named_window, &scope);
        self.expressions(&mut select.qualify, &scope);
        self.expressions(&mut select.sort_by, &scope);
        if let Some(order_by) = order_by {
            self.expressions(order_by, &scope);
            if select.distinct.is_some() {
                output::order_by_selected(&select.projection, order_by);
            }
        }
        scope.aliases
    }

    fn select_item(&mut self, item: &mut SelectItem, scope: &Scope<'_>, columns: &mut Columns) {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let text = output::written(expr);
                let data_type = self.typed_expression(expr, scope);
                // A field is named after itself, other expressions after what was written.
                let alias = match &*expr {
                    Expr::Identifier(_) => None,
                    Expr::CompoundIdentifier(_) => output::field_name(expr, scope),
                    _ => Some(text),
                };
                let name = match (&alias, &*expr) {
                    (Some(alias), _) => alias.clone(),
                    (None, Expr::Identifier(name)) => name.value.clone(),
                    (None, Expr::CompoundIdentifier(names)) => {
                        names.last().map_or_else(String::new, |name| name.value.clone())
                    }
                    (None, other) => other.to_string(),
                };
                columns.list.push(OutputColumn { name, data_type });
                if let Some(alias) = alias {
                    let (expr, alias) = (expr.clone(), Ident::with_quote('`', alias));
                    *item = SelectItem::ExprWithAlias { expr, alias };
                }
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                let data_type = self.typed_expression(expr, scope);
                columns.list.push(OutputColumn { name: alias.value.clone(), data_type });
            }
            SelectItem::ExprWithAliases { expr, aliases } => {
                self.expressions(expr, scope);
                let names = aliases.iter().map(|alias| alias.value.clone());
                columns.list.extend(names.map(|name| OutputColumn { name, data_type: None }));
            }
            SelectItem::Wildcard(_) => {
                for relation in &scope.relations {
                    columns.extend(&relation.columns);
                }
            }
            SelectItem::QualifiedWildcard(kind, _) => {
                let found = match kind {
                    SelectItemQualifiedWildcardKind::ObjectName(name) => {
                        self.qualified_wildcard(name, scope)
                    }
                    SelectItemQualifiedWildcardKind::Expr(expr) => {
                        self.expressions(expr, scope);
                        None
                    }
                };
                match found {
                    Some(found) => columns.extend(found),
                    None => columns.open = true,
                }
            }
        }
    }

    /// Resolves the expressions anywhere in a part of a statement.
    fn expressions<T: VisitMut>(&mut self, node: &mut T, scope: &Scope<'_>) {
        let _ = node.visit(&mut ExpressionVisitor::new(self, scope));
    }

    /// Reports functions of several rows in a clause that is about single ones.
    fn of_single_rows<T: Visit>(&mut self, node: &T, clause: &str) {
        self.errors.extend(refuse::of_several_rows(node, clause, self.context.functions));
    }

    fn unknown_table(&mut self, name: &Ident) {
        let mut known = self.context.session.relation_names();
        known.extend(self.ctes.iter().map(|(name, _)| name.as_str()));
        let message = format!("there is no table or view '{}'", name.value);
        let error = SqlError::at(SqlErrorCode::UnknownTable, name.span, message);
        let unreadable = self.context.session.unreadable(ObjectKind::Table, &name.value);
        let error = if name.quote_style == Some('\'') {
            error.with_help("files are read through tables: CREATE TABLE … WITH ('connector' = 'filesystem', 'path' = …, 'format' = …)")
        } else {
            error.with_suggestion(suggest(&name.value, known))
        };
        self.errors.push(error.with_better_help(unreadable));
    }
}

#[cfg(test)]
mod tests;
