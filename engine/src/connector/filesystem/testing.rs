//! A table of files in a directory of its own, for tests.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;

use super::{FilesystemSink, FilesystemSource};
use crate::batch::Batch;
use crate::connector::{CommitId, Committable, ConnectorContext, Read, Sink, Source};
use crate::format::testing::{rows_as_text, schema};
use crate::graph::{ChangelogMode, SinkSpec, SinkTarget, SourceSpec};
use crate::storage::Storage;
use crate::time::{SimulatedClock, Watermark};
use crate::{Epoch, Generation, JobId, OperatorId};

/// A table in a directory of its own.
pub(super) struct Table {
    pub(super) directory: tempfile::TempDir,
    pub(super) schema: SchemaRef,
    pub(super) options: Vec<(String, String)>,
    pub(super) partition_by: Vec<usize>,
}

impl Table {
    pub(super) fn new(columns: &str, options: &[(&str, &str)]) -> Self {
        let path = [("path", "file:///t")];
        let options = path.iter().chain(options);
        Self {
            directory: tempfile::tempdir().unwrap(),
            schema: schema(columns),
            options: options.map(|(key, value)| ((*key).into(), (*value).into())).collect(),
            partition_by: Vec::new(),
        }
    }

    pub(super) fn csv() -> Self {
        Self::new("a INT", &[("format", "csv")])
    }

    pub(super) fn context(&self) -> ConnectorContext {
        ConnectorContext {
            storage: Storage::local(self.directory.path()).unwrap(),
            clock: Arc::new(SimulatedClock::new(0)),
        }
    }

    pub(super) fn sink_numbered(&self, id: u64, overwrite: bool) -> FilesystemSink {
        self.sink_in(&self.context(), id, overwrite)
    }

    pub(super) fn sink_in(
        &self,
        context: &ConnectorContext,
        id: u64,
        overwrite: bool,
    ) -> FilesystemSink {
        let target = SinkTarget::Connector {
            connector: "filesystem".to_owned(),
            options: self.options.iter().cloned().collect(),
            overwrite,
            partition_by: self.partition_by.clone(),
            primary_key: Vec::new(),
        };
        let spec = SinkSpec {
            id: OperatorId(id),
            table: "t".to_owned(),
            target,
            schema: Arc::clone(&self.schema),
            changelog: ChangelogMode::AppendOnly,
            upsert_key: None,
        };
        FilesystemSink::new(&spec, context).unwrap()
    }

    pub(super) fn sink(&self) -> FilesystemSink {
        self.sink_numbered(1, false)
    }

    pub(super) fn overwriting(&self) -> FilesystemSink {
        self.sink_numbered(1, true)
    }

    /// Makes a batch of rows written as values between bars.
    pub(super) fn batch(&self, rows: &[&str]) -> Batch {
        let fields = rows.iter().map(|row| row.split('|').collect::<Vec<_>>()).collect::<Vec<_>>();
        let column = |index: usize| {
            let texts = fields.iter().map(|row| Some(row[index]).filter(|text| *text != "NULL"));
            let texts: ArrayRef = Arc::new(texts.collect::<StringViewArray>());
            cast(&texts, self.schema.field(index).data_type()).unwrap()
        };
        let columns = (0..self.schema.fields().len()).map(column).collect();
        Batch::insert(RecordBatch::try_new(Arc::clone(&self.schema), columns).unwrap())
    }

    /// Stages rows and returns what was made ready.
    pub(super) async fn stage(
        &self,
        sink: &FilesystemSink,
        attempt: &str,
        rows: &[&str],
    ) -> Vec<Committable> {
        let mut writer = sink.writer(0, attempt).await.unwrap();
        if !rows.is_empty() {
            writer.write(self.batch(rows)).await.unwrap();
        }
        writer.prepare(Epoch(1), Some(Watermark::MIN)).await.unwrap()
    }

    pub(super) async fn append(&self, job: &str, rows: &[&str]) {
        let sink = self.sink();
        let ready = self.stage(&sink, &format!("{job}-1-1-0"), rows).await;
        sink.commit(&last(job, 1), &ready).await.unwrap();
    }

    pub(super) fn source_spec(&self) -> SourceSpec {
        SourceSpec {
            id: OperatorId(2),
            table: "t".to_owned(),
            connector: "filesystem".to_owned(),
            options: self.options.iter().cloned().collect(),
            table_schema: Arc::clone(&self.schema),
            schema: Arc::clone(&self.schema),
            filters: Vec::new(),
            limit: None,
            prepare: Vec::new(),
            watermark: None,
            query: None,
        }
    }

    pub(super) async fn rows(&self) -> Vec<String> {
        let source = FilesystemSource::new(&self.source_spec(), &self.context()).unwrap();
        let mut rows = Vec::new();
        for split in source.splits(1).await.unwrap() {
            let mut reader = source.open(&split).await.unwrap();
            while let Read::Rows(batch) = reader.read().await.unwrap() {
                rows.extend(rows_as_text(&batch));
            }
        }
        rows.sort();
        rows
    }

    /// Returns the names of all files with their content.
    pub(super) fn files(&self) -> Vec<(String, String)> {
        let root = self.directory.path().join("t");
        let mut files = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                    files.push((
                        name,
                        String::from_utf8_lossy(&std::fs::read(path).unwrap()).into(),
                    ));
                }
            }
        }
        files.sort();
        files
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.files().into_iter().map(|(name, _)| name).collect()
    }
}

pub(super) fn id(job: &str, generation: u64, epoch: u64, last: bool) -> CommitId {
    let (generation, epoch) = (Generation(generation), Epoch(epoch));
    CommitId { job: JobId::new(job), generation, epoch, last, ancestors: Vec::new() }
}

/// Makes the id of a commit of a generation that goes on from these checkpoints of earlier ones.
pub(super) fn after(
    job: &str,
    generation: u64,
    epoch: u64,
    last: bool,
    ancestors: &[(u64, u64)],
) -> CommitId {
    let ancestors = ancestors.iter().map(|(run, until)| (Generation(*run), Epoch(*until)));
    CommitId { ancestors: ancestors.collect(), ..id(job, generation, epoch, last) }
}

pub(super) fn last(job: &str, epoch: u64) -> CommitId {
    id(job, 1, epoch, true)
}
