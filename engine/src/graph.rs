//! What is to be run: stages of operators joined by edges.
//!
//! The planner builds a [`JobGraph`], the cluster ships it and the task runtime runs it. Nothing
//! in it depends on a process: expressions are DataFusion physical expressions over the columns
//! of their operator's input, connectors are named with their options.

mod order;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::common::JoinType;
use datafusion::logical_expr::{AggregateUDF, LogicalPlan};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};

pub use self::order::{LimitSpec, SortKey, SortSpec};
pub use self::window::{Window, WindowSpec};
use crate::{OperatorId, StageId};

/// A DAG of stages. Stages are in topological order: every edge leads to a later stage.
#[derive(Debug, Clone)]
pub struct JobGraph {
    /// The stages; a [`StageId`] is an index into them.
    pub stages: Vec<Stage>,
    /// The edges between them.
    pub edges: Vec<Edge>,
    /// How the job is run.
    pub settings: JobSettings,
}

/// How a job is run, from the session's settings. Each field names its setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSettings {
    /// `execution.checkpointing.interval`: time between two checkpoints; `None` takes none but
    /// the final one. Shorter means less to redo after a failure and more files.
    pub checkpoint_interval: Option<Duration>,
    /// `table.exec.source.idle-timeout`: after this long without rows a split no longer holds
    /// the watermark back; `None` never.
    pub idle_timeout: Option<Duration>,
    /// `table.exec.source.stays-open`: how long sources stay open after their last row, so that
    /// people and tests see what comes before the end; `None` not at all. Tables of a LookupJoin,
    /// which are read to their end first, end at once.
    pub stays_open: Option<Duration>,
    /// `execution.buffer-timeout`: how long rows may wait for their batch to fill before they
    /// are sent on. Shorter means less latency and smaller batches.
    pub buffer_timeout: Duration,
    /// `state.memory-budget`: bytes of state that one worker may hold for the job.
    pub memory_budget_bytes: usize,
    /// `table.exec.state.ttl`: state unused for this long may be dropped; `None` never.
    pub state_ttl: Option<Duration>,
    /// `pipeline.max-parallelism`: the number of key groups, fixed for the life of a job's
    /// state and the limit of its parallelism.
    pub key_groups: u16,
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            checkpoint_interval: Some(Duration::from_secs(10)),
            idle_timeout: None,
            stays_open: None,
            buffer_timeout: Duration::from_millis(5),
            memory_budget_bytes: 8 << 30,
            state_ttl: None,
            key_groups: 256,
        }
    }
}

/// A source or an exchange input, then operators run in one task without queues between them,
/// then a sink or exchange outputs.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The stage's place in the graph.
    pub id: StageId,
    /// The number of subtasks, at least 1.
    pub parallelism: usize,
    /// Where rows come from; `None` where they come over edges.
    pub source: Option<SourceSpec>,
    /// The operators; only the first may have more than one input port.
    pub chain: Vec<OperatorNode>,
    /// Where rows go; `None` where they leave over edges.
    pub sink: Option<SinkSpec>,
}

/// A stream between two stages.
#[derive(Debug, Clone)]
pub struct Edge {
    /// The sending stage.
    pub from: StageId,
    /// The receiving stage.
    pub to: StageId,
    /// The input port of the receiving chain's first operator. Several edges into one port are a
    /// UNION ALL.
    pub port: usize,
    /// Which subtask gets which row.
    pub partitioning: Partitioning,
    /// The rows' columns.
    pub schema: SchemaRef,
    /// Whether rows carry weights.
    pub changelog: ChangelogMode,
}

/// How rows are divided among the receiving subtasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partitioning {
    /// Subtask n sends to subtask n; both stages have the same parallelism.
    Forward,
    /// By the key group of the hash of these columns.
    Hash(Vec<usize>),
    /// Batches go to the subtasks in turn.
    RoundRobin,
    /// Every subtask gets every row.
    Broadcast,
}

