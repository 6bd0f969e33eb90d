//! Tables of files, read.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::FilesystemSource;
use crate::connector::{ConnectorContext, Read, Source, Split};
use crate::format::testing::{rows_as_text, schema};
use crate::graph::SourceSpec;
use crate::storage::Storage;
use crate::time::SimulatedClock;
use crate::{Error, OperatorId, Result};

/// A directory with files, and the table of one of its paths.
pub(super) struct Files {
    pub(super) directory: tempfile::TempDir,
}

impl Files {
    pub(super) fn new(files: &[(&str, &[u8])]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            write(directory.path(), name, content);
        }
        Self { directory }
    }

    pub(super) fn source(
        &self,
        options: &[(&str, &str)],
        table: &str,
        wanted: &str,
    ) -> FilesystemSource {
        let context = ConnectorContext {
            storage: Storage::local(self.directory.path()).unwrap(),
            clock: Arc::new(SimulatedClock::new(0)),
        };
        FilesystemSource::new(&spec(options, schema(table), schema(wanted)), &context).unwrap()
    }

    pub(super) async fn rows(
        &self,
        options: &[(&str, &str)],
        columns: &str,
    ) -> Result<Vec<String>> {
        read(&self.source(options, columns, columns)).await
    }

    pub(super) async fn error(&self, options: &[(&str, &str)], columns: &str) -> String {
        self.rows(options, columns).await.unwrap_err().to_string()
    }
}

pub(super) fn write(directory: &Path, name: &str, content: &[u8]) {
    let path = directory.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn spec(options: &[(&str, &str)], table_schema: SchemaRef, schema: SchemaRef) -> SourceSpec {
    let options: BTreeMap<_, _> =
        options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    SourceSpec {
        id: OperatorId(1),
        table: "t".to_owned(),
        connector: "filesystem".to_owned(),
        options,
        table_schema,
        schema,
        filters: Vec::new(),
        limit: None,
        prepare: Vec::new(),
        watermark: None,
        query: None,
    }
}

pub(super) async fn read(source: &FilesystemSource) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    for split in source.splits(1).await? {
        rows.extend(read_split(source, &split).await?);
    }
    Ok(rows)
}

pub(super) async fn read_split(source: &FilesystemSource, split: &Split) -> Result<Vec<String>> {
    let mut reader = source.open(split).await?;
    let mut rows = Vec::new();
    loop {
        match reader.read().await? {
            Read::Rows(batch) => rows.extend(rows_as_text(&batch)),
            Read::End => return Ok(rows),
            Read::NotBefore(time) => panic!("a file does not wait for {time}"),
        }
    }
}

pub(super) fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect::<Vec<_>>().concat()
}

/// A table's options, a file of it and its content.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a [u8]);

pub(super) const CSV: &[(&str, &str)] = &[("path", "file:///t"), ("format", "csv")];
pub(super) const JSON: &[(&str, &str)] = &[("path", "file:///t"), ("format", "json")];
pub(super) const PARQUET: &[(&str, &str)] = &[("path", "file:///t"), ("format", "parquet")];

#[tokio::test]
async fn a_directory_is_read_in_the_order_of_names() {
    let files = Files::new(&[
        ("t/b.csv", b"b,a\ny,2\n"),
        ("t/a.csv", b"a,b\n1,x\n"),
        ("t/sub/c.csv", b"extra,a,b\n?,3,z\n"),
        ("t/_staging/d.csv", b"a,b\n4,no\n"),
        ("t/.hidden", b"a,b\n5,no\n"),
    ]);
    assert_eq!(files.rows(CSV, "a INT, b STRING").await.unwrap(), ["1|x", "2|y", "3|z"]);
}

#[tokio::test]
async fn patterns_and_single_files_are_read() {
    let files =
        Files::new(&[("t/a1.csv", b"a\n1\n"), ("t/a2.csv", b"a\n2\n"), ("t/b.csv", b"a\n3\n")]);
    let pattern = [("path", "file:///t/a[0-9].csv"), ("format", "csv")];
    assert_eq!(files.rows(&pattern, "a INT").await.unwrap(), ["1", "2"]);
    let file = [("path", "file:///t/b.csv"), ("format", "csv")];
    assert_eq!(files.rows(&file, "a INT").await.unwrap(), ["3"]);
}

