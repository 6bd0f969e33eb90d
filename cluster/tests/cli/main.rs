//! The program as a process: what it prints, where, and how it ends. Its master is one of the
//! tests, so that every answer is known.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, too")]

mod clusters;
mod files;
mod master;
mod nexmark;
mod prompt;
mod scripts;
mod statements;

use std::path::Path;
use std::process::{Output, Stdio};

use tokio::process::{Child, Command};

/// What a run of the program left.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Prepares the program in a directory, with all that it writes piped.
fn rainstorm(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rainstorm"));
    command
        .current_dir(directory)
        .args(arguments)
        .env_remove("COLUMNS")
        .env_remove("RAINSTORM_MASTER");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs the program to its end.
async fn run(directory: &Path, arguments: &[&str]) -> Ran {
    rainstorm(directory, arguments).output().await.unwrap().into()
}

/// Sends SIGINT, as Ctrl-C does.
async fn interrupt(child: &Child) {
    signal(child, "-INT").await;
}

/// Sends a signal to a process.
async fn signal(child: &Child, signal: &str) {
    let id = child.id().expect("it has not ended").to_string();
    assert!(Command::new("kill").args([signal, &id]).status().await.unwrap().success());
}
