//! What a graph must satisfy before anything indexes into it.

use arrow::datatypes::Schema;
use rainstorm_engine::graph::{
    Edge, JobGraph, OperatorNode, OperatorSpec, Partitioning, SinkTarget, Stage, Window, WindowSpec,
};
use rainstorm_engine::{Error, Result};

/// Checks a decoded graph.
///
/// # Errors
/// `Invalid` with what does not hold.
pub(super) fn check(graph: &JobGraph) -> Result<()> {
    ensure(!graph.stages.is_empty(), || "no stages".into())?;
    ensure(graph.settings.key_groups > 0, || "no key groups".into())?;
    for edge in &graph.edges {
        check_edge(graph, edge)?;
    }
    graph.stages.iter().try_for_each(|stage| check_stage(graph, stage))
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Invalid(format!("job graph: {}", otherwise()))) }
}

fn check_column(index: usize, schema: &Schema, what: &str) -> Result<()> {
    let columns = schema.fields().len();
    ensure(index < columns, || format!("column {index} of {columns} as {what}"))
}

fn check_columns(indices: &[usize], schema: &Schema, what: &str) -> Result<()> {
    indices.iter().try_for_each(|index| check_column(*index, schema, what))
}

fn check_edge(graph: &JobGraph, edge: &Edge) -> Result<()> {
    let (from, to) = (edge.from.index(), edge.to.index());
    ensure(from < to && to < graph.stages.len(), || {
        format!("an edge from stage {from} to stage {to} of {}", graph.stages.len())
    })?;
    let (from, to) = (graph.stage(edge.from), graph.stage(edge.to));
    let ports = to.chain.first().map_or(1, |operator| operator.inputs.len());
    ensure(edge.port < ports, || format!("an edge into port {} of {ports}", edge.port))?;
    match &edge.partitioning {
        Partitioning::Forward => ensure(from.parallelism == to.parallelism, || {
            format!("a forward edge from {} to {} subtasks", from.parallelism, to.parallelism)
        }),
        Partitioning::Hash(keys) => check_columns(keys, &edge.schema, "a key of an edge"),
        Partitioning::RoundRobin | Partitioning::Broadcast => Ok(()),
    }
}

fn check_stage(graph: &JobGraph, stage: &Stage) -> Result<()> {
    let id = stage.id;
    let key_groups = usize::from(graph.settings.key_groups);
    ensure((1..=key_groups).contains(&stage.parallelism), || {
        format!("stage {id} has {} subtasks, with {key_groups} key groups", stage.parallelism)
    })?;
    let has_inputs = graph.inputs(id).next().is_some();
    ensure(has_inputs != stage.source.is_some(), || {
        format!("stage {id} needs either a source or inputs")
    })?;
    let has_outputs = graph.outputs(id).next().is_some();
    ensure(has_outputs != stage.sink.is_some(), || {
        format!("stage {id} needs either a sink or outputs")
    })?;
    let later = stage.chain.iter().skip(1);
    ensure(later.into_iter().all(|operator| operator.inputs.len() == 1), || {
        format!("stage {id} has a later operator with several inputs")
    })?;
    stage.chain.iter().try_for_each(check_operator)?;
    let is_alone = |operator: &OperatorNode| {
        matches!(operator.spec, OperatorSpec::Limit(_) | OperatorSpec::Sort(_))
    };
    ensure(!stage.chain.iter().any(is_alone) || stage.parallelism == 1, || {
        format!("stage {id} limits or sorts rows in {} subtasks", stage.parallelism)
    })?;
    check_source(stage)?;
    check_sink(stage)
}

fn check_source(stage: &Stage) -> Result<()> {
    let Some(source) = &stage.source else { return Ok(()) };
    ensure(stage.chain.first().is_none_or(|operator| operator.inputs.len() == 1), || {
        format!("stage {} has a source and several inputs", stage.id)
    })?;
    source.prepare.iter().try_for_each(check_operator)?;
    ensure(source.prepare.iter().all(|operator| operator.inputs.len() == 1), || {
        format!("source {} prepares with several inputs", source.table)
    })?;
    let prepared = source.prepare.last().map_or(&source.schema, |operator| &operator.output);
    let time = source.watermark.as_ref().map(|watermark| watermark.time);
    time.map_or(Ok(()), |time| check_column(time, prepared, "an event time"))
}

