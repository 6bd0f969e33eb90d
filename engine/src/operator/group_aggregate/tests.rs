use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::first_last::{first_value_udaf, last_value_udaf};
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_aggregate::stddev::stddev_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::Operator::Gt;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column as Reference, lit};
use proptest::prelude::*;

use super::super::build;
use super::super::testing::{Harness, call, context, oracle, schema, table};
use super::*;
use crate::OperatorId;
use crate::graph::{AggregateCall, OperatorSpec};

pub(super) const INPUT: &str = "k:text v:int d:dec";
const APPEND: ChangelogMode = ChangelogMode::AppendOnly;
const RETRACT: ChangelogMode = ChangelogMode::Retract;

fn over(input: ChangelogMode, aggregates: Vec<AggregateCall>, output: &str) -> Harness {
    let spec = GroupAggregateSpec { keys: vec![0], aggregates, input, emit: Emit::Changes };
    Harness::new(OperatorSpec::GroupAggregate(spec), &[INPUT], output)
}

fn keyless(input: ChangelogMode) -> Harness {
    let aggregates = count_and_sum();
    let spec = GroupAggregateSpec { keys: vec![], aggregates, input, emit: Emit::Changes };
    Harness::new(OperatorSpec::GroupAggregate(spec), &[INPUT], "n:int s:int")
}

pub(super) fn count_and_sum() -> Vec<AggregateCall> {
    vec![call("n:int", count_udaf(), &[]), call("s:int", sum_udaf(), &[("v", 1)])]
}

fn average() -> AggregateCall {
    let mut average = call("a:float", avg_udaf(), &[("v", 1)]);
    // The planner casts what AVG takes.
    let column = Arc::clone(&average.args[0]);
    average.args = vec![Arc::new(CastExpr::new(column, DataType::Float64, None))];
    average
}

fn distinct(mut call: AggregateCall) -> AggregateCall {
    call.distinct = true;
    call
}

#[test]
fn changes_are_gathered_and_emitted_once_a_flush() {
    let mut test = over(APPEND, count_and_sum(), "k:text n:int s:int");
    test.rows("+ a 1 ~\n+ b 2 ~\n+ a 3 ~");
    test.rows("+ a 4 ~");
    test.expect("");
    test.flush();
    let batches = test.batches();
    assert!(batches.iter().all(|batch| batch.weights().is_none()));
    test.rows("+ b ~ ~\n+ c 1 ~");
    test.flush();
    test.expect(
        "- b 1 2
         + b 2 2
         + c 1 1",
    );
    test.flush();
    test.expect("");
}

#[test]
fn nothing_is_emitted_that_changes_nothing() {
    let mut test = over(APPEND, vec![call("hi:int", max_udaf(), &[("v", 1)])], "k:text hi:int");
    test.rows("+ a 5 ~\n+ b ~ ~");
    test.flush();
    test.expect("+ a 5\n+ b ~");
    test.rows("+ a 3 ~\n+ b ~ ~");
    test.flush();
    test.expect("");
}

#[test]
fn a_group_without_rows_is_taken_back_and_forgotten() {
    let mut test = over(RETRACT, count_and_sum(), "k:text n:int s:int");
    test.rows("+ a 1 ~\n+ b 1 ~");
    test.flush();
    test.expect("+ a 1 1\n+ b 1 1");
    test.rows("- a 1 ~\n- b 1 ~\n+ b 2 ~");
    test.flush();
    test.expect("- a 1 1\n- b 1 1\n+ b 1 2");
    assert_eq!(test.snapshot()[0].rows.num_rows(), 1);
    test.rows("+ c 7 ~");
    test.flush();
    test.expect("+ c 1 7");
}

#[test]
fn a_row_may_be_taken_back_before_it_has_come() {
    let all = vec![
        call("s:int", sum_udaf(), &[("v", 1)]),
        call("hi:int", max_udaf(), &[("v", 1)]),
        distinct(call("kinds:int", count_udaf(), &[("v", 1)])),
    ];
    let mut test = over(RETRACT, all, "k:text s:int hi:int kinds:int");
    test.rows("- a 9 ~");
    test.flush();
    test.rows("+ a ~ ~");
    test.flush();
    test.expect("");
    test.rows("+ a 9 ~\n- b 1 ~\n+ a 2 ~");
    test.flush();
    test.expect("+ a 2 2 1");
    test.rows("+ b 1 ~");
    test.flush();
    test.expect("");
    assert_eq!(test.snapshot()[0].rows.num_rows(), 1);
}

