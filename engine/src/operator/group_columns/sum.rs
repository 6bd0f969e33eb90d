//! SUM and AVG. Sums of integers and decimals are held wider than results are: what rows take back
//! brings back into range was never out of it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, Decimal128Array, Float64Array,
    PrimitiveArray,
};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type, DecimalType, Float64Type,
    Int64Type, UInt64Type,
};
use arrow::error::ArrowError;

use super::{Column, each_row, integers, misfit, pick};
use crate::function::{SumResult, Total, total_type};
use crate::graph::AggregateCall;
use crate::wording::aggregate_sql;
use crate::{Error, Result};

/// Digits that DataFusion wants a decimal sum to have beyond those of what is averaged.
const AVERAGE_HEADROOM_DIGITS: u8 = 13;
const FLOAT_TOLERANCE: f64 = 1e-12;

/// Turns sums, null where there is no value, and the numbers of values into results.
type Finish<T> = Box<dyn Fn(PrimitiveArray<T>, &[i64]) -> Result<ArrayRef> + Send>;

/// Adds up values `T` in sums `W` and counts them.
struct Sum<T, W: ArrowPrimitiveType> {
    sums: Vec<W::Native>,
    counts: Vec<i64>,
    /// The greatest value or sum of each group, where sums are rounded.
    magnitudes: Vec<W::Native>,
    /// What rounding may leave of a sum of nothing, as a part of the greatest value.
    tolerance: Option<W::Native>,
    /// The type of sums.
    kind: DataType,
    finish: Finish<W>,
    values: std::marker::PhantomData<fn() -> T>,
}

/// Makes the column of a call of SUM over a type, if it is one that is added up here.
pub(super) fn sum(call: &AggregateCall, kind: &DataType) -> Option<Box<dyn Column>> {
    fn of<T, W>(call: &AggregateCall, held_in: &DataType) -> Box<dyn Column>
    where
        T: ArrowPrimitiveType<Native: Into<W::Native>>,
        W: Total,
    {
        let name = aggregate_sql(call.function.name(), &call.args);
        let result = SumResult::new(call.function.name(), &name, call.output.data_type());
        let failed = format!("compute {name}");
        let finish: Finish<W> = Box::new(move |sums, _| {
            result.column(&sums).map_err(|error| Error::compute(failed.clone(), error))
        });
        Box::new(Sum::<T, W>::new(held_in, None, finish))
    }
    if *kind == DataType::Float64 {
        let finish: Finish<Float64Type> = Box::new(|sums, _| Ok(Arc::new(sums)));
        let sum = Sum::<Float64Type, Float64Type>::new(kind, Some(FLOAT_TOLERANCE), finish);
        return Some(Box::new(sum));
    }
    let held_in = total_type(kind)?;
    match (kind, &held_in) {
        (DataType::Int64, _) => Some(of::<Int64Type, Decimal128Type>(call, &held_in)),
        (DataType::UInt64, _) => Some(of::<UInt64Type, Decimal128Type>(call, &held_in)),
        (_, DataType::Decimal256(..)) => Some(of::<Decimal128Type, Decimal256Type>(call, &held_in)),
        _ => Some(of::<Decimal128Type, Decimal128Type>(call, &held_in)),
    }
}

