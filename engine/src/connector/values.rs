//! The source `values`: rows that are written in the table's definition, for demonstrations and
//! for tests, which see with it what a query has emitted before its input ends.
//!
//! Rows are JSON lines; blank lines divide them into batches, which come at a pace. After the last
//! of them the table may stay open for a while or for ever.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use super::counted::{option, wrong_option};
use super::{ConnectorContext, Read, Source, Split, SplitReader};
use crate::format::{JsonDecoder, RowDecoder};
use crate::graph::SourceSpec;
use crate::held::held_bytes;
use crate::time::{ClockRef, TimestampMs};
use crate::{Error, Result};

/// The options of the connector.
pub const OPTIONS: &[&str] =
    &["rows", "bounded", "first-batch-after-ms", "batch-interval-ms", "stays-open-ms"];

/// Hands out the rows of a table's definition.
#[derive(Debug)]
pub struct ValuesSource {
    batches: Vec<RecordBatch>,
    bounded: bool,
    pace: Pace,
    clock: ClockRef,
}

/// When batches come.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "units come last")]
struct Pace {
    /// Until the first batch.
    first_ms: i64,
    /// Between two batches.
    interval_ms: i64,
    /// How long the table stays open after its last batch; `None` for ever.
    open_ms: Option<i64>,
}

impl ValuesSource {
    /// Makes the source of the columns in `spec.schema`.
    ///
    /// # Errors
    /// `Invalid` where an option is wrong, `MalformedRow` where a row is.
    pub fn new(spec: &SourceSpec, context: &ConnectorContext) -> Result<Self> {
        if let Some(filter) = spec.filters.first() {
            return Err(Error::Invalid(format!(
                "connector 'values' does not enforce the filter {filter}"
            )));
        }
        let options = &spec.options;
        let rows = options.get("rows").ok_or_else(|| {
            Error::Invalid("connector 'values' needs the option 'rows'".to_owned())
        })?;
        let bounded = option(options, "bounded", "true or false")?.unwrap_or(true);
        let ends_at_once = bounded.then_some(0);
        let pace = Pace {
            first_ms: milliseconds(options, "first-batch-after-ms")?.unwrap_or(0),
            interval_ms: milliseconds(options, "batch-interval-ms")?.unwrap_or(0),
            open_ms: milliseconds(options, "stays-open-ms")?.or(ends_at_once),
        };
        let batches = decode(rows, &spec.table, &spec.schema)?;
        Ok(Self { batches, bounded, pace, clock: context.clock.clone() })
    }
}

fn milliseconds(options: &BTreeMap<String, String>, key: &str) -> Result<Option<i64>> {
    const EXPECTED: &str = "a number of milliseconds";
    match option::<i64>(options, key, EXPECTED)? {
        Some(negative) if negative < 0 => Err(wrong_option(key, negative, EXPECTED)),
        number => Ok(number),
    }
}

fn decode(rows: &str, table: &str, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    let mut decoder = JsonDecoder::new(schema, 1);
    let mut lines = rows.lines().peekable();
    while let Some(line) = lines.next() {
        decoder.push(line.as_bytes());
        decoder.push(b"\n");
        let divides = line.trim().is_empty() || lines.peek().is_none();
        if !divides && !decoder.is_full() {
            continue;
        }
        let decoded = decoder.take()?;
        if let Some(malformed) = decoded.malformed.first() {
            return Err(Error::MalformedRow {
                location: format!("table '{table}', line {} of its rows", malformed.line),
                reason: malformed.reason.clone(),
            });
        }
        if decoded.rows.num_rows() > 0 {
            batches.push(decoded.rows);
        }
    }
    Ok(batches)
}

#[async_trait]
impl Source for ValuesSource {
    fn bounded(&self) -> bool {
        self.bounded
    }

    async fn splits(&self, _parallelism: usize) -> Result<Vec<Split>> {
        Ok(vec![Split { id: "0".to_owned(), position: "0".to_owned() }])
    }

    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>> {
        let next = split.position.parse().map_err(|_| Error::Restore {
            what: format!("source position {}", split.position),
            reason: "it is not the number of a batch".to_owned(),
        })?;
        let Self { batches, pace, clock, .. } = self;
        let (batches, clock) = (batches.clone(), clock.clone());
        let held_bytes = batches.iter().map(held_bytes).sum();
        let (pace, first, started) = (*pace, next, None);
        Ok(Box::new(ValuesReader { batches, pace, held_bytes, first, next, started, clock }))
    }
}

