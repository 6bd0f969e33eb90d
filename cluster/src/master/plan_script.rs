//! Plans a script in its session, with the settings that it was started with where it is restored.

use std::collections::BTreeMap;
use std::sync::Arc;

use rainstorm_engine::ErrorKind;
use rainstorm_planner::error::{SqlError, SqlErrors};
use rainstorm_planner::script::{JobPlan, Script, Step};
use rainstorm_planner::session::Session;
use rainstorm_proto::client::ExecuteRequest;

use super::events::Stop;
use super::run_record::RunRecord;
use super::script::is_durable;
use super::{Shared, job_names};
use crate::job::Failure;

/// Setting under which the number of tasks per operator is found.
const PARALLELISM: &str = "parallelism.default";
/// Setting that names a job.
const JOB_NAME: &str = "pipeline.name";

/// A script that is planned.
pub(super) struct Planned {
    session: Session,
    pub(super) steps: Vec<Step>,
    /// The name that `pipeline.name` gives it.
    pub(super) job_name: Option<String>,
    /// What was set before the script.
    pub(super) settings: BTreeMap<String, String>,
}

/// Plans the script and keeps what it defines.
pub(super) async fn plan(shared: &Arc<Shared>, request: &ExecuteRequest) -> Result<Planned, Stop> {
    if request.session.is_empty() {
        return plan_or_restore(shared, Session::default(), request).await;
    }
    let (state, session) = shared.sessions.begin(&request.session).await;
    let planned = plan_or_restore(shared, session, request).await?;
    shared.sessions.keep(state, &request.session, planned.session.clone()).await?;
    Ok(planned)
}

/// Plans the script; one that is restored with the settings that it was started with, as far as no
/// others are given now.
async fn plan_or_restore(
    shared: &Arc<Shared>,
    session: Session,
    request: &ExecuteRequest,
) -> Result<Planned, Stop> {
    let planned = plan_in(shared, session.clone(), request, &BTreeMap::new()).await?;
    if request.restore.is_none() {
        return Ok(planned);
    }
    // The script itself may give the name.
    let given = Some(&request.job_name).filter(|name| !name.is_empty());
    let Some(name) = given.or(planned.job_name.as_ref()) else { return Ok(planned) };
    job_names::check(name)?;
    match RunRecord::read(&shared.store, name).await? {
        Some(record) if !record.settings.is_empty() => {
            plan_in(shared, session, request, &record.settings).await
        }
        _ => Ok(planned),
    }
}

async fn plan_in(
    shared: &Arc<Shared>,
    mut session: Session,
    request: &ExecuteRequest,
    kept: &BTreeMap<String, String>,
) -> Result<Planned, Stop> {
    let script = Script {
        text: request.text.clone(),
        base_directory: request.base_directory.clone(),
        variables: request.variables.clone().into_iter().collect(),
    };
    // In a fixed order, so that of several wrong ones always the same is complained about.
    let given: BTreeMap<_, _> = request.settings.iter().collect();
    for (key, value) in given {
        session
            .settings
            .set(key, value)
            .map_err(|invalid| SqlErrors::from(SqlError::from(invalid)))?;
    }
    let own: BTreeMap<_, _> = changed(&session);
    for (key, value) in kept.iter().filter(|(key, _)| !own.contains_key(*key)) {
        // One that this build does not know any more has no meaning either.
        let _ = session.settings.set(key, value);
    }
    let settings = changed(&session);
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
    let job_name = script_name(&steps, &session);
    for (key, value) in kept.iter().filter(|(key, _)| !own.contains_key(*key)) {
        if session.settings.get(key).is_ok_and(|now| now == value) {
            // It is the job's, not the session's choice.
            let _ = session.settings.reset(key);
        }
    }
    if !given && session.settings.get(PARALLELISM).is_ok_and(|value| value == slots) {
        // The number of slots is this script's default, not the session's choice.
        let _ = session.settings.reset(PARALLELISM);
    }
    Ok(Planned { session, steps, job_name, settings })
}

/// Returns the name of a script's first job that keeps checkpoints under it, else of its first one.
fn script_name(steps: &[Step], session: &Session) -> Option<String> {
    let jobs = steps.iter().filter_map(|step| match step {
        Step::Job(plan) => Some(plan.as_ref()),
        _ => None,
    });
    let named = |plan: &&JobPlan| plan.name.is_some();
    let mut jobs = jobs.peekable();
    if jobs.peek().is_none() {
        return session.settings.job_name().map(str::to_owned);
    }
    let named: Vec<_> = jobs.filter(named).collect();
    let chosen = named.iter().find(|plan| is_durable(plan)).or_else(|| named.first());
    chosen.and_then(|plan| plan.name.clone())
}

/// Returns what is set in a session, but for the job's name.
fn changed(session: &Session) -> BTreeMap<String, String> {
    let changed = session.settings.changed().filter(|(key, _)| *key != JOB_NAME);
    changed.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
