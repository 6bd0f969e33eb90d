//! Which rows of a batch are of one type, and columns that have values there and nulls elsewhere.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, TimestampMillisecondArray, UInt32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};

use super::{Kind, texts::Pool};

/// The events of one type in a batch.
#[derive(Debug)]
pub(super) struct Selection {
    /// The number of each event of the type.
    pub(super) numbers: Vec<u64>,
    /// The row of each; `None` where every row of the batch is of the type.
    rows: Option<Vec<u32>>,
    /// Which rows are of the type; `None` where all are.
    nulls: Option<NullBuffer>,
    len: usize,
}

impl Selection {
    /// Finds the events of a type among those of a batch.
    pub(super) fn of(kind: Kind, numbers: &[u64]) -> Self {
        let len = numbers.len();
        let is_kind = BooleanBuffer::collect_bool(len, |row| Kind::of(numbers[row]) == kind);
        let rows: Vec<u32> = is_kind.set_indices_u32().collect();
        if rows.len() == len {
            return Self { numbers: numbers.to_vec(), rows: None, nulls: None, len };
        }
        let of_kind = rows.iter().map(|row| numbers[*row as usize]).collect();
        Self { numbers: of_kind, rows: Some(rows), nulls: Some(NullBuffer::new(is_kind)), len }
    }

    /// Returns the number of rows of the batch.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns which rows are of the type; `None` where all are.
    pub(super) fn nulls(&self) -> Option<NullBuffer> {
        self.nulls.clone()
    }

    /// Tells for every row of the batch whether it is of the type.
    pub(super) fn is_of_type(&self, row: usize) -> bool {
        self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
    }

    fn spread<T: Copy + Default>(&self, value: impl Fn(u64) -> T) -> Vec<T> {
        match &self.rows {
            None => self.numbers.iter().map(|number| value(*number)).collect(),
            Some(rows) => {
                let mut values = vec![T::default(); self.len];
                for (row, number) in rows.iter().zip(&self.numbers) {
                    values[*row as usize] = value(*number);
                }
                values
            }
        }
    }

    /// Makes a BIGINT column.
    pub(super) fn integers(&self, value: impl Fn(u64) -> u64) -> ArrayRef {
        let values = self.spread(|number| value(number) as i64);
        Arc::new(Int64Array::new(values.into(), self.nulls()))
    }

    /// Makes a TIMESTAMP(3) column.
    pub(super) fn times(&self, value: impl Fn(u64) -> i64) -> ArrayRef {
        Arc::new(TimestampMillisecondArray::new(self.spread(value).into(), self.nulls()))
    }

    /// Makes a VARCHAR column of the pool's texts at the indices that `index` gives.
    pub(super) fn texts(&self, pool: &Pool, index: impl Fn(u64) -> u64) -> ArrayRef {
        let indices = self.spread(|number| index(number) as u32);
        pool.gather(&UInt32Array::new(indices.into(), self.nulls()))
    }
}
