//! The write-ahead log of records.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::disk::{sync_directory, write_atomically};
use super::error::{FsError, Result};
use super::frame::{FileKind, HEADER_BYTES, Header, encode_frame, scan};

/// Frames are gathered to no more than this, so the log is rotated long before offsets overflow.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

/// A file beside the log that takes room on the disk, so that a full one can be freed: removing
/// files has to be logged as well.
const RESERVE_FILE: &str = "reserve";
const RESERVE_BYTES: usize = 64 << 10;

/// The log file that is written to.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    path: PathBuf,
    salt: u64,
    next_sequence: u64,
    length: u64,
    buffer: Vec<u8>,
    /// Makes every write fail that does not go into the reserve.
    #[cfg(test)]
    disk_is_full: bool,
}

/// Why an append failed, or beginning a log.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// Nothing was appended; the log is as before.
    Refused(FsError),
    /// What the log holds is unknown until it is read again.
    Unknown(FsError),
}

impl AppendError {
    /// Returns what went wrong.
    pub(crate) fn into_error(self) -> FsError {
        let (Self::Refused(error) | Self::Unknown(error)) = self;
        error
    }
}

impl Log {
    /// Makes an empty log whose first frame will have number `sequence`.
    ///
    /// # Errors
    /// `Refused` where there is no such log, and the one before may go on; `Unknown` where it may
    /// be there: what went into the one before would be taken for covered and removed.
    pub(crate) fn create(directory: &Path, sequence: u64) -> Result<Self, AppendError> {
        let name = format!("log-{sequence:016x}");
        let salt = crate::identity::unique_id().as_u64_pair().0;
        let header = Header { kind: FileKind::Log, salt, sequence };
        let path = directory.join(&name);
        let created = write_atomically(directory, &name, &header.encode())
            .and_then(|()| fail_at(directory, "open"))
            .and_then(|()| Self::at(path.clone(), salt, sequence, HEADER_BYTES as u64));
        created.map_err(|error| {
            let error = FsError::io(format!("create {}", path.display()))(error);
            match remove_durably(directory, &path) {
                Ok(()) => AppendError::Refused(error),
                Err(_) => AppendError::Unknown(error),
            }
        })
    }

    /// Opens a log, cuts a torn tail off, and returns the frames from `first_needed` on.
    ///
    /// # Errors
    /// `Corrupt`, `Version`, `Io`.
    pub(crate) fn open(path: &Path, first_needed: u64) -> Result<(Self, Vec<Bytes>)> {
        let name = path.display().to_string();
        let bytes = fs::read(path).map_err(FsError::io(format!("read {name}")))?;
        let header = Header::decode(FileKind::Log, &bytes, &name)?;
        let frames = scan(&bytes, header.salt, header.sequence, &name)?;
        let next = header.sequence + frames.payloads.len() as u64;
        let log = Self::at(path.to_owned(), header.salt, next, frames.end as u64)
            .and_then(|log| log.cut_tail(bytes.len()).map(|()| log))
            .map_err(FsError::io(format!("open {name}")))?;
        let bytes = Bytes::from(bytes);
        let skipped = first_needed.saturating_sub(header.sequence) as usize;
        let payloads =
            frames.payloads.into_iter().skip(skipped).map(|range| bytes.slice(range)).collect();
        Ok((log, payloads))
    }

    /// Appends a frame and syncs it.
    pub(crate) fn append(&mut self, payload: &[u8]) -> Result<(), AppendError> {
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT_BYTES);
        encode_frame(self.salt, self.next_sequence, payload, &mut self.buffer);
        self.write_buffer()?;
        self.file.sync_data().map_err(|error| {
            AppendError::Unknown(FsError::io(format!("sync {}", self.path.display()))(error))
        })?;
        self.length += self.buffer.len() as u64;
        self.next_sequence += 1;
        Ok(())
    }

    /// Writes the buffer whole, on a full disk into the room that is held in reserve for it.
    fn write_buffer(&mut self) -> Result<(), AppendError> {
        let mut written = self.write();
        if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull)
            && self.cut_tail(usize::MAX).is_ok()
            && fs::remove_file(self.reserve()).is_ok()
        {
            tracing::warn!(log = %self.path.display(), "disk is full: the log goes into its reserve");
            written = self.write();
        }
        written.map_err(|error| {
            let error = FsError::io(format!("append to {}", self.path.display()))(error);
            match self.cut_tail(usize::MAX) {
                Ok(()) => AppendError::Refused(error),
                Err(_) => AppendError::Unknown(error),
            }
        })
    }

    fn write(&mut self) -> io::Result<()> {
        #[cfg(test)]
        if self.disk_is_full && self.reserve().exists() {
            self.file.write_all(&self.buffer[..1])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_all(&self.buffer)
    }

    fn reserve(&self) -> PathBuf {
        self.path.with_file_name(RESERVE_FILE)
    }

    /// Takes the reserve's room. Where there is none it is tried again the next time.
    fn keep_reserve(&self) {
        let path = self.reserve();
        let kept = fs::metadata(&path).is_ok_and(|file| file.len() == RESERVE_BYTES as u64);
        if !kept && fs::write(&path, vec![0; RESERVE_BYTES]).is_err() {
            let _ = fs::remove_file(&path);
        }
    }

    /// Returns the number that the next frame will have.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Returns the log's size in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    fn at(path: PathBuf, salt: u64, next_sequence: u64, length: u64) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).open(&path)?;
        let log = Self {
            file,
            path,
            salt,
            next_sequence,
            length,
            buffer: Vec::new(),
            #[cfg(test)]
            disk_is_full: false,
        };
        log.keep_reserve();
        Ok(log)
    }

    fn cut_tail(&self, found_bytes: usize) -> io::Result<()> {
        if found_bytes as u64 == self.length {
            return Ok(());
        }
        self.file.set_len(self.length)?;
        self.file.sync_all()
    }
}

/// Removes a file, which may not be there, so that it stays away after a crash.
fn remove_durably(directory: &Path, path: &Path) -> io::Result<()> {
    fail_at(directory, "remove")?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    sync_directory(directory)
}

/// In tests, a disk that fails at a step: where a file of the step's name lies in the directory.
#[cfg(test)]
fn fail_at(directory: &Path, step: &str) -> io::Result<()> {
    let fails = directory.join(format!("fail-{step}")).exists();
    if fails { Err(io::Error::other("the disk fails")) } else { Ok(()) }
}

#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "fails in tests")]
fn fail_at(_directory: &Path, _step: &str) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_leaves_room_for_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::create(directory.path(), 1).unwrap();
        log.append(b"before").unwrap();
        log.disk_is_full = true;
        log.append(b"remove").unwrap();
        assert!(!directory.path().join(RESERVE_FILE).exists());
        let (log, payloads) = Log::open(&log.path, 1).unwrap();
        assert_eq!(payloads, [&b"before"[..], b"remove"]);
        // There is room again.
        assert!(log.reserve().exists());
    }
}
