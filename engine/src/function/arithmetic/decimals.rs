//! Decimals: Arrow's arithmetic, and a check that results have no more digits than their type.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, AsArray, Datum, Decimal128Array};
use arrow::compute::kernels::numeric::{add, div, mul, sub};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, i256};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr_common::datum::apply;

use super::Arithmetic;

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
    // Seldom: rows are tried one by one, for one that fails and its values.
    let is_scalar = matches!((left, right), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
    let number_rows = if is_scalar { 1 } else { number_rows };
    let (left, right) = (left.to_array(number_rows)?, right.to_array(number_rows)?);
    let mut results: Vec<ArrayRef> = Vec::with_capacity(number_rows);
    for row in 0..number_rows {
        let (left, right) = (left.slice(row, 1), right.slice(row, 1));
        let result = match kernel(arithmetic, &left, &right) {
            Err(ArrowError::ArithmeticOverflow(_)) if arithmetic == Arithmetic::Divide => {
                wide_quotient(&left, &right)
            }
            result => result,
        };
        match result {
            Ok(result) => results.push(result),
            Err(ArrowError::DivideByZero) => return Err(ArrowError::DivideByZero.into()),
            Err(_) => return Err(misfit(arithmetic, &left, &right)?),
        }
    }
    let results: Vec<&dyn Array> = results.iter().map(AsRef::as_ref).collect();
    let results = arrow::compute::concat(&results)?;
    Ok(if is_scalar {
        ColumnarValue::Scalar(ScalarValue::try_from_array(&results, 0)?)
    } else {
        ColumnarValue::Array(results)
    })
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

/// Divides one row with a dividend that has more digits than a decimal can have, once it has those
/// that the quotient wants behind the point.
fn wide_quotient(left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    // Of nothing, Arrow tells the type.
    let kind = div(&left.slice(0, 0), &right.slice(0, 0))?;
    let (DataType::Decimal128(precision, scale), DataType::Decimal128(_, from), by) =
        (kind.data_type(), left.data_type(), right.data_type())
    else {
        return Err(ArrowError::InvalidArgumentError("not a decimal".to_owned()));
    };
    let DataType::Decimal128(_, by) = by else {
        return Err(ArrowError::InvalidArgumentError("not a decimal".to_owned()));
    };
    let more_digits = u32::from((scale - from + by).unsigned_abs());
    let value = |array: &ArrayRef| i256::from_i128(array.as_primitive::<Decimal128Type>().value(0));
    let dividend = value(left).mul_checked(i256::from_i128(10).pow_checked(more_digits)?)?;
    let quotient = dividend.div_checked(value(right))?;
    let quotient = quotient
        .to_i128()
        .ok_or_else(|| ArrowError::ArithmeticOverflow("a quotient".to_owned()))?;
    let quotient = Decimal128Array::from_value(quotient, 1);
    checked(Arc::new(quotient.with_precision_and_scale(*precision, *scale)?))
}

/// Says with which values the result does not fit.
fn misfit(arithmetic: Arithmetic, left: &ArrayRef, right: &ArrayRef) -> Result<DataFusionError> {
    let kind = arithmetic_type(arithmetic, left, right)?;
    let (left, right) = (array_value_to_string(left, 0)?, array_value_to_string(right, 0)?);
    Ok(arithmetic.misfit(&left, &right, &kind))
}

fn arithmetic_type(arithmetic: Arithmetic, left: &ArrayRef, right: &ArrayRef) -> Result<DataType> {
    let none = |array: &ArrayRef| ScalarValue::try_new_null(array.data_type());
    let (left, right) = (none(left)?.to_scalar()?, none(right)?.to_scalar()?);
    match kernel(arithmetic, &left, &right) {
        Ok(result) => Ok(result.data_type().clone()),
        Err(error) => internal_err!("{error}"),
    }
}
