//! What is known of tables and functions beyond their types.

use std::collections::BTreeMap;

use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use rainstorm_engine::connector::ConnectorInfo;
use rainstorm_engine::connector::datagen::FIELD_OPTIONS_PREFIX;
use rainstorm_engine::connector::{self, TableOptions};
use rainstorm_engine::function::aggregate_name;
use sqlparser::tokenizer::Span;

use crate::catalog::TableDefinition;
use crate::error::{SqlError, SqlErrorCode, fail};
use crate::types::declared_length;

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

/// Tells whether a table does something by the watermark of the rows that are written into it.
pub(crate) fn awaits_watermark(table: &TableDefinition) -> bool {
    connector::awaits_watermark(&table.connector, &table.options)
}

/// Tells whether rows of one table may be rows of another: tables are declared more than once, and
/// one may be a part of the other.
pub(crate) fn overlap(one: &TableDefinition, other: &TableDefinition) -> bool {
    let by_place = one.connector == other.connector
        && connector::overlap(&one.connector, &one.options, &other.options);
    by_place || one == other
}

/// Tells whether an aggregate can take rows back.
pub(crate) fn takes_rows_back(aggregate: &str) -> bool {
    ["count", "sum", "avg", "min", "max"].contains(&aggregate_name(aggregate))
}

/// Returns a table's options for reading it; where its rows are generated, with the lengths that
/// types have.
pub(crate) fn source_options(table: &TableDefinition) -> BTreeMap<String, String> {
    let mut options = table.options.clone();
    if table.connector == "datagen" {
        for column in table.physical_columns() {
            if let Some(length) = declared_length(&column.declared) {
                let key = |option| format!("{FIELD_OPTIONS_PREFIX}{}.{option}", column.name);
                if options.get(&key("kind")).is_none_or(|kind| kind != "sequence") {
                    options.entry(key("length")).or_insert_with(|| length.to_string());
                }
            }
        }
    }
    options
}
