//! What is planned, and what comes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use rainstorm_engine::graph::{BatchQuery, ChangelogMode, JobGraph};

/// A script and what its text depends on.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// Statements, each but the last ended by a semicolon.
    pub text: String,
    /// Directory that relative `path` options are resolved against (absolute).
    pub base_directory: String,
    /// `${NAME}` variables.
    pub variables: BTreeMap<String, String>,
}

/// One thing to do, in order; a step begins when the one before has ended, unless that is a job of
/// INSERTs which never ends.
#[derive(Debug)]
pub enum Step {
    /// DDL or SET: already applied to the session that was passed in.
    Done {
        /// What was done, for people.
        message: String,
    },
    /// An answer that the planner itself computed: EXPLAIN, DESCRIBE, SHOW …
    Rows(RecordBatch),
    /// SHOW JOBS: the master answers.
    ShowJobs,
    /// A SELECT over bounded tables that DataFusion's batch engine answers.
    Batch {
        /// What to run.
        query: Arc<BatchQuery>,
        /// `state.memory-budget`: bytes that its operators may hold.
        memory_budget_bytes: usize,
    },
    /// A streaming job: the INSERTs of one step, or one SELECT.
    Job(Box<JobPlan>),
}

/// A job to be run.
#[derive(Debug)]
pub struct JobPlan {
    /// What to run.
    pub graph: JobGraph,
    /// The name that `pipeline.name` gives it.
    pub name: Option<String>,
    /// Tables written, by name; empty for a SELECT.
    pub inserts: Vec<String>,
    /// Whether it ends by itself: with its sources, or with enough rows.
    pub bounded: bool,
    /// How the client shows a SELECT's rows.
    pub query: Option<QueryOutput>,
    /// For people: unbounded state without a TTL, and the like.
    pub warnings: Vec<String>,
}

/// How a client shows a SELECT's rows.
#[derive(Debug, Clone)]
pub struct QueryOutput {
    /// All columns that arrive; the first `visible` are shown, the rest only sort.
    pub schema: SchemaRef,
    /// How many columns are shown.
    pub visible: usize,
    /// Whether rows may be taken back.
    pub changelog: ChangelogMode,
    /// The columns that say which row a change is about, where that is known.
    pub upsert_key: Option<Vec<usize>>,
    /// ORDER BY, applied to the folded final rows of bounded input.
    pub order_by: Vec<SortColumn>,
    /// OFFSET, applied after ORDER BY.
    pub offset: usize,
    /// LIMIT, applied after OFFSET.
    pub limit: Option<usize>,
}

/// One column of an ORDER BY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortColumn {
    /// Index in [`QueryOutput::schema`].
    pub index: usize,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST.
    pub nulls_first: bool,
}
