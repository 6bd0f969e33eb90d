//! DataFusion's batch engine on the same rows, where a query's text is plain SQL.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::engine::values;
use super::table::Table;
use super::text::{Dialect, query};
use super::tree::{Bound, Column, Node, Op};
use super::value::{Type, Value};

/// Tells whether a query means the same in plain SQL: it has no windows, and nothing in it can be
/// late.
pub(crate) fn is_plain(node: &Node) -> bool {
    let own = match &node.op {
        Op::Window { .. } | Op::Semi(_) => false,
        Op::Join(join) => matches!(join.bound, Bound::Lookup(_)),
        _ => true,
    };
    own && node.inputs().into_iter().all(is_plain)
}

/// Answers a query.
///
/// # Errors
/// What DataFusion says.
pub(crate) fn answer(root: &Node, tables: &[Table]) -> Result<Vec<Vec<Value>>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let config = SessionConfig::new().with_target_partitions(1);
    let context = SessionContext::new_with_config(config);
    for (index, table) in tables.iter().enumerate() {
        let rows = rows(index, table);
        let table_rows = MemTable::try_new(rows.schema(), vec![vec![rows]]);
        let table_rows = Arc::new(table_rows.map_err(|error| error.to_string())?);
        context.register_table(table.name, table_rows).map_err(|error| error.to_string())?;
    }
    let text = query(root, tables, Dialect::Batch);
    let batches = runtime.block_on(async { context.sql(&text).await?.collect().await });
    let batches = batches.map_err(|error| format!("{error}\n{text}"))?;
    let rows = batches.iter().flat_map(|batch| {
        let columns = batch.columns().iter().map(values).collect::<Vec<_>>();
        let row = move |row: usize| columns.iter().map(|column| column[row].clone()).collect();
        (0..batch.num_rows()).map(row).collect::<Vec<_>>()
    });
    Ok(rows.collect())
}

fn rows(index: usize, table: &Table) -> RecordBatch {
    let batches = table.batches.iter().enumerate();
    let rows = batches.flat_map(|(batch, rows)| {
        let arrival = Value::Time(table.arrival_ms(batch) * 1000);
        rows.iter().map(move |row| row.iter().cloned().chain([arrival.clone()]).collect::<Vec<_>>())
    });
    let rows = rows.collect::<Vec<_>>();
    let columns = Table::columns(index);
    let arrays = columns.iter().enumerate().map(|(index, column)| {
        (column.name.clone(), array(column, rows.iter().map(|row| &row[index])), true)
    });
    RecordBatch::try_from_iter_with_nullable(arrays).expect("columns of one length")
}

fn array<'a>(column: &Column, values: impl Iterator<Item = &'a Value>) -> ArrayRef {
    let whole = |value: &Value| match value {
        Value::Int(number) | Value::Time(number) => Some(*number),
        _ => None,
    };
    match column.of {
        Type::Int => Arc::new(values.map(whole).collect::<Int64Array>()),
        Type::Time => Arc::new(values.map(whole).collect::<TimestampMicrosecondArray>()),
        Type::Float => Arc::new(
            values
                .map(|value| (!value.is_null()).then(|| value.number()))
                .collect::<Float64Array>(),
        ),
        _ => Arc::new(
            values
                .map(|value| (!value.is_null()).then(|| value.to_string()))
                .collect::<StringViewArray>(),
        ),
    }
}
