//! Scripts: planned whole, then run step by step.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use rainstorm_engine::graph::BatchQuery;
use rainstorm_engine::memory::MemoryBudget;
use rainstorm_engine::{Epoch, Error, JobId, batch_query};
use rainstorm_planner::script::{JobPlan, Step};
use rainstorm_proto::client::execute_event::Event;
use rainstorm_proto::client::{
    ExecuteRequest, Failed, Finished, JobStarted, Progress, Rows, RowsFinished,
};
use tokio::sync::mpsc;

use super::driver::{JobRun, drive};
use super::events::{Events, Stop, rows_started, send, send_rows, show};
use super::jobs::{Job, NameClaim};
use super::plan_script::{Planned, plan};
use super::{Shared, job_names, show_jobs};
use crate::identity::unique_id;
use crate::job::{
    CheckpointRef, CheckpointStore, Failure, JobConfig, JobState, Message, RestorePoint,
};

/// How often a client hears how its job is getting on.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// How long a job may wait for workers before its client hears of it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Batches of rows that wait for the client.
const QUEUED_ROWS: usize = 4;

/// Plans a request's script and runs it, telling `events`.
pub(super) async fn execute(shared: Arc<Shared>, request: ExecuteRequest, events: Events) {
    let last = match run(&shared, request, &events).await {
        Ok(()) => Event::Finished(Finished {}),
        Err(Stop::Failed(failed)) => Event::Failed(failed),
        Err(Stop::Cancelled(job)) => {
            let message = format!("job {job} was cancelled");
            Event::Failed(Failed { message, ..Failed::default() })
        }
        Err(Stop::Gone) => return,
    };
    // A client that is gone does not need to hear of the end.
    let _ = send(&events, last).await;
}

async fn run(shared: &Arc<Shared>, request: ExecuteRequest, events: &Events) -> Result<(), Stop> {
    let Planned { steps, job_name, settings, .. } = plan(shared, &request).await?;
    let mut script = ScriptRun::new(Arc::clone(shared), &request, job_name, settings)?;
    script.admit(&steps).await?;
    if request.detached {
        return script.detach(steps, events).await;
    }
    script.steps(steps, events).await
}

/// One run of a script.
pub(super) struct ScriptRun {
    pub(super) shared: Arc<Shared>,
    pub(super) name: String,
    /// Whether somebody chose the name, so that checkpoints are worth keeping after the end.
    pub(super) named: bool,
    /// The name where it was given from outside, so that `pipeline.name` does not matter.
    pub(super) given_name: Option<String>,
    /// Whether it runs on without its client, who then sees no rows.
    pub(super) detached: bool,
    pub(super) restore: Option<RestorePoint>,
    /// Whether it starts from the beginning although its last run did not finish.
    pub(super) fresh: bool,
    /// The session that it is of, such as a prompt; empty for a script of its own.
    pub(super) session: String,
    /// What was set before it.
    pub(super) settings: BTreeMap<String, String>,
    /// The steps whose checkpoints are kept, where the script has a name.
    pub(super) durable_steps: Vec<usize>,
    /// The first of them that ends. Those before it run beside it, those after it when it has ended.
    pub(super) first_to_end: Option<usize>,
    /// The ids of the steps' jobs.
    pub(super) job_ids: Vec<JobId>,
    /// Where the jobs of the steps start from; those left out start from the beginning.
    pub(super) restore_points: BTreeMap<usize, RestorePoint>,
    /// Which checkpoints these are.
    pub(super) restored: BTreeMap<usize, CheckpointRef>,
    /// Keeps other scripts from the name.
    pub(super) claim: Option<NameClaim>,
}

impl ScriptRun {
    fn new(
        shared: Arc<Shared>,
        request: &ExecuteRequest,
        job_name: Option<String>,
        settings: BTreeMap<String, String>,
    ) -> Result<Self, Stop> {
        let given_name = Some(request.job_name.clone()).filter(|name| !name.is_empty());
        let name = given_name.clone().or(job_name);
        let named = name.is_some();
        let name = name.unwrap_or_else(job_names::made_up);
        job_names::check(&name)?;
        let restore = request.restore.as_ref().map(|restore| match restore.epoch {
            0 => RestorePoint::Latest,
            epoch => RestorePoint::Epoch(Epoch(epoch)),
        });
        Ok(Self {
            shared,
            name,
            named,
            given_name,
            detached: request.detached,
            restore,
            fresh: request.fresh,
            session: request.session.clone(),
            settings,
            durable_steps: Vec::new(),
            first_to_end: None,
            job_ids: Vec::new(),
            restore_points: BTreeMap::new(),
            restored: BTreeMap::new(),
            claim: None,
        })
    }

