//! The content of a file, block by block.

use std::sync::Arc;

use bytes::Bytes;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::format::{Compression, Decompressor};
use crate::{Error, Result};

/// How much of a file is fetched at once: enough to make fetching cheap, little enough for a
/// task that reads hundreds of files side by side.
const BLOCK_BYTES: u64 = 1 << 20;
/// How much is fetched first: few rows may be wanted, and many files are small.
const FIRST_BLOCK_BYTES: u64 = 128 << 10;
/// How much of a compressed file is decompressed at once: it may grow a thousandfold.
const STEP_BYTES: usize = 64 << 10;

/// Fetches and decompresses a file from a place in its content on.
pub(super) struct Blocks {
    store: Arc<dyn ObjectStore>,
    meta: ObjectMeta,
    name: String,
    /// The next byte of the file to fetch.
    next: u64,
    block_bytes: u64,
    fetched: Bytes,
    /// How large the block was that was fetched last.
    fetched_bytes: usize,
    decompressor: Option<Decompressor>,
    /// How much content is still to be passed over.
    skip: u64,
    ended: bool,
}

impl Blocks {
    /// Begins at byte `skip` of the content; `name` is for people.
    pub(super) fn open(
        store: Arc<dyn ObjectStore>,
        meta: ObjectMeta,
        name: &str,
        compression: Compression,
        skip: u64,
    ) -> Result<Self> {
        let plain = compression == Compression::None;
        let decompressor = if plain { None } else { Some(Decompressor::new(compression)?) };
        Ok(Self {
            store,
            meta,
            name: name.to_owned(),
            next: if plain { skip } else { 0 },
            block_bytes: FIRST_BLOCK_BYTES,
            fetched: Bytes::new(),
            fetched_bytes: 0,
            decompressor,
            skip: if plain { 0 } else { skip },
            ended: false,
        })
    }

    /// Returns the next block, or `None` at the end. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.fetched.is_empty() {
                self.fetch().await?;
            }
            let content = self
                .decompress()
                .map_err(|error| Error::io(format!("decompress '{}'", self.name), error))?;
            match content {
                None => return Ok(None),
                Some(content) => {
                    let content = self.pass_over(content);
                    if !content.is_empty() {
                        return Ok(Some(content));
                    }
                }
            }
        }
    }

    /// Returns the bytes that are in memory of what was fetched.
    pub(super) fn memory_bytes(&self) -> usize {
        self.fetched_bytes
    }

    async fn fetch(&mut self) -> Result<()> {
        let end = self.meta.size.min(self.next + self.block_bytes);
        if self.next >= end {
            return Ok(());
        }
        let block = self.store.get_range(&self.meta.location, self.next..end).await;
        self.fetched =
            block.map_err(|error| Error::storage(format!("read '{}'", self.name), error))?;
        self.fetched_bytes = self.fetched.len();
        self.next = end;
        self.block_bytes = BLOCK_BYTES;
        Ok(())
    }

    /// Returns content of what has been fetched, `None` at the end.
    fn decompress(&mut self) -> std::io::Result<Option<Bytes>> {
        let Some(decompressor) = &mut self.decompressor else {
            let block = std::mem::take(&mut self.fetched);
            return Ok((!block.is_empty()).then_some(block));
        };
        if !self.fetched.is_empty() {
            let step = self.fetched.split_to(self.fetched.len().min(STEP_BYTES));
            return decompressor.push(&step).map(|content| Some(content.into()));
        }
        if std::mem::replace(&mut self.ended, true) {
            return Ok(None);
        }
        decompressor.finish().map(|content| Some(content.into()))
    }

    fn pass_over(&mut self, mut content: Bytes) -> Bytes {
        let passed = self.skip.min(content.len() as u64);
        self.skip -= passed;
        content.split_off(passed as usize)
    }
}
