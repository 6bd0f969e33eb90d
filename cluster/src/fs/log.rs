//! The write-ahead log of records.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::disk::write_atomically;
use super::error::{FsError, Result};
use super::frame::{FileKind, HEADER_BYTES, Header, encode_frame, scan};

/// Frames are gathered to no more than this, so the log is rotated long before offsets overflow.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

/// The log file that is written to.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    path: PathBuf,
    salt: u64,
    next_sequence: u64,
    length: u64,
    buffer: Vec<u8>,
}

/// Why an append failed.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// Nothing was appended; the log is as before.
    Refused(FsError),
    /// What the log holds is unknown until it is read again.
    Unknown(FsError),
}

impl Log {
    /// Makes an empty log whose first frame will have number `sequence`.
    pub(crate) fn create(directory: &Path, sequence: u64) -> Result<Self> {
        let name = format!("log-{sequence:016x}");
        let salt = crate::identity::unique_id().as_u64_pair().0;
        let header = Header { kind: FileKind::Log, salt, sequence };
        let path = directory.join(&name);
        write_atomically(directory, &name, &header.encode())
            .and_then(|()| Self::at(path.clone(), salt, sequence, HEADER_BYTES as u64))
            .map_err(FsError::io(format!("create {}", path.display())))
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
        if let Err(error) = self.file.write_all(&self.buffer) {
            let error = FsError::io(format!("append to {}", self.path.display()))(error);
            return Err(match self.cut_tail(usize::MAX) {
                Ok(()) => AppendError::Refused(error),
                Err(_) => AppendError::Unknown(error),
            });
        }
        self.file.sync_data().map_err(|error| {
            AppendError::Unknown(FsError::io(format!("sync {}", self.path.display()))(error))
        })?;
        self.length += self.buffer.len() as u64;
        self.next_sequence += 1;
        Ok(())
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
        Ok(Self { file, path, salt, next_sequence, length, buffer: Vec::new() })
    }

    fn cut_tail(&self, found_bytes: usize) -> io::Result<()> {
        if found_bytes as u64 == self.length {
            return Ok(());
        }
        self.file.set_len(self.length)?;
        self.file.sync_all()
    }
}