#[test]
fn least_and_greatest_come_back_when_rows_are_taken_back() {
    let both =
        vec![call("lo:int", min_udaf(), &[("v", 1)]), call("hi:text", max_udaf(), &[("k", 0)])];
    let spec =
        GroupAggregateSpec { keys: vec![], aggregates: both, input: RETRACT, emit: Emit::Changes };
    let spec = OperatorSpec::GroupAggregate(spec);
    let mut test = Harness::new(spec, &[INPUT], "lo:int hi:text");
    test.rows("+ a 3 ~\n+ b 1 ~\n+ b 1 ~");
    test.flush();
    test.expect("+ 1 b");
    test.rows("- b 1 ~");
    test.flush();
    test.expect("");
    test.rows("- b 1 ~");
    test.flush();
    test.expect("- 1 b\n+ 3 a");
}

#[test]
fn distinct_without_aggregates_only_inserts() {
    let mut test = over(APPEND, vec![], "k:text");
    test.rows("+ a 1 ~\n+ ~ 1 ~\n+ a 2 ~");
    test.flush();
    test.rows("+ a 1 ~\n+ b 1 ~");
    test.flush();
    let batches = test.batches();
    assert!(batches.iter().all(|batch| batch.weights().is_none()));
    let rows: usize = batches.iter().map(Batch::num_rows).sum();
    assert_eq!(rows, 3);
}

#[test]
fn without_keys_there_is_always_a_row_at_the_end() {
    let mut test = keyless(APPEND);
    test.flush();
    test.expect("");
    test.end(0);
    test.expect("+ 0 ~");

    let mut test = keyless(RETRACT);
    test.rows("+ a 1 ~");
    test.flush();
    test.expect("+ 1 1");
    let state = test.snapshot();
    let mut test = test.restored(&state, 0, 1);
    test.rows("- a 1 ~");
    test.end(0);
    test.expect("- 1 1\n+ 0 ~");
}

#[test]
fn only_the_first_subtask_has_the_group_without_a_key() {
    let mut test = keyless(APPEND);
    let state = test.snapshot();
    let mut other = test.restored(&state, 1, 2);
    other.end(0);
    other.expect("");
    assert!(other.snapshot().is_empty());
}

#[test]
fn filter_leaves_rows_out_of_one_aggregate() {
    let mut calls = count_and_sum();
    let large: Arc<dyn PhysicalExpr> =
        Arc::new(BinaryExpr::new(Arc::new(Reference::new("v", 1)), Gt, lit(2_i64)));
    calls[1].filter = Some(large);
    let mut test = over(RETRACT, calls, "k:text n:int s:int");
    test.rows("+ a 1 ~\n+ a 3 ~\n+ a ~ ~\n+ a 5 ~\n+ b 1 ~");
    test.rows("- a 5 ~\n- a 1 ~");
    test.flush();
    test.expect("+ a 2 3\n+ b 1 ~");
}

#[test]
fn first_and_last_follow_the_order_of_rows() {
    let mut first = call("f:int", first_value_udaf(), &[("v", 1)]);
    first.ignore_nulls = true;
    let calls = vec![
        first,
        call("e:int", first_value_udaf(), &[("v", 1)]),
        call("l:int", last_value_udaf(), &[("v", 1)]),
    ];
    let mut test = over(APPEND, calls, "k:text f:int e:int l:int");
    test.rows("+ a ~ ~\n+ a 2 ~\n+ b 4 ~");
    let state = test.snapshot();
    test.expect("+ a 2 ~ 2\n+ b 4 4 4");
    let mut test = test.restored(&state, 0, 1);
    test.rows("+ a 3 ~\n+ b ~ ~");
    test.flush();
    test.expect("- a 2 ~ 2\n+ a 2 ~ 3\n- b 4 4 4\n+ b 4 4 ~");
}

#[test]
fn first_by_an_order_takes_the_least() {
    let mut first = call("f:int", first_value_udaf(), &[("v", 1)]);
    first.order_by = vec![datafusion::physical_expr::PhysicalSortExpr {
        expr: Arc::new(Reference::new("d", 2)),
        options: arrow::compute::SortOptions::default(),
    }];
    let mut test = over(APPEND, vec![first], "k:text f:int");
    test.rows("+ a 1 5.00\n+ a 2 3.00\n+ a 3 4.00");
    let state = test.snapshot();
    test.expect("+ a 2");
    let mut test = test.restored(&state, 0, 1);
    test.rows("+ a 4 1.00\n+ a 5 2.00");
    test.flush();
    test.expect("- a 2\n+ a 4");
}

