use datafusion::common::JoinType;
use proptest::prelude::*;

use super::super::testing::{Harness, own_key};
use super::*;
use crate::graph::OperatorSpec;
use crate::operator::join::testing::{compare, greater};

/// Joins on the key where the left time lies 10 ms before to 20 ms after the right one.
fn spec(join_type: JoinType) -> IntervalJoinSpec {
    IntervalJoinSpec {
        join_type,
        on: vec![(0, 0)],
        left_time: 2,
        right_time: 2,
        lower_ms: -10,
        upper_ms: 20,
        filter: None,
    }
}

fn join(spec: IntervalJoinSpec) -> Harness {
    let join_type = spec.join_type;
    compare::harness(OperatorSpec::IntervalJoin(spec), join_type)
}

const CONDITION: &str = "CAST(l.ws AS BIGINT) - CAST(r.ws AS BIGINT) >= -10 AND CAST(l.ws AS BIGINT) - CAST(r.ws AS BIGINT) <= 20";

#[test]
fn rows_join_within_the_interval_bounds_included() {
    let mut test = join(spec(JoinType::Inner));
    test.rows_at(1, "+ 1 5 100 0");
    test.rows_at(0, "+ 1 1 89 0\n + 1 2 90 0\n + 1 3 120 0\n + 1 4 121 0\n + 2 5 100 0");
    test.expect("+ 1 2 90 0 1 5 100 0\n + 1 3 120 0 1 5 100 0");
    test.rows_at(1, "+ 2 6 80 0");
    test.expect("+ 2 5 100 0 2 6 80 0");
}

#[test]
fn rows_without_a_partner_come_out_when_none_can_come_any_more() {
    let mut test = join(spec(JoinType::Full));
    test.rows_at(0, "+ 1 1 5000 0\n + ~ 2 5000 0");
    test.expect("+ ~ 2 5000 0 ~ ~ ~ ~");
    test.rows_at(1, "+ 1 3 5000 0\n + 2 4 5000 0");
    test.expect("+ 1 1 5000 0 1 3 5000 0");
    test.watermark(5019);
    test.expect("");
    test.watermark(5020);
    test.expect("+ ~ ~ ~ ~ 2 4 5000 0");
    assert_eq!(test.operator().memory_bytes(), 0);
}

#[test]
fn state_is_dropped_as_the_watermark_rises() {
    let mut test = join(spec(JoinType::Inner));
    let mut most = 0;
    for second in 0..200 {
        let rows = (0..50).map(|n| format!("+ {n} 0 {} 0\n", second * 1000 + n * 20));
        let rows = rows.collect::<String>();
        test.rows_at(0, &rows);
        test.rows_at(1, &rows);
        test.watermark(second * 1000 + 900);
        most = most.max(test.operator().memory_bytes());
    }
    assert_eq!(test.lines().len(), 200 * 50);
    assert!(most < 60_000, "{most} bytes for two seconds of rows");
}

#[test]
fn late_rows_are_dropped_and_counted() {
    let mut test = join(spec(JoinType::Inner));
    test.rows_at(0, "+ 1 1 100 0");
    test.watermark(95);
    test.rows_at(1, "+ 1 2 95 0\n + 1 3 96 0\n + ~ 4 95 0\n + 1 5 ~ 0");
    test.expect("+ 1 1 100 0 1 3 96 0");
    assert_eq!(test.operator().late_rows(), 2);
}

#[test]
fn what_was_late_is_late_after_a_restore_and_nothing_else_at_any_parallelism() {
    let test = join(spec(JoinType::Full));
    for (before, after) in [(1, 1), (1, 3), (3, 1), (3, 2)] {
        let mut state = vec![];
        for subtask in 0..before {
            let mut running = test.restored(&[], subtask, before);
            running.watermark(95);
            state.extend(running.snapshot());
        }
        for subtask in 0..after {
            let key = own_key(subtask, after);
            let mut restored = test.restored(&state, subtask, after);
            restored.rows_at(0, &format!("+ {key} 1 95 0\n + {key} 2 96 0"));
            restored.watermark(50);
            restored.rows_at(1, &format!("+ {key} 3 95 0\n + {key} 4 96 0"));
            restored.expect(&format!("+ {key} 2 96 0 {key} 4 96 0"));
            assert_eq!(restored.operator().late_rows(), 2, "from {before} to {after} subtasks");
        }
    }
}

#[test]
fn subtasks_that_were_not_equally_far_stay_so_when_one_goes_on_for_them() {
    let test = join(spec(JoinType::Left));
    let (slow, fast) = (own_key(0, 2), own_key(1, 2));
    let mut state = vec![];
    for (subtask, watermark) in [(0, 95), (1, 5000)] {
        let mut running = test.restored(&[], subtask, 2);
        running.rows_at(0, &format!("+ {} 1 100 0", [slow, fast][subtask]));
        running.watermark(watermark);
        state.extend(running.snapshot());
        let alone = format!("+ {fast} 1 100 0 ~ ~ ~ ~");
        running.expect(if subtask == 1 { &alone } else { "" });
    }
    let mut merged = test.restored(&state, 0, 1);
    // The fast subtask has said that this row has no partner, so none may come any more.
    merged.rows_at(1, &format!("+ {slow} 2 100 0\n + {fast} 2 100 0"));
    merged.rows_at(0, &format!("+ {slow} 3 101 0\n + {fast} 3 101 0"));
    merged.expect(&format!("+ {slow} 1 100 0 {slow} 2 100 0\n + {slow} 3 101 0 {slow} 2 100 0"));
    assert_eq!(merged.operator().late_rows(), 2);
    merged.watermark(i64::MAX);
    merged.expect("");
}

