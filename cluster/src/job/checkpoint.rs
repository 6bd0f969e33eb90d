//! The one checkpoint that is being taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rainstorm_engine::graph::JobGraph;
use rainstorm_engine::time::TimestampMs;
use rainstorm_engine::{Attempt, Epoch, Generation};

use super::manifest::{Ancestor, CheckpointRef, FORMAT, Manifest, OperatorKey, SourceState};
use super::message::{WorkerId, WorkerSnapshot};
use super::restore;

/// A checkpoint from its barriers to the commit of its sinks.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) epoch: Epoch,
    /// Whether all tasks had finished before it.
    pub(crate) last: bool,
    pub(crate) triggered_at: TimestampMs,
    missing: BTreeSet<WorkerId>,
    snapshots: BTreeMap<WorkerId, WorkerSnapshot>,
    /// Once every worker has answered.
    pub(crate) manifest: Option<Arc<Manifest>>,
}

impl Pending {
    pub(crate) fn new(
        epoch: Epoch,
        last: bool,
        triggered_at: TimestampMs,
        workers: impl Iterator<Item = WorkerId>,
    ) -> Self {
        Self {
            epoch,
            last,
            triggered_at,
            missing: workers.collect(),
            snapshots: BTreeMap::new(),
            manifest: None,
        }
    }

    /// Takes a worker's answer, and tells whether it was the last one that was missing. Answers
    /// that are repeated are left out.
    pub(crate) fn acknowledge(&mut self, worker: &WorkerId, snapshot: WorkerSnapshot) -> bool {
        if !self.missing.remove(worker) {
            return false;
        }
        self.snapshots.insert(worker.clone(), snapshot);
        self.missing.is_empty()
    }

    /// Puts the workers' answers together.
    pub(crate) fn complete(
        &mut self,
        graph: &JobGraph,
        generation: Generation,
        attempt: Attempt,
        ancestors: &[Ancestor],
    ) -> Arc<Manifest> {
        let mut sources: BTreeMap<_, _> = restore::sources(graph)
            .map(|source| {
                let state = SourceState { table: source.table.clone(), splits: Vec::new() };
                (OperatorKey(source.id), state)
            })
            .collect();
        let mut sinks = BTreeMap::<_, Vec<String>>::new();
        let mut state = Vec::new();
        for snapshot in std::mem::take(&mut self.snapshots).into_values() {
            state.extend(snapshot.state);
            for (source, splits) in snapshot.splits {
                if let Some(known) = sources.get_mut(&OperatorKey(source)) {
                    known.splits.extend(splits);
                }
            }
            for (sink, committables) in snapshot.committables {
                let texts = committables.into_iter().map(|committable| committable.0);
                sinks.entry(OperatorKey(sink)).or_default().extend(texts);
            }
        }
        for source in sources.values_mut() {
            source.splits.sort_by(|a, b| a.split.id.cmp(&b.split.id));
        }
        sinks.retain(|_, committables| !committables.is_empty());
        let manifest = Arc::new(Manifest {
            format: FORMAT,
            checkpoint: CheckpointRef {
                generation: generation.0,
                attempt: attempt.0,
                epoch: self.epoch.0,
                last: self.last,
            },
            ancestors: ancestors.to_vec(),
            key_groups: graph.settings.key_groups,
            operators: restore::stateful(graph)
                .map(|(id, name)| (OperatorKey(id), name.to_owned()))
                .collect(),
            state,
            sources,
            sinks,
        });
        self.manifest = Some(Arc::clone(&manifest));
        manifest
    }
}
