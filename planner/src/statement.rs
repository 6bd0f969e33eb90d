//! Parsed statements.

use arrow::datatypes::DataType;
use sqlparser::ast::{Expr, Ident, Query};
use sqlparser::tokenizer::Span;

/// A statement of the dialect. Names are as written.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// CREATE TABLE.
    CreateTable(CreateTable),
    /// CREATE VIEW.
    CreateView(CreateView),
    /// CREATE FUNCTION … RETURN.
    CreateFunction(CreateFunction),
    /// DROP TABLE, VIEW or FUNCTION.
    Drop(Drop),
    /// INSERT, or a statement set of several.
    Insert(Vec<Insert>),
    /// SELECT, VALUES, WITH.
    Query(Box<Query>),
    /// SET key = value.
    Set {
        /// The setting.
        key: Ident,
        /// Its value.
        value: String,
    },
    /// RESET, of one setting or all.
    Reset(Option<Ident>),
    /// SHOW …
    Show(Show),
    /// SHOW CREATE TABLE or VIEW.
    ShowCreate(Ident),
    /// DESCRIBE.
    Describe(Ident),
    /// EXPLAIN of a query or INSERTs.
    Explain(Box<Statement>),
}

/// What SHOW lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Tables and views.
    Tables,
    /// Views.
    Views,
    /// Functions.
    Functions,
    /// Jobs.
    Jobs,
    /// Settings.
    Settings,
}

/// Kinds of things in a catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// A table.
    Table,
    /// A view.
    View,
    /// A function.
    Function,
}

/// What a CREATE says about a name that is taken, and how long the new thing lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CreateMode {
    /// OR REPLACE.
    pub or_replace: bool,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// TEMPORARY.
    pub temporary: bool,
}

/// CREATE TABLE.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTable {
    /// The name.
    pub name: Ident,
    /// OR REPLACE and the like.
    pub mode: CreateMode,
    /// The columns.
    pub columns: Vec<ColumnClause>,
    /// WATERMARK FOR column AS expression.
    pub watermark: Option<(Ident, Expr)>,
    /// PRIMARY KEY.
    pub primary_key: Vec<Ident>,
    /// PARTITIONED BY.
    pub partitioned_by: Vec<Ident>,
    /// WITH, each with the places of key and value.
    pub options: Vec<TableOption>,
    /// LIKE.
    pub like: Option<Ident>,
    /// COMMENT.
    pub comment: Option<String>,
}

/// A column in CREATE TABLE.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnClause {
    /// The name.
    pub name: Ident,
    /// A type, or an expression.
    pub kind: ColumnClauseKind,
    /// COMMENT.
    pub comment: Option<String>,
}

/// Where a declared column's values come from.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there are few of them, and none on a hot path")]
pub enum ColumnClauseKind {
    /// `name TYPE [NOT NULL]`.
    Physical {
        /// The type.
        data_type: DataType,
        /// The type as SQL has it, such as VARCHAR(10).
        declared: String,
        /// Whether it may be null.
        nullable: bool,
    },
    /// `name AS expression`.
    Computed(Expr),
}

/// `'key' = 'value'`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableOption {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// Where the key stands.
    pub key_span: Span,
    /// Where the value stands.
    pub value_span: Span,
}

/// CREATE VIEW.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateView {
    /// The name.
    pub name: Ident,
    /// OR REPLACE and the like.
    pub mode: CreateMode,
    /// Names of the columns; empty: the query's own.
    pub columns: Vec<Ident>,
    /// The query.
    pub query: Box<Query>,
    /// The query's text.
    pub query_sql: String,
    /// COMMENT.
    pub comment: Option<String>,
}

/// CREATE FUNCTION … RETURN.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateFunction {
    /// The name.
    pub name: Ident,
    /// OR REPLACE and the like.
    pub mode: CreateMode,
    /// Names and types of the arguments.
    pub args: Vec<(Ident, DataType)>,
    /// The type of the result.
    pub return_type: DataType,
    /// The result.
    pub body: Expr,
}

/// DROP.
#[derive(Debug, Clone, PartialEq)]
pub struct Drop {
    /// What is dropped.
    pub kind: ObjectKind,
    /// Its name.
    pub name: Ident,
    /// IF EXISTS.
    pub if_exists: bool,
    /// TEMPORARY: leaves shared ones alone.
    pub temporary: bool,
}

/// INSERT INTO or INSERT OVERWRITE.
#[derive(Debug, Clone, PartialEq)]
pub struct Insert {
    /// The table; in its declared spelling once names are resolved.
    pub table: Ident,
    /// What a hint gives the table for this INSERT.
    pub options: Vec<TableOption>,
    /// The columns that the query's columns go to, in order; empty: all physical ones.
    pub columns: Vec<Ident>,
    /// PARTITION (column = value, …).
    pub partition: Vec<(Ident, Expr)>,
    /// OVERWRITE.
    pub overwrite: bool,
    /// The rows.
    pub source: Box<Query>,
}

/// A statement and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedStatement {
    /// The statement.
    pub statement: Statement,
    /// From its first token to its last.
    pub span: Span,
}
