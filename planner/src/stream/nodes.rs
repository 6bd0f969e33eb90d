//! Logical nodes that DataFusion lacks: watermarks, windowing tables, tables as of a time.
//!
//! None of them exposes functional dependencies, since a row may come once per window; each says
//! what may be pushed below it and which of its input's columns it needs, else nothing would be
//! pruned.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::{DFSchema, DFSchemaRef, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use rainstorm_engine::graph::Window;
use rainstorm_engine::wording::describe_ms;

use super::property::{
    Domain, OutputWatermark, Properties, RowWindow, TimeColumn, WindowKind, WindowPart,
};
use super::rules::{column_of, only};

/// The columns that a windowing table adds.
pub(crate) const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

/// WATERMARK FOR `time` AS `expr` over a table's rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash)]
pub(crate) struct Watermark {
    pub(crate) input: LogicalPlan,
    /// The event time's column.
    pub(crate) time: Expr,
    /// The watermark of a row.
    pub(crate) expr: Expr,
}

/// TUMBLE, HOP or CUMULATE over a table: its rows once per window, with the window's columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct WindowTable {
    pub(crate) input: LogicalPlan,
    pub(crate) window: Window,
    /// The event time's column; `None` where windows are of processing time.
    pub(crate) time: Option<Expr>,
    schema: DFSchemaRef,
}

/// A table FOR SYSTEM_TIME AS OF a processing time: the right side of a lookup join.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash)]
pub(crate) struct TemporalTable {
    pub(crate) input: LogicalPlan,
    /// The time as written: a column of the left side, or PROCTIME().
    pub(crate) time: String,
}

/// What every node of ours has beside what DataFusion asks for.
pub(crate) trait Node: UserDefinedLogicalNodeCore + sealed::Known {
    /// Derives what is known of the node's rows from what is known of its inputs'.
    ///
    /// # Errors
    /// Where columns are not where the node says.
    fn properties(&self, inputs: &[&Properties]) -> Result<Properties>;
}

mod sealed {
    /// A node that [`super::properties`] finds. Only the list there makes one known, and only
    /// known ones can be put into plans: a node that is left out does not compile.
    pub(crate) trait Known {}
}

macro_rules! known_nodes {
    ($($node:ty),*) => {
        $(impl sealed::Known for $node {})*

        /// Derives what is known of the rows of whichever node of ours this is.
        ///
        /// # Errors
        /// As [`Node::properties`].
        pub(super) fn properties(
            extension: &Extension,
            inputs: &[&Properties],
        ) -> Result<Properties> {
            let node = extension.node.as_any();
            $(if let Some(node) = node.downcast_ref::<$node>() {
                return node.properties(inputs);
            })*
            plan_err!("a node of somebody else's: {}", extension.node.name())
        }
    };
}

known_nodes!(Watermark, WindowTable, TemporalTable);

/// Wraps a node as a plan.
pub(crate) fn plan_of(node: impl Node) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(node) })
}

/// Returns a plan's root where it is a node of type `T`.
pub(crate) fn node_of<T: UserDefinedLogicalNode + 'static>(plan: &LogicalPlan) -> Option<&T> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}

fn one<T>(mut items: Vec<T>) -> Result<T> {
    match items.pop() {
        Some(item) if items.is_empty() => Ok(item),
        _ => plan_err!("expected one input or expression"),
    }
}

impl Node for Watermark {
    fn properties(&self, inputs: &[&Properties]) -> Result<Properties> {
        let input = only(inputs)?;
        let time = column_of(&self.time, self.input.schema());
        let mut times = input.times.clone();
        for (column, known) in times.iter_mut().enumerate() {
            if Some(column) == time {
                *known = Some(TimeColumn::Event);
            } else if *known != Some(TimeColumn::Processing) {
                *known = None;
            }
        }
        Ok(Properties {
            times,
            watermark: OutputWatermark::Passes(Domain::Event),
            ..input.passed()
        })
    }
}

