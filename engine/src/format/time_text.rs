//! Timestamps as text: `2001-01-01 00:00:00.000`, with more digits only where they say something.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use arrow::error::ArrowError;
use chrono::{DateTime, Datelike, Timelike};

/// How timestamps inside nested values are written.
pub(super) const NESTED_FORMAT: &str = "%Y-%m-%d %H:%M:%S%.3f";

/// Writes the timestamp columns of a batch as text; those with a time zone end in `Z`.
pub(crate) fn times_as_text(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let is_time = |field: &Arc<Field>| matches!(field.data_type(), DataType::Timestamp(..));
    if !rows.schema_ref().fields().iter().any(is_time) {
        return Ok(rows.clone());
    }
    let columns = rows.columns().iter().map(column_as_text).collect::<Result<Vec<_>, _>>()?;
    let field = |(field, column): (&Arc<Field>, &ArrayRef)| {
        field.as_ref().clone().with_data_type(column.data_type().clone())
    };
    let fields = rows.schema_ref().fields().iter().zip(&columns).map(field);
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &options)
}

/// Writes a column of timestamps as text and leaves others as they are.
pub(crate) fn column_as_text(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let DataType::Timestamp(unit, zone) = column.data_type() else {
        return Ok(Arc::clone(column));
    };
    let mut texts = StringBuilder::with_capacity(column.len(), 24 * column.len());
    let times = Times::new(*unit, zone.is_some());
    times.each_text(column, |text| texts.append_option(text))?;
    Ok(Arc::new(texts.finish()))
}

/// Returns how many of a unit are a second.
pub(super) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Writes the timestamps of a type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    unit: TimeUnit,
    per_second: i64,
    zoned: bool,
    /// The least number of digits of a second: 3, 6 or 9.
    digits_min: u32,
}

impl Times {
    /// Makes a writer of times with milliseconds, and with more digits only where they say
    /// something; those with a time zone end in `Z`.
    pub(crate) fn new(unit: TimeUnit, zoned: bool) -> Self {
        Self { unit, per_second: per_second(unit), zoned, digits_min: 3 }
    }

    /// Writes at least so many digits of a second: 3, 6 or 9.
    pub(crate) fn with_digits_min(self, digits_min: u32) -> Self {
        Self { digits_min, ..self }
    }

    /// Calls `visit` with the text of each row of a column of the type.
    pub(crate) fn each_text(
        self,
        column: &ArrayRef,
        mut visit: impl FnMut(Option<&str>),
    ) -> Result<(), ArrowError> {
        let numbers = cast(column, &DataType::Int64)?;
        let mut text = Vec::with_capacity(32);
        for number in numbers.as_primitive::<Int64Type>() {
            let Some(number) = number else {
                visit(None);
                continue;
            };
            text.clear();
            self.write(number, &mut text)?;
            visit(Some(str::from_utf8(&text).expect("digits and separators are UTF-8")));
        }
        Ok(())
    }

    /// Appends the time that is `number` units after 1970.
    pub(crate) fn write(self, number: i64, text: &mut Vec<u8>) -> Result<(), ArrowError> {
        let seconds = number.div_euclid(self.per_second);
        let nanos = number.rem_euclid(self.per_second) * (1_000_000_000 / self.per_second);
        write_time(seconds, nanos as u32, self.digits_min, text).ok_or_else(|| {
            ArrowError::ComputeError(format!(
                "timestamp {number} ({:?}) is out of range",
                self.unit
            ))
        })?;
        if self.zoned {
            text.push(b'Z');
        }
        Ok(())
    }
}

fn write_time(seconds: i64, nanos: u32, digits_min: u32, text: &mut Vec<u8>) -> Option<()> {
    let time = DateTime::from_timestamp(seconds, nanos)?;
    match u32::try_from(time.year()) {
        Ok(year) if year <= 9999 => write_digits(year, 4, text),
        _ => text.extend_from_slice(time.year().to_string().as_bytes()),
    }
    let parts = [
        (b'-', time.month()),
        (b'-', time.day()),
        (b' ', time.hour()),
        (b':', time.minute()),
        (b':', time.second()),
    ];
    for (separator, number) in parts {
        text.push(separator);
        write_digits(number, 2, text);
    }
    text.push(b'.');
    match nanos {
        _ if nanos.is_multiple_of(1_000_000) && digits_min <= 3 => {
            write_digits(nanos / 1_000_000, 3, text);
        }
        _ if nanos.is_multiple_of(1_000) && digits_min <= 6 => {
            write_digits(nanos / 1_000, 6, text);
        }
        _ => write_digits(nanos, 9, text),
    }
    Some(())
}

fn write_digits(number: u32, digits: u32, text: &mut Vec<u8>) {
    for place in (0..digits).rev() {
        let digit = number / 10_u32.pow(place) % 10;
        text.push(b'0' + digit as u8);
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, TimestampMicrosecondArray, TimestampMillisecondArray};

    use super::*;

    fn texts(column: impl Array + 'static) -> Vec<String> {
        let column: ArrayRef = Arc::new(column);
        let texts = column_as_text(&column).unwrap();
        texts.as_string::<i32>().iter().map(|text| text.unwrap_or("NULL").to_owned()).collect()
    }

    #[test]
    fn times_have_milliseconds_at_least() {
        let millis = TimestampMillisecondArray::from(vec![Some(978_307_200_000), Some(-1), None]);
        let expected = ["2001-01-01 00:00:00.000", "1969-12-31 23:59:59.999", "NULL"];
        assert_eq!(texts(millis), expected);
        let micros = TimestampMicrosecondArray::from(vec![1_500_000, 1_000_001]);
        let expected = ["1970-01-01 00:00:01.500", "1970-01-01 00:00:01.000001"];
        assert_eq!(texts(micros.clone()), expected);
        let zoned = micros.with_timezone("UTC");
        assert_eq!(texts(zoned)[0], "1970-01-01 00:00:01.500Z");
    }
}