/// Makes the column of AVG over a type, if it is one that is added up here.
pub(super) fn average(kind: &DataType, output: &DataType) -> Option<Box<dyn Column>> {
    match (kind, output) {
        (DataType::Float64, DataType::Float64) => {
            let finish: Finish<Float64Type> = Box::new(|sums, counts| {
                let averages =
                    sums.iter().zip(counts).map(|(sum, count)| Some(sum? / *count as f64));
                Ok(Arc::new(averages.collect::<Float64Array>()))
            });
            let tolerance = Some(FLOAT_TOLERANCE);
            Some(Box::new(Sum::<Float64Type, Float64Type>::new(kind, tolerance, finish)))
        }
        (DataType::Decimal128(digits, scale), DataType::Decimal128(precision, to_scale))
            if digits + AVERAGE_HEADROOM_DIGITS <= DECIMAL128_MAX_PRECISION
                && to_scale >= scale =>
        {
            let (precision, to_scale) = (*precision, *to_scale);
            let factor = 10_i128.pow(u32::from((to_scale - scale).unsigned_abs()));
            let finish: Finish<Decimal128Type> = Box::new(move |sums, counts| {
                decimal_averages(&sums, counts, factor, precision, to_scale)
                    .map_err(|error| Error::compute("compute an average", error))
            });
            Some(Box::new(Sum::<Decimal128Type, Decimal128Type>::new(kind, None, finish)))
        }
        _ => None,
    }
}

fn decimal_averages(
    sums: &Decimal128Array,
    counts: &[i64],
    factor: i128,
    precision: u8,
    scale: i8,
) -> Result<ArrayRef, ArrowError> {
    let average = |(sum, count): (Option<i128>, &i64)| {
        let Some(sum) = sum else { return Ok(None) };
        let average = sum.mul_checked(factor)?.div_wrapping(i128::from(*count));
        Decimal128Type::validate_decimal_precision(average, precision, scale)?;
        Ok(Some(average))
    };
    let averages: Decimal128Array =
        sums.iter().zip(counts).map(average).collect::<Result<_, ArrowError>>()?;
    Ok(Arc::new(averages.with_precision_and_scale(precision, scale)?))
}

impl<T, W: ArrowPrimitiveType> Sum<T, W> {
    fn new(kind: &DataType, tolerance: Option<W::Native>, finish: Finish<W>) -> Self {
        let kind = kind.clone();
        let (sums, counts, magnitudes) = (Vec::new(), Vec::new(), Vec::new());
        let values = std::marker::PhantomData;
        Self { sums, counts, magnitudes, tolerance, kind, finish, values }
    }

    /// Takes away what rounding has left of the sum of a group without values. What is larger is
    /// the sum of values that were taken back before they have come.
    fn settle(&mut self, id: usize, value: W::Native) {
        let Some(tolerance) = self.tolerance else { return };
        let sum = self.sums[id];
        let greatest = [value, sum].map(absolute).into_iter().fold(self.magnitudes[id], greater);
        self.magnitudes[id] = greatest;
        let is_finite = sum.sub_wrapping(sum).is_zero();
        let is_rest = absolute(sum).is_le(greatest.mul_wrapping(tolerance)) || !is_finite;
        if self.counts[id] == 0 && is_rest {
            self.sums[id] = W::Native::ZERO;
            self.magnitudes[id] = W::Native::ZERO;
        }
    }

    fn sums(&self, ids: &[u32]) -> PrimitiveArray<W> {
        let sums = ids.iter().map(|id| {
            let id = *id as usize;
            (self.counts[id] > 0).then_some(self.sums[id])
        });
        sums.collect::<PrimitiveArray<W>>().with_data_type(self.kind.clone())
    }
}

