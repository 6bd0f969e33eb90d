//! Aggregation per key without end.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int8Array, Int64Array, RecordBatch, RecordBatchOptions,
};
use arrow::datatypes::{Int64Type, SchemaRef};

use super::aggregate::{Aggregate, conform};
use super::group_changes::{Before, Changes};
use super::group_columns::{Column, column};
use super::group_status::Groups;
use super::partial_groups::part;
use super::{Operator, OperatorContext, Output};
use crate::batch::{Batch, TARGET_BATCH_ROWS};
use crate::graph::{ChangelogMode, Emit, GroupAggregateSpec, OperatorNode};
use crate::hash::{hash_columns, key_group};
use crate::state::group_table::GroupTable;
use crate::state::{StateReader, StateWriter};
use crate::time::{TimestampMs, Watermark};
use crate::{Error, Result};

const VERSION: u16 = 2;
/// Columns of the state before the keys: the number of rows, and whether a row was emitted.
const GROUP_COLUMNS: usize = 2;
/// Groups that may have changed before what has changed is emitted without being asked for.
const DIRTY_MAX: usize = 65_536;

/// Keeps a row per key up to date: changes are gathered, and a flush takes back the rows that
/// were emitted before and emits the present ones, nothing where they are equal.
///
/// Rows may be taken back before they have come, so the number of a group's rows may be negative
/// for a while; a group has a row while its number of rows is positive. Without keys there is one
/// group that always has one. Groups unused for longer than the state's time to live are forgotten
/// without a word, as in Flink: their emitted rows stay.
///
/// Where only final rows are wanted, all groups count as changed until the input has ended. Where
/// there is nothing but keys to emit and no row is taken back, a key is emitted with its first row.
pub(super) struct GroupAggregate {
    keys: Vec<usize>,
    input: ChangelogMode,
    schema: SchemaRef,
    table: GroupTable,
    aggregates: Vec<Arc<Aggregate>>,
    columns: Vec<Box<dyn Column>>,
    groups: Groups,
    before: Before,
    emit: Emit,
    /// Whether changes are emitted; with [`Emit::Final`] not before the input has ended.
    emits: bool,
    /// Whether this subtask owns the group without a key.
    owns_keyless: bool,
    key_group_count: u16,
    hashes: Vec<u64>,
    ids: Vec<u32>,
}

impl GroupAggregate {
    /// Makes the operator.
    ///
    /// # Errors
    /// `Invalid` where an aggregate cannot take rows back that its input does, or where new keys
    /// are asked for that more than keys would follow from; `Compute` where a function does not
    /// take its arguments.
    pub(super) fn new(
        spec: &GroupAggregateSpec,
        node: &OperatorNode,
        context: &OperatorContext,
    ) -> Result<Self> {
        let only_keys = spec.aggregates.is_empty() && !spec.keys.is_empty();
        if spec.emit == Emit::First && !(only_keys && spec.input == ChangelogMode::AppendOnly) {
            let message = "new keys are emitted of insertions only, and without aggregates";
            return Err(Error::Invalid(message.to_owned()));
        }
        let input = &node.inputs[0];
        let keys: Vec<_> = spec.keys.iter().map(|key| Arc::clone(&input.fields()[*key])).collect();
        let aggregates = spec
            .aggregates
            .iter()
            .map(|call| Aggregate::new(call, input).map(Arc::new))
            .collect::<Result<Vec<_>>>()?;
        let columns = spec
            .aggregates
            .iter()
            .zip(&aggregates)
            .map(|(call, aggregate)| column(call, aggregate, input, spec.input))
            .collect::<Result<Vec<_>>>()?;
        let emits = spec.emit != Emit::Final;
        let expires = emits && !keys.is_empty();
        let mut operator = Self {
            keys: spec.keys.clone(),
            input: spec.input,
            schema: Arc::clone(&node.output),
            table: GroupTable::new(&keys)?,
            before: Before::new(columns.len()),
            aggregates,
            columns,
            groups: Groups::new(context.state_ttl.filter(|_| expires)),
            emit: spec.emit,
            emits,
            owns_keyless: keys.is_empty() && context.key_groups.contains(&0),
            key_group_count: context.key_group_count,
            hashes: Vec::new(),
            ids: Vec::new(),
        };
        operator.grow();
        Ok(operator)
    }

    fn grow(&mut self) {
        let groups = self.table.id_bound();
        self.groups.grow(groups);
        self.columns.iter_mut().for_each(|column| column.grow(groups));
    }

    /// Finds the groups of rows with these keys: their ids are in `ids` then.
    fn find(&mut self, rows: usize, keys: &[ArrayRef]) -> Result<()> {
        hash_columns(keys, &mut self.hashes)?;
        self.table.intern(rows, keys, &self.hashes, &mut self.ids)?;
        self.grow();
        Ok(())
    }

    fn read(&mut self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        let fields = &self.schema.fields()[self.keys.len()..];
        let columns = self.columns.iter_mut().zip(fields);
        columns.map(|(column, field)| conform(column.read(ids)?, field)).collect()
    }

