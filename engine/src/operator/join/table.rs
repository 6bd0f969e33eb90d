//! Rows in columns, found by the hash of their keys.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use hashbrown::HashTable;

use crate::batch::TARGET_BATCH_ROWS;
use crate::held::held_bytes;
use crate::views::compact;
use crate::{Error, Result};

/// The end of a chain.
const NONE: u32 = u32::MAX;
/// So many probes look through rows that are not indexed yet before these are indexed. Scanning
/// sixteen hashes costs about what indexing one does, so that neither a table that is hardly
/// ever probed nor one that is probed all the time does needless work.
const SCANS_MAX: usize = 16;

/// Rows that are appended and never changed. A row's number is its place among all.
#[derive(Debug, Default)]
pub(in crate::operator) struct Table {
    batches: Vec<RecordBatch>,
    /// The number of each batch's first row.
    starts: Vec<u32>,
    /// The hash of each row.
    hashes: Vec<u64>,
    /// For each hash among the indexed rows, the last row that has it.
    heads: HashTable<Head>,
    /// For each indexed row, the row before it with the same hash. Rows from its length on are
    /// not indexed.
    previous: Vec<u32>,
    /// Probes since rows were last indexed.
    scans: usize,
    batch_bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    hash: u64,
    row: u32,
}

impl Table {
    /// Returns the number of rows.
    pub(in crate::operator) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Returns the rows.
    pub(in crate::operator) fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// Returns the rows' hashes.
    pub(in crate::operator) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Returns the batch of a row and its place there.
    pub(in crate::operator) fn locate(&self, row: u32) -> (usize, usize) {
        let batch = self.starts.partition_point(|start| *start <= row) - 1;
        (batch, (row - self.starts[batch]) as usize)
    }

    /// Returns the hashes of the rows of a batch.
    pub(in crate::operator) fn batch_hashes(&self, batch: usize) -> &[u64] {
        let start = self.starts[batch] as usize;
        &self.hashes[start..start + self.batches[batch].num_rows()]
    }

    /// Returns an estimate of the bytes that it holds.
    pub(in crate::operator) fn memory_bytes(&self) -> usize {
        self.batch_bytes
            + self.hashes.capacity() * size_of::<u64>()
            + self.previous.capacity() * size_of::<u32>()
            + self.heads.allocation_size()
    }

    /// Appends rows with their hashes.
    ///
    /// # Errors
    /// `Compute` where small batches cannot be put together.
    pub(in crate::operator) fn push(&mut self, rows: &RecordBatch, hashes: &[u64]) -> Result<()> {
        debug_assert_eq!(rows.num_rows(), hashes.len(), "one hash per row");
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if self.len() + rows.num_rows() >= NONE as usize {
            return Err(Error::Internal("a join's table is over 2^32 rows".to_owned()));
        }
        let rows = compact(rows);
        self.starts.push(self.len() as u32);
        self.hashes.extend_from_slice(hashes);
        self.batch_bytes += held_bytes(&rows);
        self.batches.push(rows);
        self.gather_small_batches()
    }

    /// Puts the last batches together while they are small and alike in size, so that rows that
    /// trickle in are copied a few times each and do not stay in thousands of batches.
    fn gather_small_batches(&mut self) -> Result<()> {
        while let [.., first, second] = self.batches.as_slice() {
            let (before, after) = (first.num_rows(), second.num_rows());
            if before + after > TARGET_BATCH_ROWS || before > 2 * after {
                break;
            }
            let both = concat_batches(first.schema_ref(), [first, second])
                .map_err(|error| Error::compute("gather the rows of a join", error))?;
            self.replace_last(2, compact(&both));
        }
        Ok(())
    }

    /// Puts all rows into one batch and indexes them: for a table that is complete.
    pub(in crate::operator) fn seal(&mut self) -> Result<()> {
        if let [first, _, ..] = self.batches.as_slice() {
            let all = concat_batches(first.schema_ref(), &self.batches)
                .map_err(|error| Error::compute("gather the rows of a join", error))?;
            self.replace_last(self.batches.len(), compact(&all));
        }
        self.index();
        Ok(())
    }

