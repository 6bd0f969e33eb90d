//! The function that makes numbers what the column of a table takes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;
use datafusion::common::internal_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::coarser::to_coarser;
use crate::Error;
use crate::wording::{reason, type_sql};

/// The name of the function that casts its first argument to the type of its second, a NULL, as the
/// SQL standard assigns: fractions are rounded or cut as CAST does, what does not fit is an error.
/// It names the table and the column, which are the third and the fourth argument.
pub const ASSIGN: &str = "assign";

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let signature = Signature::any(4, Volatility::Immutable);
    vec![Arc::new(ScalarUDF::from(Assign { signature }))]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Assign {
    signature: Signature,
}

impl ScalarUDFImpl for Assign {
    fn name(&self) -> &'static str {
        ASSIGN
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [_, to, ..] = types else { return internal_err!("{ASSIGN} takes four arguments") };
        Ok(to.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let [from, to, ..] = args.arg_fields else {
            return internal_err!("{ASSIGN} takes four arguments");
        };
        Ok(Arc::new(Field::new(ASSIGN, to.data_type().clone(), from.is_nullable())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value, _, table, column] = args.args.as_slice() else {
            return internal_err!("{ASSIGN} takes four arguments");
        };
        let values = value.to_array(args.number_rows)?;
        let to = args.return_field.data_type();
        match assign(&values, to) {
            Ok(assigned) => Ok(ColumnarValue::Array(assigned)),
            Err(reason) => {
                let (table, column) = (text(table)?, text(column)?);
                Err(DataFusionError::External(Box::new(Error::MalformedRow {
                    location: format!("insert into table '{table}'"),
                    reason: format!("column '{column}': {reason}"),
                })))
            }
        }
    }
}

fn text(argument: &ColumnarValue) -> Result<String> {
    match argument {
        ColumnarValue::Scalar(text) => Ok(text.to_string()),
        ColumnarValue::Array(_) => internal_err!("{ASSIGN} takes names that are constant"),
    }
}

/// Casts values, or says which of them does not fit.
fn assign(values: &ArrayRef, to: &DataType) -> std::result::Result<ArrayRef, String> {
    let told = |error: ArrowError| reason(&DataFusionError::from(error));
    if !to.is_numeric() {
        return to_coarser(values, to).map_err(told);
    }
    let cast = cast_with_options(values, to, &CastOptions::default()).map_err(told)?;
    let lost = if cast.null_count() > values.logical_null_count() {
        (0..values.len()).find(|row| cast.is_null(*row) && values.is_valid(*row))
    } else {
        became_infinite(values, &cast)
    };
    let Some(row) = lost else { return Ok(cast) };
    let value = array_value_to_string(values, row).unwrap_or_default();
    let value =
        if value == "inf" || value == "-inf" { value.replace("inf", "Infinity") } else { value };
    Err(format!("{value} does not fit {}", type_sql(to)))
}

/// Finds a DOUBLE that is too large for a FLOAT.
fn became_infinite(values: &ArrayRef, cast: &ArrayRef) -> Option<usize> {
    let values = values.as_primitive_opt::<Float64Type>()?.values();
    let cast = cast.as_primitive_opt::<Float32Type>()?.values();
    values.iter().zip(cast).position(|(value, cast)| cast.is_infinite() && value.is_finite())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Decimal128Array, Float64Array, Int64Array};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn check(values: impl Array + 'static, to: &DataType, expected: Result<&[&str], &str>) {
        let values: ArrayRef = Arc::new(values);
        let found = assign(&values, to).map(|assigned| {
            assert_eq!(assigned.data_type(), to);
            let value = |row| array_value_to_string(&assigned, row).expect("a value");
            (0..assigned.len()).map(value).collect::<Vec<_>>()
        });
        let expected = expected
            .map(|values| values.iter().map(ToString::to_string).collect::<Vec<_>>())
            .map_err(ToOwned::to_owned);
        assert_eq!(found, expected);
    }

    fn decimals(values: Vec<i128>, precision: u8, scale: i8) -> Decimal128Array {
        Decimal128Array::from(values).with_precision_and_scale(precision, scale).expect("decimals")
    }

    #[test]
    fn fractions_are_cut_where_whole_numbers_are_taken() {
        let doubles = || Float64Array::from(vec![Some(2.9), Some(-2.9), None, Some(0.5)]);
        check(doubles(), &DataType::Int64, Ok(&["2", "-2", "", "0"]));
        check(decimals(vec![299, -299], 5, 2), &DataType::Int32, Ok(&["2", "-2"]));
        check(decimals(vec![295, -294], 5, 2), &DataType::Decimal128(5, 1), Ok(&["3.0", "-2.9"]));
        check(Float64Array::from(vec![1.25]), &DataType::Decimal128(5, 1), Ok(&["1.3"]));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let long = Int64Array::from(vec![Some(1), None, Some(3_000_000_000)]);
        check(long.clone(), &DataType::Int32, Err("3000000000 does not fit INT"));
        check(long, &DataType::Decimal128(5, 2), Err("3000000000 does not fit DECIMAL(5, 2)"));
        let not = Float64Array::from(vec![1.0, f64::NAN]);
        check(not, &DataType::Int64, Err("NaN does not fit BIGINT"));
        let not = Float64Array::from(vec![f64::INFINITY]);
        check(not, &DataType::Int64, Err("Infinity does not fit BIGINT"));
        let not = Float64Array::from(vec![1e19]);
        assert!(assign(&(Arc::new(not) as ArrayRef), &DataType::Int64).is_err());
        check(
            decimals(vec![99_999], 5, 1),
            &DataType::Decimal128(5, 2),
            Err("9999.9 does not fit DECIMAL(5, 2)"),
        );
        let large = Float64Array::from(vec![1.0, 1e300]);
        assert!(assign(&(Arc::new(large) as ArrayRef), &DataType::Float32).is_err());
    }

    #[test]
    fn numbers_in_arrays_are_assigned_too() {
        let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
        let lists = arrow::array::ListArray::from_iter_primitive::<Int32Type, _, _>([Some([
            Some(1),
            Some(300),
        ])]);
        check(lists.clone(), &list(DataType::Int64), Ok(&["[1, 300]"]));
        check(lists, &list(DataType::Int8), Err("cannot cast 300 to TINYINT"));
    }
}