fn check_sink(stage: &Stage) -> Result<()> {
    let Some(sink) = &stage.sink else { return Ok(()) };
    check_columns(sink.upsert_key.as_deref().unwrap_or_default(), &sink.schema, "an upsert key")?;
    match &sink.target {
        SinkTarget::Client => Ok(()),
        SinkTarget::Connector { partition_by, primary_key, .. } => {
            check_columns(partition_by, &sink.schema, "a partition column")?;
            check_columns(primary_key, &sink.schema, "a primary key column")
        }
    }
}

fn check_operator(operator: &OperatorNode) -> Result<()> {
    let ports = match &operator.spec {
        OperatorSpec::WindowJoin(_)
        | OperatorSpec::IntervalJoin(_)
        | OperatorSpec::LookupJoin(_) => 2,
        _ => 1,
    };
    ensure(operator.inputs.len() == ports, || {
        format!(
            "operator {} with {} inputs in place of {ports}",
            operator.id,
            operator.inputs.len()
        )
    })?;
    let left = &operator.inputs[0];
    let right = &operator.inputs[ports - 1];
    let check_on = |on: &[(usize, usize)]| {
        on.iter().try_for_each(|(on_left, on_right)| {
            check_column(*on_left, left, "a left key of a join")?;
            check_column(*on_right, right, "a right key of a join")
        })
    };
    match &operator.spec {
        OperatorSpec::Project(expressions) => {
            let columns = operator.output.fields().len();
            ensure(expressions.len() == columns, || {
                format!("{} expressions for {columns} columns", expressions.len())
            })
        }
        OperatorSpec::Filter(_) | OperatorSpec::Limit(_) => Ok(()),
        OperatorSpec::Sort(spec) => {
            let keys: Vec<usize> = spec.keys.iter().map(|key| key.column).collect();
            check_columns(&keys, left, "a column to sort by")
        }
        OperatorSpec::WindowAssign(window) => check_window(window, left),
        OperatorSpec::WindowAggregate(spec) => {
            check_window(&spec.window, spec.rows(left))?;
            check_columns(&spec.keys, spec.rows(left), "a group's key")
        }
        OperatorSpec::GroupAggregate(spec) => check_columns(&spec.keys, left, "a group's key"),
        OperatorSpec::WindowJoin(spec) => {
            check_columns(&[spec.left_window.0, spec.left_window.1], left, "a window")?;
            check_columns(&[spec.right_window.0, spec.right_window.1], right, "a window")?;
            check_on(&spec.on)
        }
        OperatorSpec::IntervalJoin(spec) => {
            check_column(spec.left_time, left, "a left time")?;
            check_column(spec.right_time, right, "a right time")?;
            check_on(&spec.on)
        }
        OperatorSpec::LookupJoin(spec) => check_on(&spec.on),
    }
}

fn check_window(window: &WindowSpec, schema: &Schema) -> Result<()> {
    match window {
        WindowSpec::EventTime { window, time } => {
            check_column(*time, schema, "an event time")?;
            check_lengths(window)
        }
        WindowSpec::ProcessingTime { window } => check_lengths(window),
        WindowSpec::Attached { start, end } => check_columns(&[*start, *end], schema, "a window"),
    }
}

fn check_lengths(window: &Window) -> Result<()> {
    let holds = match *window {
        Window::Tumble { size_ms, .. } => size_ms > 0,
        Window::Hop { size_ms, slide_ms: step_ms, .. }
        | Window::Cumulate { size_ms, step_ms, .. } => {
            step_ms > 0 && size_ms > 0 && size_ms % step_ms == 0
        }
    };
    ensure(holds, || format!("lengths that are no window: {window:?}"))
}
