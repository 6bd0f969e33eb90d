//! Commands, their exit status and what they say when something is wrong.

use libtest_mimic::{Failed, Trial};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::program::{LocalCluster, Place, ended, expect_contains, expect_equal, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("cli::a_statement_prints_its_rows", a_statement_prints_its_rows),
        trial("cli::formats_are_written_as_documented", formats_are_written_as_documented),
        trial(
            "cli::all_unknown_names_are_reported_at_once",
            all_unknown_names_are_reported_at_once,
        ),
        trial(
            "cli::nothing_runs_where_a_later_statement_is_wrong",
            nothing_runs_where_a_later_is_wrong,
        ),
        trial(
            "cli::an_unknown_setting_is_refused_with_a_suggestion",
            an_unknown_setting_is_refused,
        ),
        trial(
            "cli::a_failure_at_run_time_is_told_in_sqls_words",
            a_failure_at_run_time_is_told_in_sqls_words,
        ),
        trial("cli::a_missing_file_is_named", a_missing_file_is_named),
        trial("cli::a_malformed_row_is_named_by_file_and_line", a_malformed_row_is_named),
        trial("cli::a_malformed_row_is_skipped_where_asked_for", a_malformed_row_is_skipped),
        trial("cli::tables_live_on_in_the_catalog", tables_live_on_in_the_catalog),
        trial("cli::a_second_engine_on_a_data_directory_is_refused", a_second_engine_is_refused),
        trial("cli::a_closed_output_ends_the_program_silently", a_closed_output_ends_silently),
        trial(
            "cli::a_print_table_whose_output_is_closed_ends_silently",
            a_print_table_whose_output_is_closed_ends_silently,
        ),
        trial("cli::files_go_into_sdfs_and_come_back", files_go_into_sdfs_and_come_back),
        trial("cli::local_starts_workers_and_ends_with_its_terminal", local_starts_workers),
    ]
}

async fn a_statement_prints_its_rows() -> Result<(), Failed> {
    let printed = Place::new().run(["sql", "-c", "SELECT 1 + 1 AS two"]).await.success()?;
    expect_equal(&printed, " two\n-----\n   2\n(1 row)\n")
}

async fn formats_are_written_as_documented() -> Result<(), Failed> {
    let sql = "SELECT CAST('2001-01-01 00:00:00' AS TIMESTAMP(3)) AS at, CAST(NULL AS BIGINT) AS n";
    let place = Place::new();
    let csv = place.run(["sql", "-c", sql, "--format", "csv"]).await.success()?;
    expect_equal(&csv, "at,n\n2001-01-01 00:00:00.000,\n")?;
    let json = place.run(["sql", "-c", sql, "--format", "json"]).await.success()?;
    expect_equal(&json, "{\"at\":\"2001-01-01 00:00:00.000\",\"n\":null}\n")?;
    let changes = place.run(["sql", "-c", "SELECT 1 AS a", "--format", "changelog"]).await;
    expect_equal(&changes.success()?, "op,a\n+I,1\n")
}

const FLIGHTS: &str = "CREATE TABLE flights (at TIMESTAMP(3), origin STRING, delay INT)
  WITH ('connector' = 'filesystem', 'path' = 'flights.csv', 'format' = 'csv');\n";

async fn all_unknown_names_are_reported_at_once() -> Result<(), Failed> {
    let place = Place::new();
    let file = place.write("a.sql", &format!("{FLIGHTS}SELECT orign, dely FROM flights;"));
    let errors = place.run(["run", file.to_str().expect("plain")]).await.failure()?;
    expect_contains(&errors, "did you mean 'origin'")?;
    expect_contains(&errors, "did you mean 'delay'")?;
    expect_contains(&errors, "SELECT orign, dely FROM flights;")?;
    expect_contains(&errors, "^^^^^")
}

async fn nothing_runs_where_a_later_is_wrong() -> Result<(), Failed> {
    let place = Place::new();
    let file = place.write("a.sql", "SELECT 1 AS one;\nSELEC 2;");
    let ended = place.run(["run", file.to_str().expect("plain")]).await;
    expect_equal(&ended.stdout, "")?;
    expect_contains(&ended.failure()?, "a.sql:2:1")?;
    let file = place.write("b.sql", "SELECT 1 AS one;\nSELECT CAST('x' AS INT);");
    let ended = place.run(["run", file.to_str().expect("plain")]).await;
    expect_equal(&ended.stdout, "")?;
    let errors = ended.failure()?;
    expect_contains(&errors, "error[type]: cannot cast 'x' to INT")?;
    expect_contains(&errors, "b.sql:2:13")
}

async fn a_failure_at_run_time_is_told_in_sqls_words() -> Result<(), Failed> {
    let place = Place::new();
    place.write("flights.csv", "at,origin,delay\n2001-01-01 00:00:00,BOS,0\n");
    // Plain tables are DataFusion's, those with a watermark a job's.
    let streamed = FLIGHTS.replace("delay INT", "delay INT, WATERMARK FOR at AS at");
    for (tables, context) in [(FLIGHTS, "run the query"), (streamed.as_str(), "compute ")] {
        let file = place.write("a.sql", &format!("{tables}SELECT 1 / delay FROM flights;"));
        let errors = place.run(["run", file.to_str().expect("plain")]).await.failure()?;
        expect_contains(&errors, &format!("error: {context}"))?;
        expect_contains(&errors, "caused by: division by zero\n")?;
        let file =
            place.write("a.sql", &format!("{tables}SELECT CAST(origin AS INT) FROM flights;"));
        let errors = place.run(["run", file.to_str().expect("plain")]).await.failure()?;
        expect_contains(&errors, &format!("error: {context}"))?;
        expect_contains(&errors, "caused by: cannot cast 'BOS' to INT\n")?;
    }
    let errors = place.run(["run", "a.sql"]).await.failure()?;
    expect_contains(&errors, "error: compute CAST(origin AS INT)\n")
}

