//! The benchmark's command.

use libtest_mimic::{Failed, Trial};

use super::program::{Place, expect_contains, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("nexmark::every_query_is_measured", every_query_is_measured),
        trial("nexmark::an_unknown_query_is_refused", an_unknown_query_is_refused),
    ]
}

async fn every_query_is_measured() -> Result<(), Failed> {
    let arguments = ["nexmark", "--queries", "all", "--events", "20000", "--format", "json"];
    let printed = Place::new().run(arguments).await.success()?;
    for query in
        ["q0", "q1", "q2", "q5", "q7", "q8", "q10", "q12", "q13", "q14", "q17", "q21", "q22"]
    {
        let line = printed.lines().find(|line| line.contains(&format!("\"{query}\"")));
        let line = line.ok_or_else(|| Failed::from(format!("no {query} in\n{printed}")))?;
        for field in
            ["rows_out", "wall_seconds", "cpu_seconds", "events_per_second", "peak_memory_bytes"]
        {
            expect_contains(line, field)?;
        }
        expect_contains(line, "\"events\":20000")?;
    }
    Ok(())
}

async fn an_unknown_query_is_refused() -> Result<(), Failed> {
    let errors = Place::new().run(["nexmark", "--queries", "q99"]).await.failure()?;
    expect_contains(&errors, "q99")
}
