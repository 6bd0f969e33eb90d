//! What is said about wrong SQL, and where.

use std::fmt::Write as _;
use std::sync::Arc;

use rainstorm_engine::time::{ClockRef, SimulatedClock};
use rainstorm_engine::wording::is_foreign;

use super::sentences;
use crate::Planner;
use crate::error::SqlError;
use crate::script::Script;
use crate::session::Session;

/// Endless streams `l` and `r`, a plain table `p` and a table to write into.
const TABLES: &str = "
    CREATE TABLE l (id BIGINT, ts TIMESTAMP(3), k STRING, v INT, ar ARRAY<ROW<p INT>>,
      WATERMARK FOR ts AS ts - INTERVAL '10' SECOND)
      WITH ('connector' = 'datagen');
    CREATE TABLE r LIKE l;
    CREATE TABLE p (id BIGINT, ts TIMESTAMP(3), k STRING, v INT, a ARRAY<INT>)
      WITH ('connector' = 'filesystem', 'path' = 'p.json', 'format' = 'json');
    CREATE TABLE p2 (ar ARRAY<ROW<p INT>>, v INT)
      WITH ('connector' = 'filesystem', 'path' = 'p2.json', 'format' = 'json');
    CREATE TABLE o (v INT) WITH ('connector' = 'blackhole');";

fn complaints(sql: &str) -> String {
    let clock: ClockRef = Arc::new(SimulatedClock::new(0));
    let script = |text: &str| Script {
        text: text.to_owned(),
        base_directory: "/".into(),
        ..Script::default()
    };
    let planner = Planner::new(&clock);
    let mut session = Session::default();
    planner.plan(&mut session, &script(TABLES)).expect("plans");
    match planner.plan(&mut session, &script(sql)) {
        Ok(_) => format!("{sql}\nplanned\n"),
        Err(errors) => errors.0.iter().map(|error| drawn(sql, error)).collect(),
    }
}

fn drawn(sql: &str, error: &SqlError) -> String {
    let line = sql.lines().nth(error.line.saturating_sub(1)).unwrap_or_default();
    let indent = " ".repeat(error.column.saturating_sub(1));
    let carets = "^".repeat(error.length);
    let mut text = format!("{line}\n{indent}{carets} {}: {}\n", error.code, error.message);
    if let Some(help) = &error.help {
        let _ = writeln!(text, "{indent}help: {help}");
    }
    text
}

fn all(queries: &[&str]) -> String {
    queries.iter().map(|sql| complaints(sql)).collect::<Vec<_>>().join("\n")
}

#[test]
fn arguments_that_do_not_fit_are_named_by_their_types() {
    insta::assert_snapshot!(all(&[
        "SELECT id, sum(k) FROM l GROUP BY id",
        "SELECT avg(ts) FROM p",
        "SELECT sum(NULL) FROM l",
        "SELECT sum(*) FROM l",
        "SELECT abs(ts) FROM l",
        "SELECT upper(k, v) FROM l",
        "SELECT k[1] FROM l",
        "SELECT id FROM l WHERE k LIKE 1",
        "SELECT -k FROM l",
        "SELECT ts + 'a' FROM l",
        "WITH w AS (SELECT id, abs(k) FROM l) SELECT id FROM w",
        "SELECT id FROM (SELECT id FROM l UNION ALL SELECT abs(k) FROM r)",
    ]));
}

#[test]
fn constants_that_cannot_be_computed_are_found_before_anything_runs() {
    insta::assert_snapshot!(all(&[
        "SELECT CAST(300 AS TINYINT)",
        "SELECT DATE '2024-02-30'",
        "SELECT id, CAST('x' AS INT) FROM l",
        "SELECT 1 / 0",
        "SELECT CASE WHEN 1 > 2 THEN 1 / 0 END",
        "VALUES (1, 'a'), ('b', 2)",
        "INSERT INTO o VALUES (1), ('x')",
        "INSERT INTO o SELECT 'x' FROM l",
        "SELECT v FROM l WHERE v IN (1, 'b')",
        "SELECT v FROM p WHERE v BETWEEN 'a' AND '7'",
        "SELECT id FROM l WHERE ts > 'yesterday'",
        "SELECT DATE_FORMAT(ts, 'bogus') FROM l",
        "SELECT REGEXP_EXTRACT(k, '(', 1) FROM p",
        "CREATE FUNCTION f(x INT) RETURNS INT RETURN 'abc'",
        "CREATE FUNCTION f(x INT) RETURNS INT RETURN x; SELECT f('a')",
    ]));
}

