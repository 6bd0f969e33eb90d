use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::util::pretty::pretty_format_batches;
use rainstorm_engine::graph::{JobSettings, SinkTarget};
use rainstorm_engine::time::SimulatedClock;

use super::*;

pub(super) fn planner() -> Planner {
    let clock: ClockRef = Arc::new(SimulatedClock::new(0));
    Planner::new(&clock)
}

fn script(text: &str) -> Script {
    Script {
        text: text.to_owned(),
        base_directory: "/home/u".to_owned(),
        variables: BTreeMap::from([("N".to_owned(), "7".to_owned())]),
    }
}

pub(super) fn plan(session: &mut Session, text: &str) -> Result<Vec<Step>, SqlErrors> {
    planner().plan(session, &script(text))
}

#[track_caller]
pub(super) fn check_errors(session: &mut Session, text: &str, expected: &[&str]) {
    let before = session.clone();
    let errors = plan(session, text).expect_err("has errors");
    let errors: Vec<String> =
        errors.0.iter().map(|error| format!("{} {error}", error.code)).collect();
    assert_eq!(errors, expected);
    assert_eq!(*session, before, "a script with an error leaves the session as it was");
}

#[track_caller]
pub(super) fn check_rows(session: &mut Session, text: &str, expected: &str) {
    let steps = plan(session, text).unwrap_or_else(|errors| panic!("{errors}"));
    let Some(Step::Rows(rows)) = steps.last() else { panic!("no rows") };
    let table = pretty_format_batches(std::slice::from_ref(rows)).unwrap().to_string();
    assert_eq!(table.trim(), expected.trim(), "\n{table}");
}

const TABLES: &str = "
    CREATE TABLE flights (
      airport STRING NOT NULL COMMENT 'it''s IATA', delay DOUBLE, `time` TIMESTAMP(3),
      place ROW<lat DOUBLE, lon DOUBLE>, tags ARRAY<STRING>,
      late AS delay > 15 AND airport <> 'x',
      WATERMARK FOR `time` AS `time` - INTERVAL '5' MINUTE,
      PRIMARY KEY (airport) NOT ENFORCED
    ) COMMENT 'all' PARTITIONED BY (airport)
    WITH ('connector' = 'filesystem', 'path' = 'data/../flights${N}.json', 'format' = 'json');
    CREATE FUNCTION twice(x BIGINT) RETURNS BIGINT RETURN x * 2;
    CREATE VIEW late_flights (a, d) AS SELECT airport, delay FROM flights WHERE late;";

#[test]
fn definitions_survive_their_own_text() {
    let mut session = Session::default();
    plan(&mut session, TABLES).expect("plans");
    let script = session.catalog.to_script();
    assert_eq!(script.matches("CREATE ").count(), 3);
    assert!(script.contains("'path' = 'file:///home/u/flights7.json'"), "{script}");
    let restored = planner().catalog(&script).expect("restores");
    assert_eq!(restored.to_script(), script);
}

#[test]
fn tables_are_described() {
    let mut session = Session::default();
    plan(&mut session, TABLES).expect("plans");
    check_rows(
        &mut session,
        "DESCRIBE Flights",
        "
+---------+---------------------------------+-------+--------------+----------------------------------+------------------------------+
| name    | type                            | null  | key          | extras                           | watermark                    |
+---------+---------------------------------+-------+--------------+----------------------------------+------------------------------+
| airport | STRING                          | FALSE | PRI(airport) |                                  |                              |
| delay   | DOUBLE                          | TRUE  |              |                                  |                              |
| time    | TIMESTAMP(3)                    | TRUE  |              |                                  | `time` - INTERVAL '5' MINUTE |
| place   | ROW<`lat` DOUBLE, `lon` DOUBLE> | TRUE  |              |                                  |                              |
| tags    | ARRAY<STRING>                   | TRUE  |              |                                  |                              |
| late    | BOOLEAN                         | TRUE  |              | AS delay > 15 AND airport <> 'x' |                              |
+---------+---------------------------------+-------+--------------+----------------------------------+------------------------------+",
    );
}

