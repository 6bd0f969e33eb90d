//! Where the text of results goes: the screen, a pager, or a file.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::terminal_width;
use crate::cli::execute::complain;
use crate::cli::terminal::Lent;

/// Takes the text of one result after the other.
#[derive(Debug, Default)]
pub(crate) struct Out {
    file: Option<(PathBuf, File)>,
    pages: Option<Pages>,
}

impl Out {
    /// Writes to a file from here on, which is made anew; without one to standard output.
    ///
    /// # Errors
    /// Where the file cannot be made; results go where they went before.
    pub(crate) fn redirect(&mut self, path: Option<&Path>) -> io::Result<()> {
        self.file = match path {
            Some(path) => Some((path.to_path_buf(), File::create(path)?)),
            None => None,
        };
        Ok(())
    }

    /// Returns how wide texts may be, where that is limited.
    pub(crate) fn width(&self) -> Option<usize> {
        if self.file.is_some() { None } else { terminal_width() }
    }

    /// Begins a result. One that ends may be shown by a pager.
    pub(crate) fn begin(&mut self, ends: bool) {
        self.pages = if ends && self.file.is_none() { Pages::of_terminal() } else { None };
    }

    /// Tells whether the user has seen enough and left the pager.
    pub(crate) fn is_left(&self) -> bool {
        self.pages.as_ref().is_some_and(|pages| pages.left)
    }

    /// Ends the result.
    ///
    /// # Errors
    /// What the output fails with.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        match self.pages.take() {
            Some(pages) => pages.end(),
            None => Ok(()),
        }
    }

    /// Forgets what has not been shown of a result that failed.
    pub(crate) fn abandon(&mut self) {
        self.pages = None;
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some((path, file)) = &mut self.file {
            let told = |error: io::Error| {
                io::Error::new(error.kind(), format!("write {}: {error}", path.display()))
            };
            return file.write_all(bytes).map(|()| bytes.len()).map_err(told);
        }
        match &mut self.pages {
            Some(pages) => pages.write(bytes),
            None => io::stdout().lock().write_all(bytes).map(|()| bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.file.is_some() || self.pages.is_some() {
            return Ok(());
        }
        io::stdout().lock().flush()
    }
}

/// Text that goes to a pager once it is longer than the screen.
#[derive(Debug)]
struct Pages {
    command: String,
    /// Lines that the screen has room for, less the prompt's.
    room: usize,
    held: Vec<u8>,
    pager: Option<Pager>,
    /// Whether the pager was left before the end.
    left: bool,
}

/// A pager that runs. The terminal is its own until it ends.
#[derive(Debug)]
struct Pager {
    child: Child,
    _terminal: Lent,
}

impl Pages {
    fn of_terminal() -> Option<Self> {
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return None;
        }
        let (_, height) = terminal_size::terminal_size_of(io::stdout())?;
        let room = usize::from(height.0).saturating_sub(1).max(1);
        let command = command(std::env::var("PAGER").ok(), has_less)?;
        Some(Self { command, room, held: Vec::new(), pager: None, left: false })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left {
            return Ok(bytes.len());
        }
        if self.pager.is_none() {
            self.held.extend(bytes);
            let lines = self.held.split(|byte| *byte == b'\n').count() - 1;
            if lines <= self.room {
                return Ok(bytes.len());
            }
            self.pager = Some(Pager::start(&self.command)?);
            let held = std::mem::take(&mut self.held);
            return self.write(&held).map(|_| bytes.len());
        }
        let stdin = self.pager.as_mut().and_then(|pager| pager.child.stdin.as_mut());
        match stdin.map_or(Ok(()), |stdin| stdin.write_all(bytes)) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.left = true,
            written => written?,
        }
        Ok(bytes.len())
    }

    fn end(mut self) -> io::Result<()> {
        if let Some(mut pager) = self.pager.take() {
            drop(pager.child.stdin.take());
            if pager.child.wait()?.code() == Some(NOT_FOUND) {
                complain("note: set PAGER to a program that exists, or to nothing for none\n");
            }
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(&self.held)?;
        stdout.flush()
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It may be read for as long as the user likes.
        let _ = self.child.wait();
    }
}

/// The status of a shell that does not find a program.
const NOT_FOUND: i32 = 127;

impl Pager {
    fn start(command: &str) -> io::Result<Self> {
        let terminal = Lent::begin();
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).stdin(Stdio::piped());
        if std::env::var_os("LESS").is_none() {
            // As git does: colours, no other screen, and no waiting for what fits after all.
            shell.env("LESS", "FRX");
        }
        Ok(Self { child: shell.spawn()?, _terminal: terminal })
    }
}

/// Returns the command of the pager, where there is one.
fn command(pager: Option<String>, has_less: impl Fn() -> bool) -> Option<String> {
    match pager {
        Some(pager) if pager.trim().is_empty() => None,
        Some(pager) => Some(pager),
        None => has_less().then(|| "less".to_owned()),
    }
}

fn has_less() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join("less").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pager_is_the_one_that_was_asked_for_or_less() {
        let chosen = |pager: Option<&str>, less| command(pager.map(str::to_owned), || less);
        assert_eq!(chosen(None, true).as_deref(), Some("less"));
        assert_eq!(chosen(None, false), None);
        assert_eq!(chosen(Some(""), true), None);
        assert_eq!(chosen(Some("more -d"), false).as_deref(), Some("more -d"));
    }

    #[test]
    fn results_go_to_the_file_that_was_named_last() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (directory.path().join("one"), directory.path().join("two"));
        let mut out = Out::default();
        for (path, text) in [(&one, "a"), (&two, "b")] {
            out.redirect(Some(path)).unwrap();
            out.begin(true);
            out.write_all(text.as_bytes()).unwrap();
            out.end().unwrap();
        }
        assert!(out.redirect(Some(&directory.path().join("no/such"))).is_err());
        out.write_all(b"c").unwrap();
        assert_eq!(std::fs::read(one).unwrap(), b"a");
        assert_eq!(std::fs::read(two).unwrap(), b"bc");
    }

    #[test]
    fn a_full_disk_is_told_with_the_file() {
        let mut out = Out::default();
        out.redirect(Some(Path::new("/dev/full"))).unwrap();
        let error = out.write_all(b"a").unwrap_err().to_string();
        assert!(error.starts_with("write /dev/full: No space left on device"), "{error}");
    }
}
