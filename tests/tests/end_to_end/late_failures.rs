//! What fails on rows is told in SQL's words, by streams and by DataFusion's batch engine.

use std::fmt::Write;

use libtest_mimic::{Failed, Trial};

use super::program::{LocalCluster, Place, trial};

/// Columns of one row, over which expressions are refused by their values alone.
const COLUMNS: &str = "(k STRING, n BIGINT, i INT, x DOUBLE, d DECIMAL(10, 2), ts TIMESTAMP(3),
  day DATE, b BYTES, a ARRAY<INT>, z INT, p STRING, big BIGINT, neg INT";
const ROW: &str = "{\"k\":\"abc\",\"n\":300,\"i\":7,\"x\":1e300,\"d\":12345678.90,\
\"ts\":\"2024-01-01 00:00:00\",\"day\":\"2024-01-31\",\"b\":\"/w==\",\"a\":[1,2],\"z\":0,\
\"p\":\"(\",\"big\":9223372036854775807,\"neg\":-1}\n";

/// Expressions that fail, each with what must be said.
const FAILING: &[(&str, &str)] = &[
    ("CAST(k AS INT)", "cannot cast 'abc' to INT"),
    ("CAST(k AS BIGINT)", "cannot cast 'abc' to BIGINT"),
    ("CAST(k AS DOUBLE)", "cannot cast 'abc' to DOUBLE"),
    ("CAST(k AS FLOAT)", "cannot cast 'abc' to FLOAT"),
    ("CAST(k AS DECIMAL(5, 2))", "cannot cast 'abc' to DECIMAL"),
    ("CAST(k AS BOOLEAN)", "cannot cast 'abc' to BOOLEAN"),
    ("CAST(k AS DATE)", "cannot cast 'abc' to DATE"),
    ("CAST(k AS TIME)", "cannot cast 'abc' to TIME"),
    ("CAST(k AS TIMESTAMP(3))", "cannot cast 'abc' to TIMESTAMP"),
    ("CAST(n AS TINYINT)", "300"),
    ("CAST(x AS BIGINT)", "1e300"),
    ("CAST(d AS DECIMAL(4, 2))", "DECIMAL"),
    ("CAST(x AS DECIMAL(10, 2))", "DECIMAL(10, 2)"),
    ("i / z", "division by zero"),
    ("i % z", "division by zero"),
    ("d / z", "division by zero"),
    ("ABS(CAST(neg * 128 AS TINYINT))", ""),
    ("POWER(big, 3)", ""),
    ("FACTORIAL(neg)", "negative"),
    ("FACTORIAL(n)", ""),
    ("GCD(big, big) * big", ""),
    ("LCM(big, big - 1)", ""),
    ("REGEXP_LIKE(k, p)", "regular expression"),
    ("REGEXP_MATCH(k, p)[1]", "regular expression"),
    ("REGEXP_REPLACE(k, p, 'x')", "regular expression"),
    ("REGEXP_EXTRACT(k, p)", "regular expression"),
    ("REGEXP_COUNT(k, p)", "regular expression"),
    ("k ~ p", "regular expression"),
    ("MAKE_DATE(2024, n, 1)", ""),
    ("MAKE_TIME(n, 0, 0)", ""),
    ("CHR(big)", ""),
    ("CHR(neg)", ""),
    ("REPEAT(k, big)", ""),
    ("LPAD(k, big, 'x')", ""),
    ("RPAD(k, big, 'x')", ""),
    ("SPLIT_PART(k, 'b', z)", ""),
    ("SUBSTRING(k, 1, neg)", ""),
    ("DECODE(k, 'hex')", ""),
    ("DECODE(k, 'base64')", ""),
    ("CAST(b AS STRING)", ""),
    ("TO_CHAR(ts, p || 'foo')", "TO_CHAR does not know"),
    ("DATE_FORMAT(ts, k)", "letter 'b'"),
    ("TO_TIMESTAMP(big)", "is no time"),
    ("FROM_UNIXTIME(big)", "is no time"),
    ("TO_TIMESTAMP_LTZ(n, i)", "takes precision 0 or 3, not 7"),
    ("TO_TIMESTAMP_SECONDS(k)", ""),
    ("TO_TIMESTAMP_MILLIS(k)", ""),
    ("day + n * INTERVAL '1000000' YEAR", ""),
    ("ts + n * INTERVAL '1000000' YEAR", ""),
    ("ARRAY_RESIZE(a, big)", ""),
    ("ARRAY_REPEAT(i, big)", ""),
    ("RANGE(1, n, z)", ""),
    ("MAP[k, 1, k, 2]['abc']", "abc"),
    ("SQRT(neg * x)", ""),
    ("ENCODE(b, k)", "must be a literal"),
    ("CAST(k AS SMALLINT)", "cannot cast 'abc' to SMALLINT"),
    ("CAST(big AS INT)", "cannot cast 9223372036854775807 to INT"),
    ("CAST(x AS FLOAT) + CAST(x AS INT)", "cannot cast 1e300 to INT"),
    ("CAST(k AS ARRAY<INT>)", "cannot cast 'abc' to INT"),
    ("CAST(big AS DECIMAL(5, 2))", "does not fit a DECIMAL of 5 digits"),
    ("CAST(k || '1' AS BYTES) || DECODE(k, 'hex')", "this is no text in hex"),
    ("big + 1", "9223372036854775807 + 1 does not fit BIGINT"),
    ("big * i", "does not fit BIGINT"),
    ("d * 1e10 / z", ""),
    ("d * d * d * d * d * d * d", "does not fit DECIMAL"),
    ("i - 2147483647 - 100", "does not fit INT"),
    ("a[big]", ""),
    ("a[1:big:z]", "must not be 0"),
    ("DATE_PART(k, ts)", "must be a literal"),
    ("DATE_TRUNC(k, ts)", "must be a literal"),
    ("TIMESTAMPDIFF(DAY, ts, TO_TIMESTAMP_SECONDS(big))", "is no time"),
    ("DIGEST(k, k)", ""),
    ("GENERATE_SERIES(1, big)", "the array would be too long"),
    ("ARRAY_SORT(a, k)", ""),
    ("SUBSTRING(k, 1, neg * 5)", "SUBSTRING takes a length from 0, not -5"),
    ("MAP[k, 1, k, 2]", "the map has the key abc twice"),
    ("REGEXP_COUNT(k, 'a', z)", "REGEXP_COUNT takes a start from 1"),
    ("ts AT TIME ZONE 'Mars/X'", "there is no time zone 'Mars/X'"),
    ("EXTRACT(YEAR FROM k)", "cannot cast 'abc' to TIMESTAMP"),
    ("(SELECT u FROM (VALUES (1), (2)) AS t(u))", "one value returns several rows"),
];

