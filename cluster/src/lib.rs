//! What makes Rainstorm a system: master, workers, the exchange between them, SDFS, and the
//! program that people run.

pub mod cli;
pub mod codec;
pub mod embedded;
mod exchange;
pub mod fs;
pub mod identity;
pub mod job;
pub mod master;
pub mod membership;
pub mod node;
pub mod worker;
