//! Job graphs of whole scripts.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::util::display::array_value_to_string;
use rainstorm_engine::time::{ClockRef, SimulatedClock};

use super::{graph_text, written};
use crate::Planner;
use crate::error::SqlErrors;
use crate::script::{Script, Step};
use crate::session::Session;

const SOURCE: &str = include_str!("../../../sql-examples/nexmark/source.sql");

fn plan(text: &str, parallelism: usize) -> Result<Vec<Step>, SqlErrors> {
    let clock: ClockRef = Arc::new(SimulatedClock::new(0));
    let variables = [("EVENTS", "1000"), ("OUTPUT", "file:///out"), ("SIDE", "file:///side.csv")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let text = format!("SET 'parallelism.default' = '{parallelism}';\n{text}");
    let script = Script { text, base_directory: "/base".to_owned(), variables: variables.into() };
    Planner::new(&clock).plan(&mut Session::default(), &script)
}

fn graphs(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Job(job) => {
                let ends = if job.bounded { "bounded" } else { "endless" };
                let _ = writeln!(text, "Job ({ends})\n{}", graph_text(&job.graph));
                for warning in &job.warnings {
                    let _ = writeln!(text, "Warning: {warning}");
                }
            }
            Step::Batch { query, .. } => {
                let _ = writeln!(text, "Batch\n{}", written(&query.plan).display_indent());
            }
            _ => {}
        }
    }
    text
}

/// Returns the graphs of a script after Nexmark's source, two subtasks to a stage.
fn nexmark(query: &str) -> String {
    match plan(&format!("{SOURCE}\n{query}"), 2) {
        Ok(steps) => graphs(&steps),
        Err(errors) => format!("ERROR {errors:?}"),
    }
}

/// Returns the complaints about a script after Nexmark's source.
fn complaints(query: &str) -> String {
    match plan(&format!("{SOURCE}{TABLES}{query}"), 2) {
        Ok(steps) => format!("planned:\n{}", graphs(&steps)),
        Err(errors) => {
            let lines = errors.0.iter().map(|error| {
                let help = error.help.as_deref().map(|help| format!(" ({help})"));
                format!("[{}] {}{}", error.code, error.message, help.unwrap_or_default())
            });
            lines.collect::<Vec<_>>().join("\n")
        }
    }
}

/// Returns the graphs of a script after Nexmark's source and the tables below.
fn graph(query: &str) -> String {
    nexmark(&format!("{TABLES}{query}"))
}

const TABLES: &str = "
CREATE TABLE files (a INT, b VARCHAR, c TIMESTAMP(3))
WITH ('connector' = 'filesystem', 'path' = 'files', 'format' = 'csv');
CREATE TABLE endless (k BIGINT, v BIGINT, ts TIMESTAMP(3), p AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
WITH ('connector' = 'datagen', 'rows-per-second' = '1');
CREATE TABLE printed (k BIGINT, v BIGINT) WITH ('connector' = 'print');
";

macro_rules! nexmark_queries {
    ($($name:ident: $file:literal,)*) => {$(
        #[test]
        fn $name() {
            let query = include_str!(concat!("../../../sql-examples/nexmark/", $file));
            insta::assert_snapshot!(nexmark(query));
        }
    )*};
}

nexmark_queries! {
    q0: "q0.sql",
    q1: "q1.sql",
    q2: "q2.sql",
    q5: "q5.sql",
    q7: "q7.sql",
    q8: "q8.sql",
    q10: "q10.sql",
    q12: "q12.sql",
    q13: "q13.sql",
    q14: "q14.sql",
    q17: "q17.sql",
    q21: "q21.sql",
    q22: "q22.sql",
}

#[test]
fn flights() {
    let steps = plan(include_str!("../../../sql-examples/flights.sql"), 2).unwrap();
    insta::assert_snapshot!(graphs(&steps));
}

#[test]
fn older_group_windows_are_windowing_tables() {
    insta::assert_snapshot!(graph(
        "SELECT bidder, COUNT(*) AS n, TUMBLE_START(dateTime, INTERVAL '10' SECOND) AS s,
           TUMBLE_ROWTIME(dateTime, INTERVAL '10' SECOND) AS t
         FROM bid WHERE price > 100
         GROUP BY bidder, TUMBLE(dateTime, INTERVAL '10' SECOND) HAVING COUNT(*) > 1;
         SELECT HOP_END(p, INTERVAL '2' SECOND, INTERVAL '10' SECOND), MAX(v)
         FROM endless AS e GROUP BY HOP(e.p, INTERVAL '2' SECOND, INTERVAL '10' SECOND);"
    ));
}

#[test]
fn windowing_tables_are_written_in_several_ways() {
    insta::assert_snapshot!(graph(
        "SELECT COUNT(*) FROM TUMBLE(bid, dateTime, INTERVAL '1' MINUTE) GROUP BY window_start;
         SELECT window_end, COUNT(*) FROM TABLE(CUMULATE(DATA => TABLE bid,
           TIMECOL => DESCRIPTOR(dateTime), STEP => INTERVAL '1' HOUR, SIZE => INTERVAL '1' DAY))
         GROUP BY window_start, window_end;
         SELECT auction, window_start, window_time
         FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND, INTERVAL '1' SECOND));"
    ));
}

