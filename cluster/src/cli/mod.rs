//! The command line: what people type and see.
//!
//! - [`main`]: the whole program
//! - `args`: its arguments and help
//! - `command`: what each command does
//! - `repl`: the prompt
//! - `session`: statements and commands one after the other
//! - `reach`: finds or starts the cluster that a command talks to
//! - `terminal`, `type_ahead`: keys that are pressed while statements run
//! - `execute`: runs statements there and shows what comes back
//! - `output`, `progress`, `sql_errors`: how that looks

mod args;
mod command;
mod error;
mod execute;
mod interrupt;
mod output;
mod progress;
mod reach;
mod repl;
mod session;
mod sql_errors;
mod terminal;
mod type_ahead;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use self::args::{Arguments, Command};
use self::error::{CliError, Result};
use self::interrupt::Interrupt;

pub use output::Format;

/// What all commands use.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) interrupt: Interrupt,
    /// What comes before the arguments of a child process that is this program.
    pub(crate) child_prefix: Vec<OsString>,
    pub(crate) runtime: tokio::runtime::Handle,
}

/// Runs the program with its arguments, the first of which is its name. Only success gives the
/// exit status 0.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    main_in(arguments, &[])
}

/// Runs the program inside another executable: child processes are this executable with
/// `child_prefix` before their arguments, on which it must call this again.
pub fn main_in(
    arguments: impl IntoIterator<Item = OsString>,
    child_prefix: &[OsString],
) -> ExitCode {
    let arguments = match Arguments::read(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Where nobody reads the help, there is nothing to be done.
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    log_to_stderr();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return CliError::io("start the runtime", error).report(),
    };
    let result = {
        let _guard = runtime.enter();
        Interrupt::listen().and_then(|interrupt| {
            let runtime = runtime.handle().clone();
            run(arguments, &Context { interrupt, child_prefix: child_prefix.to_vec(), runtime })
        })
    };
    // A thread that waits for standard input would keep the program from ending.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let runtime = context.runtime.clone();
    match arguments.command.unwrap_or(Command::Sql(arguments.sql)) {
        Command::Sql(sql) => command::sql(sql, context),
        Command::Run(run) => runtime.block_on(command::run(run, context)),
        Command::Submit(submit) => runtime.block_on(command::submit(submit, context)),
        Command::Jobs(jobs) => runtime.block_on(command::jobs(&jobs, context)),
        Command::Cancel(cancel) => runtime.block_on(command::cancel(&cancel, context)),
        Command::Fs(fs) => runtime.block_on(command::files(fs, context)),
        Command::Master(master) => runtime.block_on(command::master(master, context)),
        Command::Worker(worker) => runtime.block_on(command::worker(worker, context)),
        Command::Local(local) => runtime.block_on(command::local(local, context)),
        Command::Nexmark(nexmark) => runtime.block_on(command::nexmark(nexmark, context)),
    }
}

/// Shows warnings and errors of the program; `RAINSTORM_LOG=info` shows more.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("RAINSTORM_LOG").unwrap_or_else(|_| "warn".into());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // A program that embeds this one may have set its own.
    let _ = subscriber.try_init();
}
