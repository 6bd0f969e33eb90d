//! Bounds of the frames of OVER: numbers and intervals, in the one form that binding takes.

use std::cmp::Ordering;

use arrow::datatypes::IntervalMonthDayNano;
use sqlparser::ast::{
    Expr, Function, NamedWindowDefinition, NamedWindowExpr, Spanned, UnaryOperator, Value,
    WindowFrame, WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};
use sqlparser::tokenizer::Span;

use crate::error::{SqlError, SqlErrorCode, unsupported};
use crate::parse::interval;

/// A power of ten beyond what any type has.
const EXPONENT_MAX: i64 = 400;

/// Checks the frame of a call, and writes its bounds as binding takes them.
///
/// # Errors
/// `Type` and `Unsupported`, at the bound that cannot be one.
pub(super) fn of_call(function: &mut Function) -> Result<(), SqlError> {
    let span = function.name.span();
    match &mut function.over {
        Some(WindowType::WindowSpec(spec)) => of_spec(spec, span),
        Some(WindowType::NamedWindow(_)) | None => Ok(()),
    }
}

/// Does so with the frame of a clause WINDOW.
///
/// # Errors
/// As of a call.
pub(super) fn of_named(window: &mut NamedWindowDefinition) -> Result<(), SqlError> {
    let span = window.0.span;
    match &mut window.1 {
        NamedWindowExpr::WindowSpec(spec) => of_spec(spec, span),
        NamedWindowExpr::NamedWindow(_) => Ok(()),
    }
}

fn of_spec(spec: &mut WindowSpec, span: Span) -> Result<(), SqlError> {
    let Some(frame) = &mut spec.window_frame else { return Ok(()) };
    let start = of_bound(&mut frame.start_bound, frame.units)?;
    let end = frame.end_bound.as_mut().map(|end| of_bound(end, frame.units)).transpose()?;
    let end = end.unwrap_or(Bound::CurrentRow);
    if start.is_after(&end) {
        let message = format!("the frame {} ends before it starts", written(frame));
        return Err(SqlError::at(SqlErrorCode::Type, span, message));
    }
    Ok(())
}

fn written(frame: &WindowFrame) -> String {
    let end = frame.end_bound.clone().unwrap_or(WindowFrameBound::CurrentRow);
    format!("{} BETWEEN {} AND {end}", frame.units, frame.start_bound)
}

/// Where a frame starts or ends.
enum Bound {
    /// So far before the row; without a distance at the first row.
    Preceding(Option<Distance>),
    CurrentRow,
    Following(Option<Distance>),
}

/// How far from the row that is.
enum Distance {
    /// A number, with its digits before the point and after it.
    Number(String, String),
    Interval(IntervalMonthDayNano),
}

impl Bound {
    fn is_after(&self, end: &Bound) -> bool {
        match (self, end) {
            (Bound::Following(None), _) | (_, Bound::Preceding(None)) => true,
            (Bound::Preceding(Some(start)), Bound::Preceding(Some(end))) => start.is_below(end),
            (Bound::Following(Some(start)), Bound::Following(Some(end))) => end.is_below(start),
            (start, end) => start.side() > end.side(),
        }
    }

    fn side(&self) -> Ordering {
        match self {
            Bound::Preceding(_) => Ordering::Less,
            Bound::CurrentRow => Ordering::Equal,
            Bound::Following(_) => Ordering::Greater,
        }
    }
}

impl Distance {
    /// Tells whether this distance is the shorter one, where both are alike.
    fn is_below(&self, other: &Distance) -> bool {
        match (self, other) {
            (Self::Number(whole, rest), Self::Number(other_whole, other_rest)) => {
                (whole.len(), whole, rest) < (other_whole.len(), other_whole, other_rest)
            }
            (Self::Interval(one), Self::Interval(other)) => {
                one.months <= other.months
                    && one.days <= other.days
                    && one.nanoseconds <= other.nanoseconds
                    && one != other
            }
            _ => false,
        }
    }
}