/// Whether a stream only inserts or also takes rows back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangelogMode {
    /// Only insertions: batches carry no weights.
    AppendOnly,
    /// Insertions and retractions.
    Retract,
}

/// An operator with its place, its input and its output.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorNode {
    /// The name under which its state is kept.
    pub id: OperatorId,
    /// What it does.
    pub spec: OperatorSpec,
    /// The columns of each input port.
    pub inputs: Vec<SchemaRef>,
    /// The columns that it produces.
    pub output: SchemaRef,
}

/// What an operator does. Expressions and column indices refer to its input's columns.
#[derive(Debug, Clone, PartialEq)]
pub enum OperatorSpec {
    /// Computes one output column per expression.
    Project(Vec<Arc<dyn PhysicalExpr>>),
    /// Keeps the rows for which the expression is true.
    Filter(Arc<dyn PhysicalExpr>),
    /// Appends `window_start`, `window_end` and `window_time`, once per window of the row.
    WindowAssign(WindowSpec),
    /// Aggregates per window and key, and emits a window when the watermark passes its end.
    WindowAggregate(WindowAggregateSpec),
    /// Aggregates per key without end, and emits changes.
    GroupAggregate(GroupAggregateSpec),
    /// Joins rows of the same window.
    WindowJoin(WindowJoinSpec),
    /// Joins append-only streams whose event times lie within an interval.
    IntervalJoin(IntervalJoinSpec),
    /// Joins a stream (port 0) with a bounded table (port 1), which is read to its end first.
    LookupJoin(LookupJoinSpec),
    /// Passes on the first rows of an append-only stream, in one subtask.
    Limit(LimitSpec),
    /// Emits the rows of an append-only stream in order once it has ended, in one subtask.
    Sort(SortSpec),
}

impl OperatorSpec {
    /// Tells whether the watermark of the output follows from the clock, and not from the input's.
    #[must_use]
    pub fn follows_clock(&self) -> bool {
        match self {
            Self::WindowAssign(window)
            | Self::WindowAggregate(WindowAggregateSpec { window, .. }) => match window {
                WindowSpec::ProcessingTime { .. } => true,
                WindowSpec::EventTime { .. } | WindowSpec::Attached { .. } => false,
            },
            Self::Project(_)
            | Self::Filter(_)
            | Self::GroupAggregate(_)
            | Self::WindowJoin(_)
            | Self::IntervalJoin(_)
            | Self::LookupJoin(_)
            | Self::Limit(_)
            | Self::Sort(_) => false,
        }
    }
}

/// One aggregate of a grouped operator.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateCall {
    /// The function: any DataFusion aggregate, user-defined ones too.
    pub function: Arc<AggregateUDF>,
    /// Its arguments.
    pub args: Vec<Arc<dyn PhysicalExpr>>,
    /// FILTER (WHERE …).
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// DISTINCT.
    pub distinct: bool,
    /// ORDER BY inside the call.
    pub order_by: Vec<PhysicalSortExpr>,
    /// IGNORE NULLS.
    pub ignore_nulls: bool,
    /// Name and type of the result.
    pub output: FieldRef,
}

/// Which part of a window aggregate an operator does. Window, keys and aggregates are over the
/// rows that are aggregated in every part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AggregatePhase {
    /// All of it.
    Complete,
    /// The half before the exchange: rows become partial aggregates per key and slice of time,
    /// which are sent on before the watermark that passes the slice. It keeps nothing over a
    /// barrier. Output columns: the keys, the states of the aggregates, the number of rows unless
    /// one of these is COUNT(*), then the slice's start and end.
    Local,
    /// The half after the exchange, which takes what the local half sends.
    Final {
        /// The columns of the rows that the local half takes.
        input: SchemaRef,
    },
}

