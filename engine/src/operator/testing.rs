//! Operators under test: batches written as text, one row a line.
//!
//! A schema is `name:type …` with the types int, float, text, bool, ts (milliseconds) and dec
//! (two decimals). A row is `+` or `-` and a cell per column, separated by blanks; `~` is null.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int8Array, Int64Array,
    RecordBatch, RecordBatchOptions, StringViewArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMillisecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::prelude::SessionContext;

use super::{Operator, OperatorContext, Output, build};
use crate::OperatorId;
use crate::batch::Batch;
use crate::graph::{AggregateCall, OperatorNode, OperatorSpec};
use crate::hash::{hash_columns, key_group, key_groups_of};
use crate::state::{StateReader, StateTable, StateWriter};
use crate::time::{TimestampMs, Watermark};

const KEY_GROUPS: u16 = 16;

/// Returns the schema that a text describes; all columns are nullable.
pub(crate) fn schema(text: &str) -> SchemaRef {
    let field = |text: &str| {
        let (name, kind) = text.split_once(':').expect("a column is name:type");
        let kind = match kind {
            "int" => DataType::Int64,
            "float" => DataType::Float64,
            "text" => DataType::Utf8View,
            "bool" => DataType::Boolean,
            "ts" => DataType::Timestamp(TimeUnit::Millisecond, None),
            "dec" => DataType::Decimal128(10, 2),
            other => panic!("no test type {other}"),
        };
        Field::new(name, kind, true)
    };
    Arc::new(Schema::new(text.split_whitespace().map(field).collect::<Vec<_>>()))
}

/// Returns the batch that a text describes; without weights where it has no `-` row.
pub(crate) fn batch(schema: &SchemaRef, text: &str) -> Batch {
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|cells| !cells.is_empty())
        .collect();
    let columns = schema.fields().iter().enumerate().map(|(index, field)| {
        let cells = lines.iter().map(|cells| Some(cells[index + 1]).filter(|cell| *cell != "~"));
        column(field.data_type(), cells.collect())
    });
    let options = RecordBatchOptions::new().with_row_count(Some(lines.len()));
    let rows =
        RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect(), &options).unwrap();
    let weights: Vec<i8> = lines.iter().map(|cells| if cells[0] == "-" { -1 } else { 1 }).collect();
    if weights.contains(&-1) {
        Batch::changes(rows, Int8Array::from(weights)).unwrap()
    } else {
        Batch::insert(rows)
    }
}

fn column(kind: &DataType, cells: Vec<Option<&str>>) -> ArrayRef {
    let cells = cells.into_iter();
    let integer = |cell: &str| cell.parse::<i64>().expect("an integer");
    match kind {
        DataType::Int64 => Arc::new(cells.map(|cell| cell.map(integer)).collect::<Int64Array>()),
        DataType::Float64 => {
            let cells = cells.map(|cell| cell.map(|cell| cell.parse::<f64>().expect("a float")));
            Arc::new(cells.collect::<Float64Array>())
        }
        DataType::Utf8View => Arc::new(cells.collect::<StringViewArray>()),
        DataType::Boolean => {
            Arc::new(cells.map(|cell| cell.map(|cell| cell == "true")).collect::<BooleanArray>())
        }
        DataType::Timestamp(..) => {
            Arc::new(cells.map(|cell| cell.map(integer)).collect::<TimestampMillisecondArray>())
        }
        _ => {
            let cents = |cell: &str| i128::from(integer(&cell.replace('.', "")));
            let cells: Decimal128Array = cells.map(|cell| cell.map(cents)).collect();
            Arc::new(cells.with_data_type(kind.clone()))
        }
    }
}

