//! A node's files.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use rainstorm_engine::time::ClockRef;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::chunk::{ChunkId, ChunkStore};
use super::commit::{Committer, Operation, check_condition};
use super::disk::{DiskSpace, RealDiskSpace, check_space};
use super::error::{FsError, Result};
use super::record::{ChunkRef, Content, INLINE_BYTES, Record};
use super::references::{Pins, References};
use super::table::{DirectoryListing, Table};
use super::upload::{PutTarget, StoredChunk, Upload};

/// Chunks of one file that are written or read at a time.
const CONCURRENT_CHUNKS: usize = 4;

/// How a node keeps its files.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory of the log, snapshots and chunks; made where there is none. One process at
    /// a time may open it, which [`crate::identity::DataDirectory`] ensures.
    pub directory: PathBuf,
    /// Memory for hot chunks, in bytes; default 64 MiB. More means fewer reads of the disk. A
    /// chunk has up to 4 MiB, so much less than 16 MiB caches nothing.
    pub cache_bytes: usize,
    /// The log's size after which a snapshot replaces it, in bytes; default 64 MiB. More means
    /// fewer snapshots and a longer start.
    pub snapshot_after_bytes: u64,
    /// Gives files their time.
    pub clock: ClockRef,
    /// Tells how full the disk is.
    pub disk: Arc<dyn DiskSpace>,
}

impl Config {
    /// Makes the default configuration for a directory.
    #[must_use]
    pub fn new(directory: PathBuf, clock: ClockRef) -> Self {
        Self {
            directory,
            cache_bytes: 64 << 20,
            snapshot_after_bytes: 64 << 20,
            clock,
            disk: Arc::new(RealDiskSpace),
        }
    }
}

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// Its path.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written, in milliseconds since 1970.
    pub last_modified_ms: i64,
    /// Unique per write.
    pub etag: String,
    /// Names and values, such as its content type.
    pub attributes: Vec<(String, String)>,
    /// Chunks that hold its content; 0 where the record itself does.
    pub chunks: u64,
}

/// The files of a node. Cheap to clone. Disk work is done on the blocking threads of the runtime
/// that opened it, whichever runtime calls.
#[derive(Clone)]
pub struct Sdfs {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    chunks: Arc<ChunkStore>,
    references: Arc<References>,
    table: Arc<Table>,
    committer: Committer,
    runtime: Handle,
    sweeping: AtomicBool,
}

/// A file that is being read.
pub(crate) struct Reading {
    pub(crate) info: FileInfo,
    pub(crate) range: Range<u64>,
    pub(crate) bytes: BoxStream<'static, Result<Bytes>>,
}

impl Sdfs {
    /// Opens the files of a directory and recovers what was acknowledged. The current tokio
    /// runtime lends its blocking threads.
    ///
    /// # Errors
    /// `Corrupt` where the log or a snapshot is damaged, `Version`, `Io`.
    pub async fn open(config: Config) -> Result<Self> {
        let runtime = Handle::current();
        let opened = blocking(&runtime, move || {
            let directory = &config.directory;
            std::fs::create_dir_all(directory)
                .map_err(FsError::io(format!("create {}", directory.display())))?;
            let references = Arc::new(References::default());
            let chunks = Arc::new(ChunkStore::open(directory, config.cache_bytes)?);
            let (committer, table) =
                Committer::open(directory, config.snapshot_after_bytes, Arc::clone(&references))?;
            // Only chunks of writes that a crash cut off have no reference now.
            references.note_found(chunks.list()?);
            Ok((config, chunks, references, committer, table))
        });
        let (config, chunks, references, committer, table) = opened.await?;
        let inner = Inner {
            config,
            chunks,
            references,
            table,
            committer,
            runtime,
            sweeping: AtomicBool::new(false),
        };
        let fs = Self { inner: Arc::new(inner) };
        fs.sweep_behind();
        Ok(fs)
    }

