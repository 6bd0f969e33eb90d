//! Publishes what writers have staged: all of a checkpoint or nothing, and once.

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde_json::{Value, json};

use super::commits::{self, Author, Change, Commit, CommitLog, TableFile, Times, read_all};
use super::partition_commit::PartitionCommit;
use super::place::{Place, is_hidden};
use super::writer::{Ready, STAGING, Staged, join};
use crate::connector::{CommitId, Committable};
use crate::time::{TimestampMs, Watermark};
use crate::{Epoch, Error, Generation, OperatorId, Result};

/// How many files are moved or deleted at once.
const MOVES_AT_ONCE: usize = 8;

/// Commits for one sink of a job.
pub(super) struct Committer<'a> {
    pub(super) place: &'a Place,
    pub(super) sink: OperatorId,
    /// INSERT OVERWRITE: what the job writes appears, and replaces the table, when it ends.
    pub(super) overwrite: bool,
    /// What marks partitions, and when.
    pub(super) partitions: Option<&'a PartitionCommit>,
    /// The clock's time.
    pub(super) now_ms: TimestampMs,
}

impl Committer<'_> {
    /// Publishes the files of one checkpoint.
    pub(super) async fn commit(&self, id: &CommitId, made_ready: &[Committable]) -> Result<()> {
        let (mut staged, time) = self.made_ready(id, made_ready)?;
        let author = Author::new(id, self.sink);
        let mut log = CommitLog::list(self.place).await?;
        if !log.contains(&author) {
            if self.overwrite {
                if !id.last {
                    return self.hold(id, &staged).await;
                }
                staged.extend(self.held(id).await?);
            }
            if id.last || !staged.is_empty() {
                self.begin(&mut log).await?;
            }
            self.publish(&mut log, &author, staged, time).await?;
        }
        self.mark(&log, id, time).await?;
        if self.overwrite {
            let replaced = log.replaced_by(&author).into_iter().map(str::to_owned).collect();
            self.delete(replaced).await?;
        }
        if id.last { self.clean_up(id).await } else { Ok(()) }
    }

    /// Returns the files of one checkpoint, and how far time was then, by which partitions are
    /// marked: all of them when the job ends, none where no writer knows a time.
    fn made_ready(
        &self,
        id: &CommitId,
        made_ready: &[Committable],
    ) -> Result<(Vec<Staged>, Option<TimestampMs>)> {
        let (mut staged, mut times) = (Vec::new(), Vec::new());
        for ready in made_ready {
            match Ready::parse(ready)? {
                Ready::File(file) => staged.push(file),
                Ready::Time(time) => times.push(time),
            }
        }
        let by_clock = self.partitions.is_some_and(PartitionCommit::follows_clock);
        let time = match (id.last, by_clock) {
            (true, _) => Some(TimestampMs::MAX),
            (false, true) => Some(self.now_ms),
            (false, false) => common_time(&times).map(|Watermark(ms)| ms),
        };
        Ok((staged, time))
    }

    /// Takes back what the job published after a checkpoint that it goes back to.
    pub(super) async fn roll_back(&self, id: &CommitId) -> Result<()> {
        if self.overwrite {
            // Nothing is published before the end, and the commit at the end leaves out what it
            // does not go on from.
            return Ok(());
        }
        let author = Author::new(id, self.sink);
        let mut log = CommitLog::list(self.place).await?;
        self.begin(&mut log).await?;
        log.publish(self.place, Commit::roll_back(author.clone())).await?;
        self.delete(log.undone_by(&author).into_iter().map(str::to_owned).collect()).await
    }

    /// Makes the first commit, which takes over the files that are in the directory before it.
    async fn begin(&self, log: &mut CommitLog) -> Result<()> {
        if !log.is_empty() {
            return Ok(());
        }
        let all = self.place.list(&self.place.path).await?;
        let files = all.into_iter().filter(|(name, _)| !is_hidden(name));
        let files = files.map(|(name, meta)| TableFile { name, rows: None, bytes: meta.size });
        let files = files.collect();
        let first = Commit { author: None, change: Change::Append, files, times: None };
        log.publish(self.place, first).await
    }

    async fn publish(
        &self,
        log: &mut CommitLog,
        author: &Author,
        staged: Vec<Staged>,
        time: Option<TimestampMs>,
    ) -> Result<()> {
        if staged.is_empty() && !self.overwrite {
            return Ok(());
        }
        let moves = staged.iter().map(|staged| self.put_in_place(staged)).collect::<Vec<_>>();
        let moves = futures::stream::iter(moves).buffer_unordered(MOVES_AT_ONCE);
        moves.try_collect::<()>().await?;
        let files = staged.into_iter().map(|staged| staged.file).collect();
        let author = Some(author.clone());
        let change = if self.overwrite { Change::Overwrite } else { Change::Append };
        let follows_time = self.partitions.is_some_and(PartitionCommit::follows_time);
        let reached_ms = time.unwrap_or(TimestampMs::MIN);
        let times = follows_time.then_some(Times { published_ms: self.now_ms, reached_ms });
        log.publish(self.place, Commit { author, change, files, times }).await
    }

    /// Puts a mark into the partitions that are complete now: again into those that this commit
    /// adds rows to, into others where there is none.
    async fn mark(&self, log: &CommitLog, id: &CommitId, time: Option<TimestampMs>) -> Result<()> {
        let Some(partitions) = self.partitions else { return Ok(()) };
        let added = log.folders_of(&Author::new(id, self.sink));
        if !partitions.follows_time() {
            for folder in added {
                self.put_mark(&join(&self.place.path, &mark_in(folder, partitions))?).await?;
            }
            return Ok(());
        }
        let Some(time) = time else { return Ok(()) };
        let (begun, reached_ms) = log.folders_until(id, self.sink);
        for (folder, begun_ms) in begun {
            let deadline = partitions.deadline(folder, begun_ms)?.unwrap_or(TimestampMs::MAX - 1);
            let is_added = added.contains(folder);
            if time <= deadline || (!is_added && deadline < reached_ms) {
                continue;
            }
            let path = join(&self.place.path, &mark_in(folder, partitions))?;
            if is_added || self.place.head(&path).await?.is_none() {
                self.put_mark(&path).await?;
            }
        }
        Ok(())
    }

    async fn put_mark(&self, path: &Path) -> Result<()> {
        let put = self.place.store.put(path, "".into()).await;
        put.map(drop)
            .map_err(|error| Error::storage(format!("write '{}'", self.place.display(path)), error))
    }

    /// Moves a staged file to its place, unless an earlier attempt has done so.
    async fn put_in_place(&self, staged: &Staged) -> Result<()> {
        let from = join(&self.place.path, &staged.name)?;
        let to = join(&self.place.path, &staged.file.name)?;
        let error = match self.place.store.rename(&from, &to).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if matches!(error, object_store::Error::NotFound { .. })
            && self.place.head(&to).await?.is_some()
        {
            return Ok(());
        }
        let (from, to) = (self.place.display(&from), self.place.display(&to));
        Err(Error::storage(format!("move '{from}' to '{to}'"), error))
    }

    fn held_folder(&self, id: &CommitId) -> String {
        format!("{}/_held/{}/{}", commits::FOLDER, self.sink, id.job)
    }

    /// Names the list of what a commit holds back: by the generation that made it too, for what
    /// one generation made may not be what the one that finishes goes on from.
    fn held_name(&self, id: &CommitId) -> String {
        format!("{}/{:020}-{:020}", self.held_folder(id), id.generation.0, id.epoch.0)
    }

    /// Keeps what a job made ready until it ends.
    async fn hold(&self, id: &CommitId, staged: &[Staged]) -> Result<()> {
        let path = join(&self.place.path, &self.held_name(id))?;
        let staged = staged.iter().map(Staged::to_json).collect::<Vec<_>>();
        let body = json!({ "staged": staged }).to_string();
        let put = self.place.store.put(&path, body.into()).await;
        let display = self.place.display(&path);
        put.map(|_| ()).map_err(|error| Error::storage(format!("write '{display}'"), error))
    }

    /// Returns what the checkpoints made ready that this one goes on from.
    async fn held(&self, id: &CommitId) -> Result<Vec<Staged>> {
        let folder = join(&self.place.path, &self.held_folder(id))?;
        let mut held = Vec::new();
        for (name, meta) in self.place.list(&folder).await? {
            let Some((generation, epoch)) = maker_of_held(&name) else { continue };
            let own = (generation, epoch) == (id.generation, id.epoch);
            if own || !id.includes(generation, epoch) {
                continue;
            }
            let bytes = read_all(self.place, &meta.location).await?;
            held.extend(parse_held(&bytes).ok_or_else(|| {
                let display = self.place.display(&meta.location);
                Error::Invalid(format!("'{display}' is no list of staged files"))
            })?);
        }
        Ok(held)
    }

    /// Removes what the job leaves behind: lists of held files, and staged files of attempts that
    /// came to nothing. What later generations make is left alone: this commit may be that of a
    /// master that was taken for dead.
    async fn clean_up(&self, id: &CommitId) -> Result<()> {
        let staging = format!("{STAGING}/{}", self.sink);
        let mut names = Vec::new();
        for name in self.place.list(&join(&self.place.path, &staging)?).await?.into_keys() {
            let attempt = name.strip_prefix(&staging).unwrap_or(&name).trim_start_matches('/');
            let attempt = attempt.split('/').next().unwrap_or_default();
            let generation = generation_of_attempt(attempt, id.job.as_str());
            if generation.is_some_and(|generation| generation <= id.generation) {
                names.push(name);
            }
        }
        let held = self.place.list(&join(&self.place.path, &self.held_folder(id))?).await?;
        names.extend(held.into_keys().filter(|name| {
            maker_of_held(name).is_none_or(|(generation, _)| generation <= id.generation)
        }));
        self.delete(names).await
    }

    async fn delete(&self, names: Vec<String>) -> Result<()> {
        let delete = |name: String| async move {
            let path = join(&self.place.path, &name)?;
            match self.place.store.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => {
                    Err(Error::storage(format!("delete '{}'", self.place.display(&path)), error))
                }
            }
        };
        let deletes = futures::stream::iter(names).map(delete).buffer_unordered(MOVES_AT_ONCE);
        deletes.try_collect::<()>().await
    }
}

