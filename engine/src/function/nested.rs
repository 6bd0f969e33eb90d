//! Values inside of rows, arrays and maps.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray};
use arrow::datatypes::{DataType, Fields};
use arrow::error::ArrowError;

/// Makes values those of another type: rows, arrays and maps are made of what is in them, rows by
/// position, and `simple` makes all else.
///
/// # Errors
/// Those of `simple`, and values that the type does not have.
pub(super) fn rebuilt(
    array: &ArrayRef,
    to: &DataType,
    simple: &impl Fn(&ArrayRef, &DataType) -> Result<ArrayRef, ArrowError>,
) -> Result<ArrayRef, ArrowError> {
    Ok(match (array.data_type(), to) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            Arc::new(rebuilt_rows(array.as_struct(), fields, simple)?)
        }
        (DataType::List(_), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let values = rebuilt(list.values(), item.data_type(), simple)?;
            let nulls = list.nulls().cloned();
            Arc::new(ListArray::try_new(Arc::clone(item), list.offsets().clone(), values, nulls)?)
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            let map = array.as_map();
            let DataType::Struct(fields) = entries.data_type() else {
                return Err(ArrowError::SchemaError("the entries of a map are rows".to_owned()));
            };
            let values = rebuilt_rows(map.entries(), fields, simple)?;
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Arc::new(MapArray::try_new(Arc::clone(entries), offsets, values, nulls, *sorted)?)
        }
        _ => simple(array, to)?,
    })
}

fn rebuilt_rows(
    rows: &StructArray,
    fields: &Fields,
    simple: &impl Fn(&ArrayRef, &DataType) -> Result<ArrayRef, ArrowError>,
) -> Result<StructArray, ArrowError> {
    let columns = rows.columns().iter().zip(fields);
    let columns = columns.map(|(column, field)| rebuilt(column, field.data_type(), simple));
    let columns = columns.collect::<Result<_, ArrowError>>()?;
    // Rows may have no fields, which then do not say how many there are.
    StructArray::try_new_with_length(fields.clone(), columns, rows.nulls().cloned(), rows.len())
}
