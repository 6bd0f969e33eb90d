//! FROM clauses.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, JoinConstraint,
    JoinOperator, ObjectName, ObjectNamePart, Query, Spanned, TableAlias, TableAliasColumnDef,
    TableFactor, TableVersion, TableWithJoins,
};
use sqlparser::tokenizer::Span;

use super::expression::WINDOW_FUNCTIONS;
use super::scope::{Columns, OutputColumn, RelationScope, Scope};
use super::star::{self, Shown};
use super::{MAX_VIEW_DEPTH, Resolver};
use crate::catalog::{Relation, TableDefinition, ViewDefinition};
use crate::error::{SqlError, SqlErrorCode, counted, suggest};
use crate::hint;
use crate::table_options::check_hint;

/// Columns that windowing table functions add.
const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

impl Resolver<'_> {
    /// Resolves a table with what is joined to it, and returns the columns that `*` gives of it.
    pub(super) fn table_with_joins(
        &mut self,
        table: &mut TableWithJoins,
        scope: &mut Scope<'_>,
    ) -> Vec<Shown> {
        let mut shown = self.table_factor(&mut table.relation, scope);
        for join in &mut table.joins {
            let right = self.table_factor(&mut join.relation, scope);
            self.no_outer_using(&join.join_operator, join.relation.span());
            if let Some(constraint) = constraint(&mut join.join_operator) {
                self.join_constraint(constraint, scope);
            }
            if let JoinOperator::AsOf { match_condition, .. } = &mut join.join_operator {
                self.expressions(match_condition, scope);
            }
            shown = star::of_join(&mut join.join_operator, shown, right);
        }
        shown
    }

    /// Refuses USING where the key is that of the right side, or of either: DataFusion takes the
    /// left one.
    fn no_outer_using(&mut self, operator: &JoinOperator, span: Span) {
        let (kind, constraint) = match operator {
            JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
                ("RIGHT", constraint)
            }
            JoinOperator::FullOuter(constraint) => ("FULL", constraint),
            _ => return,
        };
        let what = match constraint {
            JoinConstraint::Using(_) => format!("{kind} JOIN … USING"),
            JoinConstraint::Natural => format!("NATURAL {kind} JOIN"),
            JoinConstraint::On(_) | JoinConstraint::None => return,
        };
        let message = format!("{what} is not supported");
        let error = SqlError::at(SqlErrorCode::Unsupported, span, message);
        self.errors.push(error.with_help("write ON a.k = b.k, and COALESCE(a.k, b.k)"));
    }

    fn join_constraint(&mut self, constraint: &mut JoinConstraint, scope: &mut Scope<'_>) {
        match constraint {
            JoinConstraint::On(expr) => {
                self.expressions(expr, scope);
                self.of_single_rows(expr, "ON");
            }
            JoinConstraint::Using(names) => {
                scope.merged = true;
                for name in names {
                    if let [ObjectNamePart::Identifier(name)] = name.0.as_mut_slice() {
                        self.identifier(name, scope);
                    }
                }
            }
            JoinConstraint::Natural => scope.merged = true,
            JoinConstraint::None => {}
        }
    }

    /// Resolves a relation, adds its columns to the scope, and returns those that `*` gives of it.
    fn table_factor(&mut self, factor: &mut TableFactor, scope: &mut Scope<'_>) -> Vec<Shown> {
        let span = factor.span();
        let (qualifier, columns, alias) = match factor {
            TableFactor::Table { name, alias, args: None, version, with_hints, .. } => {
                if let Some(TableVersion::ForSystemTimeAsOf(expr)) = version {
                    self.expressions(expr, scope);
                }
                let (qualifier, columns) = self.named_relation(name, with_hints);
                (qualifier, columns, alias)
            }
            TableFactor::Table { name, alias, args: Some(args), .. } => {
                let columns = match window_function(name) {
                    Some(_) => self.window_function(&mut args.args),
                    None => Columns::open(),
                };
                (None, columns, alias)
            }
            TableFactor::TableFunction { expr: Expr::Function(function), alias } => {
                (None, self.table_function(function), alias)
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                let outer = if *lateral { Some(&*scope) } else { scope.outer };
                (None, self.query(subquery, outer), alias)
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                return self.table_with_joins(table_with_joins, scope);
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let mut inner = Scope { outer: scope.outer, ..Scope::default() };
                self.table_with_joins(table_with_joins, &mut inner);
                let mut columns = Columns::default();
                inner.relations.iter().for_each(|relation| columns.extend(&relation.columns));
                (None, columns, alias)
            }
            TableFactor::UNNEST { array_exprs, alias, .. } => {
                self.expressions(array_exprs, scope);
                name_elements(array_exprs.len(), alias);
                (None, Columns::open(), alias)
            }
            TableFactor::MatchRecognize { table, alias, .. }
            | TableFactor::Pivot { table, alias, .. }
            | TableFactor::Unpivot { table, alias, .. } => {
                let mut inner = Scope { outer: scope.outer, ..Scope::default() };
                self.table_factor(table, &mut inner);
                (None, Columns::open(), alias)
            }
            TableFactor::TableFunction { alias, .. } | TableFactor::Function { alias, .. } => {
                (None, Columns::open(), alias)
            }
            TableFactor::JsonTable { .. }
            | TableFactor::OpenJsonTable { .. }
            | TableFactor::XmlTable { .. }
            | TableFactor::SemanticView { .. } => (None, Columns::open(), &mut None),
        };
        let relation = self.aliased(qualifier, columns, alias.as_ref());
        if let Some(name) = &relation.qualifier
            && scope.relations.iter().any(|other| other.qualifier.as_ref() == Some(name))
        {
            let message = format!("there are two tables '{name}' in this query");
            let error = SqlError::at(SqlErrorCode::Ambiguous, span, message);
            self.errors.push(error.with_help("give one of them another name with AS"));
        }
        let shown = star::of_relation(scope.relations.len(), &relation);
        scope.relations.push(relation);
        shown
    }

    /// Applies an alias, with names for columns where it has them.
    pub(super) fn aliased(
        &mut self,
        qualifier: Option<String>,
        columns: Columns,
        alias: Option<&TableAlias>,
    ) -> RelationScope {
        let Some(alias) = alias else {
            return RelationScope { qualifier, columns };
        };
        let (has, names) = (columns.list.len(), alias.columns.len());
        if names > 0 && names != has && !columns.open {
            let message =
                format!("the table has {}, its alias names {names}", counted(has, "column"));
            self.errors.push(SqlError::at(SqlErrorCode::Type, alias.span(), message));
        }
        RelationScope {
            qualifier: Some(alias.name.value.clone()),
            columns: columns.renamed(alias.columns.iter().map(|column| &column.name)),
        }
    }

    /// Resolves the name of a table, view or WITH query; returns its qualifier and columns.
    fn named_relation(
        &mut self,
        name: &mut ObjectName,
        hints: &mut [Expr],
    ) -> (Option<String>, Columns) {
        if let [ObjectNamePart::Identifier(ident)] = name.0.as_mut_slice() {
            let columns = self.relation(ident, hints);
            return (Some(ident.value.clone()), columns);
        }
        let text = name.to_string();
        let first = name.0.first().and_then(ObjectNamePart::as_ident);
        let span = first.map_or_else(Span::empty, |ident| ident.span);
        let message = format!("there is no table or view '{text}'");
        self.errors.push(SqlError::at(SqlErrorCode::UnknownTable, span, message));
        (name.0.last().and_then(ObjectNamePart::as_ident).map(|i| i.value.clone()), Columns::open())
    }

    /// Resolves a relation's name in place, checks its hints, and returns its columns.
    fn relation(&mut self, name: &mut Ident, hints: &mut [Expr]) -> Columns {
        let session = self.context.session;
        let found = session.relation(&name.value);
        if let Some((cte, columns)) = self.common(&name.value, found) {
            name.value = cte;
            self.no_hints(hints, &format!("'{}' is a WITH query", name.value));
            return columns;
        }
        let Some(relation) = found else {
            self.unknown_table(name);
            return Columns::open();
        };
        relation.name().clone_into(&mut name.value);
        match relation {
            Relation::Table(table) => self.table_hints(table, hints),
            Relation::View(view) => self.no_hints(hints, &format!("'{}' is a view", view.name)),
        }
        self.relation_columns(relation)
    }

    /// Finds the WITH query that a name means, where the catalog has what it has of that name.
    fn common(&self, name: &str, found: Option<&Relation>) -> Option<(String, Columns)> {
        let mut ctes = self.ctes.iter().rev();
        let exact = ctes.clone().find(|(cte, _)| cte == name);
        let folded = found.is_none_or(|relation| relation.name() != name);
        let folded = || ctes.find(|(cte, _)| folded && cte.eq_ignore_ascii_case(name));
        exact.or_else(folded).cloned()
    }

    fn table_hints(&mut self, table: &TableDefinition, hints: &mut [Expr]) {
        if hints.is_empty() {
            return;
        }
        let mut options = hint::options(hints);
        match check_hint(self.context, table, &mut options) {
            Ok(()) => hints.clone_from_slice(&hint::of_options(options)),
            Err(errors) => self.errors.extend(errors.0),
        }
    }

    fn no_hints(&mut self, hints: &[Expr], what: &str) {
        let Some(first) = hints.first() else { return };
        let message = format!("{what}, and a hint gives options to a table");
        let error = SqlError::at(SqlErrorCode::InvalidStatement, first.span(), message);
        self.errors.push(error.with_help("write it behind a table's name inside of that"));
    }

    fn relation_columns(&mut self, relation: &Relation) -> Columns {
        match relation {
            Relation::Table(table) => Columns::of_schema(&table.schema()),
            Relation::View(view) => self.view_columns(view),
        }
    }

    /// Returns a view's columns. What is wrong inside it is reported when it is bound.
    fn view_columns(&mut self, view: &ViewDefinition) -> Columns {
        if self.view_depth >= MAX_VIEW_DEPTH {
            return Columns::open();
        }
        let mut inner = Resolver::new(self.context);
        inner.view_depth = self.view_depth + 1;
        let mut query: Query = (*view.query).clone();
        let mut columns = inner.query(&mut query, None);
        for (index, name) in view.columns.iter().enumerate() {
            if let Some(column) = columns.list.get_mut(index) {
                column.name.clone_from(name);
            }
        }
        columns
    }

    /// Resolves `TABLE(f(…))`.
    fn table_function(&mut self, function: &mut Function) -> Columns {
        let arguments = match &mut function.args {
            FunctionArguments::List(list) => &mut list.args,
            FunctionArguments::None | FunctionArguments::Subquery(_) => return Columns::open(),
        };
        if window_function(&function.name).is_some() {
            return self.window_function(arguments);
        }
        let name = function.name.to_string();
        let part = function.name.0.first().and_then(ObjectNamePart::as_ident);
        let span = part.map_or_else(Span::empty, |ident| ident.span);
        let message = format!("there is no table function '{name}'");
        let error = SqlError::at(SqlErrorCode::UnknownFunction, span, message);
        self.errors.push(error.with_suggestion(suggest(&name, WINDOW_FUNCTIONS.iter().copied())));
        Columns::open()
    }

    /// Resolves the arguments of a windowing table function.
    fn window_function(&mut self, arguments: &mut [FunctionArg]) -> Columns {
        let mut columns = Columns::open();
        for (index, argument) in arguments.iter_mut().enumerate() {
            let (FunctionArg::Unnamed(argument) | FunctionArg::Named { arg: argument, .. }) =
                argument
            else {
                continue;
            };
            let FunctionArgExpr::Expr(argument) = argument else { continue };
            match argument {
                Expr::Prefixed { value, .. } => {
                    if let Some((Expr::Identifier(name), hints)) = hint::parts_mut(value) {
                        columns = self.relation(name, hints);
                    }
                }
                Expr::Identifier(name) if index == 0 => columns = self.relation(name, &mut []),
                Expr::Identifier(name) => self.descriptor(name, &columns),
                Expr::Function(function) => {
                    if let FunctionArguments::List(list) = &mut function.args
                        && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(name)))] =
                            list.args.as_mut_slice()
                    {
                        self.descriptor(name, &columns);
                    }
                }
                _ => {}
            }
        }
        let windows =
            WINDOW_COLUMNS.map(|name| OutputColumn { name: name.to_owned(), data_type: None });
        columns.list.extend(windows);
        columns
    }

    /// Resolves the time column of a windowing table function.
    fn descriptor(&mut self, name: &mut Ident, columns: &Columns) {
        let relation = RelationScope { columns: columns.clone(), ..RelationScope::default() };
        self.identifier(name, &Scope::of(relation));
    }

    /// Finds the columns of `t.*`.
    pub(super) fn qualified_wildcard<'s>(
        &mut self,
        name: &mut ObjectName,
        scope: &'s Scope<'_>,
    ) -> Option<&'s Columns> {
        let [ObjectNamePart::Identifier(ident)] = name.0.as_mut_slice() else { return None };
        let found = scope.chain().find_map(|scope| scope.relation(&ident.value));
        if let Some(relation) = found {
            ident.value.clone_from(relation.qualifier.as_ref()?);
            return Some(&relation.columns);
        }
        let known = scope.relations.iter().filter_map(|r| r.qualifier.as_deref());
        let message = format!("there is no table '{}' in this query", ident.value);
        let error = SqlError::at(SqlErrorCode::UnknownTable, ident.span, message);
        self.errors.push(error.with_suggestion(suggest(&ident.value, known)));
        None
    }
}