#[test]
fn decimals_are_added_up_and_averaged() {
    let calls =
        vec![call("s:dec", sum_udaf(), &[("d", 2)]), call("a:dec", avg_udaf(), &[("d", 2)])];
    let typed = |call: &mut AggregateCall, precision, scale| {
        let kind = DataType::Decimal128(precision, scale);
        let field = call.output.as_ref().clone().with_data_type(kind);
        call.output = Arc::new(field);
    };
    let mut calls = calls;
    typed(&mut calls[0], 20, 2);
    typed(&mut calls[1], 14, 6);
    let mut fields = vec![Arc::clone(&schema("k:text").fields()[0])];
    fields.extend(calls.iter().map(|call| Arc::clone(&call.output)));
    let node = OperatorNode {
        id: OperatorId(1),
        spec: OperatorSpec::GroupAggregate(GroupAggregateSpec {
            keys: vec![0],
            aggregates: calls,
            input: RETRACT,
            emit: Emit::Changes,
        }),
        inputs: vec![schema(INPUT)],
        output: Arc::new(arrow::datatypes::Schema::new(fields)),
    };
    let mut test = Harness::of_node(node, 0, 1);
    test.rows("+ a 1 1.00\n+ a 1 2.50\n+ a 1 ~\n+ a 1 0.25");
    test.flush();
    test.expect("+ a 3.75 1.250000");
    test.rows("- a 1 1.00");
    test.flush();
    test.expect("- a 3.75 1.250000\n+ a 2.75 1.375000");
}

#[test]
fn what_rounding_leaves_of_a_sum_does_not_outlive_its_values() {
    let spec = GroupAggregateSpec {
        keys: vec![0],
        aggregates: vec![call("s:float", sum_udaf(), &[("f", 1)])],
        input: RETRACT,
        emit: Emit::Changes,
    };
    let spec = OperatorSpec::GroupAggregate(spec);
    let mut test = Harness::new(spec, &["k:text f:float"], "k:text s:float");
    test.rows("+ a 0.1\n+ a 0.2\n+ a 0.3\n+ b 0.3");
    test.rows("- a 0.1\n- a 0.2\n- a 0.3\n- b 0.2");
    assert_eq!(test.snapshot()[0].rows.num_rows(), 1);
    test.rows("+ a 1.5\n+ b 0.2\n+ b 0.5\n");
    test.flush();
    test.expect("+ a 1.5\n+ b 0.8");
}

#[test]
fn a_sum_of_floats_goes_on_after_a_restore_as_if_nothing_had_happened() {
    for (function, kind) in [(sum_udaf(), "sum"), (avg_udaf(), "average")] {
        for distinct in [false, true] {
            let mut aggregate = call("s:float", Arc::clone(&function), &[("f", 1)]);
            aggregate.distinct = distinct;
            let spec = GroupAggregateSpec {
                keys: vec![0],
                aggregates: vec![aggregate],
                input: RETRACT,
                emit: Emit::Changes,
            };
            let spec = OperatorSpec::GroupAggregate(spec);
            let mut test = Harness::new(spec, &["k:text f:float"], "k:text s:float");
            test.rows("+ a 1e10\n+ a 0.1\n+ b 1e16\n+ b 0.7\n- a 1e10");
            let state = test.snapshot();
            test.lines();
            let mut restored = test.restored(&state, 0, 1);
            for case in [&mut test, &mut restored] {
                // What rounding has left of the large number is less than it says of the small one.
                case.rows("- a 0.1\n- b 1e16");
                case.flush();
            }
            let lines = test.lines();
            assert_eq!(lines, restored.lines(), "{kind}, distinct {distinct}");
            assert!(lines.iter().any(|line| line.starts_with("- a")), "{lines:?}");
            for case in [&mut test, &mut restored] {
                case.rows("+ a 2.5\n+ b 0.2");
            }
            assert_eq!(test.snapshot()[0].rows, restored.snapshot()[0].rows);
            assert_eq!(test.lines(), restored.lines(), "{kind}, distinct {distinct}");
        }
    }
}

