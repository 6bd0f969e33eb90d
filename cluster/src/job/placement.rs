//! Which worker runs which subtask.

use std::collections::BTreeMap;

use rainstorm_engine::graph::JobGraph;
use rainstorm_engine::task::TaskId;

use super::message::{WorkerId, WorkerSlots};

/// Places the subtasks of a job; `None` where there are no workers.
///
/// A slot takes one subtask of every stage, as in Flink, so that a job needs as many as its
/// widest stage has subtasks and forward edges stay within a worker. Slots go to the workers in
/// turn, the least loaded for its size first. They measure load and are not a limit: tasks are
/// cooperative, and a query on a busy cluster had better run slowly than wait without end.
pub(crate) fn place(
    graph: &JobGraph,
    workers: &[WorkerSlots],
) -> Option<BTreeMap<TaskId, WorkerId>> {
    let width = graph.stages.iter().map(|stage| stage.parallelism).max().unwrap_or(0);
    let mut load: Vec<_> = workers.iter().map(|worker| (worker, worker.used)).collect();
    let mut slots = Vec::with_capacity(width);
    for _ in 0..width {
        let (worker, used) = load.iter_mut().min_by(|(a, a_used), (b, b_used)| {
            // used / slots, compared without dividing.
            let (a_load, b_load) = ((*a_used + 1) * b.slots.max(1), (*b_used + 1) * a.slots.max(1));
            a_load.cmp(&b_load).then_with(|| a.worker.cmp(&b.worker))
        })?;
        *used += 1;
        slots.push(worker.worker.clone());
    }
    let mut placement = BTreeMap::new();
    for stage in &graph.stages {
        for (subtask, worker) in slots.iter().enumerate().take(stage.parallelism) {
            placement.insert(TaskId { stage: stage.id, subtask }, worker.clone());
        }
    }
    Some(placement)
}

#[cfg(test)]
mod tests {
    use rainstorm_engine::StageId;
    use rainstorm_engine::graph::{JobSettings, Stage};

    use super::*;

    fn check(parallelism: &[usize], workers: &[(&str, usize, usize)], expected: &[&str]) {
        let stages = parallelism.iter().enumerate().map(|(index, parallelism)| Stage {
            id: StageId(index as u32),
            parallelism: *parallelism,
            source: None,
            chain: vec![],
            sink: None,
        });
        let settings = JobSettings::default();
        let graph = JobGraph { stages: stages.collect(), edges: vec![], settings };
        let workers: Vec<_> = workers
            .iter()
            .map(|(name, slots, used)| WorkerSlots {
                worker: WorkerId::new(name),
                slots: *slots,
                used: *used,
            })
            .collect();
        let placement = place(&graph, &workers).unwrap_or_default();
        let placed: Vec<_> = placement.values().map(WorkerId::as_str).collect();
        assert_eq!(placed, expected);
    }

    #[test]
    fn slots_are_spread_over_the_workers() {
        check(&[4], &[("a", 2, 0), ("b", 2, 0)], &["a", "b", "a", "b"]);
    }

    #[test]
    fn subtasks_of_the_same_number_are_together() {
        check(&[2, 1, 2], &[("a", 2, 0), ("b", 2, 0)], &["a", "b", "a", "a", "b"]);
    }

    #[test]
    fn larger_and_idler_workers_take_more() {
        check(&[3], &[("a", 1, 0), ("b", 4, 1)], &["b", "b", "a"]);
    }

    #[test]
    fn more_subtasks_than_slots_share_them() {
        check(&[3], &[("a", 1, 0)], &["a", "a", "a"]);
    }

    #[test]
    fn without_workers_nothing_is_placed() {
        check(&[1], &[], &[]);
    }
}
