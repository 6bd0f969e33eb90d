//! What the joins share.
//!
//! Rows that wait for partners lie in columnar [tables](table::Table), found by the hash of their
//! keys. A batch probes tables for candidate [pairs](pairs::Pairs); the [shape](shape::JoinShape)
//! of the join says which of them hold, and puts the output together from both sides' columns.

pub(super) mod keys;
pub(super) mod pairs;
pub(super) mod shape;
pub(super) mod state;
pub(super) mod table;
#[cfg(test)]
pub(super) mod testing;
