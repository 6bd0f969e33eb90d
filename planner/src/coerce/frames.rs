//! What OVER sorts by, and how far its frames reach.
//!
//! DataFusion computes the ends of a RANGE in the type of what it is sorted by; an end that leaves
//! the type is the partition's, and takes in the rows whose value is NULL. So a RANGE with
//! distances sorts by numbers of a type that holds its ends too.

use std::sync::Arc;

use arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, IntervalMonthDayNano, TimeUnit,
    i256,
};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::WindowFunctionParams;
use datafusion::logical_expr::expr_rewriter::{NamePreserver, SavedName};
use datafusion::logical_expr::{
    Cast, Expr, ExprSchemable, LogicalPlan, Projection, SortExpr, Window, WindowFrame,
    WindowFrameBound, WindowFrameUnits,
};
use rainstorm_engine::function::interval_length;
use rainstorm_engine::wording::type_sql;

use super::agree::digits;
use super::check::span_of;
use super::equal::Equality;
use crate::error::{SqlError, SqlErrorCode, fail};
use crate::stream::unaliased;

/// Rewrites the calls of a node of window functions, in a plan whose types are not coerced yet.
///
/// # Errors
/// `Type`, where a frame's distances are none of what it is sorted by; `Unsupported`, where rows
/// or arrays of intervals are compared.
pub(super) fn of_node(plan: LogicalPlan, equality: &Equality) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Window(window) = plan else { return Ok(Transformed::no(plan)) };
    let preserver = NamePreserver::new_for_projection();
    let mut changed = false;
    let mut calls = Vec::with_capacity(window.window_expr.len());
    for expr in &window.window_expr {
        let mut call = unaliased(expr).clone();
        if let Expr::WindowFunction(call) = &mut call {
            changed |= of_call(&mut call.params, window.input.schema(), equality)?;
        }
        calls.push((preserver.save(expr), call));
    }
    if !changed {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    computed(&window, calls).map(Transformed::yes)
}

/// Computes calls over a node's input: those with the same keys in one node, as DataFusion needs
/// them, and what has become the same once.
fn computed(window: &Window, calls: Vec<(SavedName, Expr)>) -> Result<LogicalPlan> {
    let mut plan = Arc::clone(&window.input);
    let mut columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let mut groups: Vec<Vec<(Expr, Expr)>> = Vec::new();
    let mut known: Vec<(Expr, Column)> = Vec::new();
    let mut results = Vec::with_capacity(calls.len());
    let names = window.schema.columns().into_iter().skip(columns.len());
    for ((name, call), column) in calls.into_iter().zip(names) {
        if let Some((_, same)) = known.iter().find(|(known, _)| *known == call) {
            let same = Expr::Column(same.clone());
            results.push(same.alias_qualified(column.relation, column.name));
            continue;
        }
        known.push((call.clone(), column.clone()));
        let named = name.restore(call.clone());
        results.push(Expr::Column(column));
        let has_keys = |group: &&mut Vec<(Expr, Expr)>| {
            group.first().is_some_and(|(first, _)| keys(first) == keys(&call))
        };
        match groups.iter_mut().find(has_keys) {
            Some(group) => group.push((call, named)),
            None => groups.push(vec![(call, named)]),
        }
    }
    let is_plain =
        groups.len() <= 1 && results.iter().all(|result| matches!(result, Expr::Column(_)));
    for group in groups {
        let calls = group.into_iter().map(|(_, named)| named).collect();
        plan = Arc::new(LogicalPlan::Window(Window::try_new(calls, plan)?));
    }
    if is_plain {
        return Ok(Arc::unwrap_or_clone(plan));
    }
    columns.extend(results);
    Projection::try_new(columns, plan).map(LogicalPlan::Projection)
}

/// Returns what a call partitions and sorts by.
fn keys(call: &Expr) -> Option<(&[Expr], &[SortExpr])> {
    match call {
        Expr::WindowFunction(call) => {
            Some((call.params.partition_by.as_slice(), call.params.order_by.as_slice()))
        }
        _ => None,
    }
}

