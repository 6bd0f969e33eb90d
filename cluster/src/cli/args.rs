//! The program's arguments, and the help that teaches them.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rainstorm_proto::client::Restore;

use super::output::Format;

const EXAMPLES: &str = "\
Examples:
  rainstorm                       a prompt for SQL, with a cluster of its own
  rainstorm run flights.sql       run a script and show its results
  rainstorm sql -c 'SHOW TABLES'  run one statement
  rainstorm local --workers 2     a cluster of real processes on this machine
  rainstorm submit flights.sql --master HOST:PORT
  rainstorm fs ls                 look into the files of the cluster

Without --master (or RAINSTORM_MASTER) `run` and `sql` start a cluster in their own process and
keep its data in ./rainstorm-data.";

/// Slots of a worker: each is a thread for computing.
const SLOTS_MAX: i64 = 1024;
/// Processes of `local`.
const WORKERS_MAX: i64 = 256;

/// Streaming SQL on one machine or many.
#[derive(Debug, Parser)]
#[command(name = "rainstorm", version, after_help = EXAMPLES, infer_subcommands = true)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Arguments {
    /// What to do; without it: `sql`
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) sql: Sql,
}

impl Arguments {
    /// Reads a command line, whose first word is the program's name.
    ///
    /// # Errors
    /// What is to be printed in place of running anything: a complaint, or help.
    pub(crate) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(which_cluster_last(words.into_iter().collect()))
    }
}

/// Moves `--data DIR` and `--master HOST:PORT` from before the command to behind it, where they are
/// looked for: they are said as often in one place as in the other.
fn which_cluster_last(mut words: Vec<OsString>) -> Vec<OsString> {
    let mut moved = Vec::new();
    while let Some(word) = words.get(1).and_then(|word| word.to_str()) {
        let count = match word {
            "--data" | "--master" => 2,
            word if word.starts_with("--data=") || word.starts_with("--master=") => 1,
            _ => break,
        };
        if words.len() < 1 + count {
            break;
        }
        moved.extend(words.drain(1..=count));
    }
    words.extend(moved);
    words
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Give statements at a prompt, with -c, or on standard input
    Sql(Sql),
    /// Run a file of SQL and show its results
    Run(Run),
    /// Start a file of SQL as a job on a cluster and print the job's id
    Submit(Submit),
    /// List jobs, newest first
    Jobs(Jobs),
    /// Cancel a running job and wait until it has stopped
    Cancel(Cancel),
    /// Start a master, which plans jobs and looks after them
    Master(Master),
    /// Start a worker, which runs the tasks of jobs
    Worker(Worker),
    /// Start a master and workers as processes on this machine
    Local(Local),
    /// Look into the cluster's files and copy to and from them
    Fs(Fs),
    /// Run the queries of the Nexmark benchmark and measure them
    Nexmark(Nexmark),
}

/// Which cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// Use the cluster of this master
    #[arg(long, value_name = "HOST:PORT", env = "RAINSTORM_MASTER")]
    pub(crate) master: Option<String>,
    /// Keep data in this directory
    #[arg(long, value_name = "DIR", default_value = "./rainstorm-data")]
    pub(crate) data: PathBuf,
}

const SQL_EXAMPLES: &str = "\
Examples:
  rainstorm sql     the prompt; \\? lists what it knows
  rainstorm sql -c 'SELECT 1 + 1 AS two'
  echo 'SHOW TABLES;' | rainstorm sql --format csv
The statements of a -c are planned together before any of them runs, and so are those that end on
one line of standard input. They run as soon as that line has come, until one fails.
Tables and views that are created here stay; see them with SHOW TABLES.";

#[derive(Debug, Clone, Args)]
#[command(after_help = SQL_EXAMPLES)]
pub(crate) struct Sql {
    /// Run these statements and end; several -c are run one after the other
    #[arg(short = 'c', long = "command", value_name = "SQL", allow_hyphen_values = true)]
    pub(crate) texts: Vec<String>,
    /// How rows are shown
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) start: StartOptions,
    #[command(flatten)]
    pub(crate) script: ScriptOptions,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// What a script is given.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ScriptOptions {
    /// Replace ${NAME} in the SQL by a value
    #[arg(short = 'D', value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) variables: Vec<(String, String)>,
    /// Change a setting, as SET does
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) settings: Vec<(String, String)>,
    /// Tasks per operator; default: one per slot of the cluster
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) parallelism: Option<u32>,
}

