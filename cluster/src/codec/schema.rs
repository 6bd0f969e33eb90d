//! Schemas as DataFusion's messages. Not as Arrow IPC, whose reader panics on a damaged schema.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use bytes::Bytes;
use datafusion_proto::protobuf;
use prost::Message;
use rainstorm_engine::{Error, Result};

pub(super) fn encode_schema(schema: &Schema) -> Result<Bytes> {
    let message = protobuf::Schema::try_from(schema)
        .map_err(|error| Error::compute("encode a schema", to_datafusion(&error)))?;
    Ok(message.encode_to_vec().into())
}

pub(super) fn decode_schema(bytes: &[u8]) -> Result<SchemaRef> {
    let message = protobuf::Schema::decode(bytes)
        .map_err(|error| Error::Invalid(format!("unreadable schema: {error}")))?;
    let schema = Schema::try_from(&message)
        .map_err(|error| Error::compute("decode a schema", to_datafusion(&error)))?;
    Ok(Arc::new(schema))
}

fn to_datafusion(error: &impl ToString) -> datafusion::error::DataFusionError {
    datafusion::error::DataFusionError::Plan(error.to_string())
}

pub(super) fn encode_schemas(schemas: &[SchemaRef]) -> Result<Vec<Bytes>> {
    schemas.iter().map(|schema| encode_schema(schema)).collect()
}

pub(super) fn decode_schemas(schemas: &[Bytes]) -> Result<Vec<SchemaRef>> {
    schemas.iter().map(|bytes| decode_schema(bytes)).collect()
}

pub(super) fn encode_field(field: &FieldRef) -> Result<Bytes> {
    encode_schema(&Schema::new(vec![Arc::clone(field)]))
}

pub(super) fn decode_field(bytes: &[u8]) -> Result<FieldRef> {
    let schema = decode_schema(bytes)?;
    match &**schema.fields() {
        [field] => Ok(Arc::clone(field)),
        other => Err(Error::Invalid(format!("{} fields in place of one", other.len()))),
    }
}
