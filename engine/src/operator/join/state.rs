//! How the rows of a join are written into checkpoints and read back.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::hash::key_group;
use crate::state::{StateReader, StateWriter};
use crate::{Error, Result};

const VERSION: u16 = 1;
const FOUND: &str = "__found";

/// The names of the sides' tables.
pub(in crate::operator) const SIDES: [&str; 2] = ["left", "right"];

/// Rows of one side with the hashes that decide their key groups and, for each, whether it has
/// found a partner.
#[derive(Debug, Default)]
pub(in crate::operator) struct SideRows {
    batches: Vec<RecordBatch>,
    groups: Vec<u16>,
    found: Vec<bool>,
}

impl SideRows {
    /// Adds rows; `found` may be empty where it does not count.
    pub(in crate::operator) fn add(
        &mut self,
        batches: &[RecordBatch],
        hashes: &[u64],
        found: &[bool],
        key_groups: u16,
    ) {
        self.batches.extend_from_slice(batches);
        self.groups.extend(hashes.iter().map(|hash| key_group(*hash, key_groups)));
        self.found.extend_from_slice(found);
        self.found.resize(self.groups.len(), false);
    }

    /// Writes them as the keyed table of side `side`.
    ///
    /// # Errors
    /// `Compute` where the rows cannot be put together.
    pub(in crate::operator) fn write(
        self,
        side: usize,
        schema: &SchemaRef,
        writer: &mut StateWriter,
    ) -> Result<()> {
        let failed = |error| Error::compute("write the state of a join", error);
        let rows = concat_batches(schema, &self.batches).map_err(failed)?;
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(BooleanArray::from(self.found)) as ArrayRef);
        let rows = RecordBatch::try_new(with_found(schema), columns).map_err(failed)?;
        writer.keyed(SIDES[side], VERSION, rows, self.groups);
        Ok(())
    }
}

fn with_found(schema: &SchemaRef) -> SchemaRef {
    let found = Arc::new(Field::new(FOUND, DataType::Boolean, false));
    let fields = schema.fields().iter().cloned().chain([found]);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Reads a side's rows back, each batch with the marks of those that have found a partner.
///
/// # Errors
/// `Restore` where the columns are not those of the side.
pub(in crate::operator) fn read(
    side: usize,
    schema: &SchemaRef,
    state: &StateReader,
) -> Result<Vec<(RecordBatch, Vec<bool>)>> {
    let batches = state.keyed(SIDES[side], VERSION)?;
    batches.iter().map(|rows| split_found(side, schema, rows)).collect()
}

fn split_found(
    side: usize,
    schema: &SchemaRef,
    rows: &RecordBatch,
) -> Result<(RecordBatch, Vec<bool>)> {
    let restore = |reason: String| Error::Restore {
        what: format!("the {} rows of a join", SIDES[side]),
        reason,
    };
    let columns = schema.fields().len();
    if rows.num_columns() != columns + 1 {
        return Err(restore(format!("{} columns instead of {columns}", rows.num_columns() - 1)));
    }
    let found = rows.column(columns).as_boolean().values().iter().collect();
    let rows = RecordBatch::try_new(schema.clone(), rows.columns()[..columns].to_vec())
        .map_err(|error| restore(error.to_string()))?;
    Ok((rows, found))
}
