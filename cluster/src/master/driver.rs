//! Performs what a job manager wants done, and tells it what came of it.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;

use bytes::Bytes;
use rainstorm_engine::batch_query::source_of;
use rainstorm_engine::connector::{self, CommitId, Committable, SinkRef, SplitState};
use rainstorm_engine::graph::{JobGraph, SinkSpec, SinkTarget, Stage};
use rainstorm_engine::memory::MemoryBudget;
use rainstorm_engine::time::TimestampMs;
use rainstorm_engine::{Attempt, Epoch, Error, ErrorKind, Generation, OperatorId, Result, StageId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::convert::{SharedGraph, deploy_request};
use super::jobs::Job;
use super::lane::{Command, Lane};
use crate::job::{
    CheckpointRef, CheckpointStore, Deployment, Effect, Failure, Head, HeldHead, JobConfig,
    JobManager, JobState, Manifest, Message, Prepared, WorkerId, restore,
};
use crate::membership::Event as MemberEvent;

/// How often a commit that failed is repeated before the job fails.
const COMMIT_RETRIES_MAX: u32 = 3;
/// How much longer each pause before that is than the one before.
const COMMIT_PAUSE_MS: i64 = 200;

/// What a job runs, and where its rows and checkpoints go.
pub(super) struct JobRun {
    pub(super) graph: SharedGraph,
    pub(super) config: JobConfig,
    /// Where its checkpoints are.
    pub(super) store: CheckpointStore,
    /// Checkpoints that are garbage once it has one of its own.
    pub(super) supersedes: Vec<CheckpointStore>,
    /// Where the rows for a client go.
    pub(super) results: Option<mpsc::Sender<Bytes>>,
}

/// What came of an operation on the store.
struct Stored {
    /// `head` as it is now, where the operation wrote it.
    held: Option<HeldHead>,
    message: Option<Message>,
}

struct Driver {
    shared: Arc<Shared>,
    job: Arc<Job>,
    run: JobRun,
    store: CheckpointStore,
    held: Option<HeldHead>,
    lanes: BTreeMap<WorkerId, mpsc::UnboundedSender<Command>>,
    /// Tells the lanes of workers that are gone, which would wait for answers otherwise.
    losses: BTreeMap<WorkerId, CancellationToken>,
    /// Where the workers of the job are, or were.
    addresses: BTreeMap<WorkerId, String>,
    lane_tasks: JoinSet<Result<(), Failure>>,
    stored: mpsc::UnboundedSender<Stored>,
    end: Option<(JobState, Option<Failure>)>,
}

/// Drives a job to its end.
pub(super) async fn drive(
    shared: Arc<Shared>,
    job: Arc<Job>,
    run: JobRun,
    mut messages: mpsc::UnboundedReceiver<Message>,
) {
    let (members, mut member_events) = shared.workers.membership().subscribe();
    drop(members);
    let (stored, mut stored_events) = mpsc::unbounded_channel();
    let store = run.store.clone();
    let mut effects = Vec::new();
    let (config, graph) = (run.config.clone(), Arc::clone(&run.graph));
    let mut manager = JobManager::start(config, graph, shared.clock.now_ms(), &mut effects);
    let mut driver = Driver {
        shared,
        job,
        run,
        store,
        held: None,
        lanes: BTreeMap::new(),
        losses: BTreeMap::new(),
        addresses: BTreeMap::new(),
        lane_tasks: JoinSet::new(),
        stored,
        end: None,
    };
    driver.offer_workers(&mut manager, &mut effects);
    loop {
        driver.perform(&mut effects);
        if manager.state().is_end() {
            break;
        }
        let now = || driver.shared.clock.now_ms();
        tokio::select! {
            Some(message) = messages.recv() => {
                manager.handle_message(now(), message, &mut effects);
            }
            Some(done) = stored_events.recv() => {
                driver.held = done.held.or(driver.held.take());
                if let Some(message) = done.message {
                    manager.handle_message(driver.shared.clock.now_ms(), message, &mut effects);
                }
            }
            Some(event) = member_events.recv() => {
                driver.member_event(&event, &mut manager, &mut effects);
            }
            () = sleep_until(&driver.shared, manager.next_timeout()) => {
                manager.handle_timeout(now(), &mut effects);
            }
        }
    }
    driver.finish(member_events).await;
}

/// Returns the worker of which an event says that what it ran is gone.
fn lost_worker(event: &MemberEvent) -> Option<WorkerId> {
    let id = match event {
        // A node that has come back runs nothing of what it ran before.
        MemberEvent::Joined(member) => &member.id,
        MemberEvent::Left(id) | MemberEvent::Dead(id) => id,
        MemberEvent::Unreachable(_) | MemberEvent::Reachable(_) => return None,
    };
    Some(WorkerId::new(id.as_str()))
}

async fn sleep_until(shared: &Shared, deadline: Option<TimestampMs>) {
    match deadline {
        Some(deadline) => shared.clock.sleep_until(deadline).await,
        None => pending().await,
    }
}

impl Driver {
    fn offer_workers(&self, manager: &mut JobManager, effects: &mut Vec<Effect>) {
        let workers = self.shared.workers.slots(&self.shared.jobs.used_slots());
        manager.handle_message(self.shared.clock.now_ms(), Message::Workers(workers), effects);
    }

    fn member_event(
        &self,
        event: &MemberEvent,
        manager: &mut JobManager,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(worker) = lost_worker(event) {
            self.lose(&worker);
            let message = Message::WorkerLost(worker);
            manager.handle_message(self.shared.clock.now_ms(), message, effects);
        }
        self.offer_workers(manager, effects);
    }

    fn lose(&self, worker: &WorkerId) {
        self.job.lost(worker.clone());
        if let Some(loss) = self.losses.get(worker) {
            loss.cancel();
        }
    }

    /// Performs effects. Their order is kept for each worker; operations on the store are never
    /// under way together, as the manager promises.
    fn perform(&mut self, effects: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Prepare => self.prepare(),
                Effect::Deploy(worker, deployment) => self.deploy(worker, &deployment),
                Effect::Start(worker, ..) => self.command(&worker, Command::Start),
                Effect::TriggerCheckpoint(worker, _, _, epoch) => {
                    self.command(&worker, Command::Trigger(epoch));
                }
                Effect::EndSources(worker, _, _, stages) => {
                    self.command(&worker, Command::EndSources(stages));
                }
                Effect::Stop(worker, ..) => self.command(&worker, Command::Stop),
                Effect::Release(worker, ..) => self.command(&worker, Command::Release),
                Effect::WriteManifest(manifest) => self.write_manifest(manifest),
                Effect::SwingHead(checkpoint) => self.swing_head(checkpoint),
                Effect::CommitSinks(id, committables) => self.commit_sinks(id, committables),
                Effect::CollectGarbage => self.collect_garbage(),
                Effect::Report(state, failure) if state.is_end() => {
                    self.end = Some((state, failure));
                }
                Effect::Report(state, failure) => {
                    let now = self.shared.clock.now_ms();
                    tracing::info!(job_id = %self.job.id, state = state.name(), "job changed");
                    self.job.enter(state, failure, now);
                }
            }
        }
    }

    fn command(&self, worker: &WorkerId, command: Command) {
        if let Some(lane) = self.lanes.get(worker) {
            // A lane ends only after its sender is gone.
            let _ = lane.send(command);
        }
    }

    fn deploy(&mut self, worker: WorkerId, deployment: &Deployment) {
        let attempt = (deployment.generation, deployment.attempt);
        self.job.placed(slots_of(deployment), attempt);
        self.open_lane(&worker, deployment.generation, deployment.attempt);
        let members = deployment.placement.values().collect::<std::collections::BTreeSet<_>>();
        let mut peers = self.shared.workers.addresses();
        peers.retain(|worker, _| members.contains(worker));
        self.addresses.extend(peers.clone());
        let directory = self.store.state_directory();
        let request = deploy_request(
            &self.job.id,
            &self.run.graph,
            &worker,
            deployment,
            &peers,
            directory.as_ref(),
        );
        match request {
            Ok(request) => {
                let has_results = self.has_client_task(&worker, deployment);
                self.command(&worker, Command::Deploy(Box::new(request), has_results));
            }
            Err(error) => self.job.send(Message::Worker(
                worker,
                deployment.generation,
                deployment.attempt,
                crate::job::WorkerMessage::Failed(error.into()),
            )),
        }
    }

    fn open_lane(&mut self, worker: &WorkerId, generation: Generation, attempt: Attempt) {
        let lane = Lane {
            job: Arc::clone(&self.job),
            worker: worker.clone(),
            generation,
            attempt,
            client: self.shared.workers.client(worker),
            results: self.run.results.clone(),
            lost: CancellationToken::new(),
        };
        self.losses.insert(worker.clone(), lane.lost.clone());
        let (sender, commands) = mpsc::unbounded_channel();
        self.lane_tasks.spawn(lane.run(commands));
        self.lanes.insert(worker.clone(), sender);
    }

    fn has_client_task(&self, worker: &WorkerId, deployment: &Deployment) -> bool {
        let is_client = |stage: &Stage| {
            stage.sink.as_ref().is_some_and(|sink| matches!(sink.target, SinkTarget::Client))
        };
        deployment
            .placement
            .iter()
            .any(|(task, place)| place == worker && is_client(self.run.graph.stage(task.stage)))
    }

    fn prepare(&self) {
        let (shared, store) = (Arc::clone(&self.shared), self.store.clone());
        let (graph, config) = (Arc::clone(&self.run.graph), self.run.config.clone());
        let job = Arc::clone(&self.job);
        self.store_operation(async move {
            let (held, prepared) = prepare(&shared, &store, &graph, &config).await?;
            if let Some(manifest) = &prepared.restored {
                job.committed(manifest.checkpoint.epoch);
            }
            Ok((held, Some(Message::Prepared(Box::new(prepared)))))
        });
    }

    fn write_manifest(&self, manifest: Arc<Manifest>) {
        let store = self.store.clone();
        self.store_operation(async move {
            store.write_manifest(&manifest).await?;
            Ok((None, Some(Message::ManifestWritten)))
        });
    }

    fn swing_head(&mut self, checkpoint: CheckpointRef) {
        let (store, held, job) = (self.store.clone(), self.held.clone(), Arc::clone(&self.job));
        let superseded = std::mem::take(&mut self.run.supersedes);
        let leader_epoch = self.shared.leader_epoch;
        self.store_operation(async move {
            for other in superseded {
                other.forget(leader_epoch).await?;
            }
            let held = held.ok_or_else(|| Error::Internal("a job without a head".to_owned()))?;
            let held = store.commit(&held, checkpoint).await?;
            job.committed(checkpoint.epoch);
            Ok((Some(held), Some(Message::HeadSwung)))
        });
    }

    fn commit_sinks(&self, id: CommitId, committables: BTreeMap<OperatorId, Vec<Committable>>) {
        let (shared, graph) = (Arc::clone(&self.shared), Arc::clone(&self.run.graph));
        self.store_operation(async move {
            for spec in tables(&graph) {
                let made_ready = committables.get(&spec.id);
                if id.last || made_ready.is_some() {
                    let sink = connector::sink(spec, &shared.connectors)?;
                    commit(&shared, &sink, &id, made_ready.map_or(&[], Vec::as_slice)).await?;
                }
            }
            Ok((None, Some(Message::SinksCommitted)))
        });
    }

    fn collect_garbage(&self) {
        let (store, held, job) = (self.store.clone(), self.held.clone(), Arc::clone(&self.job));
        tokio::spawn(async move {
            let Some(held) = held else { return };
            if let Err(error) = store.collect_garbage(&held.head).await {
                // What is left is collected with the next checkpoint.
                tracing::warn!(job_id = %job.id, %error, "garbage of checkpoints stays for now");
            }
        });
    }

    fn store_operation(
        &self,
        operation: impl Future<Output = Result<(Option<HeldHead>, Option<Message>)>> + Send + 'static,
    ) {
        let stored = self.stored.clone();
        tokio::spawn(async move {
            let done = match operation.await {
                Ok((held, message)) => Stored { held, message },
                Err(error) => {
                    Stored { held: None, message: Some(Message::StoreFailed(error.into())) }
                }
            };
            // The driver has ended where nobody receives.
            let _ = stored.send(done);
        });
    }

    /// Lets the lanes finish, rows that are on their way to the client first, and then makes the
    /// end known. Where the job was stopped, workers that have not answered by now are not waited
    /// for: they find out when they report.
    async fn finish(mut self, mut member_events: mpsc::UnboundedReceiver<MemberEvent>) {
        self.lanes.clear();
        self.run.results = None;
        if !matches!(self.end, Some((JobState::Finished, _))) {
            self.lane_tasks.shutdown().await;
        }
        let mut lost_rows = None;
        loop {
            let lane = tokio::select! {
                lane = self.lane_tasks.join_next() => lane,
                Some(event) = member_events.recv() => {
                    if let Some(worker) = lost_worker(&event) {
                        self.lose(&worker);
                    }
                    continue;
                }
            };
            let Some(lane) = lane else { break };
            let lane = lane.unwrap_or_else(|error| {
                Err(Failure::new(ErrorKind::Bug, format!("the rows' way to the client: {error}")))
            });
            lost_rows = lost_rows.or(lane.err());
        }
        let (state, failure) = match (self.end.take(), lost_rows) {
            (Some((JobState::Finished, _)), Some(lost)) => (JobState::Failed, Some(lost)),
            (Some(end), _) => end,
            (None, lost) => (JobState::Failed, lost),
        };
        let failure = failure.map(|failure| self.job.explain(failure, &self.addresses));
        tracing::info!(job_id = %self.job.id, state = state.name(), "job ended");
        self.job.enter(state, failure, self.shared.clock.now_ms());
    }
}

