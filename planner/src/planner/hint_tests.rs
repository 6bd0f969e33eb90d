//! What hints mean, and where they cannot stand.

use std::collections::BTreeMap;

use rainstorm_engine::graph::SinkTarget;

use super::tests::{check_errors, plan, planner};
use super::*;

const TABLES: &str = "
    CREATE TABLE numbers (n BIGINT)
    WITH ('connector' = 'datagen', 'number-of-rows' = '5');
    CREATE TABLE out (n BIGINT)
    WITH ('connector' = 'filesystem', 'path' = '/out', 'format' = 'json');
    CREATE VIEW few AS
    SELECT n FROM numbers /*+ OPTIONS('number-of-rows' = '${N}') */ WHERE n > 0;";

fn session() -> Session {
    let mut session = Session::default();
    plan(&mut session, TABLES).expect("plans");
    session
}

/// Returns the options of all sources and sinks of a script's jobs, sources first.
#[track_caller]
fn options(session: &mut Session, text: &str) -> Vec<String> {
    let steps = plan(session, text).unwrap_or_else(|errors| panic!("{errors}"));
    let stages = steps.iter().flat_map(|step| match step {
        Step::Job(job) => job.graph.stages.as_slice(),
        _ => &[],
    });
    let sources = stages.clone().filter_map(|stage| Some(&stage.source.as_ref()?.options));
    let sinks = stages.filter_map(|stage| match &stage.sink.as_ref()?.target {
        SinkTarget::Connector { options, .. } => Some(options),
        SinkTarget::Client => None,
    });
    let pairs = |options: &BTreeMap<String, String>| {
        let pairs = options.iter().map(|(key, value)| format!("{key}={value}"));
        pairs.collect::<Vec<_>>().join(" ")
    };
    sources.chain(sinks).map(pairs).collect()
}

#[test]
fn uses_of_a_table_with_the_same_options_are_one_source() {
    let mut session = session();
    let three = "numbers /*+ OPTIONS('number-of-rows' = '3') */";
    let sql = format!(
        "SELECT n FROM {three} UNION ALL SELECT n FROM numbers UNION ALL SELECT n FROM {three} AS c"
    );
    assert_eq!(options(&mut session, &sql), ["number-of-rows=3", "number-of-rows=5"]);
}

#[test]
fn a_path_in_a_hint_is_relative_to_the_script() {
    let mut session = session();
    let written = options(
        &mut session,
        "INSERT INTO out /*+ OPTIONS('path' = 'further') */ SELECT n FROM few",
    );
    assert_eq!(written, ["number-of-rows=7", "format=json path=file:///home/u/further"]);
    let plain = options(&mut session, "INSERT INTO out SELECT n FROM numbers");
    assert_eq!(plain, ["number-of-rows=5", "format=json path=file:///out"]);
}

#[test]
fn a_view_keeps_its_hints_in_its_text() {
    let mut session = session();
    let script = session.catalog.to_script();
    assert!(script.contains("numbers /*+ OPTIONS('number-of-rows' = '7') */"), "{script}");
    session.catalog = planner().catalog(&script).expect("restores");
    assert_eq!(options(&mut session, "SELECT * FROM few"), ["number-of-rows=7"]);
}

