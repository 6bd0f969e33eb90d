//! Tables, views and functions by name.

mod source;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use rainstorm_engine::connector::TableOptions;
use sqlparser::ast::{Expr, Query};

pub use self::source::CatalogTable;
use crate::statement::{ObjectKind, TableOption};

/// A table: its columns and where its rows are.
#[derive(Debug, Clone, PartialEq)]
pub struct TableDefinition {
    /// The name as declared.
    pub name: String,
    /// The columns in their order.
    pub columns: Vec<Column>,
    /// WATERMARK FOR: the event time's column, and the watermark of a row over all columns.
    pub watermark: Option<(String, Expr)>,
    /// PRIMARY KEY … NOT ENFORCED columns.
    pub primary_key: Vec<String>,
    /// PARTITIONED BY columns.
    pub partitioned_by: Vec<String>,
    /// The connector's name, as in `'connector' = 'nexmark'`.
    pub connector: String,
    /// The other WITH options; a `path` is an absolute URL.
    pub options: BTreeMap<String, String>,
    /// Whether it ends with its session.
    pub temporary: bool,
    /// COMMENT.
    pub comment: Option<String>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The name as declared.
    pub name: String,
    /// The type; of a computed column its expression's.
    pub data_type: DataType,
    /// The type as SQL has it, which may say more: VARCHAR(10), TIMESTAMP_LTZ(3).
    pub declared: String,
    /// Whether it may be null.
    pub nullable: bool,
    /// Where its values come from.
    pub kind: ColumnKind,
    /// COMMENT.
    pub comment: Option<String>,
}

/// Where a column's values come from.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there are few of them, and none on a hot path")]
pub enum ColumnKind {
    /// The connector.
    Physical,
    /// An expression over the physical columns; cannot be written.
    Computed(Expr),
}

impl TableDefinition {
    /// Returns the columns that the connector reads or writes.
    pub fn physical_columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.kind == ColumnKind::Physical)
    }

    /// Returns the schema of the columns that the connector reads or writes.
    #[must_use]
    pub fn physical_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.physical_columns().map(Column::field).collect::<Vec<_>>()))
    }

    /// Returns the schema that queries see: all columns.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(Column::field).collect::<Vec<_>>()))
    }

    /// Returns the table as its connector sees it.
    #[must_use]
    pub fn connector_options(&self) -> TableOptions {
        TableOptions {
            table: self.name.clone(),
            options: self.options.clone(),
            table_schema: self.physical_schema(),
            partition_by: self.physical_indices(&self.partitioned_by),
            primary_key: self.physical_indices(&self.primary_key),
        }
    }

    /// Returns the table with options of a hint over its own.
    pub(crate) fn with_options(&self, hint: &[TableOption]) -> Self {
        let mut table = self.clone();
        table.options.extend(hint.iter().map(|option| (option.key.clone(), option.value.clone())));
        table
    }

    /// Returns the indices of the named columns among the physical ones; names that are not
    /// there are left out.
    #[must_use]
    pub fn physical_indices(&self, names: &[String]) -> Vec<usize> {
        names
            .iter()
            .filter_map(|name| self.physical_columns().position(|column| column.name == *name))
            .collect()
    }
}

impl Column {
    fn field(&self) -> Field {
        Field::new(&self.name, self.data_type.clone(), self.nullable)
    }
}

/// A named query.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewDefinition {
    /// The name as declared.
    pub name: String,
    /// Names of the columns; empty: the query's own.
    pub columns: Vec<String>,
    /// The query as written; names in it are resolved where the view is used.
    pub query: Box<Query>,
    /// The query's text.
    pub query_sql: String,
    /// Whether it ends with its session.
    pub temporary: bool,
    /// COMMENT.
    pub comment: Option<String>,
}

/// A function written as an expression, expanded where it is called.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionDefinition {
    /// The name as declared.
    pub name: String,
    /// Names and types of the arguments.
    pub args: Vec<(String, DataType)>,
    /// The type of the result.
    pub return_type: DataType,
    /// The result, over the arguments; functions of this kind that it was written with are
    /// expanded, so that it outlives them.
    pub body: Expr,
    /// Whether it ends with its session.
    pub temporary: bool,
}

/// A table or a view: they share their names.
#[derive(Debug, Clone, PartialEq)]
pub enum Relation {
    /// A table.
    Table(Arc<TableDefinition>),
    /// A view.
    View(Arc<ViewDefinition>),
}

impl Relation {
    /// Returns the name as declared.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Table(table) => &table.name,
            Self::View(view) => &view.name,
        }
    }
}

/// A definition that could not be read back. Its text is kept, so that nothing is lost by reading
/// a catalog and writing it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// What is defined.
    pub kind: ObjectKind,
    /// The name as declared; empty where the text does not show one.
    pub name: String,
    /// The CREATE statement.
    pub sql: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Unreadable {
    /// Tells whether a name of this kind means it: tables and views share their names.
    pub(crate) fn is_named(&self, kind: ObjectKind, name: &str) -> bool {
        let functions = [kind, self.kind].map(|kind| kind == ObjectKind::Function);
        functions[0] == functions[1] && self.name == name
    }
}