#[test]
fn constants_of_functions_are_looked_at_where_they_stand() {
    insta::assert_snapshot!(all(&[
        "SELECT id, TO_CHAR(ts, 'YYYY-MM-DDTHH') FROM l",
        "SELECT id, TO_CHAR(v, '999') FROM l",
        "SELECT id, TO_TIMESTAMP(v = 1) FROM l",
        "SELECT id, TO_DATE(20240101) FROM p",
        "SELECT id, k = ANY(a) FROM p",
        "SELECT REGEXP_MATCH(k, '(') FROM p",
        "SELECT PERCENTILE_CONT(1.5) WITHIN GROUP (ORDER BY v) FROM p",
        "SELECT MAX(ar) FROM l",
        "SELECT MAX(MAP['a', v]) FROM p",
        "SELECT NTH_VALUE(k, 0) OVER (ORDER BY id) FROM p",
        "SELECT NTH_VALUE(k, 0) FROM p",
        "SELECT NTILE(0) OVER (ORDER BY id) FROM p",
        "SELECT NTILE(v) OVER (ORDER BY id) FROM p",
        "SELECT LAG(k, NULL) OVER (ORDER BY id) FROM p",
        "SELECT id, REPEAT('ab', 2000000000) FROM l",
    ]));
}

#[test]
fn conditions_and_comparisons_have_types() {
    insta::assert_snapshot!(all(&[
        "SELECT id FROM l WHERE v",
        "SELECT id FROM l WHERE v + 1",
        "SELECT CASE WHEN v THEN 1 ELSE 0 END FROM l",
        "SELECT count(*) FILTER (WHERE v) FROM p",
        "SELECT id FROM l WHERE k = 1",
        "SELECT id FROM p WHERE upper(k) > v",
        "SELECT id FROM p WHERE v = '1'",
        "SELECT id FROM l WHERE k IN (1, 2)",
        "SELECT id FROM p WHERE k BETWEEN 1 AND 3",
        "SELECT CASE k WHEN 1 THEN 'a' END FROM p",
        "SELECT id FROM p WHERE ts BETWEEN 1 AND 3",
        "SELECT id FROM l WHERE v IS TRUE",
        "SELECT k, count(*) AS c FROM l GROUP BY k HAVING c",
        "SELECT id FROM (SELECT id FROM l WHERE v) WHERE id > 1",
    ]));
}

#[test]
fn what_is_wrong_with_a_view_is_said_where_it_is_named() {
    insta::assert_snapshot!(all(&[
        "CREATE VIEW w AS SELECT v FROM o2",
        "CREATE VIEW w AS SELECT v FROM p; CREATE OR REPLACE TABLE p (id BIGINT)
         WITH ('connector' = 'filesystem', 'path' = 'p.json', 'format' = 'json');
         SHOW CREATE TABLE w;
         DESCRIBE w",
    ]));
}

#[test]
fn columns_and_positions_have_a_place() {
    insta::assert_snapshot!(all(&[
        "SELECT k FROM l GROUP BY v",
        "SELECT k, count(*) FROM p",
        "SELECT k FROM l GROUP BY 5",
        "SELECT k FROM l ORDER BY 7",
        "SELECT k FROM p LIMIT -1",
        "SELECT k FROM p LIMIT 1 OFFSET -2",
        "SELECT k FROM p WHERE sum(v) > 1",
        "SELECT k FROM l UNION ALL SELECT k, v FROM r",
    ]));
}