/// Words of those who program with DataFusion and Arrow.
const FOREIGN: &[&str] = &[
    "Arrow error",
    "DataFusion",
    "datafusion",
    "arrow_",
    "Int64",
    "Int32",
    "UInt",
    "Float64",
    "Utf8",
    "Decimal128",
    "Timestamp(",
    "TimestampM",
    "IntervalMonthDayNano",
    "ScalarValue",
    "Some(",
    "Internal error",
    "nternal error",
    "Execution error",
    "likely caused by a bug",
    "panicked",
    "Array\"",
    "StructArray",
    "ListArray",
    "Accumulator",
    "sqltorel",
    "Expr",
    "LogicalPlan",
    "Subquery",
    "ast node",
    "physical",
    "checked_",
    "make_array",
    "not implemented",
    "i64",
    "usize",
];

pub(crate) fn trials() -> Vec<Trial> {
    let of_streams = trial("late_failures::of_streams_are_in_sqls_words", || check("stream"));
    let of_batch = trial("late_failures::of_batch_are_in_sqls_words", || check("batch"));
    vec![of_streams, of_batch]
}

/// Selects each expression from a table of one row.
async fn check(table: &'static str) -> Result<(), Failed> {
    let place = Place::new();
    let file = place.write("row.json", ROW);
    let cluster = LocalCluster::start(&place, "1").await?;
    let with = format!(
        "WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json')",
        file.display()
    );
    for create in [
        format!("CREATE TABLE batch {COLUMNS}) {with}"),
        format!("CREATE TABLE stream {COLUMNS}, WATERMARK FOR ts AS ts) {with}"),
    ] {
        place.run(["sql", "-c", &create, "--master", &cluster.master]).await.success()?;
    }
    let mut wrong = String::new();
    for (expression, said) in FAILING {
        let query = format!("SELECT {expression} AS found FROM {table}");
        let ended = place.run(["sql", "-c", &query, "--master", &cluster.master]).await;
        // What is answered is no failure; that it is right is tested elsewhere.
        let message = match ended.code {
            Some(0) if said.is_empty() => continue,
            Some(0) => format!("answered {}", ended.stdout),
            _ if ended.stderr.contains("cannot reach") => {
                return Err(format!("{expression} ends the process").into());
            }
            _ => ended.stderr,
        };
        let foreign = FOREIGN.iter().find(|word| message.contains(**word));
        if foreign.is_some() || !message.contains(said) {
            writeln!(wrong, "-- {expression}: {said:?} {foreign:?}\n{message}")?;
        }
    }
    cluster.kill().await?;
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}