#[test]
fn any_other_function_works_on_insertions() {
    let deviation = call("x:float", stddev_udaf(), &[("v", 1)]);
    let mut deviation = AggregateCall { args: average().args, ..deviation };
    deviation.filter = None;
    let mut test = over(APPEND, vec![deviation], "k:text x:float");
    test.rows("+ a 1 ~\n+ b 1 ~\n+ a 3 ~\n+ b ~ ~");
    test.flush();
    test.expect("+ a 1.4142135623730951\n+ b ~");
    let state = test.snapshot();
    let mut test = test.restored(&state, 0, 1);
    test.rows("+ b 1 ~");
    test.flush();
    test.expect("- b ~\n+ b 0.0");
}

#[test]
fn groups_unused_for_longer_than_the_ttl_are_forgotten() {
    let calls = vec![
        call("n:int", count_udaf(), &[]),
        call("hi:int", max_udaf(), &[("v", 1)]),
        distinct(call("kinds:int", count_udaf(), &[("v", 1)])),
    ];
    let spec = GroupAggregateSpec {
        keys: vec![0],
        aggregates: calls,
        input: RETRACT,
        emit: Emit::Changes,
    };
    let spec = OperatorSpec::GroupAggregate(spec);
    let mut test = Harness::with_state_ttl(spec, INPUT, "k:text n:int hi:int kinds:int", 1_000);
    test.rows("+ a 1 ~\n+ b 2 ~");
    test.flush();
    test.expect("+ a 1 1 1\n+ b 1 2 1");
    for now in [500, 800] {
        test.time(now);
        test.rows("+ b 3 ~");
        test.flush();
    }
    test.lines();
    // What is restored counts as used when it is first looked at.
    let state = test.snapshot();
    assert_eq!(state[0].rows.num_rows(), 2);
    let mut test = test.restored(&state, 0, 1);
    for now in [1_500, 2_000, 2_700, 3_100] {
        test.time(now);
        test.rows("+ b 3 ~");
        test.flush();
    }
    test.lines();
    assert_eq!(test.snapshot()[0].rows.num_rows(), 1);
    test.rows("+ a 5 ~\n+ c 1 ~");
    test.flush();
    test.expect("+ a 1 5 1\n+ c 1 1 1");
    test.time(4_200);
    assert!(test.snapshot().is_empty());
    assert_eq!(test.operator().next_timer(), None);
    test.expect("");
}

#[test]
fn functions_that_cannot_take_rows_back_are_refused_by_name() {
    let node = |function| OperatorNode {
        id: OperatorId(1),
        spec: OperatorSpec::GroupAggregate(GroupAggregateSpec {
            keys: vec![0],
            aggregates: vec![call("l:int", function, &[("v", 1)])],
            input: RETRACT,
            emit: Emit::Changes,
        }),
        inputs: vec![schema(INPUT)],
        output: schema("k:text l:int"),
    };
    let refused =
        build(&node(array_agg_udaf()), &context(0, 1)).err().map(|error| error.to_string());
    assert!(refused.is_some_and(|message| message.contains("array_agg")));
    assert!(build(&node(max_udaf()), &context(0, 1)).is_ok());
}

fn all_kinds() -> (Vec<AggregateCall>, &'static str, &'static str) {
    let text = |function, output| call(output, function, &[("k", 0)]);
    let calls = vec![
        call("n:int", count_udaf(), &[]),
        call("nv:int", count_udaf(), &[("v", 1)]),
        call("s:int", sum_udaf(), &[("v", 1)]),
        average(),
        call("lo:int", min_udaf(), &[("v", 1)]),
        call("hi:int", max_udaf(), &[("v", 1)]),
        call("hd:dec", max_udaf(), &[("d", 2)]),
        distinct(call("dv:int", count_udaf(), &[("v", 1)])),
        distinct(call("dd:int", count_udaf(), &[("d", 2)])),
        distinct(call("ds:int", sum_udaf(), &[("v", 1)])),
        distinct(average()),
        text(min_udaf(), "lk:text"),
        distinct(text(count_udaf(), "dk:int")),
    ];
    let output = "k:text n:int nv:int s:int a:float lo:int hi:int hd:dec dv:int dd:int ds:int \
                  da:float lk:text dk:int";
    let columns = "count(*), count(v), sum(v), avg(v), min(v), max(v), max(d), count(DISTINCT v), \
                   count(DISTINCT d), sum(DISTINCT v), avg(DISTINCT v), min(k), count(DISTINCT k)";
    (calls, output, columns)
}

