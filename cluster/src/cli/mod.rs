//! The command line: what people type and see.

mod execute;
mod output;
mod progress;
mod sql_errors;

pub use output::Format;
