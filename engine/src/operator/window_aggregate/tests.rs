use arrow::datatypes::DataType;
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::Operator::Gt;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column, lit};
use proptest::prelude::*;

use super::super::testing::{Harness, batch, call, oracle, own_key, schema, table};
use super::*;
use crate::graph::{AggregateCall, OperatorSpec};

const INPUT: &str = "k:text v:int t:ts";
const OUTPUT: &str = "k:text n:int s:int window_start:ts window_end:ts window_time:ts";
const TUMBLE: Window = Window::Tumble { size_ms: 10, offset_ms: 0 };
const HOP: Window = Window::Hop { size_ms: 10, slide_ms: 5, offset_ms: 0 };

fn count_and_sum() -> Vec<AggregateCall> {
    vec![call("n:int", count_udaf(), &[]), call("s:int", sum_udaf(), &[("v", 1)])]
}

fn over(window: WindowSpec, aggregates: Vec<AggregateCall>, output: &str) -> Harness {
    let spec =
        WindowAggregateSpec { window, keys: vec![0], aggregates, phase: AggregatePhase::Complete };
    Harness::new(OperatorSpec::WindowAggregate(spec), &[INPUT], output)
}

fn event_time(window: Window) -> Harness {
    over(WindowSpec::EventTime { window, time: 2 }, count_and_sum(), OUTPUT)
}

#[test]
fn a_window_fires_when_the_watermark_passes_its_end() {
    let mut test = event_time(TUMBLE);
    test.rows(
        "+ a 1 3
         + b 2 9
         + a 4 10
         + a 8 4",
    );
    assert_eq!(test.watermark(8), 8);
    test.expect("");
    test.watermark(9);
    test.expect(
        "+ a 2 9 0 10 9
         + b 1 2 0 10 9",
    );
    test.end(0);
    test.expect("+ a 1 4 10 20 19");
    assert_eq!(test.operator().memory_bytes(), 0);
}

#[test]
fn rows_of_windows_that_have_fired_are_dropped_and_counted() {
    let mut test = event_time(TUMBLE);
    test.watermark(9);
    test.rows(
        "+ a 1 9
         + a 2 10
         + a 3 ~",
    );
    test.end(0);
    test.expect("+ a 1 2 10 20 19");
    assert_eq!((test.operator().late_rows(), test.operator().untimed_rows()), (1, 1));
}

#[test]
fn a_late_row_counts_in_the_hop_windows_that_are_still_open() {
    let mut test = event_time(HOP);
    test.rows("+ a 1 7");
    test.watermark(9);
    test.expect("+ a 1 1 0 10 9");
    test.rows(
        "+ a 2 8
         + a 4 4",
    );
    test.end(0);
    test.expect("+ a 2 3 5 15 14");
    assert_eq!(test.operator().late_rows(), 1);
}

#[test]
fn windows_fire_in_the_order_of_their_ends() {
    let mut test = event_time(HOP);
    test.rows(
        "+ a 1 12
         + a 2 3",
    );
    test.end(0);
    let expected = ["+ a 1 2 -5 5 4", "+ a 1 2 0 10 9", "+ a 1 1 5 15 14", "+ a 1 1 10 20 19"];
    assert_eq!(test.lines(), expected);
}

#[test]
fn cumulate_windows_fire_at_each_step() {
    let mut test = event_time(Window::Cumulate { size_ms: 9, step_ms: 3, offset_ms: 0 });
    test.rows(
        "+ a 1 0
         + a 2 4",
    );
    test.watermark(5);
    test.rows("+ a 4 7");
    test.end(0);
    let expected = ["+ a 1 1 0 3 2", "+ a 2 3 0 6 5", "+ a 3 7 0 9 8"];
    assert_eq!(test.lines(), expected);
}

#[test]
fn processing_time_windows_fire_by_the_clock() {
    let window = WindowSpec::ProcessingTime { window: TUMBLE };
    let mut test = over(window, count_and_sum(), OUTPUT);
    test.time(3);
    test.rows("+ a 1 ~");
    assert_eq!(test.operator().next_timer(), Some(10));
    test.watermark(1_000);
    test.time(9);
    test.rows("+ a 2 ~");
    test.expect("");
    test.time(10);
    test.expect("+ a 2 3 0 10 9");
    test.rows("+ b 4 ~");
    test.end(0);
    test.expect("+ b 1 4 10 20 19");
}

#[test]
fn a_clock_set_back_does_not_fire_a_window_twice() {
    let window = WindowSpec::ProcessingTime { window: TUMBLE };
    let mut test = over(window, count_and_sum(), OUTPUT);
    test.rows("+ a 1 ~");
    test.time(10);
    test.expect("+ a 1 1 0 10 9");
    test.time(5);
    test.rows("+ a 2 ~");
    test.time(20);
    test.expect("+ a 1 2 10 20 19");
}

