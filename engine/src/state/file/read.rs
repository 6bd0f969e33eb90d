//! Reads state files, and of them only what is asked for.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::ipc::reader::StreamReader;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::HEADER_BYTES;
use super::index::{self, Entry};
use crate::state::StateTable;
use crate::{Error, OperatorId, Result};

/// What is read first, in the hope that it holds the whole index.
const FIRST_BYTES: u64 = 64 * 1024;

/// Which state is wanted: key groups by operator. Lists of a wanted operator always are.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    operators: BTreeMap<OperatorId, Vec<Range<u16>>>,
}

impl Selection {
    /// Adds key groups of an operator.
    pub fn add(&mut self, operator: OperatorId, groups: Range<u16>) {
        self.operators.entry(operator).or_default().push(groups);
    }

    fn wants(&self, entry: &Entry) -> bool {
        let Some(wanted) = self.operators.get(&entry.operator) else { return false };
        entry.groups.as_ref().is_none_or(|groups| {
            groups.iter().any(|(group, _)| wanted.iter().any(|range| range.contains(group)))
        })
    }
}

/// Reads the wanted tables of a file that is in memory. Keyed tables may come with rows of other
/// key groups, and in several pieces.
///
/// # Errors
/// `Restore` where the file is damaged or of another version; `what` names it.
pub fn decode(
    what: &str,
    file: &Bytes,
    selection: &Selection,
) -> Result<Vec<(OperatorId, StateTable)>> {
    let refused = |reason: String| Error::Restore { what: what.to_owned(), reason };
    let header = index::decode_header(file).map_err(refused)?;
    let entries = index::decode(&header, &file[HEADER_BYTES..]).map_err(refused)?;
    let blocks = file.slice(HEADER_BYTES + header.index_bytes..);
    let wanted = entries.into_iter().filter(|entry| selection.wants(entry));
    let table = |entry: Entry| {
        let end = entry.offset.checked_add(entry.length).filter(|end| *end <= blocks.len() as u64);
        let end = end.ok_or_else(|| "it ends within its blocks".to_owned())?;
        let block = blocks.slice(entry.offset as usize..end as usize);
        decode_table(entry, &block)
    };
    wanted.map(|entry| table(entry).map_err(refused)).collect()
}

/// Reads the wanted tables of a file of `size` bytes in a store, without fetching the others.
///
/// # Errors
/// `Storage` where the store fails; `Restore` where the file is damaged or of another version.
pub async fn read(
    store: &dyn ObjectStore,
    path: &Path,
    size: u64,
    selection: &Selection,
) -> Result<Vec<(OperatorId, StateTable)>> {
    let refused = |reason: String| Error::Restore { what: format!("state file {path}"), reason };
    let failed = |error| Error::storage(format!("read state file {path}"), error);
    let mut front = store.get_range(path, 0..size.min(FIRST_BYTES)).await.map_err(failed)?;
    let header = index::decode_header(&front).map_err(refused)?;
    let base = (HEADER_BYTES + header.index_bytes) as u64;
    if base > size {
        return Err(refused("it ends within its index".to_owned()));
    }
    if base > front.len() as u64 {
        front = store.get_range(path, 0..base).await.map_err(failed)?;
    }
    let entries = index::decode(&header, &front[HEADER_BYTES..]).map_err(refused)?;
    let wanted: Vec<Entry> = entries.into_iter().filter(|entry| selection.wants(entry)).collect();
    let mut ranges = Vec::with_capacity(wanted.len());
    for entry in &wanted {
        let start = base.checked_add(entry.offset);
        let end = start.and_then(|start| start.checked_add(entry.length));
        match start.zip(end).filter(|(_, end)| *end <= size) {
            Some((start, end)) => ranges.push(start..end),
            None => return Err(refused("it ends within its blocks".to_owned())),
        }
    }
    let blocks = store.get_ranges(path, &ranges).await.map_err(failed)?;
    let tables = wanted.into_iter().zip(&blocks);
    tables.map(|(entry, block)| decode_table(entry, block).map_err(refused)).collect()
}

fn decode_table(entry: Entry, block: &[u8]) -> Result<(OperatorId, StateTable), String> {
    if block.len() as u64 != entry.length || crc32c::crc32c(block) != entry.checksum {
        return Err(format!("a block of table {} is damaged", entry.table));
    }
    let rows = decode_rows(block)
        .map_err(|error| format!("a block of table {} is unreadable: {error}", entry.table))?;
    let key_groups: Option<Vec<u16>> = entry.groups.map(|groups| {
        let each = |(group, rows): (u16, u32)| std::iter::repeat_n(group, rows as usize);
        groups.into_iter().flat_map(each).collect()
    });
    if key_groups.as_ref().is_some_and(|groups| groups.len() != rows.num_rows()) {
        return Err(format!("a block of table {} has other rows than its index says", entry.table));
    }
    let (name, version, kind) = (entry.table, entry.version, entry.kind);
    Ok((entry.operator, StateTable { name, version, kind, rows, key_groups }))
}

fn decode_rows(block: &[u8]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let reader = StreamReader::try_new(Cursor::new(block), None)?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    match batches.as_slice() {
        [one] => Ok(one.clone()),
        several => concat_batches(&schema, several),
    }
}
