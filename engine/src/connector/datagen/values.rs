//! Random values of one column, by row number.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
    StringViewBuilder, Time64MicrosecondArray, TimestampMillisecondArray,
};

use crate::connector::random::{Draws, unit};
use crate::time::TimestampMs;

const DAY_MS: i64 = 86_400_000;

/// Makes integers in `min..=max`.
pub(super) fn integers(draws: Draws, numbers: &[u64], min: i64, max: i64) -> ArrayRef {
    let span = (i128::from(max) - i128::from(min) + 1) as u128;
    let value = |number: &u64| {
        let offset = (u128::from(draws.at(*number)) * span) >> 64;
        (i128::from(min) + offset as i128) as i64
    };
    Arc::new(Int64Array::from_iter_values(numbers.iter().map(value)))
}

/// Makes decimals whose unscaled values are in `min..=max`, not yet with their precision.
pub(super) fn decimals(draws: Draws, numbers: &[u64], min: i128, max: i128) -> Decimal128Array {
    let span = (max - min + 1) as u128;
    let value = |number: &u64| {
        let bits = (u128::from(draws.at(2 * number)) << 64) | u128::from(draws.at(2 * number + 1));
        min + (bits % span) as i128
    };
    Decimal128Array::from_iter_values(numbers.iter().map(value))
}

/// Makes floats in `[min, max)`.
pub(super) fn floats(draws: Draws, numbers: &[u64], min: f64, max: f64) -> ArrayRef {
    // Not min + u * (max - min), since the difference of the two may be infinite.
    let value = |number: &u64| {
        let share = unit(draws.at(*number));
        min * (1.0 - share) + max * share
    };
    Arc::new(Float64Array::from_iter_values(numbers.iter().map(value)))
}

/// Makes truth values.
pub(super) fn booleans(draws: Draws, numbers: &[u64]) -> ArrayRef {
    let values: Vec<bool> = numbers.iter().map(|number| draws.at(*number) >> 63 == 1).collect();
    Arc::new(BooleanArray::from(values))
}

/// How long texts and binaries are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Length {
    /// The length, or the largest one.
    pub(super) most: usize,
    /// Whether all lengths from 1 on occur, by chance.
    pub(super) varies: bool,
}

impl Length {
    fn of_row(self, draws: Draws, number: u64) -> usize {
        if !self.varies || self.most == 0 {
            return self.most;
        }
        // The draws of the text count up from `number << 24`; this one comes from behind.
        let bits = draws.at(!number);
        1 + ((u128::from(bits) * self.most as u128) >> 64) as usize
    }
}

/// Makes texts of hexadecimal digits.
pub(super) fn texts(draws: Draws, numbers: &[u64], length: Length) -> ArrayRef {
    let mut builder = StringViewBuilder::with_capacity(numbers.len());
    let mut text = String::with_capacity(length.most);
    for number in numbers {
        text.clear();
        let bytes = Bytes::new(draws, *number);
        let length = length.of_row(draws, *number);
        let digits = bytes.flat_map(|byte| [byte >> 4, byte & 15]).take(length);
        text.extend(digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])));
        builder.append_value(&text);
    }
    Arc::new(builder.finish())
}

/// Makes random bytes.
pub(super) fn binaries(draws: Draws, numbers: &[u64], length: Length) -> ArrayRef {
    let mut builder = BinaryBuilder::with_capacity(numbers.len(), numbers.len() * length.most);
    let mut value = Vec::with_capacity(length.most);
    for number in numbers {
        value.clear();
        let length = length.of_row(draws, *number);
        value.extend(Bytes::new(draws, *number).take(length));
        builder.append_value(&value);
    }
    Arc::new(builder.finish())
}

/// Makes times between `max_past_ms` ago and now.
pub(super) fn timestamps(
    draws: Draws,
    numbers: &[u64],
    now: TimestampMs,
    max_past_ms: u64,
) -> TimestampMillisecondArray {
    let value = |number: &u64| {
        let past = (u128::from(draws.at(*number)) * (u128::from(max_past_ms) + 1)) >> 64;
        now.saturating_sub(past as i64)
    };
    TimestampMillisecondArray::from_iter_values(numbers.iter().map(value))
}

/// Makes the current date, over and over.
pub(super) fn dates(rows: usize, now: TimestampMs) -> ArrayRef {
    Arc::new(Date32Array::from_value(now.div_euclid(DAY_MS) as i32, rows))
}

/// Makes the current time of day, over and over.
pub(super) fn times(rows: usize, now: TimestampMs) -> ArrayRef {
    Arc::new(Time64MicrosecondArray::from_value(now.rem_euclid(DAY_MS) * 1000, rows))
}

/// The endless random bytes of a row.
struct Bytes {
    draws: Draws,
    next: u64,
    word: u64,
    left: u8,
}

impl Bytes {
    fn new(draws: Draws, number: u64) -> Self {
        // Rows begin far from each other, so that their bytes do not overlap.
        Self { draws, next: number << 24, word: 0, left: 0 }
    }
}

impl Iterator for Bytes {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if self.left == 0 {
            self.word = self.draws.at(self.next);
            self.next = self.next.wrapping_add(1);
            self.left = 8;
        }
        let byte = self.word as u8;
        self.word >>= 8;
        self.left -= 1;
        Some(byte)
    }
}
