//! How far a file has been read, and which file it was.

use object_store::ObjectMeta;
use serde_json::{Value, json};

use crate::{Error, Result};

/// How far a file has been read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Position {
    /// Bytes of its content, for text.
    pub(super) byte: u64,
    /// Lines, for text.
    pub(super) lines: u64,
    /// Rows, for Parquet.
    pub(super) row: u64,
    /// Whether that is all: the file is not needed any more.
    pub(super) ended: bool,
    /// Which file it is; unknown in checkpoints of old.
    pub(super) file: Option<Version>,
}

/// What tells a file from another one under its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    bytes: u64,
    etag: Option<String>,
    modified: String,
}

impl Position {
    /// Begins a file.
    pub(super) fn begin(file: &ObjectMeta) -> Self {
        Self { file: Some(Version::of(file)), ..Self::default() }
    }

    /// Reads the form that goes into checkpoints.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let invalid = || Error::Restore {
            what: format!("source position {text}"),
            reason: "it is no position in a file".to_owned(),
        };
        let value: Value = serde_json::from_str(text).map_err(|_| invalid())?;
        let number = |key: &str| value.get(key).and_then(Value::as_u64).ok_or_else(invalid);
        let file = match value.get("file") {
            None | Some(Value::Null) => None,
            Some(file) => Some(Version::of_json(file).ok_or_else(invalid)?),
        };
        Ok(Self {
            byte: number("byte")?,
            lines: number("lines")?,
            row: number("row")?,
            ended: value.get("ended").and_then(Value::as_bool).unwrap_or(false),
            file,
        })
    }

    /// Writes that form.
    pub(super) fn print(&self) -> String {
        let Self { byte, lines, row, ended, file } = self;
        let file = file.as_ref().map(Version::to_json);
        json!({ "byte": byte, "lines": lines, "row": row, "ended": ended, "file": file })
            .to_string()
    }

    /// Refuses to go on with a file that is not the one that the position is in; `name` is for
    /// people.
    pub(super) fn check(&self, found: &ObjectMeta, name: &str) -> Result<()> {
        let Some(expected) = &self.file else { return Ok(()) };
        let found = Version::of(found);
        let reason = if expected.bytes != found.bytes {
            format!("it had {} bytes and has {}", expected.bytes, found.bytes)
        } else if !expected.is(&found) {
            format!("it was written anew at {}", found.modified)
        } else {
            return Ok(());
        };
        Err(Error::Invalid(format!(
            "file '{name}' is not the one that the job began to read: {reason}"
        )))
    }
}

impl Version {
    fn of(file: &ObjectMeta) -> Self {
        Self {
            bytes: file.size,
            etag: file.e_tag.clone(),
            modified: file.last_modified.to_rfc3339(),
        }
    }

    /// Tells whether two files of one size are one: by the store's own word where it has one.
    fn is(&self, other: &Self) -> bool {
        match (&self.etag, &other.etag) {
            (Some(etag), Some(other)) => etag == other,
            _ => self.modified == other.modified,
        }
    }

    fn to_json(&self) -> Value {
        json!({ "bytes": self.bytes, "etag": self.etag, "modified": self.modified })
    }

    fn of_json(value: &Value) -> Option<Self> {
        Some(Self {
            bytes: value.get("bytes")?.as_u64()?,
            etag: value.get("etag").and_then(Value::as_str).map(str::to_owned),
            modified: value.get("modified")?.as_str()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_in_checkpoints() {
        let file = Version { bytes: 7, etag: Some("e".to_owned()), modified: "m".to_owned() };
        let unnamed = Version { etag: None, ..file.clone() };
        for file in [None, Some(file), Some(unnamed)] {
            let position = Position { byte: 1, lines: 2, row: 3, ended: true, file };
            assert_eq!(Position::parse(&position.print()).unwrap(), position);
        }
        let old = Position { byte: 1, lines: 2, row: 3, ended: false, file: None };
        assert_eq!(Position::parse(r#"{"byte":1,"lines":2,"row":3}"#).unwrap(), old);
        assert!(Position::parse(r#"{"byte":1}"#).is_err());
    }
}
