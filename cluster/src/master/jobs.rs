//! The jobs that run, and those that ran lately.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rainstorm_engine::time::TimestampMs;
use rainstorm_engine::{Attempt, Error, ErrorKind, Generation, JobId, Result};
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
    /// Names of the scripts that run, also between their steps.
    scripts: Arc<watch::Sender<BTreeSet<String>>>,
}

/// The right to run jobs under a name, until it is dropped.
#[derive(Debug)]
pub(super) struct NameClaim {
    name: String,
    scripts: Arc<watch::Sender<BTreeSet<String>>>,
}

impl Drop for NameClaim {
    fn drop(&mut self) {
        self.scripts.send_if_modified(|names| names.remove(&self.name));
    }
}

/// One run of a job graph.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: JobId,
    /// The name of the script whose step it is.
    script: String,
    /// Whether it keeps checkpoints under the name.
    durable: bool,
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
    /// What was deployed last; reports of earlier attempts do not count.
    attempt: Option<(Generation, Attempt)>,
    /// Workers that are gone, with tasks of the job.
    lost: BTreeSet<WorkerId>,
}

impl Jobs {
    /// Takes a name for a script with jobs of these ids. A script whose jobs have all ended may
    /// take until `patience` is over to give the name free.
    ///
    /// # Errors
    /// `Invalid` where a script of the name or a job of the ids runs.
    pub(super) async fn claim(
        &self,
        name: &str,
        ids: &[JobId],
        patience: impl Future<Output = ()>,
    ) -> Result<NameClaim> {
        let mut patience = pin!(patience);
        let mut names = self.scripts.subscribe();
        loop {
            if let Some(running) = self.running(name, ids) {
                let refused = Err(is_running(running.id.as_str()));
                if running.state() != JobState::Cancelling {
                    return refused;
                }
                tokio::select! {
                    _ = running.ended() => continue,
                    () = &mut patience => return refused,
                }
            }
            if self.scripts.send_if_modified(|names| names.insert(name.to_owned())) {
                return Ok(NameClaim { name: name.to_owned(), scripts: Arc::clone(&self.scripts) });
            }
            tokio::select! {
                // The sender lives in `self`.
                _ = names.wait_for(|names| !names.contains(name)) => {}
                () = &mut patience => return Err(is_running(name)),
            }
        }
    }

    /// Finds a job that keeps others from a name: queries do not, which keep nothing under it.
    fn running(&self, name: &str, ids: &[JobId]) -> Option<Arc<Job>> {
        let jobs = self.lock();
        let mut running = jobs.iter().filter(|job| !job.state().is_end());
        let takes_name = |job: &Job| job.durable && job.script == name;
        running.find(|job| takes_name(job) || ids.contains(&job.id)).cloned()
    }