#[test]
fn tables_and_settings_are_shown() {
    let mut session = Session::default();
    plan(&mut session, TABLES).expect("plans");
    check_rows(
        &mut session,
        "SHOW TABLES",
        "
+--------------+-------+------------+
| name         | kind  | connector  |
+--------------+-------+------------+
| flights      | table | filesystem |
| late_flights | view  |            |
+--------------+-------+------------+",
    );
    let steps = plan(&mut session, "SET 'pipeline.name' = 'x'; SET; RESET;").expect("plans");
    assert!(matches!(&steps[0], Step::Done { message } if message == "pipeline.name set to x"));
    assert_eq!(session.settings.job_name(), None);
}

#[test]
fn taken_names_are_refused_unless_asked_for() {
    let mut session = Session::default();
    plan(&mut session, TABLES).expect("plans");
    check_errors(
        &mut session,
        "CREATE TABLE flights (a INT) WITH ('connector' = 'print')",
        &["exists 1:14: table 'flights' exists already"],
    );
    check_errors(
        &mut session,
        "CREATE OR REPLACE VIEW flights AS SELECT 1",
        &["exists 1:24: table 'flights' exists already"],
    );
    plan(&mut session, "CREATE TABLE IF NOT EXISTS flights (a INT) WITH ('connector' = 'print')")
        .expect("does nothing");
    assert_eq!(session.table("flights").unwrap().columns.len(), 6);
    plan(&mut session, "CREATE OR REPLACE TABLE flights (a INT) WITH ('connector' = 'print')")
        .expect("replaces");
    assert_eq!(session.table("flights").unwrap().columns.len(), 1);
}

#[test]
fn temporary_things_come_first_and_go_alone() {
    let mut session = Session::default();
    plan(&mut session, TABLES).expect("plans");
    plan(&mut session, "CREATE TEMPORARY TABLE flights (a INT) WITH ('connector' = 'print')")
        .expect("plans");
    assert_eq!(session.table("flights").unwrap().connector, "print");
    assert!(!session.catalog.to_script().contains("TEMPORARY"));
    plan(&mut session, "DROP TEMPORARY TABLE flights").expect("drops");
    assert_eq!(session.table("flights").unwrap().connector, "filesystem");
    check_errors(
        &mut session,
        "DROP VIEW flight",
        &["unknown_table 1:11: there is no view 'flight' (did you mean 'flights'?)"],
    );
    plan(&mut session, "DROP VIEW IF EXISTS flight; DROP VIEW late_flights").expect("drops");
    assert!(session.view("late_flights").is_none());
}

#[test]
fn columns_are_checked_when_a_table_is_made() {
    let mut session = Session::default();
    let with = "WITH ('connector' = 'print')";
    let mut check = |columns: &str, expected: &[&str]| {
        check_errors(&mut session, &format!("CREATE TABLE t ({columns}) {with}"), expected);
    };
    check("a INT, a INT", &["invalid_statement 1:24: there are two columns 'a'"]);
    check(
        "aa INT, b AS a + 1, c AS ab",
        &[
            "unknown_column 1:30: there is no column 'a' (did you mean 'aa'?)",
            "unknown_column 1:42: there is no column 'ab'",
        ],
    );
    check(
        "a INT, WATERMARK FOR a AS a",
        &["type 1:38: column 'a' is INT, event time is a TIMESTAMP"],
    );
    check(
        "a TIMESTAMP(3), WATERMARK FOR a AS 1",
        &["type 1:52: a watermark is a TIMESTAMP, this is INT"],
    );
    check(
        "a INT, PRIMARY KEY (b) NOT ENFORCED",
        &["unknown_column 1:37: there is no physical column 'b'"],
    );
    check(
        "a INT, s AS SUM(a)",
        &[
            "invalid_statement 1:29: 'SUM(a)' is not an expression of one row (aggregates, OVER and subqueries cannot stand here)",
        ],
    );
}

#[test]
fn a_table_without_a_connector_is_refused() {
    check_errors(
        &mut Session::default(),
        "CREATE TABLE t (a INT)",
        &[
            "invalid_option 1:14: table 't' has no connector (add WITH ('connector' = '…'), such as filesystem, datagen or print)",
        ],
    );
}

