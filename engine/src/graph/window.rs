//! Windows of a job graph.

/// How time is cut into windows. All are `[start, end)`, aligned to the epoch plus `offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Hash)]
pub enum Window {
    /// Windows of `size_ms`, one after the other.
    Tumble {
        /// Length in milliseconds, positive.
        size_ms: i64,
        /// Shift against the epoch in milliseconds.
        offset_ms: i64,
    },
    /// Windows of `size_ms` that start every `slide_ms`.
    Hop {
        /// Length in milliseconds, a multiple of the slide.
        size_ms: i64,
        /// Distance between two starts in milliseconds, positive.
        slide_ms: i64,
        /// Shift against the epoch in milliseconds.
        offset_ms: i64,
    },
    /// Windows that start every `size_ms` and grow by `step_ms` until they are `size_ms` long.
    Cumulate {
        /// The longest window's length in milliseconds, a multiple of the step.
        size_ms: i64,
        /// Growth in milliseconds, positive.
        step_ms: i64,
        /// Shift against the epoch in milliseconds.
        offset_ms: i64,
    },
}

/// Windows and the time by which rows fall into them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowSpec {
    /// By the event time in column `time`, a timestamp without time zone of any unit. Rows whose
    /// windows have all fired are late: dropped and counted.
    EventTime {
        /// How time is cut.
        window: Window,
        /// Index of the event time's column.
        time: usize,
    },
    /// By the clock's time when the row is taken.
    ProcessingTime {
        /// How time is cut.
        window: Window,
    },
    /// The rows already carry their window (they come from a window operator): its start and end
    /// are these columns. It fires when the watermark reaches `end - 1 ms`.
    Attached {
        /// Index of the column of window starts.
        start: usize,
        /// Index of the column of window ends.
        end: usize,
    },
}
