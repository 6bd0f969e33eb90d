//! Writes state files.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use bytes::Bytes;

use super::index::{self, Entry};
use crate::held::row_bytes;
use crate::state::StateTable;
use crate::{Error, OperatorId, Result, views};

/// Rows of a block at most.
const BLOCK_ROWS: usize = 64 * 1024;
/// What the rows of a block may take, in bytes, unless one does alone: several copies of them are
/// made on their way into the file.
const BLOCK_BYTES: usize = 4 << 20;

/// Writes tables into one file, which comes in pieces: putting it together would take it twice.
/// Tables of the same name, from several subtasks, stay apart. `account` learns of the bytes of
/// each piece as it comes: the file may be as large as all state.
///
/// # Errors
/// `Compute` where Arrow cannot encode the rows; `Internal` where a table has not one key group
/// for every row or a name of more than 64 KiB; what `account` fails with.
pub fn encode<'a>(
    tables: impl IntoIterator<Item = (OperatorId, &'a StateTable)>,
    mut account: impl FnMut(usize) -> Result<()>,
) -> Result<Vec<Bytes>> {
    let mut entries = Vec::new();
    let mut blocks = Vec::new();
    for (operator, table) in tables {
        write_table(operator, table, &mut entries, &mut blocks, &mut account)?;
    }
    let mut file = vec![index::encode(&entries).into()];
    file.append(&mut blocks);
    Ok(file)
}

fn write_table(
    operator: OperatorId,
    table: &StateTable,
    entries: &mut Vec<Entry>,
    blocks: &mut Vec<Bytes>,
    account: &mut impl FnMut(usize) -> Result<()>,
) -> Result<()> {
    if u16::try_from(table.name.len()).is_err() {
        return Err(Error::Internal(format!("a state table's name of {} bytes", table.name.len())));
    }
    let order = order(table)?;
    let groups = table.key_groups.as_ref();
    let num_rows = table.rows.num_rows();
    // As if all rows were alike.
    let row_bytes = (row_bytes(&table.rows) / num_rows.max(1)).max(1);
    let block_rows = (BLOCK_BYTES / row_bytes).clamp(1, BLOCK_ROWS);
    for start in (0..num_rows).step_by(block_rows) {
        let places = start..num_rows.min(start + block_rows);
        let rows = match &order {
            None => table.rows.slice(start, places.len()),
            // Block by block, so that there is no second copy of the whole.
            Some(order) => take_rows(&table.rows, &order[places.clone()])?,
        };
        let row = |place: usize| order.as_ref().map_or(place, |order| order[place] as usize);
        let groups = groups.map(|groups| runs(places.map(|place| groups[row(place)])));
        let block = encode_block(&rows)?;
        account(block.len())?;
        entries.push(Entry {
            operator,
            table: table.name.clone(),
            version: table.version,
            kind: table.kind,
            groups,
            offset: blocks.iter().map(Bytes::len).sum::<usize>() as u64,
            length: block.len() as u64,
            checksum: crc32c::crc32c(&block),
        });
        blocks.push(block);
    }
    Ok(())
}

/// Returns the order of rows by their key groups, `None` where they are in it.
fn order(table: &StateTable) -> Result<Option<Vec<u32>>> {
    let Some(groups) = &table.key_groups else { return Ok(None) };
    if groups.len() != table.rows.num_rows() {
        return Err(Error::Internal(format!(
            "{} key groups for {} rows of state table {}",
            groups.len(),
            table.rows.num_rows(),
            table.name
        )));
    }
    if groups.is_sorted() {
        return Ok(None);
    }
    let mut order: Vec<u32> = (0..groups.len() as u32).collect();
    order.sort_by_key(|row| groups[*row as usize]);
    Ok(Some(order))
}

fn take_rows(rows: &RecordBatch, places: &[u32]) -> Result<RecordBatch> {
    take_record_batch(rows, &UInt32Array::from(places.to_vec()))
        .map_err(|error| Error::compute("order state by key group", error))
}

fn runs(groups: impl Iterator<Item = u16>) -> Vec<(u16, u32)> {
    let mut runs: Vec<(u16, u32)> = Vec::new();
    for group in groups {
        match runs.last_mut() {
            Some((last, count)) if *last == group => *count += 1,
            _ => runs.push((group, 1)),
        }
    }
    runs
}

fn encode_block(rows: &RecordBatch) -> Result<Bytes> {
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
    // The buffer has grown by doubling.
    block.shrink_to_fit();
    Ok(block.into())
}
