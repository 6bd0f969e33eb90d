//! Which columns are times that windows can be cut by.

use datafusion::common::{Column, JoinSide};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};

use super::nodes::{TemporalTable, Watermark, WindowTable, node_of};

/// What kind of time a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeAttribute {
    /// A watermark says how far it has come.
    Event,
    /// PROCTIME().
    Processing,
}

/// Tells what kind of time a column of a plan is, `None` where it is none.
pub(super) fn time_attribute(plan: &LogicalPlan, column: &Column) -> Option<TimeAttribute> {
    let index = plan.schema().maybe_index_of_column(column)?;
    attribute_at(plan, index)
}

fn attribute_at(plan: &LogicalPlan, index: usize) -> Option<TimeAttribute> {
    match plan {
        LogicalPlan::Projection(projection) => of_expr(&projection.input, &projection.expr[index]),
        LogicalPlan::SubqueryAlias(alias) => attribute_at(&alias.input, index),
        LogicalPlan::Filter(filter) => attribute_at(&filter.input, index),
        LogicalPlan::Distinct(Distinct::All(input)) => attribute_at(input, index),
        LogicalPlan::Aggregate(aggregate) => {
            of_expr(&aggregate.input, aggregate.group_expr.get(index)?)
        }
        LogicalPlan::Join(join) => {
            let left = join.left.schema().fields().len();
            match if index < left { JoinSide::Left } else { JoinSide::Right } {
                JoinSide::Left => attribute_at(&join.left, index),
                _ => attribute_at(&join.right, index - left),
            }
        }
        LogicalPlan::Union(union) => {
            let mut kinds = union.inputs.iter().map(|input| attribute_at(input, index));
            let first = kinds.next()?;
            kinds.all(|kind| kind == first).then_some(first)?
        }
        LogicalPlan::Extension(_) => of_node(plan, index),
        _ => None,
    }
}

fn of_node(plan: &LogicalPlan, index: usize) -> Option<TimeAttribute> {
    if let Some(watermark) = node_of::<Watermark>(plan) {
        let is_time = matches!(&watermark.time, Expr::Column(time)
            if watermark.input.schema().maybe_index_of_column(time) == Some(index));
        return if is_time {
            Some(TimeAttribute::Event)
        } else {
            attribute_at(&watermark.input, index)
        };
    }
    if let Some(table) = node_of::<WindowTable>(plan) {
        let columns = table.input.schema().fields().len();
        return match (index < columns, &table.time) {
            (true, _) => attribute_at(&table.input, index),
            // Only window_time goes on being a time; start and end are data.
            (false, Some(_)) => (index == columns + 2).then_some(TimeAttribute::Event),
            (false, None) => (index == columns + 2).then_some(TimeAttribute::Processing),
        };
    }
    attribute_at(&node_of::<TemporalTable>(plan)?.input, index)
}

fn of_expr(input: &LogicalPlan, expr: &Expr) -> Option<TimeAttribute> {
    match expr {
        Expr::Alias(alias) => of_expr(input, &alias.expr),
        Expr::Column(column) => time_attribute(input, column),
        expr => is_processing_time(expr).then_some(TimeAttribute::Processing),
    }
}

/// Tells whether an expression is PROCTIME().
pub(super) fn is_processing_time(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name().eq_ignore_ascii_case("proctime"))
}
