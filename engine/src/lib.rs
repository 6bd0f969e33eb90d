//! Rainstorm's dataflow engine: what happens to rows on one machine.
//!
//! A [`graph::JobGraph`] is a DAG of stages; a stage is a source or an exchange input, a chain of
//! operators, and a sink or exchange outputs. Each stage runs as a number of subtasks
//! ([`task`]), every one a cooperative state machine that takes Arrow batches from its inputs,
//! pushes them through its chain and hands on what comes out, together with watermarks and
//! checkpoint barriers, in band.
//!
//! The engine knows no SQL text, no network and no cluster: the planner builds graphs, the
//! cluster places their subtasks and carries batches between processes.
//!
//! In the order in which data flows through them:
//!
//! - [`graph`]: what is to be run
//! - [`connector`] and [`format`](mod@format): how rows come in and go out
//! - [`batch`], [`hash`], [`time`]: what moves between operators
//! - [`views`]: keeps string views from holding on to more than they show
//! - [`operator`]: what is done to rows, one operator per file
//! - [`state`]: what operators keep, and how it is written into checkpoints
//! - [`memory`]: the budget of what operators and tasks hold
//! - [`task`]: how a subtask runs: channels, alignment of barriers, flushing
//! - [`row_kinds`]: changes as people see them
//! - [`batch_query`]: queries over bounded tables, by DataFusion's batch engine
//! - [`storage`]: where files are, by URL scheme
//! - [`function`]: scalar functions of Flink's that DataFusion lacks
//! - [`wording`]: how types, expressions and failures are told

pub mod batch;
pub mod batch_query;
pub mod connector;
mod error;
pub mod format;
pub mod function;
pub mod graph;
pub mod hash;
pub mod held;
mod ids;
mod map_entries;
pub mod memory;
pub mod operator;
mod row_kind;
pub mod state;
pub mod storage;
pub mod task;
pub mod time;
pub mod views;
pub mod wording;

pub use error::{Error, ErrorKind, Result};
pub use ids::{Attempt, Epoch, Generation, JobId, OperatorId, StageId};
pub use row_kind::{RowKind, row_kinds};
