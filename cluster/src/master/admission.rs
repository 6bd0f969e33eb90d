//! What a script has to pass before anything of it starts: there is something to run, its name is
//! free, and what it is to go on from is there.

use std::sync::Arc;

use object_store::path::Path;
use rainstorm_engine::{Error, ErrorKind};
use rainstorm_planner::script::{JobPlan, Step};

use super::events::Stop;
use super::script::{ScriptRun, is_durable};
use crate::job::{CheckpointStore, Failure, RestorePoint};

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
        if !plans.is_empty() {
            let ids: Vec<_> = (1..=plans.len()).map(|number| self.job_id(number)).collect();
            let clock = &self.shared.clock;
            let patience = clock.sleep_until(clock.now_ms() + CLAIM_PATIENCE_MS);
            self.claim = Some(self.shared.jobs.claim(&self.name, &ids, patience).await?);
        }
        self.find_restore_points(&plans).await
    }

    /// Decides where each step's job starts from. A step that had finished only repeats its last
    /// commit; the one that was interrupted goes on; those after it start from the beginning.
    async fn find_restore_points(&mut self, plans: &[&JobPlan]) -> Result<(), Stop> {
        let jobs = plans.iter().zip(1..).filter(|(plan, _)| is_durable(plan));
        let numbers: Vec<_> = jobs.map(|(_, number)| number).collect();
        if self.restore.is_some() {
            self.check_restorable(&numbers).await?;
        }
        let chosen = self.chosen_step(&numbers).await?;
        for (position, number) in numbers.into_iter().enumerate() {
            match self.restore {
                None if self.named && position > 0 => {
                    // What an earlier run of the script left of this step is not to be taken for
                    // this run's. The first step's is forgotten when the job starts.
                    let store = self.checkpoints(number);
                    if store.head().await?.is_some() {
                        store.claim(self.shared.leader_epoch, None, |_, _| Ok(())).await?;
                    }
                }
                None => {}
                Some(RestorePoint::Latest) => {
                    self.restore_points.insert(number, RestorePoint::Latest);
                }
                Some(epoch) if chosen == Some(number) => {
                    self.restore_points.insert(number, epoch);
                }
                Some(_) if chosen.is_some_and(|chosen| number < chosen) => {
                    self.restore_points.insert(number, RestorePoint::Latest);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Returns the step that a given epoch is of: the one that was interrupted, else the last.
    async fn chosen_step(&self, numbers: &[usize]) -> Result<Option<usize>, Stop> {
        let Some(RestorePoint::Epoch(epoch)) = self.restore else { return Ok(None) };
        let mut chosen = None;
        for number in numbers {
            chosen = Some(*number);
            let head = self.checkpoints(*number).head().await?;
            let last = head.as_ref().and_then(|held| held.head.checkpoints.last());
            if !last.is_some_and(|checkpoint| checkpoint.last) {
                break;
            }
        }
        if let Some(number) = chosen {
            self.checkpoints(number).find(epoch).await?;
        }
        Ok(chosen)
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
