//! Writes the rows of one subtask into staged files.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::commits::TableFile;
use super::options::Options;
use super::partition_commit::{PartitionCommit, check_folder};
use super::partitioner::Partitioner;
use super::place::Place;
use crate::batch::Batch;
use crate::connector::{Committable, SinkWriter};
use crate::format::{Compression, Encoder};
use crate::time::{ClockRef, TimestampMs, Watermark};
use crate::{Epoch, Error, Result};

/// The folder of files that have not been committed.
pub(super) const STAGING: &str = "_staging";
/// How many files a writer keeps open; with more partitions, the one used longest ago is closed.
const OPEN_PARTS: usize = 32;
/// How much a writer holds in memory of all its open files; beyond it the one used longest ago is
/// closed. Less memory makes more and smaller files where rows come in no order of partitions.
const HELD_BYTES_MAX: u64 = 32 << 20;
/// Files up to this size are put whole, larger ones in parts of it.
const UPLOAD_BYTES: usize = 8 << 20;

/// A file that is complete but not part of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Staged {
    /// Its name now, relative to the table.
    pub(super) name: String,
    /// What it becomes.
    pub(super) file: TableFile,
}

impl Staged {
    pub(super) fn to_json(&self) -> Value {
        json!({ "staged": self.name, "becomes": self.file.to_json() })
    }

    pub(super) fn of_json(value: &Value) -> Option<Self> {
        Some(Self {
            name: value.get("staged")?.as_str()?.to_owned(),
            file: TableFile::of_json(value.get("becomes")?)?,
        })
    }

    fn to_committable(&self) -> Committable {
        Committable(self.to_json().to_string())
    }
}

/// What a writer makes ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ready {
    File(Staged),
    /// How far time was, where it matters to partitions; `None` where the writer was idle.
    Time(Option<Watermark>),
}

impl Ready {
    fn to_committable(&self) -> Committable {
        match self {
            Self::File(staged) => staged.to_committable(),
            Self::Time(time) => {
                let ms = time.map(|Watermark(ms)| ms);
                Committable(json!({ "watermark": ms }).to_string())
            }
        }
    }

    pub(super) fn parse(committable: &Committable) -> Result<Self> {
        let value: Option<Value> = serde_json::from_str(&committable.0).ok();
        let time = || match value.as_ref()?.get("watermark")? {
            Value::Null => Some(None),
            ms => ms.as_i64().map(|ms| Some(Watermark(ms))),
        };
        let staged = || Staged::of_json(value.as_ref()?);
        let ready = time().map(Self::Time).or_else(|| staged().map(Self::File));
        ready.ok_or_else(|| Error::Restore {
            what: format!("committable {}", committable.0),
            reason: "it is no staged file".to_owned(),
        })
    }
}

/// Which files a writer makes.
pub(super) struct Names {
    /// The folder of its staged files, relative to the table.
    pub(super) staging: String,
    /// What is unique to the writer among all that ever write the table.
    pub(super) writer: String,
}

/// Writes one file for each partition, and new ones after each checkpoint.
pub(super) struct TableWriter {
    place: Place,
    options: Options,
    clock: ClockRef,
    schema: SchemaRef,
    partitioner: Partitioner,
    names: Names,
    parts: BTreeMap<String, Part>,
    closed: Vec<Staged>,
    /// The number of files begun.
    begun: u64,
    /// Counts batches, to know which file was used longest ago.
    turn: u64,
}

impl TableWriter {
    pub(super) fn new(
        place: Place,
        options: Options,
        clock: ClockRef,
        schema: &SchemaRef,
        partition_by: &[usize],
        names: Names,
    ) -> Result<Self> {
        Ok(Self {
            place,
            options,
            clock,
            schema: Arc::clone(schema),
            partitioner: Partitioner::new(schema, partition_by)?,
            names,
            parts: BTreeMap::new(),
            closed: Vec::new(),
            begun: 0,
            turn: 0,
        })
    }

    async fn write_part(&mut self, folder: String, rows: &RecordBatch) -> Result<()> {
        if !self.parts.contains_key(&folder) {
            if self.parts.len() >= OPEN_PARTS {
                self.close_oldest().await?;
            }
            check_folder(self.options.commit.as_ref(), &folder)?;
            let part = self.begin(&folder)?;
            self.parts.insert(folder.clone(), part);
        }
        let Some(part) = self.parts.get_mut(&folder) else {
            return Err(Error::Internal("a file that was just begun is gone".to_owned()));
        };
        part.write(rows, self.turn).await?;
        if part.bytes >= self.options.file_bytes {
            self.close(&folder).await?;
        }
        while self.parts.len() > 1 && self.held_bytes() > HELD_BYTES_MAX {
            self.close_oldest().await?;
        }
        Ok(())
    }

    /// Closes the files that were begun too long ago.
    async fn close_old(&mut self) -> Result<()> {
        let Some(interval) = self.options.rollover else { return Ok(()) };
        let interval_ms = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        let limit = self.clock.now_ms().saturating_sub(interval_ms);
        let old = self.parts.iter().filter(|(_, part)| part.begun_at <= limit);
        let old = old.map(|(folder, _)| folder.clone()).collect::<Vec<_>>();
        for folder in old {
            self.close(&folder).await?;
        }
        Ok(())
    }

