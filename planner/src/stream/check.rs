//! What must hold of a whole plan before it is lowered.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Volatility};
use rainstorm_engine::graph::ChangelogMode;
use sqlparser::tokenizer::Span;

use super::join::{JoinMethod, as_of};
use super::nodes::{TemporalTable, WindowTable, node_of};
use super::property::Properties;
use super::rules::column_of;
use super::{Derived, describe_window};
use crate::error::{SqlError, SqlErrorCode, fail, unsupported};

/// Checks a plan whose subqueries have become joins.
///
/// # Errors
/// `Unsupported` or `InvalidStatement`, by the name that something has in SQL.
pub(crate) fn check(root: &Derived<'_>) -> Result<()> {
    table_as_of(root, false)?;
    each(root, &mut |node| {
        awaited_watermark(node)?;
        window_time(node)?;
        values_of_updates(node)?;
        match (node.plan, node.inputs.as_slice()) {
            (LogicalPlan::Join(join), [left, right]) => {
                of_join(join, &left.properties, &right.properties)
            }
            _ => Ok(()),
        }
    })
}

fn each(node: &Derived<'_>, look: &mut impl FnMut(&Derived<'_>) -> Result<()>) -> Result<()> {
    for input in &node.inputs {
        each(input, look)?;
    }
    look(node)
}

fn refuse(message: String, help: &str) -> Result<()> {
    Err(fail(unsupported(Span::empty(), message).with_help(help)))
}

/// A table as of a time stands on the right of a join, alone.
fn table_as_of(node: &Derived<'_>, is_looked_up: bool) -> Result<()> {
    if node_of::<TemporalTable>(node.plan).is_some() && !is_looked_up {
        let message = "FOR SYSTEM_TIME AS OF outside the right side of a join is not supported";
        return refuse(message.to_owned(), "join the table: … JOIN table FOR SYSTEM_TIME AS OF …");
    }
    for (place, input) in node.inputs.iter().enumerate() {
        let is_right = matches!(node.plan, LogicalPlan::Join(_)) && place == 1;
        let goes_on = is_looked_up && node_of::<TemporalTable>(node.plan).is_none();
        table_as_of(input, (is_right || goes_on) && as_of(input.plan).is_some())?;
    }
    Ok(())
}

/// Nothing waits for a watermark that does not come before the end.
fn awaited_watermark(node: &Derived<'_>) -> Result<()> {
    let Properties { waits, bounded, .. } = node.properties;
    let comes = |input: &Derived<'_>| input.properties.watermark.domain().is_some();
    if !waits || bounded || node.inputs.iter().all(comes) {
        return Ok(());
    }
    refuse(
        "a window or interval over rows without a watermark is not supported".to_owned(),
        "every input needs an event time: declare WATERMARK FOR in CREATE TABLE",
    )
}

/// Windows are cut by a time, which may have been one only of a part of the plan.
fn window_time(node: &Derived<'_>) -> Result<()> {
    let (Some(table), [input]) = (node_of::<WindowTable>(node.plan), node.inputs.as_slice()) else {
        return Ok(());
    };
    let Some(time) = &table.time else { return Ok(()) };
    // Without a watermark nothing is late: all windows are over when the rows have ended, as those
    // of a condition that is never true do at once.
    if input.properties.bounded && input.properties.watermark.domain().is_none() {
        return Ok(());
    }
    let known = column_of(time, table.input.schema()).and_then(|time| input.properties.times[time]);
    if known.is_some_and(|known| known.above_watermark().is_some()) {
        return Ok(());
    }
    let window = describe_window(&table.window);
    let message = format!("{window} over {time}, whose rows come behind the watermark");
    Err(fail(
        SqlError::at(SqlErrorCode::InvalidStatement, Span::empty(), message)
            .with_help("cut windows by the time of a stream, or by the window_time of a window"),
    ))
}

/// A row that is taken back must have the values with which it came.
fn values_of_updates(node: &Derived<'_>) -> Result<()> {
    let updated = |input: &Derived<'_>| input.properties.changes == ChangelogMode::Retract;
    if !node.inputs.iter().any(updated) {
        return Ok(());
    }
    node.plan.apply_expressions(|expr| {
        expr.apply(|part| match part {
            Expr::ScalarFunction(call)
                if call.func.signature().volatility == Volatility::Volatile =>
            {
                let name = call.func.name().to_uppercase();
                let message = format!("{name}() over an updating query is not supported");
                let help = "a row that is taken back would have another value than when it came";
                // Nor is it what was asked for that batch has one value at the end.
                let code = SqlErrorCode::InvalidStatement;
                Err(fail(SqlError::at(code, Span::empty(), message).with_help(help)))
            }
            _ => Ok(TreeNodeRecursion::Continue),
        })
    })?;
    Ok(())
}

fn of_join(join: &Join, left: &Properties, right: &Properties) -> Result<()> {
    if join.null_aware {
        let help = "write NOT EXISTS (SELECT … WHERE …)";
        return refuse("NOT IN with a query in this place is not supported".to_owned(), help);
    }
    let JoinMethod::Window(pairs) = JoinMethod::of(join, left, right)? else { return Ok(()) };
    let (one, other) = (pairs.left.kind.window, pairs.right.kind.window);
    if one == other {
        return Ok(());
    }
    refuse(
        format!(
            "a join of different windows, {} and {}, is not supported",
            describe_window(&one),
            describe_window(&other)
        ),
        "both sides need windows of the same kind and lengths",
    )
}
