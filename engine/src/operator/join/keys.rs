//! The keys and times of the rows of a join.

use arrow::array::make_comparator;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::kernels::cmp;
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Int64Type, TimeUnit};

use crate::hash::hash_columns;
use crate::time::TimestampMs;
use crate::{Error, Result};

/// Computes the hash of each row's keys. Without keys all rows have the same.
pub(in crate::operator) fn hash_keys(rows: &RecordBatch, keys: &[usize]) -> Result<Vec<u64>> {
    if keys.is_empty() {
        return Ok(vec![0; rows.num_rows()]);
    }
    let columns: Vec<ArrayRef> = keys.iter().map(|key| rows.column(*key).clone()).collect();
    let mut hashes = Vec::new();
    hash_columns(&columns, &mut hashes)?;
    Ok(hashes)
}

/// Returns which rows have no null among these columns; `None` where none has.
pub(in crate::operator) fn without_nulls(
    rows: &RecordBatch,
    columns: impl IntoIterator<Item = usize>,
) -> Option<NullBuffer> {
    columns.into_iter().fold(None, |nulls, column| {
        let column = rows.column(column).logical_nulls().filter(|nulls| nulls.null_count() > 0);
        NullBuffer::union(nulls.as_ref(), column.as_ref())
    })
}

/// Divides rows into those for which the mask is true and the others.
pub(in crate::operator) fn divide(
    rows: &RecordBatch,
    mask: &BooleanArray,
) -> Result<(RecordBatch, RecordBatch)> {
    let others = BooleanArray::new(!mask.values(), None);
    let select = |mask: &BooleanArray| {
        filter_record_batch(rows, mask)
            .map_err(|error| Error::compute("divide the rows of a join", error))
    };
    Ok((select(mask)?, select(&others)?))
}

/// Compares two columns of keys that hold no null, row by row.
pub(in crate::operator) fn equal(left: &ArrayRef, right: &ArrayRef) -> Result<BooleanArray> {
    let failed = |error| Error::compute("compare the keys of a join", error);
    if left.data_type().is_nested() {
        let compare = make_comparator(left, right, arrow::compute::SortOptions::default());
        let compare = compare.map_err(failed)?;
        let equal = (0..left.len()).map(|row| Some(compare(row, row).is_eq()));
        return Ok(equal.collect());
    }
    if left.data_type() == right.data_type() {
        return cmp::eq(left, right).map_err(failed);
    }
    let right = cast(right, left.data_type()).map_err(failed)?;
    cmp::eq(left, &right).map_err(failed)
}

/// Takes out the rows that are late by their number and time; returns the others and the number
/// taken out. A null time is never late.
pub(in crate::operator) fn without_late(
    rows: &RecordBatch,
    time: TimeColumn,
    is_late: impl Fn(usize, i64) -> bool,
) -> Result<(RecordBatch, u64)> {
    let times = time.values(rows)?;
    if !times.iter().enumerate().any(|(row, time)| is_late(row, *time)) {
        return Ok((rows.clone(), 0));
    }
    let nulls = rows.column(time.column).logical_nulls();
    let is_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let on_time: BooleanArray = times
        .iter()
        .enumerate()
        .map(|(row, time)| Some(is_null(row) || !is_late(row, *time)))
        .collect();
    let late = on_time.false_count() as u64;
    let rows = filter_record_batch(rows, &on_time)
        .map_err(|error| Error::compute("drop the late rows of a join", error))?;
    Ok((rows, late))
}

/// A column of event times, read in a unit that both sides share.
#[derive(Debug, Clone, Copy)]
pub(in crate::operator) struct TimeColumn {
    column: usize,
    /// How many of the shared unit make one of the column's own.
    factor: i64,
}

/// The unit of time that both sides of a join share: the finer of theirs, at least milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::operator) struct SharedUnit {
    per_ms: i64,
}

impl SharedUnit {
    /// Converts a length or point in time.
    pub(in crate::operator) fn of_ms(self, ms: i64) -> i64 {
        ms.saturating_mul(self.per_ms)
    }

    /// Converts back, rounding up.
    pub(in crate::operator) fn to_ms(self, time: i64) -> TimestampMs {
        time.div_euclid(self.per_ms) + i64::from(time.rem_euclid(self.per_ms) > 0)
    }
}

/// Finds the unit in which the times of both sides are whole numbers.
///
/// # Errors
/// `Invalid` where a column is not a timestamp.
pub(in crate::operator) fn time_columns(
    left: (&DataType, usize),
    right: (&DataType, usize),
) -> Result<(SharedUnit, TimeColumn, TimeColumn)> {
    let (left_per_second, right_per_second) = (per_second(left.0)?, per_second(right.0)?);
    let shared = left_per_second.max(right_per_second).max(1000);
    let column = |column, per_second| TimeColumn { column, factor: shared / per_second };
    Ok((
        SharedUnit { per_ms: shared / 1000 },
        column(left.1, left_per_second),
        column(right.1, right_per_second),
    ))
}

fn per_second(data_type: &DataType) -> Result<i64> {
    match data_type {
        DataType::Timestamp(TimeUnit::Second, _) => Ok(1),
        DataType::Timestamp(TimeUnit::Millisecond, _) => Ok(1000),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Ok(1_000_000),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Ok(1_000_000_000),
        other => Err(Error::Invalid(format!("a join's time column is {other}, not a timestamp"))),
    }
}

impl TimeColumn {
    /// Returns the column's index.
    pub(in crate::operator) fn column(self) -> usize {
        self.column
    }

    /// Returns the time of each row; those of null times mean nothing.
    pub(in crate::operator) fn values(self, rows: &RecordBatch) -> Result<ScalarBuffer<i64>> {
        let values = cast(rows.column(self.column), &DataType::Int64)
            .map_err(|error| Error::compute("read the times of a join", error))?;
        let values = values.as_primitive::<Int64Type>().values().clone();
        if self.factor == 1 {
            return Ok(values);
        }
        Ok(values.iter().map(|value| value.saturating_mul(self.factor)).collect())
    }
}