async fn an_unknown_setting_is_refused() -> Result<(), Failed> {
    let setting = "SET 'parallelism.defalt' = '2'";
    let errors = Place::new().run(["sql", "-c", setting]).await.failure()?;
    expect_contains(&errors, "help: did you mean 'parallelism.default'?")?;
    let given = ["sql", "-c", "SELECT 1", "--set", "parallelism.defalt=2"];
    let errors = Place::new().run(given).await.failure()?;
    expect_contains(&errors, "help: did you mean 'parallelism.default'?")
}

async fn a_missing_file_is_named() -> Result<(), Failed> {
    let place = Place::new();
    let file = place.write("a.sql", &format!("{FLIGHTS}SELECT * FROM flights;"));
    let errors = place.run(["run", file.to_str().expect("plain")]).await.failure()?;
    expect_contains(&errors, "flights.csv")
}

async fn a_malformed_row_is_named() -> Result<(), Failed> {
    let place = Place::new();
    place.write(
        "flights.csv",
        "at,origin,delay\n2001-01-01 00:00:00,ATL,5\n2001-01-01 00:01:00,BOS,late\n",
    );
    let file = place.write("a.sql", &format!("{FLIGHTS}SELECT * FROM flights;"));
    let errors = place.run(["run", file.to_str().expect("plain")]).await.failure()?;
    expect_contains(&errors, "flights.csv:3")?;
    expect_contains(&errors, "delay")
}

async fn a_malformed_row_is_skipped() -> Result<(), Failed> {
    let place = Place::new();
    place.write(
        "flights.csv",
        "at,origin,delay\n2001-01-01 00:00:00,ATL,5\nnonsense\n2001-01-01 00:01:00,BOS,7\n",
    );
    let table = FLIGHTS.replace("'format' = 'csv'", "'format' = 'csv', 'on-error' = 'skip'");
    let sql = format!("{table}SELECT origin, delay FROM flights ORDER BY delay;");
    expect_equal(&place.script(&sql, &["--format", "csv"]).await?, "origin,delay\nATL,5\nBOS,7\n")
}

async fn tables_live_on_in_the_catalog() -> Result<(), Failed> {
    let place = Place::new();
    let view = "CREATE VIEW answer AS SELECT 42 AS n";
    place.run(["sql", "-c", view]).await.success()?;
    let rows = place.run(["sql", "-c", "SELECT n FROM answer", "--format", "csv"]).await;
    expect_equal(&rows.success()?, "n\n42\n")?;
    let script = place.script("SHOW VIEWS;", &["--format", "csv"]).await?;
    if script.contains("answer") {
        return Err(format!("a script sees the prompt's views:\n{script}").into());
    }
    Ok(())
}

const ENDLESS: &str =
    "CREATE TEMPORARY TABLE t (a BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100');
SELECT a FROM t;";

async fn a_second_engine_is_refused() -> Result<(), Failed> {
    let place = Place::new();
    let mut first = place.start(["sql", "-c", ENDLESS, "--format", "csv"]);
    // Its first row says that it is up.
    let mut rows = BufReader::new(first.stdout.take().expect("a pipe")).lines();
    rows.next_line().await?;
    let errors = place.run(["sql", "-c", "SELECT 1"]).await.failure()?;
    expect_contains(&errors, "in use")?;
    let jobs = place.run(["jobs"]).await.success()?;
    expect_contains(&jobs, "running")?;
    first.kill().await?;
    Ok(())
}

async fn a_closed_output_ends_silently() -> Result<(), Failed> {
    let place = Place::new();
    let mut child = place.start(["sql", "-c", ENDLESS, "--format", "csv"]);
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0; 2]).await?;
    drop(stdout);
    let ended = ended(child).await;
    expect_equal(&ended.stderr, "")
}

async fn a_print_table_whose_output_is_closed_ends_silently() -> Result<(), Failed> {
    let place = Place::new();
    let sql =
        "CREATE TABLE ticks (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100');
      CREATE TABLE shown (n BIGINT) WITH ('connector' = 'print');
      INSERT INTO shown SELECT n FROM ticks;";
    let mut child = place.start(["sql", "-c", sql]);
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0; 2]).await?;
    drop(stdout);
    let ended = ended(child).await;
    expect_equal(&ended.stderr, "")
}

async fn files_go_into_sdfs_and_come_back() -> Result<(), Failed> {
    let place = Place::new();
    let text = "rain\n".repeat(20_000);
    let file = place.write("rain.txt", &text);
    let file = file.to_str().expect("plain");
    place.run(["fs", "put", file, "/weather/rain.txt"]).await.success()?;
    expect_equal(&place.run(["fs", "cat", "/weather/rain.txt"]).await.success()?, &text)?;
    expect_contains(&place.run(["fs", "ls", "/weather"]).await.success()?, "rain.txt")?;
    place.run(["fs", "rm", "/weather/rain.txt"]).await.success()?;
    place.run(["fs", "cat", "/weather/rain.txt"]).await.failure()?;
    Ok(())
}

async fn local_starts_workers() -> Result<(), Failed> {
    let place = Place::new();
    let local = LocalCluster::start(&place, "2").await?;
    let client = Place::new();
    let sql = "SELECT 1 AS one";
    let rows = client.run(["sql", "-c", sql, "--format", "csv", "--master", &local.master]).await;
    expect_equal(&rows.success()?, "one\n1\n")?;
    local.kill().await?;
    Ok(())
}
