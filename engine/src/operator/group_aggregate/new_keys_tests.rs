use super::super::build;
use super::super::testing::{Harness, context, schema};
use super::tests::{INPUT, count_and_sum};
use super::*;
use crate::OperatorId;
use crate::graph::OperatorSpec;

const OUTPUT: &str = "k:text v:int";

fn spec() -> GroupAggregateSpec {
    GroupAggregateSpec {
        keys: vec![0, 1],
        aggregates: vec![],
        input: ChangelogMode::AppendOnly,
        emit: Emit::First,
    }
}

fn new_keys() -> Harness {
    Harness::new(OperatorSpec::GroupAggregate(spec()), &[INPUT], OUTPUT)
}

#[test]
fn a_key_is_emitted_once_and_with_its_first_row() {
    let mut test = new_keys();
    test.rows("+ b 1 ~\n+ a 1 1.00\n+ b 1 2.00\n+ ~ ~ ~");
    assert!(test.batches().iter().all(|batch| batch.weights().is_none()));
    test.rows("+ b 2 ~\n+ a 1 ~\n+ ~ ~ ~");
    assert_eq!(test.lines(), ["+ b 2"], "without a flush");
    test.end(0);
    test.expect("");
}

#[test]
fn a_key_is_not_new_after_a_restore_at_another_parallelism() {
    let mut test = new_keys();
    let rows = |keys: std::ops::Range<i64>| keys.map(|key| format!("+ a {key} ~\n"));
    let keys = |keys: std::ops::Range<i64>| keys.map(|key| format!("+ a {key}\n"));
    test.rows(&rows(0..50).collect::<String>());
    test.expect(&keys(0..50).collect::<String>());
    let state = test.snapshot();
    let mut owners = Vec::new();
    for subtask in 0..3 {
        let mut restored = test.restored(&state, subtask, 3);
        owners.push(restored.snapshot().iter().map(|table| table.rows.num_rows()).sum::<usize>());
        // Rows of other subtasks' keys never come here: only those of its own are old.
        restored.rows(&rows(0..50).collect::<String>());
        assert_eq!(restored.lines().len(), 50 - owners[subtask]);
    }
    assert_eq!(owners.iter().sum::<usize>(), 50);
    let mut restored = test.restored(&state, 0, 1);
    restored.rows(&rows(40..60).collect::<String>());
    restored.expect(&keys(50..60).collect::<String>());
}

#[test]
fn a_key_not_seen_for_the_time_to_live_is_new_again() {
    let mut test =
        Harness::with_state_ttl(OperatorSpec::GroupAggregate(spec()), INPUT, OUTPUT, 1000);
    test.rows("+ a 1 ~\n+ b 1 ~");
    test.expect("+ a 1\n+ b 1");
    for now in [500, 900, 1400] {
        test.time(now);
        test.rows("+ a 1 ~");
    }
    test.rows("+ b 1 ~");
    test.expect("+ b 1");
}

#[test]
fn new_keys_are_emitted_of_nothing_but_keys() {
    let wrong = [
        GroupAggregateSpec { aggregates: count_and_sum(), ..spec() },
        GroupAggregateSpec { input: ChangelogMode::Retract, ..spec() },
        GroupAggregateSpec { keys: vec![], ..spec() },
    ];
    for spec in wrong {
        let inputs = vec![schema(INPUT)];
        let spec = OperatorSpec::GroupAggregate(spec);
        let node = OperatorNode { id: OperatorId(1), spec, inputs, output: schema(OUTPUT) };
        let error = build(&node, &context(0, 1)).err().expect("a spec that is refused");
        assert!(matches!(error, Error::Invalid(_)), "{error}");
    }
}
