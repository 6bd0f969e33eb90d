use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimestampMillisecondType};
use datafusion::logical_expr::{Operator, col, lit};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column as ColumnExpr, lit as literal};

use super::generator::columns;
use super::*;
use crate::OperatorId;
use crate::connector::Read;
use crate::storage::Storage;
use crate::time::{Clock, SimulatedClock};

fn table_schema() -> Arc<Schema> {
    let row = |name, kind| {
        let fields = columns(kind)
            .iter()
            .map(|column| Field::new(column.name, column.data_type.clone(), true))
            .collect();
        Field::new(name, DataType::Struct(fields), true)
    };
    Arc::new(Schema::new(vec![
        Field::new("event_type", DataType::Int32, true),
        row("person", Kind::Person),
        row("auction", Kind::Auction),
        row("bid", Kind::Bid),
    ]))
}

fn spec(options: &[(&str, &str)]) -> SourceSpec {
    let options = options.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    SourceSpec {
        id: OperatorId(0),
        table: "nexmark".into(),
        connector: "nexmark".into(),
        options,
        table_schema: table_schema(),
        schema: table_schema(),
        filters: vec![],
        limit: None,
        prepare: vec![],
        watermark: None,
        query: None,
    }
}

fn context() -> ConnectorContext {
    ConnectorContext { storage: Storage::default(), clock: Arc::new(SimulatedClock::new(0)) }
}

/// Keeps only these fields of a struct column.
fn narrowed(column: &str, fields: &[&str]) -> Arc<Schema> {
    let schema = table_schema();
    let field = schema.field_with_name(column).unwrap();
    let DataType::Struct(all) = field.data_type() else { return schema };
    let kept = all.iter().filter(|field| fields.contains(&field.name().as_str())).cloned();
    let kept = DataType::Struct(kept.collect());
    Arc::new(Schema::new(vec![Field::new(column, kept, true)]))
}

fn only(kind: Kind) -> Arc<dyn PhysicalExpr> {
    let column = Arc::new(ColumnExpr::new("event_type", 0));
    Arc::new(BinaryExpr::new(column, Operator::Eq, literal(kind as i32)))
}

/// Reads all splits, each to its end, and puts the rows in order of their splits.
async fn read(spec: &SourceSpec, parallelism: usize) -> Vec<RecordBatch> {
    let source = NexmarkSource::new(spec, &context()).unwrap();
    let mut batches = vec![];
    for mut split in source.splits(parallelism).await.unwrap() {
        let mut reader = source.open(&split).await.unwrap();
        while let Read::Rows(rows) = reader.read().await.unwrap() {
            batches.push(rows);
            // Every batch is read by another reader that goes on from the position.
            split.position = reader.position();
            reader = source.open(&split).await.unwrap();
        }
    }
    batches
}

async fn read_one(spec: &SourceSpec) -> RecordBatch {
    concat_batches(&spec.schema, &read(spec, 1).await).unwrap()
}

fn leaf(rows: &RecordBatch, column: &str, field: &str) -> ArrayRef {
    let events = rows.column_by_name(column).unwrap().as_struct();
    Arc::clone(events.column_by_name(field).unwrap())
}

#[tokio::test]
async fn of_fifty_events_one_is_a_person_three_are_auctions_and_the_rest_bids() {
    let rows = read_one(&spec(&[("events", "100")])).await;
    let kinds = rows.column(0).as_primitive::<Int32Type>().values().to_vec();
    assert_eq!(kinds[..50], kinds[50..]);
    assert_eq!(kinds[..6], [0, 1, 1, 1, 2, 2]);
    assert!(kinds[4..50].iter().all(|kind| *kind == 2));
    for (column, kind) in [("person", 0), ("auction", 1), ("bid", 2)] {
        let events = rows.column_by_name(column).unwrap().as_struct();
        for (row, of_row) in kinds.iter().enumerate() {
            assert_eq!(events.is_valid(row), *of_row == kind);
            assert!(events.columns().iter().all(|leaf| leaf.is_valid(row) == (*of_row == kind)));
        }
    }
    let ids = leaf(&rows, "auction", "id");
    let ids: Vec<_> = ids.as_primitive::<Int64Type>().iter().flatten().collect();
    assert_eq!(ids, [1000, 1001, 1002, 1003, 1004, 1005]);
    let times = leaf(&rows, "bid", "dateTime");
    let times = times.as_primitive::<TimestampMillisecondType>();
    assert_eq!(times.value(9), 1_704_067_200_000);
    assert_eq!(times.value(10), 1_704_067_200_001);
}

