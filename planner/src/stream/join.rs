//! Joins: against a bounded table, on the window, or within an interval of time.

use datafusion::common::{JoinSide, JoinType};
use datafusion::error::Result;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Join, LogicalPlan, Operator};

use super::aggregate::times_of_window;
use super::interval::{self, Bounds};
use super::nodes::{TemporalTable, node_of};
use super::property::{
    OutputWatermark, Properties, RowWindow, State, TimeColumn, WindowPart, together,
};
use super::rules::{column_of, unaliased};

/// How a join of streams is done.
#[derive(Debug)]
pub(crate) enum JoinMethod {
    /// The right side is a table as of a processing time, which is read to its end first.
    Lookup,
    /// Rows of the same window are joined when it is over.
    Window(WindowPairs),
    /// Rows are joined whose times lie within an interval.
    Interval(Bounds),
    /// Rows would have to be kept for ever.
    Unbounded,
}

/// The window on which two sides are joined.
#[derive(Debug)]
pub(crate) struct WindowPairs {
    /// The equalities of the join that compare its parts, as places in `Join::on`.
    pub(crate) on: Vec<usize>,
    pub(crate) left: RowWindow,
    pub(crate) right: RowWindow,
}

impl JoinMethod {
    /// Finds out how a join is done.
    ///
    /// # Errors
    /// Where columns are not where the join says.
    pub(crate) fn of(join: &Join, left: &Properties, right: &Properties) -> Result<Self> {
        if is_lookup(join) {
            return Ok(Self::Lookup);
        }
        if let Some(pairs) = window_pairs(join, left, right) {
            return Ok(Self::Window(pairs));
        }
        Ok(match bounds(join, left, right)? {
            Some(bounds) => Self::Interval(bounds),
            None => Self::Unbounded,
        })
    }
}

/// Tells whether a join's right side is a table as of a processing time.
pub(crate) fn is_lookup(join: &Join) -> bool {
    as_of(&join.right).is_some()
}

/// Returns the time that the right side of a join is as of.
pub(crate) fn as_of(plan: &LogicalPlan) -> Option<&str> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => as_of(&alias.input),
        LogicalPlan::Projection(projection) => as_of(&projection.input),
        LogicalPlan::Filter(filter) => as_of(&filter.input),
        plan => node_of::<TemporalTable>(plan).map(|table| table.time.as_str()),
    }
}

/// Returns the conditions of a join beside its equalities.
pub(crate) fn conditions(join: &Join) -> Vec<Expr> {
    let all = join.filter.as_ref().map(split_conjunction).unwrap_or_default();
    all.into_iter().cloned().collect()
}

/// A part of a window that an equality of a join compares with the same part of the other side's.
struct Compared {
    /// The equality's place in `Join::on`; a plan that is bound only has it in the filter.
    on: Option<usize>,
    part: WindowPart,
    left: RowWindow,
    right: RowWindow,
}

fn compared(join: &Join, left: &Properties, right: &Properties) -> Vec<Compared> {
    let (left_schema, right_schema) = (join.left.schema(), join.right.schema());
    let of_columns = |one: &Expr, other: &Expr| {
        let (one_part, one) = left.times[column_of(one, left_schema)?]?.window()?;
        let (other_part, other) = right.times[column_of(other, right_schema)?]?.window()?;
        let same = one_part == other_part && one.kind.domain == other.kind.domain;
        same.then_some((one_part, one, other))
    };
    let mut found = Vec::new();
    for (place, (one, other)) in join.on.iter().enumerate() {
        if let Some((part, left, right)) = of_columns(one, other) {
            found.push(Compared { on: Some(place), part, left, right });
        }
    }
    for condition in conditions(join) {
        if let Expr::BinaryExpr(BinaryExpr { left: one, op: Operator::Eq, right: other }) =
            unaliased(&condition)
            && let Some((part, left, right)) =
                of_columns(one, other).or_else(|| of_columns(other, one))
        {
            found.push(Compared { on: None, part, left, right });
        }
    }
    found
}

/// Finds the window on which a join compares its sides: both ends of it, or one that names it. Of
/// several it is the one that was cut first; equalities of the others are conditions as any.
fn window_pairs(join: &Join, left: &Properties, right: &Properties) -> Option<WindowPairs> {
    let all = compared(join, left, right);
    let mut windows: Vec<(RowWindow, RowWindow)> =
        all.iter().map(|found| (found.left, found.right)).collect();
    windows.sort_by_key(|(left, right)| (left.number, right.number));
    windows.into_iter().find_map(|(left, right)| {
        let of_these: Vec<&Compared> = all
            .iter()
            .filter(|found| found.left.number == left.number && found.right.number == right.number)
            .collect();
        let has = |part| of_these.iter().any(|found| found.part == part);
        let one_part_is_enough = left.kind == right.kind && left.kind.one_part_names_it();
        let named = one_part_is_enough || (has(WindowPart::Start) && has(WindowPart::End));
        let on = of_these.iter().filter_map(|found| found.on).collect();
        named.then_some(WindowPairs { on, left, right })
    })
}

