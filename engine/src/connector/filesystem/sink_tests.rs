//! Tables of files, written and read back.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

use super::testing::{Table, after, id, last};
use crate::batch::Batch;
use crate::connector::Sink;
use crate::format::testing::{rows_as_text, schema};
use crate::graph::{ChangelogMode, JobGraph, JobSettings, SinkSpec, SinkTarget, Stage};
use crate::task::run_local;
use crate::time::Watermark;
use crate::{Epoch, JobId, OperatorId, StageId};

const COLUMNS: &str = "n BIGINT, s STRING, at TIMESTAMP, p DECIMAL, b BOOLEAN, d DATE, f DOUBLE";
const ROWS: [&str; 3] = [
    "1|a, \"b\"|2001-01-01T00:00:00|1.50|true|2001-01-01|0.5",
    "2|é|1969-12-31T23:59:59.999|-0.01|false|1969-12-31|1e300",
    "NULL|NULL|NULL|NULL|NULL|NULL|NULL",
];

#[tokio::test]
async fn rows_survive_in_every_format() {
    let cases: [&[(&str, &str)]; 6] = [
        &[("format", "csv")],
        &[("format", "csv"), ("csv.header", "false"), ("csv.field-delimiter", ";")],
        &[("format", "csv"), ("compression", "gzip"), ("csv.null-literal", "null")],
        &[("format", "json")],
        &[("format", "json"), ("compression", "zstd")],
        &[("format", "parquet")],
    ];
    for options in cases {
        let table = Table::new(COLUMNS, options);
        table.append("j", &ROWS).await;
        let mut expected = rows_as_text(table.batch(&ROWS).rows());
        expected.sort();
        assert_eq!(table.rows().await, expected, "{options:?}");
    }
}

#[tokio::test]
async fn text_is_written_as_people_expect() {
    let table = Table::new(COLUMNS, &[("format", "csv")]);
    table.append("j", &ROWS[..2]).await;
    let (name, content) = table.files().pop().unwrap();
    assert_eq!(name, "part-j-1-1-0-0-0.csv");
    assert_eq!(
        content,
        "n,s,at,p,b,d,f\n\
         1,\"a, \"\"b\"\"\",2001-01-01 00:00:00.000,1.50,true,2001-01-01,0.5\n\
         2,é,1969-12-31 23:59:59.999,-0.01,false,1969-12-31,1e300\n"
    );
    let table = Table::new("n BIGINT, at TIMESTAMP, s STRING", &[("format", "json")]);
    table.append("j", &["1|2001-01-01T00:00:00|NULL"]).await;
    let (_, content) = table.files().pop().unwrap();
    assert_eq!(content, "{\"n\":1,\"at\":\"2001-01-01 00:00:00.000\",\"s\":null}\n");
}

