//! Scripts: planned whole, then run step by step.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::path::Path;
use rainstorm_engine::graph::ChangelogMode;
use rainstorm_engine::{Epoch, Error, ErrorKind, JobId};
use rainstorm_planner::error::{SqlError, SqlErrors};
use rainstorm_planner::script::{JobPlan, QueryOutput, Script, Step};
use rainstorm_planner::session::Session;
use rainstorm_proto::client::execute_event::Event;
use rainstorm_proto::client::{
    ExecuteEvent, ExecuteRequest, Failed, Finished, JobStarted, Rows, RowsFinished, RowsStarted,
    SortColumn,
};
use tokio::sync::mpsc;
use tonic::Status;

use super::driver::{JobRun, drive};
use super::jobs::Job;
use super::{Shared, batch, show_jobs};
use crate::identity::unique_id;
use crate::job::{Failure, JobConfig, JobState, Message, RestorePoint};

/// Setting under which the number of tasks per operator is found.
const PARALLELISM: &str = "parallelism.default";
/// How often a client hears how its job is getting on.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// Batches of rows that wait for the client.
const QUEUED_ROWS: usize = 4;

/// Where a client's events go.
pub(super) type Events = mpsc::Sender<Result<ExecuteEvent, Status>>;

/// Why a script stops. What was published before stays.
pub(super) enum Stop {
    Failed(Failed),
    /// The client is gone.
    Gone,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        let Failure { message, causes, .. } = failure;
        Self::Failed(Failed { sql_errors: Vec::new(), message, causes })
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Failure::from(error).into()
    }
}

impl From<SqlErrors> for Stop {
    fn from(errors: SqlErrors) -> Self {
        let message = errors.to_string();
        let sql_errors = errors.0.into_iter().map(to_wire).collect();
        Self::Failed(Failed { sql_errors, message, causes: Vec::new() })
    }
}

/// Plans a request's script and runs it, telling `events`.
pub(super) async fn execute(shared: Arc<Shared>, request: ExecuteRequest, events: Events) {
    let last = match run(&shared, request, &events).await {
        Ok(()) => Event::Finished(Finished {}),
        Err(Stop::Failed(failed)) => Event::Failed(failed),
        Err(Stop::Gone) => return,
    };
    // A client that is gone does not need to hear of the end.
    let _ = send(&events, last).await;
}

async fn run(shared: &Arc<Shared>, request: ExecuteRequest, events: &Events) -> Result<(), Stop> {
    let steps = plan(shared, &request).await?;
    let script = ScriptRun::new(Arc::clone(shared), &request)?;
    if request.detached {
        return script.detach(steps, events).await;
    }
    for (number, step) in steps.into_iter().enumerate() {
        script.step(number, step, events).await?;
    }
    Ok(())
}

async fn send(events: &Events, event: Event) -> Result<(), Stop> {
    events.send(Ok(ExecuteEvent { event: Some(event) })).await.map_err(|_| Stop::Gone)
}

/// Plans the script and keeps what it defines.
async fn plan(shared: &Arc<Shared>, request: &ExecuteRequest) -> Result<Vec<Step>, Stop> {
    let script = Script {
        text: request.text.clone(),
        base_directory: request.base_directory.clone(),
        variables: request.variables.clone().into_iter().collect(),
    };
    if request.session.is_empty() {
        let (_, steps) = plan_in(shared, Session::default(), request, script).await?;
        return Ok(steps);
    }
    let (state, session) = shared.sessions.begin(&request.session).await;
    let (session, steps) = plan_in(shared, session, request, script).await?;
    shared.sessions.keep(state, &request.session, session).await?;
    Ok(steps)
}

async fn plan_in(
    shared: &Arc<Shared>,
    mut session: Session,
    request: &ExecuteRequest,
    script: Script,
) -> Result<(Session, Vec<Step>), Stop> {
    for (key, value) in &request.settings {
        session.settings.set(key, value).map_err(|invalid| {
            let mut failure = Failure::new(ErrorKind::Invalid, invalid.message);
            failure.causes.extend(invalid.help);
            failure
        })?;
    }
    let given = session.settings.parallelism().is_some();
    let slots = shared.workers.total_slots().max(1).to_string();
    if !given {
        session
            .settings
            .set(PARALLELISM, &slots)
            .map_err(|invalid| Failure::new(ErrorKind::Bug, invalid.message))?;
    }
    let planner = shared.planner.clone();
    let planned = shared.planning.run(move || {
        let steps = planner.plan(&mut session, &script);
        steps.map(|steps| (session, steps))
    });
    let (mut session, steps) = planned.await??;
    if !given && session.settings.get(PARALLELISM).is_ok_and(|value| value == slots) {
        // The number of slots is this script's default, not the session's choice.
        let _ = session.settings.reset(PARALLELISM);
    }
    Ok((session, steps))
}