fn of_bound(bound: &mut WindowFrameBound, units: WindowFrameUnits) -> Result<Bound, SqlError> {
    let distance = |expr: &mut Option<Box<Expr>>| {
        expr.as_deref_mut().map(|expr| of_distance(expr, units)).transpose()
    };
    Ok(match bound {
        WindowFrameBound::CurrentRow => Bound::CurrentRow,
        WindowFrameBound::Preceding(expr) => Bound::Preceding(distance(expr)?),
        WindowFrameBound::Following(expr) => Bound::Following(distance(expr)?),
    })
}

fn of_distance(expr: &mut Expr, units: WindowFrameUnits) -> Result<Distance, SqlError> {
    let span = expr.span();
    let refuse = |message: String| SqlError::at(SqlErrorCode::Type, span, message);
    match expr {
        Expr::Value(value) => {
            let Value::Number(digits, is_long) = &value.value else {
                return Err(unknown(expr, units));
            };
            let (whole, rest) = plain(digits)
                .ok_or_else(|| refuse(format!("a frame cannot reach as far as {digits}")))?;
            if units != WindowFrameUnits::Range
                && (!rest.is_empty() || digits.parse::<u64>().is_err())
            {
                return Err(refuse(format!(
                    "a frame of {units} counts in whole numbers, not {digits}"
                )));
            }
            let text = if rest.is_empty() { whole.clone() } else { format!("{whole}.{rest}") };
            value.value = Value::Number(text, *is_long);
            Ok(Distance::Number(whole, rest))
        }
        Expr::Interval(length) if units == WindowFrameUnits::Range => {
            let Some(parts) = interval::length_of(length) else {
                return Err(refuse(format!("{length} is not a length of time")));
            };
            if parts.months < 0 || parts.days < 0 || parts.nanoseconds < 0 {
                return Err(negative(expr));
            }
            *expr = interval::of_parts(parts, span);
            Ok(Distance::Interval(parts))
        }
        Expr::UnaryOp { op: UnaryOperator::Minus, expr: number }
            if matches!(&**number, Expr::Value(_) | Expr::Interval(_)) =>
        {
            Err(negative(expr))
        }
        _ => Err(unknown(expr, units)),
    }
}

fn negative(expr: &Expr) -> SqlError {
    let message = format!("a frame's bound cannot be negative: {expr}");
    let error = SqlError::at(SqlErrorCode::Type, expr.span(), message);
    error.with_help("PRECEDING is before the row and FOLLOWING after it")
}

fn unknown(expr: &Expr, units: WindowFrameUnits) -> SqlError {
    let takes = match units {
        WindowFrameUnits::Range => "a number or an INTERVAL",
        WindowFrameUnits::Rows | WindowFrameUnits::Groups => "a whole number",
    };
    let message = format!("{expr} as the bound of a frame of {units} is not supported");
    unsupported(expr.span(), message).with_help(format!("write {takes}"))
}

/// Returns the digits of a number before the point, without leading zeros, and after it, without
/// trailing ones.
fn plain(number: &str) -> Option<(String, String)> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent = exponent.parse::<i64>().ok()?.clamp(-EXPONENT_MAX, EXPONENT_MAX);
    let (whole, rest) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits: Vec<u8> = whole.bytes().chain(rest.bytes()).collect();
    let point = i64::try_from(whole.len()).ok()? + exponent;
    let before = usize::try_from(point.min(0).unsigned_abs()).ok()?;
    digits.splice(0..0, std::iter::repeat_n(b'0', before));
    let point = usize::try_from(point.max(0)).ok()?;
    digits.resize(digits.len().max(point), b'0');
    let digits = String::from_utf8(digits).ok()?;
    let (whole, rest) = digits.split_at(point);
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    Some((whole.to_owned(), rest.trim_end_matches('0').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn numbers_are_written_without_exponents() {
        for (number, whole, rest) in [
            ("0", "0", ""),
            ("007.50", "7", "5"),
            ("1e3", "1000", ""),
            ("1.25E1", "12", "5"),
            ("1.5e-3", "0", "0015"),
            (".5", "0", "5"),
            ("12.", "12", ""),
        ] {
            assert_eq!(plain(number), Some((whole.to_owned(), rest.to_owned())), "{number}");
        }
        assert_eq!(plain("1e99999999999999999999"), None);
    }
}