    /// Writes a file whose bytes are at hand. Returns its etag.
    pub(crate) async fn put(&self, pieces: Vec<Bytes>, target: PutTarget) -> Result<Uuid> {
        let size = pieces.iter().map(Bytes::len).sum::<usize>();
        self.check_space(size as u64).await?;
        if size > INLINE_BYTES {
            // What cannot succeed should not write chunks first. The commit decides.
            let current = self.inner.table.get(&target.path).ok();
            let repeated = current.as_ref().is_some_and(|it| it.etag == target.request_id);
            if !repeated {
                check_condition(&target.path, current.as_deref(), &target.condition)?;
            }
        }
        let mut upload = Upload::new(self.clone(), target);
        let pending = pieces.into_iter().flat_map(|piece| upload.push(piece)).collect::<Vec<_>>();
        stream::iter(pending).buffer_unordered(CONCURRENT_CHUNKS).try_collect::<()>().await?;
        upload.complete().await
    }

    /// Starts writing a file whose bytes are still to come.
    pub(crate) fn upload(&self, target: PutTarget) -> Upload {
        Upload::new(self.clone(), target)
    }

    /// Returns what is known of a file.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn info(&self, path: &str) -> Result<FileInfo> {
        self.inner.table.with(path, |record| info(path, record))
    }

    /// Starts reading the range of a file that `choose` makes of what is known of it.
    ///
    /// # Errors
    /// `NotFound`, and what `choose` returns.
    pub(crate) fn read<E: From<FsError>>(
        &self,
        path: &str,
        choose: impl FnOnce(&FileInfo) -> Result<Range<u64>, E>,
    ) -> std::result::Result<Reading, E> {
        let found = self.inner.table.with(path, |record| {
            let pins = self.inner.references.pin(record.chunk_ids().copied().collect());
            (Arc::clone(record), pins)
        });
        let (record, pins) = found?;
        let info = info(path, &record);
        let range = choose(&info)?;
        let bytes = self.stream(&record, range.clone(), pins);
        Ok(Reading { info, range, bytes })
    }

    /// Returns up to `limit` files below a directory whose paths come after `after`, in order.
    pub(crate) fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<FileInfo> {
        let page = self.inner.table.page(prefix, after, limit);
        page.into_iter().map(|(path, record)| info(&path, &record)).collect()
    }

    /// Lists what lies directly in a directory: files, and the paths of directories.
    pub(crate) fn directory(&self, prefix: &str) -> (Vec<FileInfo>, Vec<String>) {
        let DirectoryListing { files, directories } = self.inner.table.directory(prefix);
        let files = files.into_iter().map(|(path, record)| info(&path, &record)).collect();
        (files, directories)
    }

    /// Removes a file; one that is not there is removed already.
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        self.submit(Operation::Delete { path: path.into() }).await
    }

    /// Copies a file, or moves it; both share its chunks and are atomic on this node.
    pub(crate) async fn copy(
        &self,
        from: &str,
        to: &str,
        create: bool,
        remove: bool,
    ) -> Result<()> {
        let etag = crate::identity::unique_id();
        let (from, to, now_ms) = (from.into(), to.into(), self.now_ms());
        self.submit(Operation::Copy { from, to, create, remove, etag, now_ms }).await
    }

    /// Removes the chunks that nobody needs any more and returns how many.
    ///
    /// # Errors
    /// `Io`.
    pub async fn collect_chunks(&self) -> Result<usize> {
        let (chunks, references) =
            (Arc::clone(&self.inner.chunks), Arc::clone(&self.inner.references));
        blocking(&self.inner.runtime, move || chunks.sweep(&references)).await
    }

    pub(crate) async fn submit(&self, operation: Operation) -> Result<()> {
        self.inner.committer.submit(operation).await?;
        self.sweep_behind();
        Ok(())
    }

    pub(crate) async fn store_chunk(&self, pieces: Vec<Bytes>) -> Result<StoredChunk> {
        let inner = Arc::clone(&self.inner);
        blocking(&self.inner.runtime, move || {
            let length = pieces.iter().map(Bytes::len).sum::<usize>();
            let Config { disk, directory, .. } = &inner.config;
            check_space(disk.as_ref(), directory, length as u64)?;
            let id = ChunkId::of(&pieces);
            let pins = inner.references.pin(vec![id]);
            inner.chunks.put(&id, &pieces)?;
            Ok(StoredChunk { chunk: ChunkRef { id, length: length as u32 }, pins })
        })
        .await
    }

    /// Refuses what would eat into what is held back of the disk.
    pub(crate) async fn check_space(&self, needed_bytes: u64) -> Result<()> {
        let Config { disk, directory, .. } = &self.inner.config;
        let (disk, directory) = (Arc::clone(disk), directory.clone());
        let check = move || check_space(disk.as_ref(), &directory, needed_bytes);
        blocking(&self.inner.runtime, check).await
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.inner.config.clock.now_ms()
    }

    fn stream(
        &self,
        record: &Record,
        range: Range<u64>,
        pins: Pins,
    ) -> BoxStream<'static, Result<Bytes>> {
        let chunks = match &record.content {
            Content::Inline(bytes) => {
                let bytes = bytes.slice(range.start as usize..range.end as usize);
                return stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed();
            }
            Content::Chunks(chunks) => chunks,
        };
        let pins = Arc::new(pins);
        let fs = self.clone();
        stream::iter(cut(chunks, &range))
            .map(move |(id, part)| {
                let (fs, pins) = (fs.clone(), Arc::clone(&pins));
                async move {
                    let bytes = fs.read_chunk(id).await?;
                    // The file's chunks stay until all of it was read.
                    drop(pins);
                    Ok(bytes.slice(part))
                }
            })
            .buffered(2)
            .boxed()
    }

    async fn read_chunk(&self, id: ChunkId) -> Result<Bytes> {
        if let Some(bytes) = self.inner.chunks.cached(&id) {
            return Ok(bytes);
        }
        let chunks = Arc::clone(&self.inner.chunks);
        blocking(&self.inner.runtime, move || chunks.read(&id)).await
    }

    /// Sweeps in the background, one sweep at a time.
    fn sweep_behind(&self) {
        let idle = !self.inner.references.has_garbage();
        if idle || self.inner.sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        // Only what the sweep needs: it must not keep the store open.
        let (chunks, references) =
            (Arc::clone(&self.inner.chunks), Arc::clone(&self.inner.references));
        let inner = Arc::downgrade(&self.inner);
        self.inner.runtime.spawn_blocking(move || {
            if let Err(error) = chunks.sweep(&references) {
                tracing::warn!(error = %error, "sweep of unreferenced chunks failed");
            }
            if let Some(inner) = inner.upgrade() {
                inner.sweeping.store(false, Ordering::Release);
            }
        });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.chunks.close();
    }
}

impl fmt::Debug for Sdfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sdfs").field("directory", &self.inner.config.directory).finish()
    }
}

fn info(path: &str, record: &Record) -> FileInfo {
    FileInfo {
        path: path.to_owned(),
        size: record.size,
        last_modified_ms: record.last_modified_ms,
        etag: record.etag_text(),
        attributes: record.attributes.clone(),
        chunks: record.chunks().len() as u64,
    }
}

/// Finds the chunks that a range touches, and the part of each.
fn cut(chunks: &[ChunkRef], range: &Range<u64>) -> Vec<(ChunkId, Range<usize>)> {
    let mut parts = Vec::new();
    let mut start = 0;
    for chunk in chunks {
        let end = start + u64::from(chunk.length);
        let (from, to) = (range.start.max(start), range.end.min(end));
        if from < to {
            parts.push((chunk.id, (from - start) as usize..(to - start) as usize));
        }
        start = end;
    }
    parts
}

/// Runs blocking work on a runtime's blocking threads.
async fn blocking<T: Send + 'static>(
    runtime: &Handle,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match runtime.spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(FsError::Failed { reason: format!("disk work did not finish: {error}") }),
    }
}