/// Returns a batch as text, one line per row; timestamps in milliseconds.
pub(crate) fn text(batch: &Batch) -> Vec<String> {
    let options = FormatOptions::default().with_null("~");
    let columns = batch.rows().columns();
    let formatters: Vec<_> =
        columns.iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    let line = |row: usize| {
        let weight = batch.weights().map_or(1, |weights| weights.value(row));
        let mut line = if weight == 1 { "+".to_owned() } else { "-".to_owned() };
        for (column, formatter) in columns.iter().zip(&formatters) {
            line.push(' ');
            match column.as_primitive_opt::<TimestampMillisecondType>() {
                Some(times) if times.is_valid(row) => {
                    write!(line, "{}", times.value(row)).unwrap();
                }
                _ => write!(line, "{}", formatter.value(row)).unwrap(),
            }
        }
        line
    };
    (0..batch.num_rows()).map(line).collect()
}

/// Returns the surroundings of one of several subtasks.
pub(crate) fn context(subtask: usize, parallelism: usize) -> OperatorContext {
    OperatorContext {
        subtask,
        parallelism,
        key_groups: key_groups_of(subtask, parallelism, KEY_GROUPS),
        key_group_count: KEY_GROUPS,
        state_ttl: None,
    }
}

/// Returns the first integer whose rows a subtask gets where they are divided by it.
pub(crate) fn own_key(subtask: usize, parallelism: usize) -> i64 {
    let keys = Int64Array::from_iter_values(0..1000);
    let mut hashes = Vec::new();
    hash_columns(&[Arc::new(keys)], &mut hashes).unwrap();
    let own = key_groups_of(subtask, parallelism, KEY_GROUPS);
    let is_own = |hash: &u64| own.contains(&key_group(*hash, KEY_GROUPS));
    hashes.iter().position(is_own).expect("every subtask has one of a thousand keys") as i64
}

/// An operator with what goes in and what has come out.
pub(crate) struct Harness {
    node: OperatorNode,
    context: OperatorContext,
    operator: Box<dyn Operator>,
    output: Output,
    now: TimestampMs,
}

impl Harness {
    /// Builds an operator over inputs and for an output of these columns, as the only subtask.
    pub(crate) fn new(spec: OperatorSpec, inputs: &[&str], output: &str) -> Self {
        let inputs = inputs.iter().map(|columns| schema(columns)).collect();
        let node = OperatorNode { id: OperatorId(1), spec, inputs, output: schema(output) };
        Self::of_node(node, 0, 1)
    }

    /// Builds an operator as one of several subtasks.
    pub(crate) fn of_node(node: OperatorNode, subtask: usize, parallelism: usize) -> Self {
        Self::built(node, context(subtask, parallelism))
    }

    /// Builds an operator whose state is dropped when it is unused for a time.
    pub(crate) fn with_state_ttl(
        spec: OperatorSpec,
        input: &str,
        output: &str,
        ttl_ms: u64,
    ) -> Self {
        let (inputs, output) = (vec![schema(input)], schema(output));
        let node = OperatorNode { id: OperatorId(1), spec, inputs, output };
        let state_ttl = Some(Duration::from_millis(ttl_ms));
        Self::built(node, OperatorContext { state_ttl, ..context(0, 1) })
    }

    fn built(node: OperatorNode, context: OperatorContext) -> Self {
        let operator = build(&node, &context).unwrap();
        Self { node, context, operator, output: Output::default(), now: 0 }
    }

    /// Gives rows to port 0.
    pub(crate) fn rows(&mut self, rows: &str) {
        self.rows_at(0, rows);
    }

    /// Gives rows to a port.
    pub(crate) fn rows_at(&mut self, port: usize, rows: &str) {
        let batch = batch(&self.node.inputs[port], rows);
        self.batch_at(port, batch);
    }

    /// Gives a batch to a port.
    pub(crate) fn batch_at(&mut self, port: usize, batch: Batch) {
        self.operator.process(port, batch, self.now, &mut self.output).unwrap();
    }

    /// Raises the watermark and returns the output's.
    pub(crate) fn watermark(&mut self, watermark: TimestampMs) -> TimestampMs {
        self.operator.watermark(Watermark(watermark), &mut self.output).unwrap().0
    }

