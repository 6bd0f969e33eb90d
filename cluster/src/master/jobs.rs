//! The jobs that run, and those that ran lately.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rainstorm_engine::time::TimestampMs;
use rainstorm_engine::{JobId, Result};
use rainstorm_proto::client;
use rainstorm_proto::master::Progress;
use tokio::sync::{mpsc, watch};

use crate::job::{Failure, JobState, Message, WorkerId};

/// Ended jobs that are remembered for `SHOW JOBS`.
const REMEMBERED_JOBS: usize = 1000;

/// All jobs of this master. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Jobs {
    jobs: Arc<Mutex<Vec<Arc<Job>>>>,
}

/// One run of a job graph.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: JobId,
    /// The name of the script whose step it is.
    script: String,
    started_ms: TimestampMs,
    messages: mpsc::UnboundedSender<Message>,
    state: watch::Sender<(JobState, Option<Failure>)>,
    seen: Mutex<Seen>,
}

/// What was reported of a job.
#[derive(Debug, Default)]
struct Seen {
    progress: BTreeMap<WorkerId, Progress>,
    ended_ms: TimestampMs,
    epoch: u64,
    slots: BTreeMap<WorkerId, usize>,
}

impl Jobs {
    /// Makes a job known; refused while another of the same name runs.
    ///
    /// # Errors
    /// `Invalid` where one runs.
    pub(super) fn add(
        &self,
        id: JobId,
        script: &str,
        now: TimestampMs,
    ) -> Result<(Arc<Job>, mpsc::UnboundedReceiver<Message>)> {
        let (messages, receiver) = mpsc::unbounded_channel();
        let state = watch::Sender::new((JobState::Created, None));
        let mut jobs = self.lock();
        if jobs.iter().any(|job| job.id == id && !job.state().is_end()) {
            let text = format!("job {id} is running: cancel it or choose another name");
            return Err(rainstorm_engine::Error::Invalid(text));
        }
        let script = script.to_owned();
        let job = Job { id, script, started_ms: now, messages, state, seen: Mutex::default() };
        let job = Arc::new(job);
        jobs.push(Arc::clone(&job));
        if jobs.len() > REMEMBERED_JOBS
            && let Some(oldest) = jobs.iter().position(|job| job.state().is_end())
        {
            jobs.remove(oldest);
        }
        Ok((job, receiver))
    }

    /// Finds the newest job of a name.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Job>> {
        self.lock().iter().rev().find(|job| job.id.as_str() == id).cloned()
    }

    /// Finds the newest job with this id or of a script of this name; one that runs, if any does.
    pub(super) fn find_by_name(&self, name: &str) -> Option<Arc<Job>> {
        let jobs = self.lock();
        let mut found = jobs.iter().filter(|job| job.id.as_str() == name || job.script == name);
        let running = found.clone().rfind(|job| !job.state().is_end());
        running.or_else(|| found.next_back()).cloned()
    }

    /// Lists all jobs, newest first.
    pub(super) fn list(&self) -> Vec<client::Job> {
        self.lock().iter().rev().map(|job| job.describe()).collect()
    }

    /// Returns how many slots running jobs use on each worker.
    pub(super) fn used_slots(&self) -> BTreeMap<WorkerId, usize> {
        let mut used = BTreeMap::new();
        for job in self.lock().iter().filter(|job| !job.state().is_end()) {
            for (worker, slots) in &job.seen().slots {
                *used.entry(worker.clone()).or_default() += slots;
            }
        }
        used
    }

    /// Stops all jobs and returns when they have.
    pub(super) async fn cancel_all(&self) {
        let jobs = self.lock().clone();
        for job in &jobs {
            job.send(Message::Cancel);
        }
        for job in &jobs {
            job.ended().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Job>>> {
        // Nothing panics while the lock is held.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    /// Hands a message to the job's driver. One that has ended needs none.
    pub(super) fn send(&self, message: Message) {
        let _ = self.messages.send(message);
    }

    pub(super) fn state(&self) -> JobState {
        self.state.borrow().0
    }

    /// Waits for the job's end and returns it.
    pub(super) async fn ended(&self) -> (JobState, Option<Failure>) {
        let mut state = self.state.subscribe();
        // The sender lives in `self`.
        match state.wait_for(|(state, _)| state.is_end()).await {
            Ok(ended) => ended.clone(),
            Err(_) => (self.state(), None),
        }
    }

    pub(super) fn enter(&self, state: JobState, failure: Option<Failure>, now: TimestampMs) {
        if state.is_end() {
            self.seen().ended_ms = now;
        }
        self.state.send_replace((state, failure));
    }

    pub(super) fn committed(&self, epoch: u64) {
        self.seen().epoch = epoch;
    }

    pub(super) fn placed(&self, slots: BTreeMap<WorkerId, usize>) {
        self.seen().slots = slots;
    }

    pub(super) fn progressed(&self, worker: WorkerId, progress: Progress) {
        self.seen().progress.insert(worker, progress);
    }

    /// Adds up what the workers last reported.
    pub(super) fn progress(&self) -> client::Progress {
        let seen = self.seen();
        let sum = |get: fn(&Progress) -> u64| seen.progress.values().map(get).sum();
        client::Progress {
            job_id: self.id.as_str().to_owned(),
            rows_in: sum(|progress| progress.rows_in),
            rows_out: sum(|progress| progress.rows_out),
            late_rows: sum(|progress| progress.late_rows),
            skipped_rows: sum(|progress| progress.skipped_rows),
            watermark_ms: seen.progress.values().filter_map(|progress| progress.watermark_ms).min(),
            epoch: seen.epoch,
            state_bytes: sum(|progress| progress.state_bytes),
        }
    }

    fn describe(&self) -> client::Job {
        let progress = self.progress();
        let (state, failure) = self.state.borrow().clone();
        client::Job {
            id: self.id.as_str().to_owned(),
            name: self.script.clone(),
            state: state.name().to_owned(),
            started_ms: self.started_ms,
            ended_ms: self.seen().ended_ms,
            rows_in: progress.rows_in,
            rows_out: progress.rows_out,
            epoch: progress.epoch,
            error: failure.map(|failure| failure.message).unwrap_or_default(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Nothing panics while the lock is held.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
