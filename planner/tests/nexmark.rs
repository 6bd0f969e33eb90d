//! Nexmark's queries, planned from their SQL and run in this process, against DataFusion's batch
//! engine on the same events.

#![expect(clippy::unwrap_used, reason = "these are tests")]
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use rainstorm_engine::JobId;
use rainstorm_engine::batch::Batch;
use rainstorm_engine::connector::ConnectorContext;
use rainstorm_engine::storage::Storage;
use rainstorm_engine::task::run_local;
use rainstorm_engine::time::{ClockRef, SystemClock};
use rainstorm_planner::Planner;
use rainstorm_planner::script::{JobPlan, Script, Step};
use rainstorm_planner::session::Session;

const SOURCE: &str = include_str!("../../sql-examples/nexmark/source.sql");

fn job(text: &str, parallelism: usize) -> JobPlan {
    let clock: ClockRef = Arc::new(SystemClock);
    let text = format!("SET 'parallelism.default' = '{parallelism}';\n{text}");
    let variables = [("EVENTS".to_owned(), "100000".to_owned())];
    let script = Script { text, base_directory: "/".to_owned(), variables: variables.into() };
    let steps = Planner::new(&clock).plan(&mut Session::default(), &script).unwrap();
    let job = steps.into_iter().find_map(|step| match step {
        Step::Job(job) => Some(*job),
        _ => None,
    });
    job.unwrap()
}

async fn run(text: &str, parallelism: usize) -> Vec<Batch> {
    let connectors = ConnectorContext { storage: Storage::default(), clock: Arc::new(SystemClock) };
    let graph = Arc::new(job(text, parallelism).graph);
    run_local(JobId::new("test"), graph, connectors).await.unwrap()
}

/// Writes rows as text, sorted, with what was taken back gone.
fn rows<'a>(batches: impl IntoIterator<Item = (&'a RecordBatch, Option<&'a [i8]>)>) -> Vec<String> {
    let mut counts = std::collections::BTreeMap::<String, i64>::new();
    for (batch, weights) in batches {
        let options = FormatOptions::default().with_null("NULL");
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let values: Vec<String> =
                columns.iter().map(|column| column.value(row).to_string()).collect();
            *counts.entry(values.join("|")).or_default() +=
                weights.map_or(1, |weights| i64::from(weights[row]));
        }
    }
    assert!(counts.values().all(|count| *count >= 0), "more rows taken back than given");
    counts
        .into_iter()
        .flat_map(|(row, count)| std::iter::repeat_n(row, usize::try_from(count).unwrap()))
        .collect()
}

fn streamed(batches: &[Batch]) -> Vec<String> {
    rows(
        batches
            .iter()
            .map(|batch| (batch.rows(), batch.weights().map(|weights| &**weights.values()))),
    )
}

/// Takes the SELECT out of a query's file.
fn select(file: &str) -> String {
    let (definitions, insert) = file.split_once("INSERT INTO").unwrap();
    let query = insert.split_once('\n').unwrap().1;
    format!("{SOURCE}\n{definitions}\n{query}")
}

async fn batch(oracle: &str) -> Vec<String> {
    let dump = format!(
        "{SOURCE}
SELECT event_type, person, auction, bid FROM nexmark;"
    );
    let events = run(&dump, 1);
    let events: Vec<RecordBatch> = events.await.iter().map(|batch| batch.rows().clone()).collect();
    let config =
        SessionConfig::new().set_bool("datafusion.sql_parser.parse_float_as_decimal", true);
    let context = SessionContext::new_with_config(config);
    let schema = events[0].schema();
    let table = MemTable::try_new(Arc::clone(&schema), vec![events]).unwrap();
    context.register_table("nexmark", Arc::new(table)).unwrap();
    for (kind, name) in ["person", "auction", "bid"].into_iter().enumerate() {
        let field = schema.field_with_name(name).unwrap();
        let arrow::datatypes::DataType::Struct(fields) = field.data_type() else { panic!() };
        let columns: Vec<String> =
            fields.iter().map(|field| format!("{name}['{0}'] AS \"{0}\"", field.name())).collect();
        let view = format!(
            "CREATE VIEW {name} AS SELECT {} FROM nexmark WHERE event_type = {kind}",
            columns.join(", ")
        );
        context.sql(&view).await.unwrap().collect().await.unwrap();
    }
    let answer = context.sql(oracle).await.unwrap().collect().await.unwrap();
    rows(answer.iter().map(|batch| (batch, None)))
}

async fn check(file: &str, oracle: &str) {
    let expected = batch(oracle).await;
    assert!(!expected.is_empty());
    for parallelism in [1, 3] {
        let found = streamed(&run(&select(file), parallelism).await);
        let differs = expected.iter().zip(&found).find(|(expected, found)| expected != found);
        assert_eq!(differs, None, "first difference at parallelism {parallelism}");
        assert_eq!(expected.len(), found.len(), "rows at parallelism {parallelism}");
    }
}

macro_rules! queries {
    ($($name:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            check(
                include_str!(concat!("../../sql-examples/nexmark/", stringify!($name), ".sql")),
                include_str!(concat!("../../tests/oracle/", stringify!($name), ".sql")),
            )
            .await;
        }
    )*};
}

queries! { q0, q1, q2, q5, q7, q8, q14, q17, q21, q22, }

/// Every bid is counted in one of the windows of processing time.
#[tokio::test]
async fn q12() {
    let file = include_str!("../../sql-examples/nexmark/q12.sql");
    let rows = streamed(&run(&select(file), 2).await);
    let count = |row: &String| row.split('|').nth(1).unwrap().parse::<u64>().unwrap();
    assert_eq!(rows.iter().map(count).sum::<u64>(), 92_000);
}

#[tokio::test]
async fn rows_are_counted_without_their_columns() {
    let query = format!("{SOURCE}\nSELECT COUNT(*) FROM auction;");
    assert_eq!(streamed(&run(&query, 2).await), ["6000"]);
}

#[tokio::test]
async fn values_are_rows() {
    let query = format!(
        "{SOURCE}\nSELECT v.a, v.b FROM (VALUES (1, 'x'), (2, NULL)) AS v(a, b)
         UNION ALL SELECT id, name FROM person WHERE id < 0;"
    );
    assert_eq!(streamed(&run(&query, 2).await), ["1|x", "2|NULL"]);
}
