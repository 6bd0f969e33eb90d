//! The one writer of records: it checks conditions, logs many changes with one sync, and makes
//! them visible once they are durable.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use prost::Message;
use rainstorm_proto::files as proto;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::disk::create_directory;
use super::error::{FsError, Result};
use super::frame::HEADER_BYTES;
use super::log::{AppendError, Log};
use super::record::Record;
use super::references::{Pins, References};
use super::snapshot::{self, decode_frame, mutation, numbered};
use super::table::{Change, Records, Table};

/// Operations that may wait for the writer.
const QUEUE_OPERATIONS: usize = 1024;
/// The most operations that share a sync.
const GROUP_OPERATIONS: usize = 256;

/// What must hold of a path before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    Always,
    Absent,
    Etag(String),
}

/// A change that is asked for.
#[derive(Debug)]
pub(crate) enum Operation {
    /// Writes a record, the chunks of which are stored and pinned.
    Put { path: Arc<str>, record: Record, condition: Condition, pins: Vec<Pins> },
    /// Removes a path; one that is not there is removed already.
    Delete { path: Arc<str> },
    /// Writes the record of another path, and removes that where it is a move.
    Copy { from: Arc<str>, to: Arc<str>, create: bool, remove: bool, etag: Uuid, now_ms: i64 },
}

struct Request {
    operation: Operation,
    reply: oneshot::Sender<Result<()>>,
}

/// Hands operations to the writer's thread.
#[derive(Debug)]
pub(crate) struct Committer {
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Recovers the records of a directory and starts the writer.
    ///
    /// # Errors
    /// `Corrupt`, `Version`, `Io`.
    pub(crate) fn open(
        directory: &Path,
        snapshot_after_bytes: u64,
        references: Arc<References>,
    ) -> Result<(Self, Arc<Table>)> {
        let directory = directory.join("records");
        create_directory(&directory)
            .map_err(FsError::io(format!("create {}", directory.display())))?;
        let (records, log) = recover(&directory)?;
        let table = Arc::new(Table::new(records, references));
        let (requests, queue) = mpsc::channel(QUEUE_OPERATIONS);
        let mut writer = Writer {
            directory,
            log,
            table: Arc::clone(&table),
            snapshot_after_bytes,
            failed: None,
        };
        let thread = std::thread::Builder::new()
            .name("sdfs-log".into())
            .spawn(move || writer.run(queue))
            .map_err(FsError::io("start the log's thread"))?;
        Ok((Self { requests: Some(requests), thread: Some(thread) }, table))
    }

    /// Applies an operation and returns once it is durable.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`, `Precondition`; `Io` and `Failed` where the log cannot be
    /// written.
    pub(crate) async fn submit(&self, operation: Operation) -> Result<()> {
        let gone = || FsError::Failed { reason: "its thread has ended".into() };
        let requests = self.requests.as_ref().ok_or_else(gone)?;
        let (reply, replied) = oneshot::channel();
        requests.send(Request { operation, reply }).await.map_err(|_| gone())?;
        replied.await.map_err(|_| gone())?
    }
}

impl Drop for Committer {
    /// Waits for what was handed over, so that the directory is quiet afterwards.
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Writer {
    directory: PathBuf,
    log: Log,
    table: Arc<Table>,
    snapshot_after_bytes: u64,
    /// Why no more writes are taken.
    failed: Option<String>,
}

impl Writer {
    fn run(&mut self, mut queue: mpsc::Receiver<Request>) {
        while let Some(first) = queue.blocking_recv() {
            let mut group = vec![first];
            while group.len() < GROUP_OPERATIONS
                && let Ok(request) = queue.try_recv()
            {
                group.push(request);
            }
            self.commit(group);
            if self.failed.is_none() && self.log.length() > self.snapshot_after_bytes {
                self.rotate();
            }
        }
    }

