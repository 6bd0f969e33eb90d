//! SUM and AVG. As with DataFusion, sums of integers and decimals wrap around.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, Decimal128Array, Float64Array,
    PrimitiveArray,
};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, DecimalType, Float64Type, Int64Type,
    UInt64Type,
};
use arrow::error::ArrowError;

use super::{Column, each_row, integers, misfit, pick};
use crate::{Error, Result};

/// Digits that DataFusion wants a decimal sum to have beyond those of what is averaged.
const AVERAGE_HEADROOM_DIGITS: u8 = 13;
const FLOAT_TOLERANCE: f64 = 1e-12;

/// Turns sums, null where there is no value, and the numbers of values into results.
type Finish<T> = Box<dyn Fn(PrimitiveArray<T>, &[i64]) -> Result<ArrayRef> + Send>;

/// Adds up values and counts them.
struct Sum<T: ArrowPrimitiveType> {
    sums: Vec<T::Native>,
    counts: Vec<i64>,
    /// The greatest value or sum of each group, where sums are rounded.
    magnitudes: Vec<T::Native>,
    /// What rounding may leave of a sum of nothing, as a part of the greatest value.
    tolerance: Option<T::Native>,
    kind: DataType,
    finish: Finish<T>,
}

/// Makes the column of SUM over a type, if it is one that is added up here.
pub(super) fn sum(kind: &DataType) -> Option<Box<dyn Column>> {
    fn of<T: ArrowPrimitiveType>(kind: &DataType) -> Box<dyn Column> {
        Box::new(Sum::<T>::new(kind, None, finish()))
    }
    fn finish<T: ArrowPrimitiveType>() -> Finish<T> {
        Box::new(|sums, _| Ok(Arc::new(sums)))
    }
    match kind {
        DataType::Int64 => Some(of::<Int64Type>(kind)),
        DataType::UInt64 => Some(of::<UInt64Type>(kind)),
        DataType::Float64 => {
            Some(Box::new(Sum::<Float64Type>::new(kind, Some(FLOAT_TOLERANCE), finish())))
        }
        DataType::Decimal128(..) => Some(of::<Decimal128Type>(kind)),
        _ => None,
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
            Some(Box::new(Sum::new(kind, Some(FLOAT_TOLERANCE), finish)))
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
            Some(Box::new(Sum::new(kind, None, finish)))
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

impl<T: ArrowPrimitiveType> Sum<T> {
    fn new(kind: &DataType, tolerance: Option<T::Native>, finish: Finish<T>) -> Self {
        let kind = kind.clone();
        let (sums, counts, magnitudes) = (Vec::new(), Vec::new(), Vec::new());
        Self { sums, counts, magnitudes, tolerance, kind, finish }
    }

    /// Takes away what rounding has left of the sum of a group without values. What is larger is
    /// the sum of values that were taken back before they have come.
    fn settle(&mut self, id: usize, value: T::Native) {
        let Some(tolerance) = self.tolerance else { return };
        let sum = self.sums[id];
        let greatest = [value, sum].map(absolute).into_iter().fold(self.magnitudes[id], greater);
        self.magnitudes[id] = greatest;
        let is_finite = sum.sub_wrapping(sum).is_zero();
        let is_rest = absolute(sum).is_le(greatest.mul_wrapping(tolerance)) || !is_finite;
        if self.counts[id] == 0 && is_rest {
            self.sums[id] = T::Native::ZERO;
            self.magnitudes[id] = T::Native::ZERO;
        }
    }

    fn sums(&self, ids: &[u32]) -> PrimitiveArray<T> {
        let sums = ids.iter().map(|id| {
            let id = *id as usize;
            (self.counts[id] > 0).then_some(self.sums[id])
        });
        sums.collect::<PrimitiveArray<T>>().with_data_type(self.kind.clone())
    }
}

impl<T: ArrowPrimitiveType> Column for Sum<T> {
    fn grow(&mut self, groups: usize) {
        self.sums.resize(groups, T::Native::ZERO);
        self.counts.resize(groups, 0);
        if self.tolerance.is_some() {
            self.magnitudes.resize(groups, T::Native::ZERO);
        }
    }

    fn update(&mut self, ids: &[u32], args: &[ArrayRef], weights: Option<&[i8]>) -> Result<()> {
        let values = args[0]
            .as_primitive_opt::<T>()
            .ok_or_else(|| Error::Internal(format!("a sum of {}", args[0].data_type())))?;
        let (nulls, values) = (values.nulls(), values.values());
        each_row(ids, nulls, weights, |row, id, weight| {
            let sum = &mut self.sums[id];
            *sum = if weight > 0 {
                sum.add_wrapping(values[row])
            } else {
                sum.sub_wrapping(values[row])
            };
            self.counts[id] += weight;
            if weights.is_some() {
                self.settle(id, values[row]);
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
            self.sums[*id as usize] = T::Native::ZERO;
            self.counts[*id as usize] = 0;
            if let Some(magnitude) = self.magnitudes.get_mut(*id as usize) {
                *magnitude = T::Native::ZERO;
            }
        }
    }

    fn state_columns(&self) -> usize {
        2 + usize::from(self.tolerance.is_some())
    }

    fn state(&mut self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        let sums =
            PrimitiveArray::<T>::from_iter_values(ids.iter().map(|id| self.sums[*id as usize]));
        let sums = sums.with_data_type(self.kind.clone());
        let mut state: Vec<ArrayRef> = vec![Arc::new(sums), Arc::new(pick(&self.counts, ids))];
        if self.tolerance.is_some() {
            let magnitudes = ids.iter().map(|id| self.magnitudes[*id as usize]);
            let magnitudes = PrimitiveArray::<T>::from_iter_values(magnitudes);
            state.push(Arc::new(magnitudes.with_data_type(self.kind.clone())));
        }
        Ok(state)
    }

    fn restore(&mut self, ids: &[u32], state: &[ArrayRef]) -> Result<()> {
        let [sums, counts, magnitudes @ ..] = state else {
            return Err(Error::Internal("a sum has two columns of state".to_owned()));
        };
        if let ([magnitudes], true) = (magnitudes, self.tolerance.is_some()) {
            let magnitudes = magnitudes.as_primitive_opt::<T>();
            let magnitudes = magnitudes.ok_or_else(|| misfit("a sum", sums))?;
            for (id, magnitude) in ids.iter().zip(magnitudes.values()) {
                self.magnitudes[*id as usize] = *magnitude;
            }
        }
        let sums = sums.as_primitive_opt::<T>().ok_or_else(|| misfit("a sum", sums))?;
        let values = sums.values().iter().zip(integers(counts)?.values());
        for (id, (sum, count)) in ids.iter().zip(values) {
            self.sums[*id as usize] = *sum;
            self.counts[*id as usize] = *count;
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        (self.sums.capacity() + self.magnitudes.capacity()) * size_of::<T::Native>()
            + self.counts.capacity() * size_of::<i64>()
    }
}

fn absolute<N: ArrowNativeTypeOp>(value: N) -> N {
    if value.is_lt(N::ZERO) { value.neg_wrapping() } else { value }
}

fn greater<N: ArrowNativeTypeOp>(left: N, right: N) -> N {
    if left.is_lt(right) { right } else { left }
}
