//! Which expressions can fail on some row.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};
use rainstorm_engine::function::Arithmetic;

/// Tells whether evaluating an expression can fail on some row.
pub(crate) fn can_fail(expr: &Expr, schema: &DFSchema) -> bool {
    expr.exists(|part| Ok(node_can_fail(part, schema))).unwrap_or(true)
}

/// Tells whether a node of an expression can fail, its parts aside.
pub(super) fn node_can_fail(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::ScalarFunction(call) => {
            let name = call.func.name();
            Arithmetic::of(name).is_some() || FALLIBLE.contains(&name)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide | Operator::Modulo, right }) => {
            let data_type = left.get_type(schema);
            !divides_always(right) && !data_type.is_ok_and(|of| of.is_floating())
        }
        Expr::Cast(cast) => {
            let from = cast.expr.get_type(schema);
            !from.is_ok_and(|from| always_casts(&from, cast.field.data_type()))
        }
        _ => false,
    }
}

/// Functions that fail on some values.
const FALLIBLE: &[&str] = &[
    "abs",
    "chr",
    "date_bin",
    "decode",
    "factorial",
    "gcd",
    "lcm",
    "pow",
    "power",
    "repeat",
    "to_date",
    "to_timestamp",
    "to_timestamp_micros",
    "to_timestamp_millis",
    "to_timestamp_nanos",
    "to_timestamp_seconds",
];

/// Tells whether whole numbers and decimals can be divided by something, whatever they are.
fn divides_always(divisor: &Expr) -> bool {
    let Expr::Literal(value, _) = divisor else { return false };
    let number = value.cast_to(&DataType::Float64);
    matches!(number, Ok(ScalarValue::Float64(Some(number))) if number != 0.0 && number + 1.0 != 0.0)
}

/// Tells whether a cast cannot fail, whatever the value is.
fn always_casts(from: &DataType, to: &DataType) -> bool {
    let digits = |data_type: &DataType| match data_type {
        DataType::Decimal128(digits, scale) => {
            Some((i16::from(*digits) - i16::from(*scale), *scale))
        }
        DataType::Int8 => Some((3, 0)),
        DataType::Int16 => Some((5, 0)),
        DataType::Int32 => Some((10, 0)),
        DataType::Int64 => Some((19, 0)),
        _ => None,
    };
    if from == to || from.is_null() || to.is_string() || to.is_floating() && from.is_numeric() {
        return true;
    }
    if from.is_integer() && to.is_integer() {
        return from.is_signed_integer() == to.is_signed_integer()
            && from.primitive_width() <= to.primitive_width();
    }
    match (digits(from), digits(to)) {
        // Fewer digits behind the point: rounding may carry into one more before it.
        (Some((whole, scale)), Some((room, to_scale))) => {
            whole < room || (whole == room && scale <= to_scale && !to.is_integer())
        }
        _ => {
            *from == DataType::Boolean && to.is_numeric() || from.is_temporal() && to.is_temporal()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_fail_where_the_wanted_type_is_narrower() {
        use DataType::{Boolean, Date32, Decimal128, Float64, Int32, Int64, Utf8View};
        let cases = [
            (Int32, Int64, true),
            (Int64, Int32, false),
            (Int64, Float64, true),
            (Float64, Int64, false),
            (Utf8View, Int64, false),
            (Date32, Utf8View, true),
            (Int64, Decimal128(20, 0), true),
            (Int64, Decimal128(20, 2), false),
            (Decimal128(10, 2), Decimal128(12, 4), true),
            (Decimal128(10, 2), Decimal128(10, 4), false),
            (Boolean, Int32, true),
        ];
        for (from, to, always) in cases {
            assert_eq!(always_casts(&from, &to), always, "{from} to {to}");
        }
    }
}
