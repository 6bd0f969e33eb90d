//! Connectors by name.

use std::sync::Arc;

use super::{ConnectorContext, SinkRef, SourceRef, nexmark};
use crate::graph::{SinkSpec, SinkTarget, SourceSpec};
use crate::{Error, Result};

/// Makes the source of a table.
///
/// # Errors
/// `Invalid` where there is no such connector or an option is not one of its.
pub fn source(spec: &SourceSpec, context: &ConnectorContext) -> Result<SourceRef> {
    match spec.connector.as_str() {
        "nexmark" => Ok(Arc::new(nexmark::NexmarkSource::new(spec, context)?)),
        other => Err(unknown(other)),
    }
}

/// Makes the sink of a table.
///
/// # Errors
/// `Invalid` where there is no such connector or an option is not one of its.
pub fn sink(spec: &SinkSpec, _context: &ConnectorContext) -> Result<SinkRef> {
    match &spec.target {
        SinkTarget::Connector { connector, .. } => Err(unknown(connector)),
        SinkTarget::Client => {
            Err(Error::Internal("the client's sink is not a connector".to_owned()))
        }
    }
}

fn unknown(name: &str) -> Error {
    Error::Invalid(format!("no connector '{name}'"))
}