/// Output columns: the keys, one per aggregate, then `window_start`, `window_end` and
/// `window_time` (TIMESTAMP(3)).
#[derive(Debug, Clone, PartialEq)]
pub struct WindowAggregateSpec {
    /// Which windows rows fall into.
    pub window: WindowSpec,
    /// Indices of the key columns, without the window's; may be empty.
    pub keys: Vec<usize>,
    /// The aggregates; may be empty (DISTINCT per window).
    pub aggregates: Vec<AggregateCall>,
    /// Which part is done here.
    pub phase: AggregatePhase,
}

impl WindowAggregateSpec {
    /// Returns the columns of the rows that are aggregated, given the operator's input.
    #[must_use]
    pub fn rows<'a>(&'a self, input: &'a SchemaRef) -> &'a SchemaRef {
        match &self.phase {
            AggregatePhase::Final { input } => input,
            AggregatePhase::Complete | AggregatePhase::Local => input,
        }
    }
}

/// Output columns: the keys, then one per aggregate.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupAggregateSpec {
    /// Indices of the key columns; without any there is one group, which exists from the start.
    pub keys: Vec<usize>,
    /// The aggregates; may be empty (DISTINCT).
    pub aggregates: Vec<AggregateCall>,
    /// Whether rows are taken back. Append-only input costs less state, and only it can be
    /// aggregated by any function.
    pub input: ChangelogMode,
    /// When results are emitted.
    pub emit: Emit,
}

/// When an aggregation without windows emits its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// As they change: the row before is taken back.
    Changes,
    /// Once, when the input has ended, so that nothing is taken back.
    Final,
    /// Each key once, with its first row and at once: nothing is gathered and nothing is ever
    /// taken back. Only for append-only input with keys and without aggregates (DISTINCT).
    First,
}

/// Output columns: the left ones, then the right ones; for semi and anti joins only one side's.
/// `filter` is over left ++ right columns whatever the join type.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowJoinSpec {
    /// Inner, outer, semi or anti.
    pub join_type: JoinType,
    /// Indices of the equal columns as (left, right), without the window's.
    pub on: Vec<(usize, usize)>,
    /// Indices of `window_start` and `window_end` on the left.
    pub left_window: (usize, usize),
    /// Indices of `window_start` and `window_end` on the right.
    pub right_window: (usize, usize),
    /// What else must hold.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
}

/// Output columns: the left ones, then the right ones. A pair joins when the keys are equal,
/// `left.time - right.time` lies in `[lower_ms, upper_ms]` and `filter` holds. A row is dropped
/// from state when the watermark says that no partner can come any more.
#[derive(Debug, Clone, PartialEq)]
pub struct IntervalJoinSpec {
    /// Inner, left, right or full; unmatched rows are emitted when they leave the state.
    pub join_type: JoinType,
    /// Indices of the equal columns as (left, right); may be empty.
    pub on: Vec<(usize, usize)>,
    /// Index of the left side's time column.
    pub left_time: usize,
    /// Index of the right side's time column.
    pub right_time: usize,
    /// The least difference `left.time - right.time`, in milliseconds.
    pub lower_ms: i64,
    /// The greatest difference `left.time - right.time`, in milliseconds.
    pub upper_ms: i64,
    /// What else must hold, over left ++ right columns.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
}

/// The input port of a LookupJoin at which its table is read, to its end and first.
pub(crate) const LOOKUP_TABLE: usize = 1;

/// Output columns: the stream's (left), then the table's.
#[derive(Debug, Clone, PartialEq)]
pub struct LookupJoinSpec {
    /// Inner or left.
    pub join_type: JoinType,
    /// Indices of the equal columns as (stream, table).
    pub on: Vec<(usize, usize)>,
    /// What else must hold, over stream ++ table columns.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
}

