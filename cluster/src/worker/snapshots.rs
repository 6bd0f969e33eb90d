//! Gathers the snapshots of all tasks of an attempt on this worker. Does no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rainstorm_engine::connector::{Committable, SplitState};
use rainstorm_engine::graph::JobGraph;
use rainstorm_engine::memory::Hold;
use rainstorm_engine::state::{StateTable, TaskSnapshot};
use rainstorm_engine::task::TaskId;
use rainstorm_engine::{Epoch, OperatorId};

/// What the tasks here keep at one checkpoint.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) tables: Vec<(OperatorId, StateTable)>,
    pub(super) splits: BTreeMap<OperatorId, Vec<SplitState>>,
    pub(super) committables: BTreeMap<OperatorId, Vec<Committable>>,
    /// Keep the tables in the books of memory.
    pub(super) holds: Vec<Arc<Hold>>,
}

/// The snapshots that have come and are not reported yet.
pub(super) struct Snapshots {
    tasks: BTreeMap<TaskId, Pending>,
    /// Checkpoints that were asked for.
    triggered: BTreeSet<Epoch>,
    reported: Epoch,
}

struct Pending {
    source: Option<OperatorId>,
    sink: Option<OperatorId>,
    /// Snapshots by checkpoint.
    taken: BTreeMap<Epoch, TaskSnapshot>,
    /// Stands for the snapshots of all later checkpoints.
    finished: Option<TaskSnapshot>,
    /// What the sink made ready by the checkpoint with which it is reported; what came at the end
    /// belongs to the next one, whichever that is.
    committables: Vec<(Epoch, Committable)>,
}

impl Snapshots {
    pub(super) fn new(graph: &JobGraph, tasks: impl Iterator<Item = TaskId>) -> Self {
        let pending = |task: TaskId| {
            let stage = graph.stage(task.stage);
            let pending = Pending {
                source: stage.source.as_ref().map(|source| source.id),
                sink: stage.sink.as_ref().map(|sink| sink.id),
                taken: BTreeMap::new(),
                finished: None,
                committables: Vec::new(),
            };
            (task, pending)
        };
        let tasks = tasks.map(pending).collect();
        Self { tasks, triggered: BTreeSet::new(), reported: Epoch::default() }
    }

    /// Notes that a checkpoint is wanted: tasks that have finished need no barrier for it.
    pub(super) fn trigger(&mut self, epoch: Epoch) {
        self.triggered.insert(epoch);
    }

    pub(super) fn snapshot(
        &mut self,
        task: TaskId,
        epoch: Epoch,
        snapshot: TaskSnapshot,
        committables: Vec<Committable>,
    ) {
        let Some(pending) = self.tasks.get_mut(&task) else { return };
        pending.taken.insert(epoch, snapshot);
        pending.committables.extend(committables.into_iter().map(|made| (epoch, made)));
    }

    pub(super) fn finished(
        &mut self,
        task: TaskId,
        snapshot: TaskSnapshot,
        committables: Vec<Committable>,
    ) {
        let Some(pending) = self.tasks.get_mut(&task) else { return };
        let next = pending.taken.keys().next_back().copied().max(Some(self.reported));
        let next = Epoch(next.unwrap_or_default().0 + 1);
        pending.finished = Some(snapshot);
        pending.committables.extend(committables.into_iter().map(|made| (next, made)));
    }

    /// Returns the next checkpoint that all tasks have passed, each once. What was made ready for
    /// one that was left out comes with it.
    pub(super) fn next_complete(&mut self) -> Option<(Epoch, Gathered)> {
        let epoch = self.complete_epoch()?;
        self.reported = epoch;
        self.triggered.retain(|other| *other > epoch);
        let mut gathered = Gathered::default();
        for pending in self.tasks.values_mut() {
            pending.give(epoch, &mut gathered);
        }
        Some((epoch, gathered))
    }

    fn complete_epoch(&self) -> Option<Epoch> {
        let taken = self.tasks.values().flat_map(|pending| pending.taken.keys().copied());
        let wanted =
            taken.chain(self.triggered.iter().copied()).filter(|epoch| *epoch > self.reported);
        wanted.filter(|epoch| self.tasks.values().all(|pending| pending.has(*epoch))).min()
    }
}

impl Pending {
    fn has(&self, epoch: Epoch) -> bool {
        self.taken.contains_key(&epoch) || self.finished_before(epoch)
    }

    /// A task that has finished has passed all barriers that it ever will.
    fn finished_before(&self, epoch: Epoch) -> bool {
        self.finished.is_some() && self.taken.keys().next_back().is_none_or(|last| *last < epoch)
    }

