//! The kinds of changes as people see them: `+I`, `-U`, `+U` and `-D`.

use arrow::array::{Array, DynComparator, Int8Array, RecordBatch, make_comparator};
use arrow::compute::SortOptions;

use crate::{Error, Result};

/// What a change does to a row, by Flink's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// `+I`: the row is new.
    Insert,
    /// `-U`: the row is about to be replaced by the one that follows.
    UpdateBefore,
    /// `+U`: the row replaces the one before.
    UpdateAfter,
    /// `-D`: the row is gone.
    Delete,
}

impl RowKind {
    /// Returns the two characters that stand for it.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Insert => "+I",
            Self::UpdateBefore => "-U",
            Self::UpdateAfter => "+U",
            Self::Delete => "-D",
        }
    }
}

/// Returns the kind of each row, given its weight.
///
/// A row that is taken back right before another is inserted is updated by it, if both have the
/// same values in the columns `key`, the upsert key of the stream; where none is known, in any
/// case. Kinds are for people: no result depends on them.
///
/// # Errors
/// `Compute` where a column of the key cannot be compared.
pub fn row_kinds(
    rows: &RecordBatch,
    weights: Option<&Int8Array>,
    key: Option<&[usize]>,
) -> Result<Vec<RowKind>> {
    let count = rows.num_rows();
    let Some(weights) = weights else { return Ok(vec![RowKind::Insert; count]) };
    let same = comparators(rows, key.unwrap_or_default())?;
    let mut kinds = Vec::with_capacity(count);
    while kinds.len() < count {
        let (row, next) = (kinds.len(), kinds.len() + 1);
        let taken_back = weights.value(row) < 0;
        let replaced = taken_back
            && next < count
            && weights.value(next) > 0
            && same.iter().all(|compare| compare(row, next).is_eq());
        match (replaced, taken_back) {
            (true, _) => kinds.extend([RowKind::UpdateBefore, RowKind::UpdateAfter]),
            (false, true) => kinds.push(RowKind::Delete),
            (false, false) => kinds.push(RowKind::Insert),
        }
    }
    Ok(kinds)
}

fn comparators(rows: &RecordBatch, key: &[usize]) -> Result<Vec<DynComparator>> {
    let compare = |index: &usize| {
        let column: &dyn Array = rows.column(*index);
        make_comparator(column, column, SortOptions::default())
    };
    let compare = key.iter().map(compare).collect::<Result<_, _>>();
    compare.map_err(|error| Error::compute("compare the keys of changes", error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn check(keys: &[Option<i64>], weights: &[i8], key: Option<&[usize]>, expected: &str) {
        let keys: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
        let rows = RecordBatch::try_from_iter([("k", keys)]).unwrap();
        let kinds = row_kinds(&rows, Some(&Int8Array::from(weights.to_vec())), key).unwrap();
        let symbols = kinds.into_iter().map(RowKind::symbol).collect::<Vec<_>>();
        assert_eq!(symbols.join(" "), expected);
    }

    #[test]
    fn a_row_that_is_taken_back_is_updated_by_the_next_of_its_key() {
        let keys = [Some(1), Some(1), Some(1), Some(2), None, None, Some(2)];
        let weights = [1, -1, 1, -1, -1, 1, -1];
        check(&keys, &weights, Some(&[0]), "+I -U +U -D -U +U -D");
    }

    #[test]
    fn a_row_of_another_key_is_no_update() {
        check(&[Some(1), Some(2)], &[-1, 1], Some(&[0]), "-D +I");
        check(&[Some(1), Some(2)], &[-1, 1], Some(&[]), "-U +U");
        check(&[Some(1), Some(2)], &[-1, 1], None, "-U +U");
    }
}
