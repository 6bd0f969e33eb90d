//! Who still needs a chunk: records, writers that are about to refer to it, readers in the middle
//! of it. A chunk that nobody needs any more is garbage and is swept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::chunk::ChunkId;

/// Counts references to chunks. Sweeping and referring exclude each other, so that a chunk is
/// never swept from under a writer that found it in place.
#[derive(Debug, Default)]
pub(crate) struct References {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    counts: HashMap<ChunkId, u32>,
    garbage: Vec<ChunkId>,
}

impl References {
    /// Adds a reference to each of the chunks.
    pub(crate) fn add<'a>(&self, chunks: impl IntoIterator<Item = &'a ChunkId>) {
        let mut inner = self.locked();
        for chunk in chunks {
            *inner.counts.entry(*chunk).or_default() += 1;
        }
    }

    /// Takes a reference to each of the chunks back.
    pub(crate) fn remove<'a>(&self, chunks: impl IntoIterator<Item = &'a ChunkId>) {
        let mut inner = self.locked();
        for chunk in chunks {
            let Some(count) = inner.counts.get_mut(chunk) else { continue };
            *count -= 1;
            if *count == 0 {
                inner.counts.remove(chunk);
                inner.garbage.push(*chunk);
            }
        }
    }

    /// Keeps chunks from being swept until the guard is dropped.
    pub(crate) fn pin(self: &Arc<Self>, chunks: Vec<ChunkId>) -> Pins {
        self.add(&chunks);
        Pins { references: Arc::clone(self), chunks }
    }

    /// Notes chunks that were found on disk; those without a reference are garbage.
    pub(crate) fn note_found(&self, chunks: Vec<ChunkId>) {
        self.locked().garbage.extend(chunks);
    }

    /// Tells whether a sweep would find something to look at.
    pub(crate) fn has_garbage(&self) -> bool {
        !self.locked().garbage.is_empty()
    }

    /// Takes what may be swept.
    pub(crate) fn take_garbage(&self) -> Vec<ChunkId> {
        std::mem::take(&mut self.locked().garbage)
    }

    /// Calls `sweep` unless somebody refers to the chunk, and lets nobody refer to it meanwhile.
    pub(crate) fn sweep_unreferenced<T>(
        &self,
        chunk: &ChunkId,
        sweep: impl FnOnce() -> T,
    ) -> Option<T> {
        let inner = self.locked();
        if inner.counts.contains_key(chunk) { None } else { Some(sweep()) }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Every change is a whole one, so a panic elsewhere leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Chunks that are in use by a reader or a writer.
#[derive(Debug)]
pub(crate) struct Pins {
    references: Arc<References>,
    chunks: Vec<ChunkId>,
}

impl Drop for Pins {
    fn drop(&mut self) {
        self.references.remove(&self.chunks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_chunks_that_nobody_refers_to_are_swept() {
        let references = Arc::new(References::default());
        let chunk = ChunkId::of(&[b"a".as_slice().into()]);
        references.add([&chunk]);
        let pins = references.pin(vec![chunk]);
        references.remove([&chunk]);
        assert!(references.take_garbage().is_empty());
        assert_eq!(references.sweep_unreferenced(&chunk, || ()), None);
        drop(pins);
        assert_eq!(references.take_garbage(), vec![chunk]);
        assert_eq!(references.sweep_unreferenced(&chunk, || ()), Some(()));
    }
}
