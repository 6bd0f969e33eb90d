//! The one hash of keys, and the key groups that follow from it.
//!
//! The same 64 bits decide which subtask gets a row, where it lies in a group table and where a
//! join looks for partners, so they are computed once per batch. Equal values have equal hashes
//! whatever their encoding: strings of any layout, dictionaries, integers of any width, -0.0 and
//! 0.0, all NaNs. Checkpoints depend on it: changing any value is a new [`HASH_VERSION`].
//!
//! Nested columns are hashed by their Arrow row format.

use std::ops::Range;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Float16Array, Float32Array, Float64Array,
    PrimitiveArray,
};
use arrow::datatypes::{
    ArrowDictionaryKeyType, ArrowNativeType, DataType, Date32Type, Date64Type, Decimal32Type,
    Decimal64Type, Decimal128Type, Decimal256Type, DurationMicrosecondType,
    DurationMillisecondType, DurationNanosecondType, DurationSecondType, Int8Type, Int16Type,
    Int32Type, Int64Type, IntervalUnit, IntervalYearMonthType, Time32MillisecondType,
    Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type, i256,
};
use arrow::row::{RowConverter, SortField};

use crate::{Error, Result};

/// The version of the hash. State written under another one cannot be read.
pub const HASH_VERSION: u16 = 1;

const SEED: u64 = 0x243f_6a88_85a3_08d3;
const NULL: u64 = 0x1319_8a2e_0370_7344;
const WORD: u64 = 0x9e37_79b9_7f4a_7c15;
const TAIL: u64 = 0xa409_3822_299f_31d1;

/// Hashes rows: one value per row of `columns`, put into `hashes` in place of what was there.
/// Nulls have a hash of their own. Without columns there are no hashes.
///
/// # Errors
/// `Compute` where a nested column has a type without a row format.
pub fn hash_columns(columns: &[ArrayRef], hashes: &mut Vec<u64>) -> Result<()> {
    hashes.clear();
    hashes.resize(columns.first().map_or(0, Array::len), SEED);
    for column in columns {
        fold_column(column, hashes, |hash, value| *hash = mix(*hash, value))?;
    }
    Ok(())
}

/// Returns the key group of a hash, below `count`. It comes from bits that a hash table uses
/// neither for its buckets nor for its tags.
#[must_use]
pub fn key_group(hash: u64, count: u16) -> u16 {
    let bits = (hash >> 16) & u64::from(u32::MAX);
    ((bits * u64::from(count)) >> 32) as u16
}

/// Returns the subtask, out of `parallelism`, that owns a key group, out of `count`.
#[must_use]
pub fn subtask_of(key_group: u16, parallelism: usize, count: u16) -> usize {
    usize::from(key_group) * parallelism / usize::from(count)
}

/// Returns the key groups that a subtask owns: the inverse of [`subtask_of`]. The ranges of all
/// subtasks follow one another and cover all groups.
#[must_use]
pub fn key_groups_of(subtask: usize, parallelism: usize, count: u16) -> Range<u16> {
    let first = |subtask: usize| (subtask * usize::from(count)).div_ceil(parallelism) as u16;
    first(subtask)..first(subtask + 1)
}

/// Folds a value into a hash. The finalizer is that of SplitMix64 (Steele, Lea, Flood, 2014).
fn mix(hash: u64, value: u64) -> u64 {
    let mut bits = hash.rotate_left(29).wrapping_mul(WORD) ^ value;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Hashes bytes, eight at a time, by multiplying to 128 bits and folding the halves.
fn hash_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(WORD);
    for word in words {
        hash = fold_multiply(hash ^ u64::from_le_bytes(*word), WORD);
    }
    let mut tail = [0; 8];
    tail[..rest.len()].copy_from_slice(rest);
    fold_multiply(hash ^ u64::from_le_bytes(tail), TAIL)
}

fn fold_multiply(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Returns a float's bits, the same for both zeros and for all NaNs.
fn float_bits(value: f64) -> u64 {
    if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        // Adding 0.0 turns -0.0 into 0.0 and leaves everything else as it is.
        (value + 0.0).to_bits()
    }
}

fn wide_bits(value: i128) -> u64 {
    fold_multiply(value as u64 ^ SEED, (value >> 64) as u64 ^ TAIL)
}