#[test]
fn a_restored_window_fires_though_another_subtask_was_ahead_by_the_clock() {
    let window = WindowSpec::ProcessingTime { window: TUMBLE };
    let over = || over(window, count_and_sum(), OUTPUT);
    let (mut behind, mut ahead) = (over(), over());
    behind.rows("+ a 1 ~");
    ahead.rows("+ b 1 ~");
    ahead.time(10);
    ahead.expect("+ b 1 1 0 10 9");
    let mut state = behind.snapshot();
    state.extend(ahead.snapshot());
    let mut merged = ahead.restored(&state, 0, 1);
    assert_eq!(merged.watermark(1_000), i64::MIN, "before the window has fired");
    assert_eq!(merged.time(11), Some(10));
    merged.expect("+ a 1 1 0 10 9");
}

#[test]
fn the_clock_gives_the_watermark_after_the_windows_that_it_fires() {
    let mut test = over(WindowSpec::ProcessingTime { window: HOP }, count_and_sum(), OUTPUT);
    assert_eq!(test.time(3), Some(2), "though there has been no row");
    test.rows("+ a 1 ~");
    assert_eq!(test.watermark(1_000), i64::MIN, "the input's watermark is of another time");
    assert_eq!(test.time(4), None);
    assert_eq!(test.time(5), Some(4));
    test.expect("+ a 1 1 -5 5 4");
    assert_eq!(test.time(10), Some(9));
    test.expect("+ a 1 1 0 10 9");
    assert_eq!(test.time(15), Some(14), "though there is no row left");
    test.rows("+ a 2 ~");
    assert_eq!(test.watermark(i64::MAX), i64::MAX);
    test.expect("+ a 1 2 10 20 19\n+ a 1 2 15 25 24");
}

#[test]
fn what_the_end_has_fired_early_does_not_move_the_clock_of_a_restored_subtask() {
    let window = WindowSpec::ProcessingTime { window: TUMBLE };
    let over = || over(window, count_and_sum(), OUTPUT);
    let (mut ended, mut other) = (over(), over());
    ended.time(3);
    other.time(4);
    ended.rows("+ a 1 ~");
    ended.end(0);
    ended.expect("+ a 1 1 0 10 9");
    other.rows("+ b 1 ~");
    let state = [ended.snapshot(), other.snapshot()].concat();
    let mut restored = other.restored(&state, 0, 1);
    restored.time(6);
    restored.rows("+ b 2 ~");
    restored.time(10);
    restored.expect("+ b 2 3 0 10 9");
}

#[test]
fn a_window_fires_once_for_each_key_though_subtasks_were_not_equally_far() {
    let (slow, fast) = (own_key(0, 2), own_key(1, 2));
    for phase in ["complete", "final"] {
        let spec = WindowAggregateSpec {
            window: WindowSpec::EventTime { window: HOP, time: 1 },
            keys: vec![0],
            aggregates: vec![call("n:int", count_udaf(), &[])],
            phase: AggregatePhase::Complete,
        };
        let output = "k:int n:int window_start:ts window_end:ts window_time:ts";
        let input = schema("k:int t:ts");
        let (spec, columns) = if phase == "complete" {
            (spec, "k:int t:ts")
        } else {
            let phase = AggregatePhase::Final { input };
            (WindowAggregateSpec { phase, ..spec }, "k:int n:int start:ts end:ts")
        };
        // A row of each key at 7: in the windows from 0 to 10 and from 5 to 15.
        let row = |key: i64| match phase {
            "complete" => format!("+ {key} 7\n"),
            _ => format!("+ {key} 1 5 10\n"),
        };
        let test = Harness::new(OperatorSpec::WindowAggregate(spec), &[columns], output);
        let mut state = vec![];
        for (subtask, watermark) in [(0, 5), (1, 9)] {
            let mut running = test.restored(&[], subtask, 2);
            running.rows(&row([slow, fast][subtask]));
            running.watermark(watermark);
            state.extend(running.snapshot());
        }
        let mut merged = test.restored(&state, 0, 1);
        merged.watermark(9);
        merged.expect(&format!("+ {slow} 1 0 10 9"));
        let mut merged = test.restored(&state, 0, 1);
        merged.rows(&[row(slow), row(fast)].concat());
        merged.watermark(9);
        merged.expect(&format!("+ {slow} 2 0 10 9"));
        merged.watermark(14);
        merged.expect(&format!("+ {slow} 2 5 15 14\n + {fast} 2 5 15 14"));
    }
}

