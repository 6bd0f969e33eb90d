//! A job's checkpoints as objects: `head`, which is written conditionally and names what exists,
//! and immutable manifests and state files, which are written before.
//!
//! ```text
//! jobs/<name>/head                                          Head, JSON
//! jobs/<name>/manifests/<generation>-<attempt>-<epoch>.json Manifest, JSON
//! jobs/<name>/state/<generation>-<attempt>-<epoch>-…        state files, written by workers
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{
    ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UpdateVersion,
};
use rainstorm_engine::{Epoch, Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::manifest::{CheckpointRef, FORMAT, HEAD_FORMAT, Head, Manifest};
use super::message::RestorePoint;

/// How many checkpoints stay restorable, apart from savepoints.
const CHECKPOINTS_KEPT: usize = 3;

/// How often a conditional write of unknown outcome is settled and, where it did not arrive,
/// repeated.
const WRITE_ATTEMPTS_MAX: usize = 4;

/// The objects of one job. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CheckpointStore {
    store: Arc<dyn ObjectStore>,
    directory: Path,
    writer: Arc<Writer>,
}

#[derive(Debug)]
struct Writer {
    name: String,
    requests: AtomicU64,
}

/// A `head` as this process last read or wrote it, and the right to replace exactly that one.
#[derive(Debug, Clone)]
pub struct HeldHead {
    /// The contents.
    pub head: Head,
    version: UpdateVersion,
    /// Whether its generation started anew, so that the first checkpoint that it commits takes the
    /// place of those of earlier generations.
    anew: bool,
}

