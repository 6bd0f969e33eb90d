//! Rainstorm's planner: from streaming SQL to job graphs.
//!
//! Text is parsed in a dialect that covers Flink SQL's surface, names are resolved and types
//! checked through DataFusion, the logical plan is rewritten by those of DataFusion's rules that
//! hold for streams, its changelogs and watermarks are analysed, and what remains is lowered to a
//! [`rainstorm_engine::graph::JobGraph`].
//!
//! The planner does no I/O and runs nothing. A script is planned whole before any of it starts.

mod analysis;
mod bind;
pub mod catalog;
mod coerce;
mod define;
mod diagnose;
pub mod error;
mod explain;
mod expression;
mod hint;
mod interval;
mod lower;
mod options;
mod parse;
mod planner;
mod query;
mod resolve;
mod restore;
mod rewrite;
pub mod script;
pub mod session;
pub mod settings;
mod show;
pub mod statement;
mod stream;
mod table_options;
pub mod types;
mod walk;

pub use planner::Planner;

/// How deep the stack of a thread must be that plans, or runs plans: they are trees that are
/// walked recursively, and [`Planner::plan`] refuses only those that need more. Of a stack only
/// what is used takes memory.
pub const STACK_BYTES: usize = 256 << 20;