#[test]
fn options_are_checked_by_the_connector() {
    let mut session = Session::default();
    let mut check = |with: &str, expected: &str| {
        check_errors(&mut session, &format!("CREATE TABLE t (a INT)\nWITH ({with})"), &[expected]);
    };
    check(
        "'connector' = 'nexmrk'",
        "invalid_option 2:21: there is no connector 'nexmrk' (did you mean 'nexmark'?)",
    );
    check(
        "'connector' = 'filesystem', 'format' = 'csv'",
        "invalid_option 1:14: connector 'filesystem' needs the option 'path'",
    );
    check(
        "'connector' = 'filesystem', 'path' = 'x', 'format' = 'csv', 'csv.heder' = 'true'",
        "invalid_option 2:67: connector 'filesystem' has no option 'csv.heder' (did you mean 'csv.header'?)",
    );
    check(
        "'connector' = 'filesystem', 'path' = 'x', 'format' = 'xml'",
        "invalid_option 2:60: option 'format' = 'xml': expected csv, json or parquet",
    );
    check_errors(
        &mut session,
        "CREATE TABLE t (a INT, r ROW<x INT>)
         WITH ('connector' = 'filesystem', 'path' = 'x', 'format' = 'csv')",
        &["invalid_option 1:24: column 'r' of type ROW<`x` INT> cannot be kept in csv"],
    );
}

#[test]
fn like_copies_what_is_not_said_again() {
    let mut session = Session::default();
    plan(&mut session, TABLES).expect("plans");
    plan(&mut session, "CREATE TABLE copy (x INT) WITH ('connector' = 'print') LIKE flights")
        .expect("plans");
    let copy = session.table("copy").unwrap();
    assert_eq!((copy.columns.len(), copy.connector.as_str()), (7, "print"));
    assert!(copy.options.is_empty(), "options of another connector are not copied");
    plan(&mut session, "CREATE TABLE other WITH ('path' = '/x') LIKE flights").expect("plans");
    let other = session.table("other").unwrap();
    assert_eq!(
        (other.options["path"].as_str(), other.options["format"].as_str()),
        ("file:///x", "json")
    );
}

#[test]
fn a_type_error_has_its_place() {
    check_errors(
        &mut Session::default(),
        "CREATE FUNCTION f(x BOOLEAN) RETURNS BIGINT\nRETURN x + DATE '2020-01-01'",
        &["type 2:8: cannot compute BOOLEAN + DATE"],
    );
}

#[test]
fn a_statement_set_does_not_read_what_it_writes() {
    let mut session = Session::default();
    plan(
        &mut session,
        "CREATE TABLE a (x INT) WITH ('connector' = 'print');
         CREATE TABLE b (x INT) WITH ('connector' = 'print');",
    )
    .expect("plans");
    check_errors(
        &mut session,
        "BEGIN STATEMENT SET; INSERT INTO a SELECT 1; INSERT INTO b SELECT x FROM a; END;",
        &[
            "invalid_statement 1:58: this reads 'a', which another INSERT of the statement set writes",
        ],
    );
}

#[test]
fn unknown_settings_have_their_place() {
    check_errors(
        &mut Session::default(),
        "SELECT * FORM t; SET 'paralelism.default' = '2'",
        &["parse 1:10: expected end of statement, found: FORM (did you mean 'FROM'?)"],
    );
    check_errors(
        &mut Session::default(),
        "SET 'paralelism.default' = '2'",
        &[
            "invalid_setting 1:5: there is no setting 'paralelism.default' (did you mean 'parallelism.default'?)",
        ],
    );
}

pub(super) const PIPELINE: &str = "
    CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '10');
    CREATE TABLE endless (n BIGINT) WITH ('connector' = 'datagen');
    CREATE TABLE a (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '/a', 'format' = 'csv');
    CREATE TABLE b (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '/b', 'format' = 'csv');
    CREATE VIEW doubled AS SELECT n * 2 AS n FROM a;";