    /// Sets the processing time and fires the timers that are due; returns the output's watermark
    /// where that follows from the clock.
    pub(crate) fn time(&mut self, now: TimestampMs) -> Option<TimestampMs> {
        self.now = now;
        if self.operator.next_timer().is_none_or(|timer| timer > now) {
            return None;
        }
        let watermark = self.operator.processing_time(now, &mut self.output).unwrap();
        watermark.map(|watermark| watermark.0)
    }

    /// Ends a port: the last one with the greatest watermark before and a flush after it.
    pub(crate) fn end(&mut self, port: usize) {
        if port + 1 == self.node.inputs.len() {
            self.watermark(TimestampMs::MAX);
        }
        self.operator.end(port, &mut self.output).unwrap();
        if port + 1 == self.node.inputs.len() {
            self.flush();
        }
    }

    /// Flushes the operator.
    pub(crate) fn flush(&mut self) {
        self.operator.flush(&mut self.output).unwrap();
    }

    /// Returns the operator.
    pub(crate) fn operator(&mut self) -> &mut dyn Operator {
        self.operator.as_mut()
    }

    /// Flushes, as before a barrier, and returns the state.
    pub(crate) fn snapshot(&mut self) -> Vec<StateTable> {
        self.flush();
        let mut writer = StateWriter::default();
        self.operator.snapshot(&mut writer).unwrap();
        writer.finish()
    }

    /// Builds the operator anew at a parallelism, with the state of all subtasks before.
    pub(crate) fn restored(
        &self,
        state: &[StateTable],
        subtask: usize,
        parallelism: usize,
    ) -> Self {
        let state_ttl = self.context.state_ttl;
        let context = OperatorContext { state_ttl, ..context(subtask, parallelism) };
        let mut harness = Self::built(self.node.clone(), context);
        harness.now = self.now;
        let key_groups = key_groups_of(subtask, parallelism, KEY_GROUPS);
        let reader = StateReader::new(state.to_vec(), key_groups);
        harness.operator.restore(&reader).unwrap();
        harness
    }

    /// Takes the batches that have come out.
    pub(crate) fn batches(&mut self) -> Vec<Batch> {
        let batches: Vec<Batch> = self.output.drain().collect();
        for batch in &batches {
            assert_eq!(batch.schema(), self.node.output);
        }
        batches
    }

    /// Takes the lines that have come out, in order.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        self.batches().iter().flat_map(text).collect()
    }

    /// Takes what has come out and compares it, whatever the order.
    #[track_caller]
    pub(crate) fn expect(&mut self, rows: &str) {
        let mut found = self.lines();
        found.sort();
        let mut expected: Vec<String> = rows
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .filter(|line| !line.is_empty())
            .collect();
        expected.sort();
        assert_eq!(found, expected);
    }
}

/// Returns a call of an aggregate function on columns, each with its name and index.
pub(crate) fn call(
    output: &str,
    function: Arc<AggregateUDF>,
    args: &[(&str, usize)],
) -> AggregateCall {
    let column = |(name, index): &(&str, usize)| -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new(name, *index))
    };
    AggregateCall {
        function,
        args: args.iter().map(column).collect(),
        filter: None,
        distinct: false,
        order_by: vec![],
        ignore_nulls: false,
        output: Arc::new(schema(output).field(0).clone()),
    }
}

/// Returns the rows that a text describes, whatever their weights.
pub(crate) fn table(columns: &str, rows: &str) -> RecordBatch {
    batch(&schema(columns), rows).into_parts().0
}

/// Returns the lines that DataFusion's batch engine answers to a query of the table `input`.
pub(crate) fn oracle(input: &RecordBatch, sql: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let found = runtime.block_on(async {
        let context = SessionContext::new();
        context.register_batch("input", input.clone()).unwrap();
        context.sql(sql).await.unwrap().collect().await.unwrap()
    });
    found.into_iter().map(Batch::insert).flat_map(|batch| text(&batch)).collect()
}
