//! Every entry of the table is hit by a statement that fails, or where no statement of a test is
//! small enough, by the message.

use std::collections::BTreeSet;

use datafusion::error::DataFusionError;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::{KNOWN, known};
use crate::wording::{is_foreign, reason, tidy};

/// Statements that DataFusion refuses by their values, with what is said.
const STATEMENTS: &[(&str, &str)] = &[
    ("SELECT CAST('a' AS INT)", "cannot cast 'a' to INT"),
    ("SELECT CAST('a' AS BOOLEAN)", "cannot cast 'a' to BOOLEAN"),
    ("SELECT CAST(300 AS TINYINT)", "cannot cast 300 to TINYINT"),
    ("SELECT CAST(1e300 AS INT)", "cannot cast 1e300 to INT"),
    ("SELECT CAST(1e300 AS DECIMAL(10, 2))", "cannot cast 1e300 to DECIMAL(10, 2)"),
    ("SELECT CAST('a' AS DECIMAL(10, 2))", "cannot cast 'a' to DECIMAL"),
    ("SELECT CAST(1234.5 AS DECIMAL(4, 2))", "1234.50 does not fit a DECIMAL of 4 digits"),
    ("SELECT CAST(-1234.5 AS DECIMAL(4, 2))", "-1234.50 does not fit a DECIMAL of 4 digits"),
    ("SELECT ABS(CAST(-128 AS TINYINT))", "ABS(-128) does not fit TINYINT"),
    ("SELECT FACTORIAL(50)", "FACTORIAL(50) does not fit BIGINT"),
    ("SELECT LCM(9223372036854775807, 2)", "LCM(9223372036854775807, 2) does not fit BIGINT"),
    ("SELECT CAST('x' AS TIMESTAMP)", "cannot cast 'x' to TIMESTAMP"),
    ("SELECT TO_TIMESTAMP('x', '%Y')", "'x' is no time by the pattern '%Y'"),
    ("SELECT CAST('x' AS TIME)", "cannot cast 'x' to TIME"),
    ("SELECT TO_TIME('x')", "cannot cast 'x' to TIME"),
    ("SELECT TIMESTAMP '2020-01-01' AT TIME ZONE 'Mars'", "there is no time zone 'Mars'"),
    ("SELECT INTERVAL '99999999999' YEAR", "an INTERVAL of 99999999999 years is too long"),
    ("SELECT INTERVAL '99999999999' MONTH", "an INTERVAL of 99999999999 months is too long"),
    ("SELECT INTERVAL 'x' DAY", "'x DAY' is no INTERVAL"),
    ("SELECT REGEXP_LIKE('a', '(')", "'(' is not a regular expression: unclosed group"),
    ("SELECT REGEXP_LIKE('a', REPEAT('a{1000}', 1000))", "the regular expression is too large"),
    ("SELECT CAST(X'FF' AS VARCHAR)", "these bytes are no text in UTF-8"),
    ("SELECT CHR(55296)", "there is no character with the number 55296"),
    ("SELECT SUBSTR('abc', 1, -1)", "SUBSTRING takes a length from 0, not -1"),
    ("SELECT DECODE('abc', 'hex')", "this is no text in hex"),
    ("SELECT DECODE('a-', 'base64')", "this is no text in base64"),
    (
        "SELECT ENCODE('a', c) FROM (VALUES ('hex'), ('x')) AS t(c)",
        "the encoding of ENCODE and DECODE must be a literal, such as 'hex'",
    ),
    ("SELECT ENCODE('a', 'x')", "there is no encoding 'x', only base64, base64pad, hex"),
    (
        "SELECT DIGEST('a', 'x')",
        "there is no digest 'x', only md5, sha224, sha256, sha384, sha512, blake2s, blake2b, blake3",
    ),
    (
        "SELECT DATE_PART(c, DATE '2020-01-01') FROM (VALUES ('year')) AS t(c)",
        "the unit of DATE_PART must be a literal",
    ),
    (
        "SELECT DATE_TRUNC(c, TIMESTAMP '2020-01-01') FROM (VALUES ('year'), ('day')) AS t(c)",
        "the unit of DATE_TRUNC must be a literal",
    ),
    (
        "SELECT STRING_AGG(c, c) FROM (VALUES ('a'), ('b')) AS t(c)",
        "the separator of STRING_AGG must be a literal",
    ),
    ("SELECT REGEXP_COUNT('a', 'a', 0)", "REGEXP_COUNT takes a start from 1"),
    ("SELECT RANGE(1, 9223372036854775807)", "the array would be too long"),
    ("SELECT RANGE(1, 10, 0)", "the step of an array's numbers must not be 0"),
    (
        "SELECT RANGE(DATE '2020-01-01', DATE '2020-01-03', INTERVAL '1' HOUR)",
        "the step between dates is a day or more",
    ),
    ("SELECT ARRAY_SLICE([1, 2], 1, 2, 0)", "the step of a slice must not be 0"),
    ("SELECT MAP(['a', 'a'], [1, 2])", "the map has the key a twice"),
    ("SELECT MAP([NULL], [1])", "a key of a map must not be NULL"),
    (
        "SELECT (SELECT c FROM (VALUES (1), (2)) AS t(c))",
        "a subquery that stands for one value returns several rows",
    ),
    (
        "SELECT COUNT(DISTINCT c, d) FROM (VALUES (1, 2)) AS t(c, d)",
        "COUNT(DISTINCT …) of several columns is not supported",
    ),
    ("SELECT DATE '2020-01-01' + INTERVAL '200000000' MONTH", "the date is too far from 1970"),
    (
        "SELECT DATE_TRUNC('year', arrow_cast(-9223372036854775807, 'Timestamp(Nanosecond, None)'))",
        "the timestamp is too far from 1970",
    ),
    (
        "SELECT CAST(arrow_cast(9223372036854775807, 'Timestamp(Microsecond, None)') AS DATE)",
        "9223372036854775807 microseconds since 1970 is too far from 1970 for a time",
    ),
];

