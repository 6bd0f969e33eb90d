//! GROUP BY: per window where the windows are among the keys, else without end.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::{DFSchemaRef, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment};
use datafusion::logical_expr::{Aggregate, Expr};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use rainstorm_engine::function::aggregate_name;
use rainstorm_engine::graph::{
    AggregateCall, AggregatePhase, ChangelogMode, GroupAggregateSpec, OperatorSpec,
    WindowAggregateSpec, WindowSpec,
};
use rainstorm_engine::wording::with_sql_types;

use super::Lowering;
use super::expr::{columns_of, renumber};
use super::flow::{Distribution, FlowKind, FlowNode, Port, schema_of};
use super::relation::{Layout, Place, Relation, field_of, window_fields};
use crate::analysis::takes_rows_back;
use crate::rewrite::filtered;
use crate::stream::{Derived, GroupWindow, Properties, WindowPart, emission, unaliased};

/// The input of an aggregate, laid out for it.
struct Prepared {
    input: Relation,
    keys: Vec<usize>,
    calls: Vec<AggregateCall>,
    window: Option<WindowSpec>,
}

impl Lowering<'_> {
    pub(super) fn aggregate(
        &mut self,
        aggregate: &Aggregate,
        node: &Derived<'_>,
        below: &Derived<'_>,
    ) -> Result<Relation> {
        if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
            return self.unsupported("GROUP BY with GROUPING SETS, ROLLUP or CUBE", "");
        }
        let mut input = self.lower(below)?;
        let schema = aggregate.input.schema();
        let groups: Vec<&Expr> = aggregate.group_expr.iter().map(unaliased).collect();
        let window = GroupWindow::of(aggregate, &below.properties);
        let is_key =
            |index: usize| window.as_ref().is_none_or(|window| window.parts[index].is_none());
        let keys = (0..groups.len()).filter(|index| is_key(*index)).map(|index| groups[index]);
        for expr in keys.chain(&aggregate.aggr_expr) {
            if input.reads_pending(expr, schema)? {
                input = input.assign_windows(&mut self.flow)?;
            }
        }
        let is_pending = |window: &GroupWindow| {
            WindowPart::ALL.into_iter().any(|part| {
                let column = below.properties.window_column(part, window.window);
                column.is_some_and(|column| input.node_column(column).is_none())
            })
        };
        if !window.as_ref().is_some_and(is_pending) {
            input = input.assign_windows(&mut self.flow)?;
        }
        self.check_changelog(aggregate, &below.properties, window.is_some())?;
        let prepared =
            self.prepare(aggregate, input, &below.properties, &groups, window.as_ref())?;
        match window {
            Some(window) => self.window_aggregate(&window, prepared),
            None => self.group_aggregate(prepared, node, below),
        }
    }

    /// Refuses rows taken back where they cannot be.
    fn check_changelog(
        &self,
        aggregate: &Aggregate,
        input: &Properties,
        windowed: bool,
    ) -> Result<()> {
        if input.changes == ChangelogMode::AppendOnly {
            return Ok(());
        }
        if windowed {
            return self.unsupported("a window aggregate over an updating input", "");
        }
        for expr in &aggregate.aggr_expr {
            let name = aggregate_name(call_of(expr)?.func.name());
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
        known: &Properties,
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
                let keep = |index| layout.keep(index, &schema);
                Some(self.window_spec(window, &input, known, keep)?)
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
        known: &Properties,
        mut keep: impl FnMut(usize) -> usize,
    ) -> Result<WindowSpec> {
        if let Some(pending) = input.pending {
            return Ok(pending.spec(pending.time.map(keep)));
        }
        let find = |part| input.node_column(known.window_column(part, group.window)?);
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
        let arg = |arg: &Expr| expr(&filtered(arg.clone(), params.filter.as_deref(), schema));
        Ok(AggregateCall {
            function: Arc::clone(&call.func),
            args: params.args.iter().map(arg).collect::<Result<_>>()?,
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
        let mut keys_before = 0..;
        let groups = window.parts.iter().map(|part| match *part {
            Some(part) => Place::Node(first + part as usize),
            None => Place::Node(keys_before.next().unwrap_or_default()),
        });
        let calls_at = (key_count..first).map(Place::Node);
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

    fn group_aggregate(
        &mut self,
        prepared: Prepared,
        node: &Derived<'_>,
        below: &Derived<'_>,
    ) -> Result<Relation> {
        let Prepared { input, keys, calls, .. } = prepared;
        let columns = keys.len() + calls.len();
        let emit = emission(keys.len(), calls.len(), &below.properties, self.results);
        if !node.properties.bounded && self.settings.state_ttl.is_none() && !keys.is_empty() {
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
            input: below.properties.changes,
            emit,
        });
        let node = self.keyed(&input, spec, keys, &calls, &[], node.properties.changes)?;
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
        let partitioned = (!keys.is_empty()).then_some(own_keys);
        let parallelism = if keys.is_empty() { 1 } else { self.parallelism };
        let distribution =
            if keys.is_empty() { Distribution::Single } else { Distribution::Keys(keys) };
        Ok(self.flow.add(FlowNode {
            kind: FlowKind::Operator(spec),
            ports: vec![Port { from: input.nodes.clone(), distribution }],
            schema: schema_of(fields),
            changelog,
            parallelism,
            partitioned,
        }))
    }
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