fn bounds(join: &Join, left: &Properties, right: &Properties) -> Result<Option<Bounds>> {
    let both = join.left.schema().join(join.right.schema())?;
    let left_columns = left.times.len();
    let domain = left.watermark.least(right.watermark).domain();
    Ok(interval::bounds(&conditions(join), &join.on, |column| {
        let index = both.maybe_index_of_column(column)?;
        let (side, times, column) = match index.checked_sub(left_columns) {
            None => (JoinSide::Left, &left.times, index),
            Some(column) => (JoinSide::Right, &right.times, column),
        };
        let counts = domain.is_some() && times[column]?.above_watermark() == domain;
        let is_fine = interval::is_fine(both.field(index).data_type());
        counts.then_some(interval::Time { side, column, is_fine })
    }))
}

/// Says what comes out of a join.
///
/// # Errors
/// Where columns are not where the join says.
pub(super) fn properties(join: &Join, left: &Properties, right: &Properties) -> Result<Properties> {
    let method = JoinMethod::of(join, left, right)?;
    let watermark = left.watermark.least(right.watermark);
    let changes = together(left.changes, right.changes);
    let (left_times, right_times) = (left.times.clone(), renumbered(left, right));
    let joined = |left_times, right_times, watermark, waits, state| Properties {
        changes,
        upsert_keys: Vec::new(),
        times: output_times(join, left_times, right_times),
        watermark,
        waits,
        state,
        bounded: left.bounded && right.bounded,
    };
    Ok(match method {
        JoinMethod::Lookup => Properties {
            changes: left.changes,
            bounded: left.bounded,
            // The table's columns say nothing of the stream's time.
            ..joined(left_times, vec![None; right.times.len()], left.watermark, false, State::Table)
        },
        JoinMethod::Window(pairs) => {
            let left_times = times_of_window(left_times, pairs.left, left);
            let of_right = times_of_window(right.times.clone(), pairs.right, right);
            let right_times = shifted(of_right, left.next_window());
            joined(left_times, right_times, watermark, true, State::OpenWindows)
        }
        JoinMethod::Interval(bounds) => {
            let only = |times: Vec<Option<TimeColumn>>, column: usize| {
                let of_column =
                    |(index, time): (usize, Option<TimeColumn>)| time.filter(|_| index == column);
                times.into_iter().enumerate().map(of_column).collect()
            };
            let left_times = only(left_times, bounds.left_time);
            let right_times = only(right_times, bounds.right_time);
            let delayed =
                watermark.domain().map_or(OutputWatermark::None, OutputWatermark::Delayed);
            joined(left_times, right_times, delayed, true, State::Interval)
        }
        // Whatever makes it bounded may stand above it, in a plan that is bound only.
        JoinMethod::Unbounded => joined(left_times, right_times, watermark, false, State::EveryKey),
    })
}

/// Gives the windows of the right side numbers that the left side does not use.
fn renumbered(left: &Properties, right: &Properties) -> Vec<Option<TimeColumn>> {
    shifted(right.times.clone(), left.next_window())
}

fn shifted(times: Vec<Option<TimeColumn>>, by: usize) -> Vec<Option<TimeColumn>> {
    let shift = |time: TimeColumn| match time {
        TimeColumn::Window(part, window) => {
            let (number, over) = (window.number + by, window.over.map(|over| over + by));
            TimeColumn::Window(part, RowWindow { number, over, ..window })
        }
        time => time,
    };
    times.into_iter().map(|time| time.map(shift)).collect()
}

/// Puts both sides' columns together. What may be null says nothing of time.
fn output_times(
    join: &Join,
    left: Vec<Option<TimeColumn>>,
    right: Vec<Option<TimeColumn>>,
) -> Vec<Option<TimeColumn>> {
    let nothing = |times: Vec<Option<TimeColumn>>| vec![None; times.len()];
    let mut times = match join.join_type {
        JoinType::Inner => [left, right].concat(),
        JoinType::Left => [left, nothing(right)].concat(),
        JoinType::Right => [nothing(left), right].concat(),
        JoinType::Full => [nothing(left), nothing(right)].concat(),
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left,
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right,
    };
    // A mark join adds a column.
    times.resize(join.schema.fields().len(), None);
    times
}
