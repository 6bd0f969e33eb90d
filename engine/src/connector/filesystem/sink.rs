//! Writes a table's files.

use async_trait::async_trait;

use super::options::Options;
use crate::connector::{CommitId, Committable, ConnectorContext, Sink, SinkWriter};
use crate::graph::{SinkSpec, SinkTarget};
use crate::{Error, Result};

/// Writes a table's files.
#[derive(Debug)]
pub struct FilesystemSink {
    options: Options,
}

impl FilesystemSink {
    /// Makes the sink of a table.
    ///
    /// # Errors
    /// `Invalid` where an option is missing or wrong.
    pub fn new(spec: &SinkSpec, _context: &ConnectorContext) -> Result<Self> {
        let SinkTarget::Connector { options, .. } = &spec.target else {
            return Err(Error::Internal("the client is no table".to_owned()));
        };
        Ok(Self { options: Options::parse(options)? })
    }
}

#[async_trait]
impl Sink for FilesystemSink {
    async fn writer(&self, _subtask: usize, _attempt: &str) -> Result<Box<dyn SinkWriter>> {
        Err(Error::Invalid(format!("'{}' cannot be written yet", self.options.path)))
    }

    async fn commit(&self, _id: &CommitId, _committables: &[Committable]) -> Result<()> {
        Err(Error::Invalid(format!("'{}' cannot be written yet", self.options.path)))
    }
}