/// A table that is read.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceSpec {
    /// The name under which the positions of its splits are kept.
    pub id: OperatorId,
    /// The table's name, for people.
    pub table: String,
    /// The connector's name, as in `'connector' = 'nexmark'`.
    pub connector: String,
    /// The other WITH options, validated.
    pub options: BTreeMap<String, String>,
    /// All physical columns that the table declares.
    pub table_schema: SchemaRef,
    /// The columns to produce: a subset of `table_schema` in its order, with struct columns
    /// themselves narrowed to the fields that are used.
    pub schema: SchemaRef,
    /// Conditions over `table_schema` that the connector has promised to enforce. Their columns
    /// need not be produced.
    pub filters: Vec<Arc<dyn PhysicalExpr>>,
    /// Rows after which the source may stop, per split.
    pub limit: Option<u64>,
    /// Project and Filter operators that run before the watermark is taken, for computed columns
    /// and what was pushed below the watermark.
    pub prepare: Vec<OperatorNode>,
    /// How the watermark follows from the rows; `None` where nothing needs one.
    pub watermark: Option<WatermarkSpec>,
    /// The query whose rows these are, and no connector's.
    pub query: Option<Arc<BatchQuery>>,
}

/// A query over tables that end, for DataFusion's batch engine.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchQuery {
    /// The plan, optimised; each scan is of a [`QueryTable`](crate::batch_query::QueryTable).
    pub plan: LogicalPlan,
}

/// WATERMARK FOR `time` AS `expr`. The watermark of a split is the greatest value of the
/// expression over its rows, less one millisecond: rows at the watermark's value itself may
/// still come, as in Flink.
#[derive(Debug, Clone)]
pub struct WatermarkSpec {
    /// Index of the event time's column in the prepared rows.
    pub time: usize,
    /// The watermark of a row: a timestamp over the prepared rows.
    pub expr: Arc<dyn PhysicalExpr>,
}

// Derived, it would move the expression out of the other one.
impl PartialEq for WatermarkSpec {
    fn eq(&self, other: &Self) -> bool {
        self.time == other.time && self.expr.eq(&other.expr)
    }
}

/// A table that is written.
#[derive(Debug, Clone)]
pub struct SinkSpec {
    /// The name under which its committables are kept.
    pub id: OperatorId,
    /// The table's name, for people.
    pub table: String,
    /// Where rows go.
    pub target: SinkTarget,
    /// The columns that arrive.
    pub schema: SchemaRef,
    /// Whether retractions arrive.
    pub changelog: ChangelogMode,
    /// The columns that say which row a change is about, where that is known. There is at most
    /// one row with the same values in them, and none of them where there is at most one row.
    pub upsert_key: Option<Vec<usize>>,
}

/// Where a sink's rows go.
#[derive(Debug, Clone)]
pub enum SinkTarget {
    /// Into a table.
    Connector {
        /// The connector's name.
        connector: String,
        /// The other WITH options, validated.
        options: BTreeMap<String, String>,
        /// INSERT OVERWRITE: the job's rows replace the table's when it finishes.
        overwrite: bool,
        /// PARTITIONED BY columns, as indices.
        partition_by: Vec<usize>,
        /// PRIMARY KEY columns, as indices.
        primary_key: Vec<usize>,
    },
    /// To the client that runs the query.
    Client,
}

impl JobGraph {
    /// Returns a stage.
    ///
    /// # Panics
    /// Where the id is of another graph.
    #[must_use]
    pub fn stage(&self, id: StageId) -> &Stage {
        &self.stages[id.index()]
    }

