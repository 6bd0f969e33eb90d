//! What the options of a filesystem table say.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use super::partition_commit::PartitionCommit;
use super::rolling;
use crate::connector::registry::suggest;
use crate::format::{Compression, CsvStyle, Format};
use crate::{Error, Result};

/// The options of the connector.
pub const OPTIONS: &[&str] = &[
    "path",
    "format",
    "compression",
    "on-error",
    "csv.header",
    "csv.field-delimiter",
    "csv.null-literal",
    "csv.quote-character",
    "csv.escape-character",
    "csv.ignore-parse-errors",
    "json.ignore-parse-errors",
    "sink.rolling-policy.file-size",
    "sink.rolling-policy.rollover-interval",
    "sink.rolling-policy.check-interval",
    "sink.partition-commit.policy.kind",
    "sink.partition-commit.success-file.name",
    "sink.partition-commit.trigger",
    "sink.partition-commit.delay",
    "partition.time-extractor.timestamp-pattern",
];

const ESCAPE: &str = "csv.escape-character";

/// The size of files, in bytes, where nothing is said.
const FILE_BYTES: u64 = 128 << 20;

/// What happens to rows that do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnError {
    /// The job fails.
    Fail,
    /// They are counted and left out.
    Skip,
}

/// Where files are and what is in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    /// `path`: a URL of a file, a directory or a pattern.
    pub(super) path: String,
    /// `format`.
    pub(super) format: Format,
    /// `compression`: `None` goes by the file's extension, and writes plain files.
    pub(super) compression: Option<Compression>,
    /// `on-error`, by default fail.
    pub(super) on_error: OnError,
    /// `sink.rolling-policy.file-size`: a file that has reached this size is followed by another,
    /// default 128 MB; larger files are fewer, smaller ones can be read by more tasks at once.
    pub(super) file_bytes: u64,
    /// `sink.rolling-policy.rollover-interval`: a file that was begun so long ago is followed by
    /// another, by default only after its size and at checkpoints.
    pub(super) rollover: Option<Duration>,
    /// `sink.partition-commit.…`: what marks a partition, and when.
    pub(super) commit: Option<PartitionCommit>,
    /// `csv.header`: whether the first line of a CSV file names its columns; `None`, the default,
    /// finds out. What is written has a header unless it is false.
    pub(super) csv_header: Option<bool>,
    /// The other `csv.…` options.
    pub(super) csv: CsvStyle,
}

impl Options {
    /// Reads the options.
    pub(super) fn parse(options: &BTreeMap<String, String>) -> Result<Self> {
        let get = |key: &str| options.get(key).map(String::as_str);
        let format = match required(options, "format")? {
            "csv" => Format::Csv,
            "json" => Format::Json,
            "parquet" => Format::Parquet,
            other => return Err(unknown_format(other)),
        };
        let prefix = format!("{}.", format.name());
        let belongs = |key: &str| {
            !(key.starts_with("csv.") || key.starts_with("json.")) || key.starts_with(&prefix)
        };
        if let Some(other) = options.keys().find(|key| !belongs(key)) {
            return Err(Error::Invalid(format!(
                "option '{other}' does not go with 'format' = '{}'",
                format.name()
            )));
        }
        let compression = match get("compression") {
            None | Some("auto") => None,
            Some("none") => Some(Compression::None),
            Some("gzip" | "gz") => Some(Compression::Gzip),
            Some("zstd" | "zst") => Some(Compression::Zstd),
            Some(other) => return Err(wrong("compression", other, "auto, none, gzip or zstd")),
        };
        if format == Format::Parquet && compression.is_some_and(|kind| kind != Compression::None) {
            return Err(Error::Invalid(
                "option 'compression' does not go with 'format' = 'parquet', which compresses inside"
                    .to_owned(),
            ));
        }
        Ok(Self {
            path: required(options, "path")?.to_owned(),
            format,
            compression,
            on_error: on_error(options, format)?,
            file_bytes: file_bytes(options)?,
            rollover: rolling::rollover(options)?,
            commit: PartitionCommit::parse(options)?,
            csv_header: csv_header(options)?,
            csv: csv_style(options)?,
        })
    }

    /// Returns the compression of a file that is read.
    pub(super) fn compression_of(&self, file: &str) -> Compression {
        match (self.format, self.compression) {
            (Format::Parquet, _) => Compression::None,
            (_, Some(compression)) => compression,
            (_, None) => Compression::of_file_name(file),
        }
    }
}