/// Returns the steps after the definitions: the tables that jobs write, or what else is done.
#[track_caller]
fn check_steps(text: &str, expected: &[&str]) {
    let mut session = Session::default();
    plan(&mut session, PIPELINE).unwrap_or_else(|errors| panic!("{errors}"));
    let steps = plan(&mut session, text).unwrap_or_else(|errors| panic!("{errors}"));
    let describe = |step: &Step| match step {
        Step::Done { message } => message.clone(),
        Step::Rows(_) => "rows".to_owned(),
        Step::ShowJobs => "jobs".to_owned(),
        Step::Batch { .. } => "batch".to_owned(),
        Step::Job(job) => format!("job({})", job.inserts.join(" ")),
    };
    assert_eq!(steps.iter().map(describe).collect::<Vec<_>>(), expected);
}

#[test]
fn consecutive_inserts_are_one_job() {
    check_steps(
        "INSERT INTO a SELECT n FROM numbers;
         CREATE VIEW v AS SELECT 1 AS x;
         INSERT INTO b SELECT n + 1 FROM numbers;",
        &["view v created", "job(a b)"],
    );
}

#[test]
fn what_reads_the_result_of_an_insert_waits_for_it() {
    check_steps(
        "INSERT INTO a SELECT n FROM numbers; INSERT INTO b SELECT n FROM a; SELECT * FROM B;",
        &["job(a)", "job(b)", "batch"],
    );
    check_steps(
        "INSERT INTO a SELECT n FROM numbers; INSERT INTO b SELECT N FROM Doubled;",
        &["job(a)", "job(b)"],
    );
    check_steps(
        "INSERT INTO a SELECT n FROM numbers;
         INSERT INTO b SELECT n FROM b /*+ OPTIONS('path' = '/a') */;",
        &["job(a)", "job(b)"],
    );
    check_steps(
        "INSERT OVERWRITE a SELECT n FROM numbers; INSERT INTO a SELECT n FROM numbers;",
        &["job(a)", "job(a)"],
    );
}

#[test]
fn settings_end_a_job_and_definitions_do_not() {
    check_steps(
        "INSERT INTO a SELECT n FROM numbers; SET 'parallelism.default' = '2';
         INSERT INTO b SELECT n FROM numbers; DROP TABLE numbers;",
        &["job(a)", "parallelism.default set to 2", "table numbers dropped", "job(b)"],
    );
    check_steps(
        "INSERT INTO a SELECT n FROM numbers; DROP VIEW doubled; DROP TABLE numbers;
         CREATE OR REPLACE TABLE b (n BIGINT) WITH ('connector' = 'blackhole');
         INSERT INTO b SELECT n FROM endless;",
        &["view doubled dropped", "table numbers dropped", "table b created", "job(a b)"],
    );
}

#[test]
fn a_setting_that_is_as_it_was_does_not_end_a_job() {
    check_steps(
        "SET 'parallelism.default' = '2'; INSERT INTO a SELECT n FROM numbers;
         SET 'parallelism.default' = '2'; INSERT INTO b SELECT n FROM numbers; RESET;",
        &[
            "parallelism.default set to 2",
            "parallelism.default set to 2",
            "job(a b)",
            "all settings reset",
        ],
    );
}

#[test]
fn inserts_have_the_settings_of_their_place() {
    let mut session = Session::default();
    plan(&mut session, PIPELINE).expect("plans");
    let steps = plan(
        &mut session,
        "SET 'parallelism.default' = '3'; SET 'table.exec.state.ttl' = '1 min';
         INSERT INTO a SELECT n FROM endless;
         SET 'table.exec.source.idle-timeout' = '2 s'; SET 'pipeline.name' = 'second';
         INSERT INTO b SELECT n FROM numbers;
         RESET; SET 'execution.checkpointing.interval' = '0';",
    )
    .unwrap_or_else(|errors| panic!("{errors}"));
    let jobs: Vec<_> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Job(job) => {
                let JobSettings { state_ttl, idle_timeout, checkpoint_interval, .. } =
                    job.graph.settings;
                let seconds = [state_ttl, idle_timeout, checkpoint_interval]
                    .map(|duration| duration.map(|duration| duration.as_secs()));
                Some((job.name.as_deref(), job.graph.stages[0].parallelism, seconds))
            }
            _ => None,
        })
        .collect();
    let expected =
        [(None, 3, [Some(60), None, Some(10)]), (Some("second"), 3, [Some(60), Some(2), Some(10)])];
    assert_eq!(jobs, expected);
}

