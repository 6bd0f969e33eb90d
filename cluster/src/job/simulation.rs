//! The job manager against workers and a store that are slow, fail and die: one seed, one run.
//!
//! The job copies numbered rows of splits into a sink. Every run restores from where the one
//! before ended, or was abandoned with its effects still under way, sometimes from a checkpoint
//! before that, until the job is finished; then every row has been published exactly once. A job
//! that overwrites its table sometimes starts anew instead, and what it holds back for its end is
//! kept by rules that are those of the filesystem's committer.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::Schema;
use rainstorm_engine::connector::{Committable, Split, SplitState};
use rainstorm_engine::graph::{
    ChangelogMode, JobGraph, JobSettings, SinkSpec, SinkTarget, SourceSpec, Stage,
};
use rainstorm_engine::task::TaskId;
use rainstorm_engine::{Attempt, Epoch, ErrorKind, Generation, JobId, OperatorId, StageId};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::simulated_sink::SimulatedSink;
use super::*;

const SOURCE: OperatorId = OperatorId(1);
const SINK: OperatorId = OperatorId(2);
const SPLITS: u64 = 5;

/// Something that happens at a time; the sequence number makes the order total.
struct Event(i64, u64, What);

enum What {
    Deliver(Message),
    /// What the store says to the master of one run.
    Answer(u64, Message),
    /// An effect that the master of one run wants.
    Perform(u64, Effect),
    Advance(WorkerId, Generation),
    Tick,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Event {}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.0, other.1).cmp(&(self.0, self.1))
    }
}

/// One worker's part of an attempt.
#[derive(Default)]
struct Tasks {
    attempt: Option<(Generation, Attempt)>,
    splits: BTreeMap<TaskId, Vec<SplitState>>,
    started: bool,
    finished: BTreeSet<TaskId>,
    /// Split and rows that are staged but not in a snapshot.
    staged: Vec<String>,
}

struct Simulation {
    random: StdRng,
    now: i64,
    sequence: u64,
    events: BinaryHeap<Event>,
    /// Messages and commands of one worker keep their order.
    lanes: BTreeMap<String, i64>,
    workers: BTreeMap<WorkerId, Tasks>,
    head: Head,
    head_version: u64,
    /// The number of the run, and the version of `head` that each run has read or written.
    run: u64,
    versions: BTreeMap<u64, u64>,
    manifests: BTreeMap<CheckpointRef, Arc<Manifest>>,
    sink: SimulatedSink,
    /// The runs that started anew.
    anew: BTreeSet<u64>,
    faults: f64,
    trace: String,
    parallelism: usize,
}

pub(super) fn graph(parallelism: usize) -> Arc<JobGraph> {
    let schema = Arc::new(Schema::empty());
    let source = SourceSpec {
        id: SOURCE,
        table: "numbers".into(),
        connector: "numbers".into(),
        options: BTreeMap::new(),
        table_schema: Arc::clone(&schema),
        schema: Arc::clone(&schema),
        filters: vec![],
        limit: None,
        prepare: vec![],
        watermark: None,
        query: None,
    };
    let sink = SinkSpec {
        id: SINK,
        table: "out".into(),
        target: SinkTarget::Client,
        schema,
        changelog: ChangelogMode::AppendOnly,
        upsert_key: None,
    };
    let id = StageId(0);
    let stage = Stage { id, parallelism, source: Some(source), chain: vec![], sink: Some(sink) };
    let interval = Some(Duration::from_millis(40));
    let settings = JobSettings { checkpoint_interval: interval, ..JobSettings::default() };
    Arc::new(JobGraph { stages: vec![stage], edges: vec![], settings })
}

fn split(number: u64) -> SplitState {
    let split = Split { id: format!("s{number}"), position: "0".into() };
    SplitState { split, watermark: i64::MIN, finished: false }
}

fn rows_of(split: &str) -> u64 {
    split[1..].parse::<u64>().expect("split") * 7
}

