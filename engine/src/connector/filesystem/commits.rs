//! The commits of a table: numbered lists of files, each created once and never changed.
//!
//! A table's rows are those of the files that its standing commits name, from the last one that
//! replaces everything on. A commit stands unless its job has gone back to a checkpoint before it.
//! Files that no standing commit names are not there yet, or not any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode};
use serde_json::{Value, json};

use super::place::Place;
use crate::connector::CommitId;
use crate::time::TimestampMs;
use crate::{Epoch, Error, Generation, OperatorId, Result};

/// The folder of the commits.
pub(super) const FOLDER: &str = "_commits";
/// How many commits are read at once.
const READS_AT_ONCE: usize = 8;
/// The length of a commit's name.
const DIGITS: usize = 20;

/// Returns the number of a commit by its name relative to the table.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix(FOLDER)?.strip_prefix('/')?;
    let is_number = number.len() == DIGITS && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| number.parse().ok()).flatten()
}

/// A file of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableFile {
    /// Its name relative to the table.
    pub(super) name: String,
    /// Its rows, where they were counted.
    pub(super) rows: Option<u64>,
    /// Its size.
    pub(super) bytes: u64,
}

impl TableFile {
    pub(super) fn to_json(&self) -> Value {
        json!({ "file": self.name, "rows": self.rows, "bytes": self.bytes })
    }

    pub(super) fn of_json(value: &Value) -> Option<Self> {
        Some(Self {
            name: value.get("file")?.as_str()?.to_owned(),
            rows: value.get("rows").and_then(Value::as_u64),
            bytes: value.get("bytes")?.as_u64()?,
        })
    }
}

/// What made a commit: the same for every repetition of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Author {
    pub(super) job: String,
    pub(super) sink: String,
    pub(super) generation: u64,
    pub(super) epoch: u64,
}

impl Author {
    /// Makes the author of a commit by one of a job's sinks.
    pub(super) fn new(id: &CommitId, sink: OperatorId) -> Self {
        Self {
            job: id.job.as_str().to_owned(),
            sink: sink.to_string(),
            generation: id.generation.0,
            epoch: id.epoch.0,
        }
    }
}

/// What a commit does to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It adds its files.
    Append,
    /// Its files replace what was committed before.
    Overwrite,
    /// It undoes what earlier generations of its author's sink commit after its author's epoch,
    /// whether that comes before or after it in the log.
    RollBack,
}

impl Change {
    fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Overwrite => "overwrite",
            Self::RollBack => "roll back",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        let all = [Self::Append, Self::Overwrite, Self::RollBack];
        all.into_iter().find(|change| change.name() == name)
    }
}

/// One commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commit {
    /// `None` for the first one, which takes over the files that are there.
    pub(super) author: Option<Author>,
    /// What it does.
    pub(super) change: Change,
    /// The files that it adds; none where it rolls back.
    pub(super) files: Vec<TableFile>,
    /// Where partitions are marked as time goes on, how far it was.
    pub(super) times: Option<Times>,
}

/// How far time was at a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    /// The clock's.
    pub(super) published_ms: TimestampMs,
    /// That by which partitions are marked: the clock's, or the watermark.
    pub(super) reached_ms: TimestampMs,
}

impl Commit {
    /// Makes the commit with which a job goes back to its author's epoch.
    pub(super) fn roll_back(author: Author) -> Self {
        Self { author: Some(author), change: Change::RollBack, files: Vec::new(), times: None }
    }

    /// Tells whether this commit undoes another one.
    fn undoes(&self, other: &Self) -> bool {
        let (Change::RollBack, Some(mine), Some(other)) =
            (self.change, &self.author, &other.author)
        else {
            return false;
        };
        (&mine.job, &mine.sink) == (&other.job, &other.sink)
            && mine.generation > other.generation
            && mine.epoch < other.epoch
    }

    fn to_json(&self) -> Value {
        let author = self.author.as_ref().map(|author| {
            let Author { job, sink, generation, epoch } = author;
            json!({ "job": job, "sink": sink, "generation": generation, "epoch": epoch })
        });
        let files = self.files.iter().map(TableFile::to_json).collect::<Vec<_>>();
        let mut json = json!({ "author": author, "change": self.change.name(), "files": files });
        if let Some(Times { published_ms, reached_ms }) = self.times {
            json["times"] = json!({ "published_ms": published_ms, "reached_ms": reached_ms });
        }
        json
    }

    fn of_json(value: &Value) -> Option<Self> {
        let author = match value.get("author") {
            None | Some(Value::Null) => None,
            Some(author) => Some(Author {
                job: author.get("job")?.as_str()?.to_owned(),
                sink: author.get("sink")?.as_str()?.to_owned(),
                generation: author.get("generation")?.as_u64()?,
                epoch: author.get("epoch")?.as_u64()?,
            }),
        };
        let files = value.get("files")?.as_array()?.iter().map(TableFile::of_json);
        let times = value.get("times").map(|times| {
            let published_ms = times.get("published_ms")?.as_i64()?;
            Some(Times { published_ms, reached_ms: times.get("reached_ms")?.as_i64()? })
        });
        Some(Self {
            times: times.flatten(),
            author,
            change: Change::of_name(value.get("change")?.as_str()?)?,
            files: files.collect::<Option<_>>()?,
        })
    }
}