    /// Emits from now on: no rows come any more.
    fn input_is_over(&mut self) {
        self.emits = true;
        if self.owns_keyless && !self.groups.emitted[0] {
            self.groups.touch(&[0]);
        }
    }

    fn weights<'a>(&self, batch: &'a Batch) -> Result<Option<&'a [i8]>> {
        let weights = batch.weights().map(|weights| weights.values().as_ref());
        let retracts = weights.is_some_and(|weights: &[i8]| weights.contains(&-1));
        if retracts && self.input == ChangelogMode::AppendOnly {
            return Err(Error::Internal("GroupAggregate is told of insertions only".to_owned()));
        }
        Ok(weights.filter(|_| retracts))
    }

    fn has_row(&self, id: u32) -> bool {
        self.keys.is_empty() || self.groups.rows[id as usize] > 0
    }

    /// Emits the keys among those just found that are new.
    fn emit_new(&mut self, out: &mut Output) -> Result<()> {
        let mut new = Vec::new();
        for id in &self.ids {
            let index = *id as usize;
            self.groups.rows[index] += 1;
            if !std::mem::replace(&mut self.groups.emitted[index], true) {
                new.push(*id);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        self.emit(Changes { ids: new, columns: Vec::new(), weights: None }, out)
    }

    fn emit(&mut self, changes: Changes, out: &mut Output) -> Result<()> {
        let mut columns = self
            .table
            .keys(&changes.ids)?
            .into_iter()
            .zip(self.schema.fields())
            .map(|(column, field)| conform(column, field))
            .collect::<Result<Vec<_>>>()?;
        columns.extend(changes.columns);
        let count = changes.ids.len();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| Error::compute("put changed groups together", error))?;
        let batch = match changes.weights {
            None => Batch::insert(rows),
            Some(weights) => Batch::changes(rows, Int8Array::from(weights))?,
        };
        for first in (0..count).step_by(TARGET_BATCH_ROWS) {
            out.push(batch.slice(first, TARGET_BATCH_ROWS.min(count - first)))?;
        }
        Ok(())
    }

    /// Forgets what need not be known any more of groups that were flushed.
    fn settle(&mut self, dirty: Vec<u32>) {
        let mut empty = dirty;
        empty.retain(|id| {
            self.groups.settle(*id, self.has_row(*id));
            let without_rows = self.groups.rows[*id as usize] == 0 && !self.keys.is_empty();
            without_rows && self.columns.iter().all(|column| column.is_zero(*id))
        });
        self.free(&empty);
    }

    fn free(&mut self, ids: &[u32]) {
        if ids.is_empty() {
            return;
        }
        self.columns.iter_mut().for_each(|column| column.free(ids));
        for id in ids {
            self.table.free(*id);
        }
    }

    fn restore_groups(&mut self, rows: &RecordBatch) -> Result<()> {
        let misfit = |reason: &str| Error::Restore {
            what: "GroupAggregate".to_owned(),
            reason: reason.to_owned(),
        };
        let states: usize = self.columns.iter().map(|column| column.state_columns()).sum();
        if rows.num_columns() != GROUP_COLUMNS + self.keys.len() + states {
            return Err(misfit("the numbers of keys or aggregates differ"));
        }
        let (group, rest) = rows.columns().split_at(GROUP_COLUMNS);
        let (keys, mut states) = rest.split_at(self.keys.len());
        let counts = group[0].as_primitive_opt::<Int64Type>();
        let emitted = group[1].as_boolean_opt();
        let (Some(counts), Some(emitted)) = (counts, emitted) else {
            return Err(misfit("numbers of rows are expected"));
        };
        self.find(rows.num_rows(), keys)?;
        for (row, id) in self.ids.iter().enumerate() {
            self.groups.rows[*id as usize] = counts.value(row);
            self.groups.emitted[*id as usize] = emitted.value(row);
        }
        if !self.emits {
            let unemitted = |id: &u32| !self.groups.emitted[*id as usize];
            let unemitted = self.ids.iter().copied().filter(unemitted).collect::<Vec<_>>();
            self.groups.touch(&unemitted);
        }
        for column in &mut self.columns {
            let (state, rest) = states.split_at(column.state_columns());
            column.restore(&self.ids, state)?;
            states = rest;
        }
        Ok(())
    }
}

