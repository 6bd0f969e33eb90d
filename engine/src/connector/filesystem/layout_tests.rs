//! Headers that are found out, files that change while they are read, and wide rows.

use super::source_tests::{CSV, Files, JSON, PARQUET, read_split, write};
use crate::connector::{Read, Source};
use crate::format::testing::{rows_as_text, schema};
use crate::format::{Compression, CsvStyle, Encoder, Format};

async fn csv_rows(content: &str, columns: &str) -> Vec<String> {
    let files = Files::new(&[("t/x.csv", content.as_bytes())]);
    files.rows(CSV, columns).await.unwrap()
}

async fn csv_error(content: &str, columns: &str) -> String {
    Files::new(&[("t/x.csv", content.as_bytes())]).error(CSV, columns).await
}

#[tokio::test]
async fn a_first_line_of_names_is_a_header() {
    assert_eq!(csv_rows("b,a\nx,1\n", "a INT, b STRING").await, ["1|x"]);
    assert_eq!(csv_rows("more,b,a\n?,x,1\n", "a INT, b STRING").await, ["1|x"]);
    assert_eq!(csv_rows("b\nx\n\ny\n", "a INT, b STRING").await, ["NULL|x", "NULL|NULL", "NULL|y"]);
    assert_eq!(csv_rows("\u{feff}\"a\" ,b\r\n1,x\r\n", "a INT, b STRING").await, ["1|x"]);
    let error = csv_error("b,a\nx,1\n", "a INT, b STRING, c INT NOT NULL").await;
    assert_eq!(error, "'/t/x.csv': there is no column 'c' among b, a, and it is NOT NULL");
}

#[tokio::test]
async fn a_first_line_of_other_texts_is_a_row() {
    assert_eq!(csv_rows("1,x\n2,y\n", "a INT, b STRING").await, ["1|x", "2|y"]);
    assert_eq!(csv_rows("\u{feff}1,x\r\n", "a INT, b STRING").await, ["1|x"]);
    assert_eq!(csv_rows("\nx\n", "a STRING").await, ["NULL", "x"]);
    assert!(csv_rows("", "a STRING").await.is_empty());
    let files = Files::new(&[("t/day=7/x.csv", b"1,x\n"), ("t/day=8/x.csv", b"b,day,a\ny,9,2\n")]);
    let rows = files.rows(CSV, "a INT, day INT, b STRING").await.unwrap();
    assert_eq!(rows, ["1|7|x", "2|8|y"]);
}

#[tokio::test]
async fn a_first_line_that_does_not_fit_is_told_with_what_it_may_be() {
    let header = "; if this line is a header, say 'csv.header' = 'true'";
    assert_eq!(
        csv_error("id,b\n1,x\n", "a INT, b STRING").await,
        format!("/t/x.csv:1: field 1 'a': expected INT, found 'id'{header}")
    );
    assert_eq!(
        csv_error("\n1,x,2\n", "a INT, b STRING").await,
        format!("/t/x.csv:2: expected 2 fields, found 3{header}")
    );
    assert_eq!(csv_error("1,x\ny,2\n", "a INT, b INT").await.matches("csv.header").count(), 1);
    let second = csv_error("1,2\ny,2\n", "a INT, b INT").await;
    assert_eq!(second, "/t/x.csv:2: field 1 'a': expected INT, found 'y'");
    assert_eq!(
        csv_error("a;b\n1;x\n", "a INT, b STRING").await,
        "/t/x.csv:1: expected 2 fields, found 1; \
            if fields are separated by ';', say 'csv.field-delimiter' = ';'"
    );
}

#[tokio::test]
async fn a_file_that_changes_is_not_read_on() {
    let content = |last: &str| format!("n\n{}{last}\n", "1\n".repeat(9000));
    for (options, name, first, second) in [
        (CSV, "t/x.csv", content("2"), content("20")),
        (CSV, "t/x.csv", content("2"), content("3")),
        (JSON, "t/x.json", "{\"n\":1}\n".repeat(9000), "{\"n\":2}\n".repeat(9000)),
    ] {
        let files = Files::new(&[(name, first.as_bytes())]);
        let source = files.source(options, "n INT", "n INT");
        let mut split = source.splits(1).await.unwrap().remove(0);
        let mut reader = source.open(&split).await.unwrap();
        assert!(matches!(reader.read().await.unwrap(), Read::Rows(_)));
        split.position = reader.position();
        assert!(!read_split(&source, &split).await.unwrap().is_empty());

        // Written anew, it has another time of modification, which is all that a store knows.
        write(files.directory.path(), name, second.as_bytes());
        let later = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
        let file = std::fs::File::options().write(true).open(files.directory.path().join(name));
        file.unwrap().set_modified(later).unwrap();
        let error = source.open(&split).await.err().unwrap().to_string();
        let expected = format!("file '/{name}' is not the one that the job began to read: it ");
        assert!(error.starts_with(&expected), "{error}");
        std::fs::remove_file(files.directory.path().join(name)).unwrap();
        let error = source.open(&split).await.err().unwrap().to_string();
        assert_eq!(error, format!("file '/{name}' of table at 'file:///t' is gone"));
    }
}

