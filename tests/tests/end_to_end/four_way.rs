//! The same query four ways, with the same rows: one task, many tasks, stopped and restored at
//! another parallelism, and on two worker processes; and the rows are those that DataFusion's
//! batch engine gives for the same events.

use std::time::Duration;

use libtest_mimic::{Failed, Trial};

use super::oracle;
use super::program::{LocalCluster, Place, ended, expect_equal, repository, trial};

const EVENTS: u64 = 60_000;
/// Queries whose results are compared row by row.
const QUERIES: [&str; 11] = ["q0", "q1", "q2", "q5", "q7", "q8", "q13", "q14", "q17", "q21", "q22"];
/// Of these, the ones that only insert, so that they can be written to files and stopped midway.
const INSERTING: [&str; 6] = ["q0", "q2", "q5", "q7", "q8", "q13"];

pub(crate) fn trials() -> Vec<Trial> {
    let agree = QUERIES.map(|query| {
        trial(format!("four_way::{query}_agrees_with_batch"), move || agrees_with_batch(query))
    });
    let restored = INSERTING.map(|query| {
        trial(format!("four_way::{query}_survives_a_restart"), move || survives_a_restart(query))
    });
    agree.into_iter().chain(restored).collect()
}

fn example(name: &str) -> String {
    let path = repository().join("sql-examples/nexmark").join(format!("{name}.sql"));
    std::fs::read_to_string(path).expect("an example")
}

/// Returns the script of a query that shows its rows instead of writing them.
fn showing(query: &str) -> String {
    let text = example(query).replace(&format!("INSERT INTO nexmark_{query}\n"), "");
    example("source") + &text
}

/// Writes the side table of q13 and returns the arguments that a query's script needs.
fn variables(place: &Place) -> Vec<String> {
    let side = place.write("side.csv", &oracle::side_table());
    vec![
        "-D".to_owned(),
        format!("EVENTS={EVENTS}"),
        "-D".to_owned(),
        format!("SIDE=file://{}", side.display()),
    ]
}

async fn agrees_with_batch(query: &'static str) -> Result<(), Failed> {
    let place = Place::new();
    let variables = variables(&place);
    let expected = sorted(&oracle::batch_rows(query, EVENTS).await?);
    for parallelism in ["1", "4"] {
        let found = show(&place, query, &variables, &["--parallelism", parallelism]).await?;
        expect_equal(&sorted(&found), &expected)?;
    }
    let cluster = LocalCluster::start(&place, "2").await?;
    let arguments = ["--parallelism", "3", "--master", &cluster.master];
    let found = show(&place, query, &variables, &arguments).await?;
    cluster.kill().await?;
    expect_equal(&sorted(&found), &expected)
}

async fn show(
    place: &Place,
    query: &str,
    variables: &[String],
    arguments: &[&str],
) -> Result<String, Failed> {
    let mut all = vec!["--format", "csv"];
    all.extend(arguments);
    all.extend(variables.iter().map(String::as_str));
    place.script(&showing(query), &all).await
}

/// Stops a job that writes a table and restores it at another parallelism, until it has finished.
async fn survives_a_restart(query: &'static str) -> Result<(), Failed> {
    let place = Place::new();
    let mut arguments = variables(&place);
    let slow = "'connector' = 'nexmark',\n  'rows-per-second' = '15000',";
    let source = example("source").replace("'connector' = 'nexmark',", slow);
    let files = "'connector' = 'filesystem', 'path' = 'sdfs:///out', 'format' = 'csv'";
    let query_text = example(query).replace("'connector' = 'blackhole'", files);
    let script = place.write("job.sql", &format!("{source}{query_text}"));
    let script = script.to_str().expect("a path of plain characters");
    let setting = "execution.checkpointing.interval=100ms";
    arguments.extend(["--name", "job", "--set", setting].map(str::to_owned));
    let run = |tasks: &'static str, restore: &'static [&'static str]| {
        let fixed =
            ["run", script, "--parallelism", tasks].into_iter().chain(restore.iter().copied());
        place.start(fixed.chain(arguments.iter().map(String::as_str)))
    };
    let mut child = run("1", &[]);
    for tasks in ["3", "2"] {
        // Long enough for some checkpoints, too short for the job to finish.
        if tokio::time::timeout(Duration::from_millis(900), child.wait()).await.is_ok() {
            return Err("the job finished before it was stopped".into());
        }
        child.kill().await?;
        child = run(tasks, &["--restore"]);
    }
    ended(child).await.success()?;
    let listing = example(query);
    let table = listing.split("CREATE TABLE nexmark_").nth(1).ok_or("no table in the example")?;
    let table = format!("CREATE TABLE nexmark_{}", table.split(';').next().unwrap_or_default());
    let read = table.replace("'connector' = 'blackhole'", files);
    let script = format!("{read};\nSELECT * FROM nexmark_{query};");
    let found = place.script(&script, &["--format", "csv"]).await?;
    let expected = oracle::batch_rows(query, EVENTS).await?;
    expect_equal(&sorted(&found), &sorted(&expected))
}

/// Sorts the lines after the header, and forgets the header's names.
fn sorted(csv: &str) -> String {
    let mut lines = csv.lines().skip(1).collect::<Vec<_>>();
    lines.sort_unstable();
    lines.join("\n")
}
