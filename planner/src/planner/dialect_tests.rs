//! What texts mean in Flink's dialect, and how deep they may be.

use super::tests::{PIPELINE, check_errors, plan, planner};
use super::*;

/// Sums up so many columns.
fn sum(count: usize) -> String {
    format!("SELECT {} FROM numbers", vec!["n"; count].join(" + "))
}

fn union(count: usize) -> String {
    vec!["SELECT n FROM numbers"; count].join(" UNION ALL ")
}

/// The stack that is used grows with the depth and the time with its square, so this looks at a
/// fifth of what is taken with a fifth of the stack.
#[test]
fn the_deepest_expressions_and_queries_that_are_taken_can_be_planned() {
    with_less_stack(|| {
        let mut session = Session::default();
        plan(&mut session, PIPELINE).expect("plans");
        let any = format!("SELECT n FROM numbers WHERE n = {}", vec!["1"; 200].join(" OR n = "));
        for sql in [sum(200), sum(200).replace("numbers", "a"), any, union(40), cases(45)] {
            plan(&mut session, &sql).unwrap_or_else(|errors| panic!("{errors}"));
        }
    });
}

fn with_less_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(crate::STACK_BYTES / 5).spawn(work);
    thread.expect("a thread").join().expect("no panic");
}

/// Writes CASEs inside of each other.
fn cases(count: usize) -> String {
    let open = "CASE WHEN 1 > 2 THEN 3 ELSE ".repeat(count);
    format!("SELECT {open}4{}", " END".repeat(count))
}

#[test]
fn expressions_and_queries_that_are_too_deep_are_refused() {
    with_less_stack(|| {
        let mut session = Session::default();
        plan(&mut session, PIPELINE).expect("plans");
        for (sql, expected) in [
            (sum(200_000), "an expression of more than 1000 operators is not supported"),
            (union(202), "a query of more than 200 joins and set operations is not supported"),
            (cases(100), "an expression that is nested so deeply is not supported"),
        ] {
            let errors = plan(&mut session, &sql).expect_err("is too deep");
            assert_eq!(errors.0[0].message, expected);
        }
    });
}

/// Returns the names and types of a SELECT's columns.
#[track_caller]
fn columns_of(session: &mut Session, sql: &str) -> Vec<String> {
    let steps = plan(session, sql).unwrap_or_else(|errors| panic!("{sql}: {errors}"));
    let fields = match steps.last() {
        Some(Step::Batch { query, .. }) => query.plan.schema().fields().clone(),
        Some(Step::Job(job)) => job.query.as_ref().expect("a SELECT").schema.fields().clone(),
        other => panic!("{other:?}"),
    };
    let column = |field: &arrow::datatypes::FieldRef| {
        format!("{} {}", field.name(), crate::types::type_sql(field.data_type()))
    };
    fields.iter().map(column).collect()
}

#[test]
fn texts_can_be_written_by_their_code_points() {
    let mut session = Session::default();
    let columns =
        columns_of(&mut session, "SELECT U&'caf\\00e9' AS x, CHAR_LENGTH(U&'\\0041') AS n");
    assert_eq!(columns, ["x STRING", "n INT"]);
}

#[test]
fn literals_have_flinks_types() {
    let mut session = Session::default();
    for (literal, expected) in [
        ("1e0", "DOUBLE"),
        ("-1.7976931348623157E308", "DOUBLE"),
        ("1.50", "DECIMAL(3, 2)"),
        ("TIMESTAMP '2024-02-29 00:00:00'", "TIMESTAMP(3)"),
        ("TIMESTAMP '2024-02-29 00:00:00.1234'", "TIMESTAMP(6)"),
        ("TIMESTAMP '2024-02-29 00:00:00.123456789'", "TIMESTAMP(9)"),
    ] {
        let columns = columns_of(&mut session, &format!("SELECT {literal} AS x"));
        assert_eq!(columns, [format!("x {expected}")], "{literal}");
    }
    plan(&mut session, PIPELINE).expect("plans");
    plan(&mut session, "INSERT INTO a VALUES (1e3), (-2e0)").expect("a constant decides itself");
}