    /// Makes a job known; refused while another of the same name runs.
    ///
    /// # Errors
    /// `Invalid` where one runs.
    pub(super) fn add(
        &self,
        id: JobId,
        script: &str,
        durable: bool,
        now: TimestampMs,
    ) -> Result<(Arc<Job>, mpsc::UnboundedReceiver<Message>)> {
        let (messages, receiver) = mpsc::unbounded_channel();
        let state = watch::Sender::new((JobState::Created, None));
        let mut jobs = self.lock();
        if jobs.iter().any(|job| job.id == id && !job.state().is_end()) {
            return Err(is_running(id.as_str()));
        }
        let script = script.to_owned();
        let seen = Mutex::default();
        let job = Job { id, script, durable, started_ms: now, messages, state, seen };
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

    /// Returns the jobs of INSERTs that run with this id or side by side for the script of this name.
    pub(super) fn running_inserts(&self, name: &str) -> Vec<Arc<Job>> {
        let jobs = self.lock();
        let is_named = |job: &&Arc<Job>| job.id.as_str() == name || job.script == name;
        let running = jobs.iter().filter(|job| job.durable && !job.state().is_end());
        running.filter(is_named).cloned().collect()
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
        for job in &self.lock().clone() {
            job.send(Message::Cancel);
        }
        self.all_ended().await;
    }

    /// Returns when all jobs have ended.
    pub(super) async fn all_ended(&self) {
        let jobs = self.lock().clone();
        for job in &jobs {
            job.ended().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Job>>> {
        // Nothing panics while the lock is held.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_running(id: &str) -> Error {
    Error::Invalid(format!("job {id} is running: cancel it or choose another name"))
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

    pub(super) fn placed(&self, slots: BTreeMap<WorkerId, usize>, attempt: (Generation, Attempt)) {
        let mut seen = self.seen();
        seen.slots = slots;
        if seen.attempt.replace(attempt) != Some(attempt) {
            seen.progress.clear();
        }
    }

    /// Tells whether an attempt is the one that runs.
    pub(super) fn runs(&self, attempt: (Generation, Attempt)) -> bool {
        !self.state().is_end() && self.seen().attempt == Some(attempt)
    }

    /// Notes that a worker which runs tasks of the job is gone.
    pub(super) fn lost(&self, worker: WorkerId) {
        let mut seen = self.seen();
        if seen.slots.contains_key(&worker) {
            seen.lost.insert(worker);
        }
    }

    /// Puts the loss of a worker before what other workers complain about because of it.
    pub(super) fn explain(
        &self,
        failure: Failure,
        addresses: &BTreeMap<WorkerId, String>,
    ) -> Failure {
        let lost = self.seen().lost.first().cloned();
        let may_follow = matches!(failure.kind, ErrorKind::Retry | ErrorKind::Unavailable);
        let Some(worker) = lost.filter(|_| may_follow) else { return failure };
        let place = addresses.get(&worker).map(|at| format!(" at {at}")).unwrap_or_default();
        let message = format!("worker {worker}{place} is gone, and with it tasks of the job");
        let mut causes = failure.causes;
        if !failure.message.starts_with(&format!("worker {worker} is gone")) {
            causes.insert(0, failure.message);
        }
        Failure { message, causes, kind: ErrorKind::Unavailable }
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
            untimed_rows: sum(|progress| progress.untimed_rows),
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
            error: failure.map(Failure::text).unwrap_or_default(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Nothing panics while the lock is held.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn a_name_belongs_to_one_script_until_it_ends() {
        let jobs = Jobs::default();
        let ids = [JobId::new("copy")];
        let claim = jobs.claim("copy", &ids, pending()).await.unwrap();
        let refused = jobs.claim("copy", &ids, ready(())).await.unwrap_err().to_string();
        assert_eq!(refused, "job copy is running: cancel it or choose another name");
        jobs.claim("other", &[JobId::new("other")], ready(())).await.unwrap();
        let waits = jobs.claim("copy", &ids, pending());
        let (claimed, ()) = tokio::join!(waits, async { drop(claim) });
        claimed.unwrap();
    }

    #[tokio::test]
    async fn a_job_of_another_script_keeps_its_id() {
        let jobs = Jobs::default();
        let (job, _messages) = jobs.add(JobId::new("copy-2"), "copy", true, 0).unwrap();
        let ids = [JobId::new("copy-2")];
        assert!(jobs.claim("copy-2", &ids, pending()).await.is_err());
        assert!(jobs.claim("copy", &[JobId::new("copy")], pending()).await.is_err());
        job.enter(JobState::Finished, None, 1);
        jobs.claim("copy-2", &ids, pending()).await.unwrap();
    }

    #[tokio::test]
    async fn a_name_is_given_free_by_a_job_that_is_being_cancelled() {
        let jobs = Jobs::default();
        let (job, _messages) = jobs.add(JobId::new("copy"), "copy", true, 0).unwrap();
        job.enter(JobState::Cancelling, None, 1);
        let ids = [JobId::new("copy")];
        assert!(jobs.claim("copy", &ids, ready(())).await.is_err());
        let ends = async { job.enter(JobState::Cancelled, None, 2) };
        let (claimed, ()) = tokio::join!(jobs.claim("copy", &ids, pending()), ends);
        claimed.unwrap();
    }

    #[tokio::test]
    async fn a_query_takes_no_name() {
        let jobs = Jobs::default();
        let (query, _messages) = jobs.add(JobId::new("copy-0a1b"), "copy", false, 0).unwrap();
        jobs.claim("copy", &[JobId::new("copy")], ready(())).await.unwrap();
        assert!(!query.state().is_end());
    }

    #[test]
    fn reports_of_an_attempt_that_is_over_do_not_count() {
        let (job, _messages) = Jobs::default().add(JobId::new("copy"), "copy", true, 0).unwrap();
        let [old, new] = [1, 2].map(|generation| (Generation(generation), Attempt(1)));
        assert!(!job.runs(old));
        job.placed(BTreeMap::new(), old);
        assert!(job.runs(old));
        job.progressed(WorkerId::new("w"), Progress { rows_in: 7, ..Progress::default() });
        job.placed(BTreeMap::new(), new);
        assert!(!job.runs(old) && job.runs(new));
        assert_eq!(job.progress().rows_in, 0);
    }

    #[test]
    fn a_lost_worker_explains_what_others_complain_about() {
        let (job, _messages) = Jobs::default().add(JobId::new("copy"), "copy", true, 0).unwrap();
        let [one, two] = ["w1", "w2"].map(WorkerId::new);
        let addresses = BTreeMap::from([(one.clone(), "127.0.0.1:7".to_owned())]);
        let broken = Failure::new(ErrorKind::Retry, "receive rows from worker w1");
        assert_eq!(job.explain(broken.clone(), &addresses), broken);
        job.placed(BTreeMap::from([(one.clone(), 1)]), (Generation(1), Attempt(1)));
        job.lost(two);
        assert_eq!(job.explain(broken.clone(), &addresses), broken);
        job.lost(one);
        let told = job.explain(broken, &addresses);
        assert_eq!(told.message, "worker w1 at 127.0.0.1:7 is gone, and with it tasks of the job");
        assert_eq!(told.causes, ["receive rows from worker w1"]);
        let data = Failure::new(ErrorKind::Data, "a.csv:3");
        assert_eq!(job.explain(data.clone(), &addresses), data);
    }
}