    fn commit(&mut self, group: Vec<Request>) {
        let mut draft = Draft { table: &self.table, overlay: HashMap::new(), changes: Vec::new() };
        let mut replies = Vec::with_capacity(group.len());
        // Chunks stay pinned until their records refer to them.
        let mut pinned = Vec::new();
        for request in group {
            let outcome = match &self.failed {
                Some(reason) => Err(FsError::Failed { reason: reason.clone() }),
                None => draft.apply(request.operation, &mut pinned),
            };
            replies.push((request.reply, outcome));
        }
        let changes = draft.changes;
        if let Err(error) = self.log_changes(&changes) {
            for (_, outcome) in &mut replies {
                *outcome = Err(error.clone());
            }
        } else {
            self.table.apply(changes);
        }
        drop(pinned);
        for (reply, outcome) in replies {
            // A caller that went away does not need its answer.
            let _ = reply.send(outcome);
        }
    }

    fn log_changes(&mut self, changes: &[Change]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let mutations = changes.iter().map(|(path, record)| mutation(path, record.as_ref()));
        let frame = proto::Frame { mutations: mutations.collect(), total: None };
        match self.log.append(&frame.encode_to_vec()) {
            Ok(()) => Ok(()),
            Err(AppendError::Refused(error)) => Err(error),
            Err(AppendError::Unknown(error)) => {
                self.give_up(&error);
                Err(error)
            }
        }
    }

    /// Starts a new log behind a snapshot. Where that fails the old log simply goes on, unless the
    /// new one may be there.
    fn rotate(&mut self) {
        match self.try_rotate() {
            Ok(()) => {}
            Err(AppendError::Refused(error)) => {
                tracing::warn!(error = %error, "snapshot of the file store's records failed");
                // Tried again only after as much was written once more.
                self.snapshot_after_bytes += self.log.length();
            }
            Err(AppendError::Unknown(error)) => self.give_up(&error),
        }
    }

    /// Takes no more writes.
    fn give_up(&mut self, error: &FsError) {
        tracing::error!(error = %error, "file store takes no more writes");
        self.failed = Some(error.to_string());
    }

    fn try_rotate(&mut self) -> Result<(), AppendError> {
        let next = self.log.next_sequence();
        let records = self.table.read();
        let entries = records.iter().map(|(path, record)| (&**path, record));
        snapshot::write(&self.directory, next - 1, entries).map_err(AppendError::Refused)?;
        drop(records);
        self.log = Log::create(&self.directory, next)?;
        remove_covered(&self.directory).map_err(AppendError::Refused)
    }
}

/// Operations of one group on top of the table.
struct Draft<'a> {
    table: &'a Table,
    overlay: HashMap<Arc<str>, Option<Arc<Record>>>,
    changes: Vec<Change>,
}

impl Draft<'_> {
    fn apply(&mut self, operation: Operation, pinned: &mut Vec<Pins>) -> Result<()> {
        match operation {
            Operation::Put { path, record, condition, pins } => {
                pinned.extend(pins);
                self.put(path, record, &condition)
            }
            Operation::Delete { path } => {
                if self.current(&path).is_some() {
                    self.change(path, None);
                }
                Ok(())
            }
            Operation::Copy { from, to, create, remove, etag, now_ms } => {
                let missing = || FsError::NotFound { path: from.to_string() };
                let source = self.current(&from).ok_or_else(missing)?;
                let record = Record { etag, last_modified_ms: now_ms, ..(*source).clone() };
                let condition = if create { Condition::Absent } else { Condition::Always };
                self.put(Arc::clone(&to), record, &condition)?;
                if remove && from != to {
                    self.change(from, None);
                }
                Ok(())
            }
        }
    }

    fn put(&mut self, path: Arc<str>, record: Record, condition: &Condition) -> Result<()> {
        let current = self.current(&path);
        if current.as_ref().is_some_and(|current| current.etag == record.etag) {
            // The same write once more: its first answer was lost.
            return Ok(());
        }
        check_condition(&path, current.as_deref(), condition)?;
        self.change(path, Some(Arc::new(record)));
        Ok(())
    }

    fn current(&self, path: &Arc<str>) -> Option<Arc<Record>> {
        match self.overlay.get(path) {
            Some(record) => record.clone(),
            None => self.table.get(path).ok(),
        }
    }

    fn change(&mut self, path: Arc<str>, record: Option<Arc<Record>>) {
        self.overlay.insert(Arc::clone(&path), record.clone());
        self.changes.push((path, record));
    }
}