#[test]
fn the_watermark_waits_for_the_oldest_time_that_may_still_come_out() {
    let mut test = join(spec(JoinType::Inner));
    assert_eq!(test.watermark(1000), 980);
    let mut test = join(spec(JoinType::Left));
    // As long as a row waits for its partners, and a slice more.
    assert_eq!(test.watermark(5000), 5000 - 20 - 1000);
    assert_eq!(test.watermark(i64::MAX), i64::MAX);
}

#[test]
fn times_of_different_units_are_compared_exactly() {
    use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray, TimestampSecondArray};
    use std::sync::Arc;

    let batch = |time: ArrayRef| {
        let key: ArrayRef = Arc::new(Int64Array::from(vec![1; time.len()]));
        RecordBatch::try_from_iter_with_nullable([("k", key, true), ("t", time, true)]).unwrap()
    };
    let left =
        batch(Arc::new(TimestampMicrosecondArray::from(vec![999_999, 1_000_000, 1_000_001])));
    let right = batch(Arc::new(TimestampSecondArray::from(vec![1])));
    let fields =
        left.schema().fields().iter().chain(right.schema().fields()).cloned().collect::<Vec<_>>();
    let node = OperatorNode {
        id: crate::OperatorId(1),
        spec: OperatorSpec::IntervalJoin(IntervalJoinSpec {
            left_time: 1,
            right_time: 1,
            lower_ms: 0,
            upper_ms: 0,
            ..spec(JoinType::Inner)
        }),
        inputs: vec![left.schema(), right.schema()],
        output: Arc::new(arrow::datatypes::Schema::new(fields)),
    };
    let mut test = Harness::of_node(node, 0, 1);
    test.batch_at(0, Batch::insert(left));
    test.batch_at(1, Batch::insert(right));
    let found: usize = test.batches().iter().map(Batch::num_rows).sum();
    assert_eq!(found, 1);
    // A row half a millisecond above the watermark is not late.
    test.watermark(1000);
    assert_eq!(test.operator().late_rows(), 0);
}

use arrow::array::Array;

#[test]
fn bounds_the_wrong_way_round_are_refused() {
    let spec = IntervalJoinSpec { lower_ms: 5, upper_ms: 4, ..spec(JoinType::Inner) };
    compare::expect_invalid(OperatorSpec::IntervalJoin(spec), "the wrong way round");
}

/// Feeds a random case with rising watermarks; halfway the join is restored from a snapshot,
/// from one subtask into two, whose outputs are put together.
fn run(spec: IntervalJoinSpec, case: &compare::Case, seed: u64, restores: bool) -> Vec<String> {
    let keyless = spec.on.is_empty();
    let mut tests = vec![join(spec)];
    let mut lines = vec![];
    let (mut left_rows, mut right_rows) = (0, 0);
    let batches = case.split(0, seed).into_iter().zip(case.split(1, seed));
    for (step, (left, right)) in batches.enumerate() {
        if step == 3 && restores {
            lines.extend(tests[0].lines());
            let state = tests[0].snapshot();
            tests = (0..2).map(|subtask| tests[0].restored(&state, subtask, 2)).collect();
        }
        left_rows += left.num_rows();
        right_rows += right.num_rows();
        for (port, rows) in [(0, left), (1, right)] {
            for (subtask, part) in deal_out(&rows, tests.len(), keyless) {
                tests[subtask].batch_at(port, Batch::insert(part));
            }
        }
        // Times are at most as far behind the number of their row as they are rounded down.
        let watermark = (left_rows.min(right_rows) as i64) / 10 * 10 - 1;
        for test in &mut tests {
            test.watermark(watermark);
        }
    }
    for test in &mut tests {
        test.end(1);
        assert_eq!(test.operator().late_rows(), 0);
        lines.extend(test.lines());
    }
    lines.sort();
    lines
}

/// Deals rows out to subtasks as an exchange does: by the key group of their key.
fn deal_out(rows: &RecordBatch, parallelism: usize, keyless: bool) -> Vec<(usize, RecordBatch)> {
    if keyless || parallelism == 1 {
        return vec![(0, rows.clone())];
    }
    let hashes = hash_keys(rows, &[0]).unwrap();
    let subtask =
        |hash: &u64| crate::hash::subtask_of(crate::hash::key_group(*hash, 16), parallelism, 16);
    (0..parallelism)
        .map(|number| {
            let mask: BooleanArray =
                hashes.iter().map(|hash| Some(subtask(hash) == number)).collect();
            (number, divide(rows, &mask).unwrap().0)
        })
        .collect()
}

#[tokio::test]
async fn the_answer_is_that_of_a_batch_join() {
    for join_type in compare::JOIN_TYPES {
        for (on, equal) in [(vec![(0, 0)], "l.k = r.k"), (vec![], "true")] {
            for (seed, filtered) in [(1, false), (2, true), (3, true)] {
                let case = compare::Case::random(seed, 60);
                let filter = filtered.then(|| greater("n", 5, "n", 1));
                let spec = IntervalJoinSpec { filter, on: on.clone(), ..spec(join_type) };
                let condition = if filtered { "l.n < r.n" } else { "true" };
                let condition = format!("{equal} AND {CONDITION} AND {condition}");
                let expected = case.expected(join_type, &condition).await;
                for restores in [false, true] {
                    let found = run(spec.clone(), &case, seed, restores);
                    assert_eq!(found, expected, "{join_type} {condition} restored {restores}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn splitting_batches_differently_changes_nothing(seed in 0_u64..1000, splits in 0_u64..1000) {
        let case = compare::Case::random(seed, 50);
        let spec = spec(JoinType::Full);
        let once = run(spec.clone(), &case, 0, false);
        prop_assert_eq!(run(spec, &case, splits, splits % 2 == 0), once);
    }
}
