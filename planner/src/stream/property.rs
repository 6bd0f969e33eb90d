//! The words in which it is told what is known of rows.

use rainstorm_engine::graph::{ChangelogMode, Window};

/// Which of a window's columns a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WindowPart {
    Start,
    End,
    Time,
}

impl WindowPart {
    /// The parts in the order in which windows add their columns.
    pub(crate) const ALL: [Self; 3] = [Self::Start, Self::End, Self::Time];
}

/// Whose time it is that a watermark tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Domain {
    /// The rows' own.
    Event,
    /// The clock's: windows of processing time, and what is built on them.
    Clock,
}

/// How windows are cut. Two columns of equal windows and equal values mean the same window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WindowKind {
    pub(crate) window: Window,
    pub(crate) domain: Domain,
}

impl WindowKind {
    /// Tells whether start, end or time alone says which window it is.
    pub(crate) fn one_part_names_it(self) -> bool {
        !matches!(self.window, Window::Cumulate { .. })
    }
}

/// A window that a row belongs to; it may belong to several that were cut one over the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowWindow {
    pub(crate) kind: WindowKind,
    /// Tells the windows of one row apart. Numbers mean nothing beyond that.
    pub(crate) number: usize,
    /// The window by whose time this one was cut, so that it contains it.
    pub(crate) over: Option<usize>,
}

/// What a column's values say of time. Of all but start and processing time it holds that rows to
/// come have values above the watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeColumn {
    /// An event time.
    Event,
    /// PROCTIME().
    Processing,
    /// A part of a window that the row belongs to.
    Window(WindowPart, RowWindow),
}

impl TimeColumn {
    /// Returns whose time it is, where rows to come have values above the watermark.
    pub(crate) fn above_watermark(self) -> Option<Domain> {
        match self {
            Self::Event => Some(Domain::Event),
            Self::Window(WindowPart::End | WindowPart::Time, window) => Some(window.kind.domain),
            Self::Window(WindowPart::Start, _) | Self::Processing => None,
        }
    }

    /// Returns the window that it is a part of.
    pub(crate) fn window(self) -> Option<(WindowPart, RowWindow)> {
        match self {
            Self::Window(part, window) => Some((part, window)),
            Self::Event | Self::Processing => None,
        }
    }
}

/// Tells whether rows of two streams together are taken back.
pub(super) fn together(one: ChangelogMode, other: ChangelogMode) -> ChangelogMode {
    if one == other { one } else { ChangelogMode::Retract }
}

/// How the watermark comes out of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputWatermark {
    /// None comes before the end.
    None,
    /// As it goes in.
    Passes(Domain),
    /// Less a length of time by which rows may lie back.
    Delayed(Domain),
    /// All at once, when the input has ended.
    HeldToEnd(Domain),
}

impl OutputWatermark {
    /// Returns whose time it tells of.
    pub(crate) fn domain(self) -> Option<Domain> {
        match self {
            Self::None => None,
            Self::Passes(domain) | Self::Delayed(domain) | Self::HeldToEnd(domain) => Some(domain),
        }
    }

    /// Returns the watermark of two streams together, which is the lower of theirs.
    pub(crate) fn least(self, other: Self) -> Self {
        match (self, other) {
            _ if self.domain() != other.domain() => Self::None,
            (Self::HeldToEnd(_), _) | (_, Self::Passes(_)) => self,
            _ => other,
        }
    }
}

/// What an operator keeps, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    None,
    /// Until the watermark passes the windows.
    OpenWindows,
    /// Until the watermark says that no partner can come.
    Interval,
    /// A bounded table.
    Table,
    /// For ever, unless state has a time to live.
    EveryKey,
}

/// What is known of the rows that come out of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Properties {
    /// Whether rows are taken back.
    pub(crate) changes: ChangelogMode,
    /// Sets of columns of which each tells rows apart that stand at one time; empty where none is
    /// known. An empty set says that there is at most one row.
    pub(crate) upsert_keys: Vec<Vec<usize>>,
    /// What each column says of time.
    pub(crate) times: Vec<Option<TimeColumn>>,
    pub(crate) watermark: OutputWatermark,
    /// Whether the node itself waits for the watermark of its inputs.
    pub(crate) waits: bool,
    pub(crate) state: State,
    /// Whether rows end.
    pub(crate) bounded: bool,
}

impl Properties {
    /// Says of columns that nothing is known of them.
    pub(crate) fn plain(columns: usize, bounded: bool) -> Self {
        Self {
            changes: ChangelogMode::AppendOnly,
            upsert_keys: Vec::new(),
            times: vec![None; columns],
            watermark: OutputWatermark::None,
            waits: false,
            state: State::None,
            bounded,
        }
    }

    /// What is known of rows that go through a node as they are.
    pub(crate) fn passed(&self) -> Self {
        Self { waits: false, state: State::None, ..self.clone() }
    }

    /// Returns the column that is this part of a window.
    pub(crate) fn window_column(&self, part: WindowPart, window: RowWindow) -> Option<usize> {
        let wanted = Some((part, window.number));
        self.times.iter().position(|time| {
            let found = time.and_then(TimeColumn::window);
            found.map(|(part, window)| (part, window.number)) == wanted
        })
    }

    /// Returns a number that no window of these rows has.
    pub(crate) fn next_window(&self) -> usize {
        let windows = self.times.iter().filter_map(|time| time.and_then(TimeColumn::window));
        windows.map(|(_, window)| window.number + 1).max().unwrap_or(0)
    }

    /// Tells whether a window contains another, which then ends no later.
    pub(crate) fn contains(&self, outer: RowWindow, inner: usize) -> bool {
        let windows = || self.times.iter().filter_map(|time| time.and_then(TimeColumn::window));
        let mut next = Some(outer);
        while let Some(window) = next {
            if window.number == inner {
                return true;
            }
            let over = window.over;
            next = windows().map(|(_, window)| window).find(|window| Some(window.number) == over);
        }
        outer.over == Some(inner)
    }
}

/// What is asked of a query's results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Results {
    /// As they change.
    Changes,
    /// Only final rows where the input ends: who takes them takes nothing back.
    Final,
}