/// Checks what must hold of a path before it is written.
///
/// # Errors
/// `AlreadyExists`, `Precondition`.
pub(crate) fn check_condition(
    path: &str,
    current: Option<&Record>,
    condition: &Condition,
) -> Result<()> {
    let precondition = |reason| FsError::Precondition { path: path.to_owned(), reason };
    match (condition, current) {
        (Condition::Always, _) | (Condition::Absent, None) => Ok(()),
        (Condition::Absent, Some(_)) => Err(FsError::AlreadyExists { path: path.to_owned() }),
        (Condition::Etag(_), None) => Err(precondition("it does not exist".to_owned())),
        (Condition::Etag(etag), Some(current)) => {
            let found = current.etag_text();
            if *etag == found {
                return Ok(());
            }
            Err(precondition(format!("its etag is {found}, not {etag}")))
        }
    }
}

/// Reads the newest snapshot and the logs behind it.
fn recover(directory: &Path) -> Result<(Records, Log)> {
    let mut records = Records::new();
    let mut covered = 0;
    if let Some((_, path)) = numbered(directory, "snapshot-")?.last() {
        let (sequence, mutations) = snapshot::read(path)?;
        covered = sequence;
        replay(&mut records, mutations)?;
    }
    let mut last = None;
    for (_, path) in numbered(directory, "log-")? {
        if remove_headless(&path)? {
            continue;
        }
        let (log, payloads) = Log::open(&path, covered + 1)?;
        let name = path.display().to_string();
        if log.next_sequence() - (payloads.len() as u64) > covered + 1 {
            return Err(FsError::corrupt(
                name,
                format!("the log before frame {covered} is missing"),
            ));
        }
        for payload in payloads {
            replay(&mut records, decode_frame(payload, &name)?.mutations)?;
        }
        covered = covered.max(log.next_sequence() - 1);
        last = Some(log);
    }
    let log = match last {
        Some(log) if log.next_sequence() == covered + 1 => log,
        last => {
            if last.is_some() {
                // Frames of the log before the last one are covered by no snapshot.
                let entries = records.iter().map(|(path, record)| (&**path, record));
                snapshot::write(directory, covered, entries)?;
            }
            Log::create(directory, covered + 1).map_err(AppendError::into_error)?
        }
    };
    remove_covered(directory)?;
    Ok((records, log))
}

/// Removes a log that ends within its header: nothing was ever acknowledged from it.
fn remove_headless(path: &Path) -> Result<bool> {
    let check = || {
        let headless = fs::metadata(path)?.len() < HEADER_BYTES as u64;
        if headless {
            fs::remove_file(path)?;
        }
        Ok(headless)
    };
    check().map_err(FsError::io(format!("open {}", path.display())))
}

fn replay(records: &mut Records, mutations: Vec<proto::Mutation>) -> Result<()> {
    for mutation in mutations {
        match mutation.record {
            Some(record) => {
                records.insert(mutation.path.into(), Arc::new(record.try_into()?));
            }
            None => {
                records.remove(mutation.path.as_str());
            }
        }
    }
    Ok(())
}

/// Removes what an interrupted rotation left: snapshots but the newest, and logs that the newest
/// snapshot covers. The last log is the one in use and stays.
fn remove_covered(directory: &Path) -> Result<()> {
    let remove = |path: &Path| {
        fs::remove_file(path).map_err(FsError::io(format!("remove {}", path.display())))
    };
    let mut snapshots = numbered(directory, "snapshot-")?;
    let Some((newest, _)) = snapshots.pop() else { return Ok(()) };
    for (_, path) in snapshots {
        remove(&path)?;
    }
    let logs = numbered(directory, "log-")?;
    for pair in logs.windows(2) {
        let ((_, path), (next, _)) = (&pair[0], &pair[1]);
        if *next <= newest + 1 {
            remove(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
