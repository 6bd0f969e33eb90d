//! What is known of tables, columns and streams beyond their types.

use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use rainstorm_engine::connector::ConnectorInfo;
use rainstorm_engine::connector::{self, TableOptions};
use rainstorm_engine::graph::Window;
use sqlparser::tokenizer::Span;

use crate::bind::fail;
use crate::catalog::TableDefinition;
use crate::error::{SqlError, SqlErrorCode};

/// Which of a window's columns a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WindowPart {
    Start,
    End,
    Time,
}

impl WindowPart {
    /// The parts in the order in which windows add their columns.
    pub(crate) const ALL: [Self; 3] = [Self::Start, Self::End, Self::Time];
}

/// How the windows are cut that a column belongs to. Two columns of equal windows and equal
/// values mean the same window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WindowKind {
    pub(crate) window: Window,
    /// By event time, else by processing time.
    pub(crate) event_time: bool,
}

impl WindowKind {
    /// Tells whether start, end or time alone says which window it is.
    pub(crate) fn one_part_names_it(self) -> bool {
        !matches!(self.window, Window::Cumulate { .. })
    }
}

/// What a column means beside its value. It follows the column through projections and filters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// The watermark holds for it: later rows have greater values.
    pub(crate) is_time: bool,
    /// It names the window that the row belongs to.
    pub(crate) window: Option<(WindowPart, WindowKind)>,
}

/// Returns a table as its connector sees it.
pub(crate) fn table_options(table: &TableDefinition) -> TableOptions {
    TableOptions {
        table: table.name.clone(),
        options: table.options.clone(),
        table_schema: table.physical_schema(),
        partition_by: table.physical_indices(&table.partitioned_by),
        primary_key: table.physical_indices(&table.primary_key),
    }
}

/// Tells what a table's connector can do.
///
/// # Errors
/// `InvalidOption` where the connector refuses the table's options.
pub(crate) fn describe(table: &TableDefinition) -> Result<ConnectorInfo> {
    connector::describe(&table.connector, &table_options(table)).map_err(|error| {
        let message = format!("table '{}': {error}", table.name);
        fail(SqlError::at(SqlErrorCode::InvalidOption, Span::empty(), message))
    })
}

/// Tells whether a table's source applies a condition over its columns itself.
pub(crate) fn enforces(table: &TableDefinition, condition: &Expr) -> bool {
    connector::enforces(&table.connector, &table_options(table), condition)
}

/// Tells whether an aggregate can take rows back.
pub(crate) fn takes_rows_back(aggregate: &str) -> bool {
    ["count", "sum", "avg", "min", "max"].contains(&aggregate)
}
