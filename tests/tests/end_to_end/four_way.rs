//! The same query four ways, with the same rows: one task, many tasks, stopped and restored at
//! another parallelism, and on two worker processes; and the rows are those that DataFusion's
//! batch engine gives for the same events. The events come out of order, within the bound of the
//! watermark.

use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};

use super::before_end::expect_shown;
use super::oracle;
use super::program::{LocalCluster, Place, ended, expect_equal, repository, trial};

const EVENTS: u64 = 60_000;
/// Queries whose results are compared row by row.
const QUERIES: [&str; 11] = ["q0", "q1", "q2", "q5", "q7", "q8", "q13", "q14", "q17", "q21", "q22"];
/// Queries of which every row is due before the input ends.
const BEFORE_THE_END: [&str; 8] = ["q0", "q1", "q2", "q13", "q14", "q17", "q21", "q22"];
/// Queries of windows, the last of which wait for the end, and where the window of a row ends.
const WINDOWS: [(&str, &str); 3] = [
    ("q5", "counts.starttime + INTERVAL '10 seconds'"),
    ("q7", "most.window_end"),
    ("q8", "p.starttime + INTERVAL '10 seconds'"),
];
/// Events of these: 31.5 seconds, so that two windows of ten are behind the watermark.
const EVENTS_OF_WINDOWS: u64 = 315_000;
/// How many events are shuffled: three seconds, of the watermark's four.
const SHUFFLED: &str = "30000";

pub(crate) fn trials() -> Vec<Trial> {
    let agree = QUERIES.map(|query| {
        trial(format!("four_way::{query}_agrees_with_batch"), move || agrees_with_batch(query))
    });
    let restored = QUERIES.map(|query| {
        trial(format!("four_way::{query}_survives_a_restart"), move || survives_a_restart(query))
    });
    let open = BEFORE_THE_END.map(|query| {
        trial(format!("four_way::{query}_emits_before_the_end"), move || async move {
            before_the_end(query, EVENTS, &oracle::batch_rows(query, EVENTS).await?).await
        })
    });
    let windows = WINDOWS.map(|(query, end)| {
        trial(format!("four_way::{query}_emits_windows_before_the_end"), move || async move {
            let due = oracle::due_rows(query, end, EVENTS_OF_WINDOWS).await?;
            before_the_end(query, EVENTS_OF_WINDOWS, &due).await
        })
    });
    let files = trial("four_way::q10_writes_the_files_of_batch", q10_writes_the_files_of_batch);
    agree.into_iter().chain(restored).chain(open).chain(windows).chain([files]).collect()
}

fn example(name: &str) -> String {
    let path = repository().join("sql-examples/nexmark").join(format!("{name}.sql"));
    std::fs::read_to_string(path).expect("an example")
}

/// Returns the definitions of the events, out of order; `options` are further ones.
fn source(options: &str) -> String {
    let shuffled =
        format!("'connector' = 'nexmark',\n  'out-of-order-group-size' = '{SHUFFLED}',{options}");
    example("source").replace("'connector' = 'nexmark',", &shuffled)
}

/// Returns the script of a query that shows its rows instead of writing them.
fn showing(query: &str) -> String {
    let text = example(query).replace(&format!("INSERT INTO nexmark_{query}\n"), "");
    source("") + &text
}

/// Writes the side table of q13 and returns the arguments that a query's script needs.
fn variables(place: &Place, events: u64) -> Vec<String> {
    let side = place.write("side.csv", &oracle::side_table());
    vec![
        "-D".to_owned(),
        format!("EVENTS={events}"),
        "-D".to_owned(),
        format!("SIDE=file://{}", side.display()),
    ]
}