impl Simulation {
    fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            now: 0,
            sequence: 0,
            events: BinaryHeap::new(),
            lanes: BTreeMap::new(),
            workers: BTreeMap::new(),
            head: Head {
                format: manifest::HEAD_FORMAT,
                generation: 0,
                leader_epoch: 1,
                last_epoch: 0,
                checkpoints: vec![],
                savepoints: vec![],
                request_id: String::new(),
            },
            head_version: 0,
            run: 0,
            versions: BTreeMap::new(),
            manifests: BTreeMap::new(),
            sink: SimulatedSink::default(),
            anew: BTreeSet::new(),
            faults: 0.1,
            trace: String::new(),
            parallelism: 2,
        }
    }

    fn fault(&mut self) -> bool {
        let faults = self.faults;
        self.random.random_bool(faults)
    }

    fn after(&mut self, lane: &str, what: What) {
        let mut at = self.now + self.random.random_range(1..30);
        if !lane.is_empty() {
            let last = self.lanes.entry(lane.to_owned()).or_insert(0);
            at = at.max(*last);
            *last = at;
        }
        self.sequence += 1;
        self.events.push(Event(at, self.sequence, what));
    }

    fn say(&mut self, worker: &WorkerId, attempt: (Generation, Attempt), message: WorkerMessage) {
        let message = Message::Worker(worker.clone(), attempt.0, attempt.1, message);
        if self.fault() {
            self.after(&format!("{worker}>"), What::Deliver(message.clone()));
        }
        self.after(&format!("{worker}>"), What::Deliver(message));
    }

    /// Hands effects over: those for a worker in its lane, those for the store in any order.
    fn perform_later(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let _ = writeln!(self.trace, "{} {effect:?}", self.now);
            let lane = match &effect {
                Effect::Deploy(worker, _)
                | Effect::Start(worker, ..)
                | Effect::TriggerCheckpoint(worker, ..)
                | Effect::Stop(worker, ..)
                | Effect::Release(worker, ..) => format!(">{worker}"),
                _ => String::new(),
            };
            self.after(&lane, What::Perform(self.run, effect));
        }
    }

    fn perform(&mut self, run: u64, effect: Effect) {
        let store_fails = self.fault();
        let failed = Message::StoreFailed(Failure::new(ErrorKind::Retry, "store"));
        match effect {
            Effect::Prepare if store_fails => self.after("", What::Answer(run, failed)),
            Effect::Prepare => self.prepare(run),
            Effect::WriteManifest(_) if store_fails => self.after("", What::Answer(run, failed)),
            Effect::WriteManifest(manifest) => {
                let before = self.manifests.insert(manifest.checkpoint, manifest);
                assert_eq!(before, None, "manifest names are never used twice");
                self.after("", What::Answer(run, Message::ManifestWritten));
            }
            Effect::SwingHead(_) if store_fails || self.versions[&run] != self.head_version => {
                self.after("", What::Answer(run, failed));
            }
            Effect::SwingHead(checkpoint) => {
                assert!(self.manifests.contains_key(&checkpoint), "the manifest comes first");
                assert_eq!(checkpoint.generation, self.head.generation);
                let epochs = self.head.checkpoints.iter().map(|kept| kept.epoch);
                assert!(epochs.max().unwrap_or(0) < checkpoint.epoch, "epochs rise");
                if self.anew.contains(&run) {
                    let generation = self.head.generation;
                    self.head.checkpoints.retain(|kept| kept.generation == generation);
                }
                self.head.checkpoints.push(checkpoint);
                self.head.last_epoch = checkpoint.epoch;
                self.head_version += 1;
                self.versions.insert(run, self.head_version);
                self.after("", What::Answer(run, Message::HeadSwung));
            }
            Effect::CommitSinks(id, sinks) => {
                // The store may fail before it publishes, or its answer may be lost after.
                let loses_answer = self.fault();
                if !store_fails {
                    self.sink.publish(&self.head, &id, &sinks);
                }
                let lost = store_fails || loses_answer;
                let answer = if lost { failed } else { Message::SinksCommitted };
                self.after("", What::Answer(run, answer));
            }
            Effect::CollectGarbage | Effect::Report(..) => {}
            effect => self.command(effect),
        }
    }

    fn prepare(&mut self, run: u64) {
        self.head.generation += 1;
        self.head_version += 1;
        self.versions.insert(run, self.head_version);
        let ended = self.head.checkpoints.last().is_some_and(|kept| kept.last);
        let anew = self.sink.overwrites && self.fault();
        if anew {
            let _ = writeln!(self.trace, "{} starts anew", self.now);
            self.anew.insert(run);
            self.sink.last_published = false;
        } else if self.sink.overwrites && ended {
            // A job that has replaced its table does not go back.
        } else if self.head.checkpoints.len() > 1 && self.fault() {
            let kept = self.random.random_range(1..self.head.checkpoints.len());
            self.head.checkpoints.truncate(kept);
        }
        let from = self.head.checkpoints.last().filter(|_| !anew);
        let restored = from.map(|kept| Arc::clone(&self.manifests[kept]));
        if restored.is_none() {
            self.anew.insert(run);
        }
        if let Some(restored) = &restored
            && restored.checkpoint.epoch < self.head.last_epoch
        {
            let _ = writeln!(self.trace, "{} goes back", self.now);
            self.sink.roll_backs.push((self.head.generation, restored.checkpoint.epoch));
            self.sink.last_published = false;
        }
        let splits = match &restored {
            Some(_) => BTreeMap::new(),
            None => [(StageId(0), (1..=SPLITS).map(split).collect())].into(),
        };
        let generation = Generation(self.head.generation);
        // Numbers of checkpoints that were begun but not committed may be used again: the
        // generation tells them apart.
        let next_epoch = Epoch(self.head.last_epoch + 1);
        let prepared = Prepared { generation, next_epoch, restored, splits };
        self.after("", What::Answer(run, Message::Prepared(Box::new(prepared))));
    }

    fn command(&mut self, effect: Effect) {
        match effect {
            Effect::Deploy(worker, deployment) => {
                let attempt = (deployment.generation, deployment.attempt);
                if self.fault() {
                    let failure = Failure::new(ErrorKind::Retry, "no deployment");
                    return self.say(&worker, attempt, WorkerMessage::Failed(failure));
                }
                let here = |task: &TaskId| deployment.placement.get(task) == Some(&worker);
                let splits = deployment.splits.iter().filter(|(task, _)| here(task));
                let tasks = Tasks {
                    attempt: Some(attempt),
                    splits: splits.map(|(task, splits)| (*task, splits.clone())).collect(),
                    ..Tasks::default()
                };
                self.workers.insert(worker.clone(), tasks);
                self.say(&worker, attempt, WorkerMessage::Deployed);
            }
            Effect::Start(worker, generation, attempt) => {
                let Some(tasks) = self.workers.get_mut(&worker) else { return };
                if tasks.attempt == Some((generation, attempt)) {
                    tasks.started = true;
                    self.after("", What::Advance(worker, generation));
                }
            }
            Effect::TriggerCheckpoint(worker, generation, attempt, epoch) => {
                self.snapshot(&worker, (generation, attempt), epoch);
            }
            Effect::Stop(worker, generation, attempt) => {
                if let Some(tasks) = self.workers.get_mut(&worker)
                    && tasks.attempt == Some((generation, attempt))
                {
                    *tasks = Tasks::default();
                }
                self.say(&worker, (generation, attempt), WorkerMessage::Stopped);
            }
            _ => {}
        }
    }

    fn snapshot(&mut self, worker: &WorkerId, attempt: (Generation, Attempt), epoch: Epoch) {
        let Some(tasks) = self.workers.get_mut(worker) else { return };
        if tasks.attempt != Some(attempt) {
            return;
        }
        let staged = std::mem::take(&mut tasks.staged).into_iter().map(Committable).collect();
        let splits = tasks.splits.values().flatten().cloned().collect();
        let snapshot = WorkerSnapshot {
            state: None,
            splits: [(SOURCE, splits)].into(),
            committables: [(SINK, staged)].into(),
        };
        self.say(worker, attempt, WorkerMessage::Snapshot(epoch, Box::new(snapshot)));
    }

    /// Lets a worker's tasks read some rows.
    fn advance(&mut self, worker: &WorkerId, generation: Generation) {
        let Some(tasks) = self.workers.get_mut(worker) else { return };
        let Some(attempt) = tasks.attempt.filter(|attempt| attempt.0 == generation) else { return };
        let mut finished = Vec::new();
        for (task, splits) in &mut tasks.splits {
            for state in splits.iter_mut().filter(|state| !state.finished) {
                let from: u64 = state.split.position.parse().expect("position");
                let end = rows_of(&state.split.id);
                let to = (from + self.random.random_range(0..3)).min(end);
                tasks.staged.extend((from..to).map(|row| format!("{}:{row}", state.split.id)));
                state.split.position = to.to_string();
                state.finished = to == end;
            }
            if splits.iter().all(|state| state.finished) && tasks.finished.insert(*task) {
                finished.push(*task);
            }
        }
        for task in finished {
            self.say(worker, attempt, WorkerMessage::Finished(task));
        }
        if self.fault() && self.fault() {
            let failure = Failure::new(ErrorKind::Data, "a task failed");
            self.say(worker, attempt, WorkerMessage::Failed(failure));
        }
        self.after("", What::Advance(worker.clone(), generation));
    }

    /// Runs the job once; it may be abandoned midway, as by a master that dies.
    fn run(&mut self) -> Option<JobState> {
        let mut config = JobConfig::new(JobId::new("job"));
        config.restore = Some(RestorePoint::Latest);
        config.checkpoint_timeout = Duration::from_secs(1);
        // What the run before still had under way goes on; answers to it reach nobody.
        let mut events = std::mem::take(&mut self.events).into_vec();
        events.retain(|event| !matches!(event.2, What::Tick));
        self.events = events.into();
        self.run += 1;
        let abandoned_at = self.fault().then(|| self.now + self.random.random_range(1..400));
        let lost_at = self.fault().then(|| self.now + self.random.random_range(1..400));
        let cancelled_at = self.fault().then(|| self.now + self.random.random_range(1..400));
        self.parallelism = self.random.random_range(1..5);
        let mut effects = Vec::new();
        let graph = graph(self.parallelism);
        let mut job = JobManager::start(config, graph, self.now, &mut effects);
        let workers = (0..3).map(|n| WorkerSlots {
            worker: WorkerId::new(&format!("w{n}")),
            slots: 1,
            used: 0,
        });
        let workers = Message::Workers(workers.collect());
        self.after("", What::Answer(self.run, workers));
        let lost = Message::WorkerLost(WorkerId::new("w1"));
        for (at, message) in [(lost_at, lost), (cancelled_at, Message::Cancel)] {
            if let Some(at) = at {
                self.sequence += 1;
                self.events.push(Event(at, self.sequence, What::Answer(self.run, message)));
            }
        }
        loop {
            self.perform_later(std::mem::take(&mut effects));
            if job.state().is_end() {
                return Some(job.state());
            }
            if abandoned_at.is_some_and(|at| at <= self.now) {
                return None;
            }
            if let Some(at) = job.next_timeout() {
                self.sequence += 1;
                self.events.push(Event(at.max(self.now), self.sequence, What::Tick));
            }
            let Event(at, _, what) = self.events.pop().expect("something is always under way");
            self.now = self.now.max(at);
            match what {
                What::Answer(run, _) if run != self.run => {}
                What::Deliver(message) | What::Answer(_, message) => {
                    job.handle_message(self.now, message, &mut effects);
                }
                What::Perform(run, effect) => self.perform(run, effect),
                What::Advance(worker, generation) => self.advance(&worker, generation),
                What::Tick => {
                    if job.next_timeout().is_some_and(|due| due <= self.now) {
                        job.handle_timeout(self.now, &mut effects);
                    }
                }
            }
        }
    }

    /// Runs the job until it is finished, then checks what was published.
    fn run_to_end(seed: u64, overwrites: bool) -> String {
        let mut simulation = Self::new(seed);
        simulation.sink.overwrites = overwrites;
        for runs in 0.. {
            let end = simulation.run();
            let _ = writeln!(simulation.trace, "{} ended {end:?}", simulation.now);
            if end == Some(JobState::Finished) {
                break;
            }
            // In the end nothing fails any more, so that the job can finish.
            simulation.faults = if runs > 20 { 0.0 } else { simulation.faults };
        }
        assert!(simulation.sink.last_published, "seed {seed}: finished before the last commit");
        // Masters that were abandoned may still commit what they had decided.
        while let Some(Event(_, _, what)) = simulation.events.pop() {
            if let What::Perform(run, effect @ Effect::CommitSinks(..)) = what {
                simulation.perform(run, effect);
            }
        }
        let mut rows = simulation.sink.rows();
        rows.sort();
        let mut expected: Vec<_> = (1..=SPLITS)
            .flat_map(|number| (0..number * 7).map(move |row| format!("s{number}:{row}")))
            .collect();
        expected.sort();
        assert_eq!(rows, expected, "seed {seed}: rows are published exactly once");
        simulation.trace
    }
}

#[test]
fn every_row_is_published_exactly_once_whatever_fails() {
    let (mut restored, mut rolled_back) = (0, 0);
    for seed in 0..500 {
        let trace = Simulation::run_to_end(seed, false);
        restored += usize::from(trace.matches("ended").count() > 1);
        rolled_back += usize::from(trace.contains("goes back"));
    }
    assert!(restored > 250, "the faults make most runs restore: {restored}");
    assert!(rolled_back > 20, "some go back to an earlier checkpoint: {rolled_back}");
}

#[test]
fn a_job_that_overwrites_its_table_leaves_every_row_in_it_once() {
    let (mut anew, mut rolled_back) = (0, 0);
    for seed in 0..500 {
        let trace = Simulation::run_to_end(seed, true);
        anew += usize::from(trace.contains("starts anew"));
        rolled_back += usize::from(trace.contains("goes back"));
    }
    assert!(anew > 50, "some start anew: {anew}");
    assert!(rolled_back > 20, "some go back to an earlier checkpoint: {rolled_back}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for (seed, overwrites) in [(0, false), (1, false), (2, false), (3, true), (4, true)] {
        let run = || Simulation::run_to_end(seed, overwrites);
        assert_eq!(run(), run());
    }
}
