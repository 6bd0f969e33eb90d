//! Comparisons with the elements of an array: `x = ANY(array)`.
//!
//! `x op ALL(array)` is what `NOT (x op' ANY(array))` is, with the operator that is true where the
//! other is false.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, in_list,
};
use datafusion::physical_expr_common::datum::apply_cmp;

/// Returns the name of the function that compares its first argument with the elements of its
/// second: true where one fulfils the operator, else null where one is null or the value is, else
/// false.
#[must_use]
pub fn any_function(op: Operator) -> Option<&'static str> {
    OPERATORS.iter().find(|(known, _)| *known == op).map(|(_, name)| *name)
}

/// Returns the operator of such a function.
#[must_use]
pub fn operator_of(function: &str) -> Option<Operator> {
    OPERATORS.iter().find(|(_, name)| *name == function).map(|(op, _)| *op)
}

const OPERATORS: &[(Operator, &str)] = &[
    (Operator::Eq, "eq_any"),
    (Operator::NotEq, "ne_any"),
    (Operator::Lt, "lt_any"),
    (Operator::LtEq, "le_any"),
    (Operator::Gt, "gt_any"),
    (Operator::GtEq, "ge_any"),
];

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let function = |(op, name): &(Operator, &'static str)| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::from(CompareAny { op: *op, name, signature }))
    };
    let contains = ArrayContains { signature: Signature::user_defined(Volatility::Immutable) };
    let contains = Arc::new(ScalarUDF::from(contains));
    OPERATORS.iter().map(function).chain([contains]).collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CompareAny {
    op: Operator,
    name: &'static str,
    signature: Signature,
}

impl fmt::Display for CompareAny {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ANY", self.op)
    }
}

impl ScalarUDFImpl for CompareAny {
    fn name(&self) -> &'static str {
        self.name
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [value, array] = args else { return plan_err!("{self} takes a value and an array") };
        Ok(format!("{value} {self}({array})"))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, found: &[DataType]) -> Result<Vec<DataType>> {
        let [value, array] = found else { return plan_err!("{self} takes a value and an array") };
        let Some((common, list)) = common_types(value, array) else {
            return plan_err!("cannot compare {value} {self}({array})");
        };
        Ok(vec![common, list])
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name, DataType::Boolean, true)))
    }

    /// An array that is written down is the list of an IN.
    fn simplify(&self, args: Vec<Expr>, _info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let elements = match args.as_slice() {
            [_, Expr::Literal(ScalarValue::List(list), _)]
                if list.is_valid(0) && list.value_length(0) <= MAX_LISTED =>
            {
                let elements = list.value(0);
                let element = |index| ScalarValue::try_from_array(&elements, index);
                let literals = (0..elements.len())
                    .map(|index| element(index).map(|value| Expr::Literal(value, None)));
                Some(literals.collect::<Result<Vec<_>>>()?)
            }
            [_, Expr::ScalarFunction(call)] if call.func.name() == "make_array" => {
                Some(call.args.clone())
            }
            _ => None,
        };
        Ok(match (elements, args.first()) {
            (Some(elements), Some(value)) if self.op == Operator::Eq => {
                ExprSimplifyResult::Simplified(in_list(value.clone(), elements, false))
            }
            _ => ExprSimplifyResult::Original(args),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let values = args.args[0].to_array(args.number_rows)?;
        let lists = args.args[1].to_array(args.number_rows)?;
        any_fulfils(self.op, &values, &lists).map(ColumnarValue::Array)
    }
}

/// `ARRAY_CONTAINS(array, value)` as Flink has it: whether an element is the value or, for a NULL,
/// whether there is a NULL. Never null but of no array.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ArrayContains {
    signature: Signature,
}

impl ScalarUDFImpl for ArrayContains {
    fn name(&self) -> &'static str {
        "array_contains"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, found: &[DataType]) -> Result<Vec<DataType>> {
        let types = match found {
            [array, value] => common_types(value, array),
            _ => None,
        };
        let Some((common, list)) = types else {
            return plan_err!("ARRAY_CONTAINS takes an array and a value like its elements");
        };
        Ok(vec![list, common])
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let lists = args.args[0].to_array(args.number_rows)?;
        let values = args.args[1].to_array(args.number_rows)?;
        any_fulfils(Operator::IsNotDistinctFrom, &values, &lists).map(ColumnarValue::Array)
    }
}

/// Longer arrays than this stay arrays.
const MAX_LISTED: i32 = 1000;

