//! What a checkpoint consists of, and which checkpoints a job has: two JSON objects.

use std::collections::BTreeMap;

use bytes::Bytes;
use rainstorm_engine::connector::{CommitId, Committable, Split, SplitState};
use rainstorm_engine::time::TimestampMs;
use rainstorm_engine::{Epoch, Generation, JobId, OperatorId};
use serde::{Deserialize, Serialize};

/// The version of the layout of [`Head`].
pub(crate) const HEAD_FORMAT: u16 = 1;
/// The version of the layout of [`Manifest`]. Since 2 it has its ancestors.
pub(crate) const FORMAT: u16 = 2;

/// The one mutable object of a job: who may write, and which checkpoints there are. Whatever it
/// does not reach is garbage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The version of the layout.
    pub format: u16,
    /// How often the job was started or taken over.
    pub generation: u64,
    /// The epoch of the leader that wrote it.
    pub leader_epoch: u64,
    /// The greatest number given to a checkpoint of the job so far, 0 for none.
    pub last_epoch: u64,
    /// The checkpoints that can be restored, oldest first.
    pub checkpoints: Vec<CheckpointRef>,
    /// Checkpoints that stay until someone drops them.
    pub savepoints: Vec<CheckpointRef>,
    /// Unique per write, so that its writer finds out whether a write of unknown outcome arrived.
    pub request_id: String,
}

/// Names a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointRef {
    /// The generation that took it.
    pub generation: u64,
    /// The deployment within the generation.
    pub attempt: u32,
    /// The checkpoint's number.
    pub epoch: u64,
    /// Whether the job had finished with it.
    pub last: bool,
}

impl CheckpointRef {
    /// Returns the manifest's file name, never used twice.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}-{}-{}.json", self.generation, self.attempt, self.epoch)
    }
}

/// A checkpoint: immutable, and complete once `head` names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the layout.
    pub format: u16,
    /// Which checkpoint it is.
    pub checkpoint: CheckpointRef,
    /// The checkpoints at which the job went on from one generation to the next, oldest first;
    /// the generations between them, and those before one that started anew, were given up.
    pub ancestors: Vec<Ancestor>,
    /// The number of key groups that its state is divided into.
    pub key_groups: u16,
    /// The operators that keep state, with what they do.
    pub operators: BTreeMap<OperatorKey, String>,
    /// Where their state is: files of all workers, each indexed by operator and key group.
    pub state: Vec<StatePlace>,
    /// Each source's splits, finished ones too.
    pub sources: BTreeMap<OperatorKey, SourceState>,
    /// What each sink made ready for it.
    pub sinks: BTreeMap<OperatorKey, Vec<String>>,
}

impl Manifest {
    /// Returns the ancestors of checkpoints of a generation that goes on from this one.
    #[must_use]
    pub fn ancestors_of_next(&self) -> Vec<Ancestor> {
        let CheckpointRef { generation, epoch, .. } = self.checkpoint;
        let mut ancestors = self.ancestors.clone();
        ancestors.push(Ancestor { generation, epoch });
        ancestors
    }

    /// Returns the id under which its sinks commit.
    #[must_use]
    pub fn commit_id(&self, job: &JobId) -> CommitId {
        let CheckpointRef { generation, epoch, last, .. } = self.checkpoint;
        let (generation, epoch) = (Generation(generation), Epoch(epoch));
        let ancestors = self.ancestors.iter();
        let ancestors =
            ancestors.map(|ancestor| (Generation(ancestor.generation), Epoch(ancestor.epoch)));
        CommitId { job: job.clone(), generation, epoch, last, ancestors: ancestors.collect() }
    }

    /// Returns what each sink has to publish.
    #[must_use]
    pub fn committables(&self) -> BTreeMap<OperatorId, Vec<Committable>> {
        self.sinks
            .iter()
            .map(|(sink, texts)| (sink.0, texts.iter().cloned().map(Committable).collect()))
            .collect()
    }

    /// Returns the paths of the files that hold its state.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.state.iter().filter_map(|place| match place {
            StatePlace::File { path, .. } => Some(path.as_str()),
            StatePlace::Inline(_) => None,
        })
    }
}

/// A checkpoint that a later generation was restored from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ancestor {
    /// The generation that took it.
    pub generation: u64,
    /// The checkpoint's number.
    pub epoch: u64,
}

/// How far a source has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceState {
    /// The table's name.
    pub table: String,
    /// Its splits, by id.
    #[serde(with = "split_states")]
    pub splits: Vec<SplitState>,
}

/// Where a worker's state of one checkpoint is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatePlace {
    /// In the manifest, as base64.
    #[serde(with = "base64_bytes")]
    Inline(Bytes),
    /// In a file of the checkpoint's store.
    File {
        /// Its path.
        path: String,
        /// How long it is, in bytes.
        size_bytes: u64,
    },
}

/// An [`OperatorId`] as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperatorKey(pub OperatorId);

impl Serialize for OperatorKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for OperatorKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16)
            .map(|id| Self(OperatorId(id)))
            .map_err(|error| serde::de::Error::custom(format!("operator id '{text}': {error}")))
    }
}

mod base64_bytes {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::{Bytes, Deserialize};

    pub(super) fn serialize<S: serde::Serializer>(
        bytes: &Bytes,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
    }
}

mod split_states {
    use super::{Deserialize, Serialize, Split, SplitState, TimestampMs};

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        id: String,
        position: String,
        watermark: TimestampMs,
        finished: bool,
    }

    pub(super) fn serialize<S: serde::Serializer>(
        splits: &[SplitState],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(splits.iter().map(|state| Entry {
            id: state.split.id.clone(),
            position: state.split.position.clone(),
            watermark: state.watermark,
            finished: state.finished,
        }))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<SplitState>, D::Error> {
        let entries = Vec::<Entry>::deserialize(deserializer)?;
        Ok(entries
            .into_iter()
            .map(|entry| SplitState {
                split: Split { id: entry.id, position: entry.position },
                watermark: entry.watermark,
                finished: entry.finished,
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_come_back_from_json_as_they_were() {
        let inline = StatePlace::Inline(Bytes::from_static(&[0, 255, 7]));
        let file = StatePlace::File { path: "jobs/j/state/1-1-3-w".into(), size_bytes: 9 };
        let key = |id| OperatorKey(OperatorId(id));
        let split = SplitState {
            split: Split { id: "a".into(), position: "{\"row\":3}".into() },
            watermark: i64::MIN,
            finished: false,
        };
        let manifest = Manifest {
            format: FORMAT,
            checkpoint: CheckpointRef { generation: 4, attempt: 1, epoch: 3, last: false },
            ancestors: vec![Ancestor { generation: 2, epoch: 1 }],
            key_groups: 256,
            operators: [(key(u64::MAX), "GroupAggregate".to_owned())].into(),
            state: vec![inline, file],
            sources: [(key(7), SourceState { table: "t".into(), splits: vec![split] })].into(),
            sinks: [(key(9), vec!["{}".to_owned()])].into(),
        };
        let text = serde_json::to_string(&manifest).expect("encode");
        assert_eq!(serde_json::from_str::<Manifest>(&text).expect("decode"), manifest);
        assert_eq!(manifest.files().collect::<Vec<_>>(), ["jobs/j/state/1-1-3-w"]);
    }
}