#[tokio::test]
async fn nothing_to_read_is_told_with_its_path() {
    let files = Files::new(&[("empty/_x", b"")]);
    let missing = files.error(CSV, "a INT").await;
    assert_eq!(missing, "'file:///t' is neither a file nor a directory with files");
    let empty = files.error(&[("path", "file:///empty"), ("format", "csv")], "a INT").await;
    assert_eq!(empty, "'file:///empty' is neither a file nor a directory with files");
    let pattern = files.error(&[("path", "file:///t/*.csv"), ("format", "csv")], "a INT").await;
    assert_eq!(
        pattern,
        "no file matches 'file:///t/*.csv', a pattern in which '*' stands for any characters; a '*' \
            that is part of a name is written %2A"
    );
    let scheme = files.error(&[("path", "ftp:///t"), ("format", "csv")], "a INT").await;
    assert_eq!(scheme, "path 'ftp:///t': scheme 'ftp' is none of file");
}

#[tokio::test]
async fn paths_are_urls() {
    let files = Files::new(&[
        ("a b/x%1.csv", b"a\n1\n"),
        ("a b/[x].csv", b"a\n2\n"),
        ("a b/y.csv", b"a\n3\n"),
    ]);
    let check = async |path: &str, expected: &[&str]| {
        let options = [("path", path), ("format", "csv")];
        assert_eq!(files.rows(&options, "a INT").await.unwrap(), expected, "{path}");
    };
    check("file:///a%20b/x%251.csv", &["1"]).await;
    check("file:///a%20b/%5bx%5D.csv", &["2"]).await;
    check("file:///a b/[[]*.csv", &["2"]).await;
    check("file:///a%20b/%5B*.csv", &["2"]).await;
    check("file:///a%20b/%79*", &["3"]).await;
    let error = async |path: &str| files.error(&[("path", path), ("format", "csv")], "a INT").await;
    assert_eq!(
        error("file:///a%20b/[x].csv.gz").await,
        "no file matches 'file:///a%20b/[x].csv.gz', a pattern in which '[' begins a set of \
            characters; a '[' that is part of a name is written %5B"
    );
    assert_eq!(
        error("file:///a b/y?.csv").await,
        "no file matches 'file:///a b/y?.csv', a pattern in which '?' stands for any character; a \
            '?' that is part of a name is written %3F"
    );
    assert_eq!(
        error("file:///a b/{x,y}.csv").await,
        "'file:///a b/{x,y}.csv' is neither a file nor a directory with files; '{' and '}' are part \
            of a name and give no choice of names"
    );
    assert_eq!(
        error("file:///a%20b/x%31").await,
        "'file:///a%20b/x%31' is neither a file nor a directory with files: it stands for \
            '/a b/x1', and a '%' that is part of a name is written %25"
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_has_no_length_is_refused() {
    let context = ConnectorContext {
        storage: Storage::local(Path::new("/")).unwrap(),
        clock: Arc::new(SimulatedClock::new(0)),
    };
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (path, what) in [
        (pipe.to_str().unwrap(), "is a pipe"),
        ("/dev/zero", "is a device"),
        ("/proc/self/status", "has a content without a length"),
    ] {
        let url = format!("file://{path}");
        let spec = spec(&[("path", &url), ("format", "csv")], schema("a INT"), schema("a INT"));
        let source = FilesystemSource::new(&spec, &context).unwrap();
        let error = read(&source).await.unwrap_err().to_string();
        assert_eq!(error, format!("'{path}' {what}, only files are read"));
    }
}

#[tokio::test]
async fn malformed_rows_name_file_line_and_field() {
    let files = Files::new(&[("t/x.csv", b"a,b\n1,2\n3\n")]);
    assert_eq!(files.error(CSV, "a INT, b INT").await, "/t/x.csv:3: expected 2 fields, found 1");
    let files = Files::new(&[("t/x.csv", b"a,b\n1,2\nx,4\n")]);
    assert_eq!(
        files.error(CSV, "a INT, b INT").await,
        "/t/x.csv:3: field 1 'a': expected INT, found 'x'"
    );
    let files = Files::new(&[("t/x.csv", b"a,b\n1,2001-01-32 00:00:00\n")]);
    assert_eq!(
        files.error(CSV, "a INT, b TIMESTAMP").await,
        "/t/x.csv:2: field 2 'b': expected TIMESTAMP, found '2001-01-32 00:00:00'"
    );
    let files = Files::new(&[("t/x.json", b"{\"a\":1}\n{\"a\":\n")]);
    let error = files.error(JSON, "a INT").await;
    assert!(error.starts_with("/t/x.json:2: "), "{error}");
    let files = Files::new(&[("t/x.json", b"{\"a\":\"one\"}\n")]);
    let error = files.error(JSON, "a INT").await;
    assert!(error.starts_with("/t/x.json:1: ") && error.contains("'a'"), "{error}");
    let files = Files::new(&[("t/x.parquet", b"no parquet")]);
    assert_eq!(files.error(PARQUET, "a INT").await, "read '/t/x.parquet' as parquet");
}

#[tokio::test]
async fn skipped_rows_are_counted() {
    let files = Files::new(&[("t/x.csv", b"a,b\n1,2\nx,4\n5\n6,7\n")]);
    let options = [CSV, &[("on-error", "skip")]].concat();
    let source = files.source(&options, "a INT, b INT", "a INT, b INT");
    let mut reader = source.open(&source.splits(1).await.unwrap()[0]).await.unwrap();
    let Read::Rows(rows) = reader.read().await.unwrap() else { panic!("no rows") };
    assert_eq!(rows_as_text(&rows), ["1|2", "6|7"]);
    assert_eq!(reader.skipped_rows(), 2);
}

#[tokio::test]
async fn a_declared_column_that_is_missing_is_an_error() {
    let files = Files::new(&[("t/x.csv", b"a,b\n1,2\n")]);
    let with_header = [CSV, &[("csv.header", "true")]].concat();
    assert_eq!(
        files.error(&with_header, "c INT").await,
        "'/t/x.csv': there is no column 'c' among a, b; \
            if the first line is no header, say 'csv.header' = 'false'"
    );
    let files = Files::new(&[("t/x.parquet", &parquet_file(10, 10))]);
    assert_eq!(
        files.error(PARQUET, "c INT").await,
        "'/t/x.parquet': there is no column 'c' among n, name, r"
    );
}

#[tokio::test]
async fn columns_go_by_position_without_a_header() {
    let files = Files::new(&[("t/day=7/x.csv", b"1;NULL\n2;'a;b'\n")]);
    let options = [
        CSV,
        &[
            ("csv.header", "false"),
            ("csv.field-delimiter", ";"),
            ("csv.quote-character", "'"),
            ("csv.null-literal", "NULL"),
        ],
    ]
    .concat();
    // The column of the folder is not in the file, wherever it was declared.
    let source = files.source(&options, "n INT, day INT, s STRING", "day INT, s STRING");
    assert_eq!(read(&source).await.unwrap(), ["7|NULL", "7|a;b"]);
}

#[tokio::test]
async fn folders_become_columns() {
    let files = Files::new(&[
        ("t/day=2024-01-01/at=12%3A30/x.csv", b"a\n1\n"),
        ("t/day=__HIVE_DEFAULT_PARTITION__/at=x/x.csv", b"a\n2\n"),
    ]);
    let rows = files.rows(CSV, "day DATE, a INT, at STRING").await.unwrap();
    assert_eq!(rows, ["2024-01-01|1|12:30", "NULL|2|x"]);
    let error = files.error(CSV, "day DATE, at INT").await;
    assert!(error.contains("folder value at=12:30 is no Int32"), "{error}");
}

#[tokio::test]
async fn compressed_files_are_read() {
    let text = lines(30_000, |n| format!("{{\"n\":{n}}}\n"));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap();
    let files = Files::new(&[("t/a.json.gz", &gzip.finish().unwrap()), ("t/b.json.zst", &zstd)]);
    let rows = files.rows(JSON, "n BIGINT").await.unwrap();
    let expected = (0..30_000).chain(0..30_000).map(|n| n.to_string()).collect::<Vec<_>>();
    assert!(rows == expected, "{} rows", rows.len());
    let broken = Files::new(&[("t/a.json.gz", &zstd[..])]);
    assert_eq!(broken.error(JSON, "n BIGINT").await, "decompress '/t/a.json.gz'");
}

#[tokio::test]
async fn a_limit_ends_a_split() {
    let files = Files::new(&[("t/x.csv", b"a\n1\n2\n3\n")]);
    let context = ConnectorContext {
        storage: Storage::local(files.directory.path()).unwrap(),
        clock: Arc::new(SimulatedClock::new(0)),
    };
    let spec = SourceSpec { limit: Some(2), ..spec(CSV, schema("a INT"), schema("a INT")) };
    let source = FilesystemSource::new(&spec, &context).unwrap();
    assert_eq!(read(&source).await.unwrap(), ["1", "2"]);
}

/// Reads a split, stopping and opening it again after every batch.
async fn read_in_steps(source: &FilesystemSource) -> Vec<String> {
    let mut split = source.splits(1).await.unwrap().remove(0);
    let mut rows = Vec::new();
    loop {
        let mut reader = source.open(&split).await.unwrap();
        match reader.read().await.unwrap() {
            Read::Rows(batch) => rows.extend(rows_as_text(&batch)),
            _ => return rows,
        }
        split.position = reader.position();
    }
}

fn parquet_file(rows: usize, group_rows: usize) -> Vec<u8> {
    use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray, StructArray};
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..rows as i32));
    let names = (0..rows).map(|n| (n % 3 > 0).then(|| format!("name number {n}")));
    let names: ArrayRef = Arc::new(names.collect::<StringArray>());
    let x: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
    let inner = StructArray::try_from(vec![("x", x), ("y", Arc::clone(&names))]).unwrap();
    let columns = [("n", numbers), ("name", names), ("r", Arc::new(inner) as ArrayRef)];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = parquet::file::properties::WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .build();
    let mut file = Vec::new();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    file
}