/// Hands out the batches from number `first` on.
struct ValuesReader {
    batches: Vec<RecordBatch>,
    pace: Pace,
    held_bytes: usize,
    first: usize,
    next: usize,
    started: Option<TimestampMs>,
    clock: ClockRef,
}

impl ValuesReader {
    /// Returns when a batch is due, counted from those that have been handed out before.
    fn time_of(&self, batch: usize, started: TimestampMs) -> TimestampMs {
        let waits = batch.saturating_sub(self.first) as i64;
        started + self.pace.first_ms + waits * self.pace.interval_ms
    }
}

#[async_trait]
impl SplitReader for ValuesReader {
    async fn read(&mut self) -> Result<Read> {
        let now = self.clock.now_ms();
        let started = *self.started.get_or_insert(now);
        let Some(rows) = self.batches.get(self.next) else {
            let last = self.time_of(self.next.saturating_sub(1), started);
            let ends_at = self.pace.open_ms.map_or(TimestampMs::MAX, |open_ms| last + open_ms);
            return Ok(if now < ends_at { Read::NotBefore(ends_at) } else { Read::End });
        };
        let due = self.time_of(self.next, started);
        if now < due {
            return Ok(Read::NotBefore(due));
        }
        self.next += 1;
        Ok(Read::Rows(rows.clone()))
    }

    fn position(&self) -> String {
        self.next.to_string()
    }

    fn skipped_rows(&self) -> u64 {
        0
    }

    fn memory_bytes(&self) -> usize {
        self.held_bytes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::OperatorId;
    use crate::storage::Storage;
    use crate::time::SimulatedClock;

    fn source(options: &[(&str, &str)], clock: &Arc<SimulatedClock>) -> Result<ValuesSource> {
        let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]));
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let spec = SourceSpec {
            id: OperatorId(1),
            table: "t".to_owned(),
            connector: "values".to_owned(),
            options: options.iter().map(own).collect(),
            table_schema: Arc::clone(&schema),
            schema,
            filters: Vec::new(),
            limit: None,
            prepare: Vec::new(),
            watermark: None,
            query: None,
        };
        let storage = Storage::default();
        ValuesSource::new(&spec, &ConnectorContext { storage, clock: Arc::clone(clock) as _ })
    }

    async fn reader(source: &ValuesSource) -> Box<dyn SplitReader> {
        let splits = source.splits(2).await.expect("one split");
        source.open(&splits[0]).await.expect("a reader")
    }

    async fn read(reader: &mut Box<dyn SplitReader>) -> String {
        match reader.read().await.expect("rows") {
            Read::Rows(rows) => format!("{} rows", rows.num_rows()),
            other => format!("{other:?}"),
        }
    }

    const THREE: &str = "{\"k\": 1}\n{\"k\": null}\n\n{\"k\": 3}";

    #[tokio::test]
    async fn batches_come_at_their_pace_and_the_end_waits() {
        let clock = Arc::new(SimulatedClock::new(100));
        let options = [
            ("rows", THREE),
            ("first-batch-after-ms", "5"),
            ("batch-interval-ms", "10"),
            ("stays-open-ms", "1000"),
        ];
        let mut reader = reader(&source(&options, &clock).expect("a source")).await;
        assert_eq!(read(&mut reader).await, "NotBefore(105)");
        clock.advance_to(105);
        assert_eq!(read(&mut reader).await, "2 rows");
        assert_eq!(read(&mut reader).await, "NotBefore(115)");
        clock.advance_to(115);
        assert_eq!(read(&mut reader).await, "1 rows");
        assert_eq!(reader.position(), "2");
        assert_eq!(read(&mut reader).await, "NotBefore(1115)");
        clock.advance_to(1115);
        assert_eq!(read(&mut reader).await, "End");
    }

    #[tokio::test]
    async fn an_endless_table_never_ends_and_others_end_at_once() {
        let clock = Arc::new(SimulatedClock::new(0));
        for (bounded, last) in [("true", "End"), ("false", "NotBefore(9223372036854775807)")] {
            let source = source(&[("rows", THREE), ("bounded", bounded)], &clock);
            let mut reader = reader(&source.expect("a source")).await;
            let found = [read(&mut reader).await, read(&mut reader).await, read(&mut reader).await];
            assert_eq!(found, ["2 rows", "1 rows", last]);
        }
    }

    #[test]
    fn malformed_rows_are_named() {
        let clock = Arc::new(SimulatedClock::new(0));
        let error = source(&[("rows", "{\"k\": 1}\n{\"k\": \"x\"}")], &clock).expect_err("a text");
        assert!(error.to_string().contains("table 't', line 2 of its rows"), "{error}");
    }
}
