//! How much memory rows take and keep alive.
//!
//! Arrow's own measure counts a buffer once for each array that shares it. The columns of a batch
//! that came from another process are all slices of one message, and the batches into which a
//! large one was cut share its buffers: both were counted many times over.

use std::collections::HashSet;

use arrow::array::{Array, ArrayData, AsArray, RecordBatch};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::DataType;

/// Returns the bytes that a batch keeps alive: each allocation that it uses counts once and whole.
#[must_use]
pub fn held_bytes(rows: &RecordBatch) -> usize {
    let mut held = Held::default();
    rows.columns().iter().for_each(|column| held.add(&column.to_data()));
    held.bytes
}

/// Returns the bytes that a batch's own rows take, whatever they are a slice of: the measure for
/// rows on their way, which come slice by slice.
#[must_use]
pub fn row_bytes(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|column| array_bytes(column.as_ref())).sum()
}

#[derive(Default)]
struct Held {
    seen: HashSet<usize>,
    bytes: usize,
}

impl Held {
    fn add(&mut self, data: &ArrayData) {
        let nulls = data.nulls().map(NullBuffer::buffer);
        for buffer in data.buffers().iter().chain(nulls) {
            self.add_buffer(buffer);
        }
        data.child_data().iter().for_each(|child| self.add(child));
    }

    fn add_buffer(&mut self, buffer: &Buffer) {
        if self.seen.insert(buffer.data_ptr().addr().get()) {
            self.bytes += buffer.capacity();
        }
    }
}

fn array_bytes(array: &dyn Array) -> usize {
    let views = |used: usize| array.len() * size_of::<u128>() + used;
    let nulls = array.nulls().map_or(0, |nulls| nulls.len().div_ceil(8));
    match array.data_type() {
        DataType::Utf8View => nulls + views(array.as_string_view().total_buffer_bytes_used()),
        DataType::BinaryView => nulls + views(array.as_binary_view().total_buffer_bytes_used()),
        DataType::Struct(_) => {
            let columns = array.as_struct().columns();
            nulls + columns.iter().map(|column| array_bytes(column.as_ref())).sum::<usize>()
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (first, last) = (list.offsets().first(), list.offsets().last());
            let values = match (first, last) {
                (Some(first), Some(last)) => {
                    list.values().slice(*first as usize, (*last - *first) as usize)
                }
                _ => list.values().slice(0, 0),
            };
            nulls + size_of_val(&**list.offsets()) + array_bytes(values.as_ref())
        }
        _ => {
            let data = array.to_data();
            data.get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringViewArray};

    use super::*;

    fn rows(columns: impl IntoIterator<Item = ArrayRef>) -> RecordBatch {
        let columns = columns.into_iter().enumerate();
        let columns = columns.map(|(index, column)| (format!("c{index}"), column));
        RecordBatch::try_from_iter(columns).expect("columns of one length")
    }

    fn numbers(count: i64) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(0..count))
    }

    #[test]
    fn a_buffer_counts_once_however_many_columns_share_it() {
        let all = numbers(10_000);
        let one = held_bytes(&rows([Arc::clone(&all)]));
        assert!((80_000..90_000).contains(&one), "{one}");
        let parts = (0..10).map(|part| all.slice(part * 1000, 1000));
        assert_eq!(held_bytes(&rows(parts)), one);
    }

    #[test]
    fn slices_take_together_what_the_whole_takes() {
        let texts = (0..10_000).map(|n| format!("a text that is too long for a view: {n}"));
        let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts));
        let all = rows([numbers(10_000), texts]);
        let whole = row_bytes(&all);
        let slices: usize = (0..10).map(|part| row_bytes(&all.slice(part * 1000, 1000))).sum();
        assert!(whole > 10_000 * (8 + 16 + 36), "{whole}");
        assert_eq!(slices, whole);
        assert!(held_bytes(&all.slice(0, 10)) > whole, "what is kept alive is all of it");
    }
}