#[test]
fn what_is_not_supported_is_named_in_sqls_words() {
    insta::assert_snapshot!(all(&[
        "SELECT k FROM l INTERSECT SELECT k FROM r",
        "SELECT k FROM l EXCEPT SELECT k FROM r",
        "SELECT l.id FROM l LEFT SEMI JOIN r ON l.k = r.k",
        "SELECT id FROM l WHERE EXISTS (SELECT 1 FROM r WHERE l.k = r.k
         AND l.ts BETWEEN r.ts - INTERVAL '5' SECOND AND r.ts)",
        "SELECT id FROM l WHERE k NOT IN (SELECT k FROM r)",
        "SELECT EXISTS (SELECT 1 FROM r) FROM l",
        "SELECT EXISTS (SELECT 1 FROM p) FROM p",
        "SELECT (SELECT max(v) FROM r) FROM l",
        "SELECT id, u FROM p LEFT JOIN UNNEST(a) AS t(u) ON u > 1",
        "SELECT id, u FROM p, LATERAL (SELECT a AS u)",
        "SELECT k, ROW_NUMBER() OVER (ORDER BY ts) FROM l",
        "SELECT l.k FROM l JOIN r ON l.k = r.k",
        "SELECT ar[2].p FROM l",
        "SELECT * FROM generate_series(1, 3)",
        "SELECT UNNEST(ar) FROM l",
        "SELECT k, STRING_AGG(c, ',') FROM (SELECT k, CAST(count(*) AS STRING) AS c FROM l
         GROUP BY k) GROUP BY k",
        "SELECT l.id FROM l LEFT SEMI JOIN p FOR SYSTEM_TIME AS OF l.ts AS p ON l.k = p.k",
        "INSERT INTO o SELECT v FROM l ORDER BY v",
        "INSERT INTO o SELECT v FROM (SELECT v FROM l LIMIT 1)",
        "SELECT id FROM p WHERE k SIMILAR TO 'a%'",
        "SELECT id FROM p WHERE k LIKE 'a!%' ESCAPE '!!'",
        "SELECT id FROM p WHERE id = $1",
        "SELECT LAG(v) FROM p",
    ]));
}

#[test]
fn what_datafusion_words_for_developers_is_said_in_sql() {
    insta::assert_snapshot!(all(&[
        "SELECT id FROM l ORDER BY 0",
        "SELECT id FROM p UNION ALL SELECT ts FROM p",
        "SELECT id FROM p UNION ALL SELECT v FROM p UNION ALL SELECT k FROM p",
        "SELECT CAST(ts AS BOOLEAN) FROM l",
        "SELECT * FROM (VALUES (1, 2), (3))",
        "SELECT * FROM (VALUES ('2024-01-01'), (DATE '2024-01-02')) AS v(d)",
        "SELECT CASE WHEN id > 1 THEN ts ELSE 5 END FROM l",
        "SELECT -k, v FROM p",
        "SELECT id FROM l WHERE NOT v",
        "SELECT sum(count(*)) FROM p",
        "SELECT TUMBLE(ts, INTERVAL '1' MINUTE) FROM l",
        "SELECT ar[1].q FROM p2",
        "SELECT v.x FROM p2",
        "SELECT id FROM p WHERE k AND id > 1",
        "SELECT * FROM (VALUES (1, 2)) AS t(a)",
        "SELECT *, * FROM p",
        "SELECT CAST('maybe' AS BOOLEAN), 1 FROM p",
        "SELECT CAST(99999999999999999999 AS BIGINT) FROM p",
        "SELECT ts + ts FROM l",
        "SELECT ROW() FROM p",
        "SELECT k FROM p HAVING v > 1",
        "SELECT CAST(ts AS INT) FROM l",
        "SELECT MAP['a', 1][k], MAP['a', 1][5] FROM p",
        "SELECT k FROM p UNION ALL SELECT CAST(ts AS DATE) FROM l",
        "SELECT GREATEST(k, id) FROM p",
        "SELECT NULLIF(k, 5), COALESCE(k, '5'), GREATEST(id, '7') FROM p",
    ]));
}

#[test]
fn what_is_misplaced_or_twice_has_its_place() {
    insta::assert_snapshot!(all(&[
        "SELECT k, FROM l",
        "SELECT k FROM l WHERE k IN ('a',)",
        "SELECT k FROM l WHERE",
        "SELECT * FROM 'l.csv'",
        "SELECT 'l' FROM l JOIN 'l.csv' AS c ON c.k = l.k",
        "WITH a AS (SELECT 1 AS x), a AS (SELECT 2 AS x) SELECT x FROM a",
        "SELECT k FROM l, LATERAL TABLE(split(k)) AS t(part)",
    ]));
}