    fn held_bytes(&self) -> u64 {
        self.parts.values().map(Part::held_bytes).sum()
    }

    fn begin(&mut self, folder: &str) -> Result<Part> {
        let number = self.begun;
        self.begun += 1;
        let compression = self.options.compression.unwrap_or(Compression::None);
        let extension = format!("{}{}", self.options.format.name(), compression.extension());
        let Names { staging, writer } = &self.names;
        let slash = if folder.is_empty() { "" } else { "/" };
        let staged = format!("{staging}/{writer}-{number}.{extension}");
        let path = join(&self.place.path, &staged)?;
        let (store, schema) = (Arc::clone(&self.place.store), self.partitioner.schema());
        let Options { format, csv, .. } = &self.options;
        Ok(Part {
            encoder: Encoder::new(*format, csv, compression, schema)?,
            display: self.place.display(&path),
            upload: BufWriter::with_capacity(store, path, UPLOAD_BYTES),
            staged,
            name: format!("{folder}{slash}part-{writer}-{number}.{extension}"),
            rows: 0,
            bytes: 0,
            used: self.turn,
            begun_at: self.clock.now_ms(),
        })
    }

    async fn close_oldest(&mut self) -> Result<()> {
        let oldest = self.parts.iter().min_by_key(|(_, part)| part.used);
        let oldest = oldest.map(|(folder, _)| folder.clone());
        match oldest {
            Some(folder) => self.close(&folder).await,
            None => Ok(()),
        }
    }

    async fn close(&mut self, folder: &str) -> Result<()> {
        if let Some(part) = self.parts.remove(folder) {
            self.closed.push(part.close().await?);
        }
        Ok(())
    }
}

#[async_trait]
impl SinkWriter for TableWriter {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        let (rows, weights) = batch.into_parts();
        if weights.is_some_and(|weights| weights.values().iter().any(|weight| *weight < 0)) {
            let url = self.place.url();
            return Err(Error::Internal(format!(
                "a row was to be taken back from files at '{url}'"
            )));
        }
        // The query's names give way to the table's.
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), rows.columns().to_vec())
            .map_err(|error| Error::compute("write rows into a table", error))?;
        self.turn += 1;
        self.close_old().await?;
        for (folder, rows) in self.partitioner.split(&rows)? {
            self.write_part(folder, &rows).await?;
        }
        Ok(())
    }

    async fn prepare(
        &mut self,
        _epoch: Epoch,
        watermark: Option<Watermark>,
    ) -> Result<Vec<Committable>> {
        while let Some((_, part)) = self.parts.pop_first() {
            self.closed.push(part.close().await?);
        }
        let closed = std::mem::take(&mut self.closed);
        let mut ready: Vec<_> = closed.iter().map(Staged::to_committable).collect();
        if self.options.commit.as_ref().is_some_and(PartitionCommit::follows_time) {
            ready.push(Ready::Time(watermark).to_committable());
        }
        Ok(ready)
    }

    fn memory_bytes(&self) -> usize {
        usize::try_from(self.held_bytes()).unwrap_or(usize::MAX)
    }

    async fn flush(&mut self) -> Result<()> {
        self.close_old().await
    }
}

/// A file that is being written.
struct Part {
    encoder: Encoder,
    upload: BufWriter,
    display: String,
    staged: String,
    name: String,
    rows: u64,
    bytes: u64,
    used: u64,
    begun_at: TimestampMs,
}

impl Part {
    async fn write(&mut self, rows: &RecordBatch, turn: u64) -> Result<()> {
        self.used = turn;
        self.rows += rows.num_rows() as u64;
        let bytes = self.encoder.encode(rows)?;
        put(&mut self.upload, bytes, &mut self.bytes, &self.display).await
    }

    /// Returns how much of the file is in memory, in bytes: what waits for its upload, and what
    /// the encoder has not yet given out.
    fn held_bytes(&self) -> u64 {
        self.bytes % UPLOAD_BYTES as u64 + self.encoder.held_bytes()
    }

    async fn close(mut self) -> Result<Staged> {
        let bytes = self.encoder.finish()?;
        put(&mut self.upload, bytes, &mut self.bytes, &self.display).await?;
        let closed = self.upload.shutdown().await;
        closed.map_err(|error| Error::io(format!("write '{}'", self.display), error))?;
        let file = TableFile { name: self.name, rows: Some(self.rows), bytes: self.bytes };
        Ok(Staged { name: self.staged, file })
    }
}

async fn put(upload: &mut BufWriter, bytes: Vec<u8>, total: &mut u64, display: &str) -> Result<()> {
    *total += bytes.len() as u64;
    let put = upload.put(bytes.into()).await;
    put.map_err(|error| Error::storage(format!("write '{display}'"), error))
}

/// Returns the path of a name relative to the table.
pub(super) fn join(table: &Path, name: &str) -> Result<Path> {
    let path = if table.is_root() { name.to_owned() } else { format!("{table}/{name}") };
    Path::parse(&path)
        .map_err(|error| Error::storage(format!("name the file '{path}'"), error.into()))
}
