//! The source `datagen`: random or counted values for every column, with the options of Flink's.
//!
//! Row n is a function of n and the seed, but for times, which are taken from the clock.

mod column;
mod options;
#[cfg(test)]
mod tests;
mod values;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use std::sync::Arc;

use self::column::Column;
use self::options::Options;
use super::counted::{Counter, Next, Pace, Share, block_size};
use super::{ConnectorContext, Read, Source, Split, SplitReader};
use crate::batch::TARGET_BATCH_ROWS;
use crate::graph::SourceSpec;
use crate::time::ClockRef;
use crate::{Error, Result};

/// The options of the connector beside those of its columns.
pub const OPTIONS: &[&str] = &["rows-per-second", "number-of-rows", "seed"];
/// What the options of a column begin with, as in `fields.price.min`.
pub const FIELD_OPTIONS_PREFIX: &str = "fields.";

/// Generates the rows of a table.
#[derive(Debug)]
pub struct DatagenSource {
    schema: SchemaRef,
    columns: Vec<Column>,
    rows_per_second: u64,
    rows: Option<u64>,
    limit: Option<u64>,
    clock: ClockRef,
}

impl DatagenSource {
    /// Makes the source of the columns in `spec.schema`.
    ///
    /// # Errors
    /// `Invalid` where an option is unknown or wrong, or a column has a type that is not
    /// generated.
    pub fn new(spec: &SourceSpec, context: &ConnectorContext) -> Result<Self> {
        if let Some(filter) = spec.filters.first() {
            return Err(Error::Invalid(format!(
                "connector 'datagen' does not enforce the filter {filter}"
            )));
        }
        let mut options = Options::new(&spec.options);
        let seed = options.number("seed", "a whole number of at least 0")?.unwrap_or(0);
        let rows_per_second = options.positive("rows-per-second")?.unwrap_or(10_000);
        let number_of_rows = options.number("number-of-rows", "a number of rows")?;
        // All columns are looked at, also those that are not read: the options of each have to
        // be valid, and the shortest sequence ends the table.
        let fields = spec.table_schema.fields();
        let columns = column::plan(fields, "", seed, &mut options)?;
        options.finish()?;
        let sequences = columns.iter().filter_map(Column::rows);
        Ok(Self {
            schema: Arc::clone(&spec.schema),
            rows: sequences.chain(number_of_rows).min(),
            columns: column::narrow(&columns, spec.schema.fields())?,
            rows_per_second,
            limit: spec.limit,
            clock: context.clock.clone(),
        })
    }
}

#[async_trait]
impl Source for DatagenSource {
    fn bounded(&self) -> bool {
        self.rows.is_some()
    }

    async fn splits(&self, parallelism: usize) -> Result<Vec<Split>> {
        let block = block_size(Some(self.rows_per_second), TARGET_BATCH_ROWS as u64);
        Ok(Share::splits(parallelism, block))
    }

    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>> {
        let counter = Counter {
            share: Share::parse(&split.position)?,
            end: self.rows.unwrap_or(u64::MAX),
            pace: Some(Pace::new(self.rows_per_second, self.clock.clone())),
            stay: None,
        };
        Ok(Box::new(DatagenReader {
            counter,
            schema: Arc::clone(&self.schema),
            columns: self.columns.clone(),
            remaining: self.limit.unwrap_or(u64::MAX),
            clock: self.clock.clone(),
        }))
    }
}

/// Generates the rows of a split.
struct DatagenReader {
    counter: Counter,
    schema: SchemaRef,
    columns: Vec<Column>,
    remaining: u64,
    clock: ClockRef,
}

impl DatagenReader {
    fn generate(&self, numbers: &[u64]) -> Result<RecordBatch> {
        let now = self.clock.now_ms();
        let arrays = self.columns.iter().map(|column| column.generate(numbers, now));
        let options = RecordBatchOptions::new().with_row_count(Some(numbers.len()));
        let schema = Arc::clone(&self.schema);
        RecordBatch::try_new_with_options(schema, arrays.collect::<Result<_>>()?, &options)
            .map_err(|error| Error::compute("generate rows", error))
    }
}

#[async_trait]
impl SplitReader for DatagenReader {
    async fn read(&mut self) -> Result<Read> {
        if self.remaining == 0 {
            return Ok(Read::End);
        }
        let mut numbers = Vec::new();
        while numbers.len() < TARGET_BATCH_ROWS {
            match self.counter.next() {
                Next::Numbers(more) => numbers.extend(more),
                _ if !numbers.is_empty() => break,
                Next::NotBefore(time) => return Ok(Read::NotBefore(time)),
                Next::End => return Ok(Read::End),
            }
        }
        self.remaining = self.remaining.saturating_sub(numbers.len() as u64);
        Ok(Read::Rows(self.generate(&numbers)?))
    }

    fn position(&self) -> String {
        self.counter.share.position()
    }

    fn skipped_rows(&self) -> u64 {
        0
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}
