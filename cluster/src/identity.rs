//! Who a node is: its data directory, the ids kept there, and the lock on it.
//!
//! A data directory belongs to one process at a time. It holds the cluster's id, the node's id
//! and a boot counter that grows with every start, all synced before they are used. The lock file
//! tells others who holds the directory, so that `rainstorm fs` and `rainstorm jobs` find the
//! process that does.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

const IDENTITY_FILE: &str = "identity";
const LOCK_FILE: &str = "lock";
const MAGIC: &str = "rainstorm data directory";
const VERSION: u32 = 1;

/// Makes an id that no other call returns, on any machine.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one home of unique ids")]
pub fn unique_id() -> Uuid {
    Uuid::new_v4()
}

/// What can be wrong with a data directory. Nothing was started and nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Another process holds the directory. The caller reaches it at its address or gives up.
    #[error("data directory {} is in use by {owner}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process that holds it.
        owner: Owner,
    },
    /// The identity file is not one, or of a newer version. The caller needs another directory or
    /// a newer program.
    #[error("read identity of data directory {}: {reason}", path.display())]
    Damaged {
        /// The identity file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The directory cannot be read or written.
    #[error("{context}")]
    Io {
        /// What was being done, as a verb phrase with the path.
        context: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// The process that holds a data directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owner {
    /// Its process id, once it has written it.
    pub pid: Option<u32>,
    /// `HOST:PORT` where its master listens, once it does.
    pub address: Option<String>,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.pid, &self.address) {
            (Some(pid), Some(address)) => write!(f, "process {pid}, which listens on {address}"),
            (Some(pid), None) => write!(f, "process {pid}"),
            (None, _) => write!(f, "a process that is starting"),
        }
    }
}

/// The ids of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The cluster that the directory belongs to.
    pub cluster_id: Uuid,
    /// The node; a wiped directory is a new node.
    pub node_id: Uuid,
    /// How often the directory has been opened, from 1: the base of the incarnation.
    pub boot: u64,
}

/// The identity file's content.
#[derive(Serialize, Deserialize)]
struct IdentityFile {
    magic: String,
    version: u32,
    features: Vec<String>,
    cluster_id: UuidText,
    node_id: UuidText,
    boot: u64,
}

/// A UUID as text, for uuid is built without serde.
#[derive(Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[derive(Clone)]
struct UuidText(Uuid);

impl TryFrom<String> for UuidText {
    type Error = uuid::Error;

    fn try_from(text: String) -> Result<Self, uuid::Error> {
        Uuid::try_parse(&text).map(Self)
    }
}

impl From<UuidText> for String {
    fn from(id: UuidText) -> Self {
        id.0.to_string()
    }
}

/// An open data directory. Others are kept out until it is dropped or its process ends.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    identity: Identity,
    lock: File,
}

impl DataDirectory {
    /// Opens a directory, making it and a cluster of its own where there is none, and counts the
    /// boot.
    ///
    /// # Errors
    /// `InUse` where another process holds it, `Damaged`, `Io`.
    pub fn open(path: &Path) -> Result<Self, IdentityError> {
        fs::create_dir_all(path).map_err(failed("create data directory", path))?;
        let mut lock = Self::lock(path)?;
        write_owner(&mut lock, None).map_err(failed("write lock file in", path))?;
        let mut identity = match read_identity(&path.join(IDENTITY_FILE))? {
            Some(identity) => identity,
            None => Identity { cluster_id: unique_id(), node_id: unique_id(), boot: 0 },
        };
        identity.boot += 1;
        write_identity(path, &identity).map_err(failed("write identity in", path))?;
        Ok(Self { path: path.to_owned(), identity, lock })
    }

    /// Opens a directory for its files alone, which is no boot of the node and, where there is one
    /// already, writes nothing that a full disk could refuse.
    ///
    /// # Errors
    /// `InUse` where another process holds it, `Damaged`, `Io`.
    pub fn open_files(path: &Path) -> Result<Self, IdentityError> {
        if !path.join(IDENTITY_FILE).exists() {
            return Self::open(path);
        }
        let mut lock = Self::lock(path)?;
        // Only for the message of those that are kept out.
        let _ = write_owner(&mut lock, None);
        let identity = read_identity(&path.join(IDENTITY_FILE))?;
        let missing = || failed("read identity in", path)(io::ErrorKind::NotFound.into());
        Ok(Self { path: path.to_owned(), identity: identity.ok_or_else(missing)?, lock })
    }

    /// Tells who holds a directory; `None` where nobody does.
    ///
    /// # Errors
    /// `Io` where its lock file cannot be read.
    pub fn owner(path: &Path) -> Result<Option<Owner>, IdentityError> {
        if !path.join(LOCK_FILE).exists() {
            return Ok(None);
        }
        match Self::lock(path) {
            Ok(_) => Ok(None),
            Err(IdentityError::InUse { owner, .. }) => Ok(Some(owner)),
            Err(error) => Err(error),
        }
    }

    /// Tells others where this process can be reached.
    ///
    /// # Errors
    /// `Io` where the lock file cannot be written.
    pub fn publish_address(&mut self, address: &str) -> Result<(), IdentityError> {
        write_owner(&mut self.lock, Some(address)).map_err(failed("write lock file in", &self.path))
    }

