//! GROUP BY: per window where the windows are among the keys, else without end.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::{DFSchemaRef, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment};
use datafusion::logical_expr::{Aggregate, Expr};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use rainstorm_engine::graph::{
    AggregateCall, AggregatePhase, ChangelogMode, Emit, GroupAggregateSpec, OperatorSpec,
    WindowAggregateSpec, WindowSpec,
};
use rainstorm_engine::wording::with_sql_types;

use super::Lowering;
use super::expr::{columns_of, renumber, unaliased};
use super::flow::{Distribution, FlowKind, FlowNode, Port, schema_of};
use super::relation::{Layout, Place, Relation, RelationColumn, field_of, window_fields};
use crate::analysis::{Meaning, WindowKind, WindowPart, takes_rows_back};

/// The windows that rows are grouped by.
struct GroupWindow {
    kind: WindowKind,
    /// Which of the window's columns each grouping expression is, `None` for a key.
    parts: Vec<Option<WindowPart>>,
}

/// The input of an aggregate, laid out for it.
struct Prepared {
    input: Relation,
    keys: Vec<usize>,
    calls: Vec<AggregateCall>,
    window: Option<WindowSpec>,
}

impl Lowering<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Relation> {
        if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
            return self.unsupported("GROUP BY with GROUPING SETS, ROLLUP or CUBE", "");
        }
        let mut input = self.lower(&aggregate.input)?;
        let schema = aggregate.input.schema();
        let groups: Vec<&Expr> = aggregate.group_expr.iter().map(unaliased).collect();
        let window = group_window(&input, &groups, schema)?;
        let is_key =
            |index: usize| window.as_ref().is_none_or(|window| window.parts[index].is_none());
        let keys = (0..groups.len()).filter(|index| is_key(*index)).map(|index| groups[index]);
        for expr in keys.chain(&aggregate.aggr_expr) {
            if input.reads_pending(expr, schema)? {
                input = input.assign_windows(&mut self.flow)?;
            }
        }
        if window.is_none() {
            input = input.assign_windows(&mut self.flow)?;
        }
        self.check_changelog(aggregate, &input, window.is_some())?;
        let prepared = self.prepare(aggregate, input, &groups, window.as_ref())?;
        match window {
            Some(window) => self.window_aggregate(&window, prepared),
            None => self.group_aggregate(prepared),
        }
    }

    /// Refuses rows taken back where they cannot be.
    fn check_changelog(
        &self,
        aggregate: &Aggregate,
        input: &Relation,
        windowed: bool,
    ) -> Result<()> {
        if input.changelog(&self.flow) == ChangelogMode::AppendOnly {
            return Ok(());
        }
        if windowed {
            return self.unsupported("a window aggregate over an updating input", "");
        }
        for expr in &aggregate.aggr_expr {
            let name = call_of(expr)?.func.name();
            if !takes_rows_back(name) {
                return self.unsupported(
                    format!("{} over an updating input", name.to_uppercase()),
                    "COUNT, SUM, AVG, MIN and MAX take rows back",
                );
            }
        }
        Ok(())
    }

    /// Lays the input out: keys, what the aggregates read, the window's time.
    fn prepare(
        &mut self,
        aggregate: &Aggregate,
        input: Relation,
        groups: &[&Expr],
        window: Option<&GroupWindow>,
    ) -> Result<Prepared> {
        let logical = aggregate.input.schema();
        let schema = Arc::clone(input.schema(&self.flow)?);
        let mut layout = Layout::default();
        let mut keys = Vec::new();
        for (index, expr) in groups.iter().enumerate() {
            if window.is_some_and(|window| window.parts[index].is_some()) {
                continue;
            }
            let key = input.expr(&self.flow, expr, logical)?;
            let field = match key.downcast_ref::<Column>() {
                Some(column) => Arc::clone(&schema.fields()[column.index()]),
                None => field_of(aggregate.schema.field(index).name(), &key, &schema)?,
            };
            keys.push(layout.add(&key, &field));
        }
        let mut calls = Vec::new();
        for (index, expr) in aggregate.aggr_expr.iter().enumerate() {
            let output = Arc::clone(&aggregate.schema.fields()[groups.len() + index]);
            calls.push(self.call(call_of(expr)?, output, &input, logical)?);
        }
        for call in &calls {
            for column in columns_of(exprs_of(call)) {
                layout.keep(column, &schema);
            }
        }
        let window = match window {
            None => None,
            Some(window) => {
                Some(self.window_spec(window, &input, |index| layout.keep(index, &schema))?)
            }
        };
        // Without columns there would be nothing to count.
        if layout.outputs.is_empty() && !schema.fields().is_empty() {
            layout.keep(0, &schema);
        }
        let mut input = input;
        if layout.is_identity(&schema) {
            return Ok(Prepared { input, keys, calls, window });
        }
        let calls = calls.into_iter().map(|call| moved(call, &layout)).collect::<Result<_>>()?;
        input.nodes = input.project(&mut self.flow, &layout.outputs);
        Ok(Prepared { input, keys, calls, window })
    }

    fn window_spec(
        &self,
        group: &GroupWindow,
        input: &Relation,
        mut keep: impl FnMut(usize) -> usize,
    ) -> Result<WindowSpec> {
        let window = group.kind.window;
        if let Some(pending) = input.pending {
            return Ok(match pending.time {
                Some(time) => WindowSpec::EventTime { window, time: keep(time) },
                None => WindowSpec::ProcessingTime { window },
            });
        }
        let find = |part| {
            let wanted = Some((part, group.kind));
            let found = input.columns.iter().find(|column| column.meaning.window == wanted)?;
            match found.place {
                Place::Node(index) => Some(index),
                Place::Window(_) => None,
            }
        };
        match (find(WindowPart::Start), find(WindowPart::End)) {
            (Some(start), Some(end)) => {
                Ok(WindowSpec::Attached { start: keep(start), end: keep(end) })
            }
            _ => self.unsupported(
                "GROUP BY one end of a window that is already assigned",
                "group by window_start and window_end",
            ),
        }
    }

    fn call(
        &self,
        call: &AggregateFunction,
        output: FieldRef,
        input: &Relation,
        schema: &DFSchemaRef,
    ) -> Result<AggregateCall> {
        let params = &call.params;
        let expr = |expr: &Expr| input.expr(&self.flow, expr, schema);
        Ok(AggregateCall {
            function: Arc::clone(&call.func),
            args: params.args.iter().map(expr).collect::<Result<_>>()?,
            filter: params.filter.as_deref().map(expr).transpose()?,
            distinct: params.distinct,
            order_by: params
                .order_by
                .iter()
                .map(|sort| {
                    let options = arrow::compute::SortOptions {
                        descending: !sort.asc,
                        nulls_first: sort.nulls_first,
                    };
                    Ok(PhysicalSortExpr { expr: expr(&sort.expr)?, options })
                })
                .collect::<Result<_>>()?,
            ignore_nulls: params.null_treatment == Some(NullTreatment::IgnoreNulls),
            output,
        })
    }

    fn window_aggregate(&mut self, window: &GroupWindow, prepared: Prepared) -> Result<Relation> {
        let Prepared { input, keys, calls, window: spec } = prepared;
        let Some(spec) = spec else { return internal_err!("a window aggregate without window") };
        let (key_count, first) = (keys.len(), keys.len() + calls.len());
        let kind = window.kind;
        let mut next_key = 0;
        let groups = window.parts.iter().map(|part| {
            if let Some(part) = *part {
                let is_time = kind.event_time && part != WindowPart::Start;
                let meaning = Meaning { is_time, window: Some((part, kind)) };
                return RelationColumn { place: Place::Node(first + part as usize), meaning };
            }
            next_key += 1;
            RelationColumn { place: Place::Node(next_key - 1), meaning: Meaning::default() }
        });
        let calls_at = (key_count..first)
            .map(|index| RelationColumn { place: Place::Node(index), meaning: Meaning::default() });
        let columns = groups.collect::<Vec<_>>().into_iter().chain(calls_at).collect();
        let spec = OperatorSpec::WindowAggregate(WindowAggregateSpec {
            window: spec,
            keys: keys.clone(),
            aggregates: calls.clone(),
            phase: AggregatePhase::Complete,
        });
        let node =
            self.keyed(&input, spec, keys, &calls, &window_fields(), ChangelogMode::AppendOnly)?;
        Ok(Relation { nodes: vec![node], columns, pending: None })
    }

    fn group_aggregate(&mut self, prepared: Prepared) -> Result<Relation> {
        let Prepared { input, keys, calls, .. } = prepared;
        let columns = keys.len() + calls.len();
        let (emit, changelog) = if self.final_rows && input.is_bounded(&self.flow) {
            (Emit::Final, ChangelogMode::AppendOnly)
        } else {
            (Emit::Changes, ChangelogMode::Retract)
        };
        if !input.is_bounded(&self.flow) && self.settings.state_ttl.is_none() && !keys.is_empty() {
            let schema = input.schema(&self.flow)?;
            let names: Vec<&str> =
                keys.iter().map(|key| schema.field(*key).name().as_str()).collect();
            self.warn(format!(
                "GroupAggregate by {} keeps every key for ever; set 'table.exec.state.ttl' to drop \
                 those not seen for long",
                with_sql_types(&names.join(", "))
            ));
        }
        let spec = OperatorSpec::GroupAggregate(GroupAggregateSpec {
            keys: keys.clone(),
            aggregates: calls.clone(),
            input: input.changelog(&self.flow),
            emit,
        });
        let node = self.keyed(&input, spec, keys, &calls, &[], changelog)?;
        Ok(Relation::of_node(node, columns))
    }

    /// Adds an operator that keeps state by keys. Its columns are the keys, then the calls', then
    /// `more`.
    fn keyed(
        &mut self,
        input: &Relation,
        spec: OperatorSpec,
        keys: Vec<usize>,
        calls: &[AggregateCall],
        more: &[FieldRef],
        changelog: ChangelogMode,
    ) -> Result<super::FlowId> {
        let schema = input.schema(&self.flow)?;
        let key_fields = keys.iter().map(|key| Arc::clone(&schema.fields()[*key]));
        let call_fields = calls.iter().map(|call| Arc::clone(&call.output));
        let fields = key_fields.chain(call_fields).chain(more.iter().cloned()).collect();
        let own_keys = (0..keys.len()).collect::<Vec<_>>();
        let updates = changelog == ChangelogMode::Retract;
        let upsert_key = updates.then(|| own_keys.clone());
        let partitioned = (!keys.is_empty()).then_some(own_keys);
        let parallelism = if keys.is_empty() { 1 } else { self.parallelism };
        let distribution =
            if keys.is_empty() { Distribution::Single } else { Distribution::Keys(keys) };
        let bounded = input.is_bounded(&self.flow);
        Ok(self.flow.add(FlowNode {
            kind: FlowKind::Operator(spec),
            ports: vec![Port { from: input.nodes.clone(), distribution }],
            schema: schema_of(fields),
            changelog,
            parallelism,
            partitioned,
            upsert_key,
            bounded,
        }))
    }
}

