use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rainstorm_engine::graph::{
    ChangelogMode, Edge, JobGraph, LimitSpec, OperatorNode, OperatorSpec, Partitioning, Stage,
};
use rainstorm_engine::task::TaskId;
use rainstorm_engine::{Attempt, Epoch, Generation, JobId, OperatorId, StageId};

use super::simulation;
use super::*;

/// A source of two subtasks, whose rows go into a table as they are, if anybody wants that, and
/// limited.
fn graph(also_unlimited: bool) -> Arc<JobGraph> {
    let base = simulation::graph(2);
    let Stage { source, sink, .. } = base.stages[0].clone();
    let schema = source.as_ref().expect("a source").schema.clone();
    let limit = OperatorNode {
        id: OperatorId(3),
        spec: OperatorSpec::Limit(LimitSpec { offset: 0, count: 1 }),
        inputs: vec![schema.clone()],
        output: schema.clone(),
    };
    let stage = |id, parallelism| Stage {
        id: StageId(id),
        parallelism,
        source: None,
        chain: vec![],
        sink: sink.clone(),
    };
    let edge = |to| Edge {
        from: StageId(0),
        to: StageId(to),
        port: 0,
        partitioning: Partitioning::RoundRobin,
        schema: schema.clone(),
        changelog: ChangelogMode::AppendOnly,
    };
    let mut graph = JobGraph {
        stages: vec![
            Stage { source, sink: None, ..stage(0, 2) },
            Stage { chain: vec![limit], ..stage(1, 1) },
        ],
        edges: vec![edge(1)],
        settings: base.settings.clone(),
    };
    if also_unlimited {
        graph.stages.push(stage(2, 1));
        graph.edges.push(edge(2));
    }
    Arc::new(graph)
}

/// A job that runs on two workers.
struct Case {
    job: JobManager,
    graph: Arc<JobGraph>,
    effects: Vec<Effect>,
}

impl Case {
    fn running(graph: Arc<JobGraph>) -> Self {
        let mut effects = Vec::new();
        let config = JobConfig::new(JobId::new("job"));
        let job = JobManager::start(config, Arc::clone(&graph), 0, &mut effects);
        let mut case = Self { job, graph, effects };
        let slots = |name| WorkerSlots { worker: WorkerId::new(name), slots: 1, used: 0 };
        case.take(Message::Workers(vec![slots("w0"), slots("w1")]));
        let prepared = Prepared {
            generation: Generation(1),
            next_epoch: Epoch(1),
            restored: None,
            splits: BTreeMap::new(),
        };
        case.take(Message::Prepared(Box::new(prepared)));
        case.both_say(&WorkerMessage::Deployed);
        assert_eq!(case.job.state(), JobState::Running);
        case.effects.clear();
        case
    }

    fn take(&mut self, message: Message) {
        self.job.handle_message(1, message, &mut self.effects);
    }

    fn both_say(&mut self, message: &WorkerMessage) {
        for worker in ["w0", "w1"].map(WorkerId::new) {
            self.take(Message::Worker(worker, Generation(1), Attempt(1), message.clone()));
        }
    }

    fn says(&mut self, message: WorkerMessage) {
        self.take(Message::Worker(WorkerId::new("w0"), Generation(1), Attempt(1), message));
    }

    /// Takes what the job wants of workers' sources.
    fn ended(&mut self) -> Vec<(String, BTreeSet<StageId>)> {
        let effects = std::mem::take(&mut self.effects).into_iter();
        let ended = effects.filter_map(|effect| match effect {
            Effect::EndSources(worker, _, _, stages) => Some((worker.to_string(), stages)),
            _ => None,
        });
        ended.collect()
    }
}

fn task(stage: u32) -> TaskId {
    TaskId { stage: StageId(stage), subtask: 0 }
}

#[test]
fn a_limit_that_is_satisfied_ends_the_sources_and_then_the_job() {
    let mut case = Case::running(graph(false));
    case.says(WorkerMessage::Satisfied(task(1)));
    let source = BTreeSet::from([StageId(0)]);
    let expected = ["w0", "w1"].map(|worker| (worker.to_owned(), source.clone()));
    assert_eq!(case.ended(), expected);
    case.says(WorkerMessage::Satisfied(task(1)));
    assert_eq!(case.ended(), [], "a report that is repeated does nothing");
    for stage in case.graph.stages.clone() {
        for subtask in 0..stage.parallelism {
            case.says(WorkerMessage::Finished(TaskId { stage: stage.id, subtask }));
        }
    }
    let is_last = |effect: &Effect| matches!(effect, Effect::TriggerCheckpoint(.., Epoch(1)));
    assert_eq!(case.effects.iter().filter(|effect| is_last(effect)).count(), 2);
    case.both_say(&WorkerMessage::Snapshot(Epoch(1), Box::default()));
    case.take(Message::ManifestWritten);
    case.take(Message::HeadSwung);
    let commit = case.effects.iter().find_map(|effect| match effect {
        Effect::CommitSinks(id, _) => Some(id.last),
        _ => None,
    });
    assert_eq!(commit, Some(true), "sinks publish as at the end of bounded input");
    case.take(Message::SinksCommitted);
    assert_eq!(case.job.state(), JobState::Finished);
}

#[test]
fn a_source_that_feeds_others_too_goes_on() {
    let mut case = Case::running(graph(true));
    case.says(WorkerMessage::Satisfied(task(1)));
    assert_eq!(case.ended(), []);
}

#[test]
fn a_job_that_is_being_stopped_ends_no_sources() {
    let mut case = Case::running(graph(false));
    case.take(Message::Cancel);
    case.says(WorkerMessage::Satisfied(task(1)));
    assert_eq!(case.ended(), []);
}
