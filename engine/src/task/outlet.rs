//! Where a task's rows go: over its edges, into a table, or to a client.

use std::sync::atomic::Ordering;

use arrow::array::Array;

use super::output::{Control, EdgeWriter, FlushWhen};
use super::{ClientSink, Task, TaskMetrics};
use crate::batch::Batch;
use crate::connector::{self, Committable, SinkWriter};
use crate::graph::{SinkSpec, SinkTarget, Stage};
use crate::memory::Holding;
use crate::time::{TimestampMs, Watermark};
use crate::{Epoch, Error, Result};

/// Writes into a table and keeps nulls out of its NOT NULL columns.
pub(crate) struct TableWriter {
    table: String,
    writer: Box<dyn SinkWriter>,
    /// Index and name of the columns that take no nulls.
    not_null: Vec<(usize, String)>,
    watermark: Watermark,
    /// Whether nothing comes for now: then the watermark tells nothing about time.
    is_idle: bool,
}

impl TableWriter {
    pub(crate) fn new(spec: &SinkSpec, writer: Box<dyn SinkWriter>) -> Self {
        let columns = spec.schema.fields().iter().enumerate();
        let not_null = columns.filter(|(_, field)| !field.is_nullable());
        let not_null = not_null.map(|(index, field)| (index, field.name().clone())).collect();
        let (watermark, is_idle) = (Watermark::MIN, false);
        Self { table: spec.table.clone(), writer, not_null, watermark, is_idle }
    }

    async fn write(&mut self, batch: Batch) -> Result<()> {
        let mut not_null = self.not_null.iter();
        if let Some((_, name)) = not_null.find(|(index, _)| batch.column(*index).null_count() > 0) {
            return Err(Error::MalformedRow {
                location: format!("insert into table '{}'", self.table),
                reason: format!("column '{name}' is NOT NULL, and the query gives it a NULL"),
            });
        }
        self.is_idle = false;
        self.writer.write(batch).await
    }

    fn rise(&mut self, watermark: Watermark) {
        self.watermark = watermark;
        self.is_idle = false;
    }
}

/// The end of a task's chain.
pub(crate) enum Outlet {
    /// To other tasks; without edges rows are dropped.
    Edges(Vec<EdgeWriter>),
    /// Into a table.
    Table(TableWriter),
    /// To the client that runs the query.
    Client(Box<dyn ClientSink>),
}

impl Outlet {
    /// Opens the end of the chain of a task of `stage`.
    pub(crate) async fn open(task: &mut Task, stage: &Stage) -> Result<Self> {
        let Some(spec) = &stage.sink else {
            let (outputs, graph) = (std::mem::take(&mut task.outputs), &task.graph);
            let edges = outputs.into_iter().map(|channels| {
                let edge = &graph.edges[channels.edge];
                EdgeWriter::new(edge, channels, graph.settings.key_groups)
            });
            return Ok(Self::Edges(edges.collect()));
        };
        match &spec.target {
            SinkTarget::Connector { .. } => {
                let sink = connector::sink(spec, &task.connectors)?;
                let attempt =
                    format!("{}-{}-{}-{}", task.job, task.generation, task.attempt, stage.id);
                let writer = sink.writer(task.id.subtask, &attempt).await?;
                Ok(Self::Table(TableWriter::new(spec, writer)))
            }
            SinkTarget::Client => {
                let client = task.client.take().ok_or_else(|| {
                    Error::Internal("a stage that ends at a client has none".to_owned())
                })?;
                Ok(Self::Client(client))
            }
        }
    }

    /// Hands on what the chain has emitted.
    pub(crate) async fn write(
        &mut self,
        emitted: &mut Vec<Batch>,
        now: TimestampMs,
        metrics: &TaskMetrics,
    ) -> Result<()> {
        for batch in emitted.drain(..) {
            metrics.rows_out.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
            match self {
                Self::Table(table) => table.write(batch).await?,
                Self::Client(client) => client.send(batch).await?,
                Self::Edges(edges) => {
                    for edge in edges {
                        edge.write(&batch, now).await?;
                    }
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn watermark(&mut self, watermark: Watermark, now: TimestampMs) -> Result<()> {
        if let Self::Table(table) = self {
            table.rise(watermark);
        }
        for edge in self.edges() {
            edge.watermark(watermark, now).await?;
        }
        Ok(())
    }

    /// Sends what waits on the edges; see [`FlushWhen`].
    pub(crate) async fn flush(&mut self, when: FlushWhen) -> Result<()> {
        for edge in self.edges() {
            edge.flush(when).await?;
        }
        Ok(())
    }

    /// Shows what a table's sink has gathered, since nothing more comes for now.
    pub(crate) async fn show(&mut self) -> Result<()> {
        match self {
            Self::Table(table) => table.writer.flush().await,
            Self::Edges(_) | Self::Client(_) => Ok(()),
        }
    }

    pub(crate) async fn idle(&mut self) -> Result<()> {
        if let Self::Table(table) = self {
            table.is_idle = true;
        }
        for edge in self.edges() {
            edge.broadcast(&Control::Idle).await?;
        }
        Ok(())
    }

    /// Passes a barrier on and returns what the sink has made ready for its checkpoint.
    pub(crate) async fn barrier(&mut self, epoch: Epoch) -> Result<Vec<Committable>> {
        for edge in self.edges() {
            edge.broadcast(&Control::Barrier(epoch)).await?;
        }
        self.prepare(epoch).await
    }

    /// Says that nothing follows and returns what the sink has made ready since the last barrier.
    pub(crate) async fn end(&mut self, epoch: Epoch) -> Result<Vec<Committable>> {
        for edge in self.edges() {
            edge.broadcast(&Control::End).await?;
        }
        if let Self::Table(table) = self {
            table.rise(Watermark::MAX);
        }
        self.prepare(epoch).await
    }

    /// Returns since when something waits to be sent.
    pub(crate) fn waiting_since(&self) -> Option<TimestampMs> {
        match self {
            Self::Edges(edges) => edges.iter().filter_map(EdgeWriter::waiting_since).min(),
            Self::Table(_) | Self::Client(_) => None,
        }
    }

    /// Returns an estimate of the bytes that wait here to be sent or written, and what they are
    /// called.
    pub(crate) fn memory(&self) -> Holding {
        match self {
            Self::Edges(edges) => ("Exchange", edges.iter().map(EdgeWriter::memory_bytes).sum()),
            Self::Table(table) => ("Sink", table.writer.memory_bytes()),
            // A few batches wait for the client at most.
            Self::Client(_) => ("Client", 0),
        }
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Committable>> {
        match self {
            Self::Table(table) => {
                let watermark = (!table.is_idle).then_some(table.watermark);
                table.writer.prepare(epoch, watermark).await
            }
            Self::Edges(_) | Self::Client(_) => Ok(Vec::new()),
        }
    }

    fn edges(&mut self) -> &mut [EdgeWriter] {
        match self {
            Self::Edges(edges) => edges,
            Self::Table(_) | Self::Client(_) => &mut [],
        }
    }
}