impl CheckpointStore {
    /// Makes the store of a job whose objects are under `directory`. `writer` is unique among all
    /// processes that ever write there.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, directory: Path, writer: &str) -> Self {
        let writer = Writer { name: writer.to_owned(), requests: AtomicU64::new(0) };
        Self { store, directory, writer: Arc::new(writer) }
    }

    /// Returns the directory under which workers write state files.
    #[must_use]
    pub fn state_directory(&self) -> Path {
        self.directory.clone().join("state")
    }

    /// Reads `head`; `None` where the job has never been started.
    ///
    /// # Errors
    /// `Storage`, or `Restore` where it is not one.
    pub async fn head(&self) -> Result<Option<HeldHead>> {
        let path = self.head_path();
        let Some((head, version)) = self.read::<Head>(&path).await? else { return Ok(None) };
        check_format(&path, head.format, HEAD_FORMAT)?;
        Ok(Some(HeldHead { head, version, anew: false }))
    }

    /// Finds a checkpoint that is kept.
    ///
    /// # Errors
    /// `Restore`, naming those that are; `Storage`.
    pub async fn find(&self, epoch: Epoch) -> Result<CheckpointRef> {
        find(epoch.0, self.head().await?.as_ref().map(|held| &held.head))
    }

    /// Claims the next generation of the job, from which on older ones can commit nothing, and
    /// returns the checkpoint to start from, if `fits` has no objection to it. Without `restore`
    /// the job starts from the beginning, and its earlier checkpoints become garbage once it has
    /// committed one of its own; checkpoints after the one that is restored do at once, since
    /// what was published with them is taken back.
    ///
    /// # Errors
    /// `Restore` where the wanted checkpoint is not kept or unreadable; what `fits` returns;
    /// `Storage`, also where someone else claims the job at the same time. Nothing has changed
    /// then.
    pub async fn claim(
        &self,
        leader_epoch: u64,
        restore: Option<RestorePoint>,
        fits: impl FnOnce(&Head, &Manifest) -> Result<()>,
    ) -> Result<(HeldHead, Option<Manifest>)> {
        let current = self.head().await?;
        let from = match (restore, &current) {
            (None, _) | (Some(RestorePoint::Latest), None) => None,
            (Some(RestorePoint::Latest), Some(current)) => current.head.checkpoints.last().copied(),
            (Some(RestorePoint::Epoch(epoch)), current) => {
                Some(find(epoch.0, current.as_ref().map(|current| &current.head))?)
            }
        };
        let manifest = match &from {
            Some(checkpoint) => Some(self.manifest(checkpoint).await?),
            None => None,
        };
        if let (Some(current), Some(manifest)) = (&current, &manifest) {
            fits(&current.head, manifest)?;
        }
        let mut head = current.as_ref().map_or_else(
            || Head {
                format: HEAD_FORMAT,
                generation: 0,
                leader_epoch,
                last_epoch: 0,
                checkpoints: vec![],
                savepoints: vec![],
                request_id: String::new(),
            },
            |current| current.head.clone(),
        );
        head.generation += 1;
        head.leader_epoch = leader_epoch;
        head.checkpoints.retain(|kept| from.is_none_or(|from| kept.epoch <= from.epoch));
        let current = self.replace(current.as_ref(), head).await?;
        Ok((HeldHead { anew: from.is_none(), ..current }, manifest))
    }

    /// Claims the job and makes its checkpoints garbage; does nothing where it has none.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn forget(&self, leader_epoch: u64) -> Result<()> {
        let Some(current) = self.head().await? else { return Ok(()) };
        if current.head.checkpoints.is_empty() {
            return Ok(());
        }
        let mut head = current.head.clone();
        head.generation += 1;
        head.leader_epoch = leader_epoch;
        head.checkpoints.clear();
        self.replace(Some(&current), head).await.map(drop)
    }

    /// Commits a checkpoint whose manifest is written: makes `head` name it, if `head` is still
    /// what `current` says. The oldest checkpoints over the number kept are dropped from it.
    ///
    /// # Errors
    /// `Storage`: `head` does not name the checkpoint and never will, unless the outcome is
    /// unknown after several attempts; then only the next claim settles it.
    pub async fn commit(&self, current: &HeldHead, checkpoint: CheckpointRef) -> Result<HeldHead> {
        let mut head = current.head.clone();
        head.last_epoch = head.last_epoch.max(checkpoint.epoch);
        if current.anew {
            head.checkpoints.retain(|kept| kept.generation == head.generation);
        }
        head.checkpoints.push(checkpoint);
        let surplus = head.checkpoints.len().saturating_sub(CHECKPOINTS_KEPT);
        head.checkpoints.drain(..surplus);
        let held = self.replace(Some(current), head).await?;
        Ok(HeldHead { anew: current.anew, ..held })
    }

    /// Writes a manifest. Writing the same one again does no harm.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn write_manifest(&self, manifest: &Manifest) -> Result<()> {
        let path = self.manifest_path(&manifest.checkpoint);
        let failed = |error| Error::storage(format!("write {path}"), error);
        let body = encode(manifest)?;
        // The name belongs to one generation, attempt and epoch, and so to one content: whatever
        // is there already is a write of ours whose answer was lost.
        self.store.put(&path, body).await.map_err(failed)?;
        Ok(())
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// `Restore` where it is missing or not one; `Storage`.
    pub async fn manifest(&self, checkpoint: &CheckpointRef) -> Result<Manifest> {
        let path = self.manifest_path(checkpoint);
        let (manifest, _) = self.read::<Manifest>(&path).await?.ok_or_else(|| Error::Restore {
            what: format!("checkpoint {}", checkpoint.epoch),
            reason: format!("{path} is missing"),
        })?;
        check_format(&path, manifest.format, FORMAT)?;
        Ok(manifest)
    }

    /// Deletes manifests and state files that `head` does not reach, and returns how many. Those
    /// of later epochs or generations are left alone: they may be on their way into a checkpoint.
    ///
    /// # Errors
    /// `Storage`; what was not deleted is tried again the next time.
    pub async fn collect_garbage(&self, head: &Head) -> Result<usize> {
        let mut reached = BTreeSet::new();
        for checkpoint in head.checkpoints.iter().chain(&head.savepoints) {
            reached.insert(self.manifest_path(checkpoint));
            let manifest = self.manifest(checkpoint).await?;
            reached.extend(manifest.files().map(Path::from));
        }
        let mut deleted = 0;
        for part in ["manifests", "state"] {
            let directory = self.directory.clone().join(part);
            let failed = |error| Error::storage(format!("collect garbage in {directory}"), error);
            let listed = self.store.list(Some(&directory));
            let files: Vec<_> = listed.try_collect().await.map_err(failed)?;
            for path in files.into_iter().map(|file| file.location) {
                if reached.contains(&path) || !is_settled(&path, head) {
                    continue;
                }
                match self.store.delete(&path).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => deleted += 1,
                    Err(error) => return Err(failed(error)),
                }
            }
        }
        Ok(deleted)
    }

    /// Writes `head` in place of `current`, and finds out what became of the write where the store
    /// does not say.
    async fn replace(&self, current: Option<&HeldHead>, mut head: Head) -> Result<HeldHead> {
        let path = self.head_path();
        let number = self.writer.requests.fetch_add(1, Ordering::Relaxed);
        head.request_id = format!("{}-{number}", self.writer.name);
        let body = encode(&head)?;
        let mut failure = None;
        for _ in 0..WRITE_ATTEMPTS_MAX {
            let mode =
                current.map_or(PutMode::Create, |current| PutMode::Update(current.version.clone()));
            let options = PutOptions::from(mode);
            match self.store.put_opts(&path, body.clone(), options).await {
                Ok(result) => return Ok(HeldHead { head, version: result.into(), anew: false }),
                Err(error) => failure = Some(error),
            }
            match self.head().await {
                Ok(Some(found)) if found.head.request_id == head.request_id => return Ok(found),
                Ok(found) if !same(found.as_ref(), current) => {
                    return Err(superseded(found.as_ref()));
                }
                // Nothing has been written yet, or nothing is known: since the condition still
                // holds back every write but the first, trying again is safe.
                Ok(_) | Err(_) => {}
            }
        }
        let error = failure.unwrap_or(object_store::Error::NotImplemented {
            operation: "put".to_owned(),
            implementer: self.store.to_string(),
        });
        Err(Error::storage(format!("write {path}"), error))
    }

    async fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<(T, UpdateVersion)>> {
        let failed = |error| Error::storage(format!("read {path}"), error);
        let result = match self.store.get(path).await {
            Ok(result) => result,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let version = UpdateVersion {
            e_tag: result.meta.e_tag.clone(),
            version: result.meta.version.clone(),
        };
        let bytes = result.bytes().await.map_err(failed)?;
        let value = serde_json::from_slice(&bytes).map_err(|error| Error::Restore {
            what: path.to_string(),
            reason: format!("it is not what was written there: {error}"),
        })?;
        Ok(Some((value, version)))
    }

    fn head_path(&self) -> Path {
        self.directory.clone().join("head")
    }

    fn manifest_path(&self, checkpoint: &CheckpointRef) -> Path {
        self.directory.clone().join("manifests").join(checkpoint.file_name())
    }
}

