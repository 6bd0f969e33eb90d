//! Keeps string views from holding on to more than they show.
//!
//! A Utf8View or BinaryView column points into buffers that it shares with the batch it was taken
//! from. Held for long or sent away, a few rows would keep or carry all of them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, GenericByteViewArray, ListArray, RecordBatch, StructArray,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::{ByteViewType, DataType};

/// Buffers may be this much larger than what is shown before they are copied, in bytes.
const SLACK_BYTES: usize = 4096;

/// Copies the strings of view columns, nested ones too, whose buffers are more than twice as
/// large as what the rows show. Other columns are shared.
#[must_use]
pub fn compact(rows: &RecordBatch) -> RecordBatch {
    if !rows.columns().iter().any(|column| holds_views(column.data_type())) {
        return rows.clone();
    }
    let columns = rows.columns().iter().map(compact_array).collect();
    // Neither types nor lengths have changed, so the columns still fit their schema.
    RecordBatch::try_new(rows.schema(), columns).unwrap_or_else(|_| rows.clone())
}

fn holds_views(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8View | DataType::BinaryView => true,
        DataType::Struct(fields) => fields.iter().any(|field| holds_views(field.data_type())),
        DataType::List(field) => holds_views(field.data_type()),
        _ => false,
    }
}

fn compact_array(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        data_type if !holds_views(data_type) => Arc::clone(array),
        DataType::Utf8View => compact_view(array, array.as_string_view()),
        DataType::BinaryView => compact_view(array, array.as_binary_view()),
        DataType::Struct(fields) => {
            let parts = array.as_struct();
            let columns = parts.columns().iter().map(compact_array).collect();
            Arc::new(StructArray::new(fields.clone(), columns, parts.nulls().cloned()))
        }
        DataType::List(field) => {
            let list = array.as_list::<i32>();
            // A slice of lists has the values of all of them.
            let (first, last) = (list.offsets()[0] as usize, list.offsets()[list.len()] as usize);
            let values = compact_array(&list.values().slice(first, last - first));
            let offsets = OffsetBuffer::from_lengths(list.offsets().lengths());
            Arc::new(ListArray::new(Arc::clone(field), offsets, values, list.nulls().cloned()))
        }
        _ => Arc::clone(array),
    }
}

fn compact_view<T: ByteViewType>(array: &ArrayRef, view: &GenericByteViewArray<T>) -> ArrayRef {
    let held: usize = view.data_buffers().iter().map(Buffer::len).sum();
    if held <= SLACK_BYTES || held <= 2 * view.total_buffer_bytes_used() {
        return Arc::clone(array);
    }
    Arc::new(view.gc())
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;

    use super::*;

    #[test]
    fn a_few_rows_of_a_large_batch_hold_only_their_own_strings() {
        let text = |row: usize| Some(format!("a string too long for a view, row {row}"));
        let strings: ArrayRef = Arc::new((0..10_000).map(text).collect::<StringViewArray>());
        let parts: ArrayRef = Arc::new(StructArray::from(vec![(
            Arc::new(arrow::datatypes::Field::new("part", DataType::Utf8View, true)),
            Arc::clone(&strings),
        )]));
        let all = RecordBatch::try_from_iter([("text", strings), ("parts", parts)]).unwrap();
        let few = all.slice(5_000, 10);
        assert_eq!(compact(&few), few);
        assert!(few.get_array_memory_size() > 400_000);
        assert!(compact(&few).get_array_memory_size() < 10_000);
        let same = compact(&all);
        assert_eq!(same.get_array_memory_size(), all.get_array_memory_size());
    }
}