    /// Returns the edges that lead to a stage, in the order in which they were added.
    pub fn inputs(&self, id: StageId) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |edge| edge.to == id)
    }

    /// Returns the edges that leave a stage, in the order in which they were added.
    pub fn outputs(&self, id: StageId) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |edge| edge.from == id)
    }

    /// Returns the stages with sources of which nobody needs further rows: all that they feed
    /// ends at stages that are satisfied.
    #[must_use]
    pub fn needless_sources(&self, satisfied: &BTreeSet<StageId>) -> BTreeSet<StageId> {
        let mut needed = BTreeSet::new();
        for stage in self.stages.iter().rev() {
            let feeds_needed = || self.outputs(stage.id).any(|edge| needed.contains(&edge.to));
            if !satisfied.contains(&stage.id) && (stage.sink.is_some() || feeds_needed()) {
                needed.insert(stage.id);
            }
        }
        let sources = self.stages.iter().filter(|stage| stage.source.is_some());
        sources.map(|stage| stage.id).filter(|id| !needed.contains(id)).collect()
    }

    /// Returns how long the source of a stage stays open after its last row.
    pub(crate) fn stays_open(&self, id: StageId) -> Option<Duration> {
        self.settings.stays_open.filter(|_| !self.is_table_of_lookup(id))
    }

    fn is_table_of_lookup(&self, id: StageId) -> bool {
        let is_lookup = |edge: &Edge| {
            let first = self.stage(edge.to).chain.first();
            first.is_some_and(|node| matches!(node.spec, OperatorSpec::LookupJoin(_)))
        };
        self.outputs(id).any(|edge| {
            if is_lookup(edge) {
                edge.port == LOOKUP_TABLE
            } else {
                self.is_table_of_lookup(edge.to)
            }
        })
    }

    /// Returns the number of subtasks of all stages.
    #[must_use]
    pub fn num_tasks(&self) -> usize {
        self.stages.iter().map(|stage| stage.parallelism).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stages with these edges between them; those without an input have a source.
    fn graph(stages: u32, edges: &[(u32, u32)]) -> JobGraph {
        let schema: SchemaRef = Arc::new(arrow::datatypes::Schema::empty());
        let source = SourceSpec {
            id: OperatorId(1),
            table: "t".to_owned(),
            connector: "values".to_owned(),
            options: BTreeMap::new(),
            table_schema: Arc::clone(&schema),
            schema: Arc::clone(&schema),
            filters: Vec::new(),
            limit: None,
            prepare: Vec::new(),
            watermark: None,
            query: None,
        };
        let sink = SinkSpec {
            id: OperatorId(2),
            table: "client".to_owned(),
            target: SinkTarget::Client,
            schema: Arc::clone(&schema),
            changelog: ChangelogMode::AppendOnly,
            upsert_key: None,
        };
        let stage = |id| Stage {
            id: StageId(id),
            parallelism: 1,
            source: edges.iter().all(|(_, to)| *to != id).then(|| source.clone()),
            chain: Vec::new(),
            sink: edges.iter().all(|(from, _)| *from != id).then(|| sink.clone()),
        };
        let edge = |(from, to): &(u32, u32)| Edge {
            from: StageId(*from),
            to: StageId(*to),
            port: 0,
            partitioning: Partitioning::Forward,
            schema: Arc::clone(&schema),
            changelog: ChangelogMode::AppendOnly,
        };
        JobGraph {
            stages: (0..stages).map(stage).collect(),
            edges: edges.iter().map(edge).collect(),
            settings: JobSettings::default(),
        }
    }

    fn check(stages: u32, edges: &[(u32, u32)], satisfied: &[u32], needless: &[u32]) {
        let satisfied = satisfied.iter().copied().map(StageId).collect();
        let needless: BTreeSet<_> = needless.iter().copied().map(StageId).collect();
        assert_eq!(graph(stages, edges).needless_sources(&satisfied), needless);
    }

    #[test]
    fn a_source_is_needed_as_long_as_one_of_its_ways_ends_where_rows_count() {
        check(1, &[], &[], &[]);
        check(1, &[], &[0], &[0]);
        check(3, &[(0, 1), (1, 2)], &[1], &[0]);
        check(3, &[(0, 1), (0, 2)], &[1], &[]);
        check(3, &[(0, 1), (0, 2)], &[1, 2], &[0]);
        check(4, &[(0, 2), (1, 2), (1, 3)], &[2], &[0]);
    }
}