#[test]
fn what_does_not_fit_a_column_is_told_where_it_is_written() {
    insta::assert_snapshot!(all(&[
        "INSERT INTO o SELECT k FROM l",
        "INSERT INTO o VALUES (1), (3000000000)",
        "INSERT INTO o VALUES (1), (TRUE)",
        "INSERT INTO o (v, v) VALUES (1, 2)",
        "INSERT INTO p VALUES (1, 7, 'k', 1, ARRAY[1])",
        "INSERT INTO o SELECT * FROM (SELECT k FROM p)",
        "INSERT INTO o SELECT k FROM p UNION ALL SELECT k FROM p",
        "CREATE TABLE n (a ARRAY<TINYINT>, r ROW<x INT>) WITH ('connector' = 'blackhole');
         INSERT INTO n SELECT ARRAY[1, 300], ROW(v) FROM p",
        "CREATE TABLE n (a ARRAY<TINYINT>, r ROW<x INT>) WITH ('connector' = 'blackhole');
         INSERT INTO n SELECT ARRAY[1], ROW(1, 2) FROM p",
    ]));
}

#[test]
fn options_of_functions_are_checked_before_anything_runs() {
    insta::assert_snapshot!(all(&[
        "SELECT date_trunc('foo', ts) FROM l",
        "SELECT date_part('bogus', ts) FROM l",
        "SELECT encode(k, 'bogus') FROM p",
        "SELECT regexp_match(k, '[') FROM l",
        "SELECT date_bin(INTERVAL '0' SECOND, ts) FROM l",
        "SELECT k, approx_percentile_cont(v, 5) FROM p GROUP BY k",
        "SELECT date_trunc(k, ts), date_trunc('hour', ts), decode(k, 'hex') FROM l",
    ]));
}

/// Statements that DataFusion refuses, so that every entry of the table is met.
const REFUSED: &[&str] = &[
    "SELECT v[1] FROM p",
    "SELECT abs(ts) FROM p",
    "SELECT v = ANY(v) FROM p",
    "SELECT upper(k, v) FROM p",
    "SELECT sum(NULL) FROM p",
    "SELECT TUMBLE(ts, INTERVAL '1' MINUTE) FROM p",
    "SELECT * FROM generate_series(1, 3)",
    "SELECT sum(count(*)) FROM p",
    "SELECT sum(ROW_NUMBER() OVER (ORDER BY id)) FROM p",
    "SELECT LAG(ROW_NUMBER() OVER (ORDER BY id)) OVER (ORDER BY id) FROM p",
    "SELECT sum(v) WITHIN GROUP (ORDER BY v) FROM p",
    "SELECT ARRAY_AGG(DISTINCT v ORDER BY id) FROM p",
    "SELECT GROUPING(v) FROM p GROUP BY ROLLUP(id)",
    "SELECT sum(v) OVER w FROM p",
    "SELECT k, count(*) FROM p",
    "SELECT k FROM p HAVING v > 1",
    "SELECT k FROM p GROUP BY 5",
    "SELECT k FROM p QUALIFY id = 1",
    "SELECT k FROM p ORDER BY 7",
    "SELECT k FROM p ORDER BY 0",
    "SELECT DISTINCT v + 1 FROM p ORDER BY id",
    "SELECT k FROM p LIMIT -1",
    "SELECT k FROM p LIMIT 1 OFFSET -2",
    "SELECT k FROM p LIMIT 'a'",
    "SELECT k FROM p WHERE v + 1",
    "SELECT p.k FROM p LEFT JOIN p2 ON p.v",
    "SELECT k FROM p UNION ALL SELECT k, v FROM p",
    "SELECT id FROM p UNION ALL SELECT ts FROM p",
    "SELECT id FROM p WHERE id > (SELECT id, v FROM p)",
    "SELECT id FROM p WHERE ts IN (SELECT id FROM p)",
    "SELECT id FROM p ORDER BY (SELECT max(q.v) FROM p AS q WHERE q.id = p.id)",
    "SELECT max(id) FROM p GROUP BY (SELECT max(q.v) FROM p AS q WHERE q.id = p.id)",
    "SELECT (SELECT q.v FROM p AS q WHERE q.id = p.id) FROM p",
    "SELECT *, * FROM p",
    "SELECT id FROM p CROSS JOIN UNNEST(k) AS t(u)",
    "SELECT * FROM (VALUES ('2024-01-01'), (DATE '2024-01-02')) AS v(d)",
    "SELECT CASE WHEN id > 1 THEN ts ELSE 5 END FROM p",
    "SELECT ts + 1 FROM p",
    "SELECT ts + ts FROM p",
    "SELECT ts = 1, v = TRUE FROM p",
    "SELECT k LIKE v FROM p",
    "SELECT id XOR TRUE FROM p",
    "SELECT id & k FROM p",
    "SELECT id || 5 FROM p",
    "SELECT id ~ 5 FROM p",
    "SELECT id BETWEEN ts AND 3 FROM p",
    "SELECT k::jsonb FROM p",
    "SELECT -k FROM p",
    "SELECT +k FROM p",
    "SELECT NOT v FROM p",
    "SELECT ~v FROM p",
    "SELECT id FROM p WHERE k AND id > 1",
    "SELECT INTERVAL '1' DAY + 1 FROM p",
    "SELECT ts AT TIME ZONE k FROM p",
    "SELECT ar[1].q FROM p2",
    "SELECT v.x FROM p2",
    "SELECT a['x'] FROM p",
    "SELECT X'0G' FROM p",
    "SELECT id FROM p WHERE UNNEST(a) = 1",
    "SELECT * FROM p, UNNEST(a) WITH ORDINALITY AS q(u, o)",
    "SELECT sum(v) IGNORE NULLS FROM p",
    "SELECT sum(x => 1), lower(x => k) FROM p",
    "SELECT a -> 'x' FROM p",
    "SELECT v OVERLAPS id FROM p",
    "SELECT id IN (1, 'a', ts) FROM p",
    "SELECT k COLLATE de FROM p",
];

