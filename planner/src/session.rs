//! What statements leave behind for those after them.

use std::sync::Arc;

use rainstorm_engine::function::Registry;

use crate::catalog::{Catalog, FunctionDefinition, Relation, TableDefinition, ViewDefinition};
use crate::settings::Settings;
use crate::statement::ObjectKind;

/// A client's catalog and settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Session {
    /// What all sessions share; the caller keeps it after statements have changed it.
    pub catalog: Catalog,
    /// CREATE TEMPORARY: this session's alone, found before what is shared.
    pub temporary: Catalog,
    /// SET and RESET.
    pub settings: Settings,
}

impl Session {
    /// Finds a table or view: exactly so written, temporary ones first; else whatever its case.
    pub fn relation(&self, name: &str) -> Option<&Relation> {
        let layers = [&self.temporary, &self.catalog];
        let exact = layers
            .iter()
            .filter_map(|layer| layer.relation(name))
            .find(|relation| relation.name() == name);
        exact.or_else(|| layers.iter().find_map(|layer| layer.relation(name)))
    }

    /// Finds a table.
    pub fn table(&self, name: &str) -> Option<&Arc<TableDefinition>> {
        match self.relation(name)? {
            Relation::Table(table) => Some(table),
            Relation::View(_) => None,
        }
    }

    /// Finds a view.
    pub fn view(&self, name: &str) -> Option<&Arc<ViewDefinition>> {
        match self.relation(name)? {
            Relation::View(view) => Some(view),
            Relation::Table(_) => None,
        }
    }

    /// Finds a function made by CREATE FUNCTION.
    pub fn function(&self, name: &str) -> Option<&Arc<FunctionDefinition>> {
        self.temporary.function(name).or_else(|| self.catalog.function(name))
    }

    /// Returns all functions made by CREATE FUNCTION, temporary ones first.
    pub fn functions(&self) -> impl Iterator<Item = &Arc<FunctionDefinition>> {
        self.temporary.functions().chain(self.catalog.functions())
    }

    /// Says why a name is not known, where its definition could not be read back.
    pub(crate) fn unreadable(&self, kind: ObjectKind, name: &str) -> Option<String> {
        let unreadable = self.catalog.unreadable().find(|found| found.is_named(kind, name))?;
        Some(format!("its definition could not be read back: {}", unreadable.reason))
    }

    /// Returns the names of all tables and views, sorted, each once.
    pub fn relation_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .temporary
            .relations()
            .chain(self.catalog.relations())
            .map(Relation::name)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// What a query is planned against.
#[derive(Debug, Clone, Copy)]
pub struct QueryContext<'a> {
    /// Tables, views, functions written as expressions, and settings.
    pub session: &'a Session,
    /// All other functions.
    pub functions: &'a Registry,
    /// Directory that relative paths are resolved against; `None` for text that is kept and may be
    /// read anywhere.
    pub base_directory: Option<&'a str>,
}