/// Finds the windows among the grouping expressions.
fn group_window(
    input: &Relation,
    groups: &[&Expr],
    schema: &DFSchemaRef,
) -> Result<Option<GroupWindow>> {
    let mut parts = vec![None; groups.len()];
    let mut found: Option<WindowKind> = None;
    for (index, expr) in groups.iter().enumerate() {
        let Expr::Column(column) = expr else { continue };
        let meaning = input.columns[schema.index_of_column(column)?].meaning;
        let Some((part, kind)) = meaning.window else { continue };
        if found.is_none_or(|known| known == kind) {
            found = Some(kind);
            parts[index] = Some(part);
        }
    }
    let Some(kind) = found else { return Ok(None) };
    let has = |part| parts.contains(&Some(part));
    let named = kind.one_part_names_it() || (has(WindowPart::Start) && has(WindowPart::End));
    Ok(named.then_some(GroupWindow { kind, parts }))
}

fn call_of(expr: &Expr) -> Result<&AggregateFunction> {
    match unaliased(expr) {
        Expr::AggregateFunction(call) => Ok(call),
        other => internal_err!("{other} is no aggregate"),
    }
}

fn exprs_of(call: &AggregateCall) -> impl Iterator<Item = &Arc<dyn PhysicalExpr>> {
    let order_by = call.order_by.iter().map(|sort| &sort.expr);
    call.args.iter().chain(&call.filter).chain(order_by)
}

/// Moves a call's columns to where a layout has them.
fn moved(call: AggregateCall, layout: &Layout) -> Result<AggregateCall> {
    let moved = |expr: Arc<dyn PhysicalExpr>| {
        renumber(expr, |index| {
            let place = layout.place(index)?;
            Some((layout.outputs[place].1.name().clone(), place))
        })
    };
    Ok(AggregateCall {
        args: call.args.into_iter().map(moved).collect::<Result<_>>()?,
        filter: call.filter.map(moved).transpose()?,
        order_by: call
            .order_by
            .into_iter()
            .map(|sort| Ok(PhysicalSortExpr { expr: moved(sort.expr)?, options: sort.options }))
            .collect::<Result<_>>()?,
        ..call
    })
}