#[tokio::test]
async fn events_are_the_same_whatever_the_splits() {
    let spec = spec(&[("events", "30000"), ("seed", "7")]);
    assert_eq!(read(&spec, 3).await.iter().map(RecordBatch::num_rows).sum::<usize>(), 30000);
    let whole_batch = read_one(&spec).await;
    // Blocks go to the splits in turn, so their batches put together in turn are the whole.
    let mut split_batches = read(&spec, 2).await.into_iter();
    let (first, second): (Vec<_>, Vec<_>) =
        (split_batches.by_ref().take(2).collect(), split_batches.collect());
    let dealt = [&first[0], &second[0], &first[1], &second[1]];
    let dealt = concat_batches(&spec.schema, dealt).unwrap();
    assert_eq!(whole_batch, dealt);
}

#[tokio::test]
async fn a_shuffled_group_holds_the_same_events() {
    for group in ["30", "953"] {
        let options = [("events", "2000"), ("out-of-order-group-size", group)];
        let (ordered, shuffled) = (spec(&[("events", "2000")]), spec(&options));
        let times = |rows: &RecordBatch| {
            let all = ["person", "auction", "bid"].map(|kind| {
                let times = leaf(rows, kind, "dateTime");
                times
                    .as_primitive::<TimestampMillisecondType>()
                    .iter()
                    .flatten()
                    .collect::<Vec<_>>()
            });
            all.concat()
        };
        let (mut expected, found) =
            (times(&read_one(&ordered).await), times(&read_one(&shuffled).await));
        assert_ne!(found, expected);
        let mut sorted = found;
        sorted.sort_unstable();
        expected.sort_unstable();
        assert_eq!(sorted, expected);
    }
}

#[tokio::test]
async fn a_column_read_alone_is_the_same_as_among_all() {
    let whole = spec(&[("events", "20000")]);
    let all = read_one(&whole).await;
    for (column, field) in
        [("bid", "extra"), ("bid", "bidder"), ("auction", "expires"), ("person", "creditCard")]
    {
        let alone = SourceSpec { schema: narrowed(column, &[field]), ..whole.clone() };
        assert_eq!(&leaf(&read_one(&alone).await, column, field), &leaf(&all, column, field));
    }
    let none = SourceSpec { schema: Arc::new(Schema::empty()), ..whole };
    assert_eq!(read_one(&none).await.num_rows(), 20000);
}

#[tokio::test]
async fn a_filter_on_the_type_generates_only_those_events() {
    let whole = spec(&[("events", "500000")]);
    for (column, kind, field, count) in
        [("bid", Kind::Bid, "price", 460_000), ("person", Kind::Person, "emailAddress", 10_000)]
    {
        let schema = narrowed(column, &[field]);
        let unfiltered = SourceSpec { schema, ..whole.clone() };
        let filtered = SourceSpec { filters: vec![only(kind)], ..unfiltered.clone() };
        let found = read_one(&filtered).await;
        assert_eq!(found.num_rows(), count);
        let all = leaf(&read_one(&unfiltered).await, column, field);
        let valid = arrow::compute::is_not_null(&all).unwrap();
        let expected = arrow::compute::filter(&all, &valid).unwrap();
        assert_eq!(&leaf(&found, column, field).to_data(), &expected.to_data());
    }
    let filters = vec![only(Kind::Bid), only(Kind::Auction)];
    assert!(read(&SourceSpec { filters, ..whole }, 1).await.is_empty());
}

#[test]
fn only_comparisons_of_the_type_with_an_integer_are_enforced() {
    assert!(enforces(&col("event_type").eq(lit(2))));
    assert!(enforces(&lit(2_i64).eq(col("event_type"))));
    assert!(!enforces(&col("event_type").gt(lit(2))));
    assert!(!enforces(&col("price").eq(lit(2))));
    assert!(!enforces(&col("event_type").eq(col("price"))));
}

