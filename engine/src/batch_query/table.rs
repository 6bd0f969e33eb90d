//! A bounded table for DataFusion's batch engine.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::TryStreamExt;

use crate::batch::Batch;
use crate::connector::{self, ConnectorContext, Read, SourceRef, Split, SplitReader};
use crate::graph::{OperatorNode, SourceSpec};
use crate::operator::{self, Operator, OperatorContext, Output};
use crate::time::ClockRef;
use crate::{Error, Result};

/// The name by which memory is asked for.
pub(super) const CONSUMER: &str = "Table";

/// Reads a bounded source as a table: every split once, without watermarks.
///
/// Its columns are those of the source, or of the last operator that prepares its rows.
#[derive(Debug)]
pub struct BatchTable {
    spec: SourceSpec,
    context: ConnectorContext,
    skipped_rows: Arc<AtomicU64>,
}

impl BatchTable {
    /// Makes the table of a source. Malformed rows that it leaves out are added to `skipped_rows`.
    ///
    /// # Errors
    /// `Invalid` where the source does not end or cannot be made.
    pub fn new(
        spec: SourceSpec,
        context: ConnectorContext,
        skipped_rows: Arc<AtomicU64>,
    ) -> Result<Self> {
        if !connector::source(&spec, &context)?.bounded() {
            return Err(Error::Invalid(format!("table '{}' does not end", spec.table)));
        }
        Ok(Self { spec, context, skipped_rows })
    }

    /// Makes a source of the wanted columns, and says which of its columns to keep then.
    fn narrowed(&self, projection: Option<&Vec<usize>>) -> Result<(SourceRef, Option<Vec<usize>>)> {
        match projection {
            // What prepares the rows may need columns that the query does not.
            Some(columns) if self.spec.prepare.is_empty() => {
                let schema = self.spec.schema.project(columns);
                let schema = schema.map_err(|error| Error::compute("narrow a table", error))?;
                let spec = SourceSpec { schema: Arc::new(schema), ..self.spec.clone() };
                Ok((connector::source(&spec, &self.context)?, None))
            }
            _ => Ok((connector::source(&self.spec, &self.context)?, projection.cloned())),
        }
    }
}

