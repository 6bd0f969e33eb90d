//! Values that JSON has no form of its own for, as in Flink: BYTES are base64 (RFC 4648, section 4),
//! and numbers that are not finite are texts.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, StringViewArray};
use arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::json::writer::{Encoder, EncoderFactory, EncoderOptions, NullableEncoder, make_encoder};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Makes arrow's writer of JSON write such values, also within rows and arrays. Of itself it writes
/// binaries in hexadecimal digits, and null for numbers that are not finite.
#[derive(Debug)]
pub(super) struct JsonValues;

impl EncoderFactory for JsonValues {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Option<Box<dyn Encoder>> = match array.data_type() {
            DataType::Binary => {
                Some(Box::new(Bytes { array: array.as_binary(), text: String::new() }))
            }
            DataType::Float32 => {
                let values = array.as_primitive::<Float32Type>().values();
                not_finite(values.iter().map(|value| f64::from(*value)), field, array)?
            }
            DataType::Float64 => {
                let values = array.as_primitive::<Float64Type>().values();
                not_finite(values.iter().copied(), field, array)?
            }
            _ => None,
        };
        Ok(encoder.map(|encoder| NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

struct Bytes<'a> {
    array: &'a BinaryArray,
    /// The text of one value; kept for its memory.
    text: String,
}

impl Encoder for Bytes<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        self.text.clear();
        BASE64_STANDARD.encode_string(self.array.value(row), &mut self.text);
        out.push(b'"');
        out.extend_from_slice(self.text.as_bytes());
        out.push(b'"');
    }
}

/// How arrow writes what is left to it.
static PLAIN: LazyLock<EncoderOptions> = LazyLock::new(EncoderOptions::default);

/// Numbers of which some are not finite.
struct Numbers<'a> {
    finite: NullableEncoder<'a>,
    /// What stands for those that are not.
    texts: Vec<Option<&'static str>>,
}

/// Returns an encoder for numbers of which some are not finite, `None` for others.
fn not_finite<'a>(
    numbers: impl Iterator<Item = f64> + Clone,
    field: &'a FieldRef,
    array: &'a dyn Array,
) -> Result<Option<Box<dyn Encoder + 'a>>, ArrowError> {
    if numbers.clone().all(f64::is_finite) {
        return Ok(None);
    }
    let text = |number: f64| match number {
        f64::INFINITY => Some("\"Infinity\""),
        f64::NEG_INFINITY => Some("\"-Infinity\""),
        number => number.is_nan().then_some("\"NaN\""),
    };
    let finite = make_encoder(field, array, &PLAIN)?;
    Ok(Some(Box::new(Numbers { finite, texts: numbers.map(text).collect() })))
}

impl Encoder for Numbers<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        match self.texts[row] {
            Some(text) => out.extend_from_slice(text.as_bytes()),
            None => self.finite.encode(row, out),
        }
    }
}

/// Reads binaries from texts.
///
/// # Errors
/// The first text that is not base64.
pub(super) fn bytes_of(texts: &StringViewArray) -> Result<ArrayRef, String> {
    let mut bytes = BinaryBuilder::with_capacity(texts.len(), 0);
    for text in texts {
        match text.map(|text| BASE64_STANDARD.decode(text).map_err(|_| text.to_owned())) {
            Some(decoded) => bytes.append_value(decoded?),
            None => bytes.append_null(),
        }
    }
    Ok(Arc::new(bytes.finish()))
}
