use std::collections::BTreeMap;

use super::*;
use crate::statement::{ColumnClause, ColumnClauseKind, CreateTable, Insert};
use crate::types::type_sql;

fn parse_one(sql: &str) -> Statement {
    let mut statements = parse_script(sql).expect("parses");
    assert_eq!(statements.len(), 1);
    statements.remove(0).statement
}

fn parse_table(sql: &str) -> CreateTable {
    match parse_one(sql) {
        Statement::CreateTable(table) => table,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check_error(sql: &str, expected: &[&str]) {
    let errors = parse_script(sql).expect_err("does not parse");
    let errors: Vec<String> =
        errors.0.iter().map(|error| format!("{} {error}", error.code)).collect();
    assert_eq!(errors, expected);
}

fn describe(table: &CreateTable) -> Vec<String> {
    let column = |column: &ColumnClause| match &column.kind {
        ColumnClauseKind::Physical { data_type, nullable, .. } => {
            let not_null = if *nullable { "" } else { " NOT NULL" };
            format!("{} {}{not_null}", column.name.value, type_sql(data_type))
        }
        ColumnClauseKind::Computed(expr) => format!("{} AS {expr}", column.name.value),
    };
    table.columns.iter().map(column).collect()
}

#[test]
fn the_nexmark_table_parses_as_in_flink() {
    let table = parse_table(
        "CREATE TEMPORARY TABLE IF NOT EXISTS nexmark (
           event_type INT NOT NULL COMMENT 'kind',
           bid ROW<auction BIGINT, `dateTime` TIMESTAMP(3), tags ARRAY<ROW<a INT>>>,
           price DECIMAL(23, 3),
           attributes MAP<STRING, BIGINT>,
           dateTime AS CASE WHEN event_type = 2 THEN bid.dateTime END,
           p_time AS (PROCTIME()) COMMENT 'clock',
           WATERMARK FOR dateTime AS dateTime - INTERVAL '4' SECOND,
           PRIMARY KEY (event_type) NOT ENFORCED
         ) COMMENT 'all events'
         PARTITIONED BY (event_type)
         WITH ('connector' = 'nexmark', 'rate' = '10000');",
    );
    assert_eq!(
        describe(&table),
        [
            "event_type INT NOT NULL",
            "bid ROW<`auction` BIGINT, `dateTime` TIMESTAMP(3), `tags` ARRAY<ROW<`a` INT>>>",
            "price DECIMAL(23, 3)",
            "attributes MAP<STRING, BIGINT>",
            "dateTime AS CASE WHEN event_type = 2 THEN bid.dateTime END",
            "p_time AS (PROCTIME())",
        ]
    );
    assert!(table.mode.temporary && table.mode.if_not_exists && !table.mode.or_replace);
    let (time, expr) = table.watermark.expect("a watermark");
    assert_eq!(format!("{time} AS {expr}"), "dateTime AS dateTime - INTERVAL '4' SECOND");
    assert_eq!(table.primary_key[0].value, "event_type");
    assert_eq!(table.partitioned_by[0].value, "event_type");
    assert_eq!((table.options[1].key.as_str(), table.options[1].value.as_str()), ("rate", "10000"));
    assert_eq!(table.comment.as_deref(), Some("all events"));
    assert_eq!(table.columns[0].comment.as_deref(), Some("kind"));
}

#[test]
fn keys_of_options_may_stand_without_quotes() {
    let table =
        parse_table("CREATE TABLE t (a INT) WITH (connector = 'x', csv.null-literal = '-')");
    let keys: Vec<&str> = table.options.iter().map(|option| option.key.as_str()).collect();
    assert_eq!(keys, ["connector", "csv.null-literal"]);
}

#[test]
fn windowing_table_functions_parse() {
    for sql in [
        "SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND))",
        "SELECT * FROM TABLE(HOP(DATA => TABLE bid, TIMECOL => DESCRIPTOR(dateTime), SLIDE => INTERVAL '2' SECOND, SIZE => INTERVAL '10' SECOND)) AS w",
        "SELECT bidder, COUNT(*) FROM bid GROUP BY bidder, TUMBLE(p_time, INTERVAL '10' SECOND)",
        "SELECT b.auction, s.`value` FROM bid AS b JOIN side FOR SYSTEM_TIME AS OF b.p_time AS s ON mod(b.auction, 10000) = s.key",
        "SELECT COUNT(DISTINCT bidder) FILTER (WHERE price < 10000) FROM bid",
        "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS r FROM bid) WHERE r = 1",
        "SELECT CAST(x AS ROW<a INT, b ARRAY<STRING>>).a, TRY_CAST(y AS TIMESTAMP_LTZ(3)) FROM t",
        "SELECT IF(a > 1, 'x', 'y'), CURRENT_TIMESTAMP, LOCALTIMESTAMP, DATE '2024-01-01' FROM t",
    ] {
        assert!(matches!(parse_one(sql), Statement::Query(_)), "{sql}");
    }
}

#[test]
fn statements_are_split_at_semicolons_outside_strings_comments_and_sets() {
    let statements = parse_script(
        "-- one; two
         SELECT ';'; /* ; */
         EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END;
         BEGIN STATEMENT SET; INSERT INTO a SELECT 1; INSERT OVERWRITE b (x, y) (SELECT 1, 2); END;
         ;",
    )
    .expect("parses");
    assert_eq!(statements.len(), 3);
    let Statement::Insert(inserts) = &statements[2].statement else { panic!() };
    let [Insert { overwrite: false, .. }, Insert { overwrite: true, columns, .. }] = &inserts[..]
    else {
        panic!("{inserts:?}")
    };
    assert_eq!(columns.len(), 2);
    assert_eq!(statements[0].span.start, Location::new(2, 10));
}

#[test]
fn settings_are_taken_quoted_and_bare() {
    for (sql, expected_key, expected_value) in [
        ("SET 'table.exec.state.ttl' = '1 h';", "table.exec.state.ttl", "1 h"),
        ("SET parallelism.default = 4", "parallelism.default", "4"),
        ("SET execution.buffer-timeout = 10 ms", "execution.buffer-timeout", "10 ms"),
    ] {
        let Statement::Set { key, value } = parse_one(sql) else { panic!("{sql}") };
        assert_eq!((key.value.as_str(), value.as_str()), (expected_key, expected_value));
    }
    assert_eq!(parse_one("SET"), Statement::Show(Show::Settings));
    assert_eq!(parse_one("RESET;"), Statement::Reset(None));
    let Statement::Reset(Some(key)) = parse_one("RESET 'pipeline.name'") else { panic!() };
    assert_eq!(key.value, "pipeline.name");
}

#[test]
fn other_statements_parse() {
    assert_eq!(parse_one("show tables"), Statement::Show(Show::Tables));
    assert!(
        matches!(parse_one("SHOW CREATE TABLE `a b`"), Statement::ShowCreate(name) if name.value == "a b")
    );
    assert!(matches!(parse_one("DESC t"), Statement::Describe(_)));
    assert!(matches!(
        parse_one("EXPLAIN PLAN FOR INSERT INTO t VALUES (1)"),
        Statement::Explain(_)
    ));
    let Statement::Drop(drop) = parse_one("DROP TEMPORARY VIEW IF EXISTS v") else { panic!() };
    assert!(drop.temporary && drop.if_exists && drop.kind == ObjectKind::View);
    let Statement::CreateFunction(function) = parse_one(
        "CREATE FUNCTION count_c(s STRING) RETURNS BIGINT
         RETURN CHAR_LENGTH(s) - CHAR_LENGTH(REPLACE(s, 'c', ''));",
    ) else {
        panic!()
    };
    assert_eq!(function.body.to_string(), "CHAR_LENGTH(s) - CHAR_LENGTH(REPLACE(s, 'c', ''))");
    let Statement::CreateView(view) =
        parse_one("CREATE OR REPLACE VIEW v (a, b) AS SELECT 1, 2 -- end")
    else {
        panic!()
    };
    assert_eq!((view.query_sql.as_str(), view.columns.len()), ("SELECT 1, 2", 2));
}

#[test]
fn each_statement_that_does_not_parse_is_one_error() {
    check_error(
        "SELCT 1;\nSELECT * FORM t;\nCREATE TABLE t (a BIGNIT);\nSELECT 1",
        &[
            "parse 1:1: expected a statement, found: SELCT (did you mean 'SELECT'?)",
            "parse 2:10: expected end of statement, found: FORM (did you mean 'FROM'?)",
            "parse 3:19: there is no type 'BIGNIT' (did you mean 'BIGINT'?)",
        ],
    );
}

#[test]
fn what_is_not_supported_is_named() {
    check_error("UPDATE t SET a = 1", &["unsupported 1:1: UPDATE is not supported"]);
    check_error(
        "CREATE DATABASE d",
        &["unsupported 1:8: CREATE DATABASE is not supported (expected TABLE, VIEW or FUNCTION)"],
    );
    check_error(
        "CREATE TABLE t (LIKE s)",
        &[
            "unsupported 1:17: LIKE between the parentheses of CREATE TABLE is not supported (write LIKE s after them)",
        ],
    );
    check_error(
        "CREATE TABLE t (a INT DEFAULT 1)",
        &["unsupported 1:23: DEFAULT of a column is not supported"],
    );
    check_error(
        "CREATE TABLE t (a INT, b MULTISET<INT>)",
        &["parse 1:26: type MULTISET is not supported"],
    );
    check_error("DESCRIBE EXTENDED t", &["unsupported 1:10: DESCRIBE EXTENDED is not supported"]);
    check_error(
        "BEGIN",
        &[
            "unsupported 1:1: transactions are not supported (BEGIN STATEMENT SET; … END; makes several INSERTs one job)",
        ],
    );
    check_error(
        "CREATE TABLE t (a INT METADATA FROM 'offset')",
        &["unsupported 1:23: metadata columns such as 'a' are not supported"],
    );
    check_error(
        "CREATE TABLE t (a INT, PRIMARY KEY (a))",
        &[
            "unsupported 1:38: PRIMARY KEY is not enforced and must say so (write PRIMARY KEY … NOT ENFORCED)",
        ],
    );
}

#[test]
fn an_error_at_the_end_is_placed_behind_the_last_token() {
    check_error("SELECT\n  1 +", &["parse 2:6: expected an expression, found the end"]);
}

#[test]
fn what_is_wrong_in_brackets_is_told_there() {
    check_error(
        "SELECT ARRAY[1, 2, ]",
        &["parse 1:20: expected an expression, found: ] (there is a comma too much before it)"],
    );
    check_error("SELECT ARRAY['a' 'b']", &["parse 1:18: expected ], found: 'b'"]);
    check_error(
        "SELECT MAP['a', 1, 'b']",
        &["parse 1:23: expected a value for each key, found: ]"],
    );
    check_error("SELECT 'abc", &["parse 1:8: unterminated text"]);
}

#[test]
fn variables_are_put_in_and_errors_keep_their_places() {
    let variables = BTreeMap::from([("DIR".to_owned(), "/a/long/directory".to_owned())]);
    let script = "-- ${NOT}\nSELECT '${DIR}/x', '--${DIR}' FORM;";
    let template = Template::new(script, &variables).expect("all variables have values");
    assert!(template.text().contains("'/a/long/directory/x', '--/a/long/directory'"));
    assert!(template.text().starts_with("-- ${NOT}"));
    let span = Span::new(Location::new(2, 53), Location::new(2, 54));
    let errors = SqlErrors::from(SqlError::at(SqlErrorCode::Parse, span, ""));
    let located = template.locate(errors);
    assert_eq!((located.0[0].line, located.0[0].column), (2, 31));
}

#[test]
fn a_variable_without_a_value_is_an_error_at_its_place() {
    let variables = BTreeMap::from([("EVENTS".to_owned(), "1".to_owned())]);
    let Err(errors) = Template::new("SELECT 1,\n  ${EVENT}, ${X}", &variables) else { panic!() };
    assert_eq!(
        errors.to_string(),
        "2:3: variable 'EVENT' has no value (did you mean 'EVENTS'?)\n\
         2:13: variable 'X' has no value (give it one with -D X=value)"
    );
}

#[test]
fn completeness_is_told_for_the_repl() {
    for text in ["", "  -- comment", "SELECT 1;", "SELECT 1; -- done", "SELECT ';' ;"] {
        assert!(is_complete(text), "{text}");
    }
    for text in [
        "SELECT 1",
        "SELECT 'a;",
        "SELECT 1; SELECT",
        "/* open ;",
        "BEGIN STATEMENT SET; INSERT INTO a SELECT 1;",
    ] {
        assert!(!is_complete(text), "{text}");
    }
}