/// Returns how many slots a deployment takes on each worker: the most subtasks of one stage.
fn slots_of(deployment: &Deployment) -> BTreeMap<WorkerId, usize> {
    let mut by_stage: BTreeMap<(&WorkerId, StageId), usize> = BTreeMap::new();
    for (task, worker) in &deployment.placement {
        *by_stage.entry((worker, task.stage)).or_default() += 1;
    }
    let mut slots: BTreeMap<WorkerId, usize> = BTreeMap::new();
    for ((worker, _), subtasks) in by_stage {
        let most = slots.entry(worker.clone()).or_default();
        *most = (*most).max(subtasks);
    }
    slots
}

/// Publishes, and tries again where that may help: committing is idempotent.
async fn commit(
    shared: &Shared,
    sink: &SinkRef,
    id: &CommitId,
    made_ready: &[Committable],
) -> Result<()> {
    let mut retries = 0;
    loop {
        match sink.commit(id, made_ready).await {
            Err(error) if error.kind() == ErrorKind::Retry && retries < COMMIT_RETRIES_MAX => {
                retries += 1;
                tracing::warn!(job_id = %id.job, epoch = id.epoch.0, %error, "commit is repeated");
                let pause_ms = i64::from(retries) * COMMIT_PAUSE_MS;
                shared.clock.sleep_until(shared.clock.now_ms() + pause_ms).await;
            }
            result => return result,
        }
    }
}