fn of_call(
    params: &mut WindowFunctionParams,
    schema: &DFSchema,
    equality: &Equality,
) -> Result<bool> {
    let mut changed = false;
    let is_range = params.window_frame.units == WindowFrameUnits::Range;
    let reaches = is_range && distances(&mut params.window_frame).next().is_some();
    if reaches {
        of_reach(params, schema)?;
    }
    changed |= is_range;
    for key in &mut params.order_by {
        changed |= equality.as_sorted(&mut key.expr, schema)?;
    }
    if is_range && !reaches {
        // Where only peers are looked for, groups are the same and of any type.
        params.window_frame = in_groups(&params.window_frame);
    }
    Ok(changed)
}

/// Makes the key and the distances of a RANGE be of types that go together.
fn of_reach(params: &mut WindowFunctionParams, schema: &DFSchema) -> Result<()> {
    let [sort] = params.order_by.as_mut_slice() else {
        return internal_err!("a RANGE with distances has {} keys", params.order_by.len());
    };
    let read = distances(&mut params.window_frame).map(|value| Distance::of(value));
    let read = read.collect::<Result<Vec<_>>>()?;
    let reach = Reach::of(&sort.expr, schema, read.iter().any(Distance::has_months))?;
    for (value, distance) in distances(&mut params.window_frame).zip(&read) {
        *value = reach.distance(distance, &sort.expr)?;
    }
    if let Reach::Calendar(..) = reach {
        // An end that leaves the type reaches as far as the partition, which then has no NULL.
        params.partition_by.push(sort.expr.clone().is_null());
    }
    sort.expr = reach.key(std::mem::take(&mut sort.expr));
    Ok(())
}

fn in_groups(frame: &WindowFrame) -> WindowFrame {
    let (start, end) = (frame.start_bound.clone(), frame.end_bound.clone());
    WindowFrame::new_bounds(WindowFrameUnits::Groups, start, end)
}

fn distances(frame: &mut WindowFrame) -> impl Iterator<Item = &mut ScalarValue> {
    [&mut frame.start_bound, &mut frame.end_bound].into_iter().filter_map(|bound| match bound {
        WindowFrameBound::Preceding(distance) | WindowFrameBound::Following(distance) => {
            (!distance.is_null()).then_some(distance)
        }
        WindowFrameBound::CurrentRow => None,
    })
}

/// How a RANGE with distances sorts.
enum Reach {
    /// By whole numbers and decimals: digits in all, and after the point.
    Exact(u8, i8),
    Double,
    /// By what a type of times counts, in nanoseconds.
    Count(DataType, i64),
    /// By the calendar, as distances have months: in a type whose unit is so many nanoseconds.
    Calendar(DataType, i64),
    /// By lengths of intervals.
    Length,
}

impl Reach {
    fn of(key: &Expr, schema: &DFSchema, has_months: bool) -> Result<Self> {
        let data_type = key.get_type(schema)?;
        if let Some((whole, scale)) = digits(&data_type) {
            return Ok(Self::Exact(whole + scale, scale as i8));
        }
        Ok(match &data_type {
            data_type if data_type.is_floating() => Self::Double,
            DataType::Date32 => {
                Self::time(DataType::Timestamp(TimeUnit::Millisecond, None), has_months)
            }
            DataType::Timestamp(..) => Self::time(data_type, has_months),
            DataType::Time32(_) | DataType::Time64(_) if !has_months => {
                Self::time(data_type, false)
            }
            DataType::Duration(_) | DataType::Interval(_) => Self::Length,
            other => {
                let distances = if has_months { "months" } else { "distances" };
                let message = format!("a RANGE over {} has no {distances}", type_sql(other));
                let error = SqlError::at(SqlErrorCode::Type, span_of(key), message);
                return Err(fail(error.with_help("order by a number or a time, or count ROWS")));
            }
        })
    }

    fn time(data_type: DataType, has_months: bool) -> Self {
        let unit = match &data_type {
            DataType::Timestamp(unit, _) | DataType::Time32(unit) | DataType::Time64(unit) => *unit,
            _ => TimeUnit::Nanosecond,
        };
        let nanoseconds = match unit {
            TimeUnit::Second => 1_000_000_000,
            TimeUnit::Millisecond => 1_000_000,
            TimeUnit::Microsecond => 1000,
            TimeUnit::Nanosecond => 1,
        };
        if has_months {
            Self::Calendar(data_type, nanoseconds)
        } else {
            Self::Count(data_type, nanoseconds)
        }
    }

