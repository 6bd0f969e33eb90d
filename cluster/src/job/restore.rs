//! What each subtask begins with: the splits of its source and the state of a checkpoint.

use std::collections::BTreeMap;

use rainstorm_engine::connector::SplitState;
use rainstorm_engine::graph::{
    AggregatePhase, JobGraph, OperatorNode, OperatorSpec, SinkSpec, SinkTarget, SourceSpec,
};
use rainstorm_engine::task::TaskId;
use rainstorm_engine::{Error, OperatorId, Result, StageId};

use super::manifest::{Head, Manifest, OperatorKey};

/// Deals the splits of each source out over its subtasks, whatever their number was when a
/// checkpoint was taken. Open and finished splits are dealt apart, so that no subtask gets only
/// finished ones while others have several open ones.
pub(crate) fn deal_splits(
    graph: &JobGraph,
    by_stage: &BTreeMap<StageId, Vec<SplitState>>,
) -> BTreeMap<TaskId, Vec<SplitState>> {
    let mut dealt = BTreeMap::new();
    for stage in graph.stages.iter().filter(|stage| stage.source.is_some()) {
        let splits = by_stage.get(&stage.id).map_or(&[][..], Vec::as_slice);
        let mut subtasks = vec![Vec::new(); stage.parallelism];
        for finished in [false, true] {
            for (n, split) in splits.iter().filter(|split| split.finished == finished).enumerate() {
                subtasks[n % stage.parallelism].push(split.clone());
            }
        }
        for (subtask, splits) in subtasks.into_iter().enumerate() {
            dealt.insert(TaskId { stage: stage.id, subtask }, splits);
        }
    }
    dealt
}

/// Returns the splits of a checkpoint by the stage that reads them now.
pub(crate) fn restored_splits(
    graph: &JobGraph,
    manifest: &Manifest,
) -> BTreeMap<StageId, Vec<SplitState>> {
    let mut by_stage = BTreeMap::new();
    for stage in &graph.stages {
        if let Some(source) = &stage.source
            && let Some(state) = manifest.sources.get(&OperatorKey(source.id))
        {
            by_stage.insert(stage.id, state.splits.clone());
        }
    }
    by_stage
}

/// Checks that a graph can start from a checkpoint of `head`: what kept state then exists now,
/// what keeps state now existed then, the key groups are the same, and what was published since
/// can be taken back. The layout of each operator's tables is checked where they are read.
///
/// # Errors
/// `Restore`, naming everything that does not match.
pub(crate) fn check(graph: &JobGraph, head: &Head, manifest: &Manifest) -> Result<()> {
    let failed = |reason: String| {
        Err(Error::Restore { what: format!("checkpoint {}", manifest.checkpoint.epoch), reason })
    };
    let ended = head.checkpoints.last().is_some_and(|checkpoint| checkpoint.last);
    if ended
        && !manifest.checkpoint.last
        && let Some(table) = overwritten(graph).next()
    {
        return failed(format!("the job has ended and replaced table '{table}' since"));
    }
    let wrong = misfits(graph, manifest);
    if wrong.is_empty() {
        return Ok(());
    }
    failed(format!("it does not fit the query: {}", wrong.join("; ")))
}

/// Returns the tables that INSERT OVERWRITE replaces.
fn overwritten(graph: &JobGraph) -> impl Iterator<Item = &str> {
    let sinks = graph.stages.iter().filter_map(|stage| stage.sink.as_ref());
    let overwrites =
        |sink: &SinkSpec| matches!(sink.target, SinkTarget::Connector { overwrite: true, .. });
    sinks.filter(move |sink| overwrites(sink)).map(|sink| sink.table.as_str())
}

/// Names everything in which a graph differs from the one that a checkpoint was taken of.
fn misfits(graph: &JobGraph, manifest: &Manifest) -> Vec<String> {
    let mut wrong = Vec::new();
    if graph.settings.key_groups != manifest.key_groups {
        wrong.push(format!(
            "pipeline.max-parallelism is {}, the checkpoint's state is divided by {}",
            graph.settings.key_groups, manifest.key_groups
        ));
    }
    let operators: BTreeMap<_, _> = stateful(graph).collect();
    for (id, name) in &manifest.operators {
        if !operators.contains_key(&id.0) {
            wrong.push(format!("the query has no operator for the state of {name} {}", id.0));
        }
    }
    for (id, name) in &operators {
        if !manifest.operators.contains_key(&OperatorKey(*id)) {
            wrong.push(format!("the checkpoint has no state for {name} {id}"));
        }
    }
    let sources: BTreeMap<_, _> = sources(graph).map(|source| (source.id, source)).collect();
    for (id, state) in &manifest.sources {
        if !sources.contains_key(&id.0) {
            wrong.push(format!(
                "the query has no source for the splits of {} {}",
                state.table, id.0
            ));
        }
    }
    for (id, source) in &sources {
        if !manifest.sources.contains_key(&OperatorKey(*id)) {
            wrong.push(format!("the checkpoint has no splits for {} {id}", source.table));
        }
    }
    wrong
}

