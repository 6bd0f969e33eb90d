//! `rainstorm run` and `rainstorm submit`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rainstorm_proto::client::ExecuteRequest;

use crate::cli::Context;
use crate::cli::args::{JobOptions, Run, ScriptOptions, Submit};
use crate::cli::error::{CliError, Result};
use crate::cli::execute::{Screen, execute};
use crate::cli::output::write_results;
use crate::cli::reach::{reach_or_start, reach_running};

/// The setting that --parallelism stands for.
const PARALLELISM: &str = "parallelism.default";
/// The setting that names a job unless --name does.
const JOB_NAME: &str = "pipeline.name";

/// Runs a script and shows its results.
pub(crate) async fn run(run: Run, context: &Context) -> Result<()> {
    let mut request = request(&run.file, &run.job, &run.script)?;
    if run.target.master.is_none() || run.job.start.restore.is_some() {
        name_after(&run.file, &mut request);
    }
    let mut reached = reach_or_start(&run.target, &context.interrupt).await?;
    let mut screen = Screen::new(run.format, &run.file.display().to_string(), false);
    screen.go_on_with(go_on(std::env::args()));
    let outcome = execute(&mut reached, request, &mut screen, &context.interrupt).await;
    reached.close().await;
    outcome.into_result()
}

/// Starts a script's job and prints its id.
pub(crate) async fn submit(submit: Submit, context: &Context) -> Result<()> {
    let mut request =
        ExecuteRequest { detached: true, ..request(&submit.file, &submit.job, &submit.script)? };
    name_after(&submit.file, &mut request);
    let mut reached = reach_running(&submit.target).await?;
    let mut screen = Screen::new(submit.format, &submit.file.display().to_string(), false);
    execute(&mut reached, request, &mut screen, &context.interrupt).await.into_result()?;
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
        restore: job.start.restore(),
        fresh: job.start.fresh,
        ..script_request(options, &directory)
    })
}

/// Returns the command that goes on with what a command has begun.
fn go_on(words: impl Iterator<Item = String>) -> String {
    let mut command = Vec::new();
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        if word == "--restore" {
            // Its value is optional.
            words.next_if(|value| value.parse::<u64>().is_ok());
        } else if word != "--fresh" && !word.starts_with("--restore=") {
            command.push(quoted(&word));
        }
    }
    command.push("--restore".to_owned());
    command.join(" ")
}

/// Writes a word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Names the job after its script unless something else names it, so that a script that was
/// interrupted finds its checkpoints again. Two that run on a shared cluster at a time would meet
/// under it: there, only what is submitted to stay is named so.
fn name_after(file: &Path, request: &mut ExecuteRequest) {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name = stem.chars().map(plain).collect::<String>();
    if request.job_name.is_empty() && !name.is_empty() {
        request.settings.entry(JOB_NAME.to_owned()).or_insert(name);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_goes_on_is_the_same_with_restore() {
        let check = |words: &[&str], expected: &str| {
            assert_eq!(go_on(words.iter().map(ToString::to_string)), expected);
        };
        check(&["rainstorm", "run", "a.sql"], "rainstorm run a.sql --restore");
        check(
            &["rainstorm", "run", "--restore", "7", "my file.sql", "-D", "a=it's"],
            r"rainstorm run 'my file.sql' -D 'a=it'\''s' --restore",
        );
        check(&["r", "run", "--fresh", "a.sql", "--restore=3"], "r run a.sql --restore");
        check(
            &["r", "run", "--restore", "a.sql", "--parallelism", "2"],
            "r run a.sql --parallelism 2 --restore",
        );
    }

    #[test]
    fn a_job_is_named_after_its_script_unless_something_else_names_it() {
        let mut request = ExecuteRequest::default();
        name_after(Path::new("a/my copy.v2.sql"), &mut request);
        assert_eq!(request.settings[JOB_NAME], "my-copy-v2");
        name_after(Path::new("other.sql"), &mut request);
        assert_eq!(request.settings[JOB_NAME], "my-copy-v2");
        let mut named = ExecuteRequest { job_name: "mine".into(), ..ExecuteRequest::default() };
        name_after(Path::new("other.sql"), &mut named);
        assert!(named.settings.is_empty());
    }
}
