//! Writes state files.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use bytes::Bytes;

use super::index::{self, Entry};
use crate::state::StateTable;
use crate::{Error, OperatorId, Result, views};

/// Rows of a block at most.
const BLOCK_ROWS: usize = 64 * 1024;

/// Writes tables into one file. Tables of the same name, from several subtasks, stay apart.
///
/// # Errors
/// `Compute` where Arrow cannot encode the rows; `Internal` where a table has not one key group
/// for every row or a name of more than 64 KiB.
pub fn encode<'a>(tables: impl IntoIterator<Item = (OperatorId, &'a StateTable)>) -> Result<Bytes> {
    let mut entries = Vec::new();
    let mut blocks = Vec::new();
    for (operator, table) in tables {
        write_table(operator, table, &mut entries, &mut blocks)?;
    }
    let mut file = index::encode(&entries);
    file.append(&mut blocks);
    Ok(file.into())
}

fn write_table(
    operator: OperatorId,
    table: &StateTable,
    entries: &mut Vec<Entry>,
    blocks: &mut Vec<u8>,
) -> Result<()> {
    if u16::try_from(table.name.len()).is_err() {
        return Err(Error::Internal(format!("a state table's name of {} bytes", table.name.len())));
    }
    let (rows, groups) = ordered(table)?;
    for start in (0..rows.num_rows()).step_by(BLOCK_ROWS) {
        let length = BLOCK_ROWS.min(rows.num_rows() - start);
        let block = encode_block(&rows.slice(start, length))?;
        entries.push(Entry {
            operator,
            table: table.name.clone(),
            version: table.version,
            kind: table.kind,
            groups: groups.as_ref().map(|groups| runs(&groups[start..start + length])),
            offset: blocks.len() as u64,
            length: block.len() as u64,
            checksum: crc32c::crc32c(&block),
        });
        blocks.extend(block);
    }
    Ok(())
}

/// Brings rows into the order of their key groups.
fn ordered(table: &StateTable) -> Result<(RecordBatch, Option<Vec<u16>>)> {
    let Some(groups) = &table.key_groups else { return Ok((table.rows.clone(), None)) };
    if groups.len() != table.rows.num_rows() {
        return Err(Error::Internal(format!(
            "{} key groups for {} rows of state table {}",
            groups.len(),
            table.rows.num_rows(),
            table.name
        )));
    }
    if groups.is_sorted() {
        return Ok((table.rows.clone(), Some(groups.clone())));
    }
    let mut order: Vec<u32> = (0..groups.len() as u32).collect();
    order.sort_by_key(|row| groups[*row as usize]);
    let groups = order.iter().map(|row| groups[*row as usize]).collect();
    let rows = take_record_batch(&table.rows, &UInt32Array::from(order))
        .map_err(|error| Error::compute("order state by key group", error))?;
    Ok((rows, Some(groups)))
}

fn runs(groups: &[u16]) -> Vec<(u16, u32)> {
    groups.chunk_by(PartialEq::eq).map(|run| (run[0], run.len() as u32)).collect()
}

fn encode_block(rows: &RecordBatch) -> Result<Vec<u8>> {
    let rows = views::compact(rows);
    let mut block = Vec::new();
    IpcWriteOptions::default()
        .try_with_compression(Some(CompressionType::LZ4_FRAME))
        .and_then(|options| StreamWriter::try_new_with_options(&mut block, &rows.schema(), options))
        .and_then(|mut writer| {
            writer.write(&rows)?;
            writer.finish()
        })
        .map_err(|error| Error::compute("encode state", error))?;
    Ok(block)
}
