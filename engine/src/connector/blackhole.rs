//! The sink `blackhole`: takes everything and keeps nothing but a count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::{CommitId, Committable, Sink, SinkWriter};
use crate::batch::Batch;
use crate::time::Watermark;
use crate::{Epoch, Result};

/// Counts the rows that it takes.
#[derive(Debug, Default)]
pub struct BlackholeSink {
    rows: Arc<AtomicU64>,
}

impl BlackholeSink {
    /// Returns the number of rows that the writers of this sink took, retractions included.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Sink for BlackholeSink {
    async fn writer(&self, _subtask: usize, _attempt: &str) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(BlackholeWriter { rows: Arc::clone(&self.rows) }))
    }

    async fn commit(&self, _id: &CommitId, _committables: &[Committable]) -> Result<()> {
        Ok(())
    }

    async fn roll_back(&self, _id: &CommitId) -> Result<()> {
        Ok(())
    }
}

struct BlackholeWriter {
    rows: Arc<AtomicU64>,
}

#[async_trait]
impl SinkWriter for BlackholeWriter {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        self.rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        Ok(())
    }

    async fn prepare(&mut self, _: Epoch, _: Option<Watermark>) -> Result<Vec<Committable>> {
        Ok(Vec::new())
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
