//! Whether rows are together where an operator needs them to be: a check of the whole graph, which
//! knows nothing of how lowering came to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::{JoinType, internal_err};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use rainstorm_engine::graph::{
    AggregatePhase, ChangelogMode, JobGraph, OperatorNode, OperatorSpec, Partitioning, SinkSpec,
    SinkTarget, Stage,
};

/// Which of a stage's rows are in the same subtask.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Together {
    /// All: there is one subtask.
    All,
    /// Those that are equal in these columns, of each of which there may be copies.
    Equal(Vec<Vec<usize>>),
    /// Each row is in every subtask.
    Everywhere,
    /// Any are anywhere.
    Nowhere,
}

impl Together {
    /// Tells whether rows that are equal in these columns are together, each once.
    fn has_equal(&self, keys: &[usize]) -> bool {
        match self {
            Self::All => true,
            Self::Equal(columns) => {
                columns.iter().all(|copies| copies.iter().any(|column| keys.contains(column)))
            }
            Self::Everywhere | Self::Nowhere => false,
        }
    }

    /// Returns where rows are once columns have moved; `from` tells what each column was.
    fn moved(self, from: &[Option<usize>]) -> Self {
        let Self::Equal(columns) = self else { return self };
        let places = |copies: Vec<usize>| -> Vec<usize> {
            let is_copy = |index: &usize| from[*index].is_some_and(|was| copies.contains(&was));
            (0..from.len()).filter(is_copy).collect()
        };
        let moved: Vec<Vec<usize>> = columns.into_iter().map(places).collect();
        if moved.iter().any(Vec::is_empty) { Self::Nowhere } else { Self::Equal(moved) }
    }
}

/// Checks that rows which belong together are.
///
/// # Errors
/// An internal one: lowering has gone wrong.
pub(super) fn check(graph: &JobGraph) -> Result<()> {
    let mut leaving: Vec<Together> = Vec::with_capacity(graph.stages.len());
    for stage in &graph.stages {
        let mut ports = arriving(graph, stage, &leaving);
        for operator in &stage.chain {
            let Some(leaves) = passed(operator, &ports) else {
                let id = stage.id;
                return internal_err!("rows that belong together are not, in stage {id}");
            };
            ports = vec![leaves];
        }
        let leaves = ports.into_iter().next().unwrap_or(Together::Nowhere);
        if stage.sink.as_ref().is_some_and(|sink| !takes(sink, &leaves)) {
            return internal_err!("changes of one key come to several writers");
        }
        leaving.push(leaves);
    }
    Ok(())
}

/// Returns how the rows of each port come.
fn arriving(graph: &JobGraph, stage: &Stage, leaving: &[Together]) -> Vec<Together> {
    let alone = stage.parallelism == 1;
    let mut ports: BTreeMap<usize, Together> = BTreeMap::new();
    for edge in graph.inputs(stage.id) {
        let comes = match &edge.partitioning {
            _ if alone => Together::All,
            Partitioning::Forward => leaving[edge.from.index()].clone(),
            Partitioning::Hash(keys) => {
                Together::Equal(keys.iter().map(|key| vec![*key]).collect())
            }
            Partitioning::RoundRobin => Together::Nowhere,
            Partitioning::Broadcast => Together::Everywhere,
        };
        // Of several edges into one port, all have to be alike.
        let known = ports.entry(edge.port).or_insert_with(|| comes.clone());
        if *known != comes {
            *known = Together::Nowhere;
        }
    }
    if ports.is_empty() {
        return vec![if alone { Together::All } else { Together::Nowhere }];
    }
    ports.into_values().collect()
}

/// Returns where an operator's rows are; `None` where those that it takes are not together.
fn passed(operator: &OperatorNode, ports: &[Together]) -> Option<Together> {
    let first = ports.first()?.clone();
    let grouped = |keys: &[usize]| first.has_equal(keys).then(|| first.clone().moved(&some(keys)));
    match &operator.spec {
        OperatorSpec::Project(exprs) => {
            let column =
                |expr: &Arc<dyn PhysicalExpr>| expr.downcast_ref::<Column>().map(Column::index);
            Some(first.moved(&exprs.iter().map(column).collect::<Vec<_>>()))
        }
        OperatorSpec::Filter(_) | OperatorSpec::WindowAssign(_) => Some(first),
        OperatorSpec::Limit(_) | OperatorSpec::Sort(_) => (first == Together::All).then_some(first),
        OperatorSpec::GroupAggregate(spec) => grouped(&spec.keys),
        OperatorSpec::WindowAggregate(spec) => match spec.phase {
            AggregatePhase::Complete => grouped(&spec.keys),
            AggregatePhase::Local => Some(first.moved(&some(&spec.keys))),
            // Its keys come first.
            AggregatePhase::Final { .. } => grouped(&(0..spec.keys.len()).collect::<Vec<_>>()),
        },
        OperatorSpec::WindowJoin(spec) => joined(ports, &spec.on, spec.join_type),
        OperatorSpec::IntervalJoin(spec) => joined(ports, &spec.on, spec.join_type),
        OperatorSpec::LookupJoin(_) => {
            matches!(ports.get(1)?, Together::All | Together::Everywhere).then_some(first)
        }
    }
}