/// Folds each row's value into its entry of `hashes`, which has an entry per row.
fn fold_column<C>(column: &dyn Array, hashes: &mut [u64], combine: C) -> Result<()>
where
    C: Fn(&mut u64, u64) + Copy,
{
    macro_rules! fold {
        ($kind:ty) => {
            fold_primitive::<$kind, C>(column.as_primitive(), hashes, combine, |value| {
                i64::from(value) as u64
            })
        };
    }
    match column.data_type() {
        DataType::Null => hashes.iter_mut().for_each(|hash| combine(hash, NULL)),
        DataType::Boolean => {
            fold_optional(column.as_boolean().iter(), hashes, combine, u64::from);
        }
        DataType::Int8 => fold!(Int8Type),
        DataType::Int16 => fold!(Int16Type),
        DataType::Int32 => fold!(Int32Type),
        DataType::Int64 => fold!(Int64Type),
        DataType::UInt8 => fold!(UInt8Type),
        DataType::UInt16 => fold!(UInt16Type),
        DataType::UInt32 => fold!(UInt32Type),
        DataType::UInt64 => {
            fold_primitive::<UInt64Type, C>(column.as_primitive(), hashes, combine, |value| value);
        }
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            fold_floats(column, hashes, combine);
        }
        DataType::Date32 => fold!(Date32Type),
        DataType::Date64 => fold!(Date64Type),
        DataType::Time32(TimeUnit::Second) => fold!(Time32SecondType),
        DataType::Time32(_) => fold!(Time32MillisecondType),
        DataType::Time64(TimeUnit::Microsecond) => fold!(Time64MicrosecondType),
        DataType::Time64(_) => fold!(Time64NanosecondType),
        DataType::Timestamp(TimeUnit::Second, _) => fold!(TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => fold!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => fold!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => fold!(TimestampNanosecondType),
        DataType::Duration(TimeUnit::Second) => fold!(DurationSecondType),
        DataType::Duration(TimeUnit::Millisecond) => fold!(DurationMillisecondType),
        DataType::Duration(TimeUnit::Microsecond) => fold!(DurationMicrosecondType),
        DataType::Duration(TimeUnit::Nanosecond) => fold!(DurationNanosecondType),
        DataType::Interval(IntervalUnit::YearMonth) => fold!(IntervalYearMonthType),
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => fold_decimals(column, hashes, combine),
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => fold_bytes(column, hashes, combine),
        DataType::Dictionary(key, _) => return fold_dictionary(column, key, hashes, combine),
        _ => return fold_rows(column, hashes, combine),
    }
    Ok(())
}

fn fold_primitive<T, C>(
    column: &PrimitiveArray<T>,
    hashes: &mut [u64],
    combine: C,
    bits: impl Fn(T::Native) -> u64,
) where
    T: ArrowPrimitiveType,
    C: Fn(&mut u64, u64),
{
    if column.null_count() == 0 {
        for (hash, value) in hashes.iter_mut().zip(column.values()) {
            combine(hash, bits(*value));
        }
    } else {
        fold_optional(column.iter(), hashes, combine, bits);
    }
}

fn fold_optional<V>(
    values: impl Iterator<Item = Option<V>>,
    hashes: &mut [u64],
    combine: impl Fn(&mut u64, u64),
    bits: impl Fn(V) -> u64,
) {
    for (hash, value) in hashes.iter_mut().zip(values) {
        combine(hash, value.map_or(NULL, &bits));
    }
}

fn fold_floats<C: Fn(&mut u64, u64) + Copy>(column: &dyn Array, hashes: &mut [u64], combine: C) {
    let any = column.as_any();
    if let Some(column) = any.downcast_ref::<Float64Array>() {
        fold_primitive(column, hashes, combine, float_bits);
    } else if let Some(column) = any.downcast_ref::<Float32Array>() {
        fold_primitive(column, hashes, combine, |value| float_bits(f64::from(value)));
    } else if let Some(column) = any.downcast_ref::<Float16Array>() {
        fold_primitive(column, hashes, combine, |value| float_bits(value.to_f64()));
    }
}