#[tokio::test]
async fn nothing_is_visible_before_its_commit() {
    let table = Table::csv();
    table.append("one", &["1"]).await;
    let sink = table.sink();
    let ready = table.stage(&sink, "two-1-1-0", &["2", "3"]).await;
    assert_eq!(table.rows().await, ["1"]);
    sink.commit(&last("two", 1), &ready).await.unwrap();
    assert_eq!(table.rows().await, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_commit_happens_once() {
    let table = Table::csv();
    let sink = table.sink();
    let first = table.stage(&sink, "j-1-1-0", &["1"]).await;
    sink.commit(&id("j", 1, 1, false), &first).await.unwrap();
    let second = table.stage(&sink, "j-2-1-0", &["2"]).await;
    // A new generation repeats the checkpoint that it was restored from.
    let restarted = table.sink();
    restarted.commit(&id("j", 1, 1, false), &first).await.unwrap();
    restarted.commit(&id("j", 2, 2, true), &second).await.unwrap();
    restarted.commit(&id("j", 2, 2, true), &second).await.unwrap();
    assert_eq!(table.rows().await, ["1", "2"]);
    let commits = table.names().into_iter().filter(|name| name.starts_with("_commits")).count();
    assert_eq!(commits, 3, "the first one and one for each epoch: {:?}", table.names());
}

#[tokio::test]
async fn a_commit_that_was_interrupted_is_completed() {
    let table = Table::csv();
    let sink = table.sink();
    let mut writer = sink.writer(0, "j-1-1-0").await.unwrap();
    writer.write(table.batch(&["1"])).await.unwrap();
    let mut ready = writer.prepare(Epoch(1), Some(Watermark::MIN)).await.unwrap();
    writer.write(table.batch(&["2"])).await.unwrap();
    ready.extend(writer.prepare(Epoch(1), Some(Watermark::MIN)).await.unwrap());
    sink.commit(&id("j", 1, 0, false), &[]).await.unwrap();
    // The first file has been moved, and then the committer died.
    let root = table.directory.path().join("t");
    let staged = root.join("_staging/0000000000000001/j-1-1-0/j-1-1-0-0-0.csv");
    std::fs::rename(staged, root.join("part-j-1-1-0-0-0.csv")).unwrap();
    sink.commit(&last("j", 1), &ready).await.unwrap();
    assert_eq!(table.rows().await, ["1", "2"]);
}

#[tokio::test]
async fn what_was_published_after_a_checkpoint_is_taken_back() {
    let table = Table::csv();
    table.append("other", &["0"]).await;
    let sink = table.sink();
    for (epoch, row) in [(1, "1"), (2, "2"), (3, "3")] {
        let ready = table.stage(&sink, &format!("j-1-1-{epoch}"), &[row]).await;
        sink.commit(&id("j", 1, epoch, epoch == 3), &ready).await.unwrap();
    }
    for _ in 0..2 {
        sink.roll_back(&id("j", 2, 1, false)).await.unwrap();
    }
    assert_eq!(table.rows().await, ["0", "1"]);
    assert_eq!(table.names().iter().filter(|name| name.starts_with("part-")).count(), 2);
    let ready = table.stage(&sink, "j-2-1-0", &["2"]).await;
    sink.commit(&id("j", 2, 4, true), &ready).await.unwrap();
    assert_eq!(table.rows().await, ["0", "1", "2"]);
}

#[tokio::test]
async fn rolling_back_keeps_the_files_of_a_table_without_commits() {
    let table = Table::csv();
    std::fs::create_dir_all(table.directory.path().join("t")).unwrap();
    std::fs::write(table.directory.path().join("t/by-hand.csv"), "a\n0\n").unwrap();
    table.sink().roll_back(&id("j", 2, 1, false)).await.unwrap();
    table.append("j", &["1"]).await;
    assert_eq!(table.rows().await, ["0", "1"]);
}

#[tokio::test]
async fn two_sinks_of_a_job_write_one_table() {
    let table = Table::csv();
    let sinks = [table.sink_numbered(1, false), table.sink_numbered(2, false)];
    let ready = [
        table.stage(&sinks[0], "j-1-1-0", &["1"]).await,
        table.stage(&sinks[1], "j-1-1-1", &["2"]).await,
    ];
    for (sink, ready) in sinks.iter().zip(&ready) {
        sink.commit(&last("j", 1), ready).await.unwrap();
    }
    assert_eq!(table.rows().await, ["1", "2"]);
}

#[tokio::test]
async fn jobs_that_append_at_once_lose_nothing() {
    let table = Table::csv();
    let appends = (0..12).map(|number| {
        let table = &table;
        async move { table.append(&format!("job{number}"), &[number.to_string().as_str()]).await }
    });
    futures::future::join_all(appends).await;
    let mut expected = (0..12).map(|number| number.to_string()).collect::<Vec<_>>();
    expected.sort();
    assert_eq!(table.rows().await, expected);
}

#[tokio::test]
async fn files_that_were_there_stay() {
    let table = Table::csv();
    std::fs::create_dir_all(table.directory.path().join("t")).unwrap();
    std::fs::write(table.directory.path().join("t/by-hand.csv"), "a\n0\n").unwrap();
    table.append("j", &["1"]).await;
    assert_eq!(table.rows().await, ["0", "1"]);
}

#[tokio::test]
async fn an_overwrite_shows_all_epochs_at_its_end() {
    let table = Table::csv();
    table.append("old", &["1", "2"]).await;
    let sink = table.overwriting();
    let first = table.stage(&sink, "new-1-1-0", &["3"]).await;
    sink.commit(&id("new", 1, 1, false), &first).await.unwrap();
    let lost = table.stage(&sink, "new-1-1-0x", &["99"]).await;
    sink.commit(&id("new", 1, 2, false), &lost).await.unwrap();
    assert_eq!(table.rows().await, ["1", "2"]);
    // Restored from epoch 1, so what epoch 2 made ready is made again.
    let sink = table.overwriting();
    sink.commit(&id("new", 1, 1, false), &first).await.unwrap();
    let second = table.stage(&sink, "new-2-1-0", &["4"]).await;
    sink.commit(&after("new", 2, 3, false, &[(1, 1)]), &second).await.unwrap();
    let third = table.stage(&sink, "new-2-2-0", &["5"]).await;
    sink.commit(&after("new", 2, 4, true, &[(1, 1)]), &third).await.unwrap();
    assert_eq!(table.rows().await, ["3", "4", "5"]);
    sink.commit(&after("new", 2, 4, true, &[(1, 1)]), &third).await.unwrap();
    assert_eq!(table.rows().await, ["3", "4", "5"]);
    let parts = table.names().into_iter().filter(|name| name.starts_with("part-"));
    assert_eq!(
        parts.collect::<Vec<_>>(),
        ["part-new-1-1-0-0-0.csv", "part-new-2-1-0-0-0.csv", "part-new-2-2-0-0-0.csv"]
    );
}

#[tokio::test]
async fn an_overwrite_started_anew_publishes_nothing_of_the_run_before() {
    let table = Table::csv();
    let sink = table.overwriting();
    for (epoch, row) in [(1, "1"), (2, "2")] {
        let ready = table.stage(&sink, &format!("j-1-{epoch}-0"), &[row]).await;
        sink.commit(&id("j", 1, epoch, false), &ready).await.unwrap();
    }
    let again = table.stage(&sink, "j-2-1-0", &["1"]).await;
    sink.commit(&id("j", 2, 3, false), &again).await.unwrap();
    let rest = table.stage(&sink, "j-2-2-0", &["2", "3"]).await;
    sink.commit(&id("j", 2, 4, true), &rest).await.unwrap();
    assert_eq!(table.rows().await, ["1", "2", "3"]);
    let left = table.names().into_iter().filter(|name| !name.starts_with("part-"));
    let left = left.filter(|name| name.contains("_held") || name.contains("_staging"));
    assert_eq!(left.collect::<Vec<_>>(), [""; 0], "the run before is cleaned up after");
}

#[tokio::test]
async fn a_commit_of_an_older_run_that_comes_late_leaves_the_new_run_alone() {
    let table = Table::csv();
    let sink = table.overwriting();
    let old = table.stage(&sink, "j-1-1-0", &["1"]).await;
    let first = table.stage(&sink, "j-2-1-0", &["1"]).await;
    sink.commit(&id("j", 2, 5, false), &first).await.unwrap();
    let second = table.stage(&sink, "j-2-2-0", &["2"]).await;
    // The old run's master wakes up, once with a commit in the middle and once with the last.
    sink.commit(&id("j", 1, 2, false), &old).await.unwrap();
    sink.commit(&id("j", 1, 3, true), &old).await.unwrap();
    sink.commit(&id("j", 2, 6, true), &second).await.unwrap();
    assert_eq!(table.rows().await, ["1", "2"]);
    // After the end it does not bring its rows back either.
    let late = table.stage(&sink, "j-1-2-0", &["99"]).await;
    sink.commit(&id("j", 1, 4, true), &late).await.unwrap();
    assert_eq!(table.rows().await, ["1", "2"]);
}

#[tokio::test]
async fn the_last_commit_of_an_older_run_keeps_what_a_new_run_has_staged() {
    let table = Table::csv();
    let sink = table.sink();
    let new = table.stage(&sink, "j-2-1-0", &["2"]).await;
    let old = table.stage(&sink, "j-1-1-0", &["1"]).await;
    sink.commit(&id("j", 1, 1, true), &old).await.unwrap();
    sink.commit(&id("j", 2, 2, true), &new).await.unwrap();
    assert_eq!(table.rows().await, ["1", "2"]);
}

#[tokio::test]
async fn an_overwrite_with_nothing_empties_the_table() {
    let table = Table::csv();
    table.append("old", &["1"]).await;
    table.overwriting().commit(&last("new", 1), &[]).await.unwrap();
    assert_eq!(table.rows().await, [""; 0]);
    table.append("more", &["2"]).await;
    assert_eq!(table.rows().await, ["2"]);
}

#[tokio::test]
async fn a_table_that_got_no_rows_is_empty_and_not_missing() {
    let table = Table::csv();
    table.append("j", &[]).await;
    assert_eq!(table.rows().await, [""; 0]);
}

#[tokio::test]
async fn what_dead_attempts_staged_is_removed_at_the_end() {
    let table = Table::csv();
    let sink = table.sink();
    let _lost = table.stage(&sink, "j-1-1-0", &["9"]).await;
    let _other = table.stage(&sink, "j-other-1-1-0", &["8"]).await;
    let ready = table.stage(&sink, "j-1-2-0", &["1"]).await;
    sink.commit(&last("j", 1), &ready).await.unwrap();
    let staged = table.names().into_iter().filter(|name| name.starts_with("_staging"));
    let staged = staged.collect::<Vec<_>>();
    assert_eq!(staged, ["_staging/0000000000000001/j-other-1-1-0/j-other-1-1-0-0-0.csv"]);
}

#[tokio::test]
async fn partitions_become_folders() {
    for format in ["csv", "json", "parquet"] {
        let mut table = Table::new("day DATE, a INT, at STRING", &[("format", format)]);
        table.partition_by = vec![0, 2];
        let rows = ["2001-01-01|1|10:00", "2001-01-02|2|10:00", "2001-01-01|3|10:00", "NULL|4|x=y"];
        table.append("j", &rows).await;
        let mut expected = rows.map(str::to_owned);
        expected.sort();
        assert_eq!(table.rows().await, expected, "{format}");
        let folders = table.names().into_iter().filter(|name| name.starts_with("day="));
        let folders = folders.map(|name| name.rsplit_once('/').unwrap().0.to_owned());
        assert_eq!(
            folders.collect::<Vec<_>>(),
            [
                "day=2001-01-01/at=10%3A00",
                "day=2001-01-02/at=10%3A00",
                "day=__HIVE_DEFAULT_PARTITION__/at=x%3Dy",
            ]
        );
    }
}

#[tokio::test]
async fn more_partitions_than_open_files_are_written() {
    let mut table = Table::new("k INT, a INT", &[("format", "csv")]);
    table.partition_by = vec![0];
    let rows = (0..200).map(|n| format!("{}|{n}", n % 50)).collect::<Vec<_>>();
    let rows = rows.iter().map(String::as_str).collect::<Vec<_>>();
    table.append("j", &rows).await;
    let mut expected = rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>();
    expected.sort();
    assert_eq!(table.rows().await, expected);
}

#[tokio::test]
async fn a_file_of_the_wanted_size_is_followed_by_another() {
    let table =
        Table::new("a INT", &[("format", "csv"), ("sink.rolling-policy.file-size", "10 b")]);
    let sink = table.sink();
    let mut writer = sink.writer(0, "j-1-1-0").await.unwrap();
    for row in ["100000", "2", "300000", "4"] {
        writer.write(table.batch(&[row])).await.unwrap();
    }
    let ready = writer.prepare(Epoch(1), Some(Watermark::MIN)).await.unwrap();
    assert_eq!(ready.len(), 2, "{ready:?}");
    sink.commit(&last("j", 1), &ready).await.unwrap();
    assert_eq!(table.rows().await, ["100000", "2", "300000", "4"]);
}

#[tokio::test]
async fn rows_within_rows_survive() {
    for format in ["json", "parquet"] {
        let table = Table::new("a INT, r ROW", &[("format", format)]);
        let source = Table::new("a INT, x BIGINT, y STRING", &[("format", format)]);
        let (rows, _) = source.batch(&["1|10|p", "2|NULL|NULL", "3|30|NULL"]).into_parts();
        let DataType::Struct(fields) = table.schema.field(1).data_type().clone() else { panic!() };
        let nulls = NullBuffer::from(vec![true, false, true]);
        let inner = StructArray::new(fields, rows.columns()[1..].to_vec(), Some(nulls));
        let columns: Vec<ArrayRef> = vec![Arc::clone(rows.column(0)), Arc::new(inner)];
        let rows = RecordBatch::try_new(Arc::clone(&table.schema), columns).unwrap();
        let sink = table.sink();
        let mut writer = sink.writer(0, "j-1-1-0").await.unwrap();
        writer.write(Batch::insert(rows.clone())).await.unwrap();
        let ready = writer.prepare(Epoch(1), Some(Watermark::MIN)).await.unwrap();
        sink.commit(&last("j", 1), &ready).await.unwrap();
        assert_eq!(table.rows().await, rows_as_text(&rows), "{format}");
        let narrow = Table { schema: schema("r ROWY"), ..table };
        assert_eq!(narrow.rows().await, ["NULL", "{y: NULL}", "{y: p}"], "{format}");
    }
}

#[tokio::test]
async fn a_job_copies_a_table() {
    let from = Table::csv();
    for job in ["a", "b", "c"] {
        from.append(job, &["1", "2"]).await;
    }
    let connector = |path: &str| {
        let options = [("path", path), ("format", "parquet")];
        options.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let target = SinkTarget::Connector {
        connector: "filesystem".to_owned(),
        options: connector("file:///copy"),
        overwrite: true,
        partition_by: Vec::new(),
        primary_key: Vec::new(),
    };
    let sink = SinkSpec {
        id: OperatorId(7),
        table: "copy".to_owned(),
        target,
        schema: schema("b INT"),
        changelog: ChangelogMode::AppendOnly,
        upsert_key: None,
    };
    let stage = Stage {
        id: StageId(0),
        parallelism: 2,
        source: Some(from.source_spec()),
        chain: Vec::new(),
        sink: Some(sink),
    };
    let settings = JobSettings::default();
    let graph = Arc::new(JobGraph { stages: vec![stage], edges: Vec::new(), settings });
    run_local(JobId::new("copy"), graph, from.context()).await.unwrap();
    let copied = Table {
        schema: schema("b INT"),
        options: Vec::from_iter(connector("file:///copy")),
        ..from
    };
    assert_eq!(copied.rows().await, ["1", "1", "1", "2", "2", "2"]);
}

#[tokio::test]
async fn large_files_are_uploaded_in_parts() {
    let table = Table::new("n BIGINT, s STRING", &[("format", "csv")]);
    let sink = table.sink();
    let mut writer = sink.writer(0, "j-1-1-0").await.unwrap();
    let long = "x".repeat(200);
    let rows = (0..5000).map(|n| format!("{n}|{long}")).collect::<Vec<_>>();
    let rows = rows.iter().map(String::as_str).collect::<Vec<_>>();
    for _ in 0..20 {
        writer.write(table.batch(&rows)).await.unwrap();
    }
    let ready = writer.prepare(Epoch(1), Some(Watermark::MIN)).await.unwrap();
    sink.commit(&last("j", 1), &ready).await.unwrap();
    assert_eq!(table.rows().await.len(), 100_000);
}

#[tokio::test]
async fn what_cannot_be_written_is_refused() {
    let table = Table::csv();
    std::fs::write(table.directory.path().join("t"), "a\n").unwrap();
    let error = table.sink().writer(0, "j").await.err().unwrap();
    assert_eq!(error.to_string(), "'file:///t' is a file, a directory is written");
    let mut table = Table::csv();
    table.options[0].1 = "file:///*.csv".to_owned();
    let error = table.sink().writer(0, "j").await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "'file:///*.csv' cannot be written: it is a pattern in which '*' stands for any characters; \
            a '*' that is part of a name is written %2A"
    );
}

#[test]
fn batches_of_the_tests_are_what_they_say() {
    let table = Table::new("n BIGINT, s STRING", &[("format", "csv")]);
    let batch = table.batch(&["1|a", "NULL|NULL"]);
    assert!(batch.column(1).as_string_view().value(0) == "a" && batch.column(0).null_count() == 1);
}
