//! CREATE and DROP.

mod function;
mod table;

use std::sync::Arc;

use sqlparser::ast::Ident;

use crate::catalog::{Catalog, Relation, ViewDefinition};
use crate::error::{SqlError, SqlErrorCode, SqlErrors, suggest};
use crate::query;
use crate::resolve::{is_built_in, resolve_query};
use crate::session::{QueryContext, Session};
use crate::statement::{CreateFunction, CreateMode, CreateTable, CreateView, Drop, ObjectKind};
use rainstorm_engine::function::Registry;

/// Changes a session's catalog. Each call returns what was done, for people.
pub(crate) struct Definer<'a> {
    pub(crate) functions: &'a Registry,
    /// Directory that relative paths are resolved against.
    pub(crate) base_directory: &'a str,
    /// Whether what refers to other things is checked; not when a catalog is read back, since a
    /// view may have outlived its tables.
    pub(crate) checked: bool,
}

impl Definer<'_> {
    fn context<'s>(&'s self, session: &'s Session) -> QueryContext<'s> {
        // What is defined is kept as text.
        QueryContext { session, functions: self.functions, base_directory: None }
    }

    pub(crate) fn create_table(
        &self,
        session: &mut Session,
        create: &CreateTable,
    ) -> Result<String, SqlErrors> {
        if let Some(message) = relation_exists(session, &create.name, create.mode, "table")? {
            return Ok(message);
        }
        let table = self.define_table(self.context(session), create)?;
        layer(session, create.mode.temporary).put_relation(Relation::Table(Arc::new(table)));
        Ok(format!("table {} created", create.name.value))
    }

    pub(crate) fn create_view(
        &self,
        session: &mut Session,
        create: &CreateView,
    ) -> Result<String, SqlErrors> {
        if let Some(message) = relation_exists(session, &create.name, create.mode, "view")? {
            return Ok(message);
        }
        if self.checked {
            self.check_view(session, create)?;
        }
        let view = ViewDefinition {
            name: create.name.value.clone(),
            columns: create.columns.iter().map(|name| name.value.clone()).collect(),
            query: create.query.clone(),
            query_sql: create.query_sql.clone(),
            temporary: create.mode.temporary,
            comment: create.comment.clone(),
        };
        layer(session, create.mode.temporary).put_relation(Relation::View(Arc::new(view)));
        Ok(format!("view {} created", create.name.value))
    }

    /// Binds a view's query, so that what is wrong in it is reported where it is written.
    fn check_view(&self, session: &Session, create: &CreateView) -> Result<(), SqlErrors> {
        let context = self.context(session);
        // OR REPLACE must not build a view on its old self.
        let mut without = session.clone();
        layer(&mut without, create.mode.temporary).remove_exact_relation(&create.name.value);
        let without = self.context(&without);
        let context = if create.mode.or_replace { without } else { context };
        let resolved = resolve_query(context, &create.query)?;
        let schema = query::query_schema(context, &resolved)?;
        if create.columns.is_empty() || create.columns.len() == schema.fields().len() {
            return Ok(());
        }
        let message = format!(
            "view '{}' names {} columns, its query has {}",
            create.name.value,
            create.columns.len(),
            schema.fields().len()
        );
        Err(SqlError::at(SqlErrorCode::InvalidStatement, create.name.span, message).into())
    }

    pub(crate) fn create_function(
        &self,
        session: &mut Session,
        create: &CreateFunction,
    ) -> Result<String, SqlErrors> {
        let name = &create.name;
        let layer_of = |session: &Session| {
            let known = if create.mode.temporary { &session.temporary } else { &session.catalog };
            known.function(&name.value).is_some_and(|known| known.name == name.value)
        };
        if layer_of(session) && !create.mode.or_replace {
            return exists(name, create.mode, "function");
        }
        if self.checked && is_built_in(self.functions, &name.value) {
            let message = format!("there is a built-in function '{}'", name.value);
            return Err(SqlError::at(SqlErrorCode::Exists, name.span, message).into());
        }
        // OR REPLACE must not build a function on its old self.
        let mut without = session.clone();
        if create.mode.or_replace {
            layer(&mut without, create.mode.temporary).remove_exact_function(&name.value);
        }
        let function = function::define_function(self.context(&without), create)?;
        layer(session, create.mode.temporary).put_function(Arc::new(function));
        Ok(format!("function {} created", name.value))
    }
}

/// Drops a table, view or function.
pub(crate) fn drop(session: &mut Session, drop: &Drop) -> Result<String, SqlErrors> {
    let name = &drop.name.value;
    let (kind, code) = match drop.kind {
        ObjectKind::Table => ("table", SqlErrorCode::UnknownTable),
        ObjectKind::View => ("view", SqlErrorCode::UnknownTable),
        ObjectKind::Function => ("function", SqlErrorCode::UnknownFunction),
    };
    let mut layers = vec![&mut session.temporary];
    if !drop.temporary {
        layers.push(&mut session.catalog);
    }
    if layers.into_iter().any(|layer| drop_from(layer, drop.kind, name)) {
        return Ok(format!("{kind} {name} dropped"));
    }
    if drop.if_exists {
        return Ok(format!("{kind} {name} does not exist"));
    }
    let error = SqlError::at(code, drop.name.span, format!("there is no {kind} '{name}'"));
    let known = session.relation_names();
    let functions = session.functions().map(|function| function.name.as_str());
    let suggestion = match drop.kind {
        ObjectKind::Function => suggest(name, functions),
        ObjectKind::Table | ObjectKind::View => suggest(name, known),
    };
    let suggestion = suggestion.filter(|known| known != name);
    Err(error.with_suggestion(suggestion).into())
}

fn drop_from(layer: &mut Catalog, kind: ObjectKind, name: &str) -> bool {
    let fits = match (kind, layer.relation(name)) {
        (ObjectKind::Function, _) => {
            return layer.remove_function(name).is_some() || layer.remove_unreadable(kind, name);
        }
        (ObjectKind::Table, Some(relation)) => matches!(relation, Relation::Table(_)),
        (ObjectKind::View, Some(relation)) => matches!(relation, Relation::View(_)),
        (_, None) => return layer.remove_unreadable(kind, name),
    };
    fits && layer.remove_relation(name).is_some()
}

fn layer(session: &mut Session, temporary: bool) -> &mut Catalog {
    if temporary { &mut session.temporary } else { &mut session.catalog }
}

/// Tells whether nothing is to be created because the name is taken and may be.
fn relation_exists(
    session: &Session,
    name: &Ident,
    mode: CreateMode,
    kind: &str,
) -> Result<Option<String>, SqlErrors> {
    let layer = if mode.temporary { &session.temporary } else { &session.catalog };
    let Some(known) = layer.relation(&name.value).filter(|known| known.name() == name.value) else {
        return Ok(None);
    };
    let known = match known {
        Relation::Table(_) => "table",
        Relation::View(_) => "view",
    };
    if mode.or_replace && known == kind {
        return Ok(None);
    }
    exists(name, mode, known).map(Some)
}

/// Says that a name is taken: a message where that is allowed, else a complaint.
fn exists(name: &Ident, mode: CreateMode, kind: &str) -> Result<String, SqlErrors> {
    let message = format!("{kind} '{}' exists already", name.value);
    if mode.if_not_exists {
        return Ok(message);
    }
    Err(SqlError::at(SqlErrorCode::Exists, name.span, message).into())
}
