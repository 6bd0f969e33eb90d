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

/// Streaming SQL, and batch SQL that has the same final rows.
const PAIRS: &[(&str, &str)] = &[
    (
        "SELECT auction, price, CASE WHEN LOWER(channel) = 'apple' THEN '0'
           ELSE REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) END FROM bid
         WHERE REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) IS NOT NULL
           OR LOWER(channel) IN ('apple')",
        "SELECT * FROM (SELECT auction, price, CASE WHEN lower(channel) = 'apple' THEN '0'
           ELSE (regexp_match(url, '(&|^)channel_id=([^&]*)'))[2] END AS c FROM bid)
         WHERE c IS NOT NULL",
    ),
    (
        "WITH dear AS (SELECT auction, price FROM bid WHERE price > 1000000)
         SELECT auction, COUNT(*) AS n FROM dear GROUP BY auction HAVING COUNT(*) > 3",
        "SELECT auction, count(*) FROM bid WHERE price > 1000000 GROUP BY 1 HAVING count(*) > 3",
    ),
    (
        "SELECT COUNT(DISTINCT bidder), COUNT(DISTINCT auction) FILTER (WHERE price > 1000),
           AVG(price), MIN(channel), MAX(dateTime) FROM bid",
        "SELECT count(DISTINCT bidder), count(DISTINCT auction) FILTER (WHERE price > 1000),
           avg(price), min(channel), max(\"dateTime\") FROM bid",
    ),
    (
        "SELECT n, COUNT(*) FROM (SELECT bidder, COUNT(*) AS n FROM bid GROUP BY bidder) AS t
         GROUP BY n",
        "SELECT n, count(*) FROM (SELECT bidder, count(*) AS n FROM bid GROUP BY bidder) GROUP BY n",
    ),
    (
        "SELECT DISTINCT state, city FROM person UNION SELECT 'none', 'nowhere'",
        "SELECT DISTINCT state, city FROM person UNION SELECT 'none', 'nowhere'",
    ),
    (
        "SELECT CASE WHEN price > 10000 THEN 'dear' ELSE 'cheap' END AS kind, price % 7, COUNT(*)
         FROM bid GROUP BY CASE WHEN price > 10000 THEN 'dear' ELSE 'cheap' END, price % 7",
        "SELECT CASE WHEN price > 10000 THEN 'dear' ELSE 'cheap' END, price % 7, count(*)
         FROM bid GROUP BY 1, 2",
    ),
    (
        "SELECT AVG(n), MAX(n), window_start FROM (
           SELECT auction, COUNT(*) AS n, window_start, window_end
           FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '2' SECOND))
           GROUP BY auction, window_start, window_end) AS t
         GROUP BY window_start, window_end",
        "SELECT avg(n), max(n), w FROM (
           SELECT auction, count(*) AS n, date_bin(INTERVAL '2 seconds', \"dateTime\") AS w
           FROM bid GROUP BY 1, 3) GROUP BY w",
    ),
    (
        "SELECT DATE_FORMAT(window_end, 'HH:mm:ss'), COUNT(DISTINCT bidder), SUM(price) / COUNT(*)
         FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '5' SECOND))
         WHERE window_start >= TIMESTAMP '2024-01-01 00:00:05' AND channel <> 'Apple'
         GROUP BY window_start, window_end",
        "SELECT to_char(w + INTERVAL '5 seconds', '%H:%M:%S'), count(DISTINCT bidder),
           sum(price) / count(*)
         FROM (SELECT *, date_bin(INTERVAL '5 seconds', \"dateTime\") AS w FROM bid)
         WHERE w >= TIMESTAMP '2024-01-01 00:00:05' AND channel <> 'Apple' GROUP BY w",
    ),
    (
        "SELECT bidder, COUNT(*), HOP_START(dateTime, INTERVAL '5' SECOND, INTERVAL '10' SECOND)
         FROM bid AS b WHERE b.price > 50000000
         GROUP BY bidder, HOP(dateTime, INTERVAL '5' SECOND, INTERVAL '10' SECOND)",
        "SELECT bidder, count(*), w FROM (
           SELECT *, date_bin(INTERVAL '5 seconds', \"dateTime\") - shift.s AS w FROM bid
           CROSS JOIN (VALUES (INTERVAL '0 seconds'), (INTERVAL '5 seconds')) AS shift(s))
         WHERE price > 50000000 GROUP BY 1, 3",
    ),
    (
        "SELECT window_start, window_end, window_time, b.auction
         FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '5' SECOND)) AS b
         WHERE b.price > 90000000",
        "SELECT w, w + INTERVAL '5 seconds', w + INTERVAL '4999 milliseconds', auction
         FROM (SELECT *, date_bin(INTERVAL '5 seconds', \"dateTime\") AS w FROM bid)
         WHERE price > 90000000",
    ),
    (
        "SELECT p.name, a.n FROM (
           SELECT id, name, window_start, window_end
           FROM TABLE(TUMBLE(TABLE person, DESCRIPTOR(dateTime), INTERVAL '2' SECOND))) AS p
         LEFT JOIN (
           SELECT seller, COUNT(*) AS n, window_start, window_end
           FROM TABLE(TUMBLE(TABLE auction, DESCRIPTOR(dateTime), INTERVAL '2' SECOND))
           GROUP BY seller, window_start, window_end) AS a
         ON p.id = a.seller AND p.window_start = a.window_start AND p.window_end = a.window_end",
        "SELECT p.name, a.n FROM
           (SELECT *, date_bin(INTERVAL '2 seconds', \"dateTime\") AS w FROM person) AS p
         LEFT JOIN (
           SELECT seller, count(*) AS n, date_bin(INTERVAL '2 seconds', \"dateTime\") AS w
           FROM auction GROUP BY 1, 3) AS a
         ON p.id = a.seller AND p.w = a.w",
    ),
    (
        "SELECT p.id FROM (
           SELECT id, window_start, window_end
           FROM TABLE(TUMBLE(TABLE person, DESCRIPTOR(dateTime), INTERVAL '2' SECOND))) AS p
         WHERE p.id IN (
           SELECT seller FROM TABLE(TUMBLE(TABLE auction, DESCRIPTOR(dateTime), INTERVAL '2' SECOND))
             AS a
           WHERE a.window_start = p.window_start AND a.window_end = p.window_end)",
        "SELECT p.id FROM (SELECT *, date_bin(INTERVAL '2 seconds', \"dateTime\") AS w FROM person) p
         WHERE EXISTS (SELECT 1 FROM auction a WHERE a.seller = p.id
           AND date_bin(INTERVAL '2 seconds', a.\"dateTime\") = p.w)",
    ),
    (
        "SELECT a.id, b.price FROM auction AS a JOIN bid AS b ON a.id = b.auction
         WHERE b.dateTime >= a.dateTime AND b.dateTime < a.dateTime + INTERVAL '1' SECOND
           AND b.price > a.initialBid",
        "SELECT a.id, b.price FROM auction AS a JOIN bid AS b ON a.id = b.auction
         WHERE b.\"dateTime\" >= a.\"dateTime\"
           AND b.\"dateTime\" < a.\"dateTime\" + INTERVAL '1 second' AND b.price > a.\"initialBid\"",
    ),
    (
        "SELECT a.id, b.price FROM auction AS a FULL JOIN (SELECT * FROM bid WHERE price > 5000000) AS b
         ON a.id = b.auction AND a.dateTime BETWEEN b.dateTime - INTERVAL '1' SECOND AND b.dateTime",
        "SELECT a.id, b.price FROM auction AS a FULL JOIN (SELECT * FROM bid WHERE price > 5000000) AS b
         ON a.id = b.auction
         AND a.\"dateTime\" BETWEEN b.\"dateTime\" - INTERVAL '1 second' AND b.\"dateTime\"",
    ),
    (
        "SELECT window_start, window_end, COUNT(*) FROM TABLE(CUMULATE(TABLE bid, DESCRIPTOR(dateTime),
           INTERVAL '2' SECOND, INTERVAL '4' SECOND)) GROUP BY window_start, window_end",
        "SELECT w, e, count(*) FROM (
           SELECT date_bin(INTERVAL '4 seconds', \"dateTime\") AS w,
             date_bin(INTERVAL '4 seconds', \"dateTime\") + size.s AS e, \"dateTime\" AS t
           FROM bid CROSS JOIN (VALUES (INTERVAL '2 seconds'), (INTERVAL '4 seconds')) AS size(s))
         WHERE t < e GROUP BY w, e",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn final_rows_are_those_of_batch_sql() {
    for (streaming, oracle) in PAIRS {
        let expected = batch(oracle).await;
        assert!(!expected.is_empty(), "{oracle}");
        for parallelism in [1, 3] {
            let found = streamed(&run(&format!("{SOURCE}\n{streaming};"), parallelism).await);
            let differs = expected.iter().zip(&found).find(|(expected, found)| expected != found);
            assert_eq!(differs, None, "at parallelism {parallelism}: {streaming}");
            assert_eq!(expected.len(), found.len(), "at parallelism {parallelism}: {streaming}");
        }
    }
}
