//! Groups under aggregation by DataFusion's group tables and accumulators.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;

use super::aggregate::{Aggregate, Arguments};
use crate::graph::AggregateCall;
use crate::{Error, Result};

/// What is grouped by and what is aggregated.
pub(super) struct Grouping {
    keys: Vec<usize>,
    key_schema: SchemaRef,
    aggregates: Vec<Aggregate>,
}

impl Grouping {
    /// Prepares aggregates over rows of `input`.
    ///
    /// # Errors
    /// `Compute` where a function does not take its arguments.
    pub(super) fn new(keys: &[usize], calls: &[AggregateCall], input: &SchemaRef) -> Result<Self> {
        let key_schema = input
            .project(keys)
            .map_err(|error| Error::compute("find the columns to group by", error))?;
        let aggregates =
            calls.iter().map(|call| Aggregate::new(call, input)).collect::<Result<_>>()?;
        Ok(Self { keys: keys.to_vec(), key_schema: Arc::new(key_schema), aggregates })
    }

    /// Returns the number of key columns.
    pub(super) fn num_keys(&self) -> usize {
        self.keys.len()
    }

    /// Returns which column of sealed groups holds their number of rows, if one does.
    pub(super) fn count_column(&self) -> Option<usize> {
        let counts = self.aggregates.iter().position(Aggregate::counts_rows)?;
        let before = self.aggregates[..counts].iter().map(Aggregate::state_columns);
        Some(self.keys.len() + before.sum::<usize>())
    }

    /// Returns the columns of sealed groups: the keys and the aggregates' states.
    pub(super) fn part_fields(&self) -> Vec<FieldRef> {
        let states = self.aggregates.iter().flat_map(Aggregate::state_fields);
        let names = states.enumerate().map(|(index, field)| {
            let name = format!("state{index}");
            Arc::new(Field::new(name, field.data_type().clone(), true))
        });
        self.key_schema.fields().iter().cloned().chain(names).collect()
    }

    /// Returns the key columns of a batch.
    pub(super) fn keys(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        self.keys.iter().map(|key| Arc::clone(rows.column(*key))).collect()
    }

    /// Computes the arguments of all aggregates.
    pub(super) fn arguments(&self, rows: &RecordBatch) -> Result<Vec<Arguments>> {
        self.aggregates.iter().map(|aggregate| aggregate.arguments(rows)).collect()
    }
}

/// The groups of one slice or window, with an accumulator per aggregate. Reading consumes it.
pub(super) struct PartialGroups {
    /// The keys of the groups; `None` where there is one group without a key.
    keys: Option<Box<dyn GroupValues>>,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    /// The groups of the rows at hand, kept for its allocation.
    groups: Vec<usize>,
}

impl PartialGroups {
    /// Starts without groups.
    pub(super) fn new(grouping: &Grouping) -> Result<Self> {
        let keys = if grouping.keys.is_empty() {
            None
        } else {
            let schema = Arc::clone(&grouping.key_schema);
            let keys = new_group_values(schema, &GroupOrdering::None)
                .map_err(|error| Error::compute("make a group table", error))?;
            Some(keys)
        };
        let accumulators =
            grouping.aggregates.iter().map(Aggregate::groups_accumulator).collect::<Result<_>>()?;
        Ok(Self { keys, accumulators, groups: Vec::new() })
    }

    /// Adds rows.
    pub(super) fn update(
        &mut self,
        grouping: &Grouping,
        rows: usize,
        keys: &[ArrayRef],
        arguments: &[Arguments],
    ) -> Result<()> {
        let total = self.intern(rows, keys)?;
        let calls = grouping.aggregates.iter().zip(arguments);
        for (accumulator, (aggregate, arguments)) in self.accumulators.iter_mut().zip(calls) {
            let filter = arguments.filter.as_ref();
            accumulator
                .update_batch(&arguments.values, &self.groups, filter, total)
                .map_err(|error| aggregate.failed(error))?;
        }
        Ok(())
    }

    /// Adds groups that were [sealed](Self::seal).
    pub(super) fn merge(
        &mut self,
        grouping: &Grouping,
        rows: usize,
        part: &[ArrayRef],
    ) -> Result<()> {
        let (keys, mut states) = part.split_at(grouping.num_keys());
        let total = self.intern(rows, keys)?;
        for (accumulator, aggregate) in self.accumulators.iter_mut().zip(&grouping.aggregates) {
            let (state, rest) = states
                .split_at_checked(aggregate.state_columns())
                .ok_or_else(|| Error::Internal("a part lacks state columns".to_owned()))?;
            states = rest;
            accumulator
                .merge_batch(state, &self.groups, total)
                .map_err(|error| aggregate.failed(error))?;
        }
        Ok(())
    }

    fn intern(&mut self, rows: usize, keys: &[ArrayRef]) -> Result<usize> {
        if let Some(table) = &mut self.keys {
            table
                .intern(keys, &mut self.groups)
                .map_err(|error| Error::compute("look up groups", error))?;
            Ok(table.len())
        } else {
            self.groups.clear();
            self.groups.resize(rows, 0);
            Ok(1)
        }
    }

    /// Turns the groups into rows of keys and aggregation states, to be merged later.
    pub(super) fn seal(mut self, grouping: &Grouping) -> Result<RecordBatch> {
        let (mut columns, groups) = self.emit_keys()?;
        for (accumulator, aggregate) in self.accumulators.iter_mut().zip(&grouping.aggregates) {
            let state = accumulator.state(EmitTo::All).map_err(|error| aggregate.failed(error))?;
            columns.extend(state);
        }
        part(columns, groups)
    }

    /// Turns the groups into columns of keys and results; returns their number as well.
    pub(super) fn finish(mut self, grouping: &Grouping) -> Result<(Vec<ArrayRef>, usize)> {
        let (mut columns, groups) = self.emit_keys()?;
        for (accumulator, aggregate) in self.accumulators.iter_mut().zip(&grouping.aggregates) {
            let result =
                accumulator.evaluate(EmitTo::All).map_err(|error| aggregate.failed(error))?;
            columns.push(result);
        }
        Ok((columns, groups))
    }

    fn emit_keys(&mut self) -> Result<(Vec<ArrayRef>, usize)> {
        let Some(table) = &mut self.keys else { return Ok((Vec::new(), 1)) };
        let groups = table.len();
        let keys = table.emit(EmitTo::All).map_err(|error| Error::compute("read groups", error))?;
        Ok((keys, groups))
    }

    /// Returns an estimate of the bytes that it holds.
    pub(super) fn memory_bytes(&self) -> usize {
        let accumulators: usize =
            self.accumulators.iter().map(|accumulator| accumulator.size()).sum();
        accumulators + self.keys.as_ref().map_or(0, |keys| keys.size())
    }
}

/// Puts columns without names together.
pub(super) fn part(columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let fields: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| Field::new(format!("c{index}"), column.data_type().clone(), true))
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|error| Error::compute("put states together", error))
}
