//! Job graphs of whole scripts.

use std::fmt::Write as _;
use std::sync::Arc;

use rainstorm_engine::time::{ClockRef, SimulatedClock};

use super::graph_text;
use crate::Planner;
use crate::error::SqlErrors;
use crate::script::{Script, Step};
use crate::session::Session;

const SOURCE: &str = include_str!("../../../sql-examples/nexmark/source.sql");

fn plan(text: &str, parallelism: usize) -> Result<Vec<Step>, SqlErrors> {
    let clock: ClockRef = Arc::new(SimulatedClock::new(0));
    let variables = [("EVENTS", "1000"), ("OUTPUT", "file:///out"), ("SIDE", "file:///side.csv")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let text = format!("SET 'parallelism.default' = '{parallelism}';\n{text}");
    let script = Script { text, base_directory: "/base".to_owned(), variables: variables.into() };
    Planner::new(&clock).plan(&mut Session::default(), &script)
}

fn graphs(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Job(job) => {
                let ends = if job.bounded { "bounded" } else { "endless" };
                let _ = writeln!(text, "Job ({ends})\n{}", graph_text(&job.graph));
                for warning in &job.warnings {
                    let _ = writeln!(text, "Warning: {warning}");
                }
            }
            Step::Batch(plan) => {
                let _ = writeln!(text, "Batch\n{}", plan.display_indent());
            }
            _ => {}
        }
    }
    text
}

/// Returns the graphs of a script after Nexmark's source, two subtasks to a stage.
fn nexmark(query: &str) -> String {
    match plan(&format!("{SOURCE}\n{query}"), 2) {
        Ok(steps) => graphs(&steps),
        Err(errors) => format!("ERROR {errors:?}"),
    }
}

macro_rules! nexmark_queries {
    ($($name:ident: $file:literal,)*) => {$(
        #[test]
        fn $name() {
            let query = include_str!(concat!("../../../sql-examples/nexmark/", $file));
            insta::assert_snapshot!(nexmark(query));
        }
    )*};
}

nexmark_queries! {
    q0: "q0.sql",
    q1: "q1.sql",
    q2: "q2.sql",
    q5: "q5.sql",
    q7: "q7.sql",
    q8: "q8.sql",
    q10: "q10.sql",
    q12: "q12.sql",
    q13: "q13.sql",
    q14: "q14.sql",
    q17: "q17.sql",
    q21: "q21.sql",
    q22: "q22.sql",
}
