//! EXPLAIN: a job graph as text.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, SchemaRef};
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::CaseExpr;
use rainstorm_engine::function::aggregate_name;
use rainstorm_engine::graph::{
    AggregateCall, AggregatePhase, ChangelogMode, Edge, Emit, IntervalJoinSpec, JobGraph,
    LimitSpec, OperatorSpec, Partitioning, SinkTarget, SortSpec, SourceSpec, Stage,
    WindowAggregateSpec, WindowJoinSpec, WindowSpec,
};
use rainstorm_engine::wording::{describe_ms, expression_sql as sql, with_sql_types};

use crate::coerce::as_written;
use crate::stream::{Derived, OutputWatermark, State, describe_window};

/// Writes a logical plan as DataFusion does, but with SQL's names of types and plain literals.
pub(crate) fn plan_text(plan: &LogicalPlan) -> String {
    in_sql(&written(plan).display_indent().to_string())
}

/// Returns a plan with the operators that people have written.
fn written(plan: &LogicalPlan) -> LogicalPlan {
    let written =
        plan.clone().transform_up_with_subqueries(|node| as_written(node).map(Transformed::yes));
    written.map_or_else(|_| plan.clone(), |written| written.data)
}

/// Writes a logical plan with what is known of the rows of each node, where that is more than that
/// they are appended.
pub(crate) fn stream_plan_text(root: &Derived<'_>) -> String {
    let mut lines = Vec::new();
    describe(root, 0, &mut lines);
    in_sql(&lines.join("\n"))
}

fn describe(node: &Derived<'_>, depth: usize, lines: &mut Vec<String>) {
    let written = as_written(node.plan.clone()).unwrap_or_else(|_| node.plan.clone());
    let (plan, indent) = (written.display(), "  ".repeat(depth));
    lines.push(match properties_text(node).as_str() {
        "" => format!("{indent}{plan}"),
        known => format!("{indent}{plan} -- {known}"),
    });
    node.inputs.iter().for_each(|input| describe(input, depth + 1, lines));
}

fn properties_text(node: &Derived<'_>) -> String {
    let schema = node.plan.schema();
    let names = |columns: &[usize]| list(columns.iter().map(|at| schema.field(*at).name().clone()));
    let known = &node.properties;
    let mut parts = Vec::new();
    if known.changes == ChangelogMode::Retract {
        parts.push(match known.upsert_keys.first() {
            None => "updating".to_owned(),
            Some(key) if key.is_empty() => "updating one row".to_owned(),
            Some(key) => format!("updating by [{}]", names(key)),
        });
    }
    let times: Vec<usize> =
        (0..known.times.len()).filter(|at| known.times[*at].is_some()).collect();
    if !times.is_empty() {
        parts.push(format!("times [{}]", names(&times)));
    }
    match known.watermark {
        OutputWatermark::None => {}
        OutputWatermark::Passes(_) => parts.push("watermark passes".to_owned()),
        OutputWatermark::Delayed(_) => parts.push("watermark delayed".to_owned()),
        OutputWatermark::HeldToEnd(_) => parts.push("watermark held to the end".to_owned()),
    }
    let state = match known.state {
        State::None => "",
        State::OpenWindows => "open windows",
        State::Interval => "rows within the interval",
        State::Table => "the table",
        State::EveryKey => "every key",
    };
    if !state.is_empty() {
        parts.push(format!("keeps {state}"));
    }
    parts.join("; ")
}

/// COUNT(*) is COUNT(1) to DataFusion, which remembers by aliases how it was written.
fn in_sql(text: &str) -> String {
    let named = "count(*) AS count(*)";
    with_sql_types(text)
        .replace("count(1)", "count(*)")
        .replace(named, "count(*)")
        .replace(named, "count(*)")
}

/// Writes a graph stage by stage: source, operators, sink, then where rows go.
pub(crate) fn graph_text(graph: &JobGraph) -> String {
    let mut text = String::new();
    for stage in &graph.stages {
        // Writing to a string does not fail.
        let _ = writeln!(text, "Stage {} (parallelism {})", stage.id, stage.parallelism);
        for line in stage_lines(stage) {
            let _ = writeln!(text, "  {line}");
        }
        for edge in graph.outputs(stage.id) {
            let _ = writeln!(text, "  {}", edge_text(edge));
        }
    }
    in_sql(text.trim_end())
}

