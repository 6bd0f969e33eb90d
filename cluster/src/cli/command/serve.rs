//! `rainstorm master` and `rainstorm worker`.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::cli::Context;
use crate::cli::args::{Master, Worker};
use crate::cli::error::{CliError, Result};
use crate::cli::execute::complain;
use crate::cli::interrupt::Operation;
use crate::cli::output::write_results;
use crate::cli::reach::check_address;
use crate::fs::RemoteStore;
use crate::master;
use crate::node::{WorkerNode, WorkerNodeConfig};

/// Serves as a master until it is asked to stop.
pub(crate) async fn master(arguments: Master, context: &Context) -> Result<()> {
    check_listen(arguments.listen)?;
    let mut operation = context.interrupt.begin();
    let config = master::Config { data: arguments.data, listen: arguments.listen };
    let started = master::Master::start(config).await;
    let master = started.map_err(|error| CliError::from_error(&error))?;
    write_results(format!("master {}\n", master.address()).as_bytes())?;
    wait_for_end(&mut operation, arguments.end_with_stdin).await;
    complain("stopping\n");
    master.stop().await;
    Ok(())
}

/// Serves as a worker until it is asked to stop.
pub(crate) async fn worker(arguments: Worker, context: &Context) -> Result<()> {
    check_listen(arguments.listen)?;
    check_address(&arguments.master)?;
    let mut operation = context.interrupt.begin();
    let slots = arguments.slots.map_or_else(num_cores, |slots| slots as usize);
    let files = RemoteStore::connect(&arguments.master);
    let files = Arc::new(files.map_err(|error| CliError::from_error(&error))?);
    let (master, listen) = (arguments.master, arguments.listen);
    let config = WorkerNodeConfig { master, slots, listen, files };
    let start =
        async { WorkerNode::start(config).await.map_err(|error| CliError::from_error(&error)) };
    let worker = operation.or_interrupted(start).await?;
    write_results(format!("worker {}\n", worker.address()).as_bytes())?;
    wait_for_end(&mut operation, arguments.end_with_stdin).await;
    worker.stop().await;
    Ok(())
}

/// Returns how many cores this process may use.
pub(crate) fn num_cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Refuses addresses that other machines could reach.
///
/// # Errors
/// Where the address is not a loopback one.
pub(crate) fn check_listen(listen: SocketAddr) -> Result<()> {
    if listen.ip().is_loopback() {
        return Ok(());
    }
    Err(CliError::new(format!(
        "refusing to listen on {listen}: without keys only loopback addresses such as \
         127.0.0.1:{} are allowed",
        listen.port()
    )))
}

/// Returns when the user wants it, or standard input ends where that counts.
async fn wait_for_end(operation: &mut Operation, end_with_stdin: bool) {
    if !end_with_stdin {
        return operation.interrupted().await;
    }
    tokio::select! {
        () = operation.interrupted() => {}
        () = stdin_ended() => {}
    }
}

/// Returns once standard input has ended: the parent process that held it open has died or wants
/// this one to end.
pub(crate) async fn stdin_ended() {
    let (ended, has_ended) = oneshot::channel();
    // A thread of its own: reading standard input cannot be cancelled.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock().by_ref(), &mut std::io::sink());
        let _ = ended.send(());
    });
    let _ = has_ended.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_listened_on() {
        assert!(check_listen("127.0.0.1:0".parse().unwrap()).is_ok());
        assert!(check_listen("[::1]:4600".parse().unwrap()).is_ok());
        let error = check_listen("0.0.0.0:4600".parse().unwrap()).unwrap_err();
        let CliError::Failed { message, .. } = error else { panic!() };
        assert!(message.contains("127.0.0.1:4600"), "{message}");
    }
}