#[test]
fn inserts_share_their_source() {
    insta::assert_snapshot!(graph(
        "INSERT INTO printed SELECT auction, price FROM bid;
         INSERT INTO printed SELECT bidder, COUNT(*) FROM bid GROUP BY bidder;
         INSERT INTO printed SELECT auction, MAX(price)
         FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND))
         GROUP BY auction, window_start, window_end;"
    ));
}

#[test]
fn inserts_with_other_filters_share_their_source() {
    let plan = graph(
        "INSERT INTO printed SELECT k, k FROM endless WHERE k = 1;
         INSERT INTO printed SELECT k, v FROM endless WHERE v = 2;
         INSERT INTO printed SELECT k, v FROM endless;
         INSERT INTO printed SELECT k, SUM(v)
         FROM TABLE(TUMBLE(TABLE endless, DESCRIPTOR(ts), INTERVAL '10' SECOND)) WHERE v % 7 = 1
         GROUP BY k, window_start, window_end;",
    );
    assert_eq!(plan.matches("Source:").count(), 1, "{plan}");
}

#[test]
fn filters_without_columns_leave_the_watermark_in_place() {
    for condition in ["RANDOM() < 0.5", "NOW() > TIMESTAMP '2020-01-01 00:00:00'"] {
        let plan = graph(&format!(
            "SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE endless, DESCRIPTOR(ts), INTERVAL '1' DAY))
             WHERE {condition} AND k > 1 GROUP BY window_start, window_end;"
        ));
        assert!(plan.contains("    Watermark: ts"), "{plan}");
    }
}