#[test]
fn every_sentence_of_datafusions_is_said_in_sqls_words() {
    let _ = sentences::hits::take();
    let said = all(REFUSED);
    let hits = sentences::hits::take();
    let never = sentences::KNOWN.iter().enumerate().filter(|(index, _)| !hits.contains(index));
    let never: Vec<&str> = never.map(|(_, sentence)| sentence.theirs).collect();
    insta::assert_snapshot!(said);
    assert!(never.is_empty(), "never met: {never:#?}");
    for line in said.lines().filter(|line| line.contains("^ ")) {
        let (_, message) = line.split_once("^ ").unwrap_or_default();
        assert!(!is_foreign(message), "{line}");
    }
    assert!(!said.contains("\nplanned\n"), "{said}");
}

#[test]
fn what_is_known_of_types_is_checked_before_anything_runs() {
    insta::assert_snapshot!(all(&[
        "SELECT LEAD(v, 1, 'x') OVER (ORDER BY id) FROM p",
        "SELECT LAG(v, 1, 3000000000) OVER (ORDER BY id) FROM p",
        "SELECT LAG(v, 1, 1.5) OVER (ORDER BY id) FROM p",
        "SELECT LAG(v, 1, id) OVER (ORDER BY id) FROM p",
        "SELECT LAG(k, 1, 0) OVER (ORDER BY id) FROM p",
        "SELECT LAG(v, 1, 0) OVER w, LAG(id, 1, 7) OVER w, LAG(k, 1, '') OVER w,
         LAG(ts, 1, NULL) OVER w FROM p WINDOW w AS (ORDER BY id)",
        "SELECT ts AT TIME ZONE 'Mars/X' FROM p",
        "SELECT id FROM p WHERE k IN (SELECT v FROM p)",
        "SELECT id FROM p WHERE (id, v) IN (SELECT id, v FROM p)",
        "SELECT id FROM p LIMIT (SELECT 1)",
        "SELECT 1 = TRUE",
        "SELECT ARRAY_PREPEND('a', ARRAY[1])",
        "SELECT id FROM p ORDER BY ts + 1",
        "SELECT INTERVAL 'x' DAY, 1 FROM p",
        "SELECT INTERVAL '99999999999999' YEAR FROM p",
        "CREATE TABLE n (a TINYINT) WITH ('connector' = 'blackhole'); INSERT INTO n VALUES (1), (128)",
        "CREATE TABLE n (a DECIMAL(5, 1)) WITH ('connector' = 'blackhole'); INSERT INTO n VALUES (12345.67)",
        "CREATE TABLE n (a DATE) WITH ('connector' = 'blackhole'); INSERT INTO n VALUES ('x')",
        "CREATE TABLE n (a DECIMAL(5, 7)) WITH ('connector' = 'blackhole')",
        "SELECT CAST(v AS DECIMAL(10, 40)) FROM p",
        "SELECT CAST(v AS DECIMAL(10, -2)) FROM p",
        "SELECT id << 2 FROM p",
        "SELECT 1, (SELECT 1, 2) FROM p",
    ]));
}