/// Names the elements of an array that is unnested as PostgreSQL does: like the relation, where
/// nothing else is said.
fn name_elements(arrays: usize, alias: &mut Option<TableAlias>) {
    if arrays != 1 {
        return;
    }
    let alias = alias.get_or_insert_with(|| TableAlias {
        explicit: true,
        name: Ident::new("unnest"),
        columns: Vec::new(),
        at: None,
    });
    if alias.columns.is_empty() {
        let (name, data_type) = (alias.name.clone(), None);
        alias.columns.push(TableAliasColumnDef { name, data_type });
    }
}

/// Returns the name of a windowing table function.
fn window_function(name: &ObjectName) -> Option<&'static str> {
    let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() else { return None };
    WINDOW_FUNCTIONS.iter().copied().find(|known| known.eq_ignore_ascii_case(&ident.value))
}

/// Returns what a join says about which rows go together.
pub(crate) fn constraint(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)
        | JoinOperator::CrossJoin(constraint)
        | JoinOperator::Semi(constraint)
        | JoinOperator::LeftSemi(constraint)
        | JoinOperator::RightSemi(constraint)
        | JoinOperator::Anti(constraint)
        | JoinOperator::LeftAnti(constraint)
        | JoinOperator::RightAnti(constraint)
        | JoinOperator::StraightJoin(constraint)
        | JoinOperator::AsOf { constraint, .. } => Some(constraint),
        JoinOperator::CrossApply
        | JoinOperator::OuterApply
        | JoinOperator::ArrayJoin
        | JoinOperator::LeftArrayJoin
        | JoinOperator::InnerArrayJoin => None,
    }
}