/// All commits of a table, in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct CommitLog {
    commits: Vec<(u64, Commit)>,
}

impl CommitLog {
    /// Reads those of a table's files that are commits.
    pub(super) async fn load(place: &Place, names: impl Iterator<Item = &String>) -> Result<Self> {
        let mut numbers = names.filter_map(|name| number_of(name)).collect::<Vec<_>>();
        numbers.sort_unstable();
        let reads = numbers.into_iter().map(|number| read(place, number));
        let commits = futures::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
        Ok(Self { commits })
    }

    /// Lists and reads the commits of a table.
    pub(super) async fn list(place: &Place) -> Result<Self> {
        let names = place.list(&place.path.clone().join(FOLDER)).await?;
        Self::load(place, names.keys()).await
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// Tells whether an author's commit is there.
    pub(super) fn contains(&self, author: &Author) -> bool {
        self.find(author).is_some()
    }

    /// Returns the partition folders of the files that an author's commit adds.
    pub(super) fn folders_of(&self, author: &Author) -> BTreeSet<&str> {
        let files = self.find(author).map(|index| &self.commits[index].1.files);
        files.into_iter().flat_map(|files| folders(files)).collect()
    }

    /// Returns the partition folders that a run of a job has put files into through one of its
    /// sinks up to a commit, with the clock's time when that began, and how far time was at the
    /// commit before.
    pub(super) fn folders_until(
        &self,
        id: &CommitId,
        sink: OperatorId,
    ) -> (BTreeMap<&str, TimestampMs>, TimestampMs) {
        let this = Author::new(id, sink);
        let mut begun = BTreeMap::new();
        let mut reached_ms = TimestampMs::MIN;
        for commit in self.standing() {
            let (Some(author), Some(times)) = (&commit.author, commit.times) else { continue };
            let is_own = (&author.job, &author.sink) == (&this.job, &this.sink);
            if !is_own || !id.includes(Generation(author.generation), Epoch(author.epoch)) {
                continue;
            }
            for folder in folders(&commit.files) {
                begun.entry(folder).or_insert(times.published_ms);
            }
            if *author != this {
                reached_ms = reached_ms.max(times.reached_ms);
            }
        }
        (begun, reached_ms)
    }

    fn find(&self, author: &Author) -> Option<usize> {
        self.commits.iter().position(|(_, commit)| commit.author.as_ref() == Some(author))
    }

    /// Returns the names of the table's files in their order.
    pub(super) fn visible(&self) -> Vec<&str> {
        let overwrites = |commit: &Commit| commit.change == Change::Overwrite;
        let standing = self.standing();
        let begin = standing.iter().rposition(|commit| overwrites(commit)).unwrap_or(0);
        let mut names = names(standing[begin..].iter().copied());
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Returns the commits that no other one undoes.
    fn standing(&self) -> Vec<&Commit> {
        let all = || self.commits.iter().map(|(_, commit)| commit);
        let roll_backs = all().filter(|commit| commit.change == Change::RollBack);
        let roll_backs = roll_backs.collect::<Vec<_>>();
        let is_undone = |commit: &Commit| roll_backs.iter().any(|other| other.undoes(commit));
        all().filter(|commit| !is_undone(commit)).collect()
    }

    /// Returns the names of the files that an author's commit replaced.
    pub(super) fn replaced_by(&self, author: &Author) -> Vec<&str> {
        let Some(index) = self.find(author) else { return Vec::new() };
        let (before, since) = self.commits.split_at(index);
        let kept = names(since.iter().map(|(_, commit)| commit));
        let mut replaced = names(before.iter().map(|(_, commit)| commit));
        replaced.retain(|name| !kept.contains(name));
        replaced
    }

    /// Returns the names of the files that an author's rolling back undoes so far.
    pub(super) fn undone_by(&self, author: &Author) -> Vec<&str> {
        let roll_back = Commit::roll_back(author.clone());
        let all = self.commits.iter().map(|(_, commit)| commit);
        names(all.filter(|commit| roll_back.undoes(commit)))
    }

    /// Tells whether a later generation of an author's sink has replaced the table. What earlier
    /// ones wrote is over then, however late they come to publish it.
    fn is_superseded(&self, commit: &Commit) -> bool {
        let later = |other: &Commit| match (&commit.author, &other.author) {
            (Some(mine), Some(other)) => {
                (&mine.job, &mine.sink) == (&other.job, &other.sink)
                    && mine.generation < other.generation
            }
            _ => false,
        };
        let overwrites = |commit: &Commit| commit.change == Change::Overwrite;
        let mut all = self.commits.iter().map(|(_, other)| other);
        overwrites(commit) && all.any(|other| overwrites(other) && later(other))
    }

    /// Publishes a commit under the next free number, unless its author has done so already or
    /// was superseded.
    pub(super) async fn publish(&mut self, place: &Place, commit: Commit) -> Result<()> {
        loop {
            let known = commit.author.as_ref().is_some_and(|author| self.contains(author));
            if known || self.is_superseded(&commit) {
                return Ok(());
            }
            let number = self.commits.last().map_or(0, |(number, _)| number + 1);
            if create(place, number, &commit).await? {
                self.commits.push((number, commit));
                return Ok(());
            }
            *self = Self::list(place).await?;
            if commit.author.is_none() {
                // Another job has made the first commit.
                return Ok(());
            }
        }
    }
}

/// Returns the partition folders of files, each as often as it has files.
fn folders(files: &[TableFile]) -> impl Iterator<Item = &str> {
    files.iter().filter_map(|file| file.name.rsplit_once('/').map(|(folder, _)| folder))
}

/// Returns the names of the files that commits add.
fn names<'a>(commits: impl Iterator<Item = &'a Commit>) -> Vec<&'a str> {
    commits.flat_map(|commit| &commit.files).map(|file| file.name.as_str()).collect()
}

