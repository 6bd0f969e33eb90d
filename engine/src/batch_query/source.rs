//! A query as the source of a job.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;

use super::run;
use crate::connector::{self, ConnectorContext, Read, Source, SourceRef, Split, SplitReader};
use crate::graph::{BatchQuery, SourceSpec};
use crate::memory::MemoryBudget;
use crate::{Error, Result};

/// Where the only split of a query is read from, and where it is once it was begun.
const START: &str = "\"start\"";
const BEGUN: &str = "\"begun\"";

/// Makes what a stage reads: a table, or the rows of a query, whose memory is counted in `memory`.
///
/// # Errors
/// As [`connector::source`].
pub fn source_of(
    spec: &SourceSpec,
    connectors: &ConnectorContext,
    memory: &Arc<MemoryBudget>,
) -> Result<SourceRef> {
    let Some(query) = &spec.query else { return connector::source(spec, connectors) };
    Ok(Arc::new(QuerySource {
        query: Arc::clone(query),
        schema: Arc::clone(&spec.schema),
        connectors: connectors.clone(),
        memory: Arc::clone(memory),
    }))
}

/// The rows of a query, in one split, since they may be in an order.
#[derive(Debug)]
struct QuerySource {
    query: Arc<BatchQuery>,
    schema: SchemaRef,
    connectors: ConnectorContext,
    memory: Arc<MemoryBudget>,
}

#[async_trait]
impl Source for QuerySource {
    fn bounded(&self) -> bool {
        true
    }

    async fn splits(&self, _parallelism: usize) -> Result<Vec<Split>> {
        Ok(vec![Split { id: "query".to_owned(), position: START.to_owned() }])
    }

    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>> {
        if split.position != START {
            return Err(Error::Restore {
                what: "a query in batch mode".to_owned(),
                reason: "it can only be started anew".to_owned(),
            });
        }
        let skipped_rows = Arc::default();
        let rows = run(&self.query, &self.connectors, &skipped_rows, &self.memory).await;
        let rows = rows.map_err(failed)?;
        let schema = Arc::clone(&self.schema);
        Ok(Box::new(QueryReader { rows, schema, skipped_rows, is_begun: false }))
    }
}

fn failed(error: datafusion::error::DataFusionError) -> Error {
    Error::compute("run the query", error)
}

struct QueryReader {
    rows: SendableRecordBatchStream,
    schema: SchemaRef,
    skipped_rows: Arc<AtomicU64>,
    is_begun: bool,
}

#[async_trait]
impl SplitReader for QueryReader {
    async fn read(&mut self) -> Result<Read> {
        loop {
            match self.rows.try_next().await.map_err(failed)? {
                Some(rows) if rows.num_rows() == 0 => {}
                Some(rows) => {
                    self.is_begun = true;
                    // DataFusion's columns may say otherwise whether they have nulls.
                    let rows =
                        RecordBatch::try_new(Arc::clone(&self.schema), rows.columns().to_vec());
                    return rows.map(Read::Rows).map_err(|error| failed(error.into()));
                }
                None => return Ok(Read::End),
            }
        }
    }

    fn position(&self) -> String {
        if self.is_begun { BEGUN } else { START }.to_owned()
    }

    fn skipped_rows(&self) -> u64 {
        self.skipped_rows.load(Ordering::Relaxed)
    }

    fn memory_bytes(&self) -> usize {
        // What its operators hold is counted as they ask for it.
        0
    }
}
