//! What is known of a plan's rows beyond their types, derived in one place.
//!
//! Whether rows are taken back, which columns tell them apart, which columns are times and what
//! the watermark says of them, what state is kept: [`derive`] computes it bottom up, by a rule for
//! each kind of node that looks at the node and at what is known of its inputs, and at nothing
//! else. The rules hold for plans as they are bound and as they are rewritten. Binding asks for
//! times, the rewriting for watermarks that nobody waits for, lowering and EXPLAIN for the rest;
//! none of them has an opinion of its own.

mod aggregate;
mod check;
mod interval;
mod join;
mod nodes;
mod property;
mod rules;

use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

pub(crate) use aggregate::{GroupWindow, emission};
pub(crate) use check::check;
pub(crate) use interval::Bounds;
pub(crate) use join::{JoinMethod, WindowPairs, as_of, conditions, is_lookup};
pub(crate) use nodes::{
    TemporalTable, WINDOW_COLUMNS, Watermark, WindowTable, describe_window, node_of, plan_of,
};
pub(crate) use property::{
    Domain, OutputWatermark, Properties, Results, State, TimeColumn, WindowPart,
};
pub(crate) use rules::unaliased;

/// A plan with what is known of each of its nodes.
#[derive(Debug)]
pub(crate) struct Derived<'a> {
    pub(crate) plan: &'a LogicalPlan,
    pub(crate) properties: Properties,
    /// In the order of the plan's inputs.
    pub(crate) inputs: Vec<Self>,
}

impl Derived<'_> {
    /// Tells of each input whether somebody waits for its watermark. `above` tells whether
    /// somebody waits for this node's.
    pub(crate) fn awaited(&self, above: bool) -> Vec<bool> {
        let awaited = above || self.properties.waits;
        match self.plan {
            // A lookup reads its table to the end first, whatever the time is there.
            LogicalPlan::Join(join) if is_lookup(join) => vec![above, false],
            // The clock tells of the windows above, not the rows below.
            plan if node_of::<WindowTable>(plan).is_some_and(|table| table.time.is_none()) => {
                vec![false]
            }
            _ => vec![awaited; self.inputs.len()],
        }
    }
}

/// Derives what is known of a plan and its inputs.
///
/// # Errors
/// Where a table's options are refused, or columns are not where the plan says.
pub(crate) fn derive(plan: &LogicalPlan, results: Results) -> Result<Derived<'_>> {
    let inputs: Vec<Derived<'_>> =
        plan.inputs().into_iter().map(|input| derive(input, results)).collect::<Result<_>>()?;
    let known: Vec<&Properties> = inputs.iter().map(|input| &input.properties).collect();
    let properties = rules::properties(plan, &known, results)?;
    Ok(Derived { plan, properties, inputs })
}

/// Tells what kind of time a column of a bound plan is, `None` where it is none.
///
/// # Errors
/// As [`derive`].
pub(crate) fn time_of(plan: &LogicalPlan, column: &Column) -> Result<Option<TimeColumn>> {
    let Some(index) = plan.schema().maybe_index_of_column(column) else { return Ok(None) };
    Ok(derive(plan, Results::Changes)?.properties.times[index])
}
