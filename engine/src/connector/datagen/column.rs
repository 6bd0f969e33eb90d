//! What is generated for a column, from its type and options.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, ListArray, MapArray, StructArray, make_array};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields};

use super::options::Options;
use super::values::{self, Length};
use crate::connector::counted::wrong_option;
use crate::connector::random::{Draws, unit};
use crate::map_entries::last_entries;
use crate::time::TimestampMs;
use crate::wording::type_sql;
use crate::{Error, Result};

/// The length of texts and binaries unless told otherwise, as in Flink.
const DEFAULT_LENGTH: usize = 100;
/// The length of arrays and maps unless told otherwise, as in Flink.
const DEFAULT_ENTRIES: usize = 3;

/// A column and how its values come about.
#[derive(Debug, Clone)]
pub(super) struct Column {
    name: String,
    data_type: DataType,
    draws: Draws,
    nulls: Draws,
    null_rate: f64,
    values: Values,
}

#[derive(Debug, Clone)]
enum Values {
    Sequence { start: i64, end: i64 },
    Boolean,
    Integer { min: i64, max: i64 },
    Decimal { min: i128, max: i128 },
    Float { min: f64, max: f64 },
    Text(Length),
    Binary(Length),
    Timestamp { max_past_ms: u64 },
    Date,
    Time,
    Row(Vec<Column>),
    Array { element: Box<Column>, length: usize },
    Map { key: Box<Column>, value: Box<Column>, length: usize },
}

/// Plans columns, or the fields of a row whose path is `parent`.
pub(super) fn plan(
    fields: &Fields,
    parent: &str,
    seed: u64,
    options: &mut Options<'_>,
) -> Result<Vec<Column>> {
    fields
        .iter()
        .map(|field| {
            let path = format!("{parent}{}", field.name());
            let planner = Planner { path: &path, seed, options };
            let (null_rate, values) = planner.plan(field.data_type())?;
            Ok(Column::new(field, &path, seed, null_rate, values))
        })
        .collect()
}

/// Returns the columns that a narrowed schema asks for.
pub(super) fn narrow(columns: &[Column], fields: &Fields) -> Result<Vec<Column>> {
    fields
        .iter()
        .map(|field| {
            let known = columns.iter().find(|column| column.name == *field.name());
            let mut column = known.cloned().ok_or_else(|| {
                Error::Internal(format!("column {} is not of the table", field.name()))
            })?;
            if let (Values::Row(inner), DataType::Struct(fields)) =
                (&column.values, field.data_type())
            {
                column.values = Values::Row(narrow(inner, fields)?);
            }
            column.data_type = field.data_type().clone();
            Ok(column)
        })
        .collect()
}

