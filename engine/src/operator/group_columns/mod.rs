//! Aggregates of groups that live on: one column per aggregate, indexed by group.
//!
//! Unlike DataFusion's accumulators these can be read without being consumed, take rows back,
//! and free single groups.

mod count;
mod distinct;
mod edge;
mod extreme;
mod ordered;
mod other;
mod sum;
mod values;

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Float64Type, Int32Type, Int64Type, SchemaRef,
};

use super::aggregate::Aggregate;
use crate::function::aggregate_name;
use crate::graph::{AggregateCall, ChangelogMode};
use crate::{Error, Result};
use count::Count;
use distinct::Distinct;
use edge::Edge;
use extreme::Extreme;
use ordered::Ordered;
use other::Other;
use values::{Natives, RowValues, Values};

/// One aggregate of all groups. Ids are below what it was last [grown](Self::grow) to.
pub(super) trait Column: Send {
    /// Makes room for ids below `groups`.
    fn grow(&mut self, groups: usize);

    /// Adds rows: row n belongs to group `ids[n]` and counts `weights[n]` times: 1, -1, or 0
    /// where FILTER leaves it out; without weights each counts once.
    fn update(&mut self, ids: &[u32], args: &[ArrayRef], weights: Option<&[i8]>) -> Result<()>;

    /// Returns the results of groups.
    fn read(&mut self, ids: &[u32]) -> Result<ArrayRef>;

    /// Tells whether nothing is held of a group, so that it may be forgotten.
    fn is_zero(&self, id: u32) -> bool;

    /// Forgets groups.
    fn free(&mut self, ids: &[u32]);

    /// Returns the number of columns of its state.
    fn state_columns(&self) -> usize;

    /// Returns the state of groups.
    fn state(&mut self, ids: &[u32]) -> Result<Vec<ArrayRef>>;

    /// Takes the state of groups back.
    fn restore(&mut self, ids: &[u32], state: &[ArrayRef]) -> Result<()>;

    /// Returns an estimate of the bytes that it holds.
    fn memory_bytes(&self) -> usize;
}

/// Makes the column of an aggregate.
///
/// # Errors
/// `Invalid` where rows may be taken back and the function cannot do that.
pub(super) fn column(
    call: &AggregateCall,
    aggregate: &Arc<Aggregate>,
    input: &SchemaRef,
    mode: ChangelogMode,
) -> Result<Box<dyn Column>> {
    let kinds = call
        .args
        .iter()
        .map(|arg| arg.data_type(input))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Error::compute("find the types of an aggregate's arguments", error))?;
    let append_only = mode == ChangelogMode::AppendOnly;
    let name = aggregate_name(call.function.name());
    let summed = match (name, kinds.as_slice()) {
        ("count", _) => Some(Box::new(Count::default()) as Box<dyn Column>),
        ("sum", [kind]) => sum::sum(call, kind),
        ("avg", [kind]) => sum::average(kind, call.output.data_type()),
        _ => None,
    };
    match (name, summed) {
        (_, Some(column)) if call.distinct => make(&kinds, Shape::Distinct(column)),
        (_, Some(column)) => Ok(column),
        ("min" | "max", None) => {
            let better = if name == "min" { Ordering::Less } else { Ordering::Greater };
            let shape = if append_only { Shape::Extreme(better) } else { Shape::Ordered(better) };
            make(&kinds, shape)
        }
        ("first_value" | "last_value", None) if append_only && call.order_by.is_empty() => {
            make(&kinds, Shape::Edge { last: name == "last_value", nulls: !call.ignore_nulls })
        }
        _ if append_only => Ok(Box::new(Other::new(Arc::clone(aggregate)))),
        _ => {
            let distinct = if call.distinct { " with DISTINCT" } else { "" };
            let message = format!(
                "the aggregate function {name}{distinct} cannot take rows back, which its input does"
            );
            Err(Error::Invalid(message))
        }
    }
}

/// What is kept of the values that an aggregate sees.
enum Shape {
    /// The least or greatest.
    Extreme(Ordering),
    /// All, with their counts, for the least or greatest.
    Ordered(Ordering),
    /// The first or last.
    Edge { last: bool, nulls: bool },
    /// All, with their counts; the column gets each value once.
    Distinct(Box<dyn Column>),
}

