//! How time is cut: slices, the windows made of them, and the times of rows.
//!
//! A slice is the longest piece of time that no window cuts in two, so a row belongs to one slice
//! and a window is a run of slices.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, PrimitiveArray, TimestampMillisecondArray, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{
    DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};

use crate::batch::Batch;
use crate::graph::{Window, WindowSpec};
use crate::time::TimestampMs;
use crate::{Error, Result};

/// A window or a slice: `[start, end)` in milliseconds. Ordered by end, then start, which is the
/// order in which windows fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) end: TimestampMs,
    pub(super) start: TimestampMs,
}

impl Span {
    fn new(start: TimestampMs, length_ms: i64) -> Self {
        Self { end: start.saturating_add(length_ms), start }
    }

    /// Returns the last millisecond, the event time of the window's result.
    pub(super) fn time(self) -> TimestampMs {
        self.end.saturating_sub(1)
    }

    fn contains(self, time: TimestampMs) -> bool {
        self.start <= time && time < self.end
    }
}

impl Window {
    /// Checks the lengths.
    ///
    /// # Errors
    /// `Invalid` where a length is not positive or not a multiple of what it must be.
    pub(super) fn validate(self) -> Result<()> {
        let (size_ms, part_ms, part) = match self {
            Self::Tumble { size_ms, .. } => (size_ms, size_ms, "size"),
            Self::Hop { size_ms, slide_ms, .. } => (size_ms, slide_ms, "slide"),
            Self::Cumulate { size_ms, step_ms, .. } => (size_ms, step_ms, "step"),
        };
        if part_ms <= 0 || size_ms <= 0 {
            return Err(Error::Invalid(format!(
                "a window of {size_ms} ms with {part} {part_ms} ms"
            )));
        }
        if size_ms % part_ms != 0 {
            return Err(Error::Invalid(format!(
                "a window's size must be a multiple of its {part}: {size_ms} ms and {part_ms} ms"
            )));
        }
        Ok(())
    }

    /// Returns the slice of a time.
    pub(super) fn slice(self, time: TimestampMs) -> Span {
        let (length_ms, offset_ms) = match self {
            Self::Tumble { size_ms, offset_ms } => (size_ms, offset_ms),
            Self::Hop { slide_ms, offset_ms, .. } => (slide_ms, offset_ms),
            Self::Cumulate { step_ms, offset_ms, .. } => (step_ms, offset_ms),
        };
        Span::new(floor(time, length_ms, offset_ms), length_ms)
    }

    /// Calls `each` with every window that contains a slice, in the order in which they end.
    pub(super) fn windows(self, slice: Span, mut each: impl FnMut(Span)) {
        match self {
            Self::Tumble { .. } => each(slice),
            Self::Hop { size_ms, slide_ms, .. } => {
                for number in (0..size_ms / slide_ms).rev() {
                    each(Span::new(slice.start.saturating_sub(number * slide_ms), size_ms));
                }
            }
            Self::Cumulate { size_ms, step_ms, offset_ms } => {
                let start = floor(slice.start, size_ms, offset_ms);
                let mut length_ms = slice.end.saturating_sub(start);
                while length_ms <= size_ms {
                    each(Span::new(start, length_ms));
                    length_ms += step_ms;
                }
            }
        }
    }

    /// Returns the last window that contains a slice: when it has fired, the slice is done with.
    pub(super) fn last_window(self, slice: Span) -> Span {
        match self {
            Self::Tumble { .. } => slice,
            Self::Hop { size_ms, .. } => Span::new(slice.start, size_ms),
            Self::Cumulate { size_ms, offset_ms, .. } => {
                Span::new(floor(slice.start, size_ms, offset_ms), size_ms)
            }
        }
    }
}

fn floor(time: TimestampMs, step_ms: i64, offset_ms: i64) -> TimestampMs {
    time.saturating_sub(time.wrapping_sub(offset_ms).rem_euclid(step_ms))
}

/// Returns a timestamp column in milliseconds, rounded down. Milliseconds are not copied.
///
/// # Errors
/// `Internal` where the column is not a timestamp.
pub(super) fn milliseconds(column: &ArrayRef) -> Result<TimestampMillisecondArray> {
    let DataType::Timestamp(unit, _) = column.data_type() else {
        return Err(Error::Internal(format!("an event time is a {}", column.data_type())));
    };
    let times: PrimitiveArray<TimestampMillisecondType> = match unit {
        TimeUnit::Second => column
            .as_primitive::<TimestampSecondType>()
            .unary(|seconds: i64| seconds.saturating_mul(1_000)),
        TimeUnit::Millisecond => column.as_primitive().clone(),
        TimeUnit::Microsecond => column
            .as_primitive::<TimestampMicrosecondType>()
            .unary(|micros: i64| micros.div_euclid(1_000)),
        TimeUnit::Nanosecond => column
            .as_primitive::<TimestampNanosecondType>()
            .unary(|nanos: i64| nanos.div_euclid(1_000_000)),
    };
    Ok(times)
}