/// Which job.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct JobOptions {
    /// Name under which the job's checkpoints are kept; default in a cluster of its own: the
    /// script's
    #[arg(long, value_name = "JOB")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) start: StartOptions,
}

/// Where a job starts.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct StartOptions {
    /// Go on from a checkpoint of the job's name: from the latest, or from EPOCH
    #[arg(long, value_name = "EPOCH", value_parser = clap::value_parser!(u64).range(1..))]
    #[expect(clippy::option_option, reason = "what clap makes of a flag whose value is optional")]
    pub(crate) restore: Option<Option<u64>>,
    /// Start from the beginning although the job of this name did not finish
    #[arg(long, conflicts_with = "restore")]
    pub(crate) fresh: bool,
}

impl StartOptions {
    /// Returns what a request says of it.
    pub(crate) fn restore(&self) -> Option<Restore> {
        // On the wire 0 is the latest.
        self.restore.map(|epoch| Restore { epoch: epoch.unwrap_or(0) })
    }
}

const RUN_EXAMPLES: &str = "\
Examples:
  rainstorm run flights.sql
  rainstorm run flights.sql --format csv > result.csv
  rainstorm run report.sql -D day=2001-01-01 --set parallelism.default=4
  rainstorm run copy.sql --restore             go on where it was interrupted
Paths in the script are relative to the script.";

#[derive(Debug, Clone, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub(crate) struct Run {
    /// The script
    #[arg(value_name = "FILE.sql")]
    pub(crate) file: PathBuf,
    /// How rows are shown
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) job: JobOptions,
    #[command(flatten)]
    pub(crate) script: ScriptOptions,
    #[command(flatten)]
    pub(crate) target: Target,
}

const SUBMIT_EXAMPLES: &str = "\
Examples:
  rainstorm submit flights.sql --master 127.0.0.1:4600 --name flights
  rainstorm jobs --master 127.0.0.1:4600";