fn make(kinds: &[DataType], shape: Shape) -> Result<Box<dyn Column>> {
    fn with<V: Values>(values: V, shape: Shape) -> Box<dyn Column> {
        match shape {
            Shape::Extreme(better) => Box::new(Extreme::new(values, better)),
            Shape::Ordered(better) => Box::new(Ordered::new(values, better)),
            Shape::Edge { last, nulls } => Box::new(Edge::new(values, last, nulls)),
            Shape::Distinct(column) => Box::new(Distinct::new(values, column)),
        }
    }
    // Few types are compiled in, since each is compiled for every shape.
    Ok(match kinds {
        [kind @ (DataType::Int32 | DataType::Date32 | DataType::Time32(_))] => {
            with(Natives::<Int32Type>::new(kind), shape)
        }
        [
            kind @ (DataType::Int64
            | DataType::Date64
            | DataType::Time64(_)
            | DataType::Timestamp(..)
            | DataType::Duration(_)),
        ] => with(Natives::<Int64Type>::new(kind), shape),
        [kind @ DataType::Float64] => with(Natives::<Float64Type>::new(kind), shape),
        [kind @ DataType::Decimal128(..)] => with(Natives::<Decimal128Type>::new(kind), shape),
        kinds => with(RowValues::new(kinds)?, shape),
    })
}

/// Calls `visit` with row, group and weight of each row that has a value and counts.
fn each_row(
    ids: &[u32],
    nulls: Option<&NullBuffer>,
    weights: Option<&[i8]>,
    mut visit: impl FnMut(usize, usize, i64),
) {
    if nulls.is_none() && weights.is_none() {
        for (row, id) in ids.iter().enumerate() {
            visit(row, *id as usize, 1);
        }
        return;
    }
    for (row, id) in ids.iter().enumerate() {
        let weight = weights.map_or(1, |weights| weights[row]);
        if weight != 0 && nulls.is_none_or(|nulls| nulls.is_valid(row)) {
            visit(row, *id as usize, i64::from(weight));
        }
    }
}

/// Picks entries of a column of counts.
fn pick(counts: &[i64], ids: &[u32]) -> Int64Array {
    ids.iter().map(|id| counts[*id as usize]).collect::<Vec<_>>().into()
}

/// Returns a state's column of integers.
fn integers(state: &ArrayRef) -> Result<&Int64Array> {
    state.as_primitive_opt().ok_or_else(|| misfit("a count", state))
}

fn misfit(expected: &str, found: &ArrayRef) -> Error {
    Error::Restore {
        what: "GroupAggregate".to_owned(),
        reason: format!("{expected} is expected and {} found", found.data_type()),
    }
}

/// Returns the state of groups that hold values with counts: a list of each, `lengths` long.
fn lists(lengths: Vec<usize>, values: ArrayRef, counts: Vec<i64>) -> Vec<ArrayRef> {
    let offsets = OffsetBuffer::from_lengths(lengths);
    let list = |items: ArrayRef| -> ArrayRef {
        let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
        Arc::new(ListArray::new(field, offsets.clone(), items, None))
    };
    vec![list(values), list(Arc::new(Int64Array::from(counts)))]
}

/// Takes [lists] apart: values, counts, and the group of each.
fn unlist(ids: &[u32], state: &[ArrayRef]) -> Result<(ArrayRef, Int64Array, Vec<u32>)> {
    let [values, counts, ..] = state else {
        return Err(Error::Internal("a state lacks lists".to_owned()));
    };
    let list = |state: &ArrayRef| {
        let list = state.as_list_opt::<i32>().ok_or_else(|| misfit("a list", state))?;
        let offsets = list.value_offsets();
        let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
        Ok::<_, Error>((list.clone(), list.values().slice(first, last - first)))
    };
    let (lists, values) = list(values)?;
    let (_, counts) = list(counts)?;
    let counts = integers(&counts)?.clone();
    let lengths = lists.offsets().lengths();
    let groups = ids.iter().zip(lengths).flat_map(|(id, length)| vec![*id; length]).collect();
    Ok((values, counts, groups))
}