fn fold_decimals<C: Fn(&mut u64, u64) + Copy>(column: &dyn Array, hashes: &mut [u64], combine: C) {
    let wide = |value: i256| {
        let (low, high) = value.to_parts();
        if high == (low as i128) >> 127 {
            wide_bits(low as i128)
        } else {
            mix(wide_bits(low as i128), wide_bits(high))
        }
    };
    if let Some(column) = column.as_primitive_opt::<Decimal32Type>() {
        fold_primitive(column, hashes, combine, |value| wide_bits(i128::from(value)));
    } else if let Some(column) = column.as_primitive_opt::<Decimal64Type>() {
        fold_primitive(column, hashes, combine, |value| wide_bits(i128::from(value)));
    } else if let Some(column) = column.as_primitive_opt::<Decimal128Type>() {
        fold_primitive(column, hashes, combine, wide_bits);
    } else if let Some(column) = column.as_primitive_opt::<Decimal256Type>() {
        fold_primitive(column, hashes, combine, wide);
    }
}

fn fold_bytes<C: Fn(&mut u64, u64) + Copy>(column: &dyn Array, hashes: &mut [u64], combine: C) {
    let of_text = |value: &str| hash_bytes(value.as_bytes());
    match column.data_type() {
        DataType::Utf8 => {
            fold_optional(column.as_string::<i32>().iter(), hashes, combine, of_text);
        }
        DataType::LargeUtf8 => {
            fold_optional(column.as_string::<i64>().iter(), hashes, combine, of_text);
        }
        DataType::Utf8View => {
            fold_optional(column.as_string_view().iter(), hashes, combine, of_text);
        }
        DataType::Binary => {
            fold_optional(column.as_binary::<i32>().iter(), hashes, combine, hash_bytes);
        }
        DataType::LargeBinary => {
            fold_optional(column.as_binary::<i64>().iter(), hashes, combine, hash_bytes);
        }
        DataType::BinaryView => {
            fold_optional(column.as_binary_view().iter(), hashes, combine, hash_bytes);
        }
        _ => {
            fold_optional(column.as_fixed_size_binary().iter(), hashes, combine, hash_bytes);
        }
    }
}

fn fold_dictionary<C>(
    column: &dyn Array,
    key: &DataType,
    hashes: &mut [u64],
    combine: C,
) -> Result<()>
where
    C: Fn(&mut u64, u64) + Copy,
{
    fn fold<K: ArrowDictionaryKeyType>(
        column: &dyn Array,
        hashes: &mut [u64],
        combine: impl Fn(&mut u64, u64) + Copy,
    ) -> Result<()> {
        let dictionary = column.as_dictionary::<K>();
        let mut values = vec![0; dictionary.values().len()];
        // A function pointer, lest dictionaries of dictionaries instantiate without end.
        let assign: fn(&mut u64, u64) = |hash, value| *hash = value;
        fold_column(dictionary.values(), &mut values, assign)?;
        fold_primitive(dictionary.keys(), hashes, combine, |key| values[key.as_usize()]);
        Ok(())
    }
    match key {
        DataType::Int8 => fold::<Int8Type>(column, hashes, combine),
        DataType::Int16 => fold::<Int16Type>(column, hashes, combine),
        DataType::Int32 => fold::<Int32Type>(column, hashes, combine),
        DataType::Int64 => fold::<Int64Type>(column, hashes, combine),
        DataType::UInt8 => fold::<UInt8Type>(column, hashes, combine),
        DataType::UInt16 => fold::<UInt16Type>(column, hashes, combine),
        DataType::UInt32 => fold::<UInt32Type>(column, hashes, combine),
        _ => fold::<UInt64Type>(column, hashes, combine),
    }
}

fn fold_rows<C: Fn(&mut u64, u64)>(
    column: &dyn Array,
    hashes: &mut [u64],
    combine: C,
) -> Result<()> {
    let failed = |error| Error::compute("hash a nested column", error);
    let field = SortField::new(column.data_type().clone());
    let converter = RowConverter::new(vec![field]).map_err(failed)?;
    let rows = converter.convert_columns(&[column.slice(0, column.len())]).map_err(failed)?;
    for (row, hash) in hashes.iter_mut().enumerate() {
        let value = if column.is_null(row) { NULL } else { hash_bytes(rows.row(row).as_ref()) };
        combine(hash, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
