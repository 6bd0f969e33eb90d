//! Sums of many groups.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray,
};
use arrow::buffer::NullBuffer;
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::total::{SumResult, Total};

/// Adds up values `T` in totals `W`.
pub(super) struct SumGroups<T, W: ArrowPrimitiveType> {
    sums: Vec<W::Native>,
    /// Whether a group has had a value: without, its sum is null.
    seen: Vec<bool>,
    result: SumResult,
    values: std::marker::PhantomData<fn() -> T>,
}

impl<T, W: Total> SumGroups<T, W> {
    pub(super) fn new(result: SumResult) -> Self {
        Self { sums: Vec::new(), seen: Vec::new(), result, values: std::marker::PhantomData }
    }

    fn add<V: ArrowPrimitiveType<Native: Into<W::Native>>>(
        &mut self,
        values: &PrimitiveArray<V>,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total_groups: usize,
    ) {
        self.sums.resize(total_groups, W::Native::ZERO);
        self.seen.resize(total_groups, false);
        let nulls = counted(values.nulls(), filter);
        let rows = values.values().iter().zip(groups).enumerate();
        for (row, (value, group)) in rows {
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                self.sums[*group] = self.sums[*group].add_wrapping((*value).into());
                self.seen[*group] = true;
            }
        }
    }

    fn take(&mut self, emit_to: EmitTo) -> PrimitiveArray<W> {
        let sums = emit_to.take_needed(&mut self.sums);
        let seen = emit_to.take_needed(&mut self.seen);
        let nulls = NullBuffer::from(seen);
        let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
        PrimitiveArray::new(sums.into(), nulls).with_data_type(self.result.held_in::<W>())
    }
}

/// Returns which rows count: those that are not null and that FILTER lets through.
fn counted(nulls: Option<&NullBuffer>, filter: Option<&BooleanArray>) -> Option<NullBuffer> {
    let filter = filter.map(|filter| match filter.nulls() {
        None => NullBuffer::new(filter.values().clone()),
        Some(known) => NullBuffer::new(filter.values() & known.inner()),
    });
    NullBuffer::union(nulls, filter.as_ref())
}

fn typed<V: ArrowPrimitiveType>(values: &[ArrayRef]) -> Result<&PrimitiveArray<V>> {
    let values = values.first().and_then(|values| values.as_primitive_opt::<V>());
    values.ok_or_else(|| internal_datafusion_err!("a sum of other values than {}", V::DATA_TYPE))
}

impl<T, W> GroupsAccumulator for SumGroups<T, W>
where
    T: ArrowPrimitiveType<Native: Into<W::Native>>,
    W: Total,
{
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total_groups: usize,
    ) -> Result<()> {
        self.add(typed::<T>(values)?, groups, filter, total_groups);
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = self.take(emit_to);
        self.result.column(&sums)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(self.take(emit_to))])
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        groups: &[usize],
        total_groups: usize,
    ) -> Result<()> {
        self.add(typed::<W>(states)?, groups, None, total_groups);
        Ok(())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = typed::<T>(values)?;
        let sums: Vec<W::Native> = values.values().iter().map(|value| (*value).into()).collect();
        let sums = PrimitiveArray::<W>::new(sums.into(), counted(values.nulls(), filter));
        Ok(vec![Arc::new(sums.with_data_type(self.result.held_in::<W>()))])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<W::Native>() + self.seen.capacity()
    }
}