    /// Returns where the checkpoints of a step's job are.
    pub(super) fn checkpoints(&self, number: usize) -> CheckpointStore {
        let store = Arc::clone(&self.shared.store);
        CheckpointStore::new(store, self.directory(number), &self.shared.writer)
    }

    /// Starts the script and lets it run on without its client.
    async fn detach(self, steps: Vec<Step>, events: &Events) -> Result<(), Stop> {
        let bounded = steps.iter().all(|step| !matches!(step, Step::Job(job) if !job.bounded));
        let number = self.restored.keys().next_back().copied().unwrap_or(0);
        let job_id = self.name.clone();
        let started = JobStarted { job_id, bounded, ..self.job_started(number) };
        let unseen = steps.iter().filter(|step| self.is_unseen(step)).count();
        if unseen > 0 {
            let plural = if unseen == 1 { "query is" } else { "queries are" };
            let text = format!("{unseen} {plural} not run: a submitted script shows no rows");
            send(events, Event::Warning(text)).await?;
        }
        // Nobody reads what the statements answer.
        let (sink, mut unread) = mpsc::channel(QUEUED_ROWS);
        tokio::spawn(async move { while unread.recv().await.is_some() {} });
        tokio::spawn(async move {
            match self.steps(steps, &sink).await {
                Err(Stop::Failed(failed)) => {
                    tracing::error!(job_id = self.name, error = failed.message, "script failed");
                }
                Err(Stop::Cancelled(job)) => tracing::info!(job_id = %job, "script cancelled"),
                Ok(()) | Err(Stop::Gone) => {}
            }
        });
        send(events, Event::JobStarted(started)).await
    }

    /// Runs the steps one after the other, those that never end beside what follows. Their jobs are
    /// numbered, from 1. When one of them does not come to its end, neither does the script.
    async fn steps(&self, steps: Vec<Step>, events: &Events) -> Result<(), Stop> {
        let mut beside = FuturesUnordered::new();
        let mut number = 0;
        for step in steps {
            number += usize::from(matches!(step, Step::Job(_)));
            if self.is_unseen(&step) {
                continue;
            }
            let step = match step {
                Step::Job(plan) if is_durable(&plan) && !plan.bounded => {
                    let begun = self.begin(number, *plan, events);
                    let begun = alongside(&mut beside, begun).await?;
                    beside.push(self.finish(begun, events));
                    continue;
                }
                step => step,
            };
            alongside(&mut beside, self.step(number, step, events)).await?;
        }
        while beside.try_next().await?.is_some() {}
        self.note_finished().await
    }

    /// Says where a step's job starts from; what it is called is still to be set.
    fn job_started(&self, number: usize) -> JobStarted {
        let restored = self.restored.get(&number);
        JobStarted {
            restorable: self.named && !self.durable_steps.is_empty(),
            restored_epoch: restored.map_or(0, |checkpoint| checkpoint.epoch),
            had_finished: restored.is_some_and(|checkpoint| checkpoint.last),
            ..JobStarted::default()
        }
    }

    /// Tells whether a step does nothing but show rows to nobody.
    fn is_unseen(&self, step: &Step) -> bool {
        self.detached
            && match step {
                Step::Done { .. } => false,
                Step::Rows(_) | Step::ShowJobs | Step::Batch { .. } => true,
                Step::Job(plan) => !is_durable(plan),
            }
    }

    async fn step(&self, number: usize, step: Step, events: &Events) -> Result<(), Stop> {
        match step {
            Step::Done { message } => send(events, Event::Message(message)).await,
            Step::Rows(rows) => show(events, rows.schema(), vec![rows]).await,
            Step::ShowJobs => {
                let rows = show_jobs::rows(&self.shared.jobs.list())?;
                show(events, rows.schema(), vec![rows]).await
            }
            Step::Batch { query, memory_budget_bytes } => {
                self.batch(query, memory_budget_bytes, events).await
            }
            Step::Job(plan) => self.job(number, *plan, events).await,
        }
    }