#[test]
fn what_was_late_is_late_after_a_restore_for_the_keys_of_each_subtask() {
    let (slow, fast) = (own_key(0, 2), own_key(1, 2));
    let spec = WindowAggregateSpec {
        window: WindowSpec::EventTime { window: TUMBLE, time: 1 },
        keys: vec![0],
        aggregates: vec![call("n:int", count_udaf(), &[])],
        phase: AggregatePhase::Complete,
    };
    let output = "k:int n:int window_start:ts window_end:ts window_time:ts";
    let test = Harness::new(OperatorSpec::WindowAggregate(spec), &["k:int t:ts"], output);
    let mut state = vec![];
    for (subtask, watermark) in [(0, 5), (1, 9)] {
        let mut running = test.restored(&[], subtask, 2);
        running.watermark(watermark);
        state.extend(running.snapshot());
    }
    let mut merged = test.restored(&state, 0, 1);
    merged.rows(&format!("+ {slow} 7\n + {fast} 7\n + {slow} 8\n + {fast} 12"));
    merged.watermark(19);
    merged.expect(&format!("+ {slow} 2 0 10 9\n + {fast} 1 10 20 19"));
    assert_eq!(merged.operator().late_rows(), 1);
}

#[test]
fn attached_windows_fire_by_their_own_end() {
    let spec = WindowAggregateSpec {
        window: WindowSpec::Attached { start: 1, end: 2 },
        keys: vec![],
        aggregates: vec![call("n:int", max_udaf(), &[("n", 0)])],
        phase: AggregatePhase::Complete,
    };
    let output = "n:int window_start:ts window_end:ts window_time:ts";
    let spec = OperatorSpec::WindowAggregate(spec);
    let mut test = Harness::new(spec, &["n:int start:ts end:ts"], output);
    test.rows(
        "+ 3 0 10
         + 5 5 15
         + 4 0 10
         + 9 ~ 10",
    );
    test.watermark(9);
    test.expect("+ 4 0 10 9");
    test.rows("+ 7 0 10");
    test.end(0);
    test.expect("+ 5 5 15 14");
    assert_eq!((test.operator().late_rows(), test.operator().untimed_rows()), (1, 1));
}

#[test]
fn filter_distinct_and_order_by_hold_per_window() {
    let large: Arc<dyn datafusion::physical_expr::PhysicalExpr> =
        Arc::new(BinaryExpr::new(Arc::new(Column::new("v", 1)), Gt, lit(1_i64)));
    let mut filtered = call("large:int", count_udaf(), &[]);
    filtered.filter = Some(large);
    let mut distinct = call("kinds:int", count_udaf(), &[("v", 1)]);
    distinct.distinct = true;
    let output = "k:text large:int kinds:int window_start:ts window_end:ts window_time:ts";
    let window = WindowSpec::EventTime { window: HOP, time: 2 };
    let mut test = over(window, vec![filtered, distinct], output);
    test.rows(
        "+ a 1 3
         + a 2 6
         + a 2 7
         + b 1 6",
    );
    test.end(0);
    test.expect(
        "+ a 0 1 -5 5 4
         + a 2 2 0 10 9
         + b 0 1 0 10 9
         + a 2 1 5 15 14
         + b 0 1 5 15 14",
    );
}

#[test]
fn no_aggregates_give_the_distinct_keys_of_a_window() {
    let output = "k:text window_start:ts window_end:ts window_time:ts";
    let window = WindowSpec::EventTime { window: TUMBLE, time: 2 };
    let mut test = over(window, vec![], output);
    test.rows(
        "+ a 1 3
         + a 2 4
         + ~ 2 4",
    );
    test.end(0);
    test.expect(
        "+ a 0 10 9
         + ~ 0 10 9",
    );
}

#[test]
fn retractions_are_refused() {
    let mut test = event_time(TUMBLE);
    let rows = batch(&schema(INPUT), "- a 1 3");
    let refused = test.operator().process(0, rows, 0, &mut Output::default());
    assert!(matches!(refused, Err(Error::Invalid(_))));
}

#[test]
fn state_moves_to_another_parallelism() {
    let mut test = event_time(HOP);
    test.rows("+ a 1 3\n+ b 2 3\n+ c 4 4\n+ d 8 4");
    test.snapshot();
    test.rows("+ a 10 3\n+ e 1 7");
    test.watermark(4);
    test.expect("+ a 2 11 -5 5 4\n+ b 1 2 -5 5 4\n+ c 1 4 -5 5 4\n+ d 1 8 -5 5 4");
    let state = test.snapshot();

    let mut parts = [test.restored(&state, 0, 2), test.restored(&state, 1, 2)];
    let second: Vec<_> = parts.iter_mut().flat_map(Harness::snapshot).collect();
    assert!(parts.iter_mut().all(|part| part.operator().memory_bytes() > 0));

    let mut merged = test.restored(&second, 0, 1);
    merged.rows("+ a 5 3\n+ a 5 6");
    merged.end(0);
    merged.expect(
        "+ a 4 21 0 10 9
         + b 1 2 0 10 9
         + c 1 4 0 10 9
         + d 1 8 0 10 9
         + e 1 1 0 10 9
         + a 1 5 5 15 14
         + e 1 1 5 15 14",
    );
}