#[test]
fn partitions_are_committed_by_a_watermark_that_comes() {
    let mut session = Session::default();
    plan(
        &mut session,
        "CREATE TABLE timed (at TIMESTAMP(3), n INT, WATERMARK FOR at AS at)
           WITH ('connector' = 'datagen');
         CREATE TABLE untimed (at TIMESTAMP(3), n INT) WITH ('connector' = 'datagen');
         CREATE TABLE days (n INT, day STRING) PARTITIONED BY (day) WITH (
           'connector' = 'filesystem', 'path' = '/days', 'format' = 'csv',
           'sink.partition-commit.policy.kind' = 'success-file',
           'sink.partition-commit.trigger' = 'partition-time');",
    )
    .expect("plans");
    let steps = plan(
        &mut session,
        "INSERT INTO days SELECT n, DATE_FORMAT(at, 'yyyy-MM-dd') FROM timed WHERE n > 1",
    )
    .unwrap_or_else(|errors| panic!("{errors}"));
    let Some(Step::Job(job)) = steps.last() else { panic!("no job") };
    let source = job.graph.stages[0].source.as_ref().expect("a source");
    assert!(source.watermark.is_some(), "the sink waits for it");
    check_errors(
        &mut session,
        "INSERT INTO days\nSELECT n, DATE_FORMAT(at, 'yyyy-MM-dd') FROM untimed",
        &[
            "invalid_statement 1:13: partitions of table 'days' are committed by the watermark, and \
             there is none (declare WATERMARK FOR in CREATE TABLE of what is read)",
        ],
    );
}

#[test]
fn an_insert_goes_on_beside_one_that_never_ends() {
    check_steps(
        "INSERT INTO a SELECT n FROM endless; SET 'parallelism.default' = '2';
         INSERT INTO b SELECT n FROM endless;",
        &["job(a)", "parallelism.default set to 2", "job(b)"],
    );
    let mut session = Session::default();
    plan(&mut session, PIPELINE).expect("plans");
    check_errors(
        &mut session,
        "INSERT INTO a SELECT n FROM endless; SET 'parallelism.default' = '2';
INSERT INTO b SELECT n FROM doubled",
        &["invalid_statement 2:13: this is never reached: the INSERT INTO a before it never ends"],
    );
}

#[test]
fn an_insert_has_the_tables_views_and_functions_of_its_place() {
    let mut session = Session::default();
    plan(&mut session, PIPELINE).expect("plans");
    let steps = plan(
        &mut session,
        "CREATE TEMPORARY VIEW v AS SELECT n AS first FROM numbers;
         CREATE TEMPORARY FUNCTION f(x BIGINT) RETURNS BIGINT RETURN x + 1001;
         INSERT INTO a SELECT f(first) FROM v;
         CREATE TEMPORARY TABLE a (n BIGINT)
           WITH ('connector' = 'filesystem', 'path' = '/other', 'format' = 'json');
         CREATE TEMPORARY TABLE numbers (n BIGINT)
           WITH ('connector' = 'datagen', 'number-of-rows' = '20');
         DROP TEMPORARY VIEW v;
         CREATE TEMPORARY VIEW v AS SELECT n + 5005 AS second FROM numbers;
         DROP TEMPORARY FUNCTION f;
         CREATE TEMPORARY FUNCTION f(x BIGINT) RETURNS BIGINT RETURN x * 3003;
         INSERT INTO a SELECT f(second) FROM v;",
    )
    .unwrap_or_else(|errors| panic!("{errors}"));
    let Some(Step::Job(job)) = steps.last() else { panic!("no job") };
    assert_eq!(job.inserts, ["a", "a"]);
    let described: Vec<(String, String)> = job
        .graph
        .stages
        .iter()
        .filter_map(|stage| {
            let rows = stage.source.as_ref()?.options["number-of-rows"].clone();
            let chain = format!("{:?}", stage.chain);
            let SinkTarget::Connector { options, .. } = &stage.sink.as_ref()?.target else {
                return None;
            };
            let numbers = ["1001", "3003", "5005"].into_iter().filter(|it| chain.contains(it));
            let numbers: Vec<&str> = numbers.collect();
            Some((format!("{rows} rows, {}", numbers.join(" ")), options["path"].clone()))
        })
        .collect();
    let expected = [("10 rows, 1001", "file:///a"), ("20 rows, 3003 5005", "file:///other")];
    assert_eq!(described, expected.map(|(rows, path)| (rows.to_owned(), path.to_owned())));
}

