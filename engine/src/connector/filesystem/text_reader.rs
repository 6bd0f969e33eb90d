//! Reads the rows of a CSV or JSON file.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use object_store::{ObjectMeta, ObjectStore};

use super::blocks::Blocks;
use super::options::Options;
use super::position::Position;
use crate::format::{
    CsvDecoder, Decoded, FirstRecord, JsonDecoder, RECORD_BYTES_MAX, RowDecoder, after_mark,
    first_record, hint, is_header,
};
use crate::{Error, Result};

/// A CSV or JSON file.
pub(super) struct TextFile<'a> {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) meta: ObjectMeta,
    pub(super) name: String,
    pub(super) options: &'a Options,
}

/// Where the content goes on after what was looked at.
struct Rest {
    blocks: Blocks,
    block: Bytes,
    byte: u64,
}

/// How the rows of a CSV file are laid out, which its first line decides: the same whenever it is
/// asked for again.
pub(super) struct CsvLayout {
    /// The names of the fields.
    pub(super) names: Vec<String>,
    /// Whether it was found out that the first line is a header, so that columns which it does not
    /// name are null.
    pub(super) lets_columns_lack: bool,
    first: FirstRecord,
    is_header: bool,
    rest: Rest,
}

impl TextFile<'_> {
    fn blocks(&self, byte: u64) -> Result<Blocks> {
        let compression = self.options.compression_of(self.meta.location.as_ref());
        Blocks::open(Arc::clone(&self.store), self.meta.clone(), &self.name, compression, byte)
    }

    /// Reads from the beginning on until `find` finds what it looks for in it. It is told when
    /// there is no more, or more than a record may have.
    async fn look<T>(&self, find: impl Fn(&[u8], bool) -> Option<T>) -> Result<(T, Rest)> {
        let mut blocks = self.blocks(0)?;
        let mut content = Vec::new();
        loop {
            let block = blocks.next().await?;
            content.extend_from_slice(block.as_deref().unwrap_or_default());
            let ended = block.is_none() || content.len() > RECORD_BYTES_MAX;
            if let Some(found) = find(&content, ended) {
                return Ok((found, Rest { blocks, block: content.into(), byte: 0 }));
            }
        }
    }

    /// Finds out how the rows of a CSV file are laid out. `columns` are the table's and `in_file`
    /// those of them that no folder gives.
    pub(super) async fn csv_layout(
        &self,
        columns: &[String],
        in_file: Vec<String>,
    ) -> Result<CsvLayout> {
        let style = &self.options.csv;
        let (first, rest) = self.look(|content, ended| first_record(content, ended, style)).await?;
        let found = || is_header(&first.fields, columns, &in_file);
        let is_header = self.options.csv_header.unwrap_or_else(found);
        Ok(CsvLayout {
            names: if is_header { first.fields.clone() } else { in_file },
            lets_columns_lack: is_header && self.options.csv_header.is_none(),
            first,
            is_header,
            rest,
        })
    }

    /// Opens a CSV file for the columns in `schema`.
    pub(super) fn open_csv(
        &self,
        layout: CsvLayout,
        schema: &SchemaRef,
        position: &Position,
    ) -> Result<TextRows> {
        let CsvLayout { names, first, is_header, rest, .. } = layout;
        let style = &self.options.csv;
        // An empty file has no header and no rows, so no column can be missing.
        let schema = if names.is_empty() { &Arc::new(Schema::empty()) } else { schema };
        let columns = if is_header { schema.fields().len() } else { names.len() };
        let hint = hint(&first.fields, columns, style, !is_header);
        let (byte, line) = match position.byte {
            0 if is_header => (first.end, first.next_line),
            0 => (first.begin, 1),
            byte => (byte, position.lines + 1),
        };
        let decoder =
            CsvDecoder::new(style, &names, schema, line).map_err(|error| match error {
                Error::Invalid(reason) => {
                    Error::Invalid(format!("'{}': {reason}; {hint}", self.name))
                }
                other => other,
            })?;
        let rest = self.go_on(rest, position, byte)?;
        let hint = (!is_header).then_some((first.line, hint));
        Ok(TextRows::new(rest, Box::new(decoder), hint))
    }

    /// Opens a JSON file for the columns in `schema`.
    pub(super) async fn open_json(
        &self,
        schema: &SchemaRef,
        position: &Position,
    ) -> Result<TextRows> {
        let decoder = Box::new(JsonDecoder::new(schema, position.lines + 1));
        let rest = if position.byte == 0 {
            let (begin, rest) = self.look(after_mark).await?;
            self.go_on(rest, position, begin as u64)?
        } else {
            let byte = position.byte;
            Rest { blocks: self.blocks(byte)?, block: Bytes::new(), byte }
        };
        Ok(TextRows::new(rest, decoder, None))
    }

    /// Goes on at `byte`, with what was fetched already where that is at the beginning.
    fn go_on(&self, mut rest: Rest, position: &Position, byte: u64) -> Result<Rest> {
        if position.byte == 0 {
            rest.block = rest.block.split_off(byte as usize);
            return Ok(Rest { byte, ..rest });
        }
        Ok(Rest { blocks: self.blocks(byte)?, block: Bytes::new(), byte })
    }
}

/// The rows of a text file.
pub(super) struct TextRows {
    /// What has been fetched but not taken, and how much of the content the decoder has taken.
    rest: Rest,
    decoder: Box<dyn RowDecoder>,
    ended: bool,
    /// What the line of this number may be, should it not fit.
    hint: Option<(u64, String)>,
}

impl TextRows {
    fn new(rest: Rest, decoder: Box<dyn RowDecoder>, hint: Option<(u64, String)>) -> Self {
        Self { rest, decoder, ended: false, hint }
    }

    /// Notes how far the rows are that were returned.
    pub(super) fn locate(&self, position: &mut Position) {
        position.byte = self.rest.byte;
        position.lines = self.decoder.line() - 1;
        position.ended = self.ended;
    }

    /// Returns an estimate of the bytes that it holds.
    pub(super) fn memory_bytes(&self) -> usize {
        let Rest { blocks, block, .. } = &self.rest;
        // What is left of a block keeps it whole.
        block.len().max(blocks.memory_bytes()) + self.decoder.memory_bytes()
    }

    /// Returns the next rows, or `None` at the end. Dropping the future loses nothing.
    pub(super) async fn read(&mut self) -> Result<Option<Decoded>> {
        if self.ended {
            return Ok(None);
        }
        let rest = &mut self.rest;
        while !self.decoder.is_full() {
            if rest.block.is_empty() {
                let Some(block) = rest.blocks.next().await? else {
                    self.decoder.finish();
                    self.ended = true;
                    break;
                };
                rest.block = block;
            }
            let taken = self.decoder.push(&rest.block);
            rest.byte += taken as u64;
            rest.block = rest.block.split_off(taken);
        }
        let mut decoded = self.decoder.take()?;
        if let (Some((line, hint)), Some(malformed)) = (&self.hint, decoded.malformed.first_mut())
            && malformed.line == *line
        {
            malformed.reason = format!("{}; {hint}", malformed.reason);
        }
        Ok(Some(decoded))
    }
}