fn path_of(place: &Place, number: u64) -> Path {
    place.path.clone().join(FOLDER).join(format!("{number:0DIGITS$}"))
}

async fn create(place: &Place, number: u64, commit: &Commit) -> Result<bool> {
    let path = path_of(place, number);
    let body = commit.to_json().to_string().into();
    match place.store.put_opts(&path, body, PutMode::Create.into()).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
        Err(error) => Err(Error::storage(format!("create '{}'", place.display(&path)), error)),
    }
}

async fn read(place: &Place, number: u64) -> Result<(u64, Commit)> {
    let path = path_of(place, number);
    let bytes = read_all(place, &path).await?;
    let commit = serde_json::from_slice(&bytes).ok().as_ref().and_then(Commit::of_json);
    match commit {
        Some(commit) => Ok((number, commit)),
        None => Err(Error::Invalid(format!("'{}' is no commit", place.display(&path)))),
    }
}

/// Reads a small file.
pub(super) async fn read_all(place: &Place, path: &Path) -> Result<bytes::Bytes> {
    let failed = |error| Error::storage(format!("read '{}'", place.display(path)), error);
    Arc::clone(&place.store).get(path).await.map_err(failed)?.bytes().await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author(generation: u64, epoch: u64) -> Author {
        Author { job: "j".to_owned(), sink: "s".to_owned(), generation, epoch }
    }

    fn commit(epoch: u64, change: Change, files: &[&str]) -> Commit {
        let file = |name: &&str| TableFile { name: (*name).to_owned(), rows: Some(1), bytes: 2 };
        let files = files.iter().map(file).collect();
        Commit { author: Some(author(1, epoch)), change, files, times: None }
    }

    fn log(commits: impl IntoIterator<Item = Commit>) -> CommitLog {
        CommitLog { commits: (0..).zip(commits).collect() }
    }

    #[test]
    fn commits_survive_as_json() {
        let roll_back = Commit::roll_back(author(2, 1));
        assert_eq!(Commit::of_json(&roll_back.to_json()), Some(roll_back));
        let mut commit = commit(3, Change::Overwrite, &["a", "b"]);
        assert_eq!(Commit::of_json(&commit.to_json()), Some(commit.clone()));
        commit.author = None;
        commit.files[0].rows = None;
        commit.times = Some(Times { published_ms: 5, reached_ms: i64::MIN });
        assert_eq!(Commit::of_json(&commit.to_json()), Some(commit));
    }

    #[test]
    fn files_since_the_last_overwrite_are_visible() {
        let commits = [
            commit(1, Change::Append, &["b", "a"]),
            commit(2, Change::Overwrite, &["d", "c"]),
            commit(3, Change::Append, &["a2"]),
        ];
        let log = log(commits.clone());
        assert_eq!(log.visible(), ["a2", "c", "d"]);
        assert_eq!(log.replaced_by(commits[1].author.as_ref().unwrap()), ["b", "a"]);
    }

    #[test]
    fn what_a_roll_back_undoes_is_not_visible_even_if_it_comes_late() {
        let [one, two, three] = [1, 2, 3]
            .map(|epoch| commit(epoch, Change::Append, &[["a", "b", "c"][epoch as usize - 1]]));
        let mut again = commit(2, Change::Append, &["b2"]);
        again.author = Some(author(2, 2));
        let roll_back = Commit::roll_back(author(2, 1));
        let log = log([one, two, roll_back, again, three]);
        assert_eq!(log.visible(), ["a", "b2"]);
        assert_eq!(log.undone_by(&author(2, 1)), ["b", "c"]);
        assert!(log.undone_by(&author(3, 3)).is_empty());
    }

    #[test]
    fn only_numbers_name_commits() {
        assert_eq!(number_of("_commits/00000000000000000012"), Some(12));
        assert_eq!(number_of("_commits/12"), None);
        assert_eq!(number_of("_commits/_pending/00000000000000000012"), None);
        assert_eq!(number_of("x/_commits/00000000000000000012"), None);
    }
}
