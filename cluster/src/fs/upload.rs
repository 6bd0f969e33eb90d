//! A write in progress: bytes come in pieces and are cut into chunks, which are stored while more
//! comes; the record at the end makes them a file.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::future::BoxFuture;
use uuid::Uuid;

use super::chunk::CHUNK_BYTES;
use super::commit::{Condition, Operation};
use super::error::{FsError, Result};
use super::record::{ChunkRef, Content, INLINE_BYTES, Record};
use super::references::Pins;
use super::sdfs::Sdfs;

/// What is to be written.
#[derive(Debug, Clone)]
pub(crate) struct PutTarget {
    pub(crate) path: Arc<str>,
    /// Becomes the etag; the same one twice is the same write.
    pub(crate) request_id: Uuid,
    pub(crate) condition: Condition,
    pub(crate) attributes: Vec<(String, String)>,
}

/// A chunk that is on disk and pinned.
#[derive(Debug)]
pub(crate) struct StoredChunk {
    pub(crate) chunk: ChunkRef,
    pub(crate) pins: Pins,
}

/// A chunk on its way to disk.
pub(crate) type PendingChunk = BoxFuture<'static, Result<()>>;

/// A write in progress. Dropped without [`complete`](Self::complete) it leaves nothing but chunks
/// that are swept.
#[derive(Debug)]
pub(crate) struct Upload {
    fs: Sdfs,
    target: PutTarget,
    /// Bytes that do not fill a chunk yet.
    buffer: Vec<Bytes>,
    buffered_bytes: usize,
    /// One per chunk that was cut, filled when it is stored.
    slots: Vec<Arc<OnceLock<StoredChunk>>>,
}

impl Upload {
    pub(crate) fn new(fs: Sdfs, target: PutTarget) -> Self {
        Self { fs, target, buffer: Vec::new(), buffered_bytes: 0, slots: Vec::new() }
    }

    /// Takes the next bytes and returns the chunks that they fill. All must have been waited for
    /// before the upload is completed.
    pub(crate) fn push(&mut self, mut bytes: Bytes) -> Vec<PendingChunk> {
        let mut pending = Vec::new();
        while self.buffered_bytes + bytes.len() >= CHUNK_BYTES {
            let rest = bytes.split_off(CHUNK_BYTES - self.buffered_bytes);
            self.buffer.push(bytes);
            pending.push(self.cut_chunk());
            bytes = rest;
        }
        if !bytes.is_empty() {
            self.buffered_bytes += bytes.len();
            self.buffer.push(bytes);
        }
        pending
    }

    /// Stores the last chunk and makes the file visible. Returns its etag.
    ///
    /// # Errors
    /// `Invalid` where a chunk was not waited for; `AlreadyExists` or `Precondition` where the
    /// condition does not hold; `Full`, `Io`, `Failed`.
    pub(crate) async fn complete(&mut self) -> Result<Uuid> {
        let (content, size, pins) = if self.slots.is_empty() && self.buffered_bytes <= INLINE_BYTES
        {
            let content = std::mem::take(&mut self.buffer).concat();
            let size = content.len() as u64;
            self.fs.check_space(size).await?;
            (Content::Inline(content.into()), size, Vec::new())
        } else {
            if self.buffered_bytes > 0 {
                self.cut_chunk().await?;
            }
            self.take_chunks()?
        };
        let record = Record {
            etag: self.target.request_id,
            size,
            last_modified_ms: self.fs.now_ms(),
            content,
            attributes: std::mem::take(&mut self.target.attributes),
        };
        let path = Arc::clone(&self.target.path);
        let condition = self.target.condition.clone();
        self.fs.submit(Operation::Put { path, record, condition, pins }).await?;
        Ok(self.target.request_id)
    }

    fn cut_chunk(&mut self) -> PendingChunk {
        let pieces = std::mem::take(&mut self.buffer);
        self.buffered_bytes = 0;
        let slot = Arc::new(OnceLock::new());
        self.slots.push(Arc::clone(&slot));
        let fs = self.fs.clone();
        Box::pin(async move {
            let stored = fs.store_chunk(pieces).await?;
            slot.set(stored).expect("a chunk is stored once");
            Ok(())
        })
    }

    fn take_chunks(&mut self) -> Result<(Content, u64, Vec<Pins>)> {
        let mut chunks = Vec::with_capacity(self.slots.len());
        let mut pins = Vec::with_capacity(self.slots.len());
        for slot in std::mem::take(&mut self.slots) {
            let stored = Arc::into_inner(slot).and_then(OnceLock::into_inner);
            let stored = stored.ok_or_else(|| {
                FsError::Invalid(format!("part of {} was not stored", self.target.path))
            })?;
            chunks.push(stored.chunk);
            pins.push(stored.pins);
        }
        let size = chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
        Ok((Content::Chunks(chunks.into()), size, pins))
    }
}
