//! What becomes of definitions when what they are made of changes.

use super::tests::{check_errors, plan, planner};
use super::*;

#[test]
fn a_function_outlives_those_it_was_written_with() {
    let mut session = Session::default();
    plan(
        &mut session,
        "CREATE FUNCTION f(x INT) RETURNS INT RETURN x + 1;
         CREATE FUNCTION g(x INT) RETURNS INT RETURN f(x) * 2;
         DROP FUNCTION f;",
    )
    .expect("plans");
    let script = session.catalog.to_script();
    let restored = planner().catalog(&script).expect("restores");
    assert_eq!(restored.unreadable().count(), 0, "{script}");
    assert_eq!(restored.to_script(), script);
    plan(&mut session, "SELECT g(2)").expect("plans");
    check_errors(
        &mut session,
        "CREATE OR REPLACE FUNCTION g(x INT) RETURNS INT RETURN g(x) + 1",
        &["unknown_function 1:56: there is no function 'g'"],
    );
}

#[test]
fn a_definition_that_means_nothing_any_more_is_kept_as_text() {
    let script = "CREATE FUNCTION `g`(`x` INT) RETURNS INT\nRETURN f(x) * 2;\n\n\
                  CREATE TABLE `t` (\n  `a` INT\n)\nWITH (\n  'connector' = 'print'\n);\n\n\
                  CREATE TABLE `u` (\n  `a` INTT\n)\nWITH (\n  'connector' = 'print'\n);\n\n";
    let catalog = planner().catalog(script).expect("restores");
    assert!(catalog.relation("t").is_some());
    assert_eq!(catalog.to_script(), script);
    let mut session = Session { catalog, ..Session::default() };
    check_errors(
        &mut session,
        "SELECT g(1) FROM u",
        &[
            "unknown_function 1:8: there is no function 'g' (its definition could not be read back: there is no function 'f')",
            "unknown_table 1:18: there is no table or view 'u' (its definition could not be read back: there is no type 'INTT')",
        ],
    );
    plan(&mut session, "DROP FUNCTION g; CREATE TABLE u WITH ('connector' = 'print') LIKE t")
        .expect("plans");
    assert_eq!(session.catalog.unreadable().count(), 0);
    assert!(planner().catalog("SELECT 1").is_err());
}

#[test]
fn what_is_wrong_in_a_view_names_the_view() {
    let mut session = Session::default();
    let table = |columns: &str| {
        format!("CREATE OR REPLACE TABLE t ({columns}) WITH ('connector' = 'datagen')")
    };
    plan(&mut session, &table("a INT")).expect("plans");
    plan(&mut session, "CREATE VIEW v AS\nSELECT a + 1 AS b FROM t").expect("plans");
    let mut check = |change: &str, expected: &str| {
        plan(&mut session, change).expect("plans");
        for sql in ["SELECT * FROM v", "DESCRIBE v", "CREATE VIEW w AS SELECT b FROM v"] {
            let errors = plan(&mut session, sql).expect_err("the view is broken");
            assert_eq!(errors.0[0].message, expected, "{sql}");
            assert!(errors.0[0].line == 1, "{errors:?}");
        }
    };
    check(&table("c INT"), "view 'v': there is no column 'a'");
    check(&table("a BOOLEAN"), "view 'v': cannot compute BOOLEAN + BIGINT");
    check("DROP TABLE t", "view 'v': there is no table or view 't'");
    planner().catalog(&session.catalog.to_script()).expect("a broken view is still read back");
}
