//! Maps whose keys may repeat where they come from.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

/// Tells whether there are maps in any of a schema's columns.
pub(crate) fn has_maps(schema: &Schema) -> bool {
    fn is_map(data_type: &DataType) -> bool {
        match data_type {
            DataType::Map(..) => true,
            DataType::List(item) => is_map(item.data_type()),
            DataType::Struct(fields) => fields.iter().any(|field| is_map(field.data_type())),
            _ => false,
        }
    }
    schema.fields().iter().any(|field| is_map(field.data_type()))
}

/// Keeps the last entry of each key of a map, as other readers of JSON do (RFC 8259, section 4).
///
/// # Errors
/// Keys of a type that has no order.
pub(crate) fn last_entries(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    Ok(match column.data_type() {
        DataType::Struct(fields) => {
            let rows = column.as_struct();
            let columns = rows.columns().iter().map(last_entries).collect::<Result<_, _>>()?;
            Arc::new(StructArray::try_new(fields.clone(), columns, rows.nulls().cloned())?)
        }
        DataType::List(item) => {
            let list = column.as_list::<i32>();
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            let values = last_entries(list.values())?;
            Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, nulls)?)
        }
        DataType::Map(entries, sorted) => {
            let map = column.as_map();
            let (kept, offsets) = last_of_each_key(map)?;
            let DataType::Struct(fields) = entries.data_type() else { return Ok(column.clone()) };
            let (keys, values) = if kept.len() == map.keys().len() {
                (Arc::clone(map.keys()), Arc::clone(map.values()))
            } else {
                let kept = UInt32Array::from(kept);
                (take(map.keys(), &kept, None)?, take(map.values(), &kept, None)?)
            };
            let pairs = vec![keys, last_entries(&values)?];
            let pairs = StructArray::try_new(fields.clone(), pairs, None)?;
            let nulls = map.nulls().cloned();
            Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, *sorted)?)
        }
        _ => Arc::clone(column),
    })
}

/// Returns the indices of the entries that stay, and where each map's begin among them.
fn last_of_each_key(map: &MapArray) -> Result<(Vec<u32>, OffsetBuffer<i32>), ArrowError> {
    let mut kept = Vec::with_capacity(map.keys().len());
    let mut lengths = Vec::with_capacity(map.len());
    let converter = RowConverter::new(vec![SortField::new(map.keys().data_type().clone())])?;
    let keys = converter.convert_columns(std::slice::from_ref(map.keys()))?;
    let mut seen = HashSet::new();
    for ends in map.offsets().windows(2) {
        let from = kept.len();
        let entries = (ends[0] as u32..ends[1] as u32).rev();
        kept.extend(entries.filter(|entry| seen.insert(keys.row(*entry as usize))));
        kept[from..].reverse();
        lengths.push(kept.len() - from);
        seen.clear();
    }
    Ok((kept, OffsetBuffer::from_lengths(lengths)))
}
