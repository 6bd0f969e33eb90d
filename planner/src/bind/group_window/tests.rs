use std::sync::Arc;

use rainstorm_engine::time::{ClockRef, SimulatedClock};

use crate::Planner;
use crate::error::SqlErrors;
use crate::script::{Script, Step};
use crate::session::Session;

const TABLES: &str = "
    CREATE TABLE l (
      id BIGINT, ts TIMESTAMP(3), k STRING, p AS PROCTIME(),
      WATERMARK FOR ts AS ts - INTERVAL '10' SECOND
    ) WITH ('connector' = 'datagen');
    CREATE TABLE timeless (id BIGINT) WITH ('connector' = 'datagen');";

fn plan(sql: &str) -> Result<Vec<Step>, SqlErrors> {
    let clock: ClockRef = Arc::new(SimulatedClock::new(0));
    let planner = Planner::new(&clock);
    let mut session = Session::default();
    let script = |text: &str| Script { text: text.to_owned(), ..Script::default() };
    planner.plan(&mut session, &script(TABLES))?;
    planner.plan(&mut session, &script(sql))
}

#[track_caller]
fn check_error(sql: &str, expected: &str) {
    let errors = plan(sql).expect_err("has errors");
    let errors: Vec<String> =
        errors.0.iter().map(|error| format!("{} {error}", error.code)).collect();
    assert_eq!(errors, [expected]);
}

/// Checks that two queries are planned to the same job.
#[track_caller]
fn check_same(sql: &str, other: &str) {
    let explained = |sql: &str| {
        let steps = plan(&format!("EXPLAIN {sql}")).unwrap_or_else(|errors| panic!("{errors}"));
        let Some(Step::Rows(rows)) = steps.into_iter().next() else { panic!("no rows") };
        rows
    };
    assert_eq!(explained(sql), explained(other));
}

#[test]
fn parts_of_the_window_that_is_grouped_by_are_its_columns() {
    check_same(
        "SELECT k, TUMBLE_START(ts, INTERVAL '1' MINUTE) AS s FROM l AS x
         GROUP BY k, tumble(x.ts, INTERVAL '1' MINUTE)",
        "SELECT k, window_start AS s FROM TUMBLE(l, ts, INTERVAL '1' MINUTE) AS x
         GROUP BY k, window_start, window_end",
    );
    check_same(
        "SELECT HOP_ROWTIME(ts, INTERVAL '1' SECOND, INTERVAL '1' MINUTE) AS t FROM l
         GROUP BY HOP(ts, INTERVAL '1' SECOND, INTERVAL '1' MINUTE)
         UNION ALL SELECT HOP_PROCTIME(p, INTERVAL '1' SECOND, INTERVAL '1' MINUTE) AS t FROM l
         GROUP BY HOP(p, INTERVAL '1' SECOND, INTERVAL '1' MINUTE)",
        "SELECT window_time AS t FROM HOP(l, ts, INTERVAL '1' SECOND, INTERVAL '1' MINUTE)
         GROUP BY window_start, window_end, window_time
         UNION ALL SELECT window_time AS t FROM HOP(l, p, INTERVAL '1' SECOND, INTERVAL '1' MINUTE)
         GROUP BY window_start, window_end, window_time",
    );
}

#[test]
fn parts_of_another_window_are_refused() {
    check_error(
        "SELECT k,\n TUMBLE_START(ts, INTERVAL '5' SECOND) FROM l\n GROUP BY k, TUMBLE(ts, INTERVAL '1' MINUTE)",
        "invalid_statement 2:2: TUMBLE_START(ts, INTERVAL '5' SECOND) is of another window than the query groups by (the query groups by TUMBLE(ts, INTERVAL '1' MINUTE))",
    );
    check_error(
        "SELECT HOP_END(ts, INTERVAL '1' MINUTE) FROM l GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE)",
        "invalid_statement 1:8: HOP_END(ts, INTERVAL '1' MINUTE) is of another window than the query groups by (the query groups by TUMBLE(ts, INTERVAL '1' MINUTE))",
    );
    check_error(
        "SELECT TUMBLE_PROCTIME(ts, INTERVAL '1' MINUTE) FROM l\nGROUP BY TUMBLE(ts, INTERVAL '1' MINUTE)",
        "invalid_statement 1:8: TUMBLE_PROCTIME of a window over event time (write TUMBLE_ROWTIME)",
    );
    check_error(
        "SELECT TUMBLE_ROWTIME(p, INTERVAL '1' MINUTE) FROM l\nGROUP BY TUMBLE(p, INTERVAL '1' MINUTE)",
        "invalid_statement 1:8: TUMBLE_ROWTIME of a window over processing time (write TUMBLE_PROCTIME)",
    );
    for sql in [
        "SELECT TUMBLE_START(ts, INTERVAL '10' SECOND) FROM l",
        "SELECT TUMBLE_START(ts, INTERVAL '10' SECOND), COUNT(*) FROM l GROUP BY k",
    ] {
        check_error(
            sql,
            "invalid_statement 1:8: TUMBLE_START stands without GROUP BY TUMBLE(…) (add GROUP BY TUMBLE(ts, INTERVAL '10' SECOND))",
        );
    }
}

#[test]
fn wrong_arguments_stand_at_the_call() {
    check_error(
        "SELECT COUNT(*)\nFROM l GROUP BY TUMBLE(ts)",
        "invalid_statement 2:17: TUMBLE lacks SIZE (the arguments are TUMBLE(TIMECOL, SIZE, OFFSET); OFFSET may be left out)",
    );
    check_error(
        "SELECT COUNT(*)\nFROM l GROUP BY HOP(ts, INTERVAL '7' SECOND, INTERVAL '20' SECOND)",
        "invalid_statement 2:17: HOP needs a size that is a multiple of its slide (the arguments are HOP(TIMECOL, SLIDE, SIZE, OFFSET); OFFSET may be left out)",
    );
    check_error(
        "SELECT COUNT(*)\nFROM l GROUP BY TUMBLE(ts, INTERVAL '1' SECOND, INTERVAL '0' SECOND, 1)",
        "invalid_statement 2:17: TUMBLE takes 3 arguments, not 4 (they are TUMBLE(TIMECOL, SIZE, OFFSET))",
    );
}

#[test]
fn a_window_without_its_time_is_of_the_only_event_time() {
    check_same(
        "SELECT COUNT(*) AS n FROM l GROUP BY tumble(interval '1 minute')",
        "SELECT COUNT(*) AS n FROM l GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE)",
    );
    check_same(
        "SELECT hop(interval '1 second', interval '1 minute') AS w, COUNT(*) AS n FROM l GROUP BY w",
        "SELECT named_struct('start', window_start, 'end', window_end) AS w, COUNT(*) AS n
         FROM HOP(l, ts, INTERVAL '1' SECOND, INTERVAL '1' MINUTE)
         GROUP BY window_start, window_end",
    );
    check_error(
        "SELECT COUNT(*) FROM timeless GROUP BY tumble(interval '1 minute')",
        "invalid_statement 1:40: TUMBLE over a table that has no event time (the arguments are TUMBLE(TIMECOL, SIZE, OFFSET); OFFSET may be left out)",
    );
}
