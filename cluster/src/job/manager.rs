//! The state machine that runs one job from its start to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rainstorm_engine::graph::JobGraph;
use rainstorm_engine::task::TaskId;
use rainstorm_engine::time::TimestampMs;
use rainstorm_engine::{Attempt, Epoch, ErrorKind, Generation, StageId};

use super::checkpoint::Pending;
use super::manifest::{Ancestor, Manifest};
use super::message::{
    Deployment, Effect, Failure, JobConfig, JobState, Message, Prepared, WorkerId, WorkerMessage,
    WorkerSlots, WorkerSnapshot,
};
use super::{placement, restore};

/// Runs one job: places its tasks, takes and commits its checkpoints, and ends it.
///
/// - One checkpoint is under way at a time, from its barriers until its sinks have committed.
/// - `head` is swung only to a manifest that is written, and sinks commit only what `head` names.
/// - A task to which no further row makes a difference ends the sources that feed nothing else.
/// - When all tasks have finished, a last checkpoint is taken; the job is finished only after its
///   sinks have committed it as the last.
/// - What fails anywhere fails the job, and everything else is stopped. A commit that is already
///   decided is carried out first.
/// - Restoring repeats the commit of the checkpoint that is restored.
///
/// Nothing here waits, reads a clock or does I/O: the same messages at the same times give the
/// same effects.
#[derive(Debug)]
pub struct JobManager {
    config: JobConfig,
    graph: Arc<JobGraph>,
    state: JobState,
    generation: Generation,
    attempt: Attempt,
    next_epoch: Epoch,
    /// What this generation goes on from.
    ancestors: Vec<Ancestor>,
    workers: Vec<WorkerSlots>,
    /// What to deploy, until there are workers.
    prepared: Option<Prepared>,
    /// The workers of the attempt that have not stopped or been lost.
    members: BTreeMap<WorkerId, Member>,
    placement: BTreeMap<TaskId, WorkerId>,
    unfinished: BTreeSet<TaskId>,
    /// The stages to which no further row makes a difference.
    satisfied: BTreeSet<StageId>,
    /// The stages whose sources have been told to end.
    ended: BTreeSet<StageId>,
    /// The effect on the store whose answer is awaited.
    storing: Option<Storing>,
    checkpoint: Option<Pending>,
    last_triggered_at: TimestampMs,
    /// By when workers must have appeared, or have stopped.
    deadline: Option<TimestampMs>,
    failure: Option<Failure>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Deploying,
    Deployed,
    Stopping,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Storing {
    Preparing,
    /// Repeating the commit of the checkpoint that is restored, which may be the job's last.
    Recommitting {
        last: bool,
    },
    WritingManifest,
    SwingingHead,
    CommittingSinks,
}

impl JobManager {
    /// Makes a job and begins its preparations.
    #[must_use]
    pub fn start(
        config: JobConfig,
        graph: Arc<JobGraph>,
        now: TimestampMs,
        effects: &mut Vec<Effect>,
    ) -> Self {
        let mut job = Self {
            deadline: Some(now + millis(config.scheduling_timeout)),
            config,
            graph,
            state: JobState::Created,
            generation: Generation(0),
            attempt: Attempt(1),
            next_epoch: Epoch(1),
            ancestors: Vec::new(),
            workers: Vec::new(),
            prepared: None,
            members: BTreeMap::new(),
            placement: BTreeMap::new(),
            unfinished: BTreeSet::new(),
            satisfied: BTreeSet::new(),
            ended: BTreeSet::new(),
            storing: Some(Storing::Preparing),
            checkpoint: None,
            last_triggered_at: now,
            failure: None,
        };
        let restores = job.config.restore.is_some();
        job.enter(if restores { JobState::Restoring } else { JobState::Scheduling }, effects);
        effects.push(Effect::Prepare);
        job
    }

    /// Returns where the job is in its life.
    #[must_use]
    pub fn state(&self) -> JobState {
        self.state
    }

    /// Returns the claimed generation, 0 before that, and the deployment within it.
    #[must_use]
    pub fn attempt(&self) -> (Generation, Attempt) {
        (self.generation, self.attempt)
    }

    /// Returns where the job's tasks run, once they are placed.
    #[must_use]
    pub fn placement(&self) -> &BTreeMap<TaskId, WorkerId> {
        &self.placement
    }