    fn replace_last(&mut self, count: usize, rows: RecordBatch) {
        for replaced in self.batches.drain(self.batches.len() - count..) {
            self.batch_bytes -= held_bytes(&replaced);
        }
        self.starts.truncate(self.batches.len() + 1);
        self.batch_bytes += held_bytes(&rows);
        self.batches.push(rows);
    }

    /// Prepares for so many probes.
    pub(in crate::operator) fn prepare(&mut self, probes: usize) {
        self.scans += probes;
        if self.scans > SCANS_MAX && self.previous.len() < self.len() {
            self.index();
        }
    }

    fn index(&mut self) {
        self.scans = 0;
        self.previous.reserve(self.len() - self.previous.len());
        for row in self.previous.len()..self.hashes.len() {
            let hash = self.hashes[row];
            let entry = self.heads.entry(hash, |head| head.hash == hash, |head| head.hash);
            match entry {
                hashbrown::hash_table::Entry::Occupied(mut head) => {
                    self.previous.push(head.get().row);
                    head.get_mut().row = row as u32;
                }
                hashbrown::hash_table::Entry::Vacant(place) => {
                    place.insert(Head { hash, row: row as u32 });
                    self.previous.push(NONE);
                }
            }
        }
    }

    /// Visits the rows with a hash.
    #[inline]
    pub(in crate::operator) fn find(&self, hash: u64, mut visit: impl FnMut(u32)) {
        if let Some(head) = self.heads.find(hash, |head| head.hash == hash) {
            let mut row = head.row;
            while row != NONE {
                visit(row);
                row = self.previous[row as usize];
            }
        }
        if self.previous.len() < self.len() {
            self.scan(hash, visit);
        }
    }

    fn scan(&self, hash: u64, mut visit: impl FnMut(u32)) {
        let first = self.previous.len();
        for (chunk, hashes) in self.hashes[first..].chunks(64).enumerate() {
            // Without branches, so that the compiler compares several hashes at a time.
            if hashes.iter().filter(|other| **other == hash).count() > 0 {
                for (index, other) in hashes.iter().enumerate() {
                    if *other == hash {
                        visit((first + 64 * chunk + index) as u32);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, StringViewArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(range));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    }

    fn found(table: &Table, hash: u64) -> Vec<u32> {
        let mut rows = vec![];
        table.find(hash, |row| rows.push(row));
        rows.sort_unstable();
        rows
    }

    #[test]
    fn rows_are_found_by_hash_indexed_or_not() {
        let mut table = Table::default();
        let hash = |row: u32| u64::from(row % 7);
        let expected = |rows: u32| (0..rows).filter(|row| hash(*row) == 3).collect::<Vec<_>>();
        for round in 0..50 {
            let hashes: Vec<u64> = (round * 10..round * 10 + 10).map(hash).collect();
            let from = i64::from(round) * 10;
            table.push(&numbers(from..from + 10), &hashes).unwrap();
            assert_eq!(found(&table, 3), expected(round * 10 + 10));
            table.prepare(5);
            assert_eq!(found(&table, 3), expected(round * 10 + 10));
        }
        for row in 0..500 {
            let (batch, index) = table.locate(row);
            let values = table.batches()[batch].column(0).as_primitive::<Int64Type>();
            assert_eq!(values.value(index), i64::from(row));
        }
        assert!(table.batches().len() < 12, "{}", table.batches().len());
        table.seal().unwrap();
        assert_eq!(table.batches().len(), 1);
        assert_eq!(found(&table, 3), expected(500));
    }

    #[test]
    fn views_do_not_keep_large_buffers_alive() {
        let text = "a text too long to lie within its view";
        let all: ArrayRef = Arc::new(StringViewArray::from(vec![text; 10_000]));
        let few = RecordBatch::try_from_iter([("t", all.slice(0, 3))]).unwrap();
        let mut table = Table::default();
        table.push(&few, &[1, 2, 3]).unwrap();
        assert!(table.memory_bytes() < 10_000, "{}", table.memory_bytes());
    }
}