async fn prepare(
    shared: &Shared,
    store: &CheckpointStore,
    graph: &SharedGraph,
    config: &JobConfig,
) -> Result<(Option<HeldHead>, Prepared)> {
    // Before the claim: a job that cannot even find its files does not take the place of the
    // checkpoints of its last run.
    let mut splits = match config.restore {
        Some(_) => None,
        None => Some(list_splits(shared, graph).await?),
    };
    let (held, restored) = if config.durable {
        let fits = |head: &Head, manifest: &Manifest| restore::check(graph, head, manifest);
        let (held, manifest) = store.claim(shared.leader_epoch, config.restore, fits).await?;
        if let Some(manifest) = &manifest {
            roll_back(shared, graph, config, &held.head, manifest).await?;
        }
        (Some(held), manifest)
    } else {
        (None, None)
    };
    if restored.is_none() && splits.is_none() {
        splits = Some(list_splits(shared, graph).await?);
    }
    let head = held.as_ref().map(|held| &held.head);
    let prepared = Prepared {
        generation: Generation(head.map_or(1, |head| head.generation)),
        next_epoch: Epoch(head.map_or(0, |head| head.last_epoch) + 1),
        restored: restored.map(Arc::new),
        splits: splits.unwrap_or_default(),
    };
    Ok((held, prepared))
}