    /// Returns a distance of the type that goes with the key. Distances are rounded down to what
    /// values can be apart.
    fn distance(&self, distance: &Distance, key: &Expr) -> Result<ScalarValue> {
        let unlike = |kind: &str, needs: &str| {
            let message = format!("a RANGE over {kind} reaches {needs}");
            Err(fail(SqlError::at(SqlErrorCode::Type, span_of(key), message)))
        };
        Ok(match (self, distance) {
            (Self::Exact(digits, scale), Distance::Number(text)) => exact(text, *digits, *scale),
            (Self::Double, Distance::Number(text)) => {
                let number: f64 = text.parse().unwrap_or(f64::MAX);
                ScalarValue::Float64(Some(number.min(f64::MAX)))
            }
            (Self::Count(_, unit), Distance::Interval(interval)) => {
                whole(interval_length(*interval) / i128::from(*unit))
            }
            (Self::Calendar(_, unit), Distance::Interval(interval)) => {
                let nanoseconds = interval.nanoseconds - interval.nanoseconds % unit;
                let interval = IntervalMonthDayNano { nanoseconds, ..*interval };
                ScalarValue::IntervalMonthDayNano(Some(interval))
            }
            (Self::Length, Distance::Interval(interval)) => whole(interval_length(*interval)),
            (Self::Exact(..) | Self::Double, Distance::Interval(_)) => {
                return unlike("numbers", "as far as a number, not an INTERVAL");
            }
            (Self::Count(..) | Self::Calendar(..), Distance::Number(_)) => {
                return unlike("times", "as far as an INTERVAL, not a number");
            }
            (Self::Length, Distance::Number(_)) => {
                return unlike("intervals", "as far as an INTERVAL, not a number");
            }
        })
    }

    fn key(&self, key: Expr) -> Expr {
        match self {
            Self::Exact(digits, scale) => cast(key, wide(*digits, *scale)),
            Self::Double | Self::Length => key,
            Self::Count(data_type, _) => {
                let count = cast(cast(key, data_type.clone()), DataType::Int64);
                cast(count, DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0))
            }
            Self::Calendar(data_type, _) => cast(key, data_type.clone()),
        }
    }
}

/// How far a frame reaches.
enum Distance {
    Number(String),
    Interval(IntervalMonthDayNano),
}

impl Distance {
    /// Reads a distance, which is kept as its text.
    fn of(distance: &ScalarValue) -> Result<Self> {
        let ScalarValue::Utf8(Some(text)) = distance else {
            return internal_err!("a frame's distance is {distance}");
        };
        if text.contains(char::is_alphabetic) {
            parse_interval_month_day_nano(text).map(Self::Interval).map_err(Into::into)
        } else {
            Ok(Self::Number(text.clone()))
        }
    }

    fn has_months(&self) -> bool {
        matches!(self, Self::Interval(interval) if interval.months != 0)
    }
}

/// A type that holds values of so many digits, and those that are a distance away.
fn wide(digits: u8, scale: i8) -> DataType {
    if digits < DECIMAL128_MAX_PRECISION {
        DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale)
    } else {
        DataType::Decimal256(DECIMAL256_MAX_PRECISION, scale)
    }
}

/// A distance between decimals. What is longer than all values are apart is cut to that.
fn exact(text: &str, digits: u8, scale: i8) -> ScalarValue {
    let (before, after) = text.split_once('.').unwrap_or((text, ""));
    let scale_digits = usize::from(scale.unsigned_abs());
    let unscaled = format!("{before}{after:0<scale_digits$}");
    let unscaled = unscaled[..before.len() + scale_digits].trim_start_matches('0');
    // Twice the largest value has one digit more.
    let apart = "2".to_owned() + &"0".repeat(usize::from(digits));
    let is_longer = (unscaled.len(), unscaled) > (apart.len(), apart.as_str());
    let unscaled = if is_longer { &apart } else { unscaled };
    let distance = i256::from_string(unscaled).unwrap_or(i256::ZERO);
    match (wide(digits, scale), distance.to_i128()) {
        (DataType::Decimal128(precision, scale), Some(distance)) => {
            ScalarValue::Decimal128(Some(distance), precision, scale)
        }
        _ => ScalarValue::Decimal256(Some(distance), DECIMAL256_MAX_PRECISION, scale),
    }
}

fn whole(distance: i128) -> ScalarValue {
    ScalarValue::Decimal128(Some(distance), DECIMAL128_MAX_PRECISION, 0)
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), data_type))
}
