//! Writes a table's files.

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use super::committer::Committer;
use super::options::Options;
use super::place::Place;
use super::writer::{Names, STAGING, TableWriter};
use crate::connector::{CommitId, Committable, ConnectorContext, Sink, SinkWriter};
use crate::format::check_type;
use crate::graph::{SinkSpec, SinkTarget};
use crate::storage::Storage;
use crate::{Error, OperatorId, Result};

/// Writes a table's files: they are staged until a commit moves and names them.
#[derive(Debug)]
pub struct FilesystemSink {
    id: OperatorId,
    options: Options,
    schema: SchemaRef,
    partition_by: Vec<usize>,
    overwrite: bool,
    storage: Storage,
}

impl FilesystemSink {
    /// Makes the sink of a table.
    ///
    /// # Errors
    /// `Invalid` where an option is missing or wrong, or the format cannot hold a column.
    pub fn new(spec: &SinkSpec, context: &ConnectorContext) -> Result<Self> {
        let SinkTarget::Connector { options, overwrite, partition_by, .. } = &spec.target else {
            return Err(Error::Internal("the client's sink is not a connector".to_owned()));
        };
        let options = Options::parse(options)?;
        for (index, field) in spec.schema.fields().iter().enumerate() {
            if partition_by.contains(&index) {
                check_type("the name of a folder", field)?;
            } else {
                options.format.check_column(field)?;
            }
        }
        Ok(Self {
            id: spec.id,
            options,
            schema: SchemaRef::clone(&spec.schema),
            partition_by: partition_by.clone(),
            overwrite: *overwrite,
            storage: context.storage.clone(),
        })
    }

    fn place(&self) -> Result<Place> {
        let place = Place::resolve(&self.options.path, &self.storage)?;
        if place.is_pattern() {
            let url = place.url();
            return Err(Error::Invalid(format!("'{url}' is a pattern, so it cannot be written")));
        }
        Ok(place)
    }

    fn committer<'a>(&self, place: &'a Place) -> Committer<'a> {
        Committer { place, sink: self.id, overwrite: self.overwrite }
    }
}

#[async_trait]
impl Sink for FilesystemSink {
    async fn writer(&self, subtask: usize, attempt: &str) -> Result<Box<dyn SinkWriter>> {
        let place = self.place()?;
        if place.head(&place.path).await?.is_some() {
            let url = place.url();
            return Err(Error::Invalid(format!("'{url}' is a file, a directory is written")));
        }
        let names = Names {
            staging: format!("{STAGING}/{}/{attempt}", self.id),
            writer: format!("{attempt}-{subtask}"),
        };
        let (options, schema) = (self.options.clone(), &self.schema);
        Ok(Box::new(TableWriter::new(place, options, schema, &self.partition_by, names)?))
    }

    async fn commit(&self, id: &CommitId, committables: &[Committable]) -> Result<()> {
        self.committer(&self.place()?).commit(id, committables).await
    }

    async fn roll_back(&self, id: &CommitId) -> Result<()> {
        self.committer(&self.place()?).roll_back(id).await
    }
}