#[derive(Debug, Clone, Args)]
#[command(after_help = SUBMIT_EXAMPLES)]
pub(crate) struct Submit {
    /// The script
    #[arg(value_name = "FILE.sql")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) job: JobOptions,
    #[command(flatten)]
    pub(crate) script: ScriptOptions,
    #[command(flatten)]
    pub(crate) target: Target,
    /// Accepted like in `run`; the job's id is printed alone
    #[arg(long, value_enum, default_value = "table", hide = true)]
    pub(crate) format: Format,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Jobs {
    /// How the list is shown
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Cancel {
    /// The job's id, as in `rainstorm jobs`
    #[arg(value_name = "JOB")]
    pub(crate) job: String,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Master {
    /// Where to listen; port 0 takes any free one. Only loopback addresses are allowed yet
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4600")]
    pub(crate) listen: SocketAddr,
    /// Keep data in this directory
    #[arg(long, value_name = "DIR", default_value = "./rainstorm-data")]
    pub(crate) data: PathBuf,
    /// End when standard input does: for a parent process that may die
    #[arg(long, hide = true)]
    pub(crate) end_with_stdin: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Worker {
    /// The cluster's master
    #[arg(long, value_name = "HOST:PORT", env = "RAINSTORM_MASTER")]
    pub(crate) master: String,
    /// Tasks that run at a time; default: one per core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=SLOTS_MAX))]
    pub(crate) slots: Option<u32>,
    /// Where to listen; port 0 takes any free one. Only loopback addresses are allowed yet
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// End when standard input does: for a parent process that may die
    #[arg(long, hide = true)]
    pub(crate) end_with_stdin: bool,
}

const LOCAL_EXAMPLES: &str = "\
Examples:
  rainstorm local --workers 2
  rainstorm local --workers 4 --slots 1 --listen 127.0.0.1:4600
The first line on standard output is `master ADDR:PORT`; Ctrl-C ends all processes.";

#[derive(Debug, Clone, Args)]
#[command(after_help = LOCAL_EXAMPLES)]
pub(crate) struct Local {
    /// How many worker processes
    #[arg(long, value_name = "N", default_value = "2")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=WORKERS_MAX))]
    pub(crate) workers: u32,
    /// Tasks that run at a time on each worker; default: the cores, divided among the workers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=SLOTS_MAX))]
    pub(crate) slots: Option<u32>,
    /// Where the master listens; port 0 takes any free one. Only loopback addresses are allowed
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Keep data in this directory
    #[arg(long, value_name = "DIR", default_value = "./rainstorm-data")]
    pub(crate) data: PathBuf,
}

const FS_EXAMPLES: &str = "\
Examples:
  rainstorm fs put flights.csv /input/flights.csv
  rainstorm fs ls -r /
  rainstorm fs cat /input/flights.csv | head
  rainstorm fs get -r '/output/2001-*' results
Paths are those of sdfs:// URLs. While a process holds the data directory it is asked; without
one the files are read where they lie.";

#[derive(Debug, Clone, Args)]
#[command(after_help = FS_EXAMPLES)]
pub(crate) struct Fs {
    #[command(subcommand)]
    pub(crate) command: FsCommand,
    #[command(flatten)]
    pub(crate) target: FsTarget,
}

/// Whose files; accepted behind the command too.
#[derive(Debug, Clone, Args)]
pub(crate) struct FsTarget {
    /// Use the cluster of this master
    #[arg(long, global = true, value_name = "HOST:PORT", env = "RAINSTORM_MASTER")]
    pub(crate) master: Option<String>,
    /// The data directory
    #[arg(long, global = true, value_name = "DIR", default_value = "./rainstorm-data")]
    pub(crate) data: PathBuf,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum FsCommand {
    /// List a directory
    Ls {
        /// Directories, files or patterns such as /in/*.csv; default: the root
        #[arg(value_name = "PATH")]
        paths: Vec<String>,
        /// Descend into directories
        #[arg(short, long)]
        recursive: bool,
    },
    /// Copy local files into the cluster
    Put {
        /// Local files; - is standard input
        #[arg(value_name = "LOCAL", required = true)]
        locals: Vec<PathBuf>,
        /// The path in the cluster; names are added to a directory's, and to one that ends with /
        path: String,
        /// Copy directories with all that is in them
        #[arg(short, long)]
        recursive: bool,
        /// Fail where the file exists
        #[arg(long)]
        create: bool,
    },
    /// Copy files out of the cluster
    Get {
        /// Files in the cluster or patterns such as '/out/*.csv', and last, where there are
        /// several, the local file or directory; without one they are copied here; - is standard
        /// output
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<String>,
        /// Copy directories with all that is in them
        #[arg(short, long)]
        recursive: bool,
    },
    /// Write files to standard output
    Cat {
        /// Files or patterns
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<String>,
    },
    /// Remove files
    Rm {
        /// Files or patterns
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<String>,
        /// Remove directories with all that is in them
        #[arg(short, long)]
        recursive: bool,
        /// Remove also what the cluster itself needs: /jobs, /catalog
        #[arg(long)]
        force: bool,
    },
    /// Show what is known of files
    Stat {
        /// Files or patterns
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<String>,
    },
}

const NEXMARK_EXAMPLES: &str = "\
Examples:
  rainstorm nexmark --queries q0,q5 --events 10000000
  rainstorm nexmark --queries all --parallelism 2 --format json
  rainstorm nexmark --write events --events 1000000   (as Parquet files)
  rainstorm nexmark --queries q5 --source parquet --input events";

#[derive(Debug, Clone, Args)]
#[command(after_help = NEXMARK_EXAMPLES)]
pub(crate) struct Nexmark {
    /// Queries such as q0,q5, or `all` that work
    #[arg(long, value_name = "LIST", default_value = "all", value_delimiter = ',')]
    pub(crate) queries: Vec<String>,
    /// Events that are generated; of --input all are read
    #[arg(long, value_name = "N", default_value = "1000000", conflicts_with = "input")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) events: u64,
    /// Tasks per operator; default: one per core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) parallelism: Option<u32>,
    /// How the measurements are shown
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: NexmarkFormat,
    /// Where events come from
    #[arg(long, value_enum, default_value = "generator")]
    pub(crate) source: NexmarkSource,
    /// The directory of --source parquet
    #[arg(long, value_name = "DIR", required_if_eq("source", "parquet"))]
    pub(crate) input: Option<PathBuf>,
    /// Write the events as Parquet files into this directory and run no query
    #[arg(long, value_name = "DIR", conflicts_with = "input")]
    pub(crate) write: Option<PathBuf>,
    /// Change a setting, as SET does
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) settings: Vec<(String, String)>,
    /// Run one query in this process: what the children do
    #[arg(long, hide = true)]
    pub(crate) in_process: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NexmarkFormat {
    /// Aligned columns
    Table,
    /// One object a line
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NexmarkSource {
    /// The nexmark connector
    Generator,
    /// Files that --write made
    Parquet,
}

/// Parses NAME=VALUE.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.to_owned()))
        }
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests;
