//! Partitions that are marked as time goes on.

use std::sync::Arc;

use super::FilesystemSink;
use super::testing::{Table, after, id, last};
use crate::Epoch;
use crate::connector::{Committable, ConnectorContext, Sink};
use crate::time::{SimulatedClock, Watermark};

const HOUR: i64 = 3_600_000;

fn table(options: &[(&str, &str)]) -> Table {
    let all = [("format", "csv"), ("sink.partition-commit.policy.kind", "success-file")];
    let mut table = Table::new("day STRING, a INT", &[&all, options].concat());
    table.partition_by = vec![0];
    table
}

fn by_partition_time() -> Table {
    table(&[
        ("sink.partition-commit.trigger", "partition-time"),
        ("sink.partition-commit.delay", "1 h"),
        ("partition.time-extractor.timestamp-pattern", "1970-01-$day 00:00:00"),
    ])
}

/// Stages rows of one writer, and says how far the watermark is.
async fn ready(
    table: &Table,
    sink: &FilesystemSink,
    attempt: &str,
    rows: &[&str],
    watermark: impl Into<Option<i64>>,
) -> Vec<Committable> {
    let mut writer = sink.writer(0, attempt).await.unwrap();
    if !rows.is_empty() {
        writer.write(table.batch(rows)).await.unwrap();
    }
    writer.prepare(Epoch(1), watermark.into().map(Watermark)).await.unwrap()
}

fn marks(table: &Table) -> Vec<String> {
    let names = table.names().into_iter();
    names.filter_map(|name| name.strip_suffix("/_SUCCESS").map(str::to_owned)).collect()
}

#[tokio::test]
async fn partitions_are_marked_when_the_watermark_has_passed_their_time_and_the_delay() {
    let table = by_partition_time();
    let sink = table.sink();
    let mut first = ready(&table, &sink, "j-1-1-0", &["1|1", "2|2"], 30 * HOUR).await;
    first.extend(ready(&table, &sink, "j-1-1-1", &["1|3"], HOUR).await);
    sink.commit(&id("j", 1, 1, false), &first).await.unwrap();
    assert!(marks(&table).is_empty(), "the slower writer counts, and rows of its time may come");
    let second = ready(&table, &sink, "j-1-1-2", &[], HOUR + 1).await;
    sink.commit(&id("j", 1, 2, false), &second).await.unwrap();
    assert_eq!(marks(&table), ["day=1"]);
    // A late row marks its partition again, as it is published.
    std::fs::remove_file(table.directory.path().join("t/day=1/_SUCCESS")).unwrap();
    let third = ready(&table, &sink, "j-1-1-3", &["1|4"], HOUR + 2).await;
    sink.commit(&id("j", 1, 3, false), &third).await.unwrap();
    assert_eq!(marks(&table), ["day=1"]);
    let fourth = ready(&table, &sink, "j-1-1-4", &["3|5", "NULL|6"], 25 * HOUR + 1).await;
    sink.commit(&id("j", 1, 4, false), &fourth).await.unwrap();
    assert_eq!(marks(&table), ["day=1", "day=2"]);
    sink.commit(&last("j", 5), &[]).await.unwrap();
    let all = ["day=1", "day=2", "day=3", "day=__HIVE_DEFAULT_PARTITION__"];
    assert_eq!(marks(&table), all, "all are complete at the end");
}

#[tokio::test]
async fn a_writer_that_is_idle_holds_no_partition_back() {
    let table = by_partition_time();
    let sink = table.sink();
    let ended = Watermark::MAX.0;
    for (epoch, (rows, times, expected)) in (1..).zip([
        (&["1|1", "2|2"][..], [Some(0), None], &[][..]),
        (&[], [None, None], &[]),
        (&["3|3"], [None, None], &[]),
        (&[], [None, Some(HOUR + 1)], &["day=1"]),
        (&[], [Some(2 * HOUR), Some(40 * HOUR)], &["day=1"]),
        // One that is idle may have rows again, though the other one has ended.
        (&[], [Some(ended), None], &["day=1"]),
        (&[], [Some(ended), Some(30 * HOUR)], &["day=1", "day=2"]),
        (&[], [Some(ended), Some(ended)], &["day=1", "day=2", "day=3"]),
    ]) {
        let mut all = ready(&table, &sink, &format!("j-1-1-{epoch}"), rows, times[0]).await;
        all.extend(ready(&table, &sink, &format!("j-1-2-{epoch}"), &[], times[1]).await);
        sink.commit(&id("j", 1, epoch, false), &all).await.unwrap();
        assert_eq!(marks(&table), expected, "at {epoch}");
    }
}