#[test]
fn a_table_that_is_declared_twice_is_waited_for() {
    let again = |name: &str, path: &str| {
        format!(
            "CREATE TEMPORARY TABLE {name} (n BIGINT)
               WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'csv');"
        )
    };
    let created = "table again created";
    let check = |path: &str, insert: &str, jobs: &[&str]| {
        let text =
            format!("INSERT INTO a SELECT n FROM numbers; {} {insert}", again("again", path));
        check_steps(&text, jobs);
    };
    let reads = "INSERT INTO b SELECT n FROM again;";
    check("/a", reads, &[created, "job(a)", "job(b)"]);
    check("/a/*.csv", reads, &[created, "job(a)", "job(b)"]);
    check("/aa", reads, &[created, "job(a b)"]);
    check("/a", "INSERT INTO again SELECT n FROM numbers;", &[created, "job(a again)"]);
    let replaces = "INSERT OVERWRITE again SELECT n FROM numbers;";
    check("/a/", replaces, &[created, "job(a)", "job(again)"]);
    // Another table of the name is another table.
    let text = format!(
        "INSERT INTO a SELECT n FROM numbers; {} INSERT INTO b SELECT n FROM a;",
        again("a", "/new")
    );
    check_steps(&text, &["table a created", "job(a b)"]);
    let mut session = Session::default();
    plan(&mut session, PIPELINE).expect("plans");
    let text = format!(
        "{} BEGIN STATEMENT SET; INSERT INTO a SELECT n FROM numbers;
INSERT INTO b SELECT n FROM again; END;",
        again("again", "/a")
    );
    check_errors(
        &mut session,
        &text,
        &[
            "invalid_statement 3:13: this reads 'again', which another INSERT of the statement set writes",
        ],
    );
}

#[test]
fn what_waits_for_an_endless_insert_is_refused() {
    let mut session = Session::default();
    plan(&mut session, PIPELINE).expect("plans");
    check_errors(
        &mut session,
        "INSERT INTO a SELECT n FROM endless;\nSELECT * FROM b",
        &["invalid_statement 2:1: this is never reached: the INSERT INTO a before it never ends"],
    );
    check_errors(
        &mut session,
        "INSERT INTO a SELECT n FROM endless;\nINSERT INTO b SELECT n FROM a",
        &["invalid_statement 2:13: this is never reached: the INSERT INTO a before it never ends"],
    );
}

#[test]
fn views_are_described_and_checked_where_they_are_made() {
    let mut session = Session::default();
    plan(&mut session, TABLES).expect("plans");
    check_rows(
        &mut session,
        "DESCRIBE late_flights",
        "
+------+--------+-------+
| name | type   | null  |
+------+--------+-------+
| a    | STRING | FALSE |
| d    | DOUBLE | TRUE  |
+------+--------+-------+",
    );
    check_errors(
        &mut session,
        "CREATE VIEW v (x) AS SELECT airport, delay FROM flights",
        &["invalid_statement 1:13: view 'v' names 1 columns, its query has 2"],
    );
    check_errors(
        &mut session,
        "CREATE OR REPLACE VIEW late_flights AS SELECT * FROM late_flights",
        &["unknown_table 1:54: there is no table or view 'late_flights'"],
    );
    check_errors(
        &mut session,
        "CREATE VIEW v AS\nSELECT airport FROM flights WHERE late + 1",
        &["type 2:35: cannot compute BOOLEAN + INT"],
    );
}