/// Returns what EXPLAIN says of the logical plan of a query over the tables above.
fn logical(query: &str) -> String {
    let steps = plan(&format!("{SOURCE}{TABLES}EXPLAIN {query}"), 1).unwrap();
    let Some(Step::Rows(rows)) = steps.last() else { panic!("rows") };
    let text = rows.column(0);
    let lines: Vec<String> =
        (0..rows.num_rows()).map(|row| array_value_to_string(text, row).unwrap()).collect();
    lines.into_iter().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn properties_are_shown_where_rows_are_more_than_appended() {
    let queries = [
        "SELECT a.k, COUNT(*) FROM (SELECT DISTINCT k, ts FROM endless) AS a GROUP BY a.k",
        "SELECT window_end, COUNT(*) FROM
         TABLE(TUMBLE(TABLE endless, DESCRIPTOR(p), INTERVAL '1' DAY)) GROUP BY window_start, window_end",
        "SELECT a.id, b.price FROM auction AS a LEFT JOIN bid AS b ON a.id = b.auction AND
         b.dateTime BETWEEN a.dateTime AND a.dateTime + INTERVAL '10' SECOND",
        "INSERT INTO files SELECT CAST(COUNT(*) AS INT), b, c FROM files GROUP BY b, c",
    ];
    let text: Vec<String> = queries.iter().map(|query| logical(query)).collect();
    insta::assert_snapshot!(text.join("\n\n"));
}

#[test]
fn a_table_may_be_looked_up_twice_and_in_itself() {
    let lookup = "FOR SYSTEM_TIME AS OF e.p";
    let sources = |query: &str| graph(query).matches("Source:").count();
    let twice = format!(
        "SELECT e.k FROM endless AS e JOIN files {lookup} AS f ON e.k = f.a
         JOIN files {lookup} AS g ON f.a = g.a + 1;"
    );
    assert_eq!(sources(&twice), 2, "{}", graph(&twice));
    let itself = "CREATE VIEW timed AS SELECT a, PROCTIME() AS p FROM files;
        SELECT e.a FROM timed AS e JOIN files FOR SYSTEM_TIME AS OF e.p AS f ON e.a = f.a;";
    assert_eq!(sources(itself), 2, "{}", graph(itself));
}

#[test]
fn subqueries_over_windows_wait_for_the_watermark() {
    let windows = "SELECT k, window_start, window_end FROM
        TABLE(TUMBLE(TABLE endless, DESCRIPTOR(ts), INTERVAL '1' DAY))";
    for condition in ["EXISTS", "NOT EXISTS", "k IN", "k NOT IN"] {
        let plan = graph(&format!(
            "CREATE VIEW w AS {windows};
             SELECT k FROM w AS w1 WHERE {condition} (SELECT k FROM w AS w2 WHERE
             w2.window_start = w1.window_start AND w2.window_end = w1.window_end);"
        ));
        assert!(plan.contains("  Watermark: ts") && plan.contains("WindowJoin"), "{plan}");
    }
}

#[test]
fn aggregates_stand_on_aggregates() {
    insta::assert_snapshot!(graph(
        "SELECT n, COUNT(*) FROM (SELECT k, COUNT(DISTINCT v) AS n FROM endless GROUP BY k) AS t
         GROUP BY n;
         SELECT DISTINCT k FROM endless;
         SELECT COUNT(*), SUM(v) FILTER (WHERE k > 1) FROM endless;
         SELECT COUNT(*) FROM bid;"
    ));
}

#[test]
fn unions_and_values() {
    insta::assert_snapshot!(graph(
        "INSERT INTO printed SELECT k, v FROM endless UNION ALL SELECT auction, price FROM bid;
         INSERT INTO printed VALUES (1, 2), (3, NULL);
         INSERT INTO printed (v) SELECT 1;"
    ));
}

#[test]
fn numbers_in_a_query_are_ints_where_they_fit() {
    insta::assert_snapshot!(graph(
        "INSERT INTO files SELECT a + 10, b, c FROM files;
         INSERT INTO files SELECT CASE WHEN a > 1 THEN -1 ELSE a % 7 END, b, c FROM files;"
    ));
}

#[test]
fn joins_within_an_interval() {
    insta::assert_snapshot!(graph(
        "SELECT a.id, b.price FROM auction AS a LEFT JOIN bid AS b
         ON a.id = b.auction AND b.dateTime >= a.dateTime
           AND b.dateTime < a.dateTime + INTERVAL '10' SECOND AND b.price > a.initialBid;
         SELECT a.id FROM auction a, bid b
         WHERE a.dateTime BETWEEN b.dateTime - INTERVAL '1' SECOND AND b.dateTime;"
    ));
}

#[test]
fn results_are_sorted_by_the_client() {
    let steps = plan(
        &format!("{SOURCE}{TABLES}SELECT auction FROM bid ORDER BY price DESC, auction LIMIT 3;"),
        1,
    );
    let steps = steps.unwrap();
    let Some(Step::Job(job)) = steps.last() else { panic!("a job") };
    let query = job.query.as_ref().unwrap();
    assert_eq!((query.visible, query.limit, query.offset), (1, Some(3), 0));
    let order: Vec<_> = query.order_by.iter().map(|by| (by.index, by.descending)).collect();
    assert_eq!(order, [(1, true), (0, false)]);
    assert_eq!(query.schema.fields().len(), 2);
}

#[test]
fn the_first_rows_of_a_stream_are_taken_in_one_place() {
    insta::assert_snapshot!(graph(
        "SELECT k FROM endless LIMIT 2 OFFSET 1;
         SELECT k FROM endless UNION ALL SELECT auction FROM bid OFFSET 3;
         INSERT INTO printed SELECT k, v FROM endless LIMIT 5;
         INSERT INTO printed SELECT k, v FROM endless;"
    ));
}

#[test]
fn plain_files_are_read_by_datafusion() {
    insta::assert_snapshot!(graph(
        "SELECT a, b FROM files ORDER BY c LIMIT 1; SELECT 1 + 1 AS two;"
    ));
}

#[test]
fn ids_do_not_depend_on_parallelism() {
    let ids = |parallelism| {
        let query = include_str!("../../../sql-examples/nexmark/q5.sql");
        let steps = plan(&format!("{SOURCE}{query}"), parallelism).unwrap();
        let Some(Step::Job(job)) = steps.into_iter().find(|step| matches!(step, Step::Job(_)))
        else {
            panic!("a job")
        };
        let stages = job.graph.stages;
        let mut ids: Vec<u64> = stages
            .iter()
            .flat_map(|stage| stage.chain.iter().map(|operator| operator.id.0))
            .collect();
        ids.sort_unstable();
        ids
    };
    // With an exchange there may be halves before it, which keep nothing over a checkpoint.
    let (one, three) = (ids(1), ids(3));
    assert!(one.iter().all(|id| three.contains(id)), "{one:?} {three:?}");
}

#[test]
fn what_is_not_supported_is_named() {
    let queries = [
        "SELECT b.price FROM bid AS b JOIN auction AS a ON b.auction = a.id;",
        "SELECT auction, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price) FROM bid;",
        "SELECT COUNT(*) FROM TABLE(SESSION(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '1' SECOND))
         GROUP BY window_start, window_end;",
        "SELECT bidder FROM bid GROUP BY bidder, SESSION(dateTime, INTERVAL '10' SECOND);",
        "SELECT * FROM bid MATCH_RECOGNIZE (PATTERN (A) DEFINE A AS A.price > 1);",
        "SELECT k FROM endless ORDER BY v;",
        "SELECT k, COUNT(*) FROM endless GROUP BY k LIMIT 1;",
        "SELECT k FROM (SELECT k FROM endless LIMIT 1) AS t;",
        "SELECT k FROM endless WHERE v = (SELECT MAX(price) FROM bid);",
        "SELECT k, COUNT(*) FROM endless GROUP BY ROLLUP (k, v);",
        "SELECT n, STRING_AGG('a', ',') FROM (SELECT k, COUNT(*) AS n FROM endless GROUP BY k) AS t
         GROUP BY n;",
        "INSERT INTO files SELECT k, 'a', CAST(NULL AS TIMESTAMP(3)) FROM
         (SELECT CAST(k AS INT) AS k, COUNT(*) AS n FROM endless GROUP BY k) AS t WHERE n > 1;",
        "INSERT OVERWRITE printed SELECT k, v FROM endless;",
        "SELECT e.k FROM endless AS e JOIN files FOR SYSTEM_TIME AS OF e.ts AS f ON e.k = f.a;",
        "SELECT e.k FROM endless AS e JOIN endless FOR SYSTEM_TIME AS OF e.p AS f ON e.k = f.k;",
        "SELECT k FROM endless INTERSECT SELECT auction FROM bid;",
    ];
    let streaming =
        |query| complaints(&format!("SET 'execution.runtime-mode' = 'streaming'; {query}"));
    let text: Vec<String> = queries.iter().map(streaming).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn what_is_wrong_is_said() {
    let queries = [
        "SELECT k + b FROM endless, files;",
        "SELECT UPPER(k, v) FROM endless;",
        "SELECT k, v FROM endless GROUP BY k;",
        "SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE endless, DESCRIPTOR(v), INTERVAL '1' SECOND))
         GROUP BY window_start, window_end;",
        "SELECT COUNT(*) FROM TABLE(HOP(TABLE endless, DESCRIPTOR(ts), INTERVAL '3' SECOND,
         INTERVAL '10' SECOND)) GROUP BY window_start, window_end;",
        "SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE endless, DESCRIPTOR(ts), INTERVAL '1' MONTH))
         GROUP BY window_start, window_end;",
        "SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE endless, DESCRIPTOR(ts)))
         GROUP BY window_start, window_end;",
        "INSERT INTO printed SELECT k FROM endless;",
        "INSERT INTO printed SELECT k, v > 1 FROM endless;",
        "INSERT INTO printed SELECT 'a', v FROM endless;",
        "INSERT INTO endless SELECT 1, 2, CAST(NULL AS TIMESTAMP(3));",
        "SELECT e.k FROM endless AS e JOIN files FOR SYSTEM_TIME AS OF e.nope AS f ON e.k = f.a;",
    ];
    let text: Vec<String> = queries.iter().map(|query| complaints(query)).collect();
    insta::assert_snapshot!(text.join("\n"));
}
