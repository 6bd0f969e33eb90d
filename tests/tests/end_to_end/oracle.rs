//! What DataFusion's batch engine answers to the queries of `tests/oracle` on the same events.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow::csv::WriterBuilder;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use datafusion::prelude::{SessionConfig, SessionContext};
use libtest_mimic::Failed;
use rainstorm_engine::OperatorId;
use rainstorm_engine::batch_query::BatchTable;
use rainstorm_engine::connector::ConnectorContext;
use rainstorm_engine::graph::SourceSpec;
use rainstorm_engine::storage::Storage;
use rainstorm_engine::time::SystemClock;

/// Rows of q13's side table.
const SIDE_ROWS: usize = 10_000;

/// Returns the side table of q13 as CSV.
pub(crate) fn side_table() -> String {
    let mut csv = "key,value\n".to_owned();
    for key in 0..SIDE_ROWS {
        // Writing into a string does not fail.
        let _ = writeln!(csv, "{key},v{key}");
    }
    csv
}

/// Answers a query on the first `events` events, as CSV with a header.
pub(crate) async fn batch_rows(query: &str, events: u64) -> Result<String, Failed> {
    let context = context(events, 4).await?;
    answer(&context, &text(query)?).await
}

/// Answers a query on the first `events` events, as far as its rows are due before the end: those
/// of windows that lie behind the watermark. `end` is where a row's window ends, over what the
/// query's last condition reads.
pub(crate) async fn due_rows(query: &str, end: &str, events: u64) -> Result<String, Failed> {
    let context = context(events, 4).await?;
    let times = ["person", "auction", "bid"].map(|view| format!("SELECT \"dateTime\" FROM {view}"));
    let watermark = format!(
        "SELECT max(\"dateTime\") - INTERVAL '4 seconds' AS watermark FROM ({})",
        times.join(" UNION ALL ")
    );
    let watermark = answer(&context, &watermark).await?;
    let watermark = watermark.lines().nth(1).ok_or("no event has a time")?;
    let text = format!("{} AND {end} <= TIMESTAMP '{watermark}'", text(query)?.trim_end());
    answer(&context, &text).await
}

fn text(query: &str) -> Result<String, Failed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle").join(format!("{query}.sql"));
    Ok(std::fs::read_to_string(path)?)
}

async fn answer(context: &SessionContext, text: &str) -> Result<String, Failed> {
    let batches = context.sql(text).await?.collect().await?;
    let format = || "%Y-%m-%d %H:%M:%S%.3f".to_owned();
    let mut csv = Vec::new();
    let mut writer = WriterBuilder::new().with_timestamp_format(format()).build(&mut csv);
    for batch in batches {
        writer.write(&batch)?;
    }
    drop(writer);
    Ok(String::from_utf8(csv)?)
}

/// Makes a context with the views `person`, `auction` and `bid`, and the table `side`.
pub(crate) async fn context(events: u64, partitions: usize) -> Result<SessionContext, Failed> {
    let config = SessionConfig::new()
        .with_target_partitions(partitions)
        .set_bool("datafusion.sql_parser.parse_float_as_decimal", true);
    let context = SessionContext::new_with_config(config);
    let connectors = ConnectorContext { storage: Storage::default(), clock: Arc::new(SystemClock) };
    let table = BatchTable::new(nexmark(events), connectors, Arc::default())?;
    context.register_table("nexmark", Arc::new(table))?;
    for (kind, name) in ["person", "auction", "bid"].into_iter().enumerate() {
        let columns = leaves(name)
            .iter()
            .map(|leaf| format!("{name}['{0}'] AS \"{0}\"", leaf.name()))
            .collect::<Vec<_>>()
            .join(", ");
        let view = format!(
            "CREATE VIEW {name} AS SELECT {columns} FROM nexmark WHERE event_type = {kind}"
        );
        context.sql(&view).await?;
    }
    let rows =
        (0..SIDE_ROWS).map(|key| format!("({key}, 'v{key}')")).collect::<Vec<_>>().join(", ");
    context
        .sql(&format!("CREATE VIEW side AS SELECT * FROM (VALUES {rows}) AS t(key, value)"))
        .await?;
    Ok(context)
}

fn nexmark(events: u64) -> SourceSpec {
    SourceSpec {
        id: OperatorId(0),
        table: "nexmark".to_owned(),
        connector: "nexmark".to_owned(),
        options: BTreeMap::from([("events".to_owned(), events.to_string())]),
        table_schema: schema(),
        schema: schema(),
        filters: Vec::new(),
        limit: None,
        prepare: Vec::new(),
        watermark: None,
        query: None,
    }
}

fn schema() -> SchemaRef {
    let group = |name| Field::new(name, DataType::Struct(leaves(name)), true);
    let kind = Field::new("event_type", DataType::Int32, true);
    Arc::new(Schema::new(vec![kind, group("person"), group("auction"), group("bid")]))
}

fn leaves(group: &str) -> Fields {
    let number = |name| Field::new(name, DataType::Int64, true);
    let text = |name| Field::new(name, DataType::Utf8View, true);
    let time = |name| Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, None), true);
    match group {
        "person" => vec![
            number("id"),
            text("name"),
            text("emailAddress"),
            text("creditCard"),
            text("city"),
            text("state"),
            time("dateTime"),
            text("extra"),
        ],
        "auction" => vec![
            number("id"),
            text("itemName"),
            text("description"),
            number("initialBid"),
            number("reserve"),
            time("dateTime"),
            time("expires"),
            number("seller"),
            number("category"),
            text("extra"),
        ],
        _ => vec![
            number("auction"),
            number("bidder"),
            number("price"),
            text("channel"),
            text("url"),
            time("dateTime"),
            text("extra"),
        ],
    }
    .into()
}
