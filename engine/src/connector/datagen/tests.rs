use std::collections::BTreeSet;

use arrow::array::{Array, AsArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimeUnit};

use super::*;
use crate::OperatorId;
use crate::storage::Storage;
use crate::time::{Clock, SimulatedClock};

const START_MS: i64 = 1_704_067_200_000;

fn schema() -> SchemaRef {
    let inner = vec![
        Field::new("flag", DataType::Boolean, true),
        Field::new("step", DataType::Int16, true),
    ];
    let fields = [
        ("id", DataType::Int64),
        ("word", DataType::Utf8View),
        ("small", DataType::Int32),
        ("share", DataType::Float64),
        ("cost", DataType::Decimal128(10, 2)),
        ("day", DataType::Date32),
        ("clock", DataType::Time32(TimeUnit::Second)),
        ("at", DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("zoned", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        ("bytes", DataType::Binary),
        ("nested", DataType::Struct(inner.into())),
        ("list", DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true)))),
        ("map", map_of(DataType::Boolean, DataType::Int16)),
    ];
    let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
    Arc::new(Schema::new(fields.to_vec()))
}

fn map_of(key: DataType, value: DataType) -> DataType {
    let pair = vec![Field::new("key", key, false), Field::new("value", value, true)];
    let entries = Field::new("entries", DataType::Struct(pair.into()), false);
    DataType::Map(Arc::new(entries), false)
}

fn spec(options: &[(&str, &str)]) -> SourceSpec {
    SourceSpec {
        id: OperatorId(0),
        table: "t".into(),
        connector: "datagen".into(),
        options: options.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        table_schema: schema(),
        schema: schema(),
        filters: vec![],
        limit: None,
        prepare: vec![],
        watermark: None,
        query: None,
    }
}

/// Reads all splits to their end on a clock that is advanced as asked for; returns the rows and
/// how long it took.
async fn read(spec: &SourceSpec, parallelism: usize) -> (RecordBatch, i64) {
    let clock = Arc::new(SimulatedClock::new(START_MS));
    let context = ConnectorContext { storage: Storage::default(), clock: clock.clone() };
    let source = DatagenSource::new(spec, &context).unwrap();
    let mut batches = vec![];
    for split in source.splits(parallelism).await.unwrap() {
        let mut reader = source.open(&split).await.unwrap();
        loop {
            match reader.read().await.unwrap() {
                Read::Rows(rows) => batches.push(rows),
                Read::NotBefore(time) => clock.advance_to(time),
                Read::End => break,
            }
        }
    }
    let rows = concat_batches(&spec.schema, &batches).unwrap();
    (rows, clock.now_ms() - START_MS)
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> &'a dyn Array {
    rows.column_by_name(name).unwrap().as_ref()
}

#[tokio::test]
async fn values_keep_to_their_options() {
    let options = [
        ("number-of-rows", "5000"),
        ("fields.small.min", "-3"),
        ("fields.small.max", "4"),
        ("fields.word.length", "5"),
        ("fields.share.min", "0"),
        ("fields.share.max", "1"),
        ("fields.cost.min", "1.50"),
        ("fields.cost.max", "2"),
        ("fields.at.max-past", "1 h"),
        ("fields.bytes.length", "3"),
        ("fields.bytes.null-rate", "0.25"),
        ("fields.nested.step.min", "7"),
        ("fields.nested.step.max", "7"),
    ];
    let (rows, _) = read(&spec(&options), 1).await;
    let small: BTreeSet<_> =
        column(&rows, "small").as_primitive::<Int32Type>().iter().flatten().collect();
    assert_eq!(small.into_iter().collect::<Vec<_>>(), (-3..=4).collect::<Vec<_>>());
    assert!(column(&rows, "word").as_string_view().iter().flatten().all(|word| word.len() == 5));
    let nulls = column(&rows, "bytes").null_count();
    assert!((1100..1400).contains(&nulls), "{nulls}");
    let share = arrow::compute::cast(column(&rows, "cost"), &DataType::Float64).unwrap();
    let costs = share.as_primitive::<arrow::datatypes::Float64Type>();
    assert!(costs.values().iter().all(|cost| (1.5..=2.0).contains(cost)));
    let at = arrow::compute::cast(column(&rows, "at"), &DataType::Int64).unwrap();
    let at = at.as_primitive::<Int64Type>();
    let window = START_MS - 3_600_000..=START_MS + 1000;
    assert!(at.values().iter().all(|at| window.contains(at)));
    let steps = column(&rows, "nested").as_struct().column(1).clone();
    assert!(steps.as_primitive::<arrow::datatypes::Int16Type>().values().iter().all(|s| *s == 7));
}

