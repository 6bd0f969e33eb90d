//! Cuts batches into pieces that fit into messages.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use rainstorm_engine::batch::TARGET_BATCH_ROWS;
use rainstorm_engine::views;

/// What a piece of several rows holds at most, in bytes: a small part of what a channel may have
/// under way.
const PIECE_BYTES: usize = 1 << 20;

/// Cuts rows into pieces of a bounded size in bytes. A row that is larger is a piece of its own;
/// no rows are one piece without rows.
pub(crate) fn pieces(rows: &RecordBatch) -> Vec<RecordBatch> {
    let mut found = Vec::with_capacity(1);
    cut(rows, &mut found);
    found
}

fn cut(rows: &RecordBatch, found: &mut Vec<RecordBatch>) {
    let count = rows.num_rows();
    let rows = if count > TARGET_BATCH_ROWS { rows.clone() } else { views::compact(rows) };
    let bytes: usize = rows.columns().iter().map(bytes_of).sum();
    let step = if count > TARGET_BATCH_ROWS {
        TARGET_BATCH_ROWS
    } else if bytes > PIECE_BYTES && count > 1 {
        // Rows differ in size, so that a part may still be too large.
        count.div_ceil((bytes / PIECE_BYTES + 1).min(count))
    } else {
        found.push(rows);
        return;
    };
    for start in (0..count).step_by(step) {
        cut(&rows.slice(start, step.min(count - start)), found);
    }
}

/// Returns how many bytes the values of an array take, without those of its buffers that it does
/// not show.
fn bytes_of(array: &ArrayRef) -> usize {
    let offsets = |offsets: &[i32]| match offsets {
        [first, .., last] => (*first as usize, (last - first) as usize),
        _ => (0, 0),
    };
    let positions = 4 * (array.len() + 1);
    match array.data_type() {
        DataType::Utf8View => array.as_string_view().total_buffer_bytes_used() + 16 * array.len(),
        DataType::BinaryView => array.as_binary_view().total_buffer_bytes_used() + 16 * array.len(),
        DataType::Utf8 => offsets(array.as_string::<i32>().value_offsets()).1 + positions,
        DataType::Binary => offsets(array.as_binary::<i32>().value_offsets()).1 + positions,
        DataType::Struct(_) => array.as_struct().columns().iter().map(bytes_of).sum(),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (start, length) = offsets(list.value_offsets());
            bytes_of(&list.values().slice(start, length)) + positions
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let (start, length) = offsets(map.value_offsets());
            let entries: ArrayRef = std::sync::Arc::new(map.entries().slice(start, length));
            bytes_of(&entries) + positions
        }
        // The dictionary goes with every piece, however small.
        DataType::Dictionary(key, _) => key.primitive_width().unwrap_or(4) * array.len(),
        other => other.primitive_width().map_or_else(
            || array.to_data().get_slice_memory_size().unwrap_or(0),
            |width| width * array.len(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ListArray, StringArray, StringViewArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::compute::concat_batches;
    use arrow::datatypes::Field;

    use super::*;

    fn batch(column: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter([("a", column)]).expect("one column")
    }

    fn texts(sizes: &[usize]) -> ArrayRef {
        Arc::new(sizes.iter().map(|size| Some("x".repeat(*size))).collect::<StringViewArray>())
    }

    /// Cuts rows, checks that nothing is lost and returns how many rows the pieces have.
    fn check(rows: &RecordBatch) -> Vec<usize> {
        let pieces = pieces(rows);
        assert_eq!(concat_batches(&rows.schema(), &pieces).expect("one schema"), *rows);
        for piece in &pieces {
            let bytes: usize = piece.columns().iter().map(bytes_of).sum();
            assert!(piece.num_rows() == 1 || bytes <= PIECE_BYTES + 1024, "{bytes} bytes");
        }
        pieces.iter().map(RecordBatch::num_rows).collect()
    }

    #[test]
    fn small_rows_are_cut_by_their_number() {
        assert_eq!(check(&batch(texts(&[3; 10]))), [10]);
        let count = check(&batch(texts(&vec![1; 2 * TARGET_BATCH_ROWS + 1])));
        assert_eq!(count, [TARGET_BATCH_ROWS, TARGET_BATCH_ROWS, 1]);
        assert_eq!(pieces(&batch(texts(&[]))).len(), 1);
    }

    #[test]
    fn large_rows_are_cut_by_their_bytes() {
        assert!(check(&batch(texts(&[8 << 10; 1000]))).len() >= 8);
        assert_eq!(check(&batch(texts(&[2 << 20, 2 << 20, 1]))).len(), 3);
        let mut skewed = vec![1; 4000];
        skewed[17] = 3 << 20;
        assert!(check(&batch(texts(&skewed))).contains(&1));
    }

    #[test]
    fn what_a_slice_does_not_show_does_not_count() {
        let values: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1000); 4000]));
        let field = Arc::new(Field::new_list_field(DataType::Utf8, true));
        let offsets = OffsetBuffer::from_lengths(vec![1; 4000]);
        let list: ArrayRef = Arc::new(ListArray::new(field, offsets, values, None));
        let pieces = check(&batch(list));
        assert!(pieces.len() < 10, "a slice of a list is as large as its own values: {pieces:?}");
    }
}