fn stage_lines(stage: &Stage) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(source) = &stage.source {
        lines.push(source_text(source));
        for step in &source.prepare {
            lines.push(format!("  {}", operator_text(&step.spec, &step.inputs)));
        }
        if let Some(watermark) = &source.watermark {
            let schema = source.prepare.last().map_or(&source.schema, |step| &step.output);
            let time = schema.field(watermark.time).name();
            lines.push(format!("  Watermark: {time} AS {}", sql(&watermark.expr)));
        }
    }
    for operator in &stage.chain {
        let mut text = operator_text(&operator.spec, &operator.inputs);
        if let (OperatorSpec::WindowJoin(spec), [left, right]) =
            (&operator.spec, operator.inputs.as_slice())
        {
            let window = |(start, end): (usize, usize), side: &SchemaRef| {
                format!("[{}, {})", side.field(start).name(), side.field(end).name())
            };
            let (left, right) = (window(spec.left_window, left), window(spec.right_window, right));
            let _ = write!(text, "; windows {left} and {right}");
        }
        if let Some(state) = state_text(&operator.spec) {
            let _ = write!(text, "; state: {state}");
        }
        lines.push(text);
    }
    if let Some(sink) = &stage.sink {
        let target = match &sink.target {
            SinkTarget::Client => "the client".to_owned(),
            SinkTarget::Connector { connector, overwrite, .. } => {
                let how = if *overwrite { ", overwriting" } else { "" };
                format!("{} ({connector}{how})", sink.table)
            }
        };
        lines.push(format!("Sink: {target}; {}", mode_text(sink.changelog)));
    }
    lines
}

fn edge_text(edge: &Edge) -> String {
    let how = match &edge.partitioning {
        Partitioning::Forward => "forward".to_owned(),
        Partitioning::Hash(keys) => format!("hash({})", names(keys, &edge.schema)),
        Partitioning::RoundRobin => "round robin".to_owned(),
        Partitioning::Broadcast => "broadcast".to_owned(),
    };
    let port = if edge.port > 0 { format!(" port {}", edge.port) } else { String::new() };
    format!("-> Stage {}{port}: {how}; {}", edge.to, mode_text(edge.changelog))
}

fn mode_text(mode: ChangelogMode) -> &'static str {
    match mode {
        ChangelogMode::AppendOnly => "append-only",
        ChangelogMode::Retract => "updating",
    }
}

fn source_text(source: &SourceSpec) -> String {
    let columns = fields_text(source.schema.fields());
    let mut text = format!("Source: {} ({}) [{columns}]", source.table, source.connector);
    if !source.filters.is_empty() {
        let filters: Vec<String> = source.filters.iter().map(sql).collect();
        let _ = write!(text, " WHERE {}", filters.join(" AND "));
    }
    text
}

fn fields_text(fields: &Fields) -> String {
    let name = |field: &Field| match field.data_type() {
        DataType::Struct(inner) => format!("{}{{{}}}", field.name(), fields_text(inner)),
        _ => field.name().clone(),
    };
    fields.iter().map(|field| name(field)).collect::<Vec<_>>().join(", ")
}

/// Writes what an operator does. Also the signature that its id is made of.
pub(crate) fn operator_text(spec: &OperatorSpec, inputs: &[SchemaRef]) -> String {
    let empty = SchemaRef::new(arrow::datatypes::Schema::empty());
    let input = inputs.first().unwrap_or(&empty);
    let right = inputs.get(1).unwrap_or(&empty);
    match spec {
        OperatorSpec::Project(exprs) => format!("Project: {}", list(exprs.iter().map(sql))),
        OperatorSpec::Filter(predicate) => format!("Filter: {}", sql(predicate)),
        OperatorSpec::WindowAssign(window) => {
            format!("WindowAssign: {}", window_text(window, input))
        }
        OperatorSpec::WindowAggregate(spec) => window_aggregate_text(spec, input),
        OperatorSpec::GroupAggregate(spec) => {
            let how = match spec.input {
                ChangelogMode::AppendOnly => "",
                ChangelogMode::Retract => "; over updates",
            };
            let when = match spec.emit {
                Emit::Changes => "",
                Emit::Final => "; at the end",
                Emit::First => "; new keys",
            };
            format!("GroupAggregate: {}{how}{when}", grouped(&spec.keys, &spec.aggregates, input))
        }
        OperatorSpec::WindowJoin(spec) => window_join_text(spec, input, right),
        OperatorSpec::IntervalJoin(spec) => interval_join_text(spec, input, right),
        OperatorSpec::LookupJoin(spec) => format!(
            "LookupJoin: {} on {}",
            spec.join_type,
            condition(&spec.on, spec.filter.as_ref(), input, right)
        ),
        OperatorSpec::Limit(spec) => limit_text(*spec),
        OperatorSpec::Sort(spec) => sort_text(spec, input),
    }
}

fn limit_text(limit: LimitSpec) -> String {
    let count = if limit.count == u64::MAX { "all".to_owned() } else { limit.count.to_string() };
    if limit.offset == 0 {
        format!("Limit: {count}")
    } else {
        format!("Limit: {count} after {}", limit.offset)
    }
}

fn sort_text(spec: &SortSpec, input: &SchemaRef) -> String {
    let keys = spec.keys.iter().map(|key| {
        let direction = if key.descending { " DESC" } else { "" };
        let nulls = match (key.nulls_first, key.descending) {
            (true, true) => " NULLS FIRST",
            (false, false) => " NULLS LAST",
            // As they come of themselves.
            _ => "",
        };
        format!("{}{direction}{nulls}", input.field(key.column).name())
    });
    let keys = list(keys);
    if spec.count == u64::MAX {
        format!("Sort: {keys}; at the end")
    } else {
        format!("Sort: {keys}; the first {} at the end", spec.count)
    }
}

