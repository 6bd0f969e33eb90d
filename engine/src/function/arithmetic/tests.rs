use arrow::array::{ArrayRef, ArrowPrimitiveType, Decimal128Array, PrimitiveArray};
use arrow::datatypes::{Int8Type, Int16Type, Int32Type, Int64Type, UInt64Type};
use datafusion::common::ScalarValue;

use super::super::scalar::testing::call;
use super::*;

fn numbers<T: ArrowPrimitiveType>(values: &[Option<T::Native>]) -> ColumnarValue {
    let values: PrimitiveArray<T> = values.iter().copied().collect();
    ColumnarValue::Array(Arc::new(values))
}

fn decimals(values: &[Option<i128>], precision: u8, scale: i8) -> ColumnarValue {
    let values: Decimal128Array = values.iter().copied().collect();
    let values = values.with_precision_and_scale(precision, scale).unwrap();
    ColumnarValue::Array(Arc::new(values))
}

fn computed(arithmetic: Arithmetic, args: Vec<ColumnarValue>) -> Result<ArrayRef> {
    let rows = args.iter().map(|arg| match arg {
        ColumnarValue::Array(array) => array.len(),
        ColumnarValue::Scalar(_) => 1,
    });
    let rows = rows.max().unwrap();
    call(&functions(), arithmetic.name(), args, rows)
}

#[track_caller]
fn check(arithmetic: Arithmetic, args: Vec<ColumnarValue>, expected: &ColumnarValue) {
    let ColumnarValue::Array(expected) = expected else { panic!("expected are rows") };
    assert_eq!(&computed(arithmetic, args).unwrap(), expected);
}

#[track_caller]
fn check_misfit(arithmetic: Arithmetic, args: Vec<ColumnarValue>, expected: &str) {
    let error = computed(arithmetic, args).unwrap_err();
    assert_eq!(crate::wording::reason(&error), expected);
}

#[test]
fn results_that_fit_are_those_of_arithmetic() {
    let (a, b) = (numbers::<Int64Type>(&[Some(i64::MAX), Some(-3), None]), Some(7));
    let seven = || ColumnarValue::Scalar(ScalarValue::Int64(b));
    check(
        Arithmetic::Subtract,
        vec![a.clone(), seven()],
        &numbers::<Int64Type>(&[Some(i64::MAX - 7), Some(-10), None]),
    );
    let b = numbers::<Int64Type>(&[Some(-1), Some(4), Some(i64::MAX)]);
    check(
        Arithmetic::Multiply,
        vec![a.clone(), b.clone()],
        &numbers::<Int64Type>(&[Some(-i64::MAX), Some(-12), None]),
    );
    check(Arithmetic::Add, vec![b, a], &numbers::<Int64Type>(&[Some(i64::MAX - 1), Some(1), None]));
}

#[test]
fn every_width_is_checked_at_both_ends() {
    fn ends<T: ArrowPrimitiveType>(least: T::Native, greatest: T::Native, one: T::Native)
    where
        T::Native: std::fmt::Display,
    {
        let scalar = |value| {
            let array = PrimitiveArray::<T>::from_value(value, 1);
            ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0).unwrap())
        };
        let name = type_sql(&T::DATA_TYPE);
        let (low, high) = (numbers::<T>(&[Some(least)]), numbers::<T>(&[None, Some(greatest)]));
        let text = format!("{greatest} + {one} does not fit {name}");
        check_misfit(Arithmetic::Add, vec![high.clone(), scalar(one)], &text);
        let text = format!("{least} - {one} does not fit {name}");
        check_misfit(Arithmetic::Subtract, vec![low, scalar(one)], &text);
        let text = format!("{greatest} * {greatest} does not fit {name}");
        check_misfit(Arithmetic::Multiply, vec![scalar(greatest), high], &text);
    }
    ends::<Int8Type>(i8::MIN, i8::MAX, 1);
    ends::<Int16Type>(i16::MIN, i16::MAX, 1);
    ends::<Int32Type>(i32::MIN, i32::MAX, 1);
    ends::<Int64Type>(i64::MIN, i64::MAX, 1);
    ends::<UInt64Type>(0, u64::MAX, 1);
}

#[test]
fn the_least_number_cannot_be_negated() {
    let numbers = |value| vec![numbers::<Int32Type>(&[Some(5), value])];
    let text = "-(-2147483648) does not fit INT";
    check_misfit(Arithmetic::Negate, numbers(Some(i32::MIN)), text);
    assert_eq!(computed(Arithmetic::Negate, numbers(None)).unwrap().null_count(), 1);
}

#[test]
fn a_chain_is_computed_from_the_left() {
    let (a, b) = (numbers::<Int64Type>(&[Some(9)]), numbers::<Int64Type>(&[Some(4)]));
    check(
        Arithmetic::Subtract,
        vec![a.clone(), b.clone(), b.clone()],
        &numbers::<Int64Type>(&[Some(1)]),
    );
    let most = numbers::<Int64Type>(&[Some(i64::MAX)]);
    let text = "9223372036854775807 + 9 does not fit BIGINT";
    check_misfit(Arithmetic::Add, vec![most, a, b], text);
}

#[test]
fn what_lies_under_a_null_does_not_fail() {
    let nulls = arrow::buffer::NullBuffer::from(vec![false, true]);
    let hidden = PrimitiveArray::<Int64Type>::new(vec![i64::MAX, 1].into(), Some(nulls));
    let hidden = ColumnarValue::Array(Arc::new(hidden));
    check(
        Arithmetic::Add,
        vec![hidden, numbers::<Int64Type>(&[Some(1), Some(1)])],
        &numbers::<Int64Type>(&[None, Some(2)]),
    );
}