#[test]
fn what_means_something_else_to_datafusion_is_refused() {
    let mut session = Session::default();
    plan(&mut session, PIPELINE).expect("plans");
    check_errors(
        &mut session,
        "SELECT COUNT(DISTINCT *), count(DISTINCT numbers.*) FROM numbers",
        &[
            "unsupported 1:8: COUNT(DISTINCT *) is not supported (name one column)",
            "unsupported 1:27: count(DISTINCT numbers.*) is not supported (name one column)",
        ],
    );
    check_errors(
        &mut session,
        "SELECT DISTINCT ON (n) n FROM numbers",
        &[
            "unsupported 1:21: DISTINCT ON is not supported (use GROUP BY, with FIRST_VALUE or MIN for the others)",
        ],
    );
    check_errors(
        &mut session,
        "SELECT INTERVAL '5' SECNOD",
        &[
            "parse 1:21: expected a unit of time after INTERVAL '5', found: SECNOD (did you mean 'SECOND'?)",
        ],
    );
}

#[test]
fn columns_of_one_name_are_told_apart() {
    let mut session = Session::default();
    plan(&mut session, PIPELINE).expect("plans");
    for (sql, expected) in [
        ("SELECT n, n FROM numbers", "n BIGINT, n0 BIGINT"),
        ("SELECT 1 AS a, 2 AS a0, 3 AS a", "a INT, a0 INT, a1 INT"),
        ("SELECT COUNT(*), COUNT(*) FROM a", "COUNT(*) BIGINT, COUNT(*)0 BIGINT"),
        ("SELECT *, n FROM numbers ORDER BY n", "n BIGINT, n0 BIGINT"),
        ("SELECT n, * FROM numbers", "n0 BIGINT, n BIGINT"),
        ("SELECT 1 AS n, * FROM numbers", "n0 INT, n BIGINT"),
        ("SELECT x.n, y.n FROM a x JOIN b y ON x.n = y.n ORDER BY y.n", "n BIGINT, n0 BIGINT"),
        ("SELECT s.n0 FROM (SELECT n, n FROM a) s", "n0 BIGINT"),
        ("SELECT n, n, COUNT(*) FROM a GROUP BY n", "n BIGINT, n0 BIGINT, COUNT(*) BIGINT"),
    ] {
        assert_eq!(columns_of(&mut session, sql).join(", "), expected, "{sql}");
    }
    plan(&mut session, "CREATE VIEW w AS SELECT n, n FROM numbers").expect("plans");
    assert_eq!(columns_of(&mut session, "SELECT * FROM w"), ["n BIGINT", "n0 BIGINT"]);
}

#[test]
fn types_are_described_as_they_are_declared() {
    let mut session = Session::default();
    plan(
        &mut session,
        "CREATE TABLE t (a VARCHAR(10), b CHAR(2) NOT NULL, c TIMESTAMP_LTZ(3), d TIMESTAMP(0),
           e TIMESTAMP(3) WITH LOCAL TIME ZONE, f CHARACTER VARYING (7), g VARBINARY(4))
         WITH ('connector' = 'print')",
    )
    .expect("plans");
    let script = session.catalog.to_script();
    let expected = "CREATE TABLE `t` (
  `a` VARCHAR(10),
  `b` CHAR(2) NOT NULL,
  `c` TIMESTAMP_LTZ(3),
  `d` TIMESTAMP(0),
  `e` TIMESTAMP_LTZ(3),
  `f` VARCHAR(7),
  `g` VARBINARY(4)
)";
    assert!(script.starts_with(expected), "{script}");
    assert_eq!(planner().catalog(&script).expect("restores").to_script(), script);
}

#[test]
fn a_query_has_its_type_once_all_its_parts_have_a_common_one() {
    let mut session = Session::default();
    plan(&mut session, PIPELINE).expect("plans");
    for query in [
        "SELECT 1 UNION ALL SELECT CAST(n AS STRING) FROM b",
        "SELECT CASE WHEN n > 1 THEN n > 2 END FROM b",
        "SELECT CAST(n AS STRING) FROM b",
    ] {
        let errors = plan(&mut session, &format!("INSERT INTO a {query};")).expect_err(query);
        assert_eq!(errors.0[0].code, SqlErrorCode::Type, "{query}: {errors}");
    }
    for query in [
        "SELECT 1 UNION ALL SELECT n FROM b",
        "SELECT CASE WHEN n > 1 THEN 1 ELSE 2 END FROM b",
        "SELECT 2.0",
        "VALUES (1), (2)",
        "SELECT 1 UNION ALL SELECT 2.5",
        "SELECT n FROM b UNION ALL SELECT CAST(n AS DOUBLE) FROM b",
        "SELECT CASE WHEN n > 1 THEN 1 ELSE 2.5 END FROM b",
        "VALUES (1), (2.5)",
    ] {
        plan(&mut session, &format!("INSERT INTO a {query};"))
            .unwrap_or_else(|errors| panic!("{query}: {errors}"));
    }
}
