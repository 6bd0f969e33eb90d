//! Which expressions can fail on some row.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};
use rainstorm_engine::function::{TO_COARSER, gets_coarser};

/// Tells whether evaluating an expression can fail on some row.
pub(crate) fn can_fail(expr: &Expr, schema: &DFSchema) -> bool {
    expr.exists(|part| Ok(node_can_fail(part, schema))).unwrap_or(true)
}

/// Tells whether a node of an expression can fail, its parts aside.
pub(super) fn node_can_fail(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::ScalarFunction(call) => call_can_fail(call, schema),
        Expr::HigherOrderFunction(_) => true,
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let is_of = |of: fn(&DataType) -> bool| left.get_type(schema).is_ok_and(|it| of(&it));
            match op {
                Operator::Divide | Operator::Modulo => {
                    !divides_always(right) && !is_of(DataType::is_floating)
                }
                // Times end somewhere. What of numbers does not fit is a function's matter.
                Operator::Plus | Operator::Minus => !is_of(DataType::is_numeric),
                Operator::RegexMatch
                | Operator::RegexIMatch
                | Operator::RegexNotMatch
                | Operator::RegexNotIMatch => !is_literal(right),
                _ => false,
            }
        }
        Expr::Cast(cast) => {
            let from = cast.expr.get_type(schema);
            !from.is_ok_and(|from| always_casts(&from, cast.field.data_type()))
        }
        _ => false,
    }
}

fn is_literal(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(..))
}

/// Tells whether a function fails on some values. One of which nothing is known may.
fn call_can_fail(call: &ScalarFunction, schema: &DFSchema) -> bool {
    let name = call.func.name();
    if name == TO_COARSER {
        let types = call.args.iter().map(|arg| arg.get_type(schema)).collect::<Result<Vec<_>>>();
        return !types.is_ok_and(|types| {
            matches!(types.as_slice(), [from, to] if is_time(from) && always_casts(from, to)
                || gets_coarser(from, to))
        });
    }
    let is_total = TOTAL.contains(&name)
        || TOTAL_OF_TEXTS.contains(&name) && call.args.iter().skip(1).all(is_literal);
    !is_total
}

/// Functions that fail on no value.
const TOTAL: &[&str] = &[
    "array_length",
    "arrow_cast",
    "ascii",
    "atan",
    "bit_length",
    "btrim",
    "cardinality",
    "character_length",
    "coalesce",
    "concat",
    "concat_ws",
    "contains",
    "current_date",
    "current_time",
    "date_part",
    "date_trunc",
    "ends_with",
    "equal_floats",
    "exp",
    "get_field",
    "greatest",
    "initcap",
    "interval_length",
    "isnan",
    "iszero",
    "least",
    "lower",
    "ltrim",
    "make_array",
    "md5",
    "named_struct",
    "nanvl",
    "now",
    "nullif",
    "nvl",
    "nvl2",
    "octet_length",
    "pi",
    "random",
    "rename_fields",
    "reverse",
    "rtrim",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "signum",
    "split_index",
    "starts_with",
    "strpos",
    "struct",
    "timestamp_text",
    "upper",
    "uuid",
];

/// Functions of a text or a time that fail only on what is beside it, such as a pattern: where
/// that is written down they fail on every row or on none.
const TOTAL_OF_TEXTS: &[&str] = &[
    "date_format",
    "left",
    "lpad",
    "regexp_count",
    "regexp_extract",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "replace",
    "right",
    "rpad",
    "split_part",
    "substr",
    "to_char",
    "translate",
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
    if from == to || from.is_null() || to.is_floating() && from.is_numeric() {
        return true;
    }
    if to.is_string() {
        // Bytes may be no text.
        return !from.is_binary();
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
        _ => *from == DataType::Boolean && to.is_numeric() || time_always_casts(from, to),
    }
}

/// Tells whether every time of a type is one of another: nanoseconds do not reach as far.
fn time_always_casts(from: &DataType, to: &DataType) -> bool {
    use DataType::{Date32, Time32, Time64, Timestamp};
    match (from, to) {
        (Date32, Timestamp(unit, _)) => *unit != TimeUnit::Nanosecond,
        (Timestamp(from, _), Timestamp(to, _)) => from == to || *to != TimeUnit::Nanosecond,
        (Timestamp(..), Date32 | Time32(_) | Time64(_)) => true,
        (Time32(_) | Time64(_), Time32(_) | Time64(_)) => true,
        _ => false,
    }
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_fail_where_the_wanted_type_is_narrower() {
        use DataType::{
            Binary, Boolean, Date32, Decimal128, Float64, Int32, Int64, Timestamp, Utf8View,
        };
        use TimeUnit::{Microsecond, Millisecond, Nanosecond};
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
            (Binary, Utf8View, false),
            (Timestamp(Millisecond, None), Timestamp(Microsecond, None), true),
            (Timestamp(Millisecond, None), Timestamp(Nanosecond, None), false),
            (Timestamp(Nanosecond, None), Timestamp(Millisecond, None), true),
        ];
        for (from, to, always) in cases {
            assert_eq!(always_casts(&from, &to), always, "{from} to {to}");
        }
    }
}
