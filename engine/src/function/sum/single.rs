//! The sum of one group, also of one that slides over its rows.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, internal_datafusion_err};
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;

use super::total::{SumResult, Total};

/// Adds up values `T` in a total `W`.
pub(super) struct SingleSum<T, W: ArrowPrimitiveType> {
    sum: W::Native,
    count: u64,
    result: SumResult,
    values: std::marker::PhantomData<fn() -> T>,
}

impl<T, W: Total> SingleSum<T, W> {
    pub(super) fn new(result: SumResult) -> Self {
        Self { sum: W::Native::ZERO, count: 0, result, values: std::marker::PhantomData }
    }
}

/// Returns the values of a column that are not null.
fn present<T: ArrowPrimitiveType>(values: &[ArrayRef]) -> Result<impl Iterator<Item = T::Native>> {
    let column = values.first().and_then(|values| values.as_primitive_opt::<T>());
    let column = column
        .ok_or_else(|| internal_datafusion_err!("a sum of other values than {}", T::DATA_TYPE))?;
    Ok(column.iter().flatten())
}

/// Returns a sum as a column of one row, null where nothing was added.
fn total<W: Total>(sum: W::Native, is_any: bool, result: &SumResult) -> PrimitiveArray<W> {
    PrimitiveArray::<W>::from_iter([is_any.then_some(sum)]).with_data_type(result.held_in::<W>())
}

impl<T: std::fmt::Debug, W: Total> std::fmt::Debug for SingleSum<T, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SingleSum")
            .field("sum", &self.sum)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl<T, W> Accumulator for SingleSum<T, W>
where
    T: ArrowPrimitiveType<Native: Into<W::Native>> + std::fmt::Debug,
    W: Total,
{
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in present::<T>(values)? {
            self.sum = self.sum.add_wrapping(value.into());
            self.count += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in present::<T>(values)? {
            self.sum = self.sum.sub_wrapping(value.into());
            self.count -= 1;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = self.result.column(&total::<W>(self.sum, self.count > 0, &self.result))?;
        ScalarValue::try_from_array(&sum, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = total::<W>(self.sum, self.count > 0, &self.result);
        Ok(vec![ScalarValue::try_from_array(&sum, 0)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for sum in present::<W>(states)? {
            self.sum = self.sum.add_wrapping(sum);
            self.count += 1;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// Adds up values `T` in a total `W`, each value once however often it comes.
pub(super) struct DistinctSum<T: ArrowPrimitiveType, W> {
    /// How often each value is there.
    counts: BTreeMap<T::Native, u64>,
    result: SumResult,
    kind: DataType,
    total: std::marker::PhantomData<fn() -> W>,
}

impl<T: ArrowPrimitiveType<Native: Ord>, W> DistinctSum<T, W> {
    pub(super) fn new(result: SumResult, kind: &DataType) -> Self {
        let kind = kind.clone();
        Self { counts: BTreeMap::new(), result, kind, total: std::marker::PhantomData }
    }
}

impl<T: ArrowPrimitiveType, W> std::fmt::Debug for DistinctSum<T, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DistinctSum").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl<T, W> Accumulator for DistinctSum<T, W>
where
    T: ArrowPrimitiveType<Native: Into<W::Native> + Ord>,
    W: Total,
{
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in present::<T>(values)? {
            *self.counts.entry(value).or_default() += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in present::<T>(values)? {
            if let Some(count) = self.counts.get_mut(&value) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&value);
                }
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let add = |sum: W::Native, value: &T::Native| sum.add_wrapping((*value).into());
        let sum = self.counts.keys().fold(W::Native::ZERO, add);
        let sum = total::<W>(sum, !self.counts.is_empty(), &self.result);
        ScalarValue::try_from_array(&self.result.column(&sum)?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = PrimitiveArray::<T>::from_iter_values(self.counts.keys().copied());
        let values = values.with_data_type(self.kind.clone());
        let list =
            datafusion::common::utils::SingleRowListArrayBuilder::new(std::sync::Arc::new(values));
        Ok(vec![list.build_list_scalar()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states.first().and_then(|states| states.as_list_opt::<i32>());
        let lists = lists.ok_or_else(|| internal_datafusion_err!("distinct values are no list"))?;
        for values in lists.iter().flatten() {
            self.update_batch(&[values])?;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counts.len() * size_of::<(T::Native, u64)>()
    }
}