/// Returns the columns `window_start`, `window_end` and `window_time` of these windows.
pub(super) fn window_columns(windows: &[Span]) -> [ArrayRef; 3] {
    let column = |part: fn(&Span) -> TimestampMs| -> ArrayRef {
        Arc::new(TimestampMillisecondArray::from_iter_values(windows.iter().map(part)))
    };
    [column(|window| window.start), column(|window| window.end), column(|window| window.time())]
}

/// Some rows of a batch.
#[derive(Debug, PartialEq)]
pub(super) enum Rows {
    /// Rows that lie side by side.
    Range(Range<usize>),
    /// Scattered rows, in their order.
    Indices(UInt32Array),
}

impl Rows {
    /// Returns no rows.
    pub(super) fn none() -> Self {
        Self::Range(0..0)
    }

    /// Divides them into those that are not marked and those that are; there is a mark for each.
    pub(super) fn divide(&self, marks: &[bool]) -> [Self; 2] {
        let number = |nth: usize| match self {
            Self::Range(range) => (range.start + nth) as u32,
            Self::Indices(indices) => indices.value(nth),
        };
        [false, true].map(|wanted| {
            let nth = (0..marks.len()).filter(|nth| marks[*nth] == wanted);
            Self::Indices(nth.map(number).collect::<Vec<_>>().into())
        })
    }

    /// Returns the number of rows.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Range(range) => range.len(),
            Self::Indices(indices) => indices.len(),
        }
    }

    /// Copies these rows of a column.
    pub(super) fn copy(&self, column: &ArrayRef) -> Result<ArrayRef> {
        let indices = match self {
            Self::Range(range) => range.clone().map(|row| row as u32).collect::<Vec<_>>().into(),
            Self::Indices(indices) => indices.clone(),
        };
        take(column, &indices, None)
            .map_err(|error| Error::compute("copy the rows of a slice", error))
    }

    /// Picks these rows of a column. Rows side by side are not copied.
    pub(super) fn pick(&self, column: &ArrayRef) -> Result<ArrayRef> {
        match self {
            Self::Range(range) if range.len() == column.len() => Ok(Arc::clone(column)),
            Self::Range(range) => Ok(column.slice(range.start, range.len())),
            Self::Indices(indices) => take(column, indices, None)
                .map_err(|error| Error::compute("gather the rows of a slice", error)),
        }
    }
}

/// Divides `rows` rows by their span, and counts those that have none. `span_of` gets the row and
/// the span of the row before it, which is mostly its own as well.
pub(super) fn divide(
    rows: usize,
    span_of: impl Fn(usize, Option<Span>) -> Option<Span>,
) -> (Vec<(Span, Rows)>, usize) {
    let mut runs: BTreeMap<Span, Vec<Range<usize>>> = BTreeMap::new();
    let mut without = 0;
    let mut first = 0;
    while first < rows {
        let span = span_of(first, None);
        let mut next = first + 1;
        while next < rows && span_of(next, span) == span {
            next += 1;
        }
        match span {
            Some(span) => runs.entry(span).or_default().push(first..next),
            None => without += next - first,
        }
        first = next;
    }
    (runs.into_iter().map(|(span, runs)| (span, gather(runs))).collect(), without)
}

fn gather(mut runs: Vec<Range<usize>>) -> Rows {
    match runs.pop() {
        Some(run) if runs.is_empty() => Rows::Range(run),
        last => Rows::Indices(
            runs.into_iter().chain(last).flatten().map(|row| row as u32).collect::<Vec<_>>().into(),
        ),
    }
}

/// Divides rows by the slice of their time. Rows without a time have none.
fn divide_by_time(window: Window, times: &TimestampMillisecondArray) -> (Vec<(Span, Rows)>, usize) {
    let slice = |row: usize, before: Option<Span>| {
        let time = times.value(row);
        before.filter(|slice| slice.contains(time)).unwrap_or_else(|| window.slice(time))
    };
    if times.null_count() == 0 {
        divide(times.len(), |row, before| Some(slice(row, before)))
    } else {
        divide(times.len(), |row, before| times.is_valid(row).then(|| slice(row, before)))
    }
}

