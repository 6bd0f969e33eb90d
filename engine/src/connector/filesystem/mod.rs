//! The connector `filesystem`: tables that are files, in any object store.
//!
//! A table is a file, the files of a directory, or those that match a pattern. A directory that
//! was written by a job has commits, which say exactly which files are its rows.

mod blocks;
mod commits;
mod committer;
#[cfg(test)]
mod layout_tests;
mod options;
mod overlap;
#[cfg(test)]
mod parquet_tests;
mod partition;
mod partition_commit;
#[cfg(test)]
mod partition_commit_tests;
mod partition_time;
mod partitioner;
mod pattern;
mod place;
mod position;
mod reader;
mod rolling;
#[cfg(test)]
mod rolling_tests;
mod sink;
#[cfg(test)]
mod sink_tests;
mod source;
#[cfg(test)]
mod source_tests;
#[cfg(test)]
mod testing;
mod text_reader;
mod writer;

pub use options::OPTIONS;
pub use overlap::overlap;
pub use partition_commit::{PREFIXES, awaits_watermark};
pub use pattern::Pattern;
pub use sink::FilesystemSink;
pub use source::FilesystemSource;
