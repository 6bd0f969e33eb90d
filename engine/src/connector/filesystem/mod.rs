//! The connector `filesystem`: tables that are files, in any object store.

mod options;

use async_trait::async_trait;

pub use options::OPTIONS;

use self::options::Options;
use super::{
    CommitId, Committable, ConnectorContext, Sink, SinkWriter, Source, Split, SplitReader,
};
use crate::graph::{SinkSpec, SinkTarget, SourceSpec};
use crate::{Error, Result};

/// Reads a table's files.
#[derive(Debug)]
pub struct FilesystemSource {
    options: Options,
}

impl FilesystemSource {
    /// Makes the source of the columns in `spec.schema`.
    ///
    /// # Errors
    /// `Invalid` where an option is missing or wrong.
    pub fn new(spec: &SourceSpec, _context: &ConnectorContext) -> Result<Self> {
        Ok(Self { options: Options::parse(&spec.options)? })
    }
}

#[async_trait]
impl Source for FilesystemSource {
    fn bounded(&self) -> bool {
        true
    }

    async fn splits(&self, _parallelism: usize) -> Result<Vec<Split>> {
        Err(Error::Invalid(format!("'{}' cannot be read yet", self.options.path)))
    }

    async fn open(&self, _split: &Split) -> Result<Box<dyn SplitReader>> {
        Err(Error::Invalid(format!("'{}' cannot be read yet", self.options.path)))
    }
}

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
