//! SDFS: files behind the `object_store` interface.
//!
//! A *file* is a path with an etag, a size and content. Its *record*, the metadata, is kept in
//! memory, backed by a write-ahead log and snapshots; content up to 32 KiB is kept in the record
//! itself, longer content in *chunks* of up to 4 MiB, each a file on disk that is named by its
//! BLAKE3 hash and verified whenever it is read.
//!
//! Acknowledged means: chunks, then record, synced to disk, directories included. This is one
//! node; records and chunks have no knowledge of each other's place, so that they can be spread
//! over several.
//!
//! - [`Sdfs`]: a node's files
//! - [`SdfsStore`], [`RemoteStore`]: the `object_store` interface to them, here and over gRPC
//! - [`FilesServer`]: the gRPC service

mod attributes;
mod cache;
mod chunk;
mod commit;
mod disk;
mod error;
mod frame;
mod log;
mod record;
mod references;
mod remote;
mod sdfs;
mod server;
mod snapshot;
mod store;
mod table;
mod upload;
mod wire;

#[cfg(test)]
mod model_tests;

pub use disk::{DiskSpace, RealDiskSpace, Space};
pub use error::{FsError, FsErrorKind};
pub use remote::RemoteStore;
pub use sdfs::{Config, FileInfo, Sdfs};
pub use server::FilesServer;
pub use store::SdfsStore;

pub(crate) use disk::write_atomically;
