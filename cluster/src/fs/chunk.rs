//! Chunks on disk: immutable bytes in files named by their BLAKE3 hash.
//!
//! `chunks/ab/cdef…` holds the chunk whose hash is `abcdef…`: a header of 16 bytes, then the
//! bytes. The name proves the content, so a chunk is verified whenever it leaves the disk.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::cache::ByteCache;
use super::disk::{create_directory, sync_directory};
use super::error::{FsError, Result};
use super::references::References;

/// The most bytes that a chunk has.
pub(crate) const CHUNK_BYTES: usize = 4 << 20;

const MAGIC: &[u8; 4] = b"RSCK";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 16;

/// Names a chunk: the BLAKE3 hash of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ChunkId([u8; 32]);

impl ChunkId {
    /// Names the bytes of all pieces together.
    pub(crate) fn of(pieces: &[Bytes]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for piece in pieces {
            hasher.update(piece);
        }
        Self(*hasher.finalize().as_bytes())
    }

    pub(crate) fn from_slice(hash: &[u8]) -> Option<Self> {
        hash.try_into().ok().map(Self)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn from_hex(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text).ok().map(|hash| Self(*hash.as_bytes()))
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(blake3::Hash::from_bytes(self.0).to_hex().as_str())
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The chunks of a node. All calls block on the disk.
#[derive(Debug)]
pub(crate) struct ChunkStore {
    chunks: PathBuf,
    incoming: PathBuf,
    next_incoming: AtomicU64,
    cache: Mutex<ByteCache<ChunkId>>,
    /// Whether sweeping has ended for good; locked while a chunk is swept.
    closed: Mutex<bool>,
}

impl ChunkStore {
    /// Opens the chunks below a directory and removes what an earlier process did not finish.
    pub(crate) fn open(directory: &Path, cache_bytes: usize) -> Result<Self> {
        let store = Self {
            chunks: directory.join("chunks"),
            incoming: directory.join("incoming"),
            next_incoming: AtomicU64::new(0),
            cache: Mutex::new(ByteCache::new(cache_bytes)),
            closed: Mutex::new(false),
        };
        let prepare = || {
            create_directory(&store.chunks)?;
            create_directory(&store.incoming)?;
            for entry in fs::read_dir(&store.incoming)? {
                fs::remove_file(entry?.path())?;
            }
            Ok(())
        };
        prepare().map_err(FsError::io(format!("prepare {}", directory.display())))?;
        Ok(store)
    }

    /// Stores a chunk durably. One that is there and whole is kept; the caller holds a reference
    /// to it, so that it is not swept meanwhile.
    pub(crate) fn put(&self, id: &ChunkId, pieces: &[Bytes]) -> Result<()> {
        let path = self.path(id);
        let stored = if self.read_verified(id).is_ok() {
            // Its writer may not have synced the name yet.
            path.parent().map_or(Ok(()), sync_directory)
        } else {
            self.write(&path, pieces)
        };
        stored.map_err(FsError::io(format!("write chunk {id}")))
    }

    /// Returns a chunk's bytes, verified.
    ///
    /// # Errors
    /// `Corrupt` where it is missing or damaged, `Io`.
    pub(crate) fn read(&self, id: &ChunkId) -> Result<Bytes> {
        if let Some(bytes) = self.cached(id) {
            return Ok(bytes);
        }
        let bytes = self.read_verified(id)?;
        self.locked_cache().insert(*id, bytes.clone());
        Ok(bytes)
    }

    /// Returns a chunk's bytes if they are in memory; does not block.
    pub(crate) fn cached(&self, id: &ChunkId) -> Option<Bytes> {
        self.locked_cache().get(id)
    }

    /// Removes chunks that nobody refers to, and returns how many.
    pub(crate) fn sweep(&self, references: &References) -> Result<usize> {
        let mut swept = 0;
        for id in references.take_garbage() {
            let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
            if *closed {
                break;
            }
            let removed = references.sweep_unreferenced(&id, || fs::remove_file(self.path(&id)));
            match removed {
                None => {}
                Some(Ok(())) => {
                    self.locked_cache().remove(&id);
                    swept += 1;
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Some(Err(error)) => return Err(FsError::io(format!("remove chunk {id}"))(error)),
            }
        }
        Ok(swept)
    }

    /// Sweeps no more, so that the directory can be opened anew.
    pub(crate) fn close(&self) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Lists the chunks on disk.
    pub(crate) fn list(&self) -> Result<Vec<ChunkId>> {
        let list = || {
            let mut ids = Vec::new();
            for group in fs::read_dir(&self.chunks)? {
                let group = group?;
                let prefix = group.file_name();
                for entry in fs::read_dir(group.path())? {
                    let name = entry?.file_name();
                    let hex = format!("{}{}", prefix.to_string_lossy(), name.to_string_lossy());
                    ids.extend(ChunkId::from_hex(&hex));
                }
            }
            Ok(ids)
        };
        list().map_err(FsError::io(format!("list {}", self.chunks.display())))
    }

    fn path(&self, id: &ChunkId) -> PathBuf {
        let hex = id.to_string();
        let (group, name) = hex.split_at(2);
        self.chunks.join(group).join(name)
    }

    fn write(&self, path: &Path, pieces: &[Bytes]) -> io::Result<()> {
        let number = self.next_incoming.fetch_add(1, Ordering::Relaxed);
        let incoming = self.incoming.join(number.to_string());
        let mut file = File::create(&incoming)?;
        file.write_all(&header(pieces.iter().map(Bytes::len).sum()))?;
        for piece in pieces {
            file.write_all(piece)?;
        }
        file.sync_all()?;
        let group = path.parent().expect("a chunk's path has a group");
        if !group.exists() {
            create_directory(group)?;
        }
        fs::rename(&incoming, path)?;
        sync_directory(group)
    }

    fn read_verified(&self, id: &ChunkId) -> Result<Bytes> {
        let damaged = |reason: &str| FsError::corrupt(format!("chunk {id}"), reason);
        let bytes = match fs::read(self.path(id)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged("it is missing"));
            }
            Err(error) => return Err(FsError::io(format!("read chunk {id}"))(error)),
        };
        if bytes.len() < HEADER_BYTES || &bytes[..4] != MAGIC {
            return Err(damaged("it has no header"));
        }
        let version = u16::from_le_bytes([bytes[4], bytes[5]]);
        if version > VERSION {
            return Err(FsError::Version { what: format!("chunk {id}"), found: version });
        }
        let content = Bytes::from(bytes).slice(HEADER_BYTES..);
        if ChunkId::of(std::slice::from_ref(&content)) != *id {
            return Err(damaged("its bytes do not have its hash"));
        }
        Ok(content)
    }

    fn locked_cache(&self) -> std::sync::MutexGuard<'_, ByteCache<ChunkId>> {
        // A cache that a panic left is still a cache.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Magic, version, features, length, and room.
fn header(length: usize) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(MAGIC);
    header[4..6].copy_from_slice(&VERSION.to_le_bytes());
    header[8..12].copy_from_slice(&(length as u32).to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(bytes: &'static [u8]) -> (tempfile::TempDir, ChunkStore, ChunkId) {
        let directory = tempfile::tempdir().unwrap();
        let store = ChunkStore::open(directory.path(), 0).unwrap();
        let pieces = [Bytes::from_static(bytes)];
        let id = ChunkId::of(&pieces);
        store.put(&id, &pieces).unwrap();
        (directory, store, id)
    }

    #[test]
    fn a_chunk_lies_in_a_directory_named_by_its_first_byte() {
        let (directory, store, id) = stored(b"rain");
        let hex = id.to_string();
        assert!(directory.path().join("chunks").join(&hex[..2]).join(&hex[2..]).is_file());
        assert_eq!(store.list().unwrap(), vec![id]);
        assert_eq!(store.read(&id).unwrap(), "rain");
    }

    #[test]
    fn every_flipped_byte_is_noticed_and_the_next_put_repairs_it() {
        let (_directory, store, id) = stored(b"rain and more rain");
        let path = store.path(&id);
        let whole = fs::read(&path).unwrap();
        for at in HEADER_BYTES..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            let error = store.read(&id).unwrap_err();
            assert!(matches!(error, FsError::Corrupt { .. }), "byte {at}: {error}");
        }
        store.put(&id, &[Bytes::from_static(b"rain and more rain")]).unwrap();
        assert_eq!(store.read(&id).unwrap(), "rain and more rain");
    }

    #[test]
    fn what_a_crash_left_unfinished_is_removed() {
        let (directory, store, _) = stored(b"rain");
        let unfinished = store.incoming.join("17");
        fs::write(&unfinished, "half").unwrap();
        ChunkStore::open(directory.path(), 0).unwrap();
        assert!(!unfinished.exists());
    }
}
