//! State files: what the tasks of one worker keep at one checkpoint.
//!
//! ```text
//! header   magic "RNSTATE1", format version u16, hash version u16, feature bits u32,
//!          length of the index u32, CRC32C of the index u32, CRC32C of the header so far u32
//! index    one entry per block: operator, table, version, full or delta, its key groups with
//!          their numbers of rows, offset, length, CRC32C
//! blocks   an Arrow IPC stream (LZ4) of one batch each, rows ordered by key group
//! ```
//!
//! All numbers are little-endian. Blocks are cut so that a subtask that owns few key groups reads
//! few of them. Nothing is decoded before its checksum has been compared.

mod index;
mod read;
mod write;

pub use read::{Selection, decode, read};
pub use write::encode;

const MAGIC: [u8; 8] = *b"RNSTATE1";
const FORMAT_VERSION: u16 = 1;
const HEADER_BYTES: usize = 28;

#[cfg(test)]
mod tests;
