use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, lit};

use super::*;

#[track_caller]
fn check(error: impl Into<DataFusionError>, expected: &str) {
    assert_eq!(ComputeFailure(error.into()).to_string(), expected);
}

#[test]
fn causes_name_sqls_types_and_no_library() {
    let cast = |message: &str| ArrowError::CastError(message.to_owned());
    check(cast("Cannot cast string 'a' to value of Int64 type"), "cannot cast 'a' to BIGINT");
    check(cast("Can't cast value 300 to type Int8"), "cannot cast 300 to TINYINT");
    check(ArrowError::DivideByZero, "division by zero");
    check(
        ArrowError::ArithmeticOverflow("Overflow happened on: 9 + 1".to_owned()),
        "9 + 1 does not fit its type",
    );
    let large = "1000 is too large to store in a Decimal128 of precision 2. Max is 99";
    check(
        ArrowError::InvalidArgumentError(large.to_owned()),
        "1000 does not fit a DECIMAL of 2 digits",
    );
    let inner = DataFusionError::Execution("No such thing.".to_owned());
    let outer = DataFusionError::Context("Optimizer rule 'x' failed".to_owned(), Box::new(inner));
    check(outer, "no such thing");
}

#[test]
fn types_in_parentheses_are_named_whole() {
    let message = "from (List(Int32), Timestamp(ms), Decimal128(5, 2)) to Utf8View";
    assert_eq!(with_sql_types(message), "from (ARRAY<INT>, TIMESTAMP(3), DECIMAL(5, 2)) to STRING");
}

#[test]
fn literals_lose_their_types() {
    let message = r#"count(Int64(1)) FILTER (WHERE k = Utf8("a b"))"#;
    assert_eq!(with_sql_types(message), "count(1) FILTER (WHERE k = 'a b')");
}

#[test]
fn expressions_have_names_without_numbers() {
    let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new("k", 2));
    let cast: Arc<dyn PhysicalExpr> = Arc::new(CastExpr::new(column, DataType::Int64, None));
    let compare: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(cast, Operator::Eq, lit(1_i64)));
    assert_eq!(expression_sql(&compare), "CAST(k AS BIGINT) = 1");
}

#[test]
fn what_stands_for_operators_is_written_as_these() {
    let clock: crate::time::ClockRef = Arc::new(crate::time::SimulatedClock::new(0));
    let registry = crate::function::registry(&clock);
    let config = Arc::new(datafusion::config::ConfigOptions::default());
    let call = |name: &str, args: Vec<Arc<dyn PhysicalExpr>>| -> Arc<dyn PhysicalExpr> {
        let function = registry.scalar(name).unwrap();
        let field = Arc::new(Field::new(name, DataType::Int64, true));
        Arc::new(ScalarFunctionExpr::new(name, function, args, field, Arc::clone(&config)))
    };
    let column = |name: &str| -> Arc<dyn PhysicalExpr> { Arc::new(Column::new(name, 0)) };
    let sum = call("checked_add", vec![column("a"), column("b"), column("c")]);
    let product = call("checked_multiply", vec![sum, call("checked_negate", vec![column("d")])]);
    assert_eq!(expression_sql(&product), "(a + b + c) * (- d)");
    let guard = |when: Arc<dyn PhysicalExpr>, then, other: bool| -> Arc<dyn PhysicalExpr> {
        Arc::new(CaseExpr::try_new(None, vec![(when, then)], Some(lit(other))).unwrap())
    };
    let guarded = guard(column("k"), Arc::clone(&product), false);
    assert_eq!(expression_sql(&guarded), "k AND (a + b + c) * (- d)");
    let between =
        |left, op, right| -> Arc<dyn PhysicalExpr> { Arc::new(BinaryExpr::new(left, op, right)) };
    let undecided = between(column("k"), Operator::IsDistinctFrom, lit(true));
    let either = between(column("k"), Operator::Or, column("l"));
    assert_eq!(expression_sql(&guard(undecided, either, true)), "k OR l");
}

#[test]
fn constants_are_written_as_sql_has_them() {
    let cases = [
        ("d.ts - DurationMillisecond(\"5000\")", "d.ts - 5 s"),
        ("t > TimestampMillisecond(1577836800000, None)", "t > TIMESTAMP '2020-01-01 00:00:00'"),
        (
            "t > TimestampMillisecond(1577836800500, Some(\"UTC\"))",
            "t > TIMESTAMP_LTZ '2020-01-01 00:00:00.500'",
        ),
        ("Date32(\"2020-01-01\")", "DATE '2020-01-01'"),
        (
            "IntervalMonthDayNano(\"IntervalMonthDayNano { months: 14, days: 1, nanoseconds: 43200000000000 }\")",
            "14 mon 1 d 12 h",
        ),
        ("f(Utf8(\"a\"), Int64(1), Int64(NULL))", "f('a', 1, NULL)"),
    ];
    for (written, expected) in cases {
        assert_eq!(with_sql_types(written), expected);
    }
}