#[tokio::test]
async fn nothing_is_marked_where_nobody_knows_the_time() {
    let table = by_partition_time();
    let sink = table.sink();
    let first = ready(&table, &sink, "j-1-1-0", &["1|1"], None).await;
    sink.commit(&id("j", 1, 1, false), &first).await.unwrap();
    sink.commit(&id("j", 1, 2, false), &[]).await.unwrap();
    assert!(marks(&table).is_empty());
    sink.commit(&last("j", 3), &[]).await.unwrap();
    assert_eq!(marks(&table), ["day=1"]);
}

#[tokio::test]
async fn a_job_that_goes_on_marks_what_it_had_published_before() {
    let table = by_partition_time();
    let sink = table.sink();
    let first = ready(&table, &sink, "j-1-1-0", &["1|1"], 0).await;
    sink.commit(&id("j", 1, 1, false), &first).await.unwrap();
    let lost = ready(&table, &sink, "j-1-1-1", &["2|2"], 0).await;
    sink.commit(&id("j", 1, 2, false), &lost).await.unwrap();
    sink.roll_back(&after("j", 2, 1, false, &[(1, 1)])).await.unwrap();
    let second = ready(&table, &sink, "j-2-1-0", &[], 30 * HOUR).await;
    sink.commit(&after("j", 2, 2, false, &[(1, 1)]), &second).await.unwrap();
    assert_eq!(marks(&table), ["day=1"], "what was taken back is not marked");
    // A run that begins anew marks its own partitions, though those of the last had all ended.
    sink.commit(&after("j", 2, 3, true, &[(1, 1)]), &[]).await.unwrap();
    let anew = ready(&table, &sink, "j-3-1-0", &["5|1"], 0).await;
    sink.commit(&id("j", 3, 4, false), &anew).await.unwrap();
    assert_eq!(marks(&table), ["day=1"]);
    let later = ready(&table, &sink, "j-3-1-1", &[], 98 * HOUR).await;
    sink.commit(&id("j", 3, 5, false), &later).await.unwrap();
    assert_eq!(marks(&table), ["day=1", "day=5"]);
}

#[tokio::test]
async fn by_the_clock_partitions_are_marked_so_long_after_their_first_rows() {
    let table = table(&[("sink.partition-commit.delay", "1 h")]);
    let clock = Arc::new(SimulatedClock::new(0));
    let context = ConnectorContext { clock: clock.clone(), ..table.context() };
    let sink = table.sink_in(&context, 1, false);
    for (epoch, (time, rows, expected)) in (1..).zip([
        (0, &["a|1"][..], &[][..]),
        (HOUR, &["a|2", "b|3"], &[]),
        (HOUR + 1, &[], &["day=a"]),
        (2 * HOUR + 1, &[], &["day=a", "day=b"]),
    ]) {
        clock.advance_to(time);
        let ready = ready(&table, &sink, &format!("j-1-1-{epoch}"), rows, 0).await;
        sink.commit(&id("j", 1, epoch, false), &ready).await.unwrap();
        assert_eq!(marks(&table), expected, "at {time}");
    }
}

#[tokio::test]
async fn a_partition_that_names_no_time_is_told_as_it_is_written() {
    let table = by_partition_time();
    let mut writer = table.sink().writer(0, "j-1-1-0").await.unwrap();
    let error = writer.write(table.batch(&["x|1"])).await.unwrap_err().to_string();
    assert!(error.starts_with("partition 'day=x': '1970-01-x 00:00:00' is no time"), "{error}");
}