#[tokio::test]
async fn parquet_columns_are_narrowed_and_adapted() {
    let files = Files::new(&[("t/x.parquet", &parquet_file(3, 2))]);
    let source = files.source(PARQUET, "r ROW, n BIGINT", "r ROWY, n BIGINT");
    let rows = read(&source).await.unwrap();
    assert_eq!(
        rows,
        ["{y: NULL}|0", "{y: name number 1}|1", "{y: name number 2}|2"].map(String::from)
    );
    assert_eq!(read(&files.source(PARQUET, "n INT", "")).await.unwrap(), ["", "", ""]);
}

#[tokio::test]
async fn a_position_says_exactly_where_to_go_on() {
    const ROWS: usize = 20_000;
    let csv = lines(ROWS, |n| format!("{n},\"line\n{n}\"\r\n"));
    let csv = format!("n,name\r\n{csv}");
    let json = lines(ROWS, |n| format!("\n{{\"n\":{n},\"name\":\"é{n}\"}}\n"));
    let zipped = zstd::encode_all(csv.as_bytes(), 1).unwrap();
    let bare = csv.split_once('\n').unwrap().1;
    let cases: [Case<'_>; 5] = [
        (CSV, "t/x.csv", csv.as_bytes()),
        (CSV, "t/x.csv", bare.as_bytes()),
        (CSV, "t/x.csv.zst", &zipped),
        (JSON, "t/x.json", json.as_bytes()),
        (PARQUET, "t/x.parquet", &parquet_file(ROWS, 3000)),
    ];
    for (options, name, content) in cases {
        let files = Files::new(&[(name, content)]);
        let source = files.source(options, "n INT, name STRING", "n INT, name STRING");
        let expected = read(&source).await.unwrap();
        assert_eq!(expected.len(), ROWS, "{name}");
        assert!(read_in_steps(&source).await == expected, "{name}");
    }
}

#[tokio::test]
async fn lines_are_counted_across_positions() {
    let mut csv = lines(20_000, |n| format!("{n}\n"));
    csv.push_str("oops\n");
    let files = Files::new(&[("t/x.csv", format!("n\n{csv}").as_bytes())]);
    let source = files.source(CSV, "n INT", "n INT");
    let mut split = source.splits(1).await.unwrap().remove(0);
    let error = loop {
        let mut reader = source.open(&split).await.unwrap();
        match reader.read().await {
            Ok(_) => split.position = reader.position(),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::MalformedRow { .. }));
    assert_eq!(error.to_string(), "/t/x.csv:20002: field 1 'n': expected INT, found 'oops'");
}