fn required<'a>(options: &'a BTreeMap<String, String>, key: &str) -> Result<&'a str> {
    options
        .get(key)
        .map(String::as_str)
        .ok_or_else(|| Error::Invalid(format!("connector 'filesystem' needs the option '{key}'")))
}

fn unknown_format(name: &str) -> Error {
    let help = suggest(name, ["csv", "json", "parquet"].into_iter())
        .map_or_else(String::new, |known| format!("; did you mean '{known}'?"));
    wrong("format", name, &format!("csv, json or parquet{help}"))
}

pub(super) fn wrong(key: &str, value: impl Display, expected: &str) -> Error {
    Error::Invalid(format!("option '{key}' = '{value}': expected {expected}"))
}

fn boolean(options: &BTreeMap<String, String>, key: &str) -> Result<Option<bool>> {
    match options.get(key) {
        None => Ok(None),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(other) => Err(wrong(key, other, "true or false")),
    }
}

fn character(options: &BTreeMap<String, String>, key: &str) -> Result<Option<u8>> {
    match options.get(key).map(String::as_str) {
        None => Ok(None),
        Some("\\t") => Ok(Some(b'\t')),
        Some(text) => match text.as_bytes() {
            &[byte] if byte.is_ascii() && !matches!(byte, b'\r' | b'\n') => Ok(Some(byte)),
            _ => Err(wrong(key, text, "one ASCII character")),
        },
    }
}

fn on_error(options: &BTreeMap<String, String>, format: Format) -> Result<OnError> {
    let ignore = boolean(options, &format!("{}.ignore-parse-errors", format.name()))?;
    match (options.get("on-error").map(String::as_str), ignore) {
        (None | Some("fail"), None | Some(false)) => Ok(OnError::Fail),
        (None, Some(true)) | (Some("skip"), None | Some(true)) => Ok(OnError::Skip),
        (Some("fail" | "skip"), Some(_)) => Err(Error::Invalid(
            "options 'on-error' and 'ignore-parse-errors' contradict each other".to_owned(),
        )),
        (Some(other), _) => Err(wrong("on-error", other, "fail or skip")),
    }
}

fn file_bytes(options: &BTreeMap<String, String>) -> Result<u64> {
    const KEY: &str = "sink.rolling-policy.file-size";
    let Some(text) = options.get(KEY) else { return Ok(FILE_BYTES) };
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_bytes = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" | "bytes" => Some(1),
        "k" | "kb" | "kibibytes" => Some(1 << 10),
        "m" | "mb" | "mebibytes" => Some(1 << 20),
        "g" | "gb" | "gibibytes" => Some(1 << 30),
        _ => None,
    };
    let bytes =
        number.parse::<u64>().ok().zip(unit_bytes).and_then(|(n, unit)| n.checked_mul(unit));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| wrong(KEY, text, "a size such as 128MB"))
}

fn csv_header(options: &BTreeMap<String, String>) -> Result<Option<bool>> {
    const KEY: &str = "csv.header";
    match options.get(KEY) {
        Some(text) if text.eq_ignore_ascii_case("auto") => Ok(None),
        Some(other) => boolean(options, KEY).map_err(|_| wrong(KEY, other, "auto, true or false")),
        None => Ok(None),
    }
}

fn csv_style(options: &BTreeMap<String, String>) -> Result<CsvStyle> {
    let default = CsvStyle::default();
    let quote = character(options, "csv.quote-character")?.unwrap_or(default.quote);
    let style = CsvStyle {
        header: csv_header(options)?.unwrap_or(true),
        delimiter: character(options, "csv.field-delimiter")?.unwrap_or(default.delimiter),
        quote,
        // A quote that is escaped by itself is doubled, as it is anyway.
        escape: character(options, ESCAPE)?.filter(|escape| *escape != quote),
        null_literal: options.get("csv.null-literal").cloned().unwrap_or(default.null_literal),
    };
    check_style(&style)?;
    Ok(style)
}

