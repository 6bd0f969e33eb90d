//! What operators keep, and how it is written into checkpoints.
//!
//! An operator writes its state as named tables of Arrow rows. Keyed tables carry the key group
//! of each row, so that a checkpoint can be read back by other subtasks than wrote it; lists do
//! not, and are handed to every subtask, which takes what is its own.

pub mod file;
pub(crate) mod group_table;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use std::collections::BTreeMap;

use crate::connector::SplitState;
use crate::held::own_bytes;
use crate::memory::Hold;
use crate::{OperatorId, Result};

/// One table of an operator's state in a snapshot.
#[derive(Debug, Clone)]
pub struct StateTable {
    /// The table's name, unique within its operator.
    pub name: String,
    /// The version of the table's layout, raised when the code changes it.
    pub version: u16,
    /// Whether the rows are all there is or changes since the snapshot before.
    pub kind: StateKind,
    /// The rows.
    pub rows: RecordBatch,
    /// The key group of each row; `None` for a list.
    pub key_groups: Option<Vec<u16>>,
}

/// Whether a table of a snapshot stands for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateKind {
    /// All rows of the table.
    Full,
    /// The rows that were added since the snapshot before.
    Delta,
}

/// Collects the tables of one operator's snapshot.
#[derive(Debug, Default)]
pub struct StateWriter {
    tables: Vec<StateTable>,
}

impl StateWriter {
    /// Adds a full keyed table; `key_groups` has one entry per row.
    pub fn keyed(&mut self, name: &str, version: u16, rows: RecordBatch, key_groups: Vec<u16>) {
        debug_assert_eq!(rows.num_rows(), key_groups.len(), "one key group per row");
        self.push(name, version, rows, Some(key_groups));
    }

    /// Adds a full list, which is handed to every subtask on restore.
    pub fn list(&mut self, name: &str, version: u16, rows: RecordBatch) {
        self.push(name, version, rows, None);
    }

    fn push(&mut self, name: &str, version: u16, rows: RecordBatch, key_groups: Option<Vec<u16>>) {
        if rows.num_rows() > 0 {
            let name = name.to_owned();
            self.tables.push(StateTable { name, version, kind: StateKind::Full, rows, key_groups });
        }
    }

    /// Returns the tables that were added.
    #[must_use]
    pub fn finish(self) -> Vec<StateTable> {
        self.tables
    }
}

/// The state of one subtask: per operator the tables that its operators wrote at one barrier.
#[derive(Debug, Clone, Default)]
pub struct TaskSnapshot {
    /// Tables by operator.
    pub operators: BTreeMap<OperatorId, Vec<StateTable>>,
    /// For a source: all splits that the subtask was given, finished ones too. They are kept
    /// apart from the tables because a restore deals them out anew, before any task runs.
    pub splits: Vec<SplitState>,
    /// Keeps its tables in the books until they are written.
    pub hold: Option<Arc<Hold>>,
}

impl TaskSnapshot {
    /// Returns the bytes that its tables keep alive, less those that operators have as well.
    pub(crate) fn memory_bytes(&self) -> usize {
        let tables = || self.operators.values().flatten();
        let groups = tables().filter_map(|table| table.key_groups.as_ref()).map(Vec::capacity);
        own_bytes(tables().map(|table| &table.rows)) + groups.sum::<usize>() * size_of::<u16>()
    }
}

/// What one operator of one subtask gets back from a checkpoint.
#[derive(Debug, Clone, Default)]
pub struct StateReader {
    tables: Vec<StateTable>,
    key_groups: Range<u16>,
}

impl StateReader {
    /// Makes a reader of the tables that all subtasks of an operator wrote; keyed rows outside
    /// `key_groups` are left out when they are read.
    #[must_use]
    pub fn new(tables: Vec<StateTable>, key_groups: Range<u16>) -> Self {
        Self { tables, key_groups }
    }

    /// Tells whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Returns the rows of a keyed table that belong to this subtask's key groups.
    ///
    /// # Errors
    /// `Restore` where the table has another version.
    pub fn keyed(&self, name: &str, version: u16) -> Result<Vec<RecordBatch>> {
        self.read(name, version)
    }

    /// Returns the rows that all subtasks wrote into a list.
    ///
    /// # Errors
    /// `Restore` where the table has another version.
    pub fn list(&self, name: &str, version: u16) -> Result<Vec<RecordBatch>> {
        self.read(name, version)
    }

    fn read(&self, name: &str, version: u16) -> Result<Vec<RecordBatch>> {
        let mut found = Vec::new();
        for table in self.tables.iter().filter(|table| table.name == name) {
            if table.version != version {
                return Err(crate::Error::Restore {
                    what: format!("state table {name}"),
                    reason: format!("it has version {}, this build reads {version}", table.version),
                });
            }
            let rows = match &table.key_groups {
                None => table.rows.clone(),
                Some(groups) => self.own_rows(&table.rows, groups)?,
            };
            if rows.num_rows() > 0 {
                found.push(rows);
            }
        }
        Ok(found)
    }

    fn own_rows(&self, rows: &RecordBatch, groups: &[u16]) -> Result<RecordBatch> {
        let mask = groups.iter().map(|group| Some(self.key_groups.contains(group))).collect();
        arrow::compute::filter_record_batch(rows, &mask)
            .map_err(|error| crate::Error::compute("select a subtask's key groups", error))
    }
}