/// Has the sinks take back what was published after the checkpoint that the job goes back to.
async fn roll_back(
    shared: &Shared,
    graph: &SharedGraph,
    config: &JobConfig,
    head: &Head,
    manifest: &Manifest,
) -> Result<()> {
    let epoch = manifest.checkpoint.epoch;
    if head.last_epoch == epoch {
        return Ok(());
    }
    let generation = Generation(head.generation);
    let (job, epoch) = (config.job.clone(), Epoch(epoch));
    let id = CommitId { job, generation, epoch, last: false, ancestors: Vec::new() };
    for spec in tables(graph) {
        connector::sink(spec, &shared.connectors)?.roll_back(&id).await?;
    }
    Ok(())
}

/// Returns the sinks that are tables.
fn tables(graph: &JobGraph) -> impl Iterator<Item = &SinkSpec> {
    let sinks = graph.stages.iter().filter_map(|stage| stage.sink.as_ref());
    sinks.filter(|spec| matches!(spec.target, SinkTarget::Connector { .. }))
}

async fn list_splits(
    shared: &Shared,
    graph: &SharedGraph,
) -> Result<BTreeMap<StageId, Vec<SplitState>>> {
    // Lists hold none of it.
    let memory = Arc::new(MemoryBudget::new(graph.settings.memory_budget_bytes));
    let mut splits = BTreeMap::new();
    for stage in &graph.stages {
        let Some(spec) = &stage.source else { continue };
        let source = source_of(spec, &shared.connectors, &memory)?;
        let found = source.splits(stage.parallelism).await?;
        splits.insert(stage.id, found.into_iter().map(SplitState::unread).collect());
    }
    Ok(splits)
}
