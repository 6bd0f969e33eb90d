//! Writes a table's files.

use std::sync::Arc;

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
use crate::time::ClockRef;
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
    clock: ClockRef,
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
        if let Some(commit) = &options.commit {
            let fields = partition_by.iter().map(|index| spec.schema.field(*index).name().as_str());
            commit.check(&fields.collect::<Vec<_>>())?;
        }
        Ok(Self {
            id: spec.id,
            options,
            schema: SchemaRef::clone(&spec.schema),
            partition_by: partition_by.clone(),
            overwrite: *overwrite,
            storage: context.storage.clone(),
            clock: Arc::clone(&context.clock),
        })
    }

    fn place(&self) -> Result<Place> {
        let place = Place::resolve(&self.options.path, &self.storage)?;
        if place.is_pattern() {
            let (url, wildcard) = (place.url(), place.wildcard());
            return Err(Error::Invalid(format!("'{url}' cannot be written: it is {wildcard}")));
        }
        Ok(place)
    }

    fn committer<'a>(&'a self, place: &'a Place) -> Committer<'a> {
        Committer {
            place,
            sink: self.id,
            overwrite: self.overwrite,
            partitions: self.options.commit.as_ref(),
            now_ms: self.clock.now_ms(),
        }
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
        let (mut options, clock) = (self.options.clone(), Arc::clone(&self.clock));
        if self.overwrite {
            // All partitions are published, and complete, at the end.
            options.commit = None;
        }
        let (schema, partition_by) = (&self.schema, &self.partition_by);
        Ok(Box::new(TableWriter::new(place, options, clock, schema, partition_by, names)?))
    }

    async fn commit(&self, id: &CommitId, committables: &[Committable]) -> Result<()> {
        self.committer(&self.place()?).commit(id, committables).await
    }

    async fn roll_back(&self, id: &CommitId) -> Result<()> {
        self.committer(&self.place()?).roll_back(id).await
    }
}
