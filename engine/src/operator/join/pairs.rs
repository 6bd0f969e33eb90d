//! Pairs of a probing row and a row in a table, and the columns of either.

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{interleave, take};

use super::table::Table;
use crate::{Error, Result};

/// A row of one of the tables that are probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::operator) struct Stored {
    /// Which of the tables.
    pub(in crate::operator) table: u32,
    /// The row's number there.
    pub(in crate::operator) row: u32,
}

/// Pairs of a row of the probing batch and one in a table.
#[derive(Debug, Default)]
pub(in crate::operator) struct Pairs {
    pub(in crate::operator) probe: Vec<u32>,
    pub(in crate::operator) stored: Vec<Stored>,
}

impl Pairs {
    /// Adds a pair.
    #[inline]
    pub(in crate::operator) fn push(&mut self, probe: u32, table: u32, row: u32) {
        self.probe.push(probe);
        self.stored.push(Stored { table, row });
    }

    /// Returns the number of pairs.
    pub(in crate::operator) fn len(&self) -> usize {
        self.probe.len()
    }

    /// Tells whether there are none.
    pub(in crate::operator) fn is_empty(&self) -> bool {
        self.probe.is_empty()
    }

    /// Removes all.
    pub(in crate::operator) fn clear(&mut self) {
        self.probe.clear();
        self.stored.clear();
    }

    /// Keeps those for which the mask is true; null counts as false.
    pub(in crate::operator) fn retain(&mut self, mask: &BooleanArray) {
        if mask.null_count() == 0 && mask.true_count() == self.len() {
            return;
        }
        let mut kept = 0;
        for index in 0..self.len() {
            if mask.is_valid(index) && mask.value(index) {
                self.probe[kept] = self.probe[index];
                self.stored[kept] = self.stored[index];
                kept += 1;
            }
        }
        self.probe.truncate(kept);
        self.stored.truncate(kept);
    }
}

/// Rows picked out of one batch or several, from which columns are gathered.
#[derive(Debug)]
pub(in crate::operator) struct Picked<'a> {
    batches: Vec<&'a RecordBatch>,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    /// All rows of the only batch, in order.
    All,
    /// Rows of the only batch.
    One(UInt32Array),
    /// Rows as (batch, row).
    Many(Vec<(usize, usize)>),
}

impl<'a> Picked<'a> {
    /// Picks rows of a batch.
    pub(in crate::operator) fn of_batch(batch: &'a RecordBatch, rows: &[u32]) -> Self {
        let all = rows.len() == batch.num_rows()
            && rows.iter().enumerate().all(|(place, row)| place == *row as usize);
        let rows = if all {
            Rows::All
        } else {
            Rows::One(UInt32Array::from_iter_values(rows.iter().copied()))
        };
        Self { batches: vec![batch], rows }
    }

    /// Picks rows of tables.
    pub(in crate::operator) fn of_tables(tables: &[&'a Table], stored: &[Stored]) -> Self {
        if let [table] = tables
            && let [batch] = table.batches()
        {
            let rows = UInt32Array::from_iter_values(stored.iter().map(|stored| stored.row));
            return Self { batches: vec![batch], rows: Rows::One(rows) };
        }
        let mut batches = Vec::new();
        let mut first_batch = Vec::with_capacity(tables.len());
        for table in tables {
            first_batch.push(batches.len());
            batches.extend(table.batches());
        }
        let locate = |stored: &Stored| {
            let table = stored.table as usize;
            let (batch, row) = tables[table].locate(stored.row);
            (first_batch[table] + batch, row)
        };
        let rows = Rows::Many(stored.iter().map(locate).collect());
        Self { batches, rows }
    }

    /// Gathers a column.
    pub(in crate::operator) fn column(&self, index: usize) -> Result<ArrayRef> {
        let gathered = match &self.rows {
            Rows::All => return Ok(self.batches[0].column(index).clone()),
            Rows::One(rows) => take(self.batches[0].column(index), rows, None),
            Rows::Many(rows) => {
                let arrays: Vec<&dyn Array> =
                    self.batches.iter().map(|batch| batch.column(index).as_ref()).collect();
                interleave(&arrays, rows)
            }
        };
        gathered.map_err(|error| Error::compute("gather the rows of a join", error))
    }
}