impl Operator for GroupAggregate {
    fn name(&self) -> &'static str {
        "GroupAggregate"
    }

    fn accepts(&self, _port: usize) -> bool {
        true
    }

    fn process(
        &mut self,
        _port: usize,
        batch: Batch,
        now: TimestampMs,
        out: &mut Output,
    ) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let weights = self.weights(&batch)?;
        let keys: Vec<ArrayRef> = self.keys.iter().map(|key| batch.column(*key).clone()).collect();
        self.find(batch.num_rows(), &keys)?;
        self.groups.use_at(&self.ids, now);
        if self.emit == Emit::First {
            return self.emit_new(out);
        }
        let emitted = self.groups.touch(&self.ids);
        if !emitted.is_empty() {
            let columns = self.read(&emitted)?;
            self.before.push(&emitted, columns);
        }
        for (row, id) in self.ids.iter().enumerate() {
            self.groups.rows[*id as usize] += weights.map_or(1, |weights| i64::from(weights[row]));
        }
        for (column, aggregate) in self.columns.iter_mut().zip(&self.aggregates) {
            let arguments = aggregate.arguments(batch.rows())?;
            let filtered = arguments.filter.map(|filter| filtered_weights(&filter, weights));
            column.update(&self.ids, &arguments.values, filtered.as_deref().or(weights))?;
        }
        if self.groups.dirty.len() > DIRTY_MAX { self.flush(out) } else { Ok(()) }
    }

    fn watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<Watermark> {
        if watermark == Watermark::MAX {
            self.input_is_over();
            self.flush(out)?;
        } else if !self.emits {
            // What is held back until the input has ended must not come behind its watermark.
            return Ok(Watermark::MIN);
        }
        Ok(watermark)
    }

    fn processing_time(
        &mut self,
        now: TimestampMs,
        _out: &mut Output,
    ) -> Result<Option<Watermark>> {
        if self.groups.next_sweep().is_some_and(|sweep| sweep <= now) {
            let expired = self.groups.sweep(&self.table.live_ids(), now);
            self.free(&expired);
        }
        Ok(None)
    }

    fn next_timer(&self) -> Option<TimestampMs> {
        self.groups.next_sweep()
    }

    fn end(&mut self, _port: usize, _out: &mut Output) -> Result<()> {
        self.input_is_over();
        Ok(())
    }

    fn flush(&mut self, out: &mut Output) -> Result<()> {
        if self.groups.dirty.is_empty() || !self.emits {
            return Ok(());
        }
        let dirty = std::mem::take(&mut self.groups.dirty);
        let before = self.before.take();
        for first in (0..before.ids().len()).step_by(TARGET_BATCH_ROWS) {
            let range = first..before.ids().len().min(first + TARGET_BATCH_ROWS);
            let ids = &before.ids()[range.clone()];
            let has_row: Vec<bool> = ids.iter().map(|id| self.has_row(*id)).collect();
            let kept = ids.iter().zip(&has_row).filter(|(_, has)| **has).map(|(id, _)| *id);
            let after = self.read(&kept.collect::<Vec<_>>())?;
            let changes = before.changes(range, &has_row, &after)?;
            self.emit(changes, out)?;
        }
        drop(before);
        let is_new = |id: &&u32| self.has_row(**id) && !self.groups.emitted[**id as usize];
        let new: Vec<u32> = dirty.iter().filter(is_new).copied().collect();
        for new in new.chunks(TARGET_BATCH_ROWS) {
            let columns = self.read(new)?;
            self.emit(Changes { ids: new.to_vec(), columns, weights: None }, out)?;
        }
        self.settle(dirty);
        Ok(())
    }

    fn is_satisfied(&self) -> bool {
        false
    }

    fn snapshot(&mut self, writer: &mut StateWriter) -> Result<()> {
        let ids = self.table.live_ids();
        let rows: Int64Array = ids.iter().map(|id| Some(self.groups.rows[*id as usize])).collect();
        let emitted: BooleanArray =
            ids.iter().map(|id| Some(self.groups.emitted[*id as usize])).collect();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(rows), Arc::new(emitted)];
        columns.extend(self.table.keys(&ids)?);
        for column in &mut self.columns {
            columns.extend(column.state(&ids)?);
        }
        let group = |id: &u32| {
            if self.keys.is_empty() {
                0
            } else {
                key_group(self.table.hash(*id), self.key_group_count)
            }
        };
        let key_groups = ids.iter().map(group).collect();
        if self.owns_keyless || !self.keys.is_empty() {
            writer.keyed("groups", VERSION, part(columns, ids.len())?, key_groups);
        }
        Ok(())
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        for rows in state.keyed("groups", VERSION)? {
            self.restore_groups(&rows)?;
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(|column| column.memory_bytes()).sum();
        self.table.memory_bytes()
            + columns
            + self.groups.memory_bytes()
            + self.before.memory_bytes()
    }

    fn late_rows(&self) -> u64 {
        0
    }

    fn untimed_rows(&self) -> u64 {
        0
    }
}

/// Returns the weights of a batch, 0 for the rows that FILTER leaves out.
fn filtered_weights(filter: &BooleanArray, weights: Option<&[i8]>) -> Vec<i8> {
    let passes = |row: usize| filter.is_valid(row) && filter.value(row);
    let weight = |row: usize| weights.map_or(1, |weights| weights[row]);
    (0..filter.len()).map(|row| if passes(row) { weight(row) } else { 0 }).collect()
}

#[cfg(test)]
mod final_rows_tests;
#[cfg(test)]
mod new_keys_tests;
#[cfg(test)]
mod tests;
