//! Runs the program in a directory of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// The first argument that makes this executable the program.
pub(crate) const AS_PROGRAM: &str = "program";
/// A run that takes longer hangs.
const LONGEST: Duration = Duration::from_mins(2);

/// What a run printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

impl Ended {
    /// Returns standard output, or fails the test with all that was printed.
    pub(crate) fn success(self) -> Result<String, Failed> {
        if self.code == Some(0) { Ok(self.stdout) } else { Err(self.complaint("failed")) }
    }

    /// Returns standard error, or fails the test where the run did not fail.
    pub(crate) fn failure(self) -> Result<String, Failed> {
        if self.code.is_some_and(|code| code != 0) {
            Ok(self.stderr)
        } else {
            Err(self.complaint("did not fail"))
        }
    }

    fn complaint(&self, what: &str) -> Failed {
        let Self { stdout, stderr, code } = self;
        format!("the program {what} ({code:?})\n-- stdout\n{stdout}\n-- stderr\n{stderr}").into()
    }
}

/// A directory with the program's data in it.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file into the directory and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("a file in a temporary directory");
        path
    }

    /// Makes the command; it is killed when the test drops it.
    pub(crate) fn command<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Command {
        let executable = std::env::current_exe().expect("the running executable");
        let mut command = Command::new(executable);
        command.arg(AS_PROGRAM).args(arguments).current_dir(self.path());
        command.env_remove("RAINSTORM_MASTER").env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    /// Starts the program.
    pub(crate) fn start<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Child {
        self.command(arguments).spawn().expect("the running executable starts")
    }

    /// Runs the program to its end.
    pub(crate) async fn run<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Ended {
        ended(self.start(arguments)).await
    }

    /// Runs a script to its end and returns what it printed.
    pub(crate) async fn script(&self, text: &str, arguments: &[&str]) -> Result<String, Failed> {
        let file = self.write("script.sql", text);
        let file = file.to_str().expect("a path of plain characters");
        self.run(["run", file].into_iter().chain(arguments.iter().copied())).await.success()
    }
}

/// A cluster of processes on this machine, killed when it is dropped.
pub(crate) struct LocalCluster {
    child: Child,
    /// Kept open: a cluster whose output nobody reads any more may end.
    _stdout: Lines<BufReader<ChildStdout>>,
    pub(crate) master: String,
}

impl LocalCluster {
    /// Starts a cluster with its data in `place` and returns once its master has said where it is.
    pub(crate) async fn start(place: &Place, workers: &str) -> Result<Self, Failed> {
        let mut child = place.start(["local", "--workers", workers, "--listen", "127.0.0.1:0"]);
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let first = stdout.next_line().await?.unwrap_or_default();
        let master = first.strip_prefix("master ").ok_or_else(|| Failed::from(&first))?;
        Ok(Self { child, master: master.to_owned(), _stdout: stdout })
    }

    /// Ends the cluster.
    pub(crate) async fn kill(mut self) -> Result<(), Failed> {
        Ok(self.child.kill().await?)
    }
}

/// Waits for a run to end.
pub(crate) async fn ended(child: Child) -> Ended {
    let output = tokio::time::timeout(LONGEST, child.wait_with_output()).await;
    let output = output.expect("a run that ends").expect("a process that can be waited for");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ended { stdout: text(&output.stdout), stderr: text(&output.stderr), code: output.status.code() }
}

/// Makes a test of an asynchronous function.
pub(crate) fn trial<F>(name: impl Into<String>, test: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = Result<(), Failed>>,
{
    Trial::test(name.into(), move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(test())
    })
}

/// Fails a test unless two texts are equal, and shows both.
pub(crate) fn expect_equal(found: &str, expected: &str) -> Result<(), Failed> {
    if found == expected {
        return Ok(());
    }
    Err(format!("-- expected\n{expected}\n-- found\n{found}").into())
}

/// Fails a test unless `text` contains `part`.
pub(crate) fn expect_contains(text: &str, part: &str) -> Result<(), Failed> {
    if text.contains(part) {
        return Ok(());
    }
    Err(format!("expected to find {part:?} in\n{text}").into())
}

/// Returns the repository's root.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").into()
}