    /// Takes a message.
    pub fn handle_message(
        &mut self,
        now: TimestampMs,
        message: Message,
        effects: &mut Vec<Effect>,
    ) {
        if self.state.is_end() {
            return;
        }
        match message {
            Message::Workers(workers) => {
                self.workers = workers;
                self.deploy(now, effects);
            }
            Message::WorkerLost(worker) => self.lose(now, &worker, effects),
            Message::Prepared(prepared) => self.take_prepared(now, *prepared, effects),
            Message::Worker(worker, generation, attempt, message) => {
                if (generation, attempt) == (self.generation, self.attempt) {
                    self.handle_worker(now, &worker, message, effects);
                }
            }
            Message::ManifestWritten => self.manifest_written(effects),
            Message::HeadSwung => self.head_swung(effects),
            Message::SinksCommitted => self.sinks_committed(now, effects),
            Message::StoreFailed(failure) => self.store_failed(now, failure, effects),
            Message::Cancel => self.stop(now, effects),
        }
    }

    /// Takes the time, once it has reached [`next_timeout`](Self::next_timeout).
    pub fn handle_timeout(&mut self, now: TimestampMs, effects: &mut Vec<Effect>) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            match self.state {
                JobState::Scheduling | JobState::Restoring => {
                    let text = if self.prepared.is_some() { "no worker" } else { "store too slow" };
                    let timeout = self.config.scheduling_timeout;
                    let text = format!("the job could not start within {timeout:?}: {text}");
                    self.fail(now, Failure::new(ErrorKind::Unavailable, text), effects);
                }
                _ => {
                    self.members.clear();
                    self.settle(effects);
                }
            }
        }
        if let Some(pending) = &self.checkpoint
            && self.state == JobState::Running
            && pending.triggered_at + millis(self.config.checkpoint_timeout) <= now
        {
            let (epoch, timeout) = (pending.epoch, self.config.checkpoint_timeout);
            let text = format!("checkpoint {epoch} was not complete within {timeout:?}");
            self.fail(now, Failure::new(ErrorKind::Unavailable, text), effects);
        }
        if self.next_trigger().is_some_and(|due| due <= now) {
            self.trigger(now, false, effects);
        }
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) wants to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<TimestampMs> {
        let checkpoint = self
            .checkpoint
            .as_ref()
            .filter(|_| self.state == JobState::Running)
            .map(|pending| pending.triggered_at + millis(self.config.checkpoint_timeout));
        [self.deadline, checkpoint, self.next_trigger()].into_iter().flatten().min()
    }

    fn take_prepared(&mut self, now: TimestampMs, prepared: Prepared, effects: &mut Vec<Effect>) {
        self.storing = None;
        if self.state == JobState::Cancelling {
            return self.settle(effects);
        }
        self.generation = prepared.generation;
        self.next_epoch = prepared.next_epoch;
        if let Some(manifest) = &prepared.restored {
            self.ancestors = manifest.ancestors_of_next();
            let last = manifest.checkpoint.last;
            if last || !manifest.sinks.is_empty() {
                self.storing = Some(Storing::Recommitting { last });
                effects.push(self.commit_of(manifest));
            }
        }
        self.prepared = Some(prepared);
        self.deploy(now, effects);
    }

    fn commit_of(&self, manifest: &Manifest) -> Effect {
        Effect::CommitSinks(manifest.commit_id(&self.config.job), manifest.committables())
    }

    /// Deploys the job if it is prepared and there are workers.
    fn deploy(&mut self, now: TimestampMs, effects: &mut Vec<Effect>) {
        if self.storing.is_some() || self.workers.is_empty() {
            return;
        }
        let Some(prepared) = self.prepared.take() else { return };
        let Some(placement) = placement::place(&self.graph, &self.workers) else { return };
        let splits = match &prepared.restored {
            Some(manifest) => restore::restored_splits(&self.graph, manifest),
            None => prepared.splits,
        };
        let deployment = Arc::new(Deployment {
            generation: self.generation,
            attempt: self.attempt,
            placement: placement.clone(),
            splits: restore::deal_splits(&self.graph, &splits),
            state: prepared.restored.map_or_else(Vec::new, |manifest| manifest.state.clone()),
        });
        self.unfinished = placement.keys().copied().collect();
        for worker in placement.values() {
            self.members.insert(worker.clone(), Member::Deploying);
        }
        for worker in self.members.keys() {
            effects.push(Effect::Deploy(worker.clone(), Arc::clone(&deployment)));
        }
        self.placement = placement;
        // From here on a worker that does not answer is one that is lost.
        self.deadline = None;
        self.last_triggered_at = now;
    }

    fn handle_worker(
        &mut self,
        now: TimestampMs,
        worker: &WorkerId,
        message: WorkerMessage,
        effects: &mut Vec<Effect>,
    ) {
        match message {
            WorkerMessage::Deployed => self.deployed(now, worker, effects),
            WorkerMessage::Snapshot(epoch, snapshot) => {
                self.acknowledge(worker, epoch, *snapshot, effects);
            }
            WorkerMessage::Satisfied(task) => self.satisfied(task.stage, effects),
            WorkerMessage::Finished(task) => {
                self.unfinished.remove(&task);
                self.finish_if_done(now, effects);
            }
            WorkerMessage::Failed(failure) => self.fail(now, failure, effects),
            WorkerMessage::Stopped => {
                self.members.remove(worker);
                self.settle(effects);
            }
        }
    }

    /// Ends the sources of which nobody needs further rows; the job then finishes as with them.
    fn satisfied(&mut self, stage: StageId, effects: &mut Vec<Effect>) {
        self.satisfied.insert(stage);
        let mut stages = self.graph.needless_sources(&self.satisfied);
        stages.retain(|stage| !self.ended.contains(stage));
        if self.state != JobState::Running || stages.is_empty() {
            return;
        }
        self.ended.extend(&stages);
        for worker in self.members.keys() {
            let (generation, attempt) = (self.generation, self.attempt);
            let stages = stages.clone();
            effects.push(Effect::EndSources(worker.clone(), generation, attempt, stages));
        }
    }

    fn deployed(&mut self, now: TimestampMs, worker: &WorkerId, effects: &mut Vec<Effect>) {
        let Some(member @ Member::Deploying) = self.members.get_mut(worker) else { return };
        *member = Member::Deployed;
        if self.members.values().any(|member| *member != Member::Deployed) {
            return;
        }
        for worker in self.members.keys() {
            effects.push(Effect::Start(worker.clone(), self.generation, self.attempt));
        }
        self.last_triggered_at = now;
        self.enter(JobState::Running, effects);
        self.finish_if_done(now, effects);
    }

    fn lose(&mut self, now: TimestampMs, worker: &WorkerId, effects: &mut Vec<Effect>) {
        self.workers.retain(|known| known.worker != *worker);
        if self.members.remove(worker).is_none() {
            return;
        }
        let text = format!("worker {worker} is gone, and with it tasks of the job");
        self.fail(now, Failure::new(ErrorKind::Unavailable, text), effects);
        self.settle(effects);
    }

    /// Returns when the next checkpoint is due: while none is under way and some source can
    /// still send a barrier. Once all have ended, the last checkpoint is not far.
    fn next_trigger(&self) -> Option<TimestampMs> {
        let interval = self.graph.settings.checkpoint_interval?;
        let has_source = |task: &TaskId| self.graph.stage(task.stage).source.is_some();
        let due = self.config.durable
            && self.state == JobState::Running
            && self.checkpoint.is_none()
            && self.unfinished.iter().any(has_source);
        due.then(|| self.last_triggered_at + millis(interval))
    }

    fn trigger(&mut self, now: TimestampMs, last: bool, effects: &mut Vec<Effect>) {
        let epoch = self.next_epoch;
        self.next_epoch = Epoch(epoch.0 + 1);
        self.last_triggered_at = now;
        self.checkpoint = Some(Pending::new(epoch, last, now, self.members.keys().cloned()));
        for worker in self.members.keys() {
            let (generation, attempt) = (self.generation, self.attempt);
            effects.push(Effect::TriggerCheckpoint(worker.clone(), generation, attempt, epoch));
        }
    }

    fn acknowledge(
        &mut self,
        worker: &WorkerId,
        epoch: Epoch,
        snapshot: WorkerSnapshot,
        effects: &mut Vec<Effect>,
    ) {
        let (generation, attempt) = (self.generation, self.attempt);
        let Some(pending) = self.checkpoint.as_mut().filter(|pending| pending.epoch == epoch)
        else {
            return;
        };
        if self.state == JobState::Running && pending.acknowledge(worker, snapshot) {
            let manifest = pending.complete(&self.graph, generation, attempt, &self.ancestors);
            self.storing = Some(Storing::WritingManifest);
            effects.push(Effect::WriteManifest(manifest));
        }
    }

    fn manifest_written(&mut self, effects: &mut Vec<Effect>) {
        self.storing = None;
        let manifest = self.checkpoint.as_ref().and_then(|pending| pending.manifest.clone());
        match manifest {
            Some(manifest) if self.state == JobState::Running => {
                self.storing = Some(Storing::SwingingHead);
                effects.push(Effect::SwingHead(manifest.checkpoint));
            }
            _ => {
                self.checkpoint = None;
                self.settle(effects);
            }
        }
    }

    fn head_swung(&mut self, effects: &mut Vec<Effect>) {
        // Also while the job is being stopped: what `head` names has happened.
        self.storing = Some(Storing::CommittingSinks);
        let manifest = self.checkpoint.as_ref().and_then(|pending| pending.manifest.clone());
        if let Some(manifest) = manifest {
            effects.push(self.commit_of(&manifest));
        }
    }

    fn sinks_committed(&mut self, now: TimestampMs, effects: &mut Vec<Effect>) {
        let last = match self.storing.take() {
            Some(Storing::Recommitting { last: false }) => {
                self.settle(effects);
                return self.deploy(now, effects);
            }
            Some(Storing::Recommitting { last: true }) => true,
            _ => {
                effects.push(Effect::CollectGarbage);
                self.checkpoint.take().is_some_and(|pending| pending.last)
            }
        };
        if last {
            self.finish(effects);
        } else {
            self.settle(effects);
            self.finish_if_done(now, effects);
        }
    }

    fn store_failed(&mut self, now: TimestampMs, failure: Failure, effects: &mut Vec<Effect>) {
        let storing = self.storing.take();
        self.checkpoint = None;
        if storing == Some(Storing::CommittingSinks) && self.failure.is_none() {
            // Worth saying even of a job that was cancelled: what is committed is not visible
            // until the job is restored.
            self.failure = Some(failure.clone());
        }
        self.fail(now, failure, effects);
    }

    /// Begins the last checkpoint once all tasks have finished and none is under way.
    fn finish_if_done(&mut self, now: TimestampMs, effects: &mut Vec<Effect>) {
        let done = self.state == JobState::Running && self.unfinished.is_empty();
        if done && !self.config.durable {
            self.finish(effects);
        } else if done && self.checkpoint.is_none() {
            self.trigger(now, true, effects);
        }
    }

    fn finish(&mut self, effects: &mut Vec<Effect>) {
        for worker in self.members.keys() {
            effects.push(Effect::Release(worker.clone(), self.generation, self.attempt));
        }
        self.failure = None;
        self.enter(JobState::Finished, effects);
    }

    fn fail(&mut self, now: TimestampMs, failure: Failure, effects: &mut Vec<Effect>) {
        // The first failure explains the others, and being stopped explains what follows from it.
        if self.state != JobState::Cancelling {
            self.failure = Some(failure);
        }
        self.stop(now, effects);
        self.settle(effects);
    }

    /// Stops all tasks. What is decided about a checkpoint is carried out, one that is not is
    /// given up.
    fn stop(&mut self, now: TimestampMs, effects: &mut Vec<Effect>) {
        if self.state == JobState::Cancelling {
            return;
        }
        for (worker, member) in &mut self.members {
            // The worker performs this after a deployment that is still under way.
            *member = Member::Stopping;
            effects.push(Effect::Stop(worker.clone(), self.generation, self.attempt));
        }
        if self.storing.is_none() {
            self.checkpoint = None;
        }
        self.deadline = Some(now + millis(self.config.cancel_timeout));
        self.enter(JobState::Cancelling, effects);
        self.settle(effects);
    }

    /// Ends the job once it is being stopped and nothing is under way.
    fn settle(&mut self, effects: &mut Vec<Effect>) {
        let settled = self.members.is_empty() && self.storing.is_none();
        if settled && self.state == JobState::Cancelling {
            let failed = self.failure.is_some();
            self.enter(if failed { JobState::Failed } else { JobState::Cancelled }, effects);
        }
    }

    fn enter(&mut self, state: JobState, effects: &mut Vec<Effect>) {
        self.state = state;
        if state.is_end() {
            self.deadline = None;
        }
        effects.push(Effect::Report(state, self.failure.clone()));
    }
}

fn millis(duration: Duration) -> TimestampMs {
    TimestampMs::try_from(duration.as_millis()).unwrap_or(TimestampMs::MAX / 4)
}
