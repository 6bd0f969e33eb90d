//! One rule for each kind of node.

use datafusion::common::{DFSchema, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, TableScan, Union};

use super::property::{OutputWatermark, Properties, Results, TimeColumn, together};
use super::{aggregate, join, nodes};
use crate::analysis::describe;
use crate::catalog::CatalogTable;

/// Derives what is known of a node's rows from what is known of its inputs'. There is no rule for
/// "the others" on purpose: a kind of node without a rule must not compile.
///
/// # Errors
/// Where a table's options are refused, or columns are not where the plan says.
pub(super) fn properties(
    plan: &LogicalPlan,
    inputs: &[&Properties],
    results: Results,
) -> Result<Properties> {
    let columns = plan.schema().fields().len();
    Ok(match plan {
        LogicalPlan::TableScan(table) => Properties::plain(columns, is_bounded(table)?),
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => Properties::plain(columns, true),
        LogicalPlan::Projection(projection) => {
            projected(&projection.expr, projection.input.schema(), only(inputs)?)
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::Repartition(_) => only(inputs)?.passed(),
        LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => held_to_end(only(inputs)?),
        LogicalPlan::Aggregate(node) => aggregate::properties(node, only(inputs)?, results),
        LogicalPlan::Distinct(Distinct::All(_)) => aggregate::distinct(only(inputs)?, results),
        LogicalPlan::Join(node) => match inputs {
            [left, right] => join::properties(node, left, right)?,
            _ => return plan_err!("a join has two inputs"),
        },
        LogicalPlan::Union(union) => united(union, inputs),
        LogicalPlan::Extension(extension) => nodes::properties(extension, inputs)?,
        // Nothing of these is done to streams, or nothing of time survives them.
        LogicalPlan::Distinct(Distinct::On(_))
        | LogicalPlan::Window(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::RecursiveQuery(_)
        | LogicalPlan::Statement(_)
        | LogicalPlan::Explain(_)
        | LogicalPlan::Analyze(_)
        | LogicalPlan::Dml(_)
        | LogicalPlan::Ddl(_)
        | LogicalPlan::Copy(_)
        | LogicalPlan::DescribeTable(_) => {
            Properties::plain(columns, inputs.iter().all(|input| input.bounded))
        }
    })
}

/// Returns what is known of a node's only input.
pub(super) fn only<'a>(inputs: &[&'a Properties]) -> Result<&'a Properties> {
    let [input] = inputs else {
        return plan_err!("expected one input, found {}", inputs.len());
    };
    Ok(input)
}

/// A view stands for its plan by the time that it is asked about.
fn is_bounded(table: &TableScan) -> Result<bool> {
    match CatalogTable::definition_of(&table.source) {
        Some(definition) => Ok(describe(definition)?.bounded),
        None => Ok(true),
    }
}

fn held_to_end(input: &Properties) -> Properties {
    let domain = input.watermark.domain();
    let watermark = domain.map_or(OutputWatermark::None, OutputWatermark::HeldToEnd);
    Properties { watermark, ..input.passed() }
}

/// Times and keys follow columns that are passed on under whatever name.
fn projected(exprs: &[Expr], schema: &DFSchema, input: &Properties) -> Properties {
    let origins: Vec<Option<usize>> = exprs.iter().map(|expr| column_of(expr, schema)).collect();
    let times = exprs.iter().zip(&origins).map(|(expr, origin)| match origin {
        Some(column) => input.times[*column],
        None => is_processing_time(expr).then_some(TimeColumn::Processing),
    });
    let place = |column: &usize| origins.iter().position(|origin| *origin == Some(*column));
    let moved = |key: &Vec<usize>| key.iter().map(place).collect::<Option<Vec<usize>>>();
    Properties {
        times: times.collect(),
        upsert_keys: input.upsert_keys.iter().filter_map(moved).collect(),
        ..input.passed()
    }
}

/// Returns the column that an expression is, under whatever name.
pub(super) fn column_of(expr: &Expr, schema: &DFSchema) -> Option<usize> {
    match unaliased(expr) {
        Expr::Column(column) => schema.maybe_index_of_column(column),
        _ => None,
    }
}

/// Returns an expression without the names that are given to it.
pub(crate) fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        expr => expr,
    }
}

/// Tells whether an expression is PROCTIME().
fn is_processing_time(expr: &Expr) -> bool {
    matches!(unaliased(expr), Expr::ScalarFunction(call)
        if call.func.name().eq_ignore_ascii_case("proctime"))
}

/// A union's column is what it is in all of its inputs.
fn united(union: &Union, inputs: &[&Properties]) -> Properties {
    let columns = union.schema.fields().len();
    let Some((first, others)) = inputs.split_first() else {
        return Properties::plain(columns, true);
    };
    let mut known = first.passed();
    for other in others {
        known.changes = together(known.changes, other.changes);
        known.watermark = known.watermark.least(other.watermark);
        known.bounded &= other.bounded;
        known.times = common_times(&known.times, &other.times);
    }
    if !others.is_empty() {
        known.upsert_keys.clear();
    }
    if known.watermark == OutputWatermark::None {
        known
            .times
            .iter_mut()
            .filter(|time| **time != Some(TimeColumn::Processing))
            .for_each(|time| *time = None);
    }
    known
}

/// Windows are the same where their parts stand in the same columns: numbers are each input's own.
fn common_times(
    one: &[Option<TimeColumn>],
    other: &[Option<TimeColumn>],
) -> Vec<Option<TimeColumn>> {
    let windows = || {
        let pairs = one.iter().zip(other);
        pairs.filter_map(|(one, other)| Some((one.as_ref()?.window()?, other.as_ref()?.window()?)))
    };
    let agree = |number: usize, other: usize| {
        windows()
            .all(|((_, one), (_, another))| (one.number == number) == (another.number == other))
    };
    one.iter()
        .zip(other)
        .map(|(one, other)| match (one.as_ref()?, other.as_ref()?) {
            (TimeColumn::Window(part, window), TimeColumn::Window(other_part, other_window)) => {
                let same = part == other_part
                    && window.kind == other_window.kind
                    && agree(window.number, other_window.number);
                same.then_some(TimeColumn::Window(*part, *window))
            }
            (one, other) => (one == other).then_some(*one),
        })
        .collect()
}
