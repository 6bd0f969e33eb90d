//! Batches of rows, and of changes to rows.

use arrow::array::{Array, ArrayRef, BooleanArray, Int8Array, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take, take_record_batch};
use arrow::datatypes::SchemaRef;

use crate::held::row_bytes;
use crate::{Error, Result};

/// The number of rows that batches are gathered to where rows get scattered.
pub const TARGET_BATCH_ROWS: usize = 8192;
/// The size that readers end a batch at where its rows are wide, in bytes.
pub(crate) const TARGET_BATCH_BYTES: usize = 8 << 20;

/// Rows of a stream, each with a weight: +1 inserts the row, -1 takes one equal row back.
///
/// A batch without weights is all insertions and pays nothing for them. Weights are -1 or +1,
/// never null and as many as there are rows. The kinds +I, -U, +U and -D of Flink's changelogs
/// are presentation, restored at sinks and clients.
#[derive(Debug, Clone)]
pub struct Batch {
    rows: RecordBatch,
    weights: Option<Int8Array>,
}

impl Batch {
    /// Makes a batch of insertions.
    #[must_use]
    pub fn insert(rows: RecordBatch) -> Self {
        Self { rows, weights: None }
    }

    /// Makes a batch of changes.
    ///
    /// # Errors
    /// `Internal` unless there is one weight for every row.
    pub fn changes(rows: RecordBatch, weights: Int8Array) -> Result<Self> {
        if rows.num_rows() != weights.len() || weights.null_count() > 0 {
            return Err(Error::Internal(format!(
                "{} weights for {} rows",
                weights.len() - weights.null_count(),
                rows.num_rows()
            )));
        }
        Ok(Self { rows, weights: Some(weights) })
    }

    /// Puts other rows under the same weights.
    ///
    /// # Errors
    /// `Internal` unless the number of rows is the same.
    pub fn with_rows(&self, rows: RecordBatch) -> Result<Self> {
        match &self.weights {
            None => Ok(Self::insert(rows)),
            Some(weights) => Self::changes(rows, weights.clone()),
        }
    }

    /// Returns the rows.
    #[must_use]
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// Returns the weights, or `None` where all rows are insertions.
    #[must_use]
    pub fn weights(&self) -> Option<&Int8Array> {
        self.weights.as_ref()
    }

    /// Returns rows and weights.
    #[must_use]
    pub fn into_parts(self) -> (RecordBatch, Option<Int8Array>) {
        (self.rows, self.weights)
    }

    /// Returns column `index`.
    #[must_use]
    pub fn column(&self, index: usize) -> &ArrayRef {
        self.rows.column(index)
    }

    /// Returns the rows' schema.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn num_rows(&self) -> usize {
        self.rows.num_rows()
    }

    /// Tells whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.num_rows() == 0
    }

    /// Returns an estimate of the memory that its rows take, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        row_bytes(&self.rows) + self.weights.as_ref().map_or(0, Array::len)
    }

    /// Returns rows `offset .. offset + length` without copying.
    #[must_use]
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        Self {
            rows: self.rows.slice(offset, length),
            weights: self.weights.as_ref().map(|weights| weights.slice(offset, length)),
        }
    }

    /// Keeps the rows for which `mask` is true; null counts as false.
    ///
    /// # Errors
    /// `Compute` where Arrow's kernel fails.
    pub fn filter(&self, mask: &BooleanArray) -> Result<Self> {
        let failed = |error| Error::compute("filter a batch", error);
        let rows = filter_record_batch(&self.rows, mask).map_err(failed)?;
        let weights = match &self.weights {
            None => None,
            Some(weights) => {
                let kept = arrow::compute::filter(weights, mask).map_err(failed)?;
                Some(Int8Array::from(kept.to_data()))
            }
        };
        Ok(Self { rows, weights })
    }

    /// Gathers the rows at `indices`, in their order.
    ///
    /// # Errors
    /// `Compute` where Arrow's kernel fails.
    pub fn take(&self, indices: &UInt32Array) -> Result<Self> {
        let failed = |error| Error::compute("gather rows of a batch", error);
        let rows = take_record_batch(&self.rows, indices).map_err(failed)?;
        let weights = match &self.weights {
            None => None,
            Some(weights) => {
                let taken = take(weights, indices, None).map_err(failed)?;
                Some(Int8Array::from(taken.to_data()))
            }
        };
        Ok(Self { rows, weights })
    }
}