/// Messages of what is seldom, takes much memory, or fails before it gets to DataFusion.
const MESSAGES: &[(&str, &str)] = &[
    ("Cannot cast value 'a' to value of Boolean type", "cannot cast 'a' to BOOLEAN"),
    ("value of 300 is out of range Int8", "cannot cast 300 to TINYINT"),
    ("can't parse the string value x to decimal", "cannot cast 'x' to DECIMAL"),
    ("Invalid decimal format: \"x\"", "cannot cast 'x' to DECIMAL"),
    ("Cannot parse decimal format: x", "cannot cast 'x' to DECIMAL"),
    ("parse decimal overflow (9999)", "cannot cast '9999' to DECIMAL"),
    ("Cannot convert x to Decimal", "cannot cast 'x' to DECIMAL"),
    (
        "Cannot cast to Decimal128(5, 2). Overflowing on 1234.5",
        "cannot cast 1234.5 to DECIMAL(5, 2)",
    ),
    ("Can't cast value 300 to type Int8", "cannot cast 300 to TINYINT"),
    ("Casting from Boolean to Date32 not supported", "cannot cast BOOLEAN to DATE"),
    (
        "Physical plan does not support logical expression AggregateFunction(x)",
        "an aggregate function is not supported at this place",
    ),
    ("Failed to parse 'x' as time", "cannot cast 'x' to TIME"),
    ("Error parsing 'x' as time. Tried formats: []", "cannot cast 'x' to TIME"),
    (
        "Error parsing timestamp from 'x' using format '%Y': bad",
        "'x' is no time by the pattern '%Y'",
    ),
    ("Timestamp out of range", "the timestamp is too far from 1970"),
    ("Timestamp 9 out of range", "the timestamp is too far from 1970"),
    (
        "Cannot convert arrow_array::types::TimestampMicrosecondType 9 to datetime",
        "9 microseconds since 1970 is too far from 1970 for a time",
    ),
    ("Date arithmetic overflow: 19000 + 5 months", "the date is too far from 1970"),
    ("Array overflow on abs(-128)", "ABS(-128) does not fit TINYINT"),
    (
        "Unable to represent 1 months in a signed 32-bit integer",
        "an INTERVAL of 1 months is too long",
    ),
    (
        "Unable to build regex from LIKE pattern: CompiledTooBig(10485760)",
        "the regular expression is too large",
    ),
    ("Compiled regex exceeds size limit of 10485760 bytes.", "the regular expression is too large"),
    ("byte array offset overflow", "a text is too long"),
    (
        "string size overflow on repeat, max size is 9, but got 10",
        "REPEAT would make a text of 10 bytes, at most 9 are possible",
    ),
    (
        "lpad requested length 3000000000 too large, maximum allowed length is 2147483647",
        "LPAD would make a text of 3000000000 characters, at most 2147483647 are possible",
    ),
    ("Failed to decode value using base64: bad", "this is no text in base64"),
    ("Failed to decode from hex: bad", "this is no text in hex"),
    ("Input range of SQRT contains out-of-domain values", "SQRT is not defined for this value"),
    (
        "Found unmasked nulls for non-nullable StructArray field \"b\"",
        "'b' inside is NOT NULL and gets NULL",
    ),
    (
        "Non-nullable field of ListArray \"item\" cannot contain nulls",
        "an element that is NOT NULL gets NULL",
    ),
    (
        "Encountered unmasked nulls in non-nullable StructArray child: Field { \"a\": Utf8 }",
        "'a' inside is NOT NULL and gets NULL",
    ),
    ("The second parameter of array_sort expects DESC or ASC", "ARRAY_SORT takes 'ASC' or 'DESC'"),
    ("Unsupported data type Int64 for function `initcap`", "INITCAP does not take BIGINT"),
    ("array_max does not support type: List(Int32)", "ARRAY_MAX does not take ARRAY<INT>"),
    (
        "STDDEV_POP(DISTINCT) aggregations are not available",
        "STDDEV_POP(DISTINCT …) is not supported",
    ),
    ("Arithmetic Overflow in AvgAccumulator", "the sum of an AVG has too many digits"),
    ("step can't be 0 for function range(start)", "the step of an array's numbers must not be 0"),
];

