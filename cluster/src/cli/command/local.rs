//! `rainstorm local`: a master, and workers as processes of their own.

use std::ffi::OsString;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Stdout};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;

use super::serve::{check_listen, num_cores};
use crate::cli::Context;
use crate::cli::args::Local;
use crate::cli::error::{CliError, Result};
use crate::cli::execute::complain;
use crate::cli::interrupt::Operation;
use crate::cli::output::write_results;
use crate::master::{self, Master};
use crate::membership::HeartbeatConfig;

/// How long a worker may take to end before it is killed: its tasks are cancelled by then, and what
/// was acknowledged is on disk.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// How long jobs may take to stop before their workers are: a worker that does not answer would be
/// waited for.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// How much longer jobs are waited for, once all workers are gone, than a silent worker takes to be
/// dead.
const LOSS_PATIENCE: Duration = Duration::from_secs(2);

/// Runs a cluster of processes until it is asked to stop.
pub(crate) async fn local(local: Local, context: &Context) -> Result<()> {
    check_listen(local.listen)?;
    let mut operation = context.interrupt.begin();
    let config = master::Config { data: local.data.clone(), listen: local.listen };
    let started = Master::start(config).await;
    let master = started.map_err(|error| CliError::from_error(&error))?;
    let mut workers = Vec::new();
    let result = serve(&local, context, &master.address(), &mut workers, &mut operation).await;
    if result.is_err() && workers.is_empty() {
        // Jobs fail by the loss of their workers, which says more than that they were cancelled.
        let patience = HeartbeatConfig::default().dead_after + LOSS_PATIENCE;
        let failed = tokio::time::timeout(patience, master.jobs_ended());
        let _ = operation.or_interrupted(async { Ok(failed.await) }).await;
    }
    let _ = tokio::time::timeout(CANCEL_TIMEOUT, master.cancel_jobs()).await;
    futures::future::join_all(workers.into_iter().map(stop)).await;
    let _ = tokio::time::timeout(CANCEL_TIMEOUT, master.stop()).await;
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
    let stdout = Arc::new(Mutex::new(tokio::io::stdout()));
    // The master's address is the first line, whatever the workers write.
    let first_line = Arc::clone(&stdout).lock_owned().await;
    let mut ready = Vec::new();
    for _ in 0..local.workers {
        let (worker, is_ready) = spawn(context, address, slots, &stdout)?;
        workers.push(worker);
        ready.push(is_ready);
    }
    let all_ready = async {
        for is_ready in ready {
            let ended = |_| CliError::new("a worker process ended before it was ready");
            is_ready.await.map_err(ended)?;
        }
        Ok(())
    };
    operation.or_interrupted(all_ready).await?;
    write_results(format!("master {address}\n").as_bytes())?;
    drop(first_line);
    let (workers_text, slots_text) = (count(local.workers, "worker"), count(slots, "slot"));
    complain(&format!("{workers_text} with {slots_text} each; Ctrl-C ends all\n"));
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
        let _ = tokio::time::timeout(STOP_TIMEOUT, workers.remove(index).output).await;
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        complain(&format!("warning: a worker ended: {status}\n"));
    }
    complain("stopping\n");
    Ok(())
}

/// Returns a number of things in words.
fn count(number: u32, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// A worker process.
struct Worker {
    child: Child,
    /// Open for as long as the worker is to live. Kept apart from the child, for waiting for a
    /// child closes its input.
    stdin: ChildStdin,
    /// Hands on what it writes.
    output: JoinHandle<()>,
}

/// Starts a worker; the receiver hears when it serves, and is closed where it ends before that.
fn spawn(
    context: &Context,
    address: &str,
    slots: u32,
    stdout: &Arc<Mutex<Stdout>>,
) -> Result<(Worker, oneshot::Receiver<()>)> {
    let failed = |error| CliError::io("start a worker process", error);
    let mut command = this_program(context).map_err(failed)?;
    command.args(["worker", "--end-with-stdin", "--master", address]);
    command.args(["--slots", &slots.to_string()]);
    // Ctrl-C reaches the whole group; only the parent is to hear it and ends the rest in order.
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    let stdin = child.stdin.take().expect("its input is piped");
    let (ready, is_ready) = oneshot::channel();
    let lines = BufReader::new(child.stdout.take().expect("its output is piped"));
    let output = tokio::spawn(hand_on(lines, ready, Arc::clone(stdout)));
    Ok((Worker { child, stdin, output }, is_ready))
}

/// Returns a command that starts this program anew, without arguments yet.
pub(crate) fn this_program(context: &Context) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(&context.child_prefix as &[OsString]);
    Ok(command)
}

/// Takes the line that tells that a worker serves, and hands each further one, such as the rows
/// of a print sink, on as a whole. Where nobody reads them they are read all the same: a worker
/// whose output is closed would fail its tasks.
async fn hand_on(
    mut lines: BufReader<ChildStdout>,
    ready: oneshot::Sender<()>,
    stdout: Arc<Mutex<Stdout>>,
) {
    let mut line = Vec::new();
    if !matches!(lines.read_until(b'\n', &mut line).await, Ok(length) if length > 0) {
        return;
    }
    let _ = ready.send(());
    loop {
        line.clear();
        if !matches!(lines.read_until(b'\n', &mut line).await, Ok(length) if length > 0) {
            return;
        }
        let mut stdout = stdout.lock().await;
        if stdout.write_all(&line).await.is_ok() {
            let _ = stdout.flush().await;
        }
    }
}

/// Ends a worker process, cleanly if it does.
async fn stop(worker: Worker) {
    let Worker { mut child, stdin, output } = worker;
    drop(stdin);
    if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
        // Where it cannot be killed it has ended.
        let _ = child.kill().await;
    }
    let _ = tokio::time::timeout(STOP_TIMEOUT, output).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_thing_is_no_plural() {
        assert_eq!((&*count(1, "slot"), &*count(2, "worker")), ("1 slot", "2 workers"));
    }
}