#[tokio::test]
async fn lengths_vary_where_they_are_told_to() {
    let options = [
        ("number-of-rows", "2000"),
        ("fields.word.length", "4"),
        ("fields.word.var-len", "true"),
        ("fields.bytes.length", "2"),
        ("fields.bytes.var-len", "false"),
    ];
    let (rows, _) = read(&spec(&options), 1).await;
    let words = column(&rows, "word").as_string_view().iter().flatten();
    let lengths: BTreeSet<_> = words.map(str::len).collect();
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
    let bytes = column(&rows, "bytes").as_binary::<i32>().iter().flatten();
    assert!(bytes.into_iter().all(|bytes| bytes.len() == 2));
}

#[tokio::test]
async fn arrays_and_maps_have_options_of_their_entries() {
    let options = [
        ("number-of-rows", "1000"),
        ("fields.list.length", "2"),
        ("fields.list.null-rate", "0.5"),
        ("fields.list.element.min", "5"),
        ("fields.list.element.max", "6"),
        ("fields.map.value.min", "7"),
        ("fields.map.value.max", "7"),
    ];
    let (rows, _) = read(&spec(&options), 1).await;
    let lists = column(&rows, "list").as_list::<i32>();
    assert!((400..600).contains(&lists.null_count()));
    assert!(lists.iter().flatten().all(|list| list.len() == 2));
    let elements: BTreeSet<_> =
        lists.values().as_primitive::<Int32Type>().iter().flatten().collect();
    assert_eq!(elements.into_iter().collect::<Vec<_>>(), [5, 6]);
    // Three entries, but only two keys that differ.
    let maps = column(&rows, "map").as_map();
    let lengths: BTreeSet<_> = maps.iter().flatten().map(|map| map.len()).collect();
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn the_shortest_sequence_ends_the_table() {
    let options = [
        ("fields.id.kind", "sequence"),
        ("fields.id.start", "10"),
        ("fields.id.end", "1009"),
        ("number-of-rows", "2000"),
    ];
    let (rows, _) = read(&spec(&options), 3).await;
    let mut ids = column(&rows, "id").as_primitive::<Int64Type>().values().to_vec();
    ids.sort_unstable();
    assert_eq!(ids, (10..=1009).collect::<Vec<_>>());
}

#[tokio::test]
async fn rows_come_at_the_pace_that_is_asked_for() {
    let options = [("number-of-rows", "200"), ("rows-per-second", "100")];
    let (rows, elapsed_ms) = read(&spec(&options), 1).await;
    assert_eq!((rows.num_rows(), elapsed_ms), (200, 1990));
}

#[tokio::test]
async fn a_column_is_the_same_read_alone() {
    let options = [("number-of-rows", "300"), ("seed", "5")];
    let whole = spec(&options);
    let (all, _) = read(&whole, 1).await;
    let inner = Field::new("step", DataType::Int16, true);
    let narrowed = Field::new("nested", DataType::Struct(vec![inner].into()), true);
    let word = Field::new("word", DataType::Utf8View, true);
    let schema = Arc::new(Schema::new(vec![word, narrowed]));
    let (some, _) = read(&SourceSpec { schema, ..whole }, 1).await;
    assert_eq!(column(&some, "word"), column(&all, "word"));
    let nested = column(&all, "nested").as_struct();
    assert_eq!(column(&some, "nested").as_struct().column(0), nested.column(1));
}

#[test]
fn wrong_options_are_refused_by_name() {
    let clock = Arc::new(SimulatedClock::new(0));
    let context = ConnectorContext { storage: Storage::default(), clock };
    for (key, value) in [
        ("rows-per-minute", "5"),
        ("rows-per-second", "0"),
        ("number-of-rows", "many"),
        ("fields.nothing.min", "5"),
        ("fields.small.min", "3000000000"),
        ("fields.id.kind", "serial"),
        ("fields.day.kind", "sequence"),
        ("fields.list.kind", "sequence"),
        ("fields.small.var-len", "true"),
        ("fields.word.var-len", "often"),
        ("fields.word.null-rate", "2"),
        ("fields.at.max-past", "long"),
    ] {
        let error = DatagenSource::new(&spec(&[(key, value)]), &context).unwrap_err();
        assert!(error.to_string().contains(&format!("'{key}'")), "{error}");
    }
    let missing = [("fields.id.kind", "sequence"), ("fields.id.start", "1")];
    let error = DatagenSource::new(&spec(&missing), &context).unwrap_err();
    assert!(error.to_string().contains("'fields.id.end' is missing"), "{error}");
}
