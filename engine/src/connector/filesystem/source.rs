//! Reads a table's files, a split each.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::options::Options;
use super::place::Place;
use super::position::Position;
use super::reader::{EndedReader, FileReader, Wanted};
use crate::connector::{ConnectorContext, Source, Split, SplitReader};
use crate::graph::SourceSpec;
use crate::storage::Storage;
use crate::{Error, Result};

/// Reads a table's files.
#[derive(Debug)]
pub struct FilesystemSource {
    options: Options,
    table_schema: SchemaRef,
    schema: SchemaRef,
    limit: Option<u64>,
    storage: Storage,
}

impl FilesystemSource {
    /// Makes the source of the columns in `spec.schema`.
    ///
    /// # Errors
    /// `Invalid` where an option is missing or wrong, or the format cannot hold a column.
    pub fn new(spec: &SourceSpec, context: &ConnectorContext) -> Result<Self> {
        if let Some(filter) = spec.filters.first() {
            return Err(Error::Invalid(format!(
                "connector 'filesystem' does not enforce the filter {filter}"
            )));
        }
        let options = Options::parse(&spec.options)?;
        for field in spec.table_schema.fields() {
            options.format.check_column(field)?;
        }
        Ok(Self {
            options,
            table_schema: Arc::clone(&spec.table_schema),
            schema: Arc::clone(&spec.schema),
            limit: spec.limit,
            storage: context.storage.clone(),
        })
    }

    fn place(&self) -> Result<Place> {
        Place::resolve(&self.options.path, &self.storage)
    }
}

#[async_trait]
impl Source for FilesystemSource {
    fn bounded(&self) -> bool {
        true
    }

    async fn splits(&self, _parallelism: usize) -> Result<Vec<Split>> {
        let files = self.place()?.files().await?;
        let split = |file: ObjectMeta| {
            let position = Position::begin(&file).print();
            Split { id: file.location.into(), position }
        };
        Ok(files.into_iter().map(split).collect())
    }

    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>> {
        let position = Position::parse(&split.position)?;
        if position.ended {
            return Ok(Box::new(EndedReader(position)));
        }
        let place = self.place()?;
        let path = Path::parse(&split.id)
            .map_err(|error| Error::storage(format!("open '{}'", split.id), error.into()))?;
        let file = place.head(&path).await?.ok_or_else(|| {
            let name = place.display(&path);
            Error::Invalid(format!("file '{name}' of table at '{}' is gone", place.url()))
        })?;
        let wanted = Wanted {
            options: &self.options,
            table_schema: &self.table_schema,
            schema: &self.schema,
            limit: self.limit,
        };
        position.check(&file, &place.display(&path))?;
        Ok(Box::new(FileReader::open(&place, file, position, &wanted).await?))
    }
}
