//! How the log and snapshots are written: a file header, then frames.
//!
//! ```text
//! header  magic 8 | version 2 | features 2 | zero 4 | salt 8 | sequence 8 | crc32c 4    36 bytes
//! frame   marker 4 | length 4 | sequence 8 | crc32c 4 | payload                  20 bytes + length
//! ```
//!
//! Integers are little-endian. A frame's checksum covers the file's salt, length, sequence and
//! payload. A frame is written only after the one before it was synced, so a crash leaves at most
//! one frame in pieces, and it is the last: whatever else is broken was damaged later.

use std::ops::Range;

use super::error::{FsError, Result};

/// The bytes of a file's header.
pub(crate) const HEADER_BYTES: usize = 36;
const FRAME_BYTES: usize = 20;
const MARKER: [u8; 4] = *b"RSfr";
const VERSION: u16 = 1;

/// What kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    Log,
    Snapshot,
}

impl FileKind {
    fn magic(self) -> [u8; 8] {
        match self {
            Self::Log => *b"RSTMLOG\0",
            Self::Snapshot => *b"RSTMSNP\0",
        }
    }
}

/// The header of a log or snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: FileKind,
    /// Random per file: a frame copied from elsewhere is none.
    pub(crate) salt: u64,
    /// The log's first frame; the last frame that a snapshot contains.
    pub(crate) sequence: u64,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&self.kind.magic());
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.salt.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..32]);
        bytes[32..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// `Corrupt`, or `Version` where a newer program wrote it.
    pub(crate) fn decode(kind: FileKind, bytes: &[u8], file: &str) -> Result<Self> {
        let damaged = |reason| FsError::corrupt(file, reason);
        let bytes = bytes.get(..HEADER_BYTES).ok_or_else(|| damaged("it has no header"))?;
        if bytes[..8] != kind.magic() {
            return Err(damaged("its magic is wrong"));
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if read_u32(bytes, 32) != crc32c::crc32c(&bytes[..32]) {
            return Err(damaged("its header's checksum is wrong"));
        }
        if version > VERSION || bytes[10..12] != [0, 0] {
            return Err(FsError::Version { what: file.to_owned(), found: version });
        }
        Ok(Self { kind, salt: read_u64(bytes, 16), sequence: read_u64(bytes, 24) })
    }
}

/// Appends a frame to `out`.
pub(crate) fn encode_frame(salt: u64, sequence: u64, payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).expect("a frame is far smaller than 4 GiB");
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&checksum(salt, length, sequence, payload).to_le_bytes());
    out.extend_from_slice(payload);
}

/// Frames found in a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frames {
    /// Where the payloads are, in order.
    pub(crate) payloads: Vec<Range<usize>>,
    /// Where the last whole frame ends; what follows is a torn write.
    pub(crate) end: usize,
}

/// Finds the frames behind the header, the first of which has number `sequence`.
///
/// # Errors
/// `Corrupt` where a bad frame is followed by a good one.
pub(crate) fn scan(bytes: &[u8], salt: u64, sequence: u64, file: &str) -> Result<Frames> {
    let mut frames = Frames { payloads: Vec::new(), end: HEADER_BYTES };
    let mut expected = sequence;
    while let Some((found, payload)) = decode_frame(bytes, frames.end, salt) {
        if found != expected {
            break;
        }
        frames.end = payload.end;
        frames.payloads.push(payload);
        expected += 1;
    }
    let later =
        |at: &usize| decode_frame(bytes, *at, salt).is_some_and(|(found, _)| found >= expected);
    if let Some(good) = (frames.end..bytes.len()).find(later) {
        let reason =
            format!("the frame at byte {} is bad but a later one, at {good}, is good", frames.end);
        return Err(FsError::corrupt(file, reason));
    }
    Ok(frames)
}

fn decode_frame(bytes: &[u8], at: usize, salt: u64) -> Option<(u64, Range<usize>)> {
    let header = bytes.get(at..)?.get(..FRAME_BYTES)?;
    if header[..4] != MARKER {
        return None;
    }
    let length = read_u32(header, 4);
    let sequence = read_u64(header, 8);
    let start = at + FRAME_BYTES;
    let end = start.checked_add(length as usize)?;
    let payload = bytes.get(start..end)?;
    let good = checksum(salt, length, sequence, payload) == read_u32(header, 16);
    good.then_some((sequence, start..end))
}

fn checksum(salt: u64, length: u32, sequence: u64, payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&salt.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &length.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &sequence.to_le_bytes());
    crc32c::crc32c_append(crc, payload)
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 42;

    fn file(payloads: &[&[u8]]) -> Vec<u8> {
        let header = Header { kind: FileKind::Log, salt: SALT, sequence: 5 };
        let mut bytes = header.encode().to_vec();
        for (sequence, payload) in (5..).zip(payloads) {
            encode_frame(SALT, sequence, payload, &mut bytes);
        }
        bytes
    }

    fn payloads(bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let header = Header::decode(FileKind::Log, bytes, "log")?;
        let frames = scan(bytes, header.salt, header.sequence, "log")?;
        Ok(frames.payloads.into_iter().map(|range| bytes[range].to_vec()).collect())
    }

    #[test]
    fn a_torn_tail_is_cut_at_every_byte() {
        let whole = file(&[b"one", b"", b"three"]);
        let ends = [HEADER_BYTES, HEADER_BYTES + 23, HEADER_BYTES + 43, HEADER_BYTES + 68];
        assert_eq!(whole.len(), ends[3]);
        for length in HEADER_BYTES..=whole.len() {
            let expected = ends.iter().filter(|end| **end <= length).count() - 1;
            assert_eq!(payloads(&whole[..length]).unwrap().len(), expected, "at byte {length}");
        }
    }

    #[test]
    fn a_bad_frame_before_a_good_one_is_corruption_and_at_the_end_it_is_torn() {
        let whole = file(&[b"one", b"two", b"three"]);
        let last = whole.len() - 25;
        for at in HEADER_BYTES..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            let found = payloads(&damaged);
            if at < last {
                assert!(matches!(found, Err(FsError::Corrupt { .. })), "byte {at}: {found:?}");
            } else {
                assert_eq!(found.unwrap().len(), 2, "byte {at}");
            }
        }
    }

    #[test]
    fn frames_of_another_file_inside_a_payload_are_not_taken_for_frames() {
        let inner = file(&[b"one", b"two"]);
        let mut outer = file(&[&inner]);
        let header = Header { kind: FileKind::Log, salt: SALT + 1, sequence: 5 };
        outer[..HEADER_BYTES].copy_from_slice(&header.encode());
        assert_eq!(payloads(&outer).unwrap(), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_newer_version_is_refused_by_name() {
        let mut bytes = file(&[]);
        bytes[8] = 9;
        let crc = crc32c::crc32c(&bytes[..32]);
        bytes[32..36].copy_from_slice(&crc.to_le_bytes());
        assert!(matches!(payloads(&bytes), Err(FsError::Version { found: 9, .. })));
    }
}
