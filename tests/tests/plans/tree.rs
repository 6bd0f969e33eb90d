//! Queries as trees: what the generator makes, the text is written from and the interpreter reads.

use std::collections::BTreeSet;

use super::expression::Expr;
use super::value::Type;

/// How time is cut, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Tumble(i64),
    /// Slide and size.
    Hop(i64, i64),
    /// Step and size.
    Cumulate(i64, i64),
}

/// How time is cut, and which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) cut: Cut,
    pub(crate) processing: bool,
}

/// What a column is beside its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Plain,
    /// A watermark holds for it.
    Event,
    /// PROCTIME().
    Processing,
    Start(Window),
    End(Window),
    /// A window's `window_time`.
    Time(Window),
}

#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) of: Type,
    pub(crate) role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    /// COUNT(*).
    Rows,
    Count,
    CountDistinct,
    Sum,
    Min,
    Max,
    Average,
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) function: Function,
    pub(crate) column: usize,
    pub(crate) filter: Option<Expr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
}

impl JoinKind {
    pub(crate) fn keeps_left(self) -> bool {
        matches!(self, Self::Left | Self::Full)
    }

    pub(crate) fn keeps_right(self) -> bool {
        matches!(self, Self::Right | Self::Full)
    }
}

/// `lower <= left time - right time <= upper`, or `<` where strict.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interval {
    pub(crate) left: usize,
    pub(crate) right: usize,
    pub(crate) lower_ms: i64,
    pub(crate) upper_ms: i64,
    pub(crate) strict: bool,
}

/// What bounds a join.
#[derive(Debug, Clone)]
pub(crate) enum Bound {
    /// The window of both sides is the same: start and end, left and right.
    Window([(usize, usize); 2]),
    Interval(Interval),
    /// The right side is the bounded table; this column of the left is PROCTIME().
    Lookup(usize),
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) op: Op,
    /// What comes out, with names that are its own (but those of tables and windows).
    pub(crate) columns: Vec<Column>,
    /// What the relation is called where it is read.
    pub(crate) alias: String,
    /// Whether it stands in WITH rather than where it is read.
    pub(crate) named: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Scan(usize),
    Select { input: Box<Node>, items: Vec<Expr>, filter: Option<Expr> },
    Window { input: Box<Node>, window: Window, time: usize },
    Aggregate(Aggregate),
    Distinct { input: Box<Node>, items: Vec<usize> },
    Join(Join),
    Semi(Semi),
    Union(Box<Node>, Box<Node>),
}

#[derive(Debug, Clone)]
pub(crate) struct Aggregate {
    pub(crate) input: Box<Node>,
    pub(crate) filter: Option<Expr>,
    pub(crate) keys: Vec<usize>,
    pub(crate) calls: Vec<Call>,
    /// Over keys and then calls.
    pub(crate) having: Option<Expr>,
}

#[derive(Debug, Clone)]
pub(crate) struct Join {
    pub(crate) kind: JoinKind,
    pub(crate) left: Box<Node>,
    pub(crate) right: Box<Node>,
    pub(crate) bound: Bound,
    pub(crate) on: Vec<(usize, usize)>,
    /// Over the left columns and then the right ones.
    pub(crate) condition: Option<Expr>,
    pub(crate) items: Vec<usize>,
}

/// `[NOT] EXISTS` or `[NOT] IN` within the window of both sides.
#[derive(Debug, Clone)]
pub(crate) struct Semi {
    pub(crate) left: Box<Node>,
    pub(crate) right: Box<Node>,
    pub(crate) window: [(usize, usize); 2],
    pub(crate) on: (usize, usize),
    pub(crate) is_in: bool,
    pub(crate) negated: bool,
    pub(crate) items: Vec<usize>,
}

impl Node {
    pub(crate) fn inputs(&self) -> Vec<&Self> {
        match &self.op {
            Op::Scan(_) => Vec::new(),
            Op::Select { input, .. } | Op::Window { input, .. } | Op::Distinct { input, .. } => {
                vec![input]
            }
            Op::Aggregate(aggregate) => vec![&aggregate.input],
            Op::Join(join) => vec![&join.left, &join.right],
            Op::Semi(semi) => vec![&semi.left, &semi.right],
            Op::Union(left, right) => vec![left, right],
        }
    }

    /// Returns the place of the first column for which `is` holds.
    pub(crate) fn find(&self, is: impl Fn(&Column) -> bool) -> Option<usize> {
        self.columns.iter().position(is)
    }

    /// Returns the window that rows carry, with the columns of its start and end.
    pub(crate) fn window(&self) -> Option<(Window, usize, usize)> {
        self.window_among(&(0..self.columns.len()).collect::<Vec<_>>())
    }

    /// Returns the window whose start and end are among these columns.
    pub(crate) fn window_among(&self, columns: &[usize]) -> Option<(Window, usize, usize)> {
        columns.iter().find_map(|start| {
            let Role::Start(window) = self.columns[*start].role else { return None };
            let is_end = |column: &&usize| self.columns[**column].role == Role::End(window);
            columns.iter().find(is_end).map(|end| (window, *start, *end))
        })
    }
}

/// Names what a query consists of, so that faults of one cause can be told from others.
pub(crate) fn parts(node: &Node) -> BTreeSet<String> {
    let own = match &node.op {
        Op::Scan(_) => String::new(),
        Op::Select { filter, .. } if filter.is_none() => String::new(),
        Op::Select { .. } => "WHERE".to_owned(),
        Op::Window { window, .. } if window.processing => "window of PROCTIME()".to_owned(),
        Op::Window { .. } => "window".to_owned(),
        Op::Aggregate(aggregate) if aggregate.input.window_among(&aggregate.keys).is_some() => {
            "GROUP BY window".to_owned()
        }
        Op::Aggregate(_) => "GROUP BY".to_owned(),
        Op::Distinct { .. } => "DISTINCT".to_owned(),
        Op::Join(Join { kind, bound, .. }) => match bound {
            Bound::Window(_) => format!("{kind:?} window join"),
            Bound::Interval(_) => format!("{kind:?} interval join"),
            Bound::Lookup(_) => format!("{kind:?} lookup join"),
        },
        Op::Semi(Semi { is_in, negated, .. }) => {
            format!(
                "{}{}",
                if *negated { "NOT " } else { "" },
                if *is_in { "IN" } else { "EXISTS" }
            )
        }
        Op::Union(..) => "UNION ALL".to_owned(),
    };
    let mut all = node.inputs().into_iter().flat_map(parts).collect::<BTreeSet<_>>();
    if !own.is_empty() {
        all.insert(own);
    }
    all
}
