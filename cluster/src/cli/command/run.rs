//! `rainstorm run` and `rainstorm submit`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rainstorm_proto::client::{ExecuteRequest, Restore};

use crate::cli::Context;
use crate::cli::args::{JobOptions, Run, ScriptOptions, Submit};
use crate::cli::error::{CliError, Result};
use crate::cli::execute::{Screen, execute};
use crate::cli::output::write_results;
use crate::cli::reach::{connect, reach_or_start};

/// The setting that --parallelism stands for.
const PARALLELISM: &str = "parallelism.default";

/// Runs a script and shows its results.
pub(crate) async fn run(run: Run, context: &Context) -> Result<()> {
    let request = request(&run.file, &run.job, &run.script)?;
    let mut reached = reach_or_start(&run.target, &context.interrupt).await?;
    let mut screen = Screen::new(run.format, &run.file.display().to_string(), false);
    let outcome = execute(&mut reached.client, request, &mut screen, &context.interrupt).await;
    reached.close().await;
    outcome.into_result()
}

/// Starts a script's job and prints its id.
pub(crate) async fn submit(submit: Submit, context: &Context) -> Result<()> {
    let request =
        ExecuteRequest { detached: true, ..request(&submit.file, &submit.job, &submit.script)? };
    let mut client = connect(&submit.master).await?;
    let mut screen = Screen::new(submit.format, &submit.file.display().to_string(), false);
    execute(&mut client, request, &mut screen, &context.interrupt).await.into_result()?;
    let ids = screen.jobs().join("\n") + "\n";
    write_results(ids.as_bytes())
}

fn request(file: &Path, job: &JobOptions, options: &ScriptOptions) -> Result<ExecuteRequest> {
    let read = |error| CliError::io(format!("read {}", file.display()), error);
    let text = std::fs::read_to_string(file).map_err(read)?;
    let absolute = std::path::absolute(file).map_err(read)?;
    let directory = absolute.parent().map(Path::to_path_buf).unwrap_or_default();
    Ok(ExecuteRequest {
        text,
        job_name: job.name.clone().unwrap_or_default(),
        restore: job.restore.map(|epoch| Restore { epoch }),
        ..script_request(options, &directory)
    })
}

/// Makes a request of what a script is given; its text is still to be set.
pub(crate) fn script_request(options: &ScriptOptions, directory: &Path) -> ExecuteRequest {
    let mut settings: HashMap<_, _> = options.settings.iter().cloned().collect();
    if let Some(parallelism) = options.parallelism {
        settings.insert(PARALLELISM.to_owned(), parallelism.to_string());
    }
    ExecuteRequest {
        base_directory: directory.display().to_string(),
        variables: options.variables.iter().cloned().collect(),
        settings,
        ..ExecuteRequest::default()
    }
}

/// Returns the directory that paths of statements without a file are relative to.
pub(crate) fn current_directory() -> Result<PathBuf> {
    std::env::current_dir().map_err(|error| CliError::io("find the current directory", error))
}
