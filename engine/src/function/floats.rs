//! The function that makes one value of the floating point numbers that are equal, also inside of
//! rows, arrays and maps.
//!
//! -0.0 and 0.0 are equal, and so are all NaN, which are above all numbers as in PostgreSQL. Yet
//! Arrow and DataFusion tell them apart in many places: what is sorted, counted once, grouped,
//! looked for in a list or compared as part of a row. What does so is planned with this function
//! around its values.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float32Array, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type};
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::nested::rebuilt;

/// The name of the function.
pub const EQUAL_FLOATS: &str = "equal_floats";

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::new(ScalarUDF::from(EqualFloats {
        signature: Signature::any(1, Volatility::Immutable),
    }))]
}

/// Tells whether values of a type are floating point numbers, or hold some.
#[must_use]
pub fn holds_floats(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().any(|field| holds_floats(field.data_type())),
        DataType::List(item) | DataType::Map(item, _) => holds_floats(item.data_type()),
        simple => simple.is_floating(),
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct EqualFloats {
    signature: Signature,
}

impl ScalarUDFImpl for EqualFloats {
    fn name(&self) -> &'static str {
        EQUAL_FLOATS
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [data_type] = types else {
            return internal_err!("{EQUAL_FLOATS} takes one argument");
        };
        Ok(data_type.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let [of] = args.arg_fields else {
            return internal_err!("{EQUAL_FLOATS} takes one argument");
        };
        Ok(Arc::new(Field::new(EQUAL_FLOATS, of.data_type().clone(), of.is_nullable())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args[0].to_array(args.number_rows)?;
        let simple = |array: &ArrayRef, _: &DataType| Ok(equal_floats(array));
        Ok(ColumnarValue::Array(rebuilt(&array, array.data_type(), &simple)?))
    }
}

fn equal_floats(array: &ArrayRef) -> ArrayRef {
    // The sum of -0.0 and 0.0 is 0.0.
    match array.data_type() {
        DataType::Float32 => {
            let equal = |number: f32| if number.is_nan() { f32::NAN } else { number + 0.0 };
            let numbers: Float32Array = array.as_primitive::<Float32Type>().unary(equal);
            Arc::new(numbers)
        }
        DataType::Float64 => {
            let equal = |number: f64| if number.is_nan() { f64::NAN } else { number + 0.0 };
            let numbers: Float64Array = array.as_primitive::<Float64Type>().unary(equal);
            Arc::new(numbers)
        }
        _ => Arc::clone(array),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, ListArray, StructArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Fields;
    use datafusion::logical_expr::ColumnarValue;

    use super::*;
    use crate::function::scalar::testing::call;

    fn numbers() -> Float64Array {
        let other_nan = f64::from_bits(f64::NAN.to_bits() | 1 << 63 | 1);
        Float64Array::from(vec![Some(-0.0), Some(0.0), Some(other_nan), None, Some(-1.5)])
    }

    fn bits(array: &dyn Array) -> Vec<Option<u64>> {
        array.as_primitive::<Float64Type>().iter().map(|number| number.map(f64::to_bits)).collect()
    }

    fn expected() -> Vec<Option<u64>> {
        let numbers = [Some(0.0), Some(0.0), Some(f64::NAN), None, Some(-1.5)];
        numbers.map(|number: Option<f64>| number.map(f64::to_bits)).to_vec()
    }

    fn equal(array: ArrayRef) -> ArrayRef {
        let rows = array.len();
        call(&functions(), EQUAL_FLOATS, vec![ColumnarValue::Array(array)], rows).unwrap()
    }

    #[test]
    fn equal_numbers_are_one_value() {
        assert_eq!(bits(equal(Arc::new(numbers())).as_ref()), expected());
    }

    #[test]
    fn equal_numbers_are_one_value_inside_of_rows_and_arrays() {
        let item = Arc::new(Field::new("item", DataType::Float64, true));
        let offsets = OffsetBuffer::from_lengths([2, 3]);
        let list = ListArray::new(item, offsets, Arc::new(numbers()), None);
        let field = Field::new("c0", list.data_type().clone(), true);
        assert!(holds_floats(list.data_type()) && !holds_floats(&DataType::Int64));
        let fields = Fields::from(vec![field]);
        let rows = StructArray::new(fields, vec![Arc::new(list)], None);
        let equal = equal(Arc::new(rows));
        let lists = equal.as_struct().column(0).as_list::<i32>();
        assert_eq!(bits(lists.values().as_ref()), expected());
        assert_eq!(lists.value_length(1), 3);
    }
}