fn encode(value: &impl Serialize) -> Result<PutPayload> {
    serde_json::to_vec_pretty(value)
        .map(PutPayload::from)
        .map_err(|error| Error::Internal(format!("encode an object of a job: {error}")))
}

fn check_format(path: &Path, format: u16, known: u16) -> Result<()> {
    if format == known {
        return Ok(());
    }
    Err(Error::Restore {
        what: path.to_string(),
        reason: format!("it has format {format}, this build reads {known}"),
    })
}

fn find(epoch: u64, head: Option<&Head>) -> Result<CheckpointRef> {
    let kept = || head.into_iter().flat_map(|head| head.checkpoints.iter().chain(&head.savepoints));
    kept().find(|checkpoint| checkpoint.epoch == epoch).copied().ok_or_else(|| {
        let epochs: Vec<_> = kept().map(|checkpoint| checkpoint.epoch.to_string()).collect();
        let reason = if epochs.is_empty() {
            "the job has no checkpoints".to_owned()
        } else {
            format!("it is not kept; there are {}", epochs.join(", "))
        };
        Error::Restore { what: format!("checkpoint {epoch}"), reason }
    })
}

fn same(found: Option<&HeldHead>, current: Option<&HeldHead>) -> bool {
    found.map(|found| &found.version) == current.map(|current| &current.version)
}

fn superseded(found: Option<&HeldHead>) -> Error {
    Error::Invalid(match found {
        Some(found) => {
            format!("the job was taken over: its generation is now {}", found.head.generation)
        }
        None => "the job's head was deleted while it ran".to_owned(),
    })
}

/// Tells whether a file belongs to a checkpoint that was decided about: its name begins with
/// generation, attempt and epoch. Names that do not are never touched.
fn is_settled(path: &Path, head: &Head) -> bool {
    let mut numbers = path.filename().unwrap_or("").split(['-', '.']).map(str::parse::<u64>);
    let (Some(Ok(generation)), Some(Ok(_)), Some(Ok(epoch))) =
        (numbers.next(), numbers.next(), numbers.next())
    else {
        return false;
    };
    generation < head.generation || (generation == head.generation && epoch <= head.last_epoch)
}

#[cfg(test)]
mod tests;