#[test]
fn columns_without_a_name_are_named_as_they_are_written() {
    let mut session = Session::default();
    plan(&mut session, PIPELINE).expect("plans");
    for table in ["a", "numbers"] {
        for (sql, expected) in [
            (
                "SELECT n, COUNT(*) FROM t GROUP BY n ORDER BY COUNT(*) DESC, n LIMIT 3",
                "n, COUNT(*)",
            ),
            (
                "SELECT MOD(n, 2), SUM(n) FROM t GROUP BY MOD(n, 2) HAVING SUM(n) > 1 ORDER BY MOD(n, 2)",
                "MOD(n, 2), SUM(n)",
            ),
            ("SELECT MAX(x.`COUNT(*)`) FROM (SELECT COUNT(*) FROM t) x", "MAX(x.`COUNT(*)`)"),
            (
                "SELECT MAP['a', n], CARDINALITY(MAP[n, MAP[1, 2]]) FROM t",
                "MAP['a', n], CARDINALITY(MAP[n, MAP[1, 2]])",
            ),
        ] {
            let sql = sql.replace("FROM t", &format!("FROM {table}"));
            let steps = plan(&mut session, &sql).unwrap_or_else(|errors| panic!("{sql}: {errors}"));
            let names: Vec<String> = match &steps[0] {
                Step::Batch { query, .. } => {
                    query.plan.schema().fields().iter().map(|f| f.name().clone()).collect()
                }
                Step::Job(job) => {
                    let output = job.query.as_ref().expect("a SELECT");
                    let fields = output.schema.fields().iter().take(output.visible);
                    fields.map(|field| field.name().clone()).collect()
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(names.join(", "), expected, "{sql}");
        }
    }
}

#[test]
fn long_texts_are_shown_line_by_line() {
    let mut session = Session::default();
    plan(&mut session, PIPELINE).expect("plans");
    check_rows(
        &mut session,
        "SHOW CREATE TABLE numbers",
        "
+----------------------------+
| sql                        |
+----------------------------+
| CREATE TABLE `numbers` (   |
|   `n` BIGINT               |
| )                          |
| WITH (                     |
|   'connector' = 'datagen', |
|   'number-of-rows' = '10'  |
| )                          |
+----------------------------+",
    );
    let steps = plan(&mut session, "EXPLAIN INSERT INTO a SELECT n FROM numbers").expect("plans");
    let Step::Rows(rows) = &steps[0] else { panic!("no rows") };
    let text = pretty_format_batches(std::slice::from_ref(rows)).unwrap().to_string();
    assert!(text.contains("| == logical plan =="), "{text}");
    assert!(text.contains("| == job graph =="), "{text}");
}

#[test]
fn show_jobs_comes_after_the_inserts_before_it() {
    check_steps(
        "INSERT INTO a SELECT n FROM numbers; SHOW JOBS; INSERT INTO b SELECT n FROM numbers;",
        &["job(a)", "jobs", "job(b)"],
    );
}

#[test]
fn a_byte_order_mark_is_skipped() {
    check_errors(
        &mut Session::default(),
        "\u{feff}SELECT x",
        &["unknown_column 1:8: there is no column 'x'"],
    );
}

/// Returns the types that a DESCRIBE gives.
fn described_types(session: &mut Session, name: &str) -> Vec<String> {
    let steps = plan(session, &format!("DESCRIBE {name}")).expect("describes");
    let [Step::Rows(rows)] = &steps[..] else { panic!("{steps:?}") };
    let types = rows.column(1).as_string_view();
    types.iter().map(|found| found.expect("a type").to_owned()).collect()
}

#[test]
fn computed_columns_have_the_types_that_queries_give_them() {
    let mut session = Session::default();
    let tables = "
        CREATE TABLE c (
          n INT, f DOUBLE,
          a AS CASE WHEN n > 0 THEN 1 ELSE 2.5 END, b AS COALESCE(f, 0.5), d AS IF(n > 1, n, 2)
        ) WITH ('connector' = 'filesystem', 'path' = '/c', 'format' = 'json');
        CREATE VIEW all_c AS SELECT * FROM c;
        CREATE VIEW direct AS SELECT n, f, CASE WHEN n > 0 THEN 1 ELSE 2.5 END, COALESCE(f, 0.5),
          IF(n > 1, n, 2) FROM c;";
    plan(&mut session, tables).expect("plans");
    let types = described_types(&mut session, "c");
    assert!(types[2].starts_with("DECIMAL("), "{types:?}");
    assert_eq!(types[3], "DOUBLE");
    assert_eq!(types, described_types(&mut session, "all_c"));
    assert_eq!(types, described_types(&mut session, "direct"));
}