/// Returns the types in which a value is compared with the elements of an array.
fn common_types(value: &DataType, array: &DataType) -> Option<(DataType, DataType)> {
    let element = match array {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            item.data_type()
        }
        DataType::Null => value,
        _ => return None,
    };
    let common = common_type(value, element)?;
    let list = DataType::List(Arc::new(Field::new_list_field(common.clone(), true)));
    Some((common, list))
}

/// Returns the type in which values are compared with elements, texts with texts only.
fn common_type(value: &DataType, element: &DataType) -> Option<DataType> {
    match (value, element) {
        (a, b) if (a.is_string() && b.is_numeric()) || (a.is_numeric() && b.is_string()) => None,
        (a, b) if (a.is_floating() && b.is_decimal()) || (a.is_decimal() && b.is_floating()) => {
            Some(DataType::Float64)
        }
        (a, b) => comparison_coercion(a, b),
    }
}

/// Compares each value with the elements of its list.
fn any_fulfils(op: Operator, values: &ArrayRef, lists: &ArrayRef) -> Result<ArrayRef> {
    let Some(lists) = lists.as_list_opt::<i32>() else {
        return exec_err!("expected an array, not {}", lists.data_type());
    };
    let offsets = lists.value_offsets();
    let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
    let elements = lists.values().slice(first, last - first);
    // Each value as often as there are elements to compare it with.
    let rows = lists.offsets().lengths().enumerate();
    let rows: UInt32Array =
        rows.flat_map(|(row, length)| std::iter::repeat_n(row as u32, length)).collect();
    let repeated = take(values, &rows, None)?;
    let compared = apply_cmp(op, &ColumnarValue::Array(repeated), &ColumnarValue::Array(elements))?;
    let compared = compared.into_array(last - first)?;
    let compared = compared.as_boolean();
    let mut out = BooleanBuilder::with_capacity(lists.len());
    for (row, ends) in offsets.windows(2).enumerate() {
        let range = ends[0] as usize - first..ends[1] as usize - first;
        out.append_option(lists.is_valid(row).then(|| any(compared, range)).flatten());
    }
    Ok(Arc::new(out.finish()))
}

fn any(compared: &BooleanArray, mut range: std::ops::Range<usize>) -> Option<bool> {
    let has_null = range.clone().any(|index| compared.is_null(index));
    let found = range.any(|index| compared.is_valid(index) && compared.value(index));
    if !found && has_null { None } else { Some(found) }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, ListArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn lists() -> ArrayRef {
        let lists = vec![
            Some(vec![Some(1), Some(2)]),
            Some(vec![Some(1), None]),
            Some(vec![]),
            None,
            Some(vec![None]),
        ];
        // Cut off from a longer one: its first element is not the first of its buffer.
        let longer = std::iter::once(Some(vec![Some(7), Some(2)])).chain(lists);
        let longer = ListArray::from_iter_primitive::<Int64Type, _, _>(longer);
        Arc::new(longer.slice(1, 5))
    }

    fn check(op: Operator, value: Option<i64>, expected: [Option<bool>; 5]) {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![value; 5]));
        let found = any_fulfils(op, &values, &lists()).expect("compares");
        let found: Vec<_> = found.as_boolean().iter().collect();
        assert_eq!(found, expected, "{value:?} {op} ANY");
    }

    #[test]
    fn a_null_leaves_open_what_nothing_else_fulfils() {
        let (yes, no) = (Some(true), Some(false));
        check(Operator::Eq, Some(1), [yes, yes, no, None, None]);
        check(Operator::Eq, Some(2), [yes, None, no, None, None]);
        check(Operator::Eq, None, [None, None, no, None, None]);
        check(Operator::NotEq, Some(1), [yes, None, no, None, None]);
        check(Operator::Lt, Some(1), [yes, None, no, None, None]);
        check(Operator::GtEq, Some(1), [yes, yes, no, None, None]);
        check(Operator::IsNotDistinctFrom, Some(2), [yes, no, no, None, no]);
        check(Operator::IsNotDistinctFrom, None, [no, yes, no, None, yes]);
    }

    #[test]
    fn values_and_elements_have_a_common_type() {
        let function = &functions()[0];
        let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
        let coerced = |value, item| function.coerce_types(&[value, list(item)]).ok();
        let both = |item: DataType| Some(vec![item.clone(), list(item)]);
        assert_eq!(coerced(DataType::Int32, DataType::Int64), both(DataType::Int64));
        assert_eq!(coerced(DataType::Decimal128(2, 1), DataType::Float64), both(DataType::Float64));
        assert_eq!(coerced(DataType::Utf8View, DataType::Int64), None);
        assert!(function.coerce_types(&[DataType::Int32, DataType::Int32]).is_err());
    }
}