impl UserDefinedLogicalNodeCore for Watermark {
    fn name(&self) -> &'static str {
        "Watermark"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.time.clone(), self.expr.clone()]
    }

    /// Nothing goes below: rows that a filter leaves out show how far time is, too.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.input.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |expr: &Expr| expr.clone().unalias_nested().data;
        write!(f, "Watermark: {} AS {}", bare(&self.time), bare(&self.expr))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let [time, expr]: [Expr; 2] = match exprs.try_into() {
            Ok(exprs) => exprs,
            Err(_) => return plan_err!("a watermark has two expressions"),
        };
        Ok(Self { input: one(inputs)?, time, expr })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }
}

impl WindowTable {
    pub(crate) fn try_new(input: LogicalPlan, window: Window, time: Option<Expr>) -> Result<Self> {
        let schema = input.schema();
        let data_type = DataType::Timestamp(TimeUnit::Millisecond, None);
        let columns =
            WINDOW_COLUMNS.map(|name| (None, Arc::new(Field::new(name, data_type.clone(), false))));
        let fields =
            schema.iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)));
        let schema = DFSchema::new_with_metadata(
            fields.chain(columns).collect(),
            schema.metadata().clone(),
        )?;
        Ok(Self { input, window, time, schema: Arc::new(schema) })
    }
}

impl Node for WindowTable {
    fn properties(&self, inputs: &[&Properties]) -> Result<Properties> {
        let input = only(inputs)?;
        let time = match &self.time {
            Some(time) => column_of(time, self.input.schema()).and_then(|time| input.times[time]),
            None => Some(TimeColumn::Processing),
        };
        let mut known = input.passed();
        let domain = if self.time.is_some() {
            time.and_then(TimeColumn::above_watermark).unwrap_or(Domain::Event)
        } else {
            // From here on the watermark is the clock's, and says nothing of other times.
            known.watermark = OutputWatermark::Passes(Domain::Clock);
            for time in &mut known.times {
                *time = time.filter(|time| *time == TimeColumn::Processing);
            }
            Domain::Clock
        };
        let over = time.and_then(TimeColumn::window).map(|(_, window)| window.number);
        let kind = WindowKind { window: self.window, domain };
        let window = RowWindow { kind, number: input.next_window(), over };
        known.times.extend(WindowPart::ALL.map(|part| Some(TimeColumn::Window(part, window))));
        // A row comes once per window.
        known.upsert_keys.clear();
        Ok(known)
    }
}

impl PartialOrd for WindowTable {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for WindowTable {
    fn name(&self) -> &'static str {
        "WindowTable"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.time.iter().cloned().collect()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        WINDOW_COLUMNS.map(str::to_owned).into()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", describe_window(&self.window))?;
        match &self.time {
            Some(time) => write!(f, " of {time}"),
            None => write!(f, " of processing time"),
        }
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        Self::try_new(one(inputs)?, self.window, exprs.into_iter().next())
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let columns = self.input.schema().fields().len();
        Some(vec![output_columns.iter().copied().filter(|column| *column < columns).collect()])
    }
}

impl Node for TemporalTable {
    fn properties(&self, inputs: &[&Properties]) -> Result<Properties> {
        Ok(only(inputs)?.passed())
    }
}

impl UserDefinedLogicalNodeCore for TemporalTable {
    fn name(&self) -> &'static str {
        "TemporalTable"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TemporalTable: FOR SYSTEM_TIME AS OF {}", self.time)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(Self { input: one(inputs)?, time: self.time.clone() })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }
}

/// Returns a window as people read it: `Tumble(10 s)`.
pub(crate) fn describe_window(window: &Window) -> String {
    let (name, lengths, offset) = match *window {
        Window::Tumble { size_ms, offset_ms } => ("Tumble", vec![size_ms], offset_ms),
        Window::Hop { size_ms, slide_ms, offset_ms } => ("Hop", vec![slide_ms, size_ms], offset_ms),
        Window::Cumulate { size_ms, step_ms, offset_ms } => {
            ("Cumulate", vec![step_ms, size_ms], offset_ms)
        }
    };
    let mut parts: Vec<String> = lengths.into_iter().map(describe_ms).collect();
    if offset != 0 {
        parts.push(format!("offset {}", describe_ms(offset)));
    }
    format!("{name}({})", parts.join(", "))
}
