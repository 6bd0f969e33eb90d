//! Decimals: Arrow's arithmetic, and a check that results have no more digits than their type.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Datum, Decimal128Array};
use arrow::buffer::NullBuffer;
use arrow::compute::kernels::numeric::{add, div, mul, sub};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL128_MAX_SCALE, DataType, Decimal128Type, DecimalType, i256,
};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::physical_expr_common::datum::apply;

use super::Arithmetic;

/// What a quotient has behind the point beyond what its dividend has.
const QUOTIENT_DIGITS: i8 = 4;

/// Computes a result for each row.
///
/// # Errors
/// The first row whose result does not fit, and division by zero.
pub(super) fn compute(
    arithmetic: Arithmetic,
    left: &ColumnarValue,
    right: &ColumnarValue,
    number_rows: usize,
) -> Result<ColumnarValue> {
    let found = apply(left, right, |left, right| kernel(arithmetic, left, right));
    match found {
        Err(error) if is_misfit(&error) => {}
        found => return found,
    }
    // A result does not fit, or there was no room for a dividend on the way, which is not seldom
    // where decimals are long: it gets the digits behind the point before it is divided.
    let is_scalar = matches!((left, right), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
    let number_rows = if is_scalar { 1 } else { number_rows };
    let (left, right) = (left.to_array(number_rows)?, right.to_array(number_rows)?);
    let results = compute_wide(arithmetic, left.as_primitive(), right.as_primitive())?;
    Ok(if is_scalar {
        ColumnarValue::Scalar(ScalarValue::try_from_array(&results, 0)?)
    } else {
        ColumnarValue::Array(Arc::new(results))
    })
}

/// Returns the type of results.
///
/// # Errors
/// Products with more digits behind the point than there are.
pub(super) fn result_type(
    arithmetic: Arithmetic,
    left: &DataType,
    right: &DataType,
) -> Result<DataType> {
    match (arithmetic, left, right) {
        // By Arrow's rule. Arrow itself fails where the factor of dividends is too large for it.
        (
            Arithmetic::Divide,
            DataType::Decimal128(precision, scale),
            DataType::Decimal128(_, divisor_scale),
        ) => {
            let to_scale = quotient_scale(*scale);
            let more_digits = (to_scale - scale).saturating_add(*divisor_scale);
            let precision = precision.saturating_add_signed(more_digits);
            Ok(DataType::Decimal128(precision.min(DECIMAL128_MAX_PRECISION), to_scale))
        }
        _ => BinaryTypeCoercer::new(left, &arithmetic.operator(), right).get_result_type(),
    }
}

fn quotient_scale(dividend_scale: i8) -> i8 {
    dividend_scale.saturating_add(QUOTIENT_DIGITS).min(DECIMAL128_MAX_SCALE)
}

/// Negates each row. Decimals have as many digits below zero as above.
///
/// # Errors
/// Values that are no decimals.
pub(super) fn negate(operand: &ColumnarValue) -> Result<ColumnarValue> {
    match operand {
        ColumnarValue::Array(array) => {
            Ok(ColumnarValue::Array(arrow::compute::kernels::numeric::neg(array)?))
        }
        ColumnarValue::Scalar(scalar) => Ok(ColumnarValue::Scalar(scalar.arithmetic_negate()?)),
    }
}

fn is_misfit(error: &DataFusionError) -> bool {
    let DataFusionError::ArrowError(error, _) = error else { return false };
    matches!(**error, ArrowError::ArithmeticOverflow(_) | ArrowError::InvalidArgumentError(_))
}

fn kernel(
    arithmetic: Arithmetic,
    left: &dyn Datum,
    right: &dyn Datum,
) -> Result<ArrayRef, ArrowError> {
    let result = match arithmetic {
        Arithmetic::Add => add(left, right),
        Arithmetic::Subtract | Arithmetic::Negate => sub(left, right),
        Arithmetic::Multiply => mul(left, right),
        Arithmetic::Divide => div(left, right),
    }?;
    checked(result)
}

/// Only where the number of digits was cut to the most that there are can results have more.
fn checked(results: ArrayRef) -> Result<ArrayRef, ArrowError> {
    if let DataType::Decimal128(precision @ DECIMAL128_MAX_PRECISION, _) = results.data_type() {
        results.as_primitive::<Decimal128Type>().validate_decimal_precision(*precision)?;
    }
    Ok(results)
}

/// Computes a result for each row with twice the digits on the way.
fn compute_wide(
    arithmetic: Arithmetic,
    left: &Decimal128Array,
    right: &Decimal128Array,
) -> Result<Decimal128Array> {
    let kind = result_type(arithmetic, left.data_type(), right.data_type())?;
    let DataType::Decimal128(precision, scale) = kind else {
        return internal_err!("a result of decimals is of type {kind}");
    };
    let factors = factors(arithmetic, left.scale(), right.scale(), scale);
    let nulls = NullBuffer::union(left.nulls(), right.nulls());
    let mut results = vec![0; left.len()];
    for (row, result) in results.iter_mut().enumerate() {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            continue;
        }
        if arithmetic == Arithmetic::Divide && right.value(row) == 0 {
            return Err(ArrowError::DivideByZero.into());
        }
        // Where even these digits do not suffice, no result fits: what a dividend has too many
        // of, no divisor takes away.
        let wide = factors.and_then(|factors| {
            let (left, right) = (left.value(row), right.value(row));
            wide_result(arithmetic, i256::from_i128(left), i256::from_i128(right), factors)
        });
        let fits = |result: &i128| Decimal128Type::is_valid_decimal_precision(*result, precision);
        let Some(fitting) = wide.and_then(i256::to_i128).filter(fits) else {
            let (left, right) =
                (array_value_to_string(left, row)?, array_value_to_string(right, row)?);
            return Err(arithmetic.misfit(&left, &right, &kind));
        };
        *result = fitting;
    }
    let results = Decimal128Array::try_new(results.into(), nulls)?;
    Ok(results.with_precision_and_scale(precision, scale)?)
}

/// Returns by what both sides are multiplied first, so that the result has its scale.
fn factors(
    arithmetic: Arithmetic,
    left_scale: i8,
    right_scale: i8,
    scale: i8,
) -> Option<(i256, i256)> {
    let (left, right) = match arithmetic {
        Arithmetic::Add | Arithmetic::Subtract => (scale - left_scale, scale - right_scale),
        Arithmetic::Multiply | Arithmetic::Negate => (0, 0),
        Arithmetic::Divide => {
            let digits = scale - left_scale + right_scale;
            (digits.max(0), (-digits).max(0))
        }
    };
    let factor = |digits: i8| i256::from_i128(10).checked_pow(u32::try_from(digits).ok()?);
    factor(left).zip(factor(right))
}

/// Computes one row; a quotient goes towards zero, as Arrow's does.
fn wide_result(
    arithmetic: Arithmetic,
    left: i256,
    right: i256,
    factors: (i256, i256),
) -> Option<i256> {
    let (left, right) = (left.checked_mul(factors.0)?, right.checked_mul(factors.1)?);
    match arithmetic {
        Arithmetic::Add => left.checked_add(right),
        Arithmetic::Subtract | Arithmetic::Negate => left.checked_sub(right),
        Arithmetic::Multiply => left.checked_mul(right),
        Arithmetic::Divide => left.checked_div(right),
    }
}