    fn give(&mut self, epoch: Epoch, gathered: &mut Gathered) {
        let taken = self.taken.remove(&epoch);
        self.taken.retain(|other, _| *other > epoch);
        let Some(snapshot) = taken.or_else(|| self.finished.clone()) else { return };
        gathered.holds.extend(snapshot.hold);
        let tables = snapshot.operators.into_iter();
        gathered.tables.extend(
            tables.flat_map(|(operator, tables)| {
                tables.into_iter().map(move |table| (operator, table))
            }),
        );
        if let Some(source) = self.source {
            gathered.splits.entry(source).or_default().extend(snapshot.splits);
        }
        if let Some(sink) = self.sink {
            let made = gathered.committables.entry(sink).or_default();
            made.extend(
                self.committables.extract_if(.., |(at, _)| *at <= epoch).map(|(_, made)| made),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use rainstorm_engine::StageId;
    use rainstorm_engine::graph::{ChangelogMode, JobSettings, SinkSpec, SinkTarget, Stage};

    use super::*;

    const SINK: OperatorId = OperatorId(9);

    fn task(subtask: usize) -> TaskId {
        TaskId { stage: StageId(0), subtask }
    }

    /// Two subtasks of a stage that is a sink.
    fn two_tasks() -> Snapshots {
        let sink = SinkSpec {
            id: SINK,
            table: "out".into(),
            target: SinkTarget::Client,
            schema: std::sync::Arc::new(arrow::datatypes::Schema::empty()),
            changelog: ChangelogMode::AppendOnly,
            upsert_key: None,
        };
        let (id, parallelism, source, chain) = (StageId(0), 2, None, Vec::new());
        let stages = vec![Stage { id, parallelism, source, chain, sink: Some(sink) }];
        let graph = JobGraph { stages, edges: Vec::new(), settings: JobSettings::default() };
        Snapshots::new(&graph, [task(0), task(1)].into_iter())
    }

    fn pass(snapshots: &mut Snapshots, subtask: usize, epoch: u64, made: &str) {
        let made = vec![Committable(made.into())];
        snapshots.snapshot(task(subtask), Epoch(epoch), TaskSnapshot::default(), made);
    }

    fn finish(snapshots: &mut Snapshots, subtask: usize, made: &str) {
        snapshots.finished(task(subtask), TaskSnapshot::default(), vec![Committable(made.into())]);
    }

    /// Expects the next complete checkpoint, with what was made ready for it.
    fn check(snapshots: &mut Snapshots, expected: Option<(u64, &[&str])>) {
        let complete = snapshots.next_complete().map(|(epoch, mut gathered)| {
            let made = gathered.committables.remove(&SINK).unwrap_or_default();
            (epoch.0, made.into_iter().map(|made| made.0).collect::<Vec<_>>())
        });
        let expected = expected
            .map(|(epoch, made)| (epoch, made.iter().map(ToString::to_string).collect::<Vec<_>>()));
        assert_eq!(complete, expected);
    }

    #[test]
    fn a_checkpoint_is_complete_when_all_tasks_have_passed_it_and_reported_once() {
        let mut snapshots = two_tasks();
        snapshots.trigger(Epoch(1));
        pass(&mut snapshots, 0, 1, "a1");
        check(&mut snapshots, None);
        pass(&mut snapshots, 0, 2, "a2");
        pass(&mut snapshots, 1, 1, "b1");
        check(&mut snapshots, Some((1, &["a1", "b1"])));
        check(&mut snapshots, None);
        snapshots.trigger(Epoch(1));
        check(&mut snapshots, None);
        pass(&mut snapshots, 1, 2, "b2");
        check(&mut snapshots, Some((2, &["a2", "b2"])));
    }

    #[test]
    fn a_finished_task_stands_for_every_later_checkpoint_and_hands_in_its_last_output_once() {
        let mut snapshots = two_tasks();
        pass(&mut snapshots, 0, 1, "a1");
        finish(&mut snapshots, 0, "a-end");
        pass(&mut snapshots, 1, 1, "b1");
        check(&mut snapshots, Some((1, &["a1", "b1"])));
        pass(&mut snapshots, 1, 2, "b2");
        check(&mut snapshots, Some((2, &["a-end", "b2"])));
        finish(&mut snapshots, 1, "b-end");
        check(&mut snapshots, None);
        snapshots.trigger(Epoch(3));
        check(&mut snapshots, Some((3, &["b-end"])));
        snapshots.trigger(Epoch(4));
        check(&mut snapshots, Some((4, &[])));
    }

    #[test]
    fn what_was_made_ready_for_a_checkpoint_that_was_left_out_comes_with_the_next() {
        let mut snapshots = two_tasks();
        pass(&mut snapshots, 0, 1, "a1");
        pass(&mut snapshots, 0, 2, "a2");
        pass(&mut snapshots, 1, 2, "b2");
        check(&mut snapshots, Some((2, &["a1", "a2", "b2"])));
        check(&mut snapshots, None);
    }
}