#[test]
fn decimals_have_no_more_digits_than_their_type() {
    let most = 10_i128.pow(38) - 1;
    check_misfit(
        Arithmetic::Add,
        vec![decimals(&[None, Some(most)], 38, 2), decimals(&[None, Some(1)], 38, 2)],
        "999999999999999999999999999999999999.99 + 0.01 does not fit DECIMAL(38, 2)",
    );
    check_misfit(
        Arithmetic::Multiply,
        vec![
            decimals(&[Some(10_i128.pow(19))], 20, 0),
            decimals(&[Some(-(10_i128.pow(19)))], 20, 0),
        ],
        "10000000000000000000 * (-10000000000000000000) does not fit DECIMAL(38, 0)",
    );
    check(
        Arithmetic::Subtract,
        vec![decimals(&[Some(most), None], 38, 2), decimals(&[Some(1), None], 38, 2)],
        &decimals(&[Some(most - 1), None], 38, 2),
    );
}

#[test]
fn quotients_of_long_decimals_need_no_room_on_the_way() {
    let one = 10_i128.pow(18);
    check(
        Arithmetic::Divide,
        vec![
            decimals(&[Some(123 * one), Some(one)], 38, 18),
            decimals(&[Some(2 * one), None], 38, 18),
        ],
        &decimals(&[Some(615 * 10_i128.pow(21)), None], 38, 22),
    );
    let error = computed(
        Arithmetic::Divide,
        vec![decimals(&[Some(one), Some(one)], 38, 18), decimals(&[Some(one), Some(0)], 38, 18)],
    );
    assert_eq!(crate::wording::reason(&error.unwrap_err()), "division by zero");
}

#[test]
fn divisors_may_have_all_their_digits_behind_the_point() {
    let (half, third) = (5 * 10_i128.pow(35), 3 * 10_i128.pow(36));
    check(
        Arithmetic::Divide,
        vec![
            decimals(&[Some(10_i128.pow(18)), Some(-(10_i128.pow(18))), None], 38, 18),
            decimals(&[Some(half), Some(third), Some(0)], 38, 36),
        ],
        &decimals(&[Some(2 * 10_i128.pow(22)), Some(-3_333_333_333_333_333_333_333), None], 38, 22),
    );
    let tiny = decimals(&[Some(1), Some(1)], 38, 38);
    check_misfit(
        Arithmetic::Divide,
        vec![decimals(&[None, Some(10)], 2, 1), tiny],
        "1.0 / 0.00000000000000000000000000000000000001 does not fit DECIMAL(38, 5)",
    );
    let nothing = decimals(&[Some(7)], 38, 38);
    let most = vec![decimals(&[Some(10_i128.pow(38) - 1)], 38, 0), nothing];
    let text = "99999999999999999999999999999999999999 / 0.00000000000000000000000000000000000007 \
                does not fit DECIMAL(38, 4)";
    check_misfit(Arithmetic::Divide, most, text);
}

#[test]
fn quotients_with_and_without_room_on_the_way_are_cut_alike() {
    let dividends = [7, -7, 20_000, -20_000].map(|value| value * 10_i128.pow(15));
    let (mut left, right): (Vec<_>, Vec<_>) =
        dividends.into_iter().map(|value| (Some(value), Some(3 * 10_i128.pow(15)))).unzip();
    let quotients = |left: &[Option<i128>], right: &[Option<i128>]| {
        let args = vec![decimals(left, 38, 18), decimals(right, 38, 18)];
        computed(Arithmetic::Divide, args).unwrap()
    };
    let fit = quotients(&left[..2], &right[..2]);
    let all = quotients(&left, &right);
    assert_eq!(&all.slice(0, 2), &fit, "the first are those that Arrow computes");
    let cut = |value: i128| Some(value * 10_i128.pow(22) / 3);
    let expected = decimals(&[cut(7), cut(-7), cut(20_000), cut(-20_000)], 38, 22);
    let ColumnarValue::Array(expected) = expected else { panic!("expected are rows") };
    assert_eq!(&all, &expected);
    left[1] = None;
    assert_eq!(quotients(&left, &right).null_count(), 1);
}

#[test]
fn what_lies_under_a_null_divisor_is_not_divided_by() {
    let nulls = Some(arrow::buffer::NullBuffer::from(vec![false, true]));
    let hidden = Decimal128Array::new(vec![0, 2 * 10_i128.pow(18)].into(), nulls);
    let hidden = hidden.with_precision_and_scale(38, 18).unwrap();
    let one = 123 * 10_i128.pow(18);
    check(
        Arithmetic::Divide,
        vec![decimals(&[Some(one), Some(one)], 38, 18), ColumnarValue::Array(Arc::new(hidden))],
        &decimals(&[None, Some(615 * 10_i128.pow(21))], 38, 22),
    );
}

#[test]
fn quotients_have_the_types_that_arrow_gives_them() {
    for (scale, divisor_scale) in (0..=38).flat_map(|scale| (0..=38).map(move |by| (scale, by))) {
        let (left, right) =
            (DataType::Decimal128(38, scale), DataType::Decimal128(38, divisor_scale));
        for left in [left, DataType::Decimal128(scale.max(1) as u8, scale)] {
            let found = Checked::new(Arithmetic::Divide);
            let found = found.return_type(&[left.clone(), right.clone()]).unwrap();
            match BinaryTypeCoercer::new(&left, &Operator::Divide, &right).get_result_type() {
                Ok(expected) => assert_eq!(found, expected, "{left} / {right}"),
                Err(_) => assert!(divisor_scale >= 35, "{left} / {right}"),
            }
        }
    }
}
