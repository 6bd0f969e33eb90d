//! The columns of Parquet files and those that are wanted of them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, ListArray, MapArray, RecordBatch, StructArray,
};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, Fields, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::FormatOptions;
use parquet::basic::Type;
use parquet::schema::types::SchemaDescriptor;

use super::time_text::per_second;

/// Returns the schema as it is to be read: strings are decoded as views at once, rather than
/// copied into them later, and times of twelve bytes (INT96) as `unit`.
pub(super) fn as_read(schema: &Schema, file: &SchemaDescriptor, unit: TimeUnit) -> SchemaRef {
    let mut leaf = 0;
    Arc::new(Schema::new(fields_as_read(schema.fields(), file, unit, &mut leaf)))
}

fn fields_as_read(
    fields: &Fields,
    file: &SchemaDescriptor,
    unit: TimeUnit,
    leaf: &mut usize,
) -> Fields {
    fields.iter().map(|field| field_as_read(field, file, unit, leaf)).collect()
}

fn field_as_read(
    field: &FieldRef,
    file: &SchemaDescriptor,
    unit: TimeUnit,
    leaf: &mut usize,
) -> FieldRef {
    let mut part = |item: &FieldRef| field_as_read(item, file, unit, leaf);
    let data_type = match field.data_type() {
        DataType::List(item) => DataType::List(part(item)),
        DataType::LargeList(item) => DataType::LargeList(part(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(part(item), *size),
        DataType::Map(entries, sorted) => DataType::Map(part(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(part).collect()),
        other => {
            let is_long =
                *leaf < file.num_columns() && file.column(*leaf).physical_type() == Type::INT96;
            *leaf += 1;
            match other {
                DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
                DataType::Timestamp(_, zone) if is_long => DataType::Timestamp(unit, zone.clone()),
                other => other.clone(),
            }
        }
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// Returns the unit in which times of twelve bytes, whose years have no end, are read for the
/// wanted columns: the finest that one of them has, at least milliseconds.
pub(super) fn unit_of_long_times(wanted: &Fields) -> TimeUnit {
    let units = wanted.iter().map(|field| match field.data_type() {
        DataType::Timestamp(unit, _) => *unit,
        DataType::Struct(fields) => unit_of_long_times(fields),
        DataType::List(item) | DataType::Map(item, _) => {
            unit_of_long_times(&Fields::from(vec![Arc::clone(item)]))
        }
        _ => TimeUnit::Millisecond,
    });
    units.fold(TimeUnit::Millisecond, |a, b| if per_second(b) > per_second(a) { b } else { a })
}

/// Tells whether a file has times of twelve bytes among the given leaves.
pub(super) fn has_long_times(file: &SchemaDescriptor, leaves: &[usize]) -> bool {
    leaves.iter().any(|leaf| file.column(*leaf).physical_type() == Type::INT96)
}

/// Tells whether times that were read in nanoseconds are those that were read in seconds: the
/// years of nanoseconds end in 2262, and what lies beyond comes around to the other end.
pub(super) fn are_same_times(
    rows: &RecordBatch,
    seconds: &RecordBatch,
) -> Result<bool, ArrowError> {
    let wanted = seconds.schema_ref().fields();
    let rounded = adapt_fields(rows.columns(), rows.schema_ref().fields(), wanted)?;
    Ok(rounded.iter().zip(seconds.columns()).all(|(a, b)| a == b))
}

/// Returns the numbers of the leaves that hold the wanted fields.
pub(super) fn wanted_leaves(found: &Fields, wanted: &Fields) -> Result<Vec<usize>, String> {
    let mut leaves = Vec::new();
    select_leaves(found, wanted, 0, &mut leaves)?;
    Ok(leaves)
}

fn select_leaves(
    found: &Fields,
    wanted: &Fields,
    mut next: usize,
    leaves: &mut Vec<usize>,
) -> Result<(), String> {
    if let Some(missing) = wanted.iter().find(|field| found.find(field.name()).is_none()) {
        let names = found.iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
        return Err(format!("there is no column '{}' among {names}", missing.name()));
    }
    for field in found {
        let count = count_leaves(field);
        if let Some((_, wanted)) = wanted.find(field.name()) {
            match (field.data_type(), wanted.data_type()) {
                (DataType::Struct(found), DataType::Struct(wanted)) => {
                    select_leaves(found, wanted, next, leaves)?;
                }
                _ => leaves.extend(next..next + count),
            }
        }
        next += count;
    }
    Ok(())
}

fn count_leaves(field: &FieldRef) -> usize {
    match field.data_type() {
        DataType::Struct(fields) => fields.iter().map(count_leaves).sum(),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            count_leaves(item)
        }
        DataType::Map(entries, _) => count_leaves(entries),
        _ => 1,
    }
}

/// Makes columns have the names and types that are wanted.
pub(super) fn adapt_fields(
    columns: &[ArrayRef],
    found: &Fields,
    wanted: &Fields,
) -> Result<Vec<ArrayRef>, ArrowError> {
    let column = |field: &FieldRef| {
        let (index, _) = found.find(field.name()).ok_or_else(|| {
            ArrowError::SchemaError(format!("there is no column '{}'", field.name()))
        })?;
        adapt(&columns[index], field.data_type())
    };
    wanted.iter().map(column).collect()
}

/// Makes an array have the wanted type.
fn adapt(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    const EXACT: CastOptions<'_> =
        CastOptions { safe: false, format_options: FormatOptions::new() };
    match (array.data_type(), wanted) {
        (found, wanted) if found == wanted => Ok(Arc::clone(array)),
        (DataType::Struct(found), DataType::Struct(wanted)) => {
            let rows = array.as_struct();
            let columns = adapt_fields(rows.columns(), found, wanted)?;
            let nulls = rows.nulls().cloned();
            let rows =
                StructArray::try_new_with_length(wanted.clone(), columns, nulls, rows.len())?;
            Ok(Arc::new(rows))
        }
        (DataType::List(_), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let values = adapt(list.values(), item.data_type())?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, nulls)?))
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            let map = array.as_map();
            let values = adapt_entries(map.entries(), entries)?;
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            let map = MapArray::try_new(Arc::clone(entries), offsets, values, nulls, *sorted)?;
            Ok(Arc::new(map))
        }
        (DataType::Timestamp(found, _), DataType::Timestamp(unit, _)) if found != unit => {
            adapt(&rescale(array, *found, *unit)?, wanted)
        }
        _ => cast_with_options(array, wanted, &EXACT),
    }
}

/// Makes the entries of a map, whose fields go by position, have the wanted type.
fn adapt_entries(entries: &StructArray, wanted: &FieldRef) -> Result<StructArray, ArrowError> {
    let DataType::Struct(fields) = wanted.data_type() else {
        return Err(ArrowError::SchemaError("the entries of a map are rows".to_owned()));
    };
    let column = |(column, field): (&ArrayRef, &FieldRef)| adapt(column, field.data_type());
    let columns = entries.columns().iter().zip(fields).map(column);
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    StructArray::try_new(fields.clone(), columns, entries.nulls().cloned())
}

/// Counts times in another unit; what does not fit a coarser one is rounded down, before 1970 too.
fn rescale(times: &ArrayRef, from: TimeUnit, to: TimeUnit) -> Result<ArrayRef, ArrowError> {
    let zone = match times.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    let (from, per_second_to) = (per_second(from), per_second(to));
    let numbers = cast(times, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    let scaled: Int64Array = if from > per_second_to {
        let by = from / per_second_to;
        numbers.unary(|number| number.div_euclid(by))
    } else {
        let by = per_second_to / from;
        let out_of_range = || {
            let digits = per_second_to.ilog10();
            ArrowError::ComputeError(format!("a time does not fit into TIMESTAMP({digits})"))
        };
        numbers.try_unary(|number| number.checked_mul(by).ok_or_else(out_of_range))?
    };
    cast(&scaled, &DataType::Timestamp(to, zone))
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
        TimestampSecondArray,
    };

    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn times_are_rounded_down_between_all_units() {
        use TimeUnit as U;
        let nanos = 1_000_000_000;
        for (from, to) in [
            (U::Nanosecond, U::Microsecond),
            (U::Nanosecond, U::Millisecond),
            (U::Nanosecond, U::Second),
            (U::Microsecond, U::Millisecond),
            (U::Microsecond, U::Second),
            (U::Millisecond, U::Second),
            (U::Second, U::Nanosecond),
            (U::Millisecond, U::Microsecond),
        ] {
            let step = (nanos / per_second(to)).max(nanos / per_second(from));
            let times = [-3 * step - 1, -step - 1, -step, -1, 0, 1, step - 1, step];
            let array = |unit: TimeUnit| -> ArrayRef {
                let number = |time: &i64| time.div_euclid(nanos / per_second(unit));
                let numbers = Int64Array::from_iter_values(times.iter().map(number));
                cast(&numbers, &DataType::Timestamp(unit, None)).unwrap()
            };
            let expected = array(if per_second(from) > per_second(to) { to } else { from });
            let expected = adapt(&expected, &DataType::Timestamp(to, None)).unwrap();
            assert_eq!(*adapt(&array(from), expected.data_type()).unwrap(), *expected);
        }
    }

    #[test]
    fn times_within_values_are_rounded_too() {
        let micros: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![-1, -1001]));
        let millis: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![-1, -2]));
        let item = |array: &ArrayRef| Arc::new(Field::new("item", array.data_type().clone(), true));
        let offsets = arrow::buffer::OffsetBuffer::from_lengths([2]);
        let list = |values: &ArrayRef| -> ArrayRef {
            let values = Arc::clone(values);
            Arc::new(ListArray::new(item(&values), offsets.clone(), values, None))
        };
        let row = |values: &ArrayRef| -> ArrayRef {
            Arc::new(StructArray::from(vec![(item(values), Arc::clone(values))]))
        };
        let (found, expected) = (list(&row(&micros)), list(&row(&millis)));
        assert_eq!(*adapt(&found, expected.data_type()).unwrap(), *expected);
    }

    #[test]
    fn a_time_that_does_not_fit_is_refused() {
        let seconds: ArrayRef = Arc::new(TimestampSecondArray::from(vec![253_402_300_799]));
        let wanted = TimestampNanosecondArray::from(vec![0]);
        let error = adapt(&seconds, wanted.data_type()).unwrap_err().to_string();
        assert!(error.ends_with("a time does not fit into TIMESTAMP(9)"), "{error}");
    }
}