#[async_trait]
impl TableProvider for BatchTable {
    fn schema(&self) -> SchemaRef {
        let last = self.spec.prepare.last();
        Arc::clone(last.map_or(&self.spec.schema, |operator| &operator.output))
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let (source, kept) = self.narrowed(projection).map_err(external)?;
        let parallelism = state.config().target_partitions().max(1);
        let splits = source.splits(parallelism).await.map_err(external)?;
        let schema = match projection {
            None => self.schema(),
            Some(columns) => Arc::new(self.schema().project(columns)?),
        };
        let mut shares = vec![Vec::new(); parallelism.min(splits.len()).max(1)];
        let count = shares.len();
        for (index, split) in splits.into_iter().enumerate() {
            shares[index % count].push(split);
        }
        let partition = |splits| {
            let (source, schema) = (Arc::clone(&source), Arc::clone(&schema));
            let (prepare, kept) = (self.spec.prepare.clone(), kept.clone());
            let skipped_rows = Arc::clone(&self.skipped_rows);
            let clock = Arc::clone(&self.context.clock);
            Arc::new(Partition { source, clock, splits, schema, prepare, kept, skipped_rows })
                as Arc<dyn PartitionStream>
        };
        let partitions = shares.into_iter().map(partition).collect();
        let scan = StreamingTableExec::try_new(schema, partitions, None, [], false, limit)?;
        Ok(Arc::new(scan))
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Some of a table's splits, read one after the other.
struct Partition {
    source: SourceRef,
    clock: ClockRef,
    splits: Vec<Split>,
    schema: SchemaRef,
    prepare: Vec<OperatorNode>,
    kept: Option<Vec<usize>>,
    skipped_rows: Arc<AtomicU64>,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").field("splits", &self.splits).finish_non_exhaustive()
    }
}

impl PartitionStream for Partition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let reading = Reading {
            source: Arc::clone(&self.source),
            clock: Arc::clone(&self.clock),
            splits: self.splits.clone().into_iter(),
            reader: None,
            memory: MemoryConsumer::new(CONSUMER).register(context.memory_pool()),
            chain: None,
            prepare: self.prepare.clone(),
            kept: self.kept.clone(),
            skipped_rows: Arc::clone(&self.skipped_rows),
        };
        let rows = futures::stream::try_unfold(reading, |mut reading| async move {
            Ok(reading.next().await?.map(|rows| (rows, reading)))
        });
        let rows = rows.map_err(external);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

struct Reading {
    source: SourceRef,
    clock: ClockRef,
    splits: std::vec::IntoIter<Split>,
    reader: Option<Box<dyn SplitReader>>,
    /// What the reader holds.
    memory: MemoryReservation,
    chain: Option<Vec<Box<dyn Operator>>>,
    prepare: Vec<OperatorNode>,
    kept: Option<Vec<usize>>,
    skipped_rows: Arc<AtomicU64>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let Some(reader) = &mut self.reader else {
                let Some(split) = self.splits.next() else { return Ok(None) };
                self.reader = Some(self.source.open(&split).await?);
                continue;
            };
            let read = reader.read().await?;
            let held = self.memory.try_resize(reader.memory_bytes());
            held.map_err(|error| Error::compute("read a table", error))?;
            match read {
                Read::Rows(rows) => {
                    let rows = self.prepare(rows)?;
                    if rows.num_rows() > 0 {
                        return Ok(Some(rows));
                    }
                }
                Read::NotBefore(time) => self.clock.sleep_until(time).await,
                Read::End => {
                    self.skipped_rows.fetch_add(reader.skipped_rows(), Relaxed);
                    self.reader = None;
                }
            }
        }
    }

    fn prepare(&mut self, rows: RecordBatch) -> Result<RecordBatch> {
        if self.chain.is_none() {
            const WHOLE: OperatorContext = OperatorContext {
                subtask: 0,
                parallelism: 1,
                key_groups: 0..1,
                key_group_count: 1,
                state_ttl: None,
            };
            let operators = self.prepare.iter().map(|node| operator::build(node, &WHOLE));
            self.chain = Some(operators.collect::<Result<_>>()?);
        }
        let mut rows = rows;
        for (operator, node) in self.chain.iter_mut().flatten().zip(&self.prepare) {
            let mut output = Output::default();
            operator.process(0, Batch::insert(rows), 0, &mut output)?;
            rows = match output.drain().next() {
                Some(batch) => batch.into_parts().0,
                None => RecordBatch::new_empty(Arc::clone(&node.output)),
            };
        }
        match &self.kept {
            None => Ok(rows),
            Some(columns) => {
                rows.project(columns).map_err(|error| Error::compute("narrow a table", error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::logical_expr::Operator as Op;
    use datafusion::physical_expr::expressions::{binary, col, lit};
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::OperatorId;
    use crate::format::testing::schema;
    use crate::graph::OperatorSpec;
    use crate::storage::Storage;
    use crate::time::SimulatedClock;

    fn table(directory: &tempfile::TempDir, prepare: Vec<OperatorNode>) -> BatchTable {
        std::fs::write(directory.path().join("a.csv"), "n,s\n1,x\n2,y\n").unwrap();
        std::fs::write(directory.path().join("b.csv"), "s,n\nx,3\n").unwrap();
        let options = [("path", "file:///"), ("format", "csv")];
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let spec = SourceSpec {
            id: OperatorId(1),
            table: "t".to_owned(),
            connector: "filesystem".to_owned(),
            options: options.into(),
            table_schema: schema("n INT, s STRING"),
            schema: schema("n INT, s STRING"),
            filters: Vec::new(),
            limit: None,
            prepare,
            watermark: None,
            query: None,
        };
        let storage = Storage::local(directory.path()).unwrap();
        let context = ConnectorContext { storage, clock: Arc::new(SimulatedClock::new(0)) };
        BatchTable::new(spec, context, Arc::default()).unwrap()
    }

    async fn query(table: BatchTable, sql: &str) -> String {
        let session = SessionContext::new();
        session.register_table("t", Arc::new(table)).unwrap();
        let rows = session.sql(sql).await.unwrap().collect().await.unwrap();
        pretty_format_batches(&rows).unwrap().to_string()
    }

    #[tokio::test]
    async fn files_are_queried_with_batch_sql() {
        let directory = tempfile::tempdir().unwrap();
        let table = table(&directory, Vec::new());
        let found = query(table, "SELECT s, sum(n) AS n FROM t GROUP BY s ORDER BY s").await;
        let expected = "\
+---+---+
| s | n |
+---+---+
| x | 4 |
| y | 2 |
+---+---+";
        assert_eq!(found, expected);
    }

    #[tokio::test]
    async fn rows_are_counted_without_their_columns() {
        let directory = tempfile::tempdir().unwrap();
        let found = query(table(&directory, Vec::new()), "SELECT count(*) AS c FROM t").await;
        assert!(found.contains("| 3 |"), "{found}");
    }

    #[tokio::test]
    async fn a_malformed_row_is_told_as_such() {
        let directory = tempfile::tempdir().unwrap();
        let table = table(&directory, Vec::new());
        std::fs::write(directory.path().join("c.csv"), "n,s\nx,y\n").unwrap();
        let session = SessionContext::new();
        session.register_table("t", Arc::new(table)).unwrap();
        let rows = session.sql("SELECT sum(n) FROM t").await.unwrap().collect().await;
        let error = Error::compute("run the query", rows.unwrap_err());
        assert_eq!(error.to_string(), "/c.csv:2: field 1 'n': expected INT, found 'x'");
    }

    #[tokio::test]
    async fn computed_columns_are_prepared() {
        let directory = tempfile::tempdir().unwrap();
        let input = schema("n INT, s STRING");
        let n = col("n", &input).unwrap();
        let double = binary(Arc::clone(&n), Op::Plus, n, &input).unwrap();
        let is_big =
            binary(col("d", &schema("d INT")).unwrap(), Op::Gt, lit(2_i32), &schema("d INT"));
        let output = schema("d INT");
        let node = |spec, input: &SchemaRef| OperatorNode {
            id: OperatorId(2),
            spec,
            inputs: vec![Arc::clone(input)],
            output: Arc::clone(&output),
        };
        let prepare = vec![
            node(OperatorSpec::Project(vec![double]), &input),
            node(OperatorSpec::Filter(is_big.unwrap()), &output),
        ];
        let found = query(table(&directory, prepare), "SELECT sum(d) AS s FROM t").await;
        assert!(found.contains("| 10 |"), "{found}");
    }
}
