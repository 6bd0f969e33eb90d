//! How rows come in and go out.
//!
//! A connector is found by its name in `'connector' = '…'`. A source lists its splits, which the
//! master does once per job, and opens a reader per split; readers know their position, which
//! goes into checkpoints. A sink writes in two phases: writers prepare, one committer publishes
//! what the job's head names.

pub mod blackhole;
mod counted;
pub mod datagen;
pub mod filesystem;
pub mod nexmark;
pub mod print;
mod random;
mod registry;
pub mod values;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

pub use registry::{
    ConnectorInfo, awaits_watermark, describe, enforces, names, overlap, sink, source,
};

use crate::batch::Batch;
use crate::storage::Storage;
use crate::time::{ClockRef, TimestampMs, Watermark};
use crate::{Epoch, Generation, JobId, Result};

/// A part of a source that is read on its own: a file, a range of sequence numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Names the split, stable over the life of a job.
    pub id: String,
    /// Where reading begins, in the connector's own JSON. A reader's position has the same form.
    pub position: String,
}

/// What connectors are given to work with.
#[derive(Debug, Clone)]
pub struct ConnectorContext {
    /// Where files are.
    pub storage: Storage,
    /// The time.
    pub clock: ClockRef,
}

/// A table that can be read.
#[async_trait]
pub trait Source: Debug + Send + Sync {
    /// Tells whether the source ends.
    fn bounded(&self) -> bool;

    /// Lists the splits, at best at least `parallelism` of them.
    ///
    /// # Errors
    /// `Storage` or `Invalid` where there is nothing to read.
    async fn splits(&self, parallelism: usize) -> Result<Vec<Split>>;

    /// Opens a split at its position.
    ///
    /// # Errors
    /// `Storage` where it cannot be read.
    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>>;
}

/// What a reader has to say.
#[derive(Debug)]
pub enum Read {
    /// Rows, at best about 8192.
    Rows(RecordBatch),
    /// Nothing before this processing time (a paced source).
    NotBefore(TimestampMs),
    /// The split has ended.
    End,
}

/// Reads one split.
#[async_trait]
pub trait SplitReader: Send {
    /// Returns the next rows. Dropping the future before it is done loses nothing.
    ///
    /// # Errors
    /// `MalformedRow`, `Storage` or `Io`.
    async fn read(&mut self) -> Result<Read>;

    /// Returns the position after the rows that were returned, in the form of
    /// [`Split::position`].
    fn position(&self) -> String;

    /// Returns the number of malformed rows that were skipped since the split was opened.
    fn skipped_rows(&self) -> u64;

    /// Returns an estimate of the bytes that it holds between two reads.
    fn memory_bytes(&self) -> usize;
}

/// Something that a sink's writer has made ready and that its committer publishes, in the
/// connector's own JSON. It goes into the checkpoint's manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committable(pub String);

/// Which commit of which job: the same for every repetition of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitId {
    /// The job.
    pub job: JobId,
    /// The job's generation when the checkpoint was taken.
    pub generation: Generation,
    /// The checkpoint.
    pub epoch: Epoch,
    /// Whether the job has finished with it.
    pub last: bool,
    /// The earlier generations whose work it goes on from, each with the checkpoint from which the
    /// next one started: what they made ready up to there belongs to this job's output.
    pub ancestors: Vec<(Generation, Epoch)>,
}

impl CommitId {
    /// Tells whether what a generation made ready for a checkpoint is part of what the job has
    /// made when it is at this one. What generations made that were given up is not, nor what was
    /// made after a checkpoint that a later generation went back to.
    #[must_use]
    pub fn includes(&self, generation: Generation, epoch: Epoch) -> bool {
        let own = (self.generation, self.epoch);
        let mut all = self.ancestors.iter().chain([&own]);
        all.any(|(ancestor, until)| *ancestor == generation && epoch <= *until)
    }
}

/// A table that can be written.
#[async_trait]
pub trait Sink: Debug + Send + Sync {
    /// Makes the writer of a subtask. `attempt` is unique among all writers of the job, now and
    /// after every restart, and goes into the names of what is staged: the job's id, generation,
    /// attempt and stage, joined by `-`, so that committers know what dead attempts of a job left.
    ///
    /// # Errors
    /// `Storage` or `Invalid`.
    async fn writer(&self, subtask: usize, attempt: &str) -> Result<Box<dyn SinkWriter>>;

    /// Publishes what the writers of all subtasks made ready for one checkpoint: all or nothing,
    /// and once, however often it is called with the same id.
    ///
    /// # Errors
    /// `Storage`; calling again is safe.
    async fn commit(&self, id: &CommitId, committables: &[Committable]) -> Result<()>;

    /// Takes back what earlier generations of the job published after `id.epoch`: generation
    /// `id.generation` goes on from that checkpoint. What they publish only later, because they
    /// are slow, does not count either. Never called after a commit of INSERT OVERWRITE that was
    /// the last. Sinks for people to watch take nothing back.
    ///
    /// # Errors
    /// `Storage`; calling again is safe.
    async fn roll_back(&self, id: &CommitId) -> Result<()>;
}

/// Writes the rows of one subtask.
#[async_trait]
pub trait SinkWriter: Send {
    /// Takes rows.
    ///
    /// # Errors
    /// `Storage` or `Io`.
    async fn write(&mut self, batch: Batch) -> Result<()>;

    /// Makes durable what was written since the last call, without publishing it. Called at a
    /// barrier and at the end. `watermark` is that of the rows that were written, `None` while the
    /// input is idle: time does not wait for it.
    ///
    /// # Errors
    /// `Storage` or `Io`.
    async fn prepare(
        &mut self,
        epoch: Epoch,
        watermark: Option<Watermark>,
    ) -> Result<Vec<Committable>>;

    /// Returns an estimate of the bytes that it holds.
    fn memory_bytes(&self) -> usize;

    /// Shows what can be shown at once, for sinks that people watch. Called when the input has
    /// run dry.
    ///
    /// # Errors
    /// `Storage` or `Io`.
    async fn flush(&mut self) -> Result<()>;
}

/// Which changes a sink takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkMode {
    /// Insertions only.
    Insert,
    /// Insertions, updates and deletions by PRIMARY KEY.
    Upsert,
    /// Full changelogs.
    Changelog,
}

/// A table as a connector sees it, to make a [`Source`] or [`Sink`] of.
#[derive(Debug, Clone)]
pub struct TableOptions {
    /// The table's name.
    pub table: String,
    /// The WITH options without `connector`.
    pub options: BTreeMap<String, String>,
    /// The physical columns that the table declares.
    pub table_schema: SchemaRef,
    /// PARTITIONED BY columns, as indices.
    pub partition_by: Vec<usize>,
    /// PRIMARY KEY columns, as indices.
    pub primary_key: Vec<usize>,
}

/// A shared [`Source`].
pub type SourceRef = Arc<dyn Source>;
/// A shared [`Sink`].
pub type SinkRef = Arc<dyn Sink>;

/// How far a split has been read: what a source's checkpoint consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitState {
    /// The split, at the position after the last emitted row.
    pub split: Split,
    /// The split's watermark, in milliseconds.
    pub watermark: TimestampMs,
    /// Whether it has ended.
    pub finished: bool,
}
