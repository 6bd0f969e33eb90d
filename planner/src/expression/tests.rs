use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMillisecondArray};
use arrow::util::display::array_value_to_string;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::prelude::SessionContext;
use rainstorm_engine::function::registry;
use rainstorm_engine::time::{ClockRef, SimulatedClock};

use super::*;
use crate::parse::parse_script;
use crate::resolve::resolve_expression;
use crate::session::Session;
use crate::statement::Statement;

/// One row: a BIGINT, a STRING, a TIMESTAMP(3) of 2024-02-09 17:05:03.007, and a null STRING.
fn row() -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("n", Arc::new(Int64Array::from(vec![1234]))),
        ("s", Arc::new(StringViewArray::from_iter_values(["https://x/a/b?channel_id=42"]))),
        ("ts", Arc::new(TimestampMillisecondArray::from(vec![1_707_498_303_007]))),
        ("missing", Arc::new(StringViewArray::from(vec![None::<&str>]))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
        .expect("one row each")
}

/// Resolves, binds, plans and evaluates an expression as queries do.
fn evaluate(sql: &str) -> std::result::Result<String, SqlErrors> {
    let clock: ClockRef = Arc::new(SimulatedClock::new(1_707_498_303_500));
    let (functions, session, row) = (registry(&clock), Session::default(), row());
    let context = QueryContext { session: &session, functions: &functions, base_directory: None };
    let statement = parse_script(&format!("SELECT {sql}"))?.remove(0).statement;
    let Statement::Query(query) = statement else { panic!("{statement:?}") };
    let sqlparser::ast::SetExpr::Select(select) = *query.body else { panic!() };
    let sqlparser::ast::SelectItem::UnnamedExpr(expr) = &select.projection[0] else { panic!() };
    let expr = resolve_expression(context, expr, &row.schema())?;
    expression_type(context, &expr, &row.schema())?;
    let run = || {
        let schema = DFSchema::try_from(row.schema())?;
        let bound = bind_expression(context, &expr, &schema)?;
        let (typed, _) = typed_expression(bound, schema.clone(), context)?;
        let simplify = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
        let bound = ExprSimplifier::new(simplify).simplify(typed)?;
        let physical = SessionContext::new().create_physical_expr(bound, &schema)?;
        let array = physical.evaluate(&row)?.into_array(1)?;
        Ok(if array.is_null(0) { "null".to_owned() } else { array_value_to_string(&array, 0)? })
    };
    run().map_err(|error| from_datafusion_in(&error, &expr))
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    let found = |sql: &str| evaluate(sql).unwrap_or_else(|errors| errors.to_string());
    let found: Vec<(&str, String)> = cases.iter().map(|(sql, _)| (*sql, found(sql))).collect();
    let expected: Vec<(&str, String)> = cases.iter().map(|(s, e)| (*s, (*e).to_owned())).collect();
    let wrong: Vec<_> =
        found.iter().zip(&expected).filter(|(found, wanted)| found != wanted).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn functions_of_time_give_what_flink_gives() {
    check(&[
        ("DATE_FORMAT(ts, 'yyyy-MM-dd HH:mm')", "2024-02-09 17:05"),
        ("DATE_FORMAT(TIMESTAMP '2024-02-09 01:02:03', 'HH')", "01"),
        ("DATE_FORMAT('2024-02-09 01:02:03', 'yyyyMMdd')", "20240209"),
        ("DATE_FORMAT(DATE '2024-02-09', 'MMM')", "Feb"),
        ("HOUR(ts)", "17"),
        ("MINUTE(ts) + SECOND(ts)", "8"),
        ("YEAR(ts) * 10000 + MONTH(ts) * 100 + DAYOFMONTH(ts)", "20240209"),
        ("DAYOFWEEK(ts)", "6"),
        ("DAYOFYEAR(ts)", "40"),
        ("QUARTER(ts)", "1"),
        ("EXTRACT(DAY FROM ts)", "9"),
        ("FLOOR(ts TO HOUR)", "2024-02-09T17:00:00"),
        ("TO_TIMESTAMP('2024-02-09 17:05:03')", "2024-02-09T17:05:03"),
        ("TO_TIMESTAMP('09.02.2024', 'dd.MM.yyyy')", "2024-02-09T00:00:00"),
        ("TO_TIMESTAMP(missing)", "null"),
        ("TO_TIMESTAMP_LTZ(n, 0)", "1970-01-01T00:20:34"),
        ("TO_TIMESTAMP_LTZ(1707498303007, 3) = ts", "true"),
        ("TO_DATE('2024-02-09')", "2024-02-09"),
        ("FROM_UNIXTIME(44)", "1970-01-01 00:00:44"),
        ("UNIX_TIMESTAMP('1970-01-01 00:00:44')", "44"),
        ("UNIX_TIMESTAMP()", "1707498303"),
        ("TIMESTAMPDIFF(MINUTE, TIMESTAMP '2024-02-09 17:00:00', ts)", "5"),
        ("TIMESTAMPADD(DAY, 1, ts)", "2024-02-10T17:05:03.007"),
        ("ts - INTERVAL '4' SECOND", "2024-02-09T17:04:59.007"),
        ("CAST(ts AS STRING)", "2024-02-09 17:05:03.007"),
        ("CAST('2024-02-09 17:05:03.007' AS TIMESTAMP(3)) = ts", "true"),
    ]);
}

#[test]
fn the_current_time_is_the_clocks() {
    check(&[
        ("PROCTIME()", "2024-02-09T17:05:03.500"),
        ("CURRENT_TIMESTAMP", "2024-02-09T17:05:03.500"),
        ("LOCALTIMESTAMP", "2024-02-09T17:05:03.500"),
        ("NOW()", "2024-02-09T17:05:03.500"),
        ("CURRENT_DATE", "2024-02-09"),
        ("CURRENT_TIMESTAMP > ts", "true"),
    ]);
}

#[test]
fn functions_of_texts_and_numbers_give_what_flink_gives() {
    check(&[
        ("SPLIT_INDEX(s, '/', 3)", "a"),
        ("SPLIT_INDEX(s, '/', 9)", "null"),
        ("REGEXP_EXTRACT(s, '(&|^|\\?)channel_id=([^&]*)', 2)", "42"),
        ("REGEXP_EXTRACT(missing, 'x')", "null"),
        ("LOCATE('x', s)", "9"),
        ("CHAR_LENGTH(s) - CHAR_LENGTH(REPLACE(s, 'h', ''))", "2"),
        ("MOD(n, 100)", "34"),
        ("IF(n > 1000, 'big', 'small')", "big"),
        ("IFNULL(missing, 'none')", "none"),
        ("COALESCE(missing, s) = s", "true"),
        ("LOWER(UPPER(s)) || '!'", "https://x/a/b?channel_id=42!"),
        ("0.908 * n", "1120.472"),
        ("CAST(0.908 * n AS DECIMAL(23, 3))", "1120.472"),
        ("n / 1000", "1"),
        ("CEILING(n / 1000.0)", "2.0000"),
        ("POWER(2, 3)", "8.0"),
        ("IS_DIGIT('12')", "true"),
        ("CAST(n AS STRING)", "1234"),
        ("TRY_CAST(s AS INT)", "null"),
        ("CASE WHEN n BETWEEN 1 AND 2000 THEN 'in' ELSE 'out' END", "in"),
        ("CONCAT_WS('-', 'a', 'b')", "a-b"),
        ("SUBSTRING(s FROM 1 FOR 5)", "https"),
        ("POSITION('x' IN s)", "9"),
        ("TRIM('  a ')", "a"),
    ]);
}

#[test]
fn type_errors_have_a_place() {
    let error = |sql: &str| evaluate(sql).expect_err(sql).to_string();
    assert_eq!(error("SPLIT_INDEX(s, '/')"), "1:8: SPLIT_INDEX does not take (STRING, STRING)");
    assert_eq!(error("n + TRUE"), "1:8: cannot compute BIGINT + BOOLEAN");
}