/// Returns the rows of a changelog that remain, as the lines of insertions.
fn fold(lines: Vec<String>) -> Vec<String> {
    let mut rows: BTreeMap<String, i64> = BTreeMap::new();
    for line in lines {
        let (sign, row) = line.split_at(1);
        *rows.entry(row.to_owned()).or_default() += if sign == "+" { 1 } else { -1 };
    }
    assert!(rows.values().all(|count| *count == 0 || *count == 1), "{rows:?}");
    rows.into_iter().filter(|(_, count)| *count == 1).map(|(row, _)| format!("+{row}")).collect()
}

/// Rows of random groups and values, each with whether it is taken back later.
fn rows() -> impl Strategy<Value = Vec<(u8, Option<i64>, Option<u8>, bool)>> {
    let row =
        (0..5_u8, proptest::option::of(-3..4_i64), proptest::option::of(0..4_u8), any::<bool>());
    proptest::collection::vec(row, 1..60)
}

fn cell<T: ToString>(value: Option<T>) -> String {
    value.map_or("~".to_owned(), |value| value.to_string())
}

fn settings() -> ProptestConfig {
    ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(settings())]

    /// Held against DataFusion's batch engine, whatever the batches, flushes and restores.
    #[test]
    fn groups_equal_batch_aggregation(
        rows in rows(),
        cuts in proptest::collection::vec((1_usize..20, 0_u8..3), 1..10),
        retracts in any::<bool>(),
    ) {
        let line = |sign: char, k: u8, v: Option<i64>, d: Option<u8>| {
            let k = if k == 0 { "~".to_owned() } else { format!("k{k}") };
            let d = cell(d.map(|d| format!("{d}.00")));
            format!("{sign} {k} {} {d}", cell(v))
        };
        let mut lines: Vec<String> =
            rows.iter().map(|(k, v, d, _)| line('+', *k, *v, *d)).collect();
        let mut stays = lines.clone();
        if retracts {
            let gone = rows.iter().filter(|row| row.3);
            lines.extend(gone.map(|(k, v, d, _)| line('-', *k, *v, *d)));
            let rest = rows.iter().filter(|row| !row.3);
            stays = rest.map(|(k, v, d, _)| line('+', *k, *v, *d)).collect();
            // Rows may also be taken back before they have come.
            let middle = lines.len() / 2;
            lines.rotate_left(middle);
        }
        let (calls, output, columns) = all_kinds();
        let mut test = over(if retracts { RETRACT } else { APPEND }, calls, output);
        let mut found = Vec::new();
        let mut rest = lines.as_slice();
        for (length, then) in cuts.iter().cycle() {
            let (now, later) = rest.split_at((*length).min(rest.len()));
            test.rows(&now.join("\n"));
            match then {
                0 => test.flush(),
                1 => {
                    let state = test.snapshot();
                    found.extend(test.lines());
                    test = test.restored(&state, 0, 1);
                }
                _ => {}
            }
            rest = later;
            if rest.is_empty() { break; }
        }
        test.end(0);
        found.extend(test.lines());

        let sql = format!("SELECT k, {columns} FROM input GROUP BY k");
        let mut expected = oracle(&table(INPUT, &stays.join("\n")), &sql);
        expected.sort();
        prop_assert_eq!(fold(found), expected);
        if stays.is_empty() {
            prop_assert!(test.snapshot().is_empty());
        }
    }

    /// The groups of one subtask go to others and come back, none lost and none twice.
    #[test]
    fn state_moves_to_another_parallelism(rows in rows(), parallelism in 2_usize..5) {
        let lines: Vec<String> = rows
            .iter()
            .map(|(k, v, _, _)| format!("+ k{k} {} ~", cell(*v)))
            .collect();
        let (calls, output, columns) = all_kinds();
        let mut test = over(RETRACT, calls, output);
        test.rows(&lines.join("\n"));
        let state = test.snapshot();
        let mut found = test.lines();
        let mut state_after = Vec::new();
        for subtask in 0..parallelism {
            state_after.extend(test.restored(&state, subtask, parallelism).snapshot());
        }
        let mut test = test.restored(&state_after, 0, 1);
        test.rows(&lines.join("\n"));
        test.end(0);
        found.extend(test.lines());

        let twice = [lines.join("\n"), lines.join("\n")].join("\n");
        let sql = format!("SELECT k, {columns} FROM input GROUP BY k");
        let mut expected = oracle(&table(INPUT, &twice), &sql);
        expected.sort();
        prop_assert_eq!(fold(found), expected);
    }
}
