//! What sums are held in, and how they become results.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type,
    DecimalType, Int64Type, UInt64Type,
};
use datafusion::common::{exec_datafusion_err, internal_err};
use datafusion::error::{DataFusionError, Result};

use super::WRAPPING_SUM;
use crate::wording::type_sql;

/// Sums of decimals of more digits are held in 256 bits. Of fewer, 10¹⁴ are needed to fill 128.
const NARROW_DIGITS: u8 = 24;

/// Returns the type that sums of a type are held in, `None` where sums are as wide as results.
pub(crate) fn total_type(kind: &DataType) -> Option<DataType> {
    match kind {
        DataType::Int64 | DataType::UInt64 => {
            Some(DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0))
        }
        DataType::Decimal128(digits, scale) if *digits <= NARROW_DIGITS => {
            Some(DataType::Decimal128(DECIMAL128_MAX_PRECISION, *scale))
        }
        DataType::Decimal128(_, scale) => {
            Some(DataType::Decimal256(DECIMAL256_MAX_PRECISION, *scale))
        }
        _ => None,
    }
}

/// A type that sums are held in.
pub(crate) trait Total: DecimalType {
    /// Returns a sum in 128 bits, `None` where it needs more.
    fn narrow(sum: Self::Native) -> Option<i128>;
}

impl Total for Decimal128Type {
    fn narrow(sum: i128) -> Option<i128> {
        Some(sum)
    }
}

impl Total for Decimal256Type {
    fn narrow(sum: Self::Native) -> Option<i128> {
        sum.to_i128()
    }
}

/// How sums become results.
#[derive(Debug, Clone)]
pub(crate) struct SumResult {
    /// What the sum is called in messages.
    name: String,
    data_type: DataType,
    wraps: bool,
}

impl SumResult {
    /// Makes results of a type for a call of this function, which is called `name`.
    pub(crate) fn new(function: &str, name: &str, data_type: &DataType) -> Self {
        let (name, data_type) = (name.to_owned(), data_type.clone());
        Self { name, data_type, wraps: function == WRAPPING_SUM }
    }

    /// Returns the type that sums are held in, by the digits behind their point.
    pub(super) fn held_in<W: Total>(&self) -> DataType {
        let scale = match self.data_type {
            DataType::Decimal128(_, scale) => scale,
            _ => 0,
        };
        W::TYPE_CONSTRUCTOR(W::MAX_PRECISION, scale)
    }

    /// Turns sums, of groups that have any, into results.
    ///
    /// # Errors
    /// The first sum that does not fit the type of results.
    pub(crate) fn column<W: Total>(&self, sums: &PrimitiveArray<W>) -> Result<ArrayRef> {
        match self.data_type {
            DataType::Int64 => self.converted::<W, Int64Type>(sums, |sum| {
                if self.wraps { Some(sum as i64) } else { i64::try_from(sum).ok() }
            }),
            DataType::UInt64 => self.converted::<W, UInt64Type>(sums, |sum| {
                if self.wraps { Some(sum as u64) } else { u64::try_from(sum).ok() }
            }),
            DataType::Decimal128(digits, _) => {
                let most = 10_i128.pow(u32::from(digits)) - 1;
                let fits = |sum: i128| (-most..=most).contains(&sum).then_some(sum);
                self.converted::<W, Decimal128Type>(sums, fits)
            }
            ref other => internal_err!("a sum of {other}"),
        }
    }

    fn converted<W: Total, R: ArrowPrimitiveType>(
        &self,
        sums: &PrimitiveArray<W>,
        convert: impl Fn(i128) -> Option<R::Native>,
    ) -> Result<ArrayRef> {
        let mut results = Vec::with_capacity(sums.len());
        for (row, sum) in sums.values().iter().enumerate() {
            results.push(match W::narrow(*sum).and_then(&convert) {
                Some(result) => result,
                // What lies under a null is no sum.
                None if sums.is_null(row) => R::Native::default(),
                None => return Err(self.misfit::<W>(*sum)),
            });
        }
        let results = PrimitiveArray::<R>::new(results.into(), sums.nulls().cloned());
        Ok(Arc::new(results.with_data_type(self.data_type.clone())))
    }

    fn misfit<W: Total>(&self, sum: W::Native) -> DataFusionError {
        let scale = match self.data_type {
            DataType::Decimal128(_, scale) => scale,
            _ => 0,
        };
        let sum = W::format_decimal(sum, W::MAX_PRECISION, scale);
        let (name, data_type) = (&self.name, type_sql(&self.data_type));
        exec_datafusion_err!("{name} is {sum}, which does not fit {data_type}")
    }
}
