use arrow::array::{ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array};
use arrow::datatypes::Schema;
use datafusion::logical_expr::EmitTo;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::col;
use datafusion::scalar::ScalarValue;

use super::*;

fn call(function: &str, kind: &DataType, distinct: bool) -> AggregateFunctionExpr {
    let function = functions().into_iter().find(|udf| udf.name() == function).unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("v", kind.clone(), true)]));
    let argument = col("v", &schema).unwrap();
    let call = AggregateExprBuilder::new(function, vec![argument]).schema(schema).alias("SUM(v)");
    call.with_distinct(distinct).build().unwrap()
}

fn numbers(values: &[Option<i64>]) -> Vec<ArrayRef> {
    vec![Arc::new(values.iter().copied().collect::<Int64Array>())]
}

fn decimals(values: &[i128]) -> Vec<ArrayRef> {
    let values = Decimal128Array::from_iter_values(values.iter().copied());
    vec![Arc::new(values.with_precision_and_scale(38, 2).unwrap())]
}

#[test]
fn a_sum_that_comes_back_into_range_was_never_out_of_it() {
    let call = call("sum", &DataType::Int64, false);
    let mut sum = call.create_sliding_accumulator().unwrap();
    sum.update_batch(&numbers(&[Some(i64::MAX), Some(i64::MAX), None])).unwrap();
    let error = sum.evaluate().unwrap_err();
    assert_eq!(
        crate::wording::reason(&error),
        "SUM(v) is 18446744073709551614, which does not fit BIGINT"
    );
    sum.retract_batch(&numbers(&[Some(i64::MAX)])).unwrap();
    assert_eq!(sum.evaluate().unwrap(), ScalarValue::Int64(Some(i64::MAX)));
    sum.retract_batch(&numbers(&[Some(i64::MAX), None])).unwrap();
    assert_eq!(sum.evaluate().unwrap(), ScalarValue::Int64(None));
}

#[test]
fn partial_sums_may_be_wider_than_the_result() {
    let call = call("sum", &DataType::Int64, false);
    let mut parts = call.create_groups_accumulator().unwrap();
    let most = Some(i64::MAX);
    parts.update_batch(&numbers(&[most, most, Some(7), None]), &[0, 0, 1, 2], None, 3).unwrap();
    let state = parts.state(EmitTo::All).unwrap();
    let mut total = call.create_groups_accumulator().unwrap();
    total.merge_batch(&state, &[0, 1, 2], 3).unwrap();
    let filter = BooleanArray::from(vec![Some(true), Some(false), None]);
    let values = numbers(&[Some(-i64::MAX), Some(1), Some(1)]);
    total.update_batch(&values, &[0, 1, 2], Some(&filter), 3).unwrap();
    let converted = total.convert_to_state(&values, Some(&filter)).unwrap();
    assert_eq!(converted[0].null_count(), 2);
    let sums = total.evaluate(EmitTo::All).unwrap();
    assert_eq!(&sums, &numbers(&[most, Some(7), None])[0]);
}

#[test]
fn sums_of_long_decimals_are_held_in_256_bits() {
    let most = 10_i128.pow(38) - 1;
    let call = call("sum", &DataType::Decimal128(38, 2), false);
    let mut sum = call.create_groups_accumulator().unwrap();
    sum.update_batch(&decimals(&[most, most, most, -most, -most]), &[0; 5], None, 1).unwrap();
    let sums = sum.evaluate(EmitTo::All).unwrap();
    assert_eq!(sums.as_primitive::<Decimal128Type>().value(0), most);
    sum.update_batch(&decimals(&[most, 1]), &[0; 2], None, 1).unwrap();
    assert_eq!(
        crate::wording::reason(&sum.evaluate(EmitTo::All).unwrap_err()),
        "SUM(v) is 1000000000000000000000000000000000000.00, which does not fit DECIMAL(38, 2)"
    );
}

#[test]
fn distinct_values_count_once_and_travel_as_a_list() {
    let call = call("sum", &DataType::Int64, true);
    let most = Some(i64::MAX);
    let mut part = call.create_accumulator().unwrap();
    part.update_batch(&numbers(&[most, most, Some(1), None])).unwrap();
    let error = part.evaluate().unwrap_err();
    assert!(crate::wording::reason(&error).contains("9223372036854775808"), "{error}");
    let state: Vec<ArrayRef> =
        part.state().unwrap().iter().map(|value| value.to_array().unwrap()).collect();
    assert_eq!(state[0].data_type(), call.state_fields().unwrap()[0].data_type());
    let mut total = call.create_accumulator().unwrap();
    total.merge_batch(&state).unwrap();
    total.update_batch(&numbers(&[Some(1), Some(-1)])).unwrap();
    assert_eq!(total.evaluate().unwrap(), ScalarValue::Int64(most));
}

#[test]
fn whole_numbers_wrap_where_they_are_asked_to() {
    let call = call(WRAPPING_SUM, &DataType::Int64, false);
    let mut sum = call.create_accumulator().unwrap();
    sum.update_batch(&numbers(&[Some(i64::MAX), Some(1)])).unwrap();
    assert_eq!(sum.evaluate().unwrap(), ScalarValue::Int64(Some(i64::MIN)));
}