fn window_aggregate_text(spec: &WindowAggregateSpec, input: &SchemaRef) -> String {
    let name = match spec.phase {
        AggregatePhase::Local => "LocalWindowAggregate",
        AggregatePhase::Complete | AggregatePhase::Final { .. } => "WindowAggregate",
    };
    let rows = spec.rows(input);
    format!(
        "{name}: {}; {}",
        window_text(&spec.window, rows),
        grouped(&spec.keys, &spec.aggregates, rows)
    )
}

fn window_join_text(spec: &WindowJoinSpec, left: &SchemaRef, right: &SchemaRef) -> String {
    let condition = condition(&spec.on, spec.filter.as_ref(), left, right);
    format!("WindowJoin: {} on the window and {condition}", spec.join_type)
}

fn interval_join_text(spec: &IntervalJoinSpec, left: &SchemaRef, right: &SchemaRef) -> String {
    format!(
        "IntervalJoin: {} on {}, {} - {} between {} and {}",
        spec.join_type,
        condition(&spec.on, spec.filter.as_ref(), left, right),
        left.field(spec.left_time).name(),
        right.field(spec.right_time).name(),
        describe_ms(spec.lower_ms),
        describe_ms(spec.upper_ms),
    )
}

fn condition(
    on: &[(usize, usize)],
    filter: Option<&Arc<dyn PhysicalExpr>>,
    left: &SchemaRef,
    right: &SchemaRef,
) -> String {
    let equal =
        on.iter().map(|(l, r)| format!("{} = {}", left.field(*l).name(), right.field(*r).name()));
    let all: Vec<String> = equal.chain(filter.map(sql)).collect();
    if all.is_empty() { "true".to_owned() } else { all.join(" AND ") }
}

fn window_text(window: &WindowSpec, input: &SchemaRef) -> String {
    match window {
        WindowSpec::EventTime { window, time } => {
            format!("{} of {}", describe_window(window), input.field(*time).name())
        }
        WindowSpec::ProcessingTime { window } => {
            format!("{} of processing time", describe_window(window))
        }
        WindowSpec::Attached { start, end } => {
            format!("window [{}, {})", input.field(*start).name(), input.field(*end).name())
        }
    }
}

fn grouped(keys: &[usize], calls: &[AggregateCall], input: &SchemaRef) -> String {
    format!("keys [{}], [{}]", names(keys, input), list(calls.iter().map(call_text)))
}

fn call_text(call: &AggregateCall) -> String {
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let args = list(call.args.iter().map(|arg| sql(unguarded(arg, call.filter.as_ref()))));
    let mut text = format!("{}({distinct}{args}", aggregate_name(call.function.name()));
    if !call.order_by.is_empty() {
        let order_by = call.order_by.iter().map(|sort| {
            let order = if sort.options.descending { " DESC" } else { "" };
            format!("{}{order}", sql(&sort.expr))
        });
        let _ = write!(text, " ORDER BY {}", list(order_by));
    }
    text.push(')');
    if let Some(filter) = &call.filter {
        let _ = write!(text, " FILTER (WHERE {})", sql(filter));
    }
    text
}

/// Returns an aggregate's argument without the guard by which FILTER keeps it from being evaluated.
fn unguarded<'a>(
    argument: &'a Arc<dyn PhysicalExpr>,
    filter: Option<&Arc<dyn PhysicalExpr>>,
) -> &'a Arc<dyn PhysicalExpr> {
    let Some(case) = argument.downcast_ref::<CaseExpr>() else { return argument };
    match (case.when_then_expr(), case.else_expr()) {
        ([(when, then)], None) if Some(when) == filter => then,
        _ => argument,
    }
}

fn state_text(spec: &OperatorSpec) -> Option<&'static str> {
    match spec {
        OperatorSpec::Project(_) | OperatorSpec::Filter(_) | OperatorSpec::WindowAssign(_) => None,
        OperatorSpec::WindowAggregate(spec) if spec.phase == AggregatePhase::Local => None,
        OperatorSpec::WindowAggregate(_) => Some("open windows"),
        OperatorSpec::GroupAggregate(_) => Some("every key"),
        OperatorSpec::WindowJoin(_) => Some("rows of open windows"),
        OperatorSpec::IntervalJoin(_) => Some("rows within the interval"),
        OperatorSpec::LookupJoin(_) => Some("the table"),
        OperatorSpec::Limit(_) => Some("a count"),
        OperatorSpec::Sort(spec) if spec.count < u64::MAX => Some("the first rows"),
        OperatorSpec::Sort(_) => Some("every row"),
    }
}

fn names(columns: &[usize], schema: &SchemaRef) -> String {
    list(columns.iter().map(|column| schema.field(*column).name().clone()))
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