#[test]
fn other_hints_are_refused_by_name() {
    for (sql, expected) in [
        (
            "SELECT /*+ STATE_TTL('n' = '1d') */ n FROM numbers",
            "unsupported 1:12: the hint STATE_TTL is not supported (OPTIONS is, after a table's name)",
        ),
        (
            "SELECT n FROM numbers /*+ OPTION('a' = 'b') */",
            "unsupported 1:27: the hint OPTION is not supported (did you mean 'OPTIONS'?)",
        ),
        (
            "SELECT n FROM numbers /*+ 'a' = 'b' */",
            "parse 1:27: expected a hint, found: 'a' (a comment that begins with /*+ is a hint)",
        ),
        (
            "SELECT n\nFROM numbers /*+\n  OPTIONS('path' = 'a/*/b') */",
            "parse 2:14: this hint ends in the midst of a text (a comment ends at the first */, in a text too)",
        ),
        (
            "SELECT n FROM numbers /*+ OPTIONS('a' = 1) */",
            "parse 1:41: expected literal string, found: 1",
        ),
        ("SELECT n FROM numbers /*+ OPTIONS('a' = '1'", "parse 1:44: unterminated comment"),
        (
            "SELECT n FROM numbers /*+ OPTIONS('a' = '1', 'a' = '2') */",
            "invalid_option 1:46: option 'a' is given twice",
        ),
        (
            "SELECT n FROM numbers /*+ OPTIONS('a' = '1') */ /*+ OPTIONS('a' = '2') */",
            "invalid_option 1:61: option 'a' is given twice",
        ),
        (
            "SELECT n FROM numbers WITH (NOLOCK)",
            "unsupported 1:29: WITH (…) after a table's name is not supported (write /*+ OPTIONS('key' = 'value') */ right after the name)",
        ),
    ] {
        check_errors(&mut session(), sql, &[expected]);
    }
}

#[test]
fn a_hint_elsewhere_is_refused_where_it_stands() {
    let hint = "/*+ OPTIONS('number-of-rows' = '1') */";
    for (sql, column) in [
        (format!("SELECT {hint} n FROM numbers"), 8),
        (format!("SELECT n {hint} FROM numbers"), 10),
        (format!("SELECT n FROM numbers AS m {hint}"), 28),
        (format!("SELECT n FROM (SELECT n FROM numbers) {hint}"), 39),
        (format!("SELECT n FROM numbers WHERE n {hint} > 1"), 31),
        (format!("{hint} SELECT n FROM numbers"), 1),
        (format!("INSERT {hint} INTO out SELECT n FROM numbers"), 8),
        (format!("INSERT INTO out (n {hint}) SELECT n FROM numbers"), 20),
        (format!("DESCRIBE numbers {hint}"), 18),
        (format!("CREATE TABLE t LIKE numbers {hint}"), 29),
        (format!("CREATE FUNCTION f(x BIGINT) RETURNS BIGINT RETURN x {hint}"), 53),
        (format!("SET 'pipeline.name' = 'x' {hint}"), 27),
    ] {
        let expected = format!(
            "invalid_statement 1:{column}: this hint does not stand right after the name of a \
             table that is read or written (write FROM t /*+ OPTIONS('key' = 'value') */ AS x)"
        );
        check_errors(&mut session(), &sql, &[&expected]);
    }
}

#[test]
fn options_of_hints_are_checked_as_those_of_tables() {
    for (sql, expected) in [
        (
            "SELECT n FROM numbers /*+ OPTIONS('number-of-row' = '1') */",
            "invalid_option 1:35: connector 'datagen' has no option 'number-of-row' (did you mean 'number-of-rows'?)",
        ),
        (
            "INSERT INTO out /*+ OPTIONS('format' = 'xml') */ SELECT n FROM numbers",
            "invalid_option 1:40: option 'format' = 'xml': expected csv, json or parquet",
        ),
        (
            "SELECT n FROM out /*+ OPTIONS('connector' = 'print') */",
            "invalid_option 1:31: a hint cannot change a table's connector (CREATE TABLE … LIKE makes another table)",
        ),
        (
            "SELECT n FROM out /*+ OPTIONS('path' = 's3://x') */",
            "invalid_option 1:40: path 's3://x': scheme 's3' is none of file, sdfs",
        ),
        (
            "WITH w AS (SELECT 1 AS n) SELECT n FROM w /*+ OPTIONS('number-of-rows' = '1') */",
            "invalid_statement 1:55: 'w' is a WITH query, and a hint gives options to a table (write it behind a table's name inside of that)",
        ),
    ] {
        check_errors(&mut session(), sql, &[expected]);
    }
}
