//! DataFusion's functions whose results have types that SQL lacks, given those that it has.
//!
//! Arrow has unsigned numbers, times of four units and texts of three kinds; tables have one of
//! each. A function that counts in UNSIGNED BIGINT would describe its column as one that no table
//! can have.

mod aggregate;
mod scalar;
mod window;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use arrow::error::ArrowError;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};

pub(super) use aggregate::sql_aggregate;
pub(super) use scalar::sql_scalar;
pub(super) use window::sql_window;

/// Scalar functions that return such types.
const SCALARS: &[&str] = &[
    "array_dims",
    "array_length",
    "array_ndims",
    "array_position",
    "array_positions",
    "cardinality",
    "make_time",
    "to_time",
];

/// Aggregate functions that return such types.
const AGGREGATES: &[&str] = &["approx_distinct", "regr_count"];

/// Window functions that return such types.
const WINDOWS: &[&str] = &["dense_rank", "ntile", "rank", "row_number"];

/// Returns a scalar function that returns SQL's types.
pub(super) fn of_scalar(udf: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    if SCALARS.contains(&udf.name()) { sql_scalar(udf) } else { udf }
}

/// Returns an aggregate function that returns SQL's types.
pub(super) fn of_aggregate(udf: Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    if AGGREGATES.contains(&udf.name()) { sql_aggregate(udf) } else { udf }
}

/// Returns a window function that returns SQL's types.
pub(super) fn of_window(udf: Arc<WindowUDF>) -> Arc<WindowUDF> {
    if WINDOWS.contains(&udf.name()) { sql_window(udf) } else { udf }
}

/// Returns the type that tables have for values of a type.
#[must_use]
pub fn sql_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Date64 => DataType::Timestamp(TimeUnit::Millisecond, None),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Timestamp(TimeUnit::Second, None) => {
            DataType::Timestamp(TimeUnit::Millisecond, None)
        }
        DataType::Dictionary(_, values) => sql_type(values),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            DataType::List(sql_field(item))
        }
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(sql_field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(sql_field(entries), *sorted),
        other => other.clone(),
    }
}

fn sql_field(field: &FieldRef) -> FieldRef {
    let data_type = sql_type(field.data_type());
    Arc::new(Field::clone(field).with_data_type(data_type))
}

/// Gives values the type that was planned for them.
///
/// # Errors
/// Values that the type does not have, such as a count beyond BIGINT.
fn cast_to_planned(values: &ArrayRef, planned: &DataType) -> Result<ArrayRef, ArrowError> {
    if values.data_type() == planned {
        return Ok(Arc::clone(values));
    }
    cast_with_options(values, planned, &CastOptions { safe: false, ..CastOptions::default() })
}
