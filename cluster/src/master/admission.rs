//! What a script has to pass before anything of it starts: there is something to run, its name is
//! free, and what it is to go on from is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::path::Path;
use rainstorm_engine::{Error, ErrorKind};
use rainstorm_planner::script::{JobPlan, Step};

use super::events::Stop;
use super::job_names;
use super::run_record::RunRecord;
use super::script::{ScriptRun, is_durable};
use crate::job::{CheckpointRef, CheckpointStore, Failure, RestorePoint};

/// How long the last run of a name may take to tidy up after its jobs.
const CLAIM_PATIENCE_MS: i64 = 1000;
/// Jobs that a message names.
const NAMED_MAX: usize = 10;

impl ScriptRun {
    /// Takes the name and finds the checkpoints, or refuses the script.
    pub(super) async fn admit(&mut self, steps: &[Step]) -> Result<(), Stop> {
        let plans: Vec<_> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Job(plan) => Some(plan.as_ref()),
                _ => None,
            })
            .collect();
        if self.detached && !plans.iter().any(|plan| is_durable(plan)) {
            return Err(invalid("nothing to submit: the script has no INSERT".to_owned()));
        }
        if self.fresh && self.restore.is_some() {
            return Err(invalid("a job is either restored or started anew".to_owned()));
        }
        let own = |plan: &&JobPlan| plan.name.clone().filter(|_| self.given_name.is_none());
        let names: Vec<_> = plans.iter().map(own).collect();
        let names: Vec<_> = names.iter().map(Option::as_deref).collect();
        names.iter().flatten().try_for_each(|name| job_names::check(name))?;
        self.job_ids = job_names::ids(&self.name, &names);
        // Queries keep nothing under their name, so that any number of them may run under it.
        if plans.iter().any(|plan| is_durable(plan)) {
            let clock = &self.shared.clock;
            let patience = clock.sleep_until(clock.now_ms() + CLAIM_PATIENCE_MS);
            self.claim = Some(self.shared.jobs.claim(&self.name, &self.job_ids, patience).await?);
        }
        self.find_restore_points(&plans).await
    }

    /// Decides where each step's job starts from. A step that had finished only repeats its last
    /// commit; those that were interrupted go on; those that were never begun start from the
    /// beginning.
    async fn find_restore_points(&mut self, plans: &[&JobPlan]) -> Result<(), Stop> {
        let jobs = plans.iter().zip(1..).filter(|(plan, _)| is_durable(plan));
        let steps: Vec<_> = jobs.map(|(plan, number)| (number, plan.bounded)).collect();
        let numbers: Vec<_> = steps.iter().map(|(number, _)| *number).collect();
        if !self.named || numbers.is_empty() {
            return match self.restore {
                // Statements of a session need not all be INSERTs.
                Some(_) if self.session.is_empty() || !numbers.is_empty() => {
                    self.check_restorable(&numbers).await
                }
                _ => Ok(()),
            };
        }
        let kept = RunRecord::read(&self.shared.store, &self.name).await?;
        match self.restore {
            Some(restore) => {
                self.check_restorable(&numbers).await?;
                self.restore_points = self.begun_steps(restore, &steps).await?;
            }
            None if self.fresh => {}
            None => self.check_finished(&numbers, kept.as_ref()).await?,
        }
        for (number, point) in self.restore_points.clone() {
            if let Some(checkpoint) = self.checkpoint_at(number, point).await? {
                self.restored.insert(number, checkpoint);
            }
        }
        let settings = self.settings.clone();
        let record = RunRecord { settings, ..kept.unwrap_or_default() };
        record.write(&self.shared.store, &self.name).await?;
        self.first_to_end = steps.iter().find(|(_, bounded)| *bounded).map(|(number, _)| *number);
        self.durable_steps = numbers;
        Ok(())
    }

    /// Refuses to start from the beginning where the last run came to a checkpoint and no further.
    async fn check_finished(
        &self,
        numbers: &[usize],
        record: Option<&RunRecord>,
    ) -> Result<(), Stop> {
        let mut latest = None;
        let mut finished = true;
        for number in numbers {
            let Some(checkpoint) = self.checkpoint_at(*number, RestorePoint::Latest).await? else {
                // A step of a run that ended before it, or a step that is new.
                finished &= latest.is_none() || record.is_some();
                continue;
            };
            latest = Some(checkpoint.epoch);
            finished &= match record {
                Some(record) => record.finished.get(number) == Some(&checkpoint.epoch),
                None => checkpoint.last,
            };
        }
        let Some(epoch) = latest.filter(|_| !finished) else { return Ok(()) };
        Err(invalid(format!(
            "job '{}' did not finish and has checkpoint {epoch}: \
             go on from it with --restore, or start anew with --fresh",
            self.name
        )))
    }

    async fn checkpoint_at(
        &self,
        number: usize,
        point: RestorePoint,
    ) -> Result<Option<CheckpointRef>, Error> {
        let store = self.checkpoints(number);
        match point {
            RestorePoint::Epoch(epoch) => store.find(epoch).await.map(Some),
            RestorePoint::Latest => {
                let head = store.head().await?;
                Ok(head.and_then(|held| held.head.checkpoints.last().copied()))
            }
        }
    }

    /// Notes that all steps have finished, so that the next run under the name starts anew without
    /// asking.
    pub(super) async fn note_finished(&self) -> Result<(), Stop> {
        if self.durable_steps.is_empty() {
            return Ok(());
        }
        let mut finished = BTreeMap::new();
        for number in &self.durable_steps {
            if let Some(checkpoint) = self.checkpoint_at(*number, RestorePoint::Latest).await? {
                finished.insert(*number, checkpoint.epoch);
            }
        }
        let record =
            RunRecord { settings: self.settings.clone(), finished, ..RunRecord::default() };
        Ok(record.write(&self.shared.store, &self.name).await?)
    }

    /// Returns the steps that the last run had begun, and where they go on: up to the first one that
    /// was interrupted and would have ended, for those that never end run beside what follows.
    /// `steps` tells of each whether it ends.
    async fn begun_steps(
        &self,
        restore: RestorePoint,
        steps: &[(usize, bool)],
    ) -> Result<BTreeMap<usize, RestorePoint>, Stop> {
        let mut begun = BTreeMap::new();
        let mut interrupted = Vec::new();
        let mut last_begun = 0;
        for (number, bounded) in steps {
            begun.insert(*number, RestorePoint::Latest);
            last_begun = *number;
            let last = self.checkpoint_at(*number, RestorePoint::Latest).await?;
            if !last.is_some_and(|checkpoint| checkpoint.last) {
                interrupted.push(*number);
                if *bounded {
                    break;
                }
            }
        }
        if let RestorePoint::Epoch(epoch) = restore {
            if let [one, other, ..] = interrupted.as_slice() {
                return Err(invalid(format!(
                    "jobs {} and {} ran side by side, checkpoint {} may be that of either: \
                     go on from the latest of each with --restore alone",
                    self.job_ids[one - 1],
                    self.job_ids[other - 1],
                    epoch.0,
                )));
            }
            begun.insert(interrupted.first().copied().unwrap_or(last_begun), restore);
        }
        Ok(begun)
    }

    /// Refuses to restore where no step has a checkpoint: a fresh directory, or a mistyped name.
    async fn check_restorable(&self, numbers: &[usize]) -> Result<(), Stop> {
        for number in numbers {
            if has_checkpoint(&self.checkpoints(*number)).await? {
                return Ok(());
            }
        }
        let found = self.restorable().await?;
        let there_are = match found.as_slice() {
            [] => "no job has one".to_owned(),
            [one] => format!("there is one of '{one}'"),
            several => format!("there are some of '{}'", several.join("', '")),
        };
        let text = format!("job '{}' has no checkpoint to restore; {there_are}", self.name);
        Err(invalid(text))
    }

    /// Returns names under which there are checkpoints.
    async fn restorable(&self) -> Result<Vec<String>, Stop> {
        let failed = |error| Error::storage("list checkpoints", error);
        let store = &self.shared.store;
        let jobs = store.list_with_delimiter(Some(&Path::from("jobs"))).await.map_err(failed)?;
        let mut found = Vec::new();
        for job in jobs.common_prefixes {
            let steps = store.list_with_delimiter(Some(&job.clone().join("steps"))).await;
            for step in steps.map_err(failed)?.common_prefixes {
                let store = Arc::clone(store);
                let checkpoints = CheckpointStore::new(store, step, &self.shared.writer);
                if has_checkpoint(&checkpoints).await? {
                    found.extend(job.filename().map(str::to_owned));
                    break;
                }
            }
            if found.len() == NAMED_MAX {
                break;
            }
        }
        Ok(found)
    }
}

async fn has_checkpoint(checkpoints: &CheckpointStore) -> Result<bool, Error> {
    let head = checkpoints.head().await?;
    Ok(head.is_some_and(|held| !held.head.checkpoints.is_empty()))
}

fn invalid(text: String) -> Stop {
    Failure::new(ErrorKind::Invalid, text).into()
}
