//! Where a task's rows go: over its edges, into a table, or to a client.

use std::sync::atomic::Ordering;

use super::output::{Control, EdgeWriter, FlushWhen};
use super::{ClientSink, TaskMetrics};
use crate::batch::Batch;
use crate::connector::{Committable, SinkWriter};
use crate::time::{TimestampMs, Watermark};
use crate::{Epoch, Result};

/// The end of a task's chain.
pub(crate) enum Outlet {
    /// To other tasks; without edges rows are dropped.
    Edges(Vec<EdgeWriter>),
    /// Into a table.
    Table(Box<dyn SinkWriter>),
    /// To the client that runs the query.
    Client(Box<dyn ClientSink>),
}

impl Outlet {
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
                Self::Table(writer) => writer.write(batch).await?,
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
            Self::Table(writer) => writer.flush().await,
            Self::Edges(_) | Self::Client(_) => Ok(()),
        }
    }

    pub(crate) async fn idle(&mut self) -> Result<()> {
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
        self.prepare(epoch).await
    }

    /// Returns since when something waits to be sent.
    pub(crate) fn waiting_since(&self) -> Option<TimestampMs> {
        match self {
            Self::Edges(edges) => edges.iter().filter_map(EdgeWriter::waiting_since).min(),
            Self::Table(_) | Self::Client(_) => None,
        }
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Committable>> {
        match self {
            Self::Table(writer) => writer.prepare(epoch).await,
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
