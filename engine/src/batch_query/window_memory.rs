//! What OVER holds. DataFusion's operators of windows do not ask for memory, so nodes of ours do:
//! one below counts the rows that go in, one above those that come out again.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::{Stream, StreamExt};

use crate::held::row_bytes;

/// The name by which memory is asked for.
pub(super) const CONSUMER: &str = "Window";
/// Rows are held as they came and once more, put together by partition.
const COPIES: usize = 2;
/// What a result takes, in its column and in the one that it is put together from, in bytes.
const RESULT_BYTES: usize = 2 * size_of::<u64>();

const RECOMPUTE: ReplaceChildrenOptions =
    ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);

/// Puts nodes around each window of a plan that count what it holds.
///
/// # Errors
/// What DataFusion says of the changed plan.
pub(super) fn counted(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let counted = plan.transform_up(|node| {
        let (results, keeps_all) = if let Some(window) = node.downcast_ref::<WindowAggExec>() {
            (window.window_expr().len(), true)
        } else if let Some(window) = node.downcast_ref::<BoundedWindowAggExec>() {
            (window.window_expr().len(), false)
        } else {
            return Ok(Transformed::no(node));
        };
        let input = Arc::clone(node.children()[0]);
        let partitions = input.output_partitioning().partition_count();
        let books = (0..partitions).map(|_| Mutex::new(Books::default())).collect();
        let shared = Arc::new(Shared { results, keeps_all, books });
        let below = Arc::new(Counting { input, shared: Arc::clone(&shared), side: Side::Below });
        let input = node.replace_children(vec![below], RECOMPUTE)?;
        Ok(Transformed::yes(Arc::new(Counting { input, shared, side: Side::Above }) as _))
    })?;
    Ok(counted.data)
}

/// What both nodes of a window know.
#[derive(Debug)]
struct Shared {
    /// How many results each row gets.
    results: usize,
    /// Whether all rows are held until the last has come out.
    keeps_all: bool,
    /// By partition.
    books: Vec<Mutex<Books>>,
}

/// The rows that a window holds, as far as is known from outside.
#[derive(Debug, Default)]
struct Books {
    rows: usize,
    bytes: usize,
    reservation: Option<MemoryReservation>,
}

impl Shared {
    fn books(&self, partition: usize) -> MutexGuard<'_, Books> {
        // They are whole between any two statements.
        self.books[partition].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_in(&self, partition: usize, batch: &RecordBatch) -> Result<()> {
        let mut books = self.books(partition);
        books.rows += batch.num_rows();
        books.bytes += COPIES * row_bytes(batch) + batch.num_rows() * self.results * RESULT_BYTES;
        match &books.reservation {
            Some(reservation) => reservation.try_resize(books.bytes),
            None => Ok(()),
        }
    }

    fn give_out(&self, partition: usize, rows: usize) {
        if self.keeps_all {
            return;
        }
        let mut books = self.books(partition);
        let left = books.rows.saturating_sub(rows);
        // An estimate, as if all rows were alike.
        books.bytes = (books.bytes / books.rows.max(1)) * left;
        books.rows = left;
        if let Some(reservation) = &books.reservation {
            // It becomes less.
            reservation.resize(books.bytes);
        }
    }
}

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Below,
    Above,
}

/// Hands on the rows of its input and counts them.
#[derive(Debug)]
struct Counting {
    input: Arc<dyn ExecutionPlan>,
    shared: Arc<Shared>,
    side: Side,
}

impl DisplayAs for Counting {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Counting: {:?}", self.side)
    }
}

impl ExecutionPlan for Counting {
    fn name(&self) -> &'static str {
        "Counting"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.swap_remove(0);
        Ok(Arc::new(Self { input, shared: Arc::clone(&self.shared), side: self.side }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, RECOMPUTE)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        if self.side == Side::Above {
            let consumer = MemoryConsumer::new(format!("{CONSUMER}[{partition}]"));
            let reservation = consumer.register(context.memory_pool());
            *self.shared.books(partition) =
                Books { reservation: Some(reservation), ..Books::default() };
        }
        let input = self.input.execute(partition, context)?;
        let (shared, side) = (Arc::clone(&self.shared), self.side);
        Ok(Box::pin(CountingStream { input, shared, side, partition }))
    }
}

struct CountingStream {
    input: SendableRecordBatchStream,
    shared: Arc<Shared>,
    side: Side,
    partition: usize,
}

impl Stream for CountingStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(batch) = ready!(self.input.poll_next_unpin(context)) else {
            return Poll::Ready(None);
        };
        let counted = batch.and_then(|batch| {
            match self.side {
                Side::Below => self.shared.take_in(self.partition, &batch)?,
                Side::Above => self.shared.give_out(self.partition, batch.num_rows()),
            }
            Ok(batch)
        });
        Poll::Ready(Some(counted))
    }
}

impl RecordBatchStream for CountingStream {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

impl Drop for CountingStream {
    fn drop(&mut self) {
        // The window drops its input as soon as that has ended, and goes itself with the one above.
        if self.side == Side::Above {
            *self.shared.books(self.partition) = Books::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::{MemoryPool, UnboundedMemoryPool};
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_plan::execute_stream;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    /// Runs a query and returns the most that was reserved when rows came out, and what is at the
    /// end, beside what sorting takes.
    async fn check(over: &str) -> (usize, usize) {
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(&pool));
        let config = SessionConfig::new().with_target_partitions(1);
        let context = SessionContext::new_with_config_rt(config, runtime.build_arc().unwrap());
        let sql = format!("SELECT n, {over} FROM (SELECT * FROM range(0, 100000)) AS t(n)");
        let plan = context.sql(&sql).await.unwrap().create_physical_plan().await.unwrap();
        let mut stream = execute_stream(counted(plan).unwrap(), context.task_ctx()).unwrap();
        let (mut most, mut rows) = (0, 0);
        while let Some(batch) = stream.next().await {
            rows += batch.unwrap().num_rows();
            most = most.max(pool.reserved());
        }
        assert_eq!(rows, 100_000);
        drop(stream);
        (most, pool.reserved())
    }

    #[tokio::test]
    async fn a_window_over_all_rows_holds_them_until_it_is_done() {
        let (most, left) = check("SUM(n) OVER ()").await;
        assert!(most >= 100_000 * (8 * 2 + 16), "{most}");
        assert_eq!(left, 0);
    }

    #[tokio::test]
    async fn a_window_that_goes_with_its_rows_holds_few() {
        let (most, left) = check("SUM(n) OVER (ORDER BY n ROWS 1 PRECEDING)").await;
        assert!(most < 20 * 8192 * 32 + (2 << 20), "{most}");
        assert_eq!(left, 0);
    }
}