#[test]
fn unknown_options_columns_and_types_are_refused_by_name() {
    let check = |spec: SourceSpec, part: &str| {
        let error = NexmarkSource::new(&spec, &context()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    check(spec(&[("event", "1")]), "no option 'event'");
    check(spec(&[("rate", "0")]), "option 'rate' = '0'");
    check(spec(&[("base-time", "soon")]), "option 'base-time' = 'soon'");
    let schema = |field| Arc::new(Schema::new(vec![field]));
    let wrong = Field::new("name", DataType::Int32, true);
    check(SourceSpec { schema: schema(wrong), ..spec(&[]) }, "no column 'name'");
    let row = DataType::Struct(vec![Field::new("cost", DataType::Int64, true)].into());
    let wrong = Field::new("bid", row, true);
    check(SourceSpec { schema: schema(wrong), ..spec(&[]) }, "no field 'bid.cost'");
    let row = DataType::Struct(vec![Field::new("price", DataType::Int32, true)].into());
    let wrong = Field::new("bid", row, true);
    check(SourceSpec { schema: schema(wrong), ..spec(&[]) }, "'bid.price' as Int64, not Int32");
}

#[tokio::test]
async fn a_paced_source_hands_out_rows_by_the_clock() {
    let clock = Arc::new(SimulatedClock::new(0));
    let context = ConnectorContext { storage: Storage::default(), clock: clock.clone() };
    let source = NexmarkSource::new(&spec(&[("rows-per-second", "1000")]), &context).unwrap();
    let split = &source.splits(1).await.unwrap()[0];
    let mut reader = source.open(split).await.unwrap();
    let mut rows = 0;
    for _ in 0..100 {
        match reader.read().await.unwrap() {
            Read::Rows(batch) => rows += batch.num_rows(),
            Read::NotBefore(time) => clock.advance_to(time),
            Read::End => break,
        }
    }
    let expected = clock.now_ms() as usize;
    assert!(rows.abs_diff(expected) <= 10, "{rows} rows after {expected} ms at 1000 rows/s");
}

/// Numbers that describe a column, to be compared between two generators.
#[derive(Debug, Default)]
struct Moments(BTreeMap<&'static str, f64>);

impl Moments {
    fn add(&mut self, name: &'static str, value: f64) {
        *self.0.entry(name).or_default() += value;
    }

    fn share(&mut self, name: &'static str, is: bool) {
        self.add(name, f64::from(u8::from(is)));
    }
}

const SAMPLE: usize = 1_000_000;

/// Describes bids by what distinguishes the distributions: shares of the hot values, how far the
/// others lie back, logarithms of prices, lengths of texts.
fn describe_bid(moments: &mut Moments, event: usize, bid: &nexmark::event::Bid) {
    let round = event / 50;
    let (newest_auction, newest_person) = (1000 + 3 * round + 2, 1000 + round);
    let hot_auction = bid.auction == 1000 + (3 * round + 2) / 100 * 100;
    let hot_bidder = bid.bidder == 1000 + round / 100 * 100 + 1;
    moments.share("hot auctions", hot_auction);
    moments.share("hot bidders", hot_bidder);
    if !hot_auction {
        moments.add("auctions' distance", 0.01 * (newest_auction as f64 - bid.auction as f64));
    }
    if !hot_bidder {
        moments.add("bidders' distance", 0.001 * (newest_person as f64 - bid.bidder as f64));
    }
    let digits = (bid.price as f64 / 100.0).log10();
    moments.add("price digits", digits);
    moments.add("price digits squared", digits * digits);
    moments.share("hot channels", !bid.channel.starts_with("channel-"));
    moments.share("Apple", bid.channel == "Apple");
    moments.share("channel ids", bid.url.contains("&channel_id="));
    moments.add("extra length", bid.extra.len() as f64);
    moments.add("extra length squared", (bid.extra.len() * bid.extra.len()) as f64 / 100.0);
    moments.add("letters c in extra", bid.extra.matches('c').count() as f64);
}

fn describe_auction(moments: &mut Moments, event: usize, auction: &nexmark::event::Auction) {
    let round = event / 50;
    let hot_seller = auction.seller == 1000 + round / 100 * 100;
    moments.share("hot sellers", hot_seller);
    if !hot_seller {
        moments.add("sellers' distance", 0.001 * (1000.0 + round as f64 - auction.seller as f64));
    }
    moments.add("initial bid digits", (auction.initial_bid as f64).log10());
    moments.add("reserve digits", (auction.reserve as f64).log10());
    moments.add("category", auction.category as f64);
    moments.share("category 14", auction.category == 14);
    moments.add("item name length", auction.item_name.len() as f64);
    moments.add("description length", auction.description.len() as f64);
    moments.add("extra length", auction.extra.len() as f64);
}

fn describe_person(moments: &mut Moments, person: &nexmark::event::Person) {
    moments.share("Oregon", person.state.eq_ignore_ascii_case("or"));
    moments.share("Kent", person.city.eq_ignore_ascii_case("kent"));
    moments.share("Vicky", person.name.to_lowercase().starts_with("vicky "));
    moments.share("Noris", person.name.to_lowercase().ends_with(" noris"));
    moments.add("email length", person.email_address.len() as f64);
    moments.add("credit card length", person.credit_card.len() as f64);
    moments.add("extra length", person.extra.len() as f64);
}

fn describe<'a>(events: impl Iterator<Item = (usize, &'a nexmark::event::Event)>) -> [Moments; 3] {
    use nexmark::event::Event;
    let (mut people, mut auctions, mut bids) = Default::default();
    for (number, event) in events {
        match event {
            Event::Person(person) => describe_person(&mut people, person),
            Event::Auction(auction) => describe_auction(&mut auctions, number, auction),
            Event::Bid(bid) => describe_bid(&mut bids, number, bid),
        }
    }
    [people, auctions, bids]
}

/// Turns a row of ours into an event of the crate `nexmark`.
fn event_of(rows: &RecordBatch, row: usize) -> nexmark::event::Event {
    use nexmark::event::{Auction, Bid, Event, Person};
    let column = ["person", "auction", "bid"]
        [rows.column(0).as_primitive::<Int32Type>().value(row) as usize];
    let number = |field| leaf(rows, column, field).as_primitive::<Int64Type>().value(row) as usize;
    let text = |field| leaf(rows, column, field).as_string_view().value(row).to_owned();
    let time = |field| {
        leaf(rows, column, field).as_primitive::<TimestampMillisecondType>().value(row) as u64
    };
    match column {
        "person" => Event::Person(Person {
            id: number("id"),
            name: text("name"),
            email_address: text("emailAddress"),
            credit_card: text("creditCard"),
            city: text("city"),
            state: text("state"),
            date_time: time("dateTime"),
            extra: text("extra"),
        }),
        "auction" => Event::Auction(Auction {
            id: number("id"),
            item_name: text("itemName"),
            description: text("description"),
            initial_bid: number("initialBid"),
            reserve: number("reserve"),
            date_time: time("dateTime"),
            expires: time("expires"),
            seller: number("seller"),
            category: number("category"),
            extra: text("extra"),
        }),
        _ => Event::Bid(Bid {
            auction: number("auction"),
            bidder: number("bidder"),
            price: number("price"),
            channel: text("channel"),
            url: text("url"),
            date_time: time("dateTime"),
            extra: text("extra"),
        }),
    }
}

#[tokio::test]
async fn moments_and_frequencies_are_those_of_the_crate_nexmark() {
    // Every seventh event, which takes all places in a round in turn.
    let numbers = (0..SAMPLE).step_by(7);
    let config = nexmark::config::NexmarkConfig {
        base_time: 1_704_067_200_000,
        ..nexmark::config::NexmarkConfig::default()
    };
    let theirs = nexmark::EventGenerator::new(config).with_step(7);
    let theirs: Vec<_> = numbers.clone().zip(theirs).collect();
    let spec = spec(&[("events", &SAMPLE.to_string())]);
    let mut ours = vec![];
    let mut first = 0;
    for rows in read(&spec, 1).await {
        let next = first + rows.num_rows();
        let numbers = (first..next).filter(|number| number % 7 == 0);
        ours.extend(numbers.map(|number| (number, event_of(&rows, number - first))));
        first = next;
    }
    assert_eq!(ours.len(), theirs.len());
    for ((_, ours), (_, theirs)) in ours.iter().zip(&theirs) {
        assert_eq!(ours.event_type(), theirs.event_type());
        // Theirs are rounded from single precision, ours down from integers.
        assert!(ours.timestamp().abs_diff(theirs.timestamp()) <= 10);
    }
    let ours = describe(ours.iter().map(|(number, event)| (*number, event)));
    let theirs = describe(theirs.iter().map(|(number, event)| (*number, event)));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        for (name, theirs) in &theirs.0 {
            let ours = ours.0[name];
            // Counts of rare things scatter by their square root.
            let allowed = 0.01 * theirs + 5.0 * theirs.sqrt();
            assert!((ours - theirs).abs() <= allowed, "{name}: ours {ours}, theirs {theirs}");
        }
    }
}

#[tokio::test]
async fn auctions_stay_open_about_as_long_as_a_hundred_younger_ones_take() {
    let rows = read_one(&SourceSpec {
        filters: vec![only(Kind::Auction)],
        schema: narrowed("auction", &["dateTime", "expires"]),
        ..spec(&[("events", "500000")])
    })
    .await;
    let times = |field| leaf(&rows, "auction", field);
    let (start, end) = (times("dateTime"), times("expires"));
    let start = start.as_primitive::<TimestampMillisecondType>();
    let end = end.as_primitive::<TimestampMillisecondType>();
    let lengths = start.values().iter().zip(end.values()).map(|(start, end)| end - start);
    let lengths: Vec<_> = lengths.collect();
    assert!(lengths.iter().all(|length| (1..=334).contains(length)));
    let mean = lengths.iter().sum::<i64>() as f64 / lengths.len() as f64;
    assert!((mean - 167.0).abs() < 3.0, "{mean}");
}