/// Refuses characters that cannot be told apart.
fn check_style(style: &CsvStyle) -> Result<()> {
    let other = "another character than the field delimiter";
    let clash = |key: &str, byte: u8, expected: &str| Err(wrong(key, char::from(byte), expected));
    if style.quote == style.delimiter {
        return clash("csv.quote-character", style.quote, other);
    }
    match style.escape {
        Some(escape) if escape == style.delimiter => return clash(ESCAPE, escape, other),
        Some(escape @ (b'0' | b'n' | b'r' | b't')) => {
            return clash(
                ESCAPE,
                escape,
                "another character than 0, n, r and t, which it is before",
            );
        }
        _ => {}
    }
    let is_special = |byte: &u8| {
        matches!(byte, b'\r' | b'\n')
            || [style.delimiter, style.quote].contains(byte)
            || style.escape == Some(*byte)
    };
    if style.null_literal.as_bytes().iter().any(is_special) {
        let expected = "a text without delimiter, quote, escape character and line end";
        return Err(wrong("csv.null-literal", &style.null_literal, expected));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[(&str, &str)]) -> Result<Options, String> {
        let all = [("path", "file:///a"), ("format", "csv")].iter().chain(options);
        let options = all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Options::parse(&options).map_err(|error| error.to_string())
    }

    #[test]
    fn headers_are_found_out_and_written_unless_said_otherwise() {
        let header = |text| parse(&[("csv.header", text)]).map(|it| (it.csv_header, it.csv.header));
        let default = parse(&[]).unwrap();
        assert_eq!((default.csv_header, default.csv.header), (None, true));
        assert_eq!(header("auto"), Ok((None, true)));
        assert_eq!(header("FALSE"), Ok((Some(false), false)));
        assert_eq!(header("true"), Ok((Some(true), true)));
        assert!(header("maybe").unwrap_err().contains("auto, true or false"));
    }

    #[test]
    fn delimiters_are_single_characters() {
        assert_eq!(parse(&[("csv.field-delimiter", "\\t")]).unwrap().csv.delimiter, b'\t');
        assert!(parse(&[("csv.field-delimiter", "||")]).is_err());
        assert!(parse(&[("csv.field-delimiter", "\"")]).is_err());
    }

    #[test]
    fn characters_that_mean_something_differ() {
        let escape = |text| parse(&[("csv.escape-character", text)]).map(|it| it.csv.escape);
        assert_eq!(escape("\\"), Ok(Some(b'\\')));
        assert_eq!(escape("\""), Ok(None));
        assert!(escape(",").unwrap_err().contains("than the field delimiter"));
        assert!(escape("n").unwrap_err().contains("than 0, n, r and t"));
        let null = parse(&[("csv.escape-character", "\\"), ("csv.null-literal", "\\N")]);
        assert!(
            null.unwrap_err().starts_with("option 'csv.null-literal' = '\\N': expected a text")
        );
        assert!(parse(&[("csv.null-literal", "\\N")]).is_ok());
    }

    #[test]
    fn errors_are_skipped_by_either_spelling() {
        assert_eq!(parse(&[]).unwrap().on_error, OnError::Fail);
        assert_eq!(parse(&[("on-error", "skip")]).unwrap().on_error, OnError::Skip);
        assert_eq!(parse(&[("csv.ignore-parse-errors", "true")]).unwrap().on_error, OnError::Skip);
        let both = parse(&[("csv.ignore-parse-errors", "true"), ("on-error", "fail")]);
        assert!(both.unwrap_err().contains("contradict"));
    }

    #[test]
    fn options_of_another_format_are_refused() {
        assert_eq!(
            parse(&[("format", "json"), ("csv.header", "true")]).unwrap_err(),
            "option 'csv.header' does not go with 'format' = 'json'"
        );
        assert!(parse(&[("format", "parquet"), ("compression", "gzip")]).is_err());
    }

    #[test]
    fn sizes_have_units() {
        let size = |text| parse(&[("sink.rolling-policy.file-size", text)]).map(|it| it.file_bytes);
        assert_eq!(parse(&[]).unwrap().file_bytes, 128 << 20);
        assert_eq!(size("100"), Ok(100));
        assert_eq!(size("2 kb"), Ok(2048));
        assert_eq!(size("1GB"), Ok(1 << 30));
        assert!(size("0").is_err() && size("MB").is_err() && size("5 apples").is_err());
    }

    #[test]
    fn compression_goes_by_the_extension() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.compression_of("a.csv.gz"), Compression::Gzip);
        assert_eq!(options.compression_of("a.csv"), Compression::None);
        let options = parse(&[("compression", "zstd")]).unwrap();
        assert_eq!(options.compression_of("a.csv.gz"), Compression::Zstd);
    }
}