impl<T, W> Column for Sum<T, W>
where
    T: ArrowPrimitiveType<Native: Into<W::Native>>,
    W: ArrowPrimitiveType,
{
    fn grow(&mut self, groups: usize) {
        self.sums.resize(groups, W::Native::ZERO);
        self.counts.resize(groups, 0);
        if self.tolerance.is_some() {
            self.magnitudes.resize(groups, W::Native::ZERO);
        }
    }

    fn update(&mut self, ids: &[u32], args: &[ArrayRef], weights: Option<&[i8]>) -> Result<()> {
        let values = args[0]
            .as_primitive_opt::<T>()
            .ok_or_else(|| Error::Internal(format!("a sum of {}", args[0].data_type())))?;
        let (nulls, values) = (values.nulls(), values.values());
        each_row(ids, nulls, weights, |row, id, weight| {
            let (sum, value) = (&mut self.sums[id], values[row].into());
            *sum = if weight > 0 { sum.add_wrapping(value) } else { sum.sub_wrapping(value) };
            self.counts[id] += weight;
            if weights.is_some() {
                self.settle(id, value);
            }
        });
        Ok(())
    }

    fn read(&mut self, ids: &[u32]) -> Result<ArrayRef> {
        let counts: Vec<i64> = ids.iter().map(|id| self.counts[*id as usize]).collect();
        (self.finish)(self.sums(ids), &counts)
    }

    fn is_zero(&self, id: u32) -> bool {
        self.counts[id as usize] == 0 && self.sums[id as usize].is_zero()
    }

    fn free(&mut self, ids: &[u32]) {
        for id in ids {
            self.sums[*id as usize] = W::Native::ZERO;
            self.counts[*id as usize] = 0;
            if let Some(magnitude) = self.magnitudes.get_mut(*id as usize) {
                *magnitude = W::Native::ZERO;
            }
        }
    }

    fn state_columns(&self) -> usize {
        2 + usize::from(self.tolerance.is_some())
    }

    fn state(&mut self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        let sums =
            PrimitiveArray::<W>::from_iter_values(ids.iter().map(|id| self.sums[*id as usize]));
        let sums = sums.with_data_type(self.kind.clone());
        let mut state: Vec<ArrayRef> = vec![Arc::new(sums), Arc::new(pick(&self.counts, ids))];
        if self.tolerance.is_some() {
            let magnitudes = ids.iter().map(|id| self.magnitudes[*id as usize]);
            let magnitudes = PrimitiveArray::<W>::from_iter_values(magnitudes);
            state.push(Arc::new(magnitudes.with_data_type(self.kind.clone())));
        }
        Ok(state)
    }

    fn restore(&mut self, ids: &[u32], state: &[ArrayRef]) -> Result<()> {
        let (sums, counts) = match (state, self.tolerance.is_some()) {
            ([sums, counts], false) => (sums, counts),
            ([sums, counts, magnitudes], true) => {
                let magnitudes = magnitudes.as_primitive_opt::<W>();
                let magnitudes = magnitudes.ok_or_else(|| misfit("a sum", sums))?;
                for (id, magnitude) in ids.iter().zip(magnitudes.values()) {
                    self.magnitudes[*id as usize] = *magnitude;
                }
                (sums, counts)
            }
            _ => {
                let (found, expected) = (state.len(), self.state_columns());
                return Err(Error::Internal(format!(
                    "a sum has {expected} columns of state, not {found}"
                )));
            }
        };
        let sums = sums.as_primitive_opt::<W>().ok_or_else(|| misfit("a sum", sums))?;
        let values = sums.values().iter().zip(integers(counts)?.values());
        for (id, (sum, count)) in ids.iter().zip(values) {
            self.sums[*id as usize] = *sum;
            self.counts[*id as usize] = *count;
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        (self.sums.capacity() + self.magnitudes.capacity()) * size_of::<W::Native>()
            + self.counts.capacity() * size_of::<i64>()
    }
}

fn absolute<N: ArrowNativeTypeOp>(value: N) -> N {
    if value.is_lt(N::ZERO) { value.neg_wrapping() } else { value }
}

fn greater<N: ArrowNativeTypeOp>(left: N, right: N) -> N {
    if left.is_lt(right) { right } else { left }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    #[test]
    fn a_state_has_all_its_columns_and_no_more() {
        let doubles: ArrayRef = Arc::new(Float64Array::from(vec![3.0]));
        let counts: ArrayRef = Arc::new(Int64Array::from(vec![2]));
        let state = [Arc::clone(&doubles), counts, Arc::clone(&doubles), doubles];
        let double = DataType::Float64;
        for columns in 0..=state.len() {
            let mut sum = average(&double, &double).expect("an average of doubles");
            sum.grow(1);
            assert_eq!(sum.restore(&[0], &state[..columns]).is_ok(), columns == 3, "{columns}");
        }
    }
}