async fn agrees_with_batch(query: &'static str) -> Result<(), Failed> {
    let place = Place::new();
    let variables = variables(&place, EVENTS);
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

/// Holds the events open after their last and looks at the changes that the query has shown.
async fn before_the_end(query: &str, events: u64, due: &str) -> Result<(), Failed> {
    let place = Place::new();
    let variables = variables(&place, events);
    let expected = sorted(due);
    if expected.is_empty() {
        return Err("no row is due before the end".into());
    }
    let expected: Vec<&str> = expected.lines().collect();
    let text = showing(query).replace(&source(""), &source("\n  'stays-open-ms' = '3600000',"));
    let script = place.write("open.sql", &text);
    let script = script.to_str().expect("a path of plain characters");
    let arguments = ["run", script, "--format", "changelog", "--parallelism", "3"];
    let variables = variables.iter().map(String::as_str);
    let child = place.start(arguments.into_iter().chain(variables));
    expect_shown(child, &expected).await
}

/// Stops a job that writes a table and restores it at another parallelism, until it has finished.
async fn survives_a_restart(query: &'static str) -> Result<(), Failed> {
    let place = Place::new();
    let files = "'connector' = 'filesystem', 'path' = 'sdfs:///out', 'format' = 'csv'";
    let text = example(query).replace("'connector' = 'blackhole'", files);
    run_with_restarts(&place, &text, &variables(&place, EVENTS)).await?;
    let listing = example(query);
    let table = listing.split("CREATE TABLE nexmark_").nth(1).ok_or("no table in the example")?;
    let table = format!("CREATE TABLE nexmark_{}", table.split(';').next().unwrap_or_default());
    let read = table.replace("'connector' = 'blackhole'", files);
    let script = format!("{read};\nSELECT * FROM nexmark_{query};");
    let found = place.script(&script, &["--format", "csv"]).await?;
    let expected = oracle::batch_rows(query, EVENTS).await?;
    expect_equal(&sorted(&found), &sorted(&expected))
}

/// Runs a query slowly as one task, kills it, restores it as three, kills it, restores it as two,
/// which are as fast as they can be.
async fn run_with_restarts(place: &Place, text: &str, variables: &[String]) -> Result<(), Failed> {
    // So slow that nobody waits for the end, however busy the machine is.
    let slow = place.write("slow.sql", &(source("\n  'rows-per-second' = '3000',") + text));
    let fast = place.write("fast.sql", &(source("") + text));
    let setting = "execution.checkpointing.interval=100ms";
    // Who asks for files before the engine has opened its directory is the one that opens it.
    let lock = place.path().join("rainstorm-data/lock");
    let run = async |script: &Path, tasks: &'static str, restore: &'static [&'static str]| {
        let _ = std::fs::remove_file(&lock);
        let script = script.to_str().expect("a path of plain characters").to_owned();
        let fixed = ["run", &script, "--name", "job", "--set", setting, "--parallelism", tasks];
        let fixed = fixed.into_iter().chain(restore.iter().copied());
        let mut child = place.start(fixed.chain(variables.iter().map(String::as_str)));
        let is_open = || std::fs::read_to_string(&lock).is_ok_and(|text| text.lines().count() > 1);
        while !is_open() && matches!(child.try_wait(), Ok(None)) {
            tokio::task::yield_now().await;
        }
        child
    };
    let mut child = run(&slow, "1", &[]).await;
    let mut epoch = 0;
    for (script, tasks) in [(&slow, "3"), (&fast, "2")] {
        // Several checkpoints on, the job is in the midst of its work.
        epoch = tokio::select! {
            ended = child.wait() => return Err(format!("the job ended early: {ended:?}").into()),
            committed = has_checkpoint_after(place, epoch + 2) => committed?,
        };
        child.kill().await?;
        child = run(script, tasks, &["--restore"]).await;
    }
    ended(child).await.success()?;
    Ok(())
}

/// Writes partitioned files in all four ways and reads them as what they are: files.
async fn q10_writes_the_files_of_batch() -> Result<(), Failed> {
    let place = Place::new();
    let expected = sorted(&oracle::batch_rows("q10", EVENTS).await?);
    let script = source("") + &example("q10");
    let variables = |output: &str| {
        let output = place.path().join(output);
        ["EVENTS=".to_owned() + &EVENTS.to_string(), format!("OUTPUT=file://{}", output.display())]
            .into_iter()
            .flat_map(|variable| ["-D".to_owned(), variable])
            .collect::<Vec<_>>()
    };
    let elsewhere = Place::new();
    let cluster = LocalCluster::start(&elsewhere, "2").await?;
    let ways: [(&str, &[&str]); 3] = [
        ("one", &["--parallelism", "1"]),
        ("four", &["--parallelism", "4"]),
        ("processes", &["--parallelism", "3", "--master", &cluster.master]),
    ];
    for (output, arguments) in ways {
        let variables = variables(output);
        let arguments = arguments.iter().copied().chain(variables.iter().map(String::as_str));
        place.script(&script, &arguments.collect::<Vec<_>>()).await?;
        expect_equal(&partitioned_rows(&place.path().join(output)), &expected)?;
    }
    cluster.kill().await?;
    run_with_restarts(&place, &example("q10"), &variables("restarted")).await?;
    expect_equal(&partitioned_rows(&place.path().join("restarted")), &expected)
}

/// Reads the CSV files of a partitioned directory: sorted lines, the folders' values at their end.
fn partitioned_rows(directory: &Path) -> String {
    let mut lines = Vec::new();
    let visible = |entry: &PathBuf| {
        !entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['_', '.']))
    };
    let entries = |directory: &Path| {
        let entries = std::fs::read_dir(directory).expect("a directory");
        entries.map(|entry| entry.expect("an entry").path()).filter(visible).collect::<Vec<_>>()
    };
    let value = |folder: &Path| {
        let name = folder.file_name().expect("a name").to_string_lossy().replace("%3A", ":");
        name.split_once('=').map(|(_, value)| value.to_owned()).expect("column=value")
    };
    for day in entries(directory) {
        for minute in entries(&day) {
            let partition = format!("{},{}", value(&day), value(&minute));
            for file in entries(&minute) {
                let text = std::fs::read_to_string(file).expect("a file");
                lines.extend(text.lines().skip(1).map(|line| format!("{line},{partition}")));
            }
        }
    }
    lines.sort_unstable();
    lines.join("\n")
}

/// Waits until the job has committed a checkpoint of this number or a later one, and returns it.
async fn has_checkpoint_after(place: &Place, epoch: u64) -> Result<u64, Failed> {
    let wait = async {
        loop {
            let head = place.run(["fs", "cat", "/jobs/job/steps/1/head"]).await.stdout;
            let last = head.split("\"last_epoch\":").nth(1).unwrap_or_default().trim_start();
            let digits = last.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
            if let Some(last) = digits.parse().ok().filter(|last| *last >= epoch) {
                return last;
            }
        }
    };
    let waited = tokio::time::timeout(Duration::from_mins(1), wait).await;
    waited.map_err(|_| Failed::from("the job makes no checkpoint"))
}

/// Sorts the lines after the header, and forgets the header's names.
fn sorted(csv: &str) -> String {
    let mut lines = csv.lines().skip(1).collect::<Vec<_>>();
    lines.sort_unstable();
    lines.join("\n")
}
