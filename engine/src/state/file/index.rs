//! Header and index of a state file.

use super::{FORMAT_VERSION, HEADER_BYTES, MAGIC};
use crate::hash::HASH_VERSION;
use crate::state::StateKind;
use crate::{OperatorId, Result};

/// One block and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) operator: OperatorId,
    pub(super) table: String,
    pub(super) version: u16,
    pub(super) kind: StateKind,
    /// The key groups in the order of the rows, with their numbers of rows; `None` for a list.
    pub(super) groups: Option<Vec<(u16, u32)>>,
    /// From the end of the index.
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) checksum: u32,
}

const KIND_FULL: u8 = 0;
const KIND_DELTA: u8 = 1;

/// Writes header and index.
pub(super) fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut index = Vec::new();
    for entry in entries {
        entry.encode(&mut index);
    }
    let mut file = Vec::with_capacity(HEADER_BYTES + index.len());
    file.extend(MAGIC);
    file.extend(FORMAT_VERSION.to_le_bytes());
    file.extend(HASH_VERSION.to_le_bytes());
    file.extend(0_u32.to_le_bytes());
    file.extend((index.len() as u32).to_le_bytes());
    file.extend(crc32c::crc32c(&index).to_le_bytes());
    file.extend(crc32c::crc32c(&file).to_le_bytes());
    file.extend(index);
    file
}

/// What the header says of the index.
pub(super) struct Header {
    pub(super) index_bytes: usize,
    checksum: u32,
}

/// Reads the header.
pub(super) fn decode_header(bytes: &[u8]) -> Result<Header, String> {
    let header = bytes.get(..HEADER_BYTES).ok_or("it is shorter than a header")?;
    let mut fields = Fields(header);
    if fields.array::<8>()? != MAGIC {
        return Err("it is no state file".into());
    }
    let (version, hash, features) = (fields.u16()?, fields.u16()?, fields.u32()?);
    let (index_bytes, checksum) = (fields.u32()? as usize, fields.u32()?);
    if fields.u32()? != crc32c::crc32c(&header[..HEADER_BYTES - 4]) {
        return Err("its header is damaged".into());
    }
    if version != FORMAT_VERSION || features != 0 {
        return Err(format!(
            "it has format version {version} and features {features:#x}, this build reads version {FORMAT_VERSION}"
        ));
    }
    if hash != HASH_VERSION {
        return Err(format!("its keys have hash version {hash}, this build has {HASH_VERSION}"));
    }
    Ok(Header { index_bytes, checksum })
}

/// Reads the index; `bytes` begin right after the header.
pub(super) fn decode(header: &Header, bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let index = bytes.get(..header.index_bytes).ok_or("it ends within its index")?;
    if crc32c::crc32c(index) != header.checksum {
        return Err("its index is damaged".into());
    }
    let mut fields = Fields(index);
    let mut entries = Vec::new();
    while !fields.0.is_empty() {
        entries.push(Entry::decode(&mut fields)?);
    }
    Ok(entries)
}

impl Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.operator.0.to_le_bytes());
        out.extend((self.table.len() as u16).to_le_bytes());
        out.extend(self.table.as_bytes());
        out.extend(self.version.to_le_bytes());
        out.push(match self.kind {
            StateKind::Full => KIND_FULL,
            StateKind::Delta => KIND_DELTA,
        });
        out.push(self.groups.is_some().into());
        let groups = self.groups.as_deref().unwrap_or_default();
        out.extend((groups.len() as u32).to_le_bytes());
        for (group, rows) in groups {
            out.extend(group.to_le_bytes());
            out.extend(rows.to_le_bytes());
        }
        out.extend(self.offset.to_le_bytes());
        out.extend(self.length.to_le_bytes());
        out.extend(self.checksum.to_le_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, String> {
        let operator = OperatorId(fields.u64()?);
        let name_bytes = usize::from(fields.u16()?);
        let table = String::from_utf8(fields.take(name_bytes)?.to_vec())
            .map_err(|_| "a table's name is no text")?;
        let version = fields.u16()?;
        let kind = match fields.u8()? {
            KIND_FULL => StateKind::Full,
            KIND_DELTA => StateKind::Delta,
            other => return Err(format!("a table is neither full nor a delta but {other}")),
        };
        let keyed = fields.u8()? != 0;
        let mut groups = Vec::new();
        for _ in 0..fields.u32()? {
            groups.push((fields.u16()?, fields.u32()?));
        }
        let groups = keyed.then_some(groups);
        let (offset, length, checksum) = (fields.u64()?, fields.u64()?, fields.u32()?);
        Ok(Self { operator, table, version, kind, groups, offset, length, checksum })
    }
}

/// Reads numbers off the front of bytes.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("its index is cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.0.split_first_chunk().ok_or("its index is cut off")?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, String> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, String> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }
}