    async fn batch(
        &self,
        query: Arc<BatchQuery>,
        memory_budget_bytes: usize,
        events: &Events,
    ) -> Result<(), Stop> {
        let connectors = self.shared.connectors.clone();
        let failed = |error| Stop::from(Error::compute("run the query", error));
        let skipped_rows = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&skipped_rows);
        let memory = Arc::new(MemoryBudget::new(memory_budget_bytes));
        let answer = async move { batch_query::run(&query, &connectors, &counter, &memory).await };
        let mut rows = self.shared.planning.spawn(answer).await?.map_err(failed)?;
        let schema = rows.schema();
        send(events, rows_started(&schema, None, true)?).await?;
        while let Some(batch) = rows.try_next().await.map_err(failed)? {
            send_rows(events, &batch).await?;
        }
        let skipped_rows = skipped_rows.load(Ordering::Relaxed);
        if skipped_rows > 0 {
            // No job: an id that no other news has.
            let job_id = unique_id().to_string();
            let progress = Progress { job_id, skipped_rows, ..Progress::default() };
            send(events, Event::Progress(progress)).await?;
        }
        send(events, Event::RowsFinished(RowsFinished {})).await
    }

    async fn job(&self, number: usize, plan: JobPlan, events: &Events) -> Result<(), Stop> {
        let begun = self.begin(number, plan, events).await?;
        self.finish(begun, events).await
    }

    /// Starts a job and says so.
    async fn begin(&self, number: usize, plan: JobPlan, events: &Events) -> Result<Begun, Stop> {
        for warning in &plan.warnings {
            send(events, Event::Warning(warning.clone())).await?;
        }
        let (rows, results) = mpsc::channel(QUEUED_ROWS);
        let job = self.start(number, &plan, plan.query.is_some().then_some(rows))?;
        let job = CancelledWithScript(job);
        let job_id = job.0.id.as_str().to_owned();
        let restored = if is_durable(&plan) { number } else { 0 };
        let started = JobStarted { job_id, bounded: plan.bounded, ..self.job_started(restored) };
        send(events, Event::JobStarted(started)).await?;
        if let Some(query) = &plan.query {
            send(events, rows_started(&query.schema, Some(query), plan.bounded)?).await?;
        }
        Ok(Begun { number, plan, job, results })
    }

    /// Hands on what comes of a job until it has ended.
    async fn finish(&self, begun: Begun, events: &Events) -> Result<(), Stop> {
        let Begun { number, plan, job, results } = begun;
        let job = &*job.0;
        let slots = plan.graph.stages.iter().map(|stage| stage.parallelism).max().unwrap_or(0);
        let (state, failure) = self.follow(job, slots, results, events).await?;
        send(events, Event::Progress(job.progress())).await?;
        match (state, failure) {
            (JobState::Finished, _) => {}
            (_, Some(failure)) => return Err(failure.into()),
            (_, None) => return Err(Stop::Cancelled(job.id.clone())),
        }
        if plan.query.is_some() {
            return send(events, Event::RowsFinished(RowsFinished {})).await;
        }
        self.forget(number, &job.id);
        let tables = plan.inserts.join(", ");
        let rows_out = job.progress().rows_out;
        send(events, Event::Message(format!("INSERT {rows_out} INTO {tables}"))).await
    }

    /// Returns the id of a step's job.
    fn job_id(&self, number: usize) -> JobId {
        self.job_ids.get(number - 1).cloned().unwrap_or_else(|| JobId::new(&self.name))
    }

    fn start(
        &self,
        number: usize,
        plan: &JobPlan,
        results: Option<mpsc::Sender<Bytes>>,
    ) -> Result<Arc<Job>, Stop> {
        let mut id = self.job_id(number);
        if self.claim.is_none() && self.named {
            // Other scripts may run under the name, and reports find jobs by their ids.
            id = JobId::new(&format!("{id}-{}", job_names::short_id()));
        }
        let now = self.shared.clock.now_ms();
        let (job, messages) =
            self.shared.jobs.add(id.clone(), &self.name, is_durable(plan), now)?;
        let restore = self.restore_points.get(&number).copied();
        let config = JobConfig { durable: is_durable(plan), restore, ..JobConfig::new(id) };
        let store = self.checkpoints(number);
        let graph = Arc::new(plan.graph.clone());
        let run = JobRun { graph, config, store, supersedes: self.superseded(number), results };
        tokio::spawn(drive(Arc::clone(&self.shared), Arc::clone(&job), run, messages));
        Ok(job)
    }

    /// Returns the checkpoints of other steps that are garbage once this step's job has one of its
    /// own: where a run starts anew, what the one before left of the steps that begin after it.
    fn superseded(&self, number: usize) -> Vec<CheckpointStore> {
        if self.restore.is_some() || self.first_to_end != Some(number) {
            return Vec::new();
        }
        let later = self.durable_steps.iter().filter(|later| **later > number);
        later.map(|number| self.checkpoints(*number)).collect()
    }

    /// Hands rows and progress to the client until the job has ended.
    async fn follow(
        &self,
        job: &Job,
        slots: usize,
        mut results: mpsc::Receiver<Bytes>,
        events: &Events,
    ) -> Result<(JobState, Option<Failure>), Stop> {
        let mut rows_end = false;
        let mut next_progress = self.shared.clock.now_ms();
        let mut complaint_due = Some(next_progress + PATIENCE.as_millis() as i64);
        loop {
            next_progress += PROGRESS_INTERVAL.as_millis() as i64;
            let step = async {
                loop {
                    tokio::select! {
                        biased;
                        rows = results.recv(), if !rows_end => match rows {
                            Some(batches) => send(events, Event::Rows(Rows { batches })).await?,
                            None => rows_end = true,
                        },
                        ended = job.ended(), if rows_end => return Ok(Some(ended)),
                        () = self.shared.clock.sleep_until(next_progress) => return Ok(None),
                    }
                }
            };
            let step = tokio::select! {
                step = step => step,
                () = events.closed() => Err(Stop::Gone),
            };
            match step {
                Ok(Some(ended)) => return Ok(ended),
                Ok(None) => send(events, Event::Progress(job.progress())).await?,
                Err(stop) => return Err(stop),
            }
            if complaint_due.is_some_and(|due| due <= next_progress)
                && self.shared.workers.total_slots() == 0
            {
                complaint_due = None;
                send(events, Event::Warning(self.no_workers(slots))).await?;
            }
        }
    }

    fn no_workers(&self, slots: usize) -> String {
        let plural = if slots == 1 { "" } else { "s" };
        let address = &self.shared.address;
        format!("waiting for {slots} slot{plural}: no worker has registered with {address}")
    }

    fn directory(&self, number: usize) -> Path {
        Path::from("jobs").join(self.name.as_str()).join("steps").join(number.to_string())
    }

    /// Deletes the checkpoints of a job that has finished and that nobody can name again.
    fn forget(&self, number: usize, id: &JobId) {
        if self.named {
            return;
        }
        let (store, id) = (Arc::clone(&self.shared.store), id.clone());
        let directory = self.directory(number);
        tokio::spawn(async move {
            let listed = object_store::ObjectStore::list(&*store, Some(&directory));
            let deleted =
                listed
                    .try_for_each(|file| {
                        let store = Arc::clone(&store);
                        async move {
                            object_store::ObjectStoreExt::delete(&*store, &file.location).await
                        }
                    })
                    .await;
            if let Err(error) = deleted {
                tracing::warn!(job_id = %id, %error, "checkpoints of a finished job stay");
            }
        });
    }
}

/// A step's job that runs.
struct Begun {
    number: usize,
    plan: JobPlan,
    job: CancelledWithScript,
    /// The rows for the client.
    results: mpsc::Receiver<Bytes>,
}

/// Does something while jobs run beside it, unless one of these does not come to its end.
async fn alongside<T>(
    beside: &mut FuturesUnordered<impl Future<Output = Result<(), Stop>>>,
    work: impl Future<Output = Result<T, Stop>>,
) -> Result<T, Stop> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            Some(ended) = beside.next() => ended?,
            done = &mut work => return done,
        }
    }
}

/// Stops the job when the script that waits for it stops, whyever that is; harmless after its end.
struct CancelledWithScript(Arc<Job>);

impl Drop for CancelledWithScript {
    fn drop(&mut self) {
        self.0.send(Message::Cancel);
    }
}

/// Tells whether checkpoints of a job are kept: not where only a client sees its rows.
pub(super) fn is_durable(plan: &JobPlan) -> bool {
    !plan.inserts.is_empty()
}
