//! Compressed files, as streams of blocks.

use std::io::{ErrorKind, Write};

use zstd::stream::raw::Operation;

use crate::{Error, Result};

/// How a file is compressed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952, `.gz`; a file may have several members.
    Gzip,
    /// RFC 8878, `.zst`; a file may have several frames.
    Zstd,
}

impl Compression {
    /// Returns what a file's extension says.
    #[must_use]
    pub fn of_file_name(name: &str) -> Self {
        match name.rsplit_once('.').map(|(_, extension)| extension) {
            Some("gz" | "gzip") => Self::Gzip,
            Some("zst" | "zstd") => Self::Zstd,
            _ => Self::None,
        }
    }

    /// Returns what is appended to a file's name.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }
}

/// Turns the blocks of a compressed file into those of its content.
pub(crate) enum Decompressor {
    None,
    Gzip(Box<flate2::write::MultiGzDecoder<Vec<u8>>>),
    Zstd(ZstdDecompressor),
}

impl Decompressor {
    /// Makes one for the beginning of a file.
    pub(crate) fn new(compression: Compression) -> Result<Self> {
        Ok(match compression {
            Compression::None => Self::None,
            Compression::Gzip => {
                Self::Gzip(Box::new(flate2::write::MultiGzDecoder::new(Vec::new())))
            }
            Compression::Zstd => Self::Zstd(ZstdDecompressor::new().map_err(failed)?),
        })
    }

    /// Returns the content of the next block of the file; the file's content may come later.
    pub(crate) fn push(&mut self, block: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(block.to_vec()),
            Self::Gzip(decoder) => {
                decoder.write_all(block)?;
                decoder.flush()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Self::Zstd(decoder) => decoder.push(block),
        }
    }

    /// Returns what remains once the file has ended, and complains where it ended too early.
    pub(crate) fn finish(&mut self) -> std::io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Gzip(decoder) => {
                decoder.try_finish().map_err(|_| {
                    let reason = "this is no gzip file, or its end is missing";
                    std::io::Error::new(ErrorKind::UnexpectedEof, reason)
                })?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Self::Zstd(decoder) if decoder.within_frame => {
                Err(std::io::Error::new(ErrorKind::UnexpectedEof, "the zstd frame is incomplete"))
            }
            Self::Zstd(_) => Ok(Vec::new()),
        }
    }
}

/// Decodes Zstandard frames and knows whether the last one is complete, which zstd's own writer
/// does not tell.
pub(crate) struct ZstdDecompressor {
    decoder: zstd::stream::raw::Decoder<'static>,
    space: Vec<u8>,
    within_frame: bool,
}

impl ZstdDecompressor {
    fn new() -> std::io::Result<Self> {
        let decoder = zstd::stream::raw::Decoder::new()?;
        Ok(Self { decoder, space: vec![0; 128 << 10], within_frame: false })
    }

    fn push(&mut self, mut block: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut content = Vec::new();
        loop {
            let status = self.decoder.run_on_buffers(block, &mut self.space)?;
            block = &block[status.bytes_read..];
            content.extend_from_slice(&self.space[..status.bytes_written]);
            if status.bytes_read > 0 || status.bytes_written > 0 {
                self.within_frame = status.remaining > 0;
            }
            // A full output may mean that more is waiting inside.
            if block.is_empty() && status.bytes_written < self.space.len() {
                return Ok(content);
            }
            if status.remaining == 0 {
                self.decoder.reinit()?;
            }
        }
    }
}

/// Compresses the content of a file that is being written.
pub(crate) enum Compressor {
    None(Vec<u8>),
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Compressor {
    /// Makes one for the beginning of a file.
    pub(crate) fn new(compression: Compression) -> Result<Self> {
        Ok(match compression {
            Compression::None => Self::None(Vec::new()),
            Compression::Gzip => Self::Gzip(flate2::write::GzEncoder::new(
                Vec::new(),
                flate2::Compression::default(),
            )),
            Compression::Zstd => Self::Zstd(
                zstd::stream::write::Encoder::new(Vec::new(), zstd::DEFAULT_COMPRESSION_LEVEL)
                    .map_err(failed)?,
            ),
        })
    }

    /// Adds content.
    pub(crate) fn push(&mut self, content: &[u8]) -> Result<()> {
        match self {
            Self::None(bytes) => bytes.write_all(content),
            Self::Gzip(encoder) => encoder.write_all(content),
            Self::Zstd(encoder) => encoder.write_all(content),
        }
        .map_err(failed)
    }

    /// Takes the bytes of the file that are ready.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::None(bytes) => bytes,
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        })
    }

    /// Ends the file and returns its last bytes.
    pub(crate) fn finish(self) -> Result<Vec<u8>> {
        match self {
            Self::None(bytes) => Ok(bytes),
            Self::Gzip(encoder) => encoder.finish().map_err(failed),
            Self::Zstd(encoder) => encoder.finish().map_err(failed),
        }
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io("compress a file", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

    fn compress(compression: Compression, content: &[u8]) -> Vec<u8> {
        let mut compressor = Compressor::new(compression).unwrap();
        let mut file = Vec::new();
        for part in content.chunks(1000) {
            compressor.push(part).unwrap();
            file.extend(compressor.take());
        }
        file.extend(compressor.finish().unwrap());
        file
    }

    fn decompress(compression: Compression, file: &[u8], block: usize) -> std::io::Result<Vec<u8>> {
        let mut decompressor = Decompressor::new(compression).unwrap();
        let mut content = Vec::new();
        for block in file.chunks(block) {
            content.extend(decompressor.push(block)?);
        }
        content.extend(decompressor.finish()?);
        Ok(content)
    }

    fn text() -> Vec<u8> {
        (0..100_000).flat_map(|n: u64| format!("line {}\n", n * n % 1013).into_bytes()).collect()
    }

    #[test]
    fn content_survives_in_blocks_of_any_size() {
        for kind in KINDS {
            let file = compress(kind, &text());
            for block in [7, 4096, usize::MAX] {
                assert_eq!(decompress(kind, &file, block).unwrap(), text(), "{kind:?} {block}");
            }
        }
    }

    #[test]
    fn concatenated_files_are_one() {
        for kind in KINDS {
            let file = [compress(kind, b"one\n"), compress(kind, b"two\n")].concat();
            for block in [1, 1000] {
                assert_eq!(decompress(kind, &file, block).unwrap(), b"one\ntwo\n", "{kind:?}");
            }
        }
    }

    #[test]
    fn a_file_that_is_cut_off_is_an_error() {
        for kind in [Compression::Gzip, Compression::Zstd] {
            let file = compress(kind, &text());
            let cut = &file[..file.len() - 5];
            assert!(decompress(kind, cut, 4096).is_err(), "{kind:?}");
        }
    }
}