    /// Returns the directory's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where the node's files are, for [`crate::fs::Config`].
    #[must_use]
    pub fn files_path(&self) -> PathBuf {
        self.path.join("sdfs")
    }

    /// Returns the ids kept in the directory.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    fn lock(path: &Path) -> Result<File, IdentityError> {
        let file = path.join(LOCK_FILE);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file)
            .map_err(failed("open", &file))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => {
                let owner = read_owner(&mut lock).map_err(failed("read", &file))?;
                Err(IdentityError::InUse { path: path.to_owned(), owner })
            }
            Err(TryLockError::Error(error)) => Err(failed("lock", &file)(error)),
        }
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        // Only tidiness: what counts is the lock, which goes with the file handle.
        let _ = self.lock.set_len(0);
    }
}

fn failed(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    let context = format!("{verb} {}", path.display());
    move |source| IdentityError::Io { context, source }
}

/// The lock file has two lines, pid and address. One write puts both, so that a reader sees all
/// of it or nothing.
fn write_owner(lock: &mut File, address: Option<&str>) -> io::Result<()> {
    let text = format!("{}\n{}\n", std::process::id(), address.unwrap_or_default());
    lock.seek(SeekFrom::Start(0))?;
    lock.write_all(text.as_bytes())?;
    lock.set_len(text.len() as u64)?;
    lock.sync_all()
}

fn read_owner(lock: &mut File) -> io::Result<Owner> {
    let mut text = String::new();
    lock.read_to_string(&mut text)?;
    let mut lines = text.lines();
    let pid = lines.next().and_then(|line| line.parse().ok());
    let address = lines.next().filter(|line| !line.is_empty()).map(str::to_owned);
    Ok(Owner { pid, address })
}

fn read_identity(path: &Path) -> Result<Option<Identity>, IdentityError> {
    let damaged = |reason: String| IdentityError::Damaged { path: path.to_owned(), reason };
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    let file: IdentityFile =
        serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if file.magic != MAGIC {
        return Err(damaged(format!("magic is '{}'", file.magic)));
    }
    if file.version > VERSION || !file.features.is_empty() {
        return Err(damaged(format!("version {} is newer than this program", file.version)));
    }
    let UuidText(cluster_id) = file.cluster_id;
    let UuidText(node_id) = file.node_id;
    Ok(Some(Identity { cluster_id, node_id, boot: file.boot }))
}

fn write_identity(directory: &Path, identity: &Identity) -> io::Result<()> {
    let file = IdentityFile {
        magic: MAGIC.to_owned(),
        version: VERSION,
        features: Vec::new(),
        cluster_id: UuidText(identity.cluster_id),
        node_id: UuidText(identity.node_id),
        boot: identity.boot,
    };
    let text = serde_json::to_vec_pretty(&file)?;
    crate::fs::write_atomically(directory, IDENTITY_FILE, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_and_the_boot_counter_grows() {
        let directory = tempfile::tempdir().unwrap();
        let first = DataDirectory::open(directory.path()).unwrap().identity();
        let second = DataDirectory::open(directory.path()).unwrap().identity();
        assert_eq!((first.boot, second.boot), (1, 2));
        assert_eq!(second, Identity { boot: 2, ..first });
    }

    #[test]
    fn looking_into_the_files_is_no_boot() {
        let directory = tempfile::tempdir().unwrap();
        let first = DataDirectory::open_files(directory.path()).unwrap().identity();
        let held = DataDirectory::open_files(directory.path()).unwrap();
        assert_eq!((held.identity(), first.boot), (first, 1));
        assert!(matches!(DataDirectory::open(directory.path()), Err(IdentityError::InUse { .. })));
        drop(held);
        // A disk on which the boot cannot be counted.
        fs::create_dir(directory.path().join(format!("{IDENTITY_FILE}.new"))).unwrap();
        assert!(DataDirectory::open(directory.path()).is_err());
        DataDirectory::open_files(directory.path()).unwrap();
    }

    #[test]
    fn a_second_engine_is_refused_and_told_who_holds_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let mut held = DataDirectory::open(directory.path()).unwrap();
        held.publish_address("127.0.0.1:4711").unwrap();
        let refused = DataDirectory::open(directory.path()).unwrap_err().to_string();
        let pid = std::process::id();
        assert!(refused.contains(&format!("in use by process {pid}, which listens")), "{refused}");
        assert!(refused.contains("127.0.0.1:4711"), "{refused}");
        let owner = DataDirectory::owner(directory.path()).unwrap().unwrap();
        assert_eq!(owner.address.as_deref(), Some("127.0.0.1:4711"));
        drop(held);
        assert_eq!(DataDirectory::owner(directory.path()).unwrap(), None);
        DataDirectory::open(directory.path()).unwrap();
    }

    #[test]
    fn a_damaged_identity_is_named_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(IDENTITY_FILE), "{").unwrap();
        let error = DataDirectory::open(directory.path()).unwrap_err();
        assert!(matches!(error, IdentityError::Damaged { .. }), "{error}");
        assert_eq!(fs::read(directory.path().join(IDENTITY_FILE)).unwrap(), b"{");
    }
}