#[tokio::test]
async fn a_file_that_was_read_to_its_end_may_be_gone() {
    for (options, format, name) in [
        (CSV, Format::Csv, "t/x.csv"),
        (JSON, Format::Json, "t/x.json"),
        (PARQUET, Format::Parquet, "t/x.parquet"),
    ] {
        let files = Files::new(&[(name, &wide_file(format, 3, 10))]);
        let source = files.source(options, "s STRING", "s STRING");
        let mut split = source.splits(1).await.unwrap().remove(0);
        let mut reader = source.open(&split).await.unwrap();
        let Read::Rows(rows) = reader.read().await.unwrap() else { panic!("no rows") };
        assert_eq!(rows.num_rows(), 3);
        split.position = reader.position();
        std::fs::remove_file(files.directory.path().join(name)).unwrap();
        assert!(read_split(&source, &split).await.unwrap().is_empty(), "{name}");
        assert_eq!(source.open(&split).await.unwrap().position(), split.position);
    }
}

/// Returns a file of rows of one text of so many bytes each, with what formats escape in it.
fn wide_file(format: Format, rows: usize, bytes: usize) -> Vec<u8> {
    let text = "a\"\n\\é,".repeat(bytes / 7 + 1);
    let texts = (0..rows).map(|row| Some(format!("{row}{text}")));
    let texts = texts.collect::<arrow::array::StringViewArray>();
    let rows =
        arrow::array::RecordBatch::try_new(schema("s STRING"), vec![std::sync::Arc::new(texts)]);
    let rows = rows.unwrap();
    let style = CsvStyle::default();
    let mut encoder = Encoder::new(format, &style, Compression::None, rows.schema_ref()).unwrap();
    let mut file = encoder.encode(&rows).unwrap();
    file.extend(encoder.finish().unwrap());
    file
}

#[tokio::test]
async fn wide_rows_survive_and_make_small_batches() {
    for (options, format, name) in [
        (CSV, Format::Csv, "t/x.csv"),
        (JSON, Format::Json, "t/x.json"),
        (PARQUET, Format::Parquet, "t/x.parquet"),
    ] {
        for (rows, bytes, batch_rows) in [(100, 100_000, 90), (3, 4_500_000, 2)] {
            let files = Files::new(&[(name, &wide_file(format, rows, bytes))]);
            let source = files.source(options, "s STRING", "s STRING");
            let mut split = source.splits(1).await.unwrap().remove(0);
            let (mut found, mut batches) = (Vec::new(), 0);
            loop {
                let mut reader = source.open(&split).await.unwrap();
                let Read::Rows(batch) = reader.read().await.unwrap() else { break };
                assert!(batch.num_rows() <= batch_rows, "{name}: {}", batch.num_rows());
                found.extend(rows_as_text(&batch));
                split.position = reader.position();
                batches += 1;
            }
            let text = "a\"\n\\é,".repeat(bytes / 7 + 1);
            let expected = (0..rows).map(|row| format!("{row}{text}"));
            assert!(found.into_iter().eq(expected), "{name}");
            assert!(batches > 1, "{name}");
        }
    }
}

#[tokio::test]
async fn a_byte_order_mark_is_no_part_of_json() {
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut zipped, "\u{feff}{\"n\":1}\n{\"n\":2}".as_bytes()).unwrap();
    let files = Files::new(&[
        ("t/a.json", "\u{feff}{\"n\":1}\n{\"n\":2}\n".as_bytes()),
        ("t/b.json.gz", &zipped.finish().unwrap()),
        ("t/c.json", "\u{feff}".as_bytes()),
        ("t/d.json", b""),
    ]);
    assert_eq!(files.rows(JSON, "n INT").await.unwrap(), ["1", "2", "1", "2"]);
}