/// One run of a script.
struct ScriptRun {
    shared: Arc<Shared>,
    name: String,
    /// Whether somebody chose the name, so that checkpoints are worth keeping after the end.
    named: bool,
    restore: Option<RestorePoint>,
}

impl ScriptRun {
    fn new(shared: Arc<Shared>, request: &ExecuteRequest) -> Result<Self, Stop> {
        let named = !request.job_name.is_empty();
        let name = if named { request.job_name.clone() } else { made_up_name() };
        check_name(&name)?;
        let restore = request.restore.as_ref().map(|restore| match restore.epoch {
            0 => RestorePoint::Latest,
            epoch => RestorePoint::Epoch(Epoch(epoch)),
        });
        Ok(Self { shared, name, named, restore })
    }

    /// Starts the script and lets it run on without its client.
    async fn detach(self, steps: Vec<Step>, events: &Events) -> Result<(), Stop> {
        let bounded = steps.iter().all(|step| !matches!(step, Step::Job(job) if !job.bounded));
        let started = JobStarted { job_id: self.name.clone(), bounded };
        // Nobody reads what the statements answer.
        let (sink, mut unread) = mpsc::channel(QUEUED_ROWS);
        tokio::spawn(async move { while unread.recv().await.is_some() {} });
        tokio::spawn(async move {
            for (number, step) in steps.into_iter().enumerate() {
                match self.step(number, step, &sink).await {
                    Ok(()) => {}
                    Err(Stop::Failed(failed)) => {
                        tracing::error!(
                            job_id = self.name,
                            error = failed.message,
                            "script failed"
                        );
                        return;
                    }
                    Err(Stop::Gone) => return,
                }
            }
        });
        send(events, Event::JobStarted(started)).await
    }

    async fn step(&self, number: usize, step: Step, events: &Events) -> Result<(), Stop> {
        match step {
            Step::Done { message } => send(events, Event::Message(message)).await,
            Step::Rows(rows) => show(events, rows.schema(), vec![rows]).await,
            Step::ShowJobs => {
                let rows = show_jobs::rows(&self.shared.jobs.list())?;
                show(events, rows.schema(), vec![rows]).await
            }
            Step::Batch(plan) => self.batch(*plan, events).await,
            Step::Job(plan) => self.job(number, *plan, events).await,
        }
    }

    async fn batch(
        &self,
        plan: datafusion::logical_expr::LogicalPlan,
        events: &Events,
    ) -> Result<(), Stop> {
        let connectors = self.shared.connectors.clone();
        let failed = |error| Stop::from(Error::compute("run the query", error));
        let answer = self.shared.planning.spawn(async move { batch::run(plan, &connectors).await });
        let mut rows = answer.await?.map_err(failed)?;
        let schema = rows.schema();
        send(events, rows_started(&schema, None, true)?).await?;
        while let Some(batch) = rows.try_next().await.map_err(failed)? {
            let batches = encode(&schema, &[batch])?;
            send(events, Event::Rows(Rows { batches })).await?;
        }
        send(events, Event::RowsFinished(RowsFinished {})).await
    }

    async fn job(&self, number: usize, plan: JobPlan, events: &Events) -> Result<(), Stop> {
        for warning in &plan.warnings {
            send(events, Event::Warning(warning.clone())).await?;
        }
        let (rows, results) = mpsc::channel(QUEUED_ROWS);
        let job = self.start(number, &plan, plan.query.is_some().then_some(rows))?;
        let job_id = job.id.as_str().to_owned();
        send(events, Event::JobStarted(JobStarted { job_id, bounded: plan.bounded })).await?;
        if let Some(query) = &plan.query {
            send(events, rows_started(&query.schema, Some(query), plan.bounded)?).await?;
        }
        let (state, failure) = self.follow(&job, results, events).await?;
        send(events, Event::Progress(job.progress())).await?;
        match (state, failure) {
            (JobState::Finished, _) => {}
            (_, Some(failure)) => return Err(failure.into()),
            (_, None) => {
                let text = format!("job {} was cancelled", job.id);
                return Err(Failure::new(ErrorKind::Unavailable, text).into());
            }
        }
        if plan.query.is_some() {
            return send(events, Event::RowsFinished(RowsFinished {})).await;
        }
        self.forget(&job.id);
        let tables = plan.inserts.join(", ");
        let rows_out = job.progress().rows_out;
        send(events, Event::Message(format!("INSERT {rows_out} INTO {tables}"))).await
    }