/// Divides rows by the window that they carry.
pub(super) fn divide_by_window(
    starts: &TimestampMillisecondArray,
    ends: &TimestampMillisecondArray,
) -> (Vec<(Span, Rows)>, usize) {
    divide(starts.len(), |row, _| {
        let carried = starts.is_valid(row) && ends.is_valid(row);
        carried.then(|| Span { end: ends.value(row), start: starts.value(row) })
    })
}

/// Divides a batch by slice, or by window where rows carry theirs. Returns the number of rows
/// that have none as well.
pub(super) fn divide_batch(
    window: WindowSpec,
    batch: &Batch,
    now: TimestampMs,
) -> Result<(Vec<(Span, Rows)>, usize)> {
    match window {
        WindowSpec::EventTime { window, time } => {
            Ok(divide_by_time(window, &milliseconds(batch.column(time))?))
        }
        WindowSpec::ProcessingTime { window } => {
            Ok((vec![(window.slice(now), Rows::Range(0..batch.num_rows()))], 0))
        }
        WindowSpec::Attached { start, end } => Ok(divide_by_window(
            &milliseconds(batch.column(start))?,
            &milliseconds(batch.column(end))?,
        )),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray};

    use super::*;

    fn windows(window: Window, time: TimestampMs) -> Vec<(TimestampMs, TimestampMs)> {
        let mut found = Vec::new();
        window.windows(window.slice(time), |span| found.push((span.start, span.end)));
        let last = window.last_window(window.slice(time));
        assert_eq!(found.last(), Some(&(last.start, last.end)));
        found
    }

    #[test]
    fn times_before_the_epoch_fall_into_the_window_below() {
        let tumble = Window::Tumble { size_ms: 10, offset_ms: 0 };
        assert_eq!(windows(tumble, -1), [(-10, 0)]);
        assert_eq!(windows(tumble, 0), [(0, 10)]);
        assert_eq!(windows(Window::Tumble { size_ms: 10, offset_ms: 3 }, 2), [(-7, 3)]);
    }

    #[test]
    fn hop_windows_overlap_and_end_in_order() {
        let hop = Window::Hop { size_ms: 10, slide_ms: 5, offset_ms: 0 };
        assert_eq!(windows(hop, 7), [(0, 10), (5, 15)]);
    }

    #[test]
    fn cumulate_windows_grow_to_their_size() {
        let cumulate = Window::Cumulate { size_ms: 9, step_ms: 3, offset_ms: 0 };
        assert_eq!(windows(cumulate, 10), [(9, 12), (9, 15), (9, 18)]);
        assert_eq!(windows(cumulate, 17), [(9, 18)]);
    }

    #[test]
    fn windows_that_do_not_divide_are_refused() {
        let hop = |size_ms, slide_ms| Window::Hop { size_ms, slide_ms, offset_ms: 0 };
        assert!(hop(10, 5).validate().is_ok());
        assert!(hop(10, 3).validate().is_err());
        assert!(hop(10, 0).validate().is_err());
        assert!(hop(5, 10).validate().is_err());
    }

    #[test]
    fn times_of_every_unit_are_rounded_down_to_milliseconds() {
        let columns: [(ArrayRef, i64); 3] = [
            (Arc::new(TimestampSecondArray::from(vec![-2])), -2_000),
            (Arc::new(TimestampMicrosecondArray::from(vec![-1])), -1),
            (Arc::new(TimestampNanosecondArray::from(vec![1_999_999])), 1),
        ];
        for (column, expected) in columns {
            assert_eq!(milliseconds(&column).unwrap().value(0), expected);
        }
    }

    #[test]
    fn rows_side_by_side_are_not_gathered() {
        let tumble = Window::Tumble { size_ms: 10, offset_ms: 0 };
        let times =
            TimestampMillisecondArray::from(vec![Some(1), Some(2), Some(11), None, Some(25)]);
        let (spans, without) = divide_by_time(tumble, &times);
        let rows: Vec<_> = spans.into_iter().map(|(span, rows)| (span.start, rows)).collect();
        let expected = [(0, Rows::Range(0..2)), (10, Rows::Range(2..3)), (20, Rows::Range(4..5))];
        assert_eq!(rows, expected);
        assert_eq!(without, 1);

        let times = TimestampMillisecondArray::from(vec![1, 11, 2]);
        let (spans, _) = divide_by_time(tumble, &times);
        assert_eq!(spans[0].1, Rows::Indices(vec![0, 2].into()));
    }
}
