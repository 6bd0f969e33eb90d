//! Whole numbers of all widths.
//!
//! Results are computed wrapped, for rows that are null too, while one bit remembers whether any
//! did not fit: such loops have no branches. Only where the bit is set are rows looked at.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, PrimitiveArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use datafusion::common::{ScalarValue, internal_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;

use super::Arithmetic;

/// A result as it is wrapped, and whether it does not fit.
trait Whole: ArrowNativeTypeOp + std::fmt::Display {
    fn add(self, other: Self) -> (Self, bool);
    fn subtract(self, other: Self) -> (Self, bool);
    fn multiply(self, other: Self) -> (Self, bool);
}

macro_rules! signed {
    ($($native:ty),*) => {$(
        impl Whole for $native {
            #[inline]
            fn add(self, other: Self) -> (Self, bool) {
                // A sum has a sign that neither summand has only where it does not fit. Said so,
                // it is computed for several rows at once.
                let sum = self.wrapping_add(other);
                (sum, ((self ^ sum) & (other ^ sum)) < 0)
            }

            #[inline]
            fn subtract(self, other: Self) -> (Self, bool) {
                let difference = self.wrapping_sub(other);
                (difference, ((self ^ other) & (self ^ difference)) < 0)
            }

            #[inline]
            fn multiply(self, other: Self) -> (Self, bool) {
                self.overflowing_mul(other)
            }
        }
    )*};
}

macro_rules! unsigned {
    ($($native:ty),*) => {$(
        impl Whole for $native {
            #[inline]
            fn add(self, other: Self) -> (Self, bool) {
                let sum = self.wrapping_add(other);
                (sum, sum < self)
            }

            #[inline]
            fn subtract(self, other: Self) -> (Self, bool) {
                (self.wrapping_sub(other), other > self)
            }

            #[inline]
            fn multiply(self, other: Self) -> (Self, bool) {
                self.overflowing_mul(other)
            }
        }
    )*};
}

signed!(i8, i16, i32, i64);
unsigned!(u8, u16, u32, u64);

macro_rules! with_type {
    ($data_type:expr, $function:ident($($argument:expr),*)) => {
        match $data_type {
            DataType::Int8 => $function::<Int8Type>($($argument),*),
            DataType::Int16 => $function::<Int16Type>($($argument),*),
            DataType::Int32 => $function::<Int32Type>($($argument),*),
            DataType::Int64 => $function::<Int64Type>($($argument),*),
            DataType::UInt8 => $function::<UInt8Type>($($argument),*),
            DataType::UInt16 => $function::<UInt16Type>($($argument),*),
            DataType::UInt32 => $function::<UInt32Type>($($argument),*),
            DataType::UInt64 => $function::<UInt64Type>($($argument),*),
            other => internal_err!("arithmetic of {other}"),
        }
    };
}

/// Computes a result for each row.
///
/// # Errors
/// The first row whose result does not fit.
pub(super) fn compute(
    arithmetic: Arithmetic,
    left: &ColumnarValue,
    right: &ColumnarValue,
    data_type: &DataType,
) -> Result<ColumnarValue> {
    with_type!(data_type, of(arithmetic, left, right))
}

/// Computes what is zero with each row's value.
///
/// # Errors
/// The first row whose result does not fit: the least number has no counterpart.
pub(super) fn negate(operand: &ColumnarValue, data_type: &DataType) -> Result<ColumnarValue> {
    let zero = ColumnarValue::Scalar(ScalarValue::new_zero(data_type)?);
    with_type!(data_type, of(Arithmetic::Negate, &zero, operand))
}

fn of<T: ArrowPrimitiveType<Native: Whole>>(
    arithmetic: Arithmetic,
    left: &ColumnarValue,
    right: &ColumnarValue,
) -> Result<ColumnarValue> {
    let (left, right) = (Operand::<T>::new(left)?, Operand::<T>::new(right)?);
    match arithmetic {
        Arithmetic::Add => rows(arithmetic, &left, &right, Whole::add),
        Arithmetic::Subtract | Arithmetic::Negate => {
            rows(arithmetic, &left, &right, Whole::subtract)
        }
        Arithmetic::Multiply => rows(arithmetic, &left, &right, Whole::multiply),
        Arithmetic::Divide => internal_err!("whole numbers are divided elsewhere"),
    }
}

/// One side of an operator.
enum Operand<'a, T: ArrowPrimitiveType> {
    /// The same in every row, or null.
    Scalar(Option<T::Native>),
    Array(&'a PrimitiveArray<T>),
}

impl<'a, T: ArrowPrimitiveType> Operand<'a, T> {
    fn new(value: &'a ColumnarValue) -> Result<Self> {
        match value {
            ColumnarValue::Array(array) => Ok(Self::Array(typed(array)?)),
            ColumnarValue::Scalar(scalar) => {
                let array = scalar.to_array()?;
                let array = typed::<T>(&array)?;
                Ok(Self::Scalar(array.is_valid(0).then(|| array.value(0))))
            }
        }
    }

    fn nulls(&self) -> Option<&NullBuffer> {
        match self {
            Self::Scalar(_) => None,
            Self::Array(array) => array.nulls(),
        }
    }

    fn value(&self, row: usize) -> T::Native {
        match self {
            Self::Scalar(value) => value.unwrap_or_default(),
            Self::Array(array) => array.value(row),
        }
    }
}

fn typed<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<&PrimitiveArray<T>> {
    array.as_primitive_opt::<T>().ok_or_else(|| {
        internal_datafusion_err!("expected {}, not {}", T::DATA_TYPE, array.data_type())
    })
}

fn rows<T: ArrowPrimitiveType<Native: Whole>>(
    arithmetic: Arithmetic,
    left: &Operand<'_, T>,
    right: &Operand<'_, T>,
    operation: impl Fn(T::Native, T::Native) -> (T::Native, bool),
) -> Result<ColumnarValue> {
    let mut misfits = false;
    let mut compute = |left: T::Native, right: T::Native| {
        let (result, misfit) = operation(left, right);
        misfits |= misfit;
        result
    };
    let values: Vec<T::Native> = match (left, right) {
        (Operand::Scalar(None), _) | (_, Operand::Scalar(None)) => {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_new_null(&T::DATA_TYPE)?));
        }
        (Operand::Scalar(Some(left)), Operand::Scalar(Some(right))) => {
            vec![compute(*left, *right)]
        }
        (Operand::Array(left), Operand::Array(right)) => {
            let pairs = left.values().iter().zip(right.values());
            pairs.map(|(left, right)| compute(*left, *right)).collect()
        }
        (Operand::Array(left), Operand::Scalar(Some(right))) => {
            left.values().iter().map(|left| compute(*left, *right)).collect()
        }
        (Operand::Scalar(Some(left)), Operand::Array(right)) => {
            right.values().iter().map(|right| compute(*left, *right)).collect()
        }
    };
    let nulls = NullBuffer::union(left.nulls(), right.nulls());
    if misfits {
        let counts = |row: &usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row));
        let misfit = (0..values.len())
            .filter(counts)
            .map(|row| (left.value(row), right.value(row)))
            .find(|(left, right)| operation(*left, *right).1);
        if let Some((left, right)) = misfit {
            return Err(arithmetic.misfit(&left.to_string(), &right.to_string(), &T::DATA_TYPE));
        }
    }
    let results = PrimitiveArray::<T>::new(values.into(), nulls);
    Ok(match (left, right) {
        (Operand::Scalar(_), Operand::Scalar(_)) => {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&results, 0)?)
        }
        _ => ColumnarValue::Array(Arc::new(results)),
    })
}
