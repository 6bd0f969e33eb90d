//! Files that are followed by others, and marks of partitions.

use std::sync::Arc;

use super::testing::{Table, id, last};
use crate::Epoch;
use crate::connector::{ConnectorContext, Sink};
use crate::time::{SimulatedClock, Watermark};

fn marked() -> Table {
    let options = [("format", "csv"), ("sink.partition-commit.policy.kind", "success-file")];
    let mut table = Table::new("day STRING, a INT", &options);
    table.partition_by = vec![0];
    table
}

fn marks(table: &Table) -> Vec<String> {
    table.names().into_iter().filter(|name| name.ends_with("/_SUCCESS")).collect()
}

#[tokio::test]
async fn partitions_are_marked_once_their_rows_are_published() {
    let table = marked();
    let sink = table.sink();
    let first = table.stage(&sink, "j-1-1-0", &["a:b|1", "NULL|2"]).await;
    assert!(marks(&table).is_empty());
    sink.commit(&id("j", 1, 1, false), &first).await.unwrap();
    let expected = ["day=__HIVE_DEFAULT_PARTITION__/_SUCCESS", "day=a%3Ab/_SUCCESS"];
    assert_eq!(marks(&table), expected);
    // A repetition makes up for a mark that was not put any more.
    std::fs::remove_file(table.directory.path().join("t").join(expected[1])).unwrap();
    sink.commit(&id("j", 1, 1, false), &first).await.unwrap();
    assert_eq!(marks(&table), expected);
    let second = table.stage(&sink, "j-1-1-1", &["c|3"]).await;
    sink.commit(&last("j", 2), &second).await.unwrap();
    assert_eq!(marks(&table).len(), 3);
    assert_eq!(table.rows().await, ["NULL|2", "a:b|1", "c|3"]);
}

#[tokio::test]
async fn overwritten_partitions_are_marked_at_the_end() {
    let table = marked();
    let sink = table.overwriting();
    let first = table.stage(&sink, "j-1-1-0", &["a|1"]).await;
    sink.commit(&id("j", 1, 1, false), &first).await.unwrap();
    assert!(marks(&table).is_empty());
    sink.commit(&last("j", 2), &[]).await.unwrap();
    assert_eq!(marks(&table), ["day=a/_SUCCESS"]);
}

#[tokio::test]
async fn a_file_that_was_begun_long_ago_is_followed_by_another() {
    let options = [("format", "csv"), ("sink.rolling-policy.rollover-interval", "1 min")];
    let table = Table::new("a INT", &options);
    let clock = Arc::new(SimulatedClock::new(0));
    let context = ConnectorContext { clock: clock.clone(), ..table.context() };
    let sink = table.sink_in(&context, 1, false);
    let mut writer = sink.writer(0, "j-1-1-0").await.unwrap();
    for (time, row) in [(0, "1"), (59_999, "2"), (60_000, "3"), (90_000, "4"), (120_000, "5")] {
        clock.advance_to(time);
        writer.write(table.batch(&[row])).await.unwrap();
    }
    assert_eq!(writer.prepare(Epoch(1), Some(Watermark::MIN)).await.unwrap().len(), 3);
}

#[tokio::test]
async fn escaped_texts_are_read_back() {
    let rows = ["{\"k\":\"\\\\\"}|1", "a, b|2", "\\N|3", "NULL|4"];
    let table = Table::new("s STRING, a INT", &[("format", "csv"), ("csv.escape-character", "\\")]);
    table.append("j", &rows).await;
    let mut expected = rows;
    expected.sort_unstable();
    assert_eq!(table.rows().await, expected);
}