/// Gives each column random numbers of its own, whatever other columns there are (FNV-1a).
fn stream_of(path: &str) -> u64 {
    path.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl Column {
    fn new(field: &Field, path: &str, seed: u64, null_rate: f64, values: Values) -> Self {
        Self {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            draws: Draws::new(seed, stream_of(path)),
            nulls: Draws::new(seed, !stream_of(path)),
            null_rate,
            values,
        }
    }

    /// Returns after how many rows a sequence in it ends.
    pub(super) fn rows(&self) -> Option<u64> {
        match &self.values {
            Values::Sequence { start, end } => Some(end.abs_diff(*start).saturating_add(1)),
            Values::Row(columns) => columns.iter().filter_map(Self::rows).min(),
            _ => None,
        }
    }

    /// Makes the values of these rows.
    pub(super) fn generate(&self, numbers: &[u64], now: TimestampMs) -> Result<ArrayRef> {
        let draws = self.draws;
        let array: ArrayRef = match &self.values {
            Values::Sequence { start, .. } => {
                let values = numbers.iter().map(|number| start.wrapping_add(*number as i64));
                Arc::new(Int64Array::from_iter_values(values))
            }
            Values::Boolean => values::booleans(draws, numbers),
            Values::Integer { min, max } => values::integers(draws, numbers, *min, *max),
            Values::Decimal { min, max } => return self.decimals(numbers, *min, *max),
            Values::Float { min, max } => values::floats(draws, numbers, *min, *max),
            Values::Text(length) => values::texts(draws, numbers, *length),
            Values::Binary(length) => values::binaries(draws, numbers, *length),
            Values::Timestamp { max_past_ms } => self.timestamps(numbers, now, *max_past_ms),
            Values::Date => values::dates(numbers.len(), now),
            Values::Time => values::times(numbers.len(), now),
            Values::Row(columns) => return self.rows_of(columns, numbers, now),
            Values::Array { element, length } => {
                return self.arrays(element, *length, numbers, now);
            }
            Values::Map { key, value, length } => {
                return self.maps([key, value], *length, numbers, now);
            }
        };
        let array = cast(&array, &self.data_type).map_err(|error| self.failed(error))?;
        self.with_nulls(array, numbers)
    }

    fn decimals(&self, numbers: &[u64], min: i128, max: i128) -> Result<ArrayRef> {
        let (DataType::Decimal128(precision, scale), draws) = (&self.data_type, self.draws) else {
            return Err(Error::Internal(format!("{} is no decimal", self.name)));
        };
        let array = values::decimals(draws, numbers, min, max)
            .with_precision_and_scale(*precision, *scale)
            .map_err(|error| self.failed(error))?;
        self.with_nulls(Arc::new(array), numbers)
    }

    fn timestamps(&self, numbers: &[u64], now: TimestampMs, max_past_ms: u64) -> ArrayRef {
        let array = values::timestamps(self.draws, numbers, now, max_past_ms);
        match &self.data_type {
            DataType::Timestamp(_, Some(zone)) => Arc::new(array.with_timezone(Arc::clone(zone))),
            _ => Arc::new(array),
        }
    }

    fn rows_of(&self, columns: &[Self], numbers: &[u64], now: TimestampMs) -> Result<ArrayRef> {
        let DataType::Struct(fields) = &self.data_type else {
            return Err(Error::Internal(format!("{} is no row", self.name)));
        };
        let arrays = columns.iter().map(|column| column.generate(numbers, now));
        let rows = StructArray::try_new_with_length(
            fields.clone(),
            arrays.collect::<Result<_>>()?,
            self.validity(numbers),
            numbers.len(),
        );
        rows.map(|rows| Arc::new(rows) as ArrayRef).map_err(|error| self.failed(error))
    }

    fn arrays(
        &self,
        element: &Self,
        length: usize,
        numbers: &[u64],
        now: TimestampMs,
    ) -> Result<ArrayRef> {
        let DataType::List(item) = &self.data_type else {
            return Err(Error::Internal(format!("{} is no array", self.name)));
        };
        let values = element.generate(&entries(numbers, length), now)?;
        let offsets = OffsetBuffer::from_repeated_length(length, numbers.len());
        ListArray::try_new(Arc::clone(item), offsets, values, self.validity(numbers))
            .map(|arrays| Arc::new(arrays) as ArrayRef)
            .map_err(|error| self.failed(error))
    }

    /// Makes maps; of equal keys the last one counts, so they may be shorter.
    fn maps(
        &self,
        columns: [&Self; 2],
        length: usize,
        numbers: &[u64],
        now: TimestampMs,
    ) -> Result<ArrayRef> {
        let DataType::Map(pair, sorted) = &self.data_type else {
            return Err(Error::Internal(format!("{} is no map", self.name)));
        };
        let DataType::Struct(fields) = pair.data_type() else {
            return Err(Error::Internal(format!("{} has no entries", self.name)));
        };
        let numbers_within = entries(numbers, length);
        let columns = columns.into_iter().map(|column| column.generate(&numbers_within, now));
        let columns = columns.collect::<Result<_>>()?;
        let offsets = OffsetBuffer::from_repeated_length(length, numbers.len());
        let validity = self.validity(numbers);
        StructArray::try_new(fields.clone(), columns, None)
            .and_then(|entries| {
                MapArray::try_new(Arc::clone(pair), offsets, entries, validity, *sorted)
            })
            .and_then(|maps| last_entries(&(Arc::new(maps) as ArrayRef)))
            .map_err(|error| self.failed(error))
    }

    /// Returns which rows are not null; `None` where all are.
    fn validity(&self, numbers: &[u64]) -> Option<NullBuffer> {
        let valid = |row: usize| unit(self.nulls.at(numbers[row])) >= self.null_rate;
        (self.null_rate > 0.0)
            .then(|| NullBuffer::new(BooleanBuffer::collect_bool(numbers.len(), valid)))
    }

    fn with_nulls(&self, array: ArrayRef, numbers: &[u64]) -> Result<ArrayRef> {
        let Some(nulls) = self.validity(numbers) else { return Ok(array) };
        let data = array.to_data().into_builder().nulls(Some(nulls)).build();
        data.map(make_array).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: arrow::error::ArrowError) -> Error {
        Error::compute(format!("generate column {}", self.name), error)
    }
}

/// Numbers the entries of collections of rows: each row's follow those of the row before.
fn entries(numbers: &[u64], length: usize) -> Vec<u64> {
    let length = length as u64;
    let of_row = |number: &u64| {
        let first = number.wrapping_mul(length);
        (0..length).map(move |entry| first.wrapping_add(entry))
    };
    numbers.iter().flat_map(of_row).collect()
}

/// Plans one column.
struct Planner<'a, 'b> {
    path: &'a str,
    seed: u64,
    options: &'a mut Options<'b>,
}

impl Planner<'_, '_> {
    fn key(&self, option: &str) -> String {
        format!("{}{}.{option}", super::FIELD_OPTIONS_PREFIX, self.path)
    }

    /// Returns the share of nulls and the values.
    fn plan(self, data_type: &DataType) -> Result<(f64, Values)> {
        let kind = self.options.text(&self.key("kind")).unwrap_or("random");
        match kind {
            "sequence" => Ok((0.0, self.sequence(data_type)?)),
            "random" => Ok((self.null_rate()?, self.random(data_type)?)),
            other => Err(wrong_option(&self.key("kind"), other, "'random' or 'sequence'")),
        }
    }

    fn null_rate(&self) -> Result<f64> {
        const EXPECTED: &str = "a share between 0 and 1";
        let key = self.key("null-rate");
        let rate = self.options.number(&key, EXPECTED)?.unwrap_or(0.0);
        if (0.0..=1.0).contains(&rate) { Ok(rate) } else { Err(wrong_option(&key, rate, EXPECTED)) }
    }

    fn sequence(&self, data_type: &DataType) -> Result<Values> {
        let countable = data_type.is_numeric() || *data_type == DataType::Utf8View;
        if !countable {
            let expected = "'random', since its type cannot count";
            return Err(wrong_option(&self.key("kind"), "sequence", expected));
        }
        let bound = |option: &str| {
            let key = self.key(option);
            self.options.number::<i64>(&key, "a whole number")?.ok_or_else(|| {
                Error::Invalid(format!("option '{key}' is missing: a sequence has start and end"))
            })
        };
        let (start, end) = (bound("start")?, bound("end")?);
        if start > end {
            return Err(wrong_option(&self.key("end"), end, &format!("at least {start}")));
        }
        Ok(Values::Sequence { start, end })
    }

    fn random(mut self, data_type: &DataType) -> Result<Values> {
        match data_type {
            DataType::Boolean => Ok(Values::Boolean),
            DataType::Int8 => self.integer(i8::MIN.into(), i8::MAX.into()),
            DataType::Int16 => self.integer(i16::MIN.into(), i16::MAX.into()),
            DataType::Int32 => self.integer(i32::MIN.into(), i32::MAX.into()),
            DataType::Int64 => self.integer(i64::MIN, i64::MAX),
            DataType::Float32 => self.float(f64::from(f32::MIN), f64::from(f32::MAX)),
            DataType::Float64 => self.float(f64::MIN, f64::MAX),
            DataType::Decimal128(precision, scale) => self.decimal(*precision, *scale),
            DataType::Utf8View | DataType::Utf8 => Ok(Values::Text(self.text_length()?)),
            DataType::Binary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Ok(Values::Binary(self.text_length()?))
            }
            DataType::Timestamp(_, _) => {
                let max_past = self.options.duration(&self.key("max-past"))?.unwrap_or_default();
                Ok(Values::Timestamp { max_past_ms: max_past.as_millis() as u64 })
            }
            DataType::Date32 => Ok(Values::Date),
            DataType::Time32(_) | DataType::Time64(_) => Ok(Values::Time),
            DataType::Struct(fields) => {
                let parent = format!("{}.", self.path);
                Ok(Values::Row(plan(fields, &parent, self.seed, self.options)?))
            }
            DataType::List(item) => {
                let length = self.length(DEFAULT_ENTRIES)?;
                Ok(Values::Array { element: self.entry("element", item)?, length })
            }
            DataType::Map(pair, _) => match pair.data_type() {
                DataType::Struct(pair) => {
                    let length = self.length(DEFAULT_ENTRIES)?;
                    let (key, value) = (&pair[0], &pair[1]);
                    let (key, value) = (self.entry("key", key)?, self.entry("value", value)?);
                    Ok(Values::Map { key, value, length })
                }
                _ => Err(Error::Internal(format!("{} has no entries", self.path))),
            },
            other => Err(Error::Invalid(format!(
                "connector 'datagen' does not generate column '{}' of type {}",
                self.path,
                type_sql(other)
            ))),
        }
    }

    /// Plans what arrays and maps are of: always random, with options of its own.
    fn entry(&mut self, name: &str, field: &Field) -> Result<Box<Column>> {
        let path = format!("{}.{name}", self.path);
        let planner = Planner { path: &path, seed: self.seed, options: self.options };
        let null_rate = if field.is_nullable() { planner.null_rate()? } else { 0.0 };
        let values = planner.random(field.data_type())?;
        Ok(Box::new(Column::new(field, &path, self.seed, null_rate, values)))
    }

    fn length(&self, default: usize) -> Result<usize> {
        Ok(self.options.number(&self.key("length"), "a length")?.unwrap_or(default))
    }

    fn text_length(&self) -> Result<Length> {
        let most = self.length(DEFAULT_LENGTH)?;
        let varies = self.options.number(&self.key("var-len"), "'true' or 'false'")?;
        Ok(Length { most, varies: varies.unwrap_or(false) })
    }

    /// Reads `min` and `max`, which must lie within the type's own.
    fn bounds<T>(&self, least: T, most: T, expected: &str) -> Result<(T, T)>
    where
        T: std::str::FromStr + PartialOrd + Copy + std::fmt::Display,
    {
        let min = self.options.number(&self.key("min"), expected)?.unwrap_or(least);
        let max = self.options.number(&self.key("max"), expected)?.unwrap_or(most);
        let range = format!("{expected} between {least} and {most}");
        if !(least..=most).contains(&min) {
            return Err(wrong_option(&self.key("min"), min, &range));
        }
        if !(min..=most).contains(&max) {
            let range = format!("{expected} between {min} and {most}");
            return Err(wrong_option(&self.key("max"), max, &range));
        }
        Ok((min, max))
    }

    fn integer(&self, least: i64, most: i64) -> Result<Values> {
        let (min, max) = self.bounds(least, most, "a whole number")?;
        Ok(Values::Integer { min, max })
    }

    fn float(&self, least: f64, most: f64) -> Result<Values> {
        let (min, max) = self.bounds(least, most, "a number")?;
        Ok(Values::Float { min, max })
    }

    fn decimal(&self, precision: u8, scale: i8) -> Result<Values> {
        let unit = 10_f64.powi(i32::from(scale));
        let most = 10_i128.pow(u32::from(precision.min(38))) - 1;
        let bound = most as f64 / unit;
        let (min, max) = self.bounds(-bound, bound, "a number")?;
        let unscaled = |bound: f64| ((bound * unit).round() as i128).clamp(-most, most);
        Ok(Values::Decimal { min: unscaled(min), max: unscaled(max) })
    }
}