    fn start(
        &self,
        number: usize,
        plan: &JobPlan,
        results: Option<mpsc::Sender<Bytes>>,
    ) -> Result<Arc<Job>, Stop> {
        let id = if number == 0 { self.name.clone() } else { format!("{}-{number}", self.name) };
        let id = JobId::new(&id);
        let (job, messages) = self.shared.jobs.add(id.clone(), self.shared.clock.now_ms())?;
        let durable = !plan.inserts.is_empty();
        let restore = self.restore.filter(|_| durable);
        let config = JobConfig { durable, restore, ..JobConfig::new(id) };
        let directory = self.directory().join("steps").join(number.to_string());
        let run = JobRun { graph: Arc::new(plan.graph.clone()), config, directory, results };
        tokio::spawn(drive(Arc::clone(&self.shared), Arc::clone(&job), run, messages));
        Ok(job)
    }

    /// Hands rows and progress to the client until the job has ended. A client that is gone
    /// cancels it.
    async fn follow(
        &self,
        job: &Job,
        mut results: mpsc::Receiver<Bytes>,
        events: &Events,
    ) -> Result<(JobState, Option<Failure>), Stop> {
        let mut rows_end = false;
        let mut next_progress = self.shared.clock.now_ms();
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
                Err(stop) => {
                    job.send(Message::Cancel);
                    return Err(stop);
                }
            }
        }
    }

    fn directory(&self) -> Path {
        Path::from("jobs").join(self.name.as_str())
    }

    /// Deletes the checkpoints of a job that has finished and that nobody can name again.
    fn forget(&self, id: &JobId) {
        if self.named {
            return;
        }
        let (store, directory, id) = (Arc::clone(&self.shared.store), self.directory(), id.clone());
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

fn made_up_name() -> String {
    let id = unique_id().simple().to_string();
    format!("query-{}", &id[..8])
}

fn check_name(name: &str) -> Result<(), Stop> {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    if !name.starts_with('.') && name.chars().all(plain) {
        return Ok(());
    }
    let text =
        format!("job name '{name}' has other characters than letters, digits, '-', '_', '.'");
    Err(Failure::new(ErrorKind::Invalid, text).into())
}

/// Shows rows that are all known.
async fn show(events: &Events, schema: SchemaRef, rows: Vec<RecordBatch>) -> Result<(), Stop> {
    send(events, rows_started(&schema, None, true)?).await?;
    let batches = encode(&schema, &rows)?;
    send(events, Event::Rows(Rows { batches })).await?;
    send(events, Event::RowsFinished(RowsFinished {})).await
}

fn rows_started(
    schema: &Schema,
    query: Option<&QueryOutput>,
    bounded: bool,
) -> Result<Event, Stop> {
    let mut started = RowsStarted {
        schema: encode(schema, &[])?,
        visible: schema.fields().len() as u32,
        bounded,
        ..RowsStarted::default()
    };
    if let Some(query) = query {
        started.visible = query.visible as u32;
        started.retracts = query.changelog == ChangelogMode::Retract;
        started.order_by = query
            .order_by
            .iter()
            .map(|sort| SortColumn {
                index: sort.index as u32,
                descending: sort.descending,
                nulls_first: sort.nulls_first,
            })
            .collect();
        started.offset = query.offset as u64;
        started.limit = query.limit.map(|limit| limit as u64);
    }
    Ok(Event::RowsStarted(started))
}

fn encode(schema: &Schema, batches: &[RecordBatch]) -> Result<Bytes, Stop> {
    let write = || {
        let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
        for batch in batches {
            writer.write(batch)?;
        }
        writer.into_inner()
    };
    let bytes = write().map_err(|error| Error::compute("encode rows", error))?;
    Ok(bytes.into())
}

fn to_wire(error: SqlError) -> rainstorm_proto::client::SqlError {
    rainstorm_proto::client::SqlError {
        code: error.code.as_str().to_owned(),
        message: error.message,
        line: error.line as u32,
        column: error.column as u32,
        length: error.length as u32,
        help: error.help.unwrap_or_default(),
    }
}
