//! `rainstorm local`: a master, and workers as processes of their own.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::serve::{check_listen, num_cores};
use crate::cli::Context;
use crate::cli::args::Local;
use crate::cli::error::{CliError, Result};
use crate::cli::execute::complain;
use crate::cli::interrupt::Operation;
use crate::cli::output::write_results;
use crate::master::{self, Master};

/// How long a worker may take to end before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs a cluster of processes until it is asked to stop.
pub(crate) async fn local(local: Local, context: &Context) -> Result<()> {
    check_listen(local.listen)?;
    let mut operation = context.interrupt.begin();
    let config = master::Config { data: local.data.clone(), listen: local.listen };
    let started = Master::start(config).await;
    let master = started.map_err(|error| CliError::from_error(&error))?;
    let mut workers = Vec::new();
    let result = serve(&local, context, &master.address(), &mut workers, &mut operation).await;
    master.cancel_jobs().await;
    for worker in workers {
        stop(worker).await;
    }
    master.stop().await;
    result
}

async fn serve(
    local: &Local,
    context: &Context,
    address: &str,
    workers: &mut Vec<Worker>,
    operation: &mut Operation,
) -> Result<()> {
    let slots = local.slots.unwrap_or_else(|| (num_cores() as u32).div_ceil(local.workers));
    for _ in 0..local.workers {
        workers.push(spawn(context, address, slots)?);
    }
    let ready = async {
        for worker in &mut *workers {
            wait_until_ready(&mut worker.child).await?;
        }
        Ok(())
    };
    operation.or_interrupted(ready).await?;
    write_results(format!("master {address}\n").as_bytes())?;
    complain(&format!("{} workers with {slots} slots each; Ctrl-C ends all\n", local.workers));
    loop {
        let mut ends =
            workers.iter_mut().map(|worker| Box::pin(worker.child.wait())).collect::<Vec<_>>();
        if ends.is_empty() {
            return Err(CliError::new("all workers have ended"));
        }
        let (status, index) = tokio::select! {
            () = operation.interrupted() => break,
            (status, index, _) = futures::future::select_all(&mut ends) => (status, index),
        };
        drop(ends);
        workers.remove(index);
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        complain(&format!("warning: a worker ended: {status}\n"));
    }
    complain("stopping\n");
    Ok(())
}

/// A worker process.
struct Worker {
    child: Child,
    /// Open for as long as the worker is to live. Kept apart from the child, for waiting for a
    /// child closes its input.
    stdin: ChildStdin,
}

fn spawn(context: &Context, address: &str, slots: u32) -> Result<Worker> {
    let failed = |error| CliError::io("start a worker process", error);
    let mut command = this_program(context).map_err(failed)?;
    command.args(["worker", "--end-with-stdin", "--master", address]);
    command.args(["--slots", &slots.to_string()]);
    // Ctrl-C reaches the whole group; only the parent is to hear it and ends the rest in order.
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    let stdin = child.stdin.take().expect("its input is piped");
    Ok(Worker { child, stdin })
}

/// Returns a command that starts this program anew, without arguments yet.
pub(crate) fn this_program(context: &Context) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(&context.child_prefix as &[OsString]);
    Ok(command)
}

/// Returns when the worker has told that it serves.
async fn wait_until_ready(worker: &mut Child) -> Result<()> {
    let stdout = worker.stdout.take().expect("its output is piped");
    let mut line = String::new();
    let read = BufReader::new(stdout).read_line(&mut line).await;
    if matches!(read, Ok(length) if length > 0) {
        return Ok(());
    }
    Err(CliError::new("a worker process ended before it was ready"))
}

/// Ends a worker process, cleanly if it does.
async fn stop(worker: Worker) {
    let Worker { mut child, stdin } = worker;
    drop(stdin);
    if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
        // Where it cannot be killed it has ended.
        let _ = child.kill().await;
    }
}
