//! Records: what is known of one path.

use std::sync::Arc;

use bytes::Bytes;
use rainstorm_proto::files as proto;
use uuid::Uuid;

use super::chunk::{CHUNK_BYTES, ChunkId};
use super::error::{FsError, Result};

/// Content up to this size is kept in the record.
pub(crate) const INLINE_BYTES: usize = 32 << 10;

/// The metadata of one path, with small content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Unique per write.
    pub(crate) etag: Uuid,
    pub(crate) size: u64,
    pub(crate) last_modified_ms: i64,
    pub(crate) content: Content,
    pub(crate) attributes: Vec<(String, String)>,
}

/// Where a file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// In the record.
    Inline(Bytes),
    /// In chunks, in this order.
    Chunks(Arc<[ChunkRef]>),
}

/// A chunk of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkRef {
    pub(crate) id: ChunkId,
    pub(crate) length: u32,
}

impl Record {
    /// Returns the etag as text.
    pub(crate) fn etag_text(&self) -> String {
        etag_text(self.etag)
    }

    /// Returns the chunks that hold the content, in order.
    pub(crate) fn chunks(&self) -> &[ChunkRef] {
        match &self.content {
            Content::Inline(_) => &[],
            Content::Chunks(chunks) => chunks,
        }
    }

    /// Returns the names of the chunks.
    pub(crate) fn chunk_ids(&self) -> impl Iterator<Item = &ChunkId> {
        self.chunks().iter().map(|chunk| &chunk.id)
    }
}

/// Returns an etag as text.
pub(crate) fn etag_text(etag: Uuid) -> String {
    etag.simple().to_string()
}

impl From<&Record> for proto::Record {
    fn from(record: &Record) -> Self {
        let inline = match &record.content {
            Content::Inline(bytes) => bytes.clone(),
            Content::Chunks(_) => Bytes::new(),
        };
        let chunk = |chunk: &ChunkRef| proto::Chunk {
            hash: Bytes::copy_from_slice(chunk.id.as_bytes()),
            length: chunk.length,
        };
        Self {
            etag: Bytes::copy_from_slice(record.etag.as_bytes()),
            size: record.size,
            last_modified_ms: record.last_modified_ms,
            inline,
            chunks: record.chunks().iter().map(chunk).collect(),
            attributes: super::wire::attributes_to_proto(&record.attributes),
        }
    }
}

impl TryFrom<proto::Record> for Record {
    type Error = FsError;

    fn try_from(record: proto::Record) -> Result<Self> {
        let damaged = |reason: &str| FsError::corrupt("record", reason);
        let etag =
            Uuid::from_slice(&record.etag).map_err(|_| damaged("its etag has no 16 bytes"))?;
        let content = if record.chunks.is_empty() {
            // Copied, so that it does not keep the whole log's bytes in memory.
            Content::Inline(Bytes::copy_from_slice(&record.inline))
        } else {
            let chunks = record.chunks.iter().map(chunk_from_proto).collect::<Option<_>>();
            Content::Chunks(chunks.ok_or_else(|| damaged("it names an impossible chunk"))?)
        };
        let size = match &content {
            Content::Inline(bytes) => bytes.len() as u64,
            Content::Chunks(chunks) => chunks.iter().map(|chunk| u64::from(chunk.length)).sum(),
        };
        if size != record.size {
            return Err(damaged("its size is not that of its content"));
        }
        let last_modified_ms = record.last_modified_ms;
        let attributes = super::wire::attributes_from_proto(record.attributes);
        Ok(Self { etag, size, last_modified_ms, content, attributes })
    }
}

fn chunk_from_proto(chunk: &proto::Chunk) -> Option<ChunkRef> {
    let id = ChunkId::from_slice(&chunk.hash)?;
    let possible = chunk.length > 0 && chunk.length as usize <= CHUNK_BYTES;
    possible.then_some(ChunkRef { id, length: chunk.length })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_round_trip(content: Content, size: u64) {
        let record = Record {
            etag: Uuid::from_u128(7),
            size,
            last_modified_ms: 1_700_000_000_123,
            content,
            attributes: vec![("content-type".into(), "text/csv".into())],
        };
        assert_eq!(Record::try_from(proto::Record::from(&record)).unwrap(), record);
    }

    #[test]
    fn records_round_trip() {
        check_round_trip(Content::Inline(Bytes::from_static(b"abc")), 3);
        check_round_trip(Content::Inline(Bytes::new()), 0);
        let id = ChunkId::of(&[Bytes::from_static(b"x")]);
        let chunks = [ChunkRef { id, length: 4 << 20 }, ChunkRef { id, length: 1 }];
        check_round_trip(Content::Chunks(chunks.into()), (4 << 20) + 1);
    }

    #[test]
    fn a_record_whose_size_is_wrong_is_refused() {
        let record = proto::Record {
            etag: Bytes::from_static(&[0; 16]),
            size: 2,
            inline: Bytes::from_static(b"abc"),
            ..Default::default()
        };
        assert!(matches!(Record::try_from(record), Err(FsError::Corrupt { .. })));
    }
}