/// Returns the operators that keep state, with what they do.
pub(crate) fn stateful(graph: &JobGraph) -> impl Iterator<Item = (OperatorId, &'static str)> {
    graph
        .stages
        .iter()
        .flat_map(|stage| &stage.chain)
        .filter_map(|node| Some((node.id, state_name(node)?)))
}

/// Returns the sources.
pub(crate) fn sources(graph: &JobGraph) -> impl Iterator<Item = &SourceSpec> {
    graph.stages.iter().filter_map(|stage| stage.source.as_ref())
}

/// Names an operator that keeps state; `None` for one that keeps none.
fn state_name(node: &OperatorNode) -> Option<&'static str> {
    match &node.spec {
        OperatorSpec::Project(_) | OperatorSpec::Filter(_) | OperatorSpec::WindowAssign(_) => None,
        OperatorSpec::WindowAggregate(spec) if spec.phase == AggregatePhase::Local => None,
        OperatorSpec::WindowAggregate(_) => Some("WindowAggregate"),
        OperatorSpec::GroupAggregate(_) => Some("GroupAggregate"),
        OperatorSpec::WindowJoin(_) => Some("WindowJoin"),
        OperatorSpec::IntervalJoin(_) => Some("IntervalJoin"),
        OperatorSpec::LookupJoin(_) => Some("LookupJoin"),
        OperatorSpec::Limit(_) => Some("Limit"),
        OperatorSpec::Sort(_) => Some("Sort"),
    }
}

#[cfg(test)]
mod tests {
    use rainstorm_engine::connector::Split;

    use super::super::manifest::{CheckpointRef, FORMAT, HEAD_FORMAT, SourceState};
    use super::super::simulation;
    use super::*;

    fn split(id: &str, finished: bool) -> SplitState {
        let split = Split { id: id.into(), position: String::new() };
        SplitState { split, watermark: 0, finished }
    }

    fn manifest(operators: &[(u64, &str)], sources: &[(u64, &str)]) -> Manifest {
        let key = |id: &u64| OperatorKey(OperatorId(*id));
        let source = |(id, table): &(u64, &str)| {
            (key(id), SourceState { table: (*table).into(), splits: vec![split("a", false)] })
        };
        Manifest {
            format: FORMAT,
            checkpoint: CheckpointRef { generation: 1, attempt: 1, epoch: 4, last: false },
            ancestors: vec![],
            key_groups: 256,
            operators: operators.iter().map(|(id, name)| (key(id), (*name).into())).collect(),
            state: vec![],
            sources: sources.iter().map(source).collect(),
            sinks: BTreeMap::new(),
        }
    }

    #[test]
    fn open_splits_are_spread_apart_from_finished_ones() {
        let graph = simulation::graph(2);
        let splits = ["a", "b", "c", "d"].map(|id| split(id, id == "a" || id == "c"));
        let dealt = deal_splits(&graph, &[(StageId(0), splits.to_vec())].into());
        let names: Vec<Vec<_>> = dealt
            .values()
            .map(|splits| splits.iter().map(|state| state.split.id.as_str()).collect())
            .collect();
        assert_eq!(names, [["b", "a"], ["d", "c"]]);
    }

    #[test]
    fn everything_that_does_not_fit_is_named() {
        let graph = simulation::graph(1);
        assert_eq!(check(&graph, &manifest(&[], &[(1, "numbers")])), Ok(()));
        let error = check(&graph, &manifest(&[(9, "WindowJoin")], &[(2, "old")]));
        assert_eq!(
            error.expect_err("does not fit"),
            "restore checkpoint 4: it does not fit the query: \
             the query has no operator for the state of WindowJoin 0000000000000009; \
             the query has no source for the splits of old 0000000000000002; \
             the checkpoint has no splits for numbers 0000000000000001"
        );
    }

    #[test]
    fn a_job_that_has_replaced_a_table_does_not_go_back() {
        let mut graph = (*simulation::graph(1)).clone();
        let sink = graph.stages[0].sink.as_mut().expect("a sink");
        sink.target = SinkTarget::Connector {
            connector: "filesystem".into(),
            options: BTreeMap::new(),
            overwrite: true,
            partition_by: vec![],
            primary_key: vec![],
        };
        let (earlier, mut last) = (manifest(&[], &[(1, "numbers")]), head(9));
        assert_eq!(
            super::check(&graph, &last, &earlier).map_err(|error| error.to_string()),
            Ok(())
        );
        last.checkpoints[0].last = true;
        let error = super::check(&graph, &last, &earlier).expect_err("cannot go back");
        assert_eq!(
            error.to_string(),
            "restore checkpoint 4: the job has ended and replaced table 'out' since"
        );
    }

    fn head(epoch: u64) -> Head {
        Head {
            format: HEAD_FORMAT,
            generation: 1,
            leader_epoch: 1,
            last_epoch: epoch,
            checkpoints: vec![CheckpointRef { generation: 1, attempt: 1, epoch, last: false }],
            savepoints: vec![],
            request_id: String::new(),
        }
    }

    fn check(graph: &JobGraph, manifest: &Manifest) -> Result<(), String> {
        super::check(graph, &head(4), manifest).map_err(|error| error.to_string())
    }
}
