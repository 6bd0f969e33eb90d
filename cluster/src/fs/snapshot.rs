//! Snapshots of all records, which let older logs be removed.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use rainstorm_proto::files as proto;

use super::disk::sync_directory;
use super::error::{FsError, Result};
use super::frame::{FileKind, Header, encode_frame, scan};
use super::record::Record;

/// Records per frame.
const FRAME_RECORDS: usize = 256;

/// Writes all records as of frame `sequence`, durably.
pub(crate) fn write<'a>(
    directory: &Path,
    sequence: u64,
    records: impl Iterator<Item = (&'a str, &'a Arc<Record>)>,
) -> Result<()> {
    let path = directory.join(format!("snapshot-{sequence:016x}"));
    let new = path.with_extension("new");
    let write = || {
        let salt = crate::identity::unique_id().as_u64_pair().0;
        let mut file = BufWriter::new(File::create(&new)?);
        file.write_all(&Header { kind: FileKind::Snapshot, salt, sequence }.encode())?;
        let mut frames = FrameWriter { file: &mut file, salt, next: 0, buffer: Vec::new() };
        let mut frame = proto::Frame::default();
        let mut total = 0;
        for (path, record) in records {
            total += 1;
            frame.mutations.push(mutation(path, Some(record)));
            if frame.mutations.len() == FRAME_RECORDS {
                frames.write(&std::mem::take(&mut frame))?;
            }
        }
        frame.total = Some(total);
        frames.write(&frame)?;
        file.into_inner()?.sync_all()?;
        fs::rename(&new, &path)?;
        sync_directory(directory)
    };
    write().map_err(FsError::io(format!("write {}", path.display())))
}

/// Reads a snapshot: the last frame that it contains, and all records.
///
/// # Errors
/// `Corrupt` where any part is missing or damaged, `Version`, `Io`.
pub(crate) fn read(path: &Path) -> Result<(u64, Vec<proto::Mutation>)> {
    let name = path.display().to_string();
    let bytes = Bytes::from(fs::read(path).map_err(FsError::io(format!("read {name}")))?);
    let header = Header::decode(FileKind::Snapshot, &bytes, &name)?;
    let frames = scan(&bytes, header.salt, 0, &name)?;
    let mut mutations = Vec::new();
    let mut total = None;
    for range in frames.payloads {
        let frame = decode_frame(bytes.slice(range), &name)?;
        mutations.extend(frame.mutations);
        total = frame.total;
    }
    if total != Some(mutations.len() as u64) {
        return Err(FsError::corrupt(name, "it has no end"));
    }
    Ok((header.sequence, mutations))
}

/// Decodes a frame's payload.
pub(crate) fn decode_frame(payload: Bytes, file: &str) -> Result<proto::Frame> {
    proto::Frame::decode(payload).map_err(|error| FsError::corrupt(file, error.to_string()))
}

/// Makes the change of one path as it is written.
pub(crate) fn mutation(path: &str, record: Option<&Arc<Record>>) -> proto::Mutation {
    let record = record.map(|record| proto::Record::from(record.as_ref()));
    proto::Mutation { path: path.to_owned(), record }
}

/// Finds files such as `log-…`, sorted by the sequence in their names.
pub(crate) fn numbered(directory: &Path, prefix: &str) -> Result<Vec<(u64, PathBuf)>> {
    let find = || {
        let mut found = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(prefix));
            if let Some(number) = number.and_then(|text| u64::from_str_radix(text, 16).ok()) {
                found.push((number, entry.path()));
            }
        }
        found.sort();
        Ok(found)
    };
    find().map_err(FsError::io(format!("list {}", directory.display())))
}

struct FrameWriter<'a> {
    file: &'a mut BufWriter<File>,
    salt: u64,
    next: u64,
    buffer: Vec<u8>,
}

impl FrameWriter<'_> {
    fn write(&mut self, frame: &proto::Frame) -> std::io::Result<()> {
        self.buffer.clear();
        encode_frame(self.salt, self.next, &frame.encode_to_vec(), &mut self.buffer);
        self.next += 1;
        self.file.write_all(&self.buffer)
    }
}
