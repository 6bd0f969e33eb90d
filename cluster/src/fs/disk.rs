//! The disk below the store: durable writes, and how much of it is left.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::error::{FsError, Result};

/// The share of a disk that is held back: one part in this many.
const RESERVE_DIVISOR: u64 = 20;

/// How much room a disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that can still be written.
    pub available_bytes: u64,
    /// Bytes of the whole disk.
    pub total_bytes: u64,
}

/// Tells how full a disk is. A parameter, so that tests can fill it.
pub trait DiskSpace: Debug + Send + Sync {
    /// Returns the room on the disk that holds `path`.
    ///
    /// # Errors
    /// Where the operating system does not say.
    fn space(&self, path: &Path) -> io::Result<Space>;
}

/// Asks the operating system.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealDiskSpace;

impl DiskSpace for RealDiskSpace {
    fn space(&self, path: &Path) -> io::Result<Space> {
        let stats = fs4::statvfs(path)?;
        Ok(Space { available_bytes: stats.available_space(), total_bytes: stats.total_space() })
    }
}

/// Refuses a write that would eat into what is held back.
///
/// # Errors
/// `Full`, `Io`.
pub(crate) fn check_space(disk: &dyn DiskSpace, path: &Path, needed_bytes: u64) -> Result<()> {
    let context = || format!("ask for the free space of {}", path.display());
    let space = disk.space(path).map_err(FsError::io(context()))?;
    let reserved_bytes = space.total_bytes / RESERVE_DIVISOR;
    if space.available_bytes < needed_bytes.saturating_add(reserved_bytes) {
        let available_bytes = space.available_bytes;
        return Err(FsError::Full { needed_bytes, available_bytes, reserved_bytes });
    }
    Ok(())
}

/// Makes what a directory lists durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Creates a directory durably; one that exists is fine.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    path.parent().map_or(Ok(()), sync_directory)
}

/// Replaces a file so that after a crash there is the old one or the new one, whole.
pub(crate) fn write_atomically(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = directory.join(format!("{name}.new"));
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, directory.join(name))?;
    sync_directory(directory)
}
