//! How much memory rows take and keep alive.
//!
//! Arrow's own measure counts a buffer once for each array that shares it. The columns of a batch
//! that came from another process are all slices of one message, and the batches into which a
//! large one was cut share its buffers: both were counted many times over.

use std::collections::HashMap;

use arrow::array::{Array, ArrayData, AsArray, RecordBatch, downcast_primitive_array};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;

/// Returns the bytes that a batch keeps alive: each allocation that it uses counts once and whole.
#[must_use]
pub fn held_bytes(rows: &RecordBatch) -> usize {
    let mut held = Held::default();
    rows.columns().iter().for_each(|column| held.add_array(column.as_ref()));
    held.bytes
}

/// Returns the bytes that a batch's own rows take, whatever they are a slice of: the measure for
/// rows on their way, which come slice by slice.
#[must_use]
pub fn row_bytes(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|column| array_bytes(column.as_ref())).sum()
}

/// Returns the bytes that nobody but these batches keeps alive: what an operator has as well is on
/// its own books.
pub(crate) fn own_bytes<'a>(batches: impl IntoIterator<Item = &'a RecordBatch>) -> usize {
    let mut held = Held::default();
    let columns = batches.into_iter().flat_map(RecordBatch::columns);
    columns.for_each(|column| held.add_array(column.as_ref()));
    let own = |seen: &&Seen| seen.references <= seen.references_here;
    held.seen.values().filter(own).map(|seen| seen.bytes).sum()
}

/// Returns what an allocation of so many bytes takes: allocators hand out multiples of 16.
pub(crate) const fn allocated_bytes(bytes: usize) -> usize {
    bytes.next_multiple_of(16)
}

/// Returns what a hash table takes that has room for `capacity` entries of `entry_bytes`: one slot
/// in eight is kept free, and each has a byte of control.
pub(crate) const fn hash_table_bytes(capacity: usize, entry_bytes: usize) -> usize {
    capacity / 7 * 8 * (entry_bytes + 1)
}

#[derive(Default)]
struct Held {
    seen: HashMap<usize, Seen>,
    bytes: usize,
}

/// An allocation.
struct Seen {
    bytes: usize,
    /// How many buffers refer to it, and how many of them were seen.
    references: usize,
    references_here: usize,
}

impl Held {
    /// Adds a column. Those of fixed width, which most are, have no need to be described first,
    /// for which all that they consist of would be copied.
    fn add_array(&mut self, array: &dyn Array) {
        downcast_primitive_array!(
            array => {
                self.add_buffer(array.values().inner(), 1);
                if let Some(nulls) = array.nulls() {
                    self.add_buffer(nulls.buffer(), 1);
                }
            },
            _ => self.add(&array.to_data()),
        );
    }

    fn add(&mut self, data: &ArrayData) {
        let nulls = data.nulls().map(NullBuffer::buffer);
        for buffer in data.buffers().iter().chain(nulls) {
            // The array refers to it, and its description.
            self.add_buffer(buffer, 2);
        }
        data.child_data().iter().for_each(|child| self.add(child));
    }

    fn add_buffer(&mut self, buffer: &Buffer, references: usize) {
        let bytes = buffer.capacity();
        let seen = self.seen.entry(buffer.data_ptr().addr().get()).or_insert_with(|| {
            self.bytes += bytes;
            Seen { bytes, references: 0, references_here: 0 }
        });
        seen.references = seen.references.max(buffer.strong_count());
        seen.references_here += references;
    }
}

/// Returns the bytes that an array's own values take; see [`row_bytes`].
pub(crate) fn array_bytes(array: &dyn Array) -> usize {
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
            nulls + entry_bytes(list.offsets(), list.values())
        }
        DataType::Map(..) => {
            let map = array.as_map();
            nulls + entry_bytes(map.offsets(), map.entries())
        }
        fixed if let Some(width) = fixed.primitive_width() => nulls + array.len() * width,
        _ => {
            let data = array.to_data();
            data.get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size())
        }
    }
}

/// Returns the bytes of the values between the first and the last of these offsets, and of the
/// offsets.
fn entry_bytes(offsets: &OffsetBuffer<i32>, values: &dyn Array) -> usize {
    let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
    size_of_val(&**offsets) + array_bytes(values.slice(first, last - first).as_ref())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, Decimal128Array, Int32Array, Int64Array, Int64Builder, MapBuilder,
        StringViewArray,
    };

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
    fn what_somebody_else_keeps_is_not_own() {
        let all = rows([numbers(1000)]);
        assert!((8000..9000).contains(&own_bytes([&all])), "{}", own_bytes([&all]));
        let part = all.slice(0, 10);
        assert_eq!(own_bytes([&part]), 0);
        assert_eq!(own_bytes([&part, &all]), held_bytes(&all));
        let text: ArrayRef = Arc::new(StringViewArray::from_iter_values(
            (0..1000).map(|n| format!("a text that is too long for a view: {n}")),
        ));
        let text = rows([text]);
        let copy = arrow::compute::concat_batches(&text.schema(), [&text, &text]).unwrap();
        let views = 2000 * size_of::<u128>();
        let own = own_bytes([&copy]);
        assert!((views..views + 2000).contains(&own), "{own} of {}", held_bytes(&copy));
        drop(text);
        assert!(own_bytes([&copy]) > views + 36_000);
    }

    #[test]
    fn a_slice_of_maps_takes_what_its_own_entries_take() {
        let mut maps = MapBuilder::new(None, Int64Builder::new(), Int64Builder::new());
        for row in 0..1000 {
            for key in 0..10 {
                maps.keys().append_value(key);
                maps.values().append_value(row);
            }
            maps.append(true).expect("as many values as keys");
        }
        let all: ArrayRef = Arc::new(maps.finish());
        let entry = 2 * size_of::<i64>();
        let offsets = |rows: usize| (rows + 1) * size_of::<i32>();
        assert_eq!(row_bytes(&rows([Arc::clone(&all)])), 10_000 * entry + offsets(1000));
        assert_eq!(row_bytes(&rows([all.slice(500, 10)])), 100 * entry + offsets(10));
    }

    #[test]
    fn values_of_fixed_width_take_what_arrow_says() {
        let some = (0..100).map(|n| (n % 3 > 0).then_some(n));
        let columns: [ArrayRef; 3] = [
            numbers(100),
            Arc::new(some.collect::<Int32Array>()),
            Arc::new(Decimal128Array::from_value(1, 100)),
        ];
        for column in columns.iter().map(|column| column.slice(3, 50)) {
            let expected = column.to_data().get_slice_memory_size().expect("is known");
            assert_eq!(array_bytes(column.as_ref()), expected, "{}", column.data_type());
            let mut whole = Held::default();
            whole.add(&column.to_data());
            assert_eq!(held_bytes(&rows([column])), whole.bytes);
        }
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