/// Returns what DataFusion says about a statement.
async fn refused(sql: &str) -> Option<DataFusionError> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    match context.sql(sql).await {
        Ok(rows) => rows.collect().await.err(),
        Err(error) => Some(error),
    }
}

#[tokio::test]
async fn every_failure_that_is_known_is_told_in_sqls_words() {
    let (mut hit, mut wrong) = (BTreeSet::new(), Vec::new());
    for (sql, expected) in STATEMENTS {
        let Some(error) = refused(sql).await else {
            wrong.push(format!("{sql} is answered"));
            continue;
        };
        let raw = error.strip_backtrace();
        hit.extend(known(&raw).map(|(index, _)| index));
        let said = reason(&error);
        if said != *expected {
            wrong.push(format!("{sql}\n  {raw}\n  {said}"));
        }
    }
    for (message, expected) in MESSAGES {
        hit.extend(known(message).map(|(index, _)| index));
        if tidy(message) != *expected {
            wrong.push(format!("{message}\n  {}", tidy(message)));
        }
    }
    let never = KNOWN.iter().enumerate().filter(|(index, _)| !hit.contains(index));
    wrong.extend(never.map(|(_, (theirs, _))| format!("never said: {theirs}")));
    let expected = STATEMENTS.iter().chain(MESSAGES).map(|(_, expected)| *expected);
    wrong.extend(expected.filter(|said| is_foreign(said)).map(|said| format!("foreign: {said}")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
