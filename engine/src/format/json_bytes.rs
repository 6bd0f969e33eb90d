//! BYTES in JSON: base64 (RFC 4648, section 4), as in Flink.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, StringViewArray};
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;
use arrow::json::writer::{Encoder, EncoderFactory, EncoderOptions, NullableEncoder};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Makes arrow's writer of JSON write binaries as base64, also within rows and arrays.
#[derive(Debug)]
pub(super) struct BytesAsBase64;

impl EncoderFactory for BytesAsBase64 {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        if *array.data_type() != DataType::Binary {
            return Ok(None);
        }
        let bytes = Bytes { array: array.as_binary(), text: String::new() };
        Ok(Some(NullableEncoder::new(Box::new(bytes), array.nulls().cloned())))
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
