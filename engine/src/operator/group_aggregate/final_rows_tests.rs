use super::super::testing::Harness;
use super::tests::{INPUT, count_and_sum};
use super::*;
use crate::graph::OperatorSpec;

fn final_rows(keys: Vec<usize>, output: &str) -> Harness {
    let spec = GroupAggregateSpec {
        keys,
        aggregates: count_and_sum(),
        input: ChangelogMode::Retract,
        emit: Emit::Final,
    };
    Harness::new(OperatorSpec::GroupAggregate(spec), &[INPUT], output)
}

#[test]
fn final_rows_are_emitted_once_at_the_end() {
    let mut test = final_rows(vec![0], "k:text n:int s:int");
    test.rows("+ a 1 ~\n+ b 2 ~\n+ c 5 ~");
    test.flush();
    test.expect("");
    let state = test.snapshot();
    let mut test = test.restored(&state, 0, 1);
    test.rows("+ a 3 ~\n- c 5 ~");
    test.end(0);
    test.expect("+ a 2 4\n+ b 1 2");
    let state = test.snapshot();
    let mut test = test.restored(&state, 0, 1);
    test.end(0);
    test.expect("");
}

#[test]
fn a_sum_that_was_beyond_its_type_at_a_checkpoint_may_fit_at_the_end() {
    let mut test = final_rows(vec![0], "k:text n:int s:int");
    test.rows("+ a 9223372036854775807 ~\n+ a 9223372036854775807 ~");
    test.flush();
    let state = test.snapshot();
    let mut test = test.restored(&state, 0, 1);
    test.rows("- a 9223372036854775807 ~");
    test.end(0);
    test.expect("+ a 1 9223372036854775807");
}

#[test]
fn without_keys_there_is_a_final_row_of_nothing() {
    let mut test = final_rows(vec![], "n:int s:int");
    test.end(0);
    test.expect("+ 0 ~");
}
