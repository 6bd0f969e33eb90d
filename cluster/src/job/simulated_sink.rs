//! For the simulation: what a sink publishes, by the rules of the filesystem's committer.

use std::collections::BTreeMap;

use rainstorm_engine::connector::{CommitId, Committable};
use rainstorm_engine::{Epoch, Generation, OperatorId};

use super::Head;

/// A table and what is held back for it.
#[derive(Default)]
pub(super) struct SimulatedSink {
    pub(super) published: BTreeMap<(u64, u64), BTreeMap<OperatorId, Vec<Committable>>>,
    pub(super) last_published: bool,
    /// INSERT OVERWRITE: rows are held back until the job ends, and then are all of the table.
    pub(super) overwrites: bool,
    pub(super) held: BTreeMap<(Generation, Epoch), Vec<String>>,
    /// The table that an overwriting job has written, with the generation that did.
    pub(super) table: Option<(Generation, Vec<String>)>,
    /// The generation and the epoch with which the job went back to an earlier checkpoint.
    pub(super) roll_backs: Vec<(u64, u64)>,
}

impl SimulatedSink {
    pub(super) fn publish(
        &mut self,
        head: &Head,
        id: &CommitId,
        sinks: &BTreeMap<OperatorId, Vec<Committable>>,
    ) {
        let named = head.checkpoints.iter().any(|kept| {
            (kept.generation, kept.epoch, kept.last) == (id.generation.0, id.epoch.0, id.last)
        });
        let given_up = self.is_undone(id.generation.0, id.epoch.0) || self.overwrites;
        assert!(named || given_up, "head names it: {id:?}");
        let before = self.published.insert((id.generation.0, id.epoch.0), sinks.clone());
        assert!(before.is_none_or(|before| before == *sinks), "a repeated commit is the same");
        self.last_published |= id.last;
        if self.overwrites {
            let rows = sinks.values().flatten().map(|committable| committable.0.clone());
            self.overwrite(id, rows.collect());
        }
    }

    /// Holds rows back, or replaces the table by those that the commit goes on from.
    fn overwrite(&mut self, id: &CommitId, mut rows: Vec<String>) {
        if !id.last {
            self.held.insert((id.generation, id.epoch), rows);
            return;
        }
        if self.table.as_ref().is_some_and(|(generation, _)| *generation >= id.generation) {
            return;
        }
        let own = (id.generation, id.epoch);
        let held = self.held.iter().filter(|(maker, _)| **maker != own);
        let counts = held.filter(|((generation, epoch), _)| id.includes(*generation, *epoch));
        rows.extend(counts.flat_map(|(_, rows)| rows.iter().cloned()));
        self.table = Some((id.generation, rows));
        self.held.retain(|(generation, _), _| *generation > id.generation);
    }

    /// Tells whether the job has gone back to a checkpoint before this one.
    fn is_undone(&self, generation: u64, epoch: u64) -> bool {
        let mut roll_backs = self.roll_backs.iter();
        roll_backs.any(|(later, earlier)| *later > generation && *earlier < epoch)
    }

    /// Returns the rows that are visible.
    pub(super) fn rows(&self) -> Vec<String> {
        if self.overwrites {
            return self.table.clone().map(|(_, rows)| rows).unwrap_or_default();
        }
        let standing = self.published.iter();
        let standing =
            standing.filter(|((generation, epoch), _)| !self.is_undone(*generation, *epoch));
        let rows = standing.flat_map(|(_, sinks)| sinks.values()).flatten();
        rows.map(|committable| committable.0.clone()).collect()
    }
}