/// Tables, views and functions. Names are case-sensitive, but one that is not found as it is
/// written is found whatever its case, if that leaves one.
///
/// Cloning is cheap for what it holds; a script is planned on a clone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalog {
    relations: BTreeMap<String, (u64, Relation)>,
    functions: BTreeMap<String, (u64, Arc<FunctionDefinition>)>,
    unreadable: Vec<(u64, Unreadable)>,
    next: u64,
}

impl Catalog {
    /// Finds a table or view.
    pub fn relation(&self, name: &str) -> Option<&Relation> {
        find(&self.relations, name).map(|(_, relation)| relation)
    }

    /// Finds a function.
    pub fn function(&self, name: &str) -> Option<&Arc<FunctionDefinition>> {
        find(&self.functions, name).map(|(_, function)| function)
    }

    /// Returns tables and views, sorted by name.
    pub fn relations(&self) -> impl Iterator<Item = &Relation> {
        self.relations.values().map(|(_, relation)| relation)
    }

    /// Returns the functions, sorted by name.
    pub fn functions(&self) -> impl Iterator<Item = &Arc<FunctionDefinition>> {
        self.functions.values().map(|(_, function)| function)
    }

    /// Returns tables and views with numbers that rise in the order in which they were made.
    pub(crate) fn ordered_relations(&self) -> impl Iterator<Item = (u64, &Relation)> {
        self.relations.values().map(|(order, relation)| (*order, relation))
    }

    /// Returns functions with numbers that rise in the order in which they were made.
    pub(crate) fn ordered_functions(
        &self,
    ) -> impl Iterator<Item = (u64, &Arc<FunctionDefinition>)> {
        self.functions.values().map(|(order, function)| (*order, function))
    }

    /// Returns the definitions that could not be read back, oldest first.
    pub fn unreadable(&self) -> impl Iterator<Item = &Unreadable> {
        self.unreadable.iter().map(|(_, unreadable)| unreadable)
    }

    /// Returns definitions that could not be read back with numbers like the others' numbers.
    pub(crate) fn ordered_unreadable(&self) -> impl Iterator<Item = (u64, &Unreadable)> {
        self.unreadable.iter().map(|(order, unreadable)| (*order, unreadable))
    }

    /// Keeps a definition that could not be read back.
    pub(crate) fn put_unreadable(&mut self, unreadable: Unreadable) {
        self.unreadable.push((self.next, unreadable));
        self.next += 1;
    }

    /// Takes out what could not be read back under exactly this name; tells whether there was any.
    pub(crate) fn remove_unreadable(&mut self, kind: ObjectKind, name: &str) -> bool {
        let before = self.unreadable.len();
        self.unreadable.retain(|(_, unreadable)| !unreadable.is_named(kind, name));
        self.unreadable.len() < before
    }

    /// Puts a table or view in, in place of what had exactly its name.
    pub fn put_relation(&mut self, relation: Relation) {
        self.remove_unreadable(ObjectKind::Table, relation.name());
        put(&mut self.relations, &mut self.next, relation.name().to_owned(), relation);
    }

    /// Puts a function in, in place of what had exactly its name.
    pub fn put_function(&mut self, function: Arc<FunctionDefinition>) {
        self.remove_unreadable(ObjectKind::Function, &function.name);
        put(&mut self.functions, &mut self.next, function.name.clone(), function);
    }

    /// Takes out the table or view of exactly this name.
    pub(crate) fn remove_exact_relation(&mut self, name: &str) {
        self.relations.remove(name);
    }

    /// Takes out the function of exactly this name.
    pub(crate) fn remove_exact_function(&mut self, name: &str) {
        self.functions.remove(name);
    }

    /// Takes out the table or view that `name` finds.
    pub fn remove_relation(&mut self, name: &str) -> Option<Relation> {
        let name = self.relation(name)?.name().to_owned();
        self.relations.remove(&name).map(|(_, relation)| relation)
    }

    /// Takes out the function that `name` finds.
    pub fn remove_function(&mut self, name: &str) -> Option<Arc<FunctionDefinition>> {
        let name = self.function(name)?.name.clone();
        self.functions.remove(&name).map(|(_, function)| function)
    }
}

/// What is replaced keeps its place in the order, since others may be built on it.
fn put<T>(map: &mut BTreeMap<String, (u64, T)>, next: &mut u64, name: String, value: T) {
    let order = map.get(&name).map_or(*next, |(order, _)| *order);
    *next += 1;
    map.insert(name, (order, value));
}

fn find<'a, T>(map: &'a BTreeMap<String, T>, name: &str) -> Option<&'a T> {
    map.get(name).or_else(|| {
        let mut found = map.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    })
}
