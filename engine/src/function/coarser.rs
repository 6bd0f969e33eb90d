//! The function that makes times coarser: down to the moment before, also before 1970.
//!
//! Arrow cuts digits off, which goes up before 1970: there the rows of a window's first millisecond
//! would fall into the window after it.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, TimeUnit};
use arrow::error::ArrowError;
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::nested::rebuilt;
use crate::wording::type_sql;

/// The name of the function that casts its first argument to the type of its second, a NULL, where
/// times in it get coarser.
pub const TO_COARSER: &str = "to_coarser_time";

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::new(ScalarUDF::from(ToCoarser {
        signature: Signature::any(2, Volatility::Immutable),
    }))]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToCoarser {
    signature: Signature,
}

impl ScalarUDFImpl for ToCoarser {
    fn name(&self) -> &'static str {
        TO_COARSER
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [value, Expr::Literal(null, _)] = args else {
            return internal_err!("{TO_COARSER} takes a value and a NULL");
        };
        Ok(format!("CAST({value} AS {})", type_sql(&null.data_type())))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [_, to] = types else { return internal_err!("{TO_COARSER} takes two arguments") };
        Ok(to.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let [from, to] = args.arg_fields else {
            return internal_err!("{TO_COARSER} takes two arguments");
        };
        Ok(Arc::new(Field::new(TO_COARSER, to.data_type().clone(), from.is_nullable())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args[0].to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(to_coarser(&array, args.return_field.data_type())?))
    }
}

/// Tells whether a cast makes times coarser, also those inside of rows, arrays and maps.
#[must_use]
pub fn gets_coarser(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Timestamp(from, _), DataType::Timestamp(to, _)) => {
            per_second(*from) > per_second(*to)
        }
        (DataType::Struct(from), DataType::Struct(to)) if from.len() == to.len() => {
            let fields = from.iter().zip(to);
            fields.into_iter().any(|(from, to)| gets_coarser(from.data_type(), to.data_type()))
        }
        (DataType::List(from), DataType::List(to))
        | (DataType::Map(from, _), DataType::Map(to, _)) => {
            gets_coarser(from.data_type(), to.data_type())
        }
        _ => false,
    }
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Casts values to another type; times go down where they lose digits.
///
/// # Errors
/// Values that the type does not have.
pub(super) fn to_coarser(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    rebuilt(array, to, &simple_to_coarser)
}

/// Does so with values that are no rows, arrays or maps.
fn simple_to_coarser(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    match (array.data_type(), to) {
        (DataType::Timestamp(from, _), DataType::Timestamp(unit, _))
            if per_second(*from) > per_second(*unit) =>
        {
            let width = per_second(*from) / per_second(*unit);
            // Both casts keep the numbers as they are.
            let numbers = cast(array, &DataType::Int64)?;
            let coarser: Int64Array =
                numbers.as_primitive::<Int64Type>().unary(|number| number.div_euclid(width));
            cast(&coarser, to)
        }
        _ => {
            let options = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(array, to, &options)
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ListArray, TimestampMicrosecondArray, TimestampMillisecondArray};
    use arrow::buffer::OffsetBuffer;

    use super::*;

    #[test]
    fn times_go_down_before_and_after_1970_also_inside_of_arrays() {
        let micros = vec![Some(-1), Some(-1000), Some(-1001), Some(1999), None];
        let micros: ArrayRef = Arc::new(TimestampMicrosecondArray::from(micros));
        let millis = vec![Some(-1), Some(-1), Some(-2), Some(1), None];
        let millis: ArrayRef = Arc::new(TimestampMillisecondArray::from(millis));
        assert_eq!(&to_coarser(&micros, millis.data_type()).expect("casts"), &millis);

        let list = |items: &ArrayRef| -> ArrayRef {
            let field = Field::new_list_field(items.data_type().clone(), true);
            let offsets = OffsetBuffer::from_lengths([2, 3]);
            Arc::new(ListArray::new(Arc::new(field), offsets, Arc::clone(items), None))
        };
        let expected = list(&millis);
        assert_eq!(&to_coarser(&list(&micros), expected.data_type()).expect("casts"), &expected);
    }
}
