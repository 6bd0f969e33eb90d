//! Single values as text.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Fields, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// How timestamps of one precision are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TimestampFormat {
    /// Without a time zone.
    plain: &'static str,
    /// With one; they are in UTC.
    zoned: &'static str,
}

impl TimestampFormat {
    fn of_unit(unit: Option<TimeUnit>) -> Self {
        let (plain, zoned) = match unit {
            Some(TimeUnit::Second) => ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%SZ"),
            Some(TimeUnit::Microsecond) => ("%Y-%m-%d %H:%M:%S%.6f", "%Y-%m-%d %H:%M:%S%.6fZ"),
            Some(TimeUnit::Nanosecond) => ("%Y-%m-%d %H:%M:%S%.9f", "%Y-%m-%d %H:%M:%S%.9fZ"),
            Some(TimeUnit::Millisecond) | None => {
                ("%Y-%m-%d %H:%M:%S%.3f", "%Y-%m-%d %H:%M:%S%.3fZ")
            }
        };
        Self { plain, zoned }
    }
}

/// The cells of a batch as text; NULL is `NULL`.
pub(crate) struct Cells<'a> {
    columns: Vec<ArrayFormatter<'a>>,
}

impl<'a> Cells<'a> {
    pub(crate) fn new(rows: &'a RecordBatch) -> Result<Self, ArrowError> {
        let formatter = |column: &'a dyn Array| {
            let format = TimestampFormat::of_unit(unit(column.data_type()));
            let options = FormatOptions::new()
                .with_null("NULL")
                .with_timestamp_format(Some(format.plain))
                .with_timestamp_tz_format(Some(format.zoned));
            ArrayFormatter::try_new(column, &options)
        };
        let columns = rows.columns().iter().map(|column| formatter(column.as_ref()));
        Ok(Self { columns: columns.collect::<Result<_, _>>()? })
    }

    pub(crate) fn text(&self, column: usize, row: usize) -> String {
        // Times beyond the calendar's have no text.
        let text = self.columns[column].value(row).try_to_string();
        text.unwrap_or_else(|_| "(out of range)".to_owned())
    }
}

/// Returns how many places values of a type may need: all of a number, a time or a date, and what
/// is usual of a text.
pub(crate) fn usual_width(data_type: &DataType) -> usize {
    match data_type {
        DataType::Boolean => 5,
        DataType::Int8 => 4,
        DataType::UInt8 => 3,
        DataType::Int16 => 6,
        DataType::UInt16 => 5,
        DataType::Int32 => 11,
        DataType::UInt32 | DataType::Date32 => 10,
        DataType::Int64 | DataType::UInt64 => 20,
        DataType::Float32 => 15,
        DataType::Float64 => 24,
        DataType::Decimal32(precision, _)
        | DataType::Decimal64(precision, _)
        | DataType::Decimal128(precision, _)
        | DataType::Decimal256(precision, _) => usize::from(*precision) + 2,
        DataType::Timestamp(unit, zone) => {
            let fraction = match unit {
                TimeUnit::Second => 0,
                TimeUnit::Millisecond => 4,
                TimeUnit::Microsecond => 7,
                TimeUnit::Nanosecond => 10,
            };
            "2001-01-01 00:00:00".len() + fraction + usize::from(zone.is_some())
        }
        _ => 16,
    }
}

/// Returns the finest unit of the timestamps in a type.
fn unit(data_type: &DataType) -> Option<TimeUnit> {
    match data_type {
        DataType::Timestamp(unit, _) => Some(*unit),
        DataType::Struct(fields) => finest(fields),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => unit(field.data_type()),
        _ => None,
    }
}

fn finest(fields: &Fields) -> Option<TimeUnit> {
    let rank = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    fields.iter().filter_map(|field| unit(field.data_type())).max_by_key(rank)
}