fn all_kinds() -> (Vec<AggregateCall>, &'static str, &'static str) {
    let mut kinds = call("d:int", count_udaf(), &[("v", 1)]);
    kinds.distinct = true;
    let mut average = call("a:float", avg_udaf(), &[("v", 1)]);
    // The planner casts what AVG takes.
    let column = Arc::clone(&average.args[0]);
    average.args = vec![Arc::new(CastExpr::new(column, DataType::Float64, None))];
    let calls = vec![
        call("n:int", count_udaf(), &[]),
        call("s:int", sum_udaf(), &[("v", 1)]),
        average,
        call("lo:int", min_udaf(), &[("v", 1)]),
        call("hi:text", max_udaf(), &[("k", 0)]),
        kinds,
    ];
    let output = "k:text n:int s:int a:float lo:int hi:text d:int \
                  window_start:ts window_end:ts window_time:ts";
    let columns = "count(*), sum(v), avg(v), min(v), max(k), count(DISTINCT v)";
    (calls, output, columns)
}

#[test]
fn aggregates_without_a_grouped_form_work_as_well() {
    let output = schema("l:int");
    let mut list = call("l:int", array_agg_udaf(), &[("v", 1)]);
    let kind = DataType::new_list(DataType::Int64, true);
    let field = output.field(0).clone().with_data_type(kind);
    list.output = Arc::new(field.clone());
    let spec = WindowAggregateSpec {
        window: WindowSpec::EventTime { window: HOP, time: 2 },
        keys: vec![],
        aggregates: vec![list],
        phase: AggregatePhase::Complete,
    };
    let windows = schema("window_start:ts window_end:ts window_time:ts");
    let mut fields = vec![Arc::new(field)];
    fields.extend(windows.fields().iter().cloned());
    let node = OperatorNode {
        id: crate::OperatorId(1),
        spec: OperatorSpec::WindowAggregate(spec),
        inputs: vec![schema(INPUT)],
        output: Arc::new(arrow::datatypes::Schema::new(fields)),
    };
    let mut test = Harness::of_node(node, 0, 1);
    test.rows("+ a 2 3\n+ a 3 7\n+ a 1 8");
    test.end(0);
    test.expect("+ [2] -5 5 4\n+ [2, 3, 1] 0 10 9\n+ [3, 1] 5 15 14");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Held against DataFusion's batch engine, whatever the batches, barriers and windows.
    #[test]
    fn windows_equal_batch_aggregation(
        rows in proptest::collection::vec((0_u8..4, proptest::option::of(-5_i64..5), 0_i64..60), 1..80),
        cuts in proptest::collection::vec((1_usize..20, any::<bool>()), 1..10),
        hop in any::<bool>(),
    ) {
        let window = if hop { HOP } else { TUMBLE };
        let (calls, output, columns) = all_kinds();
        let mut test = over(WindowSpec::EventTime { window, time: 2 }, calls, output);
        let lines: Vec<String> = rows
            .iter()
            .map(|(k, v, t)| {
                let k = if *k == 0 { "~".to_owned() } else { format!("k{k}") };
                format!("+ {k} {} {t}", v.map_or("~".to_owned(), |v| v.to_string()))
            })
            .collect();
        let mut rest = lines.as_slice();
        for (length, barrier) in cuts.iter().cycle() {
            let (now, later) = rest.split_at((*length).min(rest.len()));
            test.rows(&now.join("\n"));
            if *barrier {
                let state = test.snapshot();
                test = test.restored(&state, 0, 1);
            }
            rest = later;
            if rest.is_empty() { break; }
        }
        test.end(0);
        let mut found = test.lines();
        found.sort();

        let shifts = if hop { "VALUES (0), (5)" } else { "VALUES (0)" };
        let (size, slide) = if hop { (10, 5) } else { (10, 10) };
        let sql = format!(
            "SELECT k, {columns}, arrow_cast(w, 'Timestamp(Millisecond, None)'), \
             arrow_cast(w + {size}, 'Timestamp(Millisecond, None)'), \
             arrow_cast(w + {size} - 1, 'Timestamp(Millisecond, None)') \
             FROM (SELECT k, v, arrow_cast(t, 'Int64') / {slide} * {slide} - column1 AS w \
                   FROM input CROSS JOIN ({shifts})) GROUP BY k, w"
        );
        let mut expected = oracle(&table(INPUT, &lines.join("\n")), &sql);
        expected.sort();
        prop_assert_eq!(found, expected);
    }
}