fn some(columns: &[usize]) -> Vec<Option<usize>> {
    columns.iter().copied().map(Some).collect()
}

/// Returns where the rows of a join are by its left side, where equal rows of both are together.
fn joined(ports: &[Together], on: &[(usize, usize)], join_type: JoinType) -> Option<Together> {
    match ports {
        [Together::All, Together::All] => Some(Together::All),
        [Together::Equal(left), Together::Equal(right)] if left.len() == right.len() => {
            let is_compared = |(left, right): (&Vec<usize>, &Vec<usize>)| {
                on.iter().any(|(one, other)| left.contains(one) && right.contains(other))
            };
            let fits = left.iter().zip(right).all(is_compared);
            let keeps_left = matches!(
                join_type,
                JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti
            );
            let leaves = if keeps_left { Together::Equal(left.clone()) } else { Together::Nowhere };
            fits.then_some(leaves)
        }
        _ => None,
    }
}

/// Tells whether a sink can take rows: all changes of one key go through one writer, in their order.
fn takes(sink: &SinkSpec, rows: &Together) -> bool {
    match &sink.target {
        SinkTarget::Connector { primary_key, .. } => {
            let is_keyed = sink.changelog == ChangelogMode::Retract && !primary_key.is_empty();
            !is_keyed || rows.has_equal(primary_key)
        }
        SinkTarget::Client => true,
    }
}

#[cfg(test)]
mod tests {
    use rainstorm_engine::time::{ClockRef, SimulatedClock};

    use super::*;
    use crate::Planner;
    use crate::script::{Script, Step};
    use crate::session::Session;

    fn graph(sql: &str) -> JobGraph {
        let clock: ClockRef = Arc::new(SimulatedClock::new(0));
        let text = format!(
            "CREATE TABLE t (k BIGINT, v BIGINT, ts TIMESTAMP(3), p AS PROCTIME(), WATERMARK FOR ts AS ts)
               WITH ('connector' = 'datagen');
             SET 'parallelism.default' = '3'; {sql};"
        );
        let script = Script { text, base_directory: "/".into(), ..Script::default() };
        let steps = Planner::new(&clock).plan(&mut Session::default(), &script);
        let jobs = steps.expect("plans").into_iter().filter_map(|step| match step {
            Step::Job(job) => Some(job.graph),
            _ => None,
        });
        jobs.last().expect("a job")
    }

    #[test]
    fn whatever_is_not_together_is_found() {
        let window = "TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE))";
        let queries = [
            "SELECT k, COUNT(*) FROM t GROUP BY k".to_owned(),
            "SELECT COUNT(*) FROM t".to_owned(),
            format!("SELECT k, SUM(v) FROM {window} GROUP BY k, window_start, window_end"),
            "SELECT a.k FROM t a JOIN t b ON a.k = b.v AND a.ts BETWEEN b.ts - INTERVAL '1' SECOND AND b.ts"
                .to_owned(),
            format!(
                "SELECT a.k, b.v FROM {window} a JOIN {window} b
                 ON a.k = b.v AND a.window_start = b.window_start AND a.window_end = b.window_end"
            ),
            "SELECT * FROM t LIMIT 3".to_owned(),
        ];
        for query in queries {
            let sound = graph(&query);
            check(&sound).expect("is sound");
            let mut broken = 0;
            for edge in 0..sound.edges.len() {
                let mut graph = sound.clone();
                graph.edges[edge].partitioning = Partitioning::RoundRobin;
                for stage in &mut graph.stages {
                    stage.parallelism = 3;
                }
                broken += usize::from(check(&graph).is_err());
            }
            assert!(broken > 0, "{query}");
        }
    }
}