/// Names the file that marks a partition.
fn mark_in(folder: &str, partitions: &PartitionCommit) -> String {
    format!("{folder}/{}", partitions.success_file)
}

/// Returns which generation made a list of held files, and for which checkpoint.
fn maker_of_held(name: &str) -> Option<(Generation, Epoch)> {
    let (generation, epoch) = name.rsplit('/').next()?.split_once('-')?;
    Some((Generation(generation.parse().ok()?), Epoch(epoch.parse().ok()?)))
}

fn parse_held(bytes: &[u8]) -> Option<Vec<Staged>> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    value.get("staged")?.as_array()?.iter().map(Staged::of_json).collect()
}

/// Returns the generation of a staging folder if it is that of one of the job's attempts: the
/// job's name, then generation, attempt and stage. Names of jobs may begin with those of others.
fn generation_of_attempt(folder: &str, job: &str) -> Option<Generation> {
    let numbers = folder.strip_prefix(job)?.strip_prefix('-')?;
    let is_number =
        |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts = numbers.split('-').collect::<Vec<_>>();
    let ours = parts.len() == 3 && parts.iter().all(is_number);
    ours.then(|| parts[0].parse().ok().map(Generation)).flatten()
}

/// Returns how far time is for all writers that know it: idle ones do not hold it back. Those that
/// have ended do not take it to the end while others may have rows again.
fn common_time(times: &[Option<Watermark>]) -> Option<Watermark> {
    let earliest = times.iter().flatten().min().copied()?;
    let is_idle = times.contains(&None);
    (earliest < Watermark::MAX || !is_idle).then_some(earliest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_told_from_those_of_similar_jobs() {
        let check = |folder: &str, job: &str, generation: Option<u64>| {
            assert_eq!(generation_of_attempt(folder, job), generation.map(Generation), "{folder}");
        };
        check("job-12-2-3", "job", Some(12));
        check("job-1-1-2-3", "job", None);
        check("job-1-1-2-3", "job-1", Some(1));
        check("job-x-1-2-3", "job", None);
        check("other-1-2-3", "job", None);
    }
}
