//! GROUP BY and DISTINCT: per window where a window is among the keys, else without end.

use datafusion::logical_expr::{Aggregate, Expr};
use rainstorm_engine::graph::{ChangelogMode, Emit};

use super::property::{
    OutputWatermark, Properties, Results, RowWindow, State, TimeColumn, WindowPart,
};
use super::rules::column_of;

/// The window that rows are grouped by.
#[derive(Debug)]
pub(crate) struct GroupWindow {
    pub(crate) window: RowWindow,
    /// Which of the window's columns each grouping expression is, `None` for a key.
    pub(crate) parts: Vec<Option<WindowPart>>,
}

impl GroupWindow {
    /// Finds the window among an aggregate's grouping expressions. Of several it is the one that
    /// was cut first: it ends first, and the others contain it.
    pub(crate) fn of(aggregate: &Aggregate, input: &Properties) -> Option<Self> {
        Self::among(&grouping_columns(aggregate), input)
    }

    fn among(groups: &[Option<usize>], input: &Properties) -> Option<Self> {
        let windows: Vec<Option<(WindowPart, RowWindow)>> =
            groups.iter().map(|group| input.times[(*group)?]?.window()).collect();
        let mut candidates: Vec<RowWindow> =
            windows.iter().flatten().map(|(_, window)| *window).collect();
        candidates.sort_by_key(|window| window.number);
        candidates.into_iter().find_map(|window| {
            let part = |found: &Option<(WindowPart, RowWindow)>| {
                found.filter(|(_, found)| found.number == window.number).map(|(part, _)| part)
            };
            let parts: Vec<Option<WindowPart>> = windows.iter().map(part).collect();
            let has = |part| parts.contains(&Some(part));
            let named =
                window.kind.one_part_names_it() || (has(WindowPart::Start) && has(WindowPart::End));
            named.then_some(Self { window, parts })
        })
    }
}

/// Returns the input's column that each grouping expression is.
fn grouping_columns(aggregate: &Aggregate) -> Vec<Option<usize>> {
    let schema = aggregate.input.schema();
    aggregate.group_expr.iter().map(|expr| column_of(expr, schema)).collect()
}

/// Tells when groups without a window are emitted.
pub(crate) fn emission(keys: usize, calls: usize, input: &Properties, results: Results) -> Emit {
    if keys > 0 && calls == 0 && input.changes == ChangelogMode::AppendOnly {
        return Emit::First;
    }
    match results {
        Results::Final if input.bounded => Emit::Final,
        Results::Final | Results::Changes => Emit::Changes,
    }
}

pub(super) fn properties(
    aggregate: &Aggregate,
    input: &Properties,
    results: Results,
) -> Properties {
    let columns = aggregate.schema.fields().len();
    let mut groups = grouping_columns(aggregate);
    let emit = emission(groups.len(), aggregate.aggr_expr.len(), input, results);
    if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
        groups = vec![None; columns - aggregate.aggr_expr.len()];
    }
    grouped(&groups, columns, input, emit)
}

/// DISTINCT groups by all columns.
pub(super) fn distinct(input: &Properties, results: Results) -> Properties {
    let columns = input.times.len();
    let groups: Vec<Option<usize>> = (0..columns).map(Some).collect();
    grouped(&groups, columns, input, emission(columns, 0, input, results))
}

/// Says what comes of rows that are grouped by these columns of theirs (`None`: an expression).
fn grouped(groups: &[Option<usize>], columns: usize, input: &Properties, emit: Emit) -> Properties {
    let mut times: Vec<Option<TimeColumn>> =
        groups.iter().map(|group| input.times[(*group)?]).collect();
    times.resize(columns, None);
    if let Some(GroupWindow { window, .. }) = GroupWindow::among(groups, input) {
        return Properties {
            changes: ChangelogMode::AppendOnly,
            upsert_keys: Vec::new(),
            times: times_of_window(times, window, input),
            waits: true,
            state: State::OpenWindows,
            ..input.clone()
        };
    }
    // What changes a group has the group's time, which is above the watermark.
    times.iter_mut().filter(|time| **time == Some(TimeColumn::Processing)).for_each(|time| {
        *time = None;
    });
    let held = input.watermark.domain().map_or(OutputWatermark::None, OutputWatermark::HeldToEnd);
    Properties {
        changes: match emit {
            Emit::Changes => ChangelogMode::Retract,
            Emit::First | Emit::Final => ChangelogMode::AppendOnly,
        },
        upsert_keys: vec![(0..groups.len()).collect()],
        times,
        watermark: if emit == Emit::Final { held } else { input.watermark },
        waits: false,
        state: State::EveryKey,
        bounded: input.bounded,
    }
}

/// Of rows that wait for the end of a window, only times that are not before that end are left:
/// the window's own, and those of windows that contain it.
pub(super) fn times_of_window(
    times: Vec<Option<TimeColumn>>,
    window: RowWindow,
    input: &Properties,
) -> Vec<Option<TimeColumn>> {
    let stays = |time: &TimeColumn| match time {
        TimeColumn::Window(_, outer) => input.contains(*outer, window.number),
        TimeColumn::Event | TimeColumn::Processing => false,
    };
    times.into_iter().map(|time| time.filter(stays)).collect()
}
