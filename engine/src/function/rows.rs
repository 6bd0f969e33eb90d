//! The function that gives the fields of rows other names.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use arrow::error::ArrowError;
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::nested::rebuilt;

/// The name of the function that names the fields of its first argument as those of its second,
/// which is a NULL of the wanted type. SQL casts rows by position, DataFusion by name: this goes
/// between the two, so values and their types stay as they are.
pub const RENAME_FIELDS: &str = "rename_fields";

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::new(ScalarUDF::from(RenameFields {
        signature: Signature::any(2, Volatility::Immutable),
    }))]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RenameFields {
    signature: Signature,
}

impl ScalarUDFImpl for RenameFields {
    fn name(&self) -> &'static str {
        RENAME_FIELDS
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [from, to] = types else {
            return internal_err!("{RENAME_FIELDS} takes two arguments");
        };
        Ok(renamed(from, to))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let [from, to] = args.arg_fields else {
            return internal_err!("{RENAME_FIELDS} takes two arguments");
        };
        let data_type = renamed(from.data_type(), to.data_type());
        Ok(Arc::new(Field::new(RENAME_FIELDS, data_type, from.is_nullable())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args[0].to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(rename(&array, args.return_field.data_type())?))
    }
}

/// Returns a type with the names that the fields at the same places of another type have.
#[must_use]
pub fn renamed(from: &DataType, to: &DataType) -> DataType {
    match (from, to) {
        (DataType::Struct(from_fields), DataType::Struct(to_fields))
            if from_fields.len() == to_fields.len() =>
        {
            let field = |(from, to): (&FieldRef, &FieldRef)| {
                let data_type = renamed(from.data_type(), to.data_type());
                Field::new(to.name(), data_type, from.is_nullable())
            };
            DataType::Struct(from_fields.iter().zip(to_fields).map(field).collect::<Fields>())
        }
        (DataType::List(from), DataType::List(to)) => DataType::List(renamed_field(from, to)),
        (DataType::Map(from, sorted), DataType::Map(to, _)) => {
            DataType::Map(renamed_field(from, to), *sorted)
        }
        _ => from.clone(),
    }
}

fn renamed_field(from: &FieldRef, to: &FieldRef) -> FieldRef {
    let data_type = renamed(from.data_type(), to.data_type());
    Arc::new(Field::new(to.name(), data_type, from.is_nullable()))
}

/// Gives the same values a type that differs in names only.
fn rename(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    rebuilt(array, to, &|value, _| Ok(Arc::clone(value)))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, Int32Array, ListArray, NullArray, StructArray};
    use arrow::buffer::{NullBuffer, OffsetBuffer};
    use datafusion::logical_expr::ColumnarValue;

    use super::*;
    use crate::function::scalar::testing::call;

    fn row(names: [&str; 2], inner: DataType) -> DataType {
        let fields =
            [Field::new(names[0], DataType::Int32, true), Field::new(names[1], inner, true)];
        DataType::Struct(Fields::from(fields.to_vec()))
    }

    fn list(item: DataType) -> DataType {
        DataType::List(Arc::new(Field::new("item", item, true)))
    }

    #[test]
    fn fields_inside_of_everything_get_their_names_and_values_stay() {
        let from = list(row(["c0", "c1"], row(["c0", "c1"], DataType::Int32)));
        let to = list(row(["a", "b"], row(["x", "y"], DataType::Int64)));
        let expected = list(row(["a", "b"], row(["x", "y"], DataType::Int32)));

        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
        let fields = |data_type: &DataType| match data_type {
            DataType::Struct(fields) => fields.clone(),
            DataType::List(item) => match item.data_type() {
                DataType::Struct(fields) => fields.clone(),
                other => panic!("{other}"),
            },
            other => panic!("{other}"),
        };
        let outer = fields(&from);
        let inner = fields(outer[1].data_type());
        let columns = vec![Arc::clone(&numbers), Arc::clone(&numbers)];
        let inner: ArrayRef = Arc::new(StructArray::new(inner, columns, None));
        let nulls = NullBuffer::from(vec![true, false, true]);
        let rows = StructArray::new(outer, vec![numbers, inner], Some(nulls));
        let DataType::List(item) = &from else { panic!() };
        let offsets = OffsetBuffer::from_lengths([2, 0, 1]);
        let lists: ArrayRef =
            Arc::new(ListArray::new(Arc::clone(item), offsets, Arc::new(rows), None));

        let nothing = arrow::array::new_null_array(&to, 1);
        let args = vec![ColumnarValue::Array(Arc::clone(&lists)), ColumnarValue::Array(nothing)];
        let named = call(&functions(), RENAME_FIELDS, args, 3).expect("renames");
        assert_eq!(*named.data_type(), expected);
        assert_eq!(rename(&named, &from).expect("renames back").as_ref(), lists.as_ref());
    }

    #[test]
    fn what_has_no_fields_in_common_stays() {
        let three = DataType::Struct(Fields::from(vec![Field::new("a", DataType::Null, true)]));
        let two = row(["a", "b"], DataType::Int32);
        assert_eq!(renamed(&two, &three), two);
        assert_eq!(renamed(&DataType::Int32, &two), DataType::Int32);
        let nulls: ArrayRef = Arc::new(NullArray::new(2));
        assert_eq!(rename(&nulls, &DataType::Null).expect("stays").len(), 2);
    }
}
