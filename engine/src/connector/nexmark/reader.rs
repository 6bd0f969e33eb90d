//! Reads a split: the numbers of its events, turned into columns.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, RecordBatchOptions, StructArray};
use arrow::datatypes::{DataType, Field, Fields, SchemaRef};
use async_trait::async_trait;

use super::Kind;
use super::config::Config;
use super::filter::{EVENT_TYPE, Kinds};
use super::generator::{Column, Generator, columns};
use super::selection::Selection;
use crate::batch::TARGET_BATCH_ROWS;
use crate::connector::counted::{Counter, Next};
use crate::connector::{Read, SplitReader};
use crate::wording::type_sql;
use crate::{Error, Result};

/// From how many blocks a batch is gathered at most when a filter leaves few rows of each: more
/// would let the source run ahead of its siblings in event time.
const BLOCKS_PER_BATCH: usize = 8;

/// What is generated for each column of a schema.
#[derive(Debug, Clone)]
pub(super) struct ColumnPlan {
    schema: SchemaRef,
    columns: Vec<Planned>,
}

#[derive(Clone)]
enum Planned {
    EventType,
    Event { kind: Kind, fields: Fields, columns: Vec<&'static Column> },
}

impl std::fmt::Debug for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::EventType => f.write_str(EVENT_TYPE),
            Self::Event { kind, columns, .. } => {
                let names = columns.iter().map(|column| column.name).collect::<Vec<_>>();
                write!(f, "{kind:?}{names:?}")
            }
        }
    }
}

impl ColumnPlan {
    /// Finds the generator of each column and struct field.
    pub(super) fn new(schema: &SchemaRef) -> Result<Self> {
        let columns = schema.fields().iter().map(|field| plan_column(field)).collect::<Result<_>>();
        Ok(Self { schema: Arc::clone(schema), columns: columns? })
    }

    /// Makes the rows of these events.
    fn generate(&self, generator: &Generator, numbers: &[u64]) -> Result<RecordBatch> {
        let arrays = self.columns.iter().map(|planned| match planned {
            Planned::EventType => {
                let kinds = numbers.iter().map(|event| Kind::of(*event) as i32);
                Ok(Arc::new(Int32Array::from_iter_values(kinds)) as ArrayRef)
            }
            Planned::Event { kind, fields, columns } => {
                let events = Selection::of(*kind, numbers);
                let leaves =
                    columns.iter().map(|column| (column.generate)(generator, &events)).collect();
                // With the length, since a struct may have been narrowed to no field at all.
                StructArray::try_new_with_length(
                    fields.clone(),
                    leaves,
                    events.nulls(),
                    numbers.len(),
                )
                .map(|events| Arc::new(events) as ArrayRef)
            }
        });
        let failed = |error| Error::compute("generate nexmark events", error);
        let arrays = arrays.collect::<Result<_, _>>().map_err(failed)?;
        let options = RecordBatchOptions::new().with_row_count(Some(numbers.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(failed)
    }
}

fn plan_column(field: &Field) -> Result<Planned> {
    let kind = match (field.name().as_str(), field.data_type()) {
        (EVENT_TYPE, DataType::Int32) => return Ok(Planned::EventType),
        ("person", DataType::Struct(fields)) => (Kind::Person, fields),
        ("auction", DataType::Struct(fields)) => (Kind::Auction, fields),
        ("bid", DataType::Struct(fields)) => (Kind::Bid, fields),
        (name, data_type) => {
            return Err(Error::Invalid(format!(
                "connector 'nexmark' has no column '{name}' of type {}, only event_type INT and \
                 the rows person, auction and bid",
                type_sql(data_type)
            )));
        }
    };
    let (kind, fields) = kind;
    let columns = fields.iter().map(|leaf| plan_leaf(kind, field.name(), leaf));
    Ok(Planned::Event { kind, fields: fields.clone(), columns: columns.collect::<Result<_>>()? })
}

fn plan_leaf(kind: Kind, parent: &str, field: &Field) -> Result<&'static Column> {
    let known = columns(kind).iter().find(|column| column.name == field.name());
    let column = known.ok_or_else(|| {
        let names = columns(kind).iter().map(|column| column.name).collect::<Vec<_>>();
        Error::Invalid(format!(
            "connector 'nexmark' has no field '{parent}.{}', only {}",
            field.name(),
            names.join(", ")
        ))
    })?;
    if column.data_type != *field.data_type() {
        return Err(Error::Invalid(format!(
            "connector 'nexmark' generates '{parent}.{}' as {}, not {}",
            field.name(),
            column.data_type,
            field.data_type()
        )));
    }
    Ok(column)
}

/// Generates the events of a split.
#[derive(Debug)]
pub(super) struct NexmarkReader {
    counter: Counter,
    generator: Generator,
    kinds: Kinds,
    plan: ColumnPlan,
    /// How many rows may still be asked for.
    remaining: u64,
    /// The numbers of a batch; kept to spare its allocation.
    numbers: Vec<u64>,
}

impl NexmarkReader {
    /// Makes a reader of the events that `counter` counts.
    pub(super) fn new(
        counter: Counter,
        config: Config,
        kinds: Kinds,
        plan: ColumnPlan,
        limit: Option<u64>,
    ) -> Self {
        let generator = Generator { config };
        let remaining = limit.unwrap_or(u64::MAX);
        Self { counter, generator, kinds, plan, remaining, numbers: Vec::new() }
    }

    /// Adds the wanted ones of the events that are handed out at these places.
    fn add(&mut self, places: Range<u64>) {
        let (kinds, config) = (self.kinds, &self.generator.config);
        let is_wanted = |event: &u64| kinds.contains(Kind::of(*event));
        match (config.group, kinds.are_all()) {
            (1, true) => self.numbers.extend(places),
            (1, false) => self.numbers.extend(places.filter(is_wanted)),
            _ => {
                let events = places.map(|place| config.event_at(place));
                self.numbers.extend(events.filter(is_wanted));
            }
        }
    }

    /// Gathers the numbers of a batch; says why there are none.
    fn gather(&mut self) -> Option<Read> {
        self.numbers.clear();
        let paced = self.counter.pace.is_some();
        let mut blocks = 0;
        loop {
            match self.counter.next() {
                Next::Numbers(events) => self.add(events),
                _ if !self.numbers.is_empty() => return None,
                Next::NotBefore(time) => return Some(Read::NotBefore(time)),
                Next::End => return Some(Read::End),
            }
            blocks += 1;
            let full = self.numbers.len() + self.counter.share.block_len() > TARGET_BATCH_ROWS;
            let enough = if paced {
                full
            } else {
                full || !self.kinds.are_rare() || blocks >= BLOCKS_PER_BATCH
            };
            if enough && !self.numbers.is_empty() {
                return None;
            }
        }
    }
}

#[async_trait]
impl SplitReader for NexmarkReader {
    async fn read(&mut self) -> Result<Read> {
        if self.remaining == 0 {
            return Ok(Read::End);
        }
        if let Some(no_rows) = self.gather() {
            return Ok(no_rows);
        }
        let rows = self.plan.generate(&self.generator, &self.numbers)?;
        self.remaining = self.remaining.saturating_sub(rows.num_rows() as u64);
        Ok(Read::Rows(rows))
    }

    fn position(&self) -> String {
        self.counter.share.position()
    }

    fn skipped_rows(&self) -> u64 {
        0
    }

    fn memory_bytes(&self) -> usize {
        self.numbers.capacity() * size_of::<u64>()
    }
}
