//! Queries that went wrong once, each with what it emits before the end and by the end.

use super::engine::{Changes, Emitted, plan, run};
use super::on_thread;
use super::value::Value;

/// Two batches, a second apart, and then an open end for almost an hour.
fn table(name: &str, columns: &str, first: &[&str], second: &[&str]) -> String {
    let rows = format!("{}\n\n{}", first.join("\n"), second.join("\n"));
    format!(
        "CREATE TABLE {name} ({columns}, pt AS PROCTIME(), WATERMARK FOR ts AS ts) WITH (
           'connector' = 'values', 'bounded' = 'false', 'first-batch-after-ms' = '250',
           'batch-interval-ms' = '1000', 'stays-open-ms' = '3598750', 'rows' = '\n{rows}');\n"
    )
}

/// Rows of `a` in the first windows, and one that ends them.
fn readings() -> String {
    let first = [
        r#"{"k": 1, "v": 5, "ts": "2024-01-01 00:00:01.000"}"#,
        r#"{"k": 1, "v": 7, "ts": "2024-01-01 00:00:03.000"}"#,
        r#"{"k": 2, "v": 1, "ts": "2024-01-01 00:00:03.000"}"#,
    ];
    let second = [r#"{"k": 9, "v": 9, "ts": "2024-01-01 00:00:20.000"}"#];
    table("a", "k BIGINT, v BIGINT, ts TIMESTAMP(3)", &first, &second)
}

fn net(changes: &Changes) -> Vec<String> {
    let mut counts = std::collections::BTreeMap::<String, i64>::new();
    for (row, weight) in changes {
        let row = row.iter().map(Value::to_string).collect::<Vec<_>>().join(" ");
        *counts.entry(row).or_default() += weight;
    }
    counts.retain(|_, count| *count != 0);
    counts.into_iter().map(|(row, count)| format!("{count} x {row}")).collect()
}

/// Checks what a query has emitted before the end of its input, and by then.
fn check(script: String, before: &[&'static str], end: &[&'static str]) {
    let (before, end) = (before.to_vec(), end.to_vec());
    let checked = on_thread(move || {
        for parallelism in [1, 3] {
            let graph = plan(&script, parallelism).expect("a query that is planned");
            let Emitted { mut before_end, at_end } = run(graph).expect("a job that ends");
            assert_eq!(net(&before_end), before, "before the end, {parallelism} tasks");
            before_end.extend(at_end);
            assert_eq!(net(&before_end), end, "at the end, {parallelism} tasks");
        }
    });
    checked.join().expect("the rows that it has to emit");
}

/// What a watermark brings reaches an operator that gathers changes in the same task.
#[test]
fn an_aggregate_of_window_results_is_shown_when_a_window_fires() {
    let query = "SELECT k, COUNT(*), SUM(n) FROM (
      SELECT k, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '2' SECOND))
      GROUP BY window_start, window_end, k) AS w GROUP BY k;";
    check(
        readings() + query,
        &["1 x 1 2 2", "1 x 2 1 1"],
        &["1 x 1 2 2", "1 x 2 1 1", "1 x 9 1 1"],
    );
}

#[test]
fn a_window_fires_before_the_end_once_the_watermark_has_passed_it() {
    let query = "SELECT window_end, COUNT(*) FROM
      TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '2' SECOND)) GROUP BY window_start, window_end;";
    let first = "1 x 2024-01-01 00:00:02.000000 1";
    let second = "1 x 2024-01-01 00:00:04.000000 2";
    let last = "1 x 2024-01-01 00:00:22.000000 1";
    check(readings() + query, &[first, second], &[first, second, last]);
}
