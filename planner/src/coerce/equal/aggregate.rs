//! Values that are grouped, and those that aggregates pick from.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, Expr, LogicalPlan, Projection, Window, WindowFunctionDefinition,
};
use sqlparser::tokenizer::Span;

use super::{Alike, Equality, alike, call};
use crate::error::{fail, unsupported};
use crate::stream::unaliased;

/// What became of a call.
#[derive(Clone, Copy, PartialEq)]
enum Call {
    Same,
    Changed,
    /// Its result is a key.
    Key,
}

impl Equality {
    pub(super) fn of_aggregate(&self, aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
        let Aggregate { input, group_expr, aggr_expr, schema, .. } = &aggregate;
        let preserver = NamePreserver::new_for_projection();
        let mut changed = false;
        let mut groups = Vec::with_capacity(group_expr.len());
        for expr in group_expr {
            if let Expr::GroupingSet(set) = expr {
                for expr in set.distinct_expr() {
                    refuse_in_sets(alike(expr, input.schema())?)?;
                }
            } else if let Some(function) = self.grouping(expr, input.schema())? {
                let name = preserver.save(expr);
                groups.push(name.restore(call(function, unaliased(expr).clone())));
                changed = true;
                continue;
            }
            groups.push(expr.clone());
        }
        let mut calls = Vec::with_capacity(aggr_expr.len());
        let mut kinds = vec![Call::Same; groups.len()];
        for expr in aggr_expr {
            let name = preserver.save(expr);
            let (expr, kind) = self.of_call(expr, input.schema())?;
            changed |= kind != Call::Same;
            kinds.push(kind);
            calls.push(if kind == Call::Same { expr } else { name.restore(expr) });
        }
        if !changed {
            return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
        }
        // Grouping sets have a column more than there are expressions.
        let more = schema.fields().len().saturating_sub(kinds.len());
        let place = kinds.len() - calls.len();
        kinds.splice(place..place, std::iter::repeat_n(Call::Same, more));
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(Arc::clone(input), groups, calls)?);
        self.without_keys(plan, &kinds).map(Transformed::yes)
    }

    pub(super) fn of_window(&self, window: Window) -> Result<Transformed<LogicalPlan>> {
        let schema = window.input.schema();
        let preserver = NamePreserver::new_for_projection();
        let mut kinds = vec![Call::Same; schema.fields().len()];
        let mut calls = Vec::with_capacity(window.window_expr.len());
        for expr in &window.window_expr {
            let name = preserver.save(expr);
            let (expr, kind) = self.of_window_call(expr, schema)?;
            kinds.push(kind);
            calls.push(if kind == Call::Same { expr } else { name.restore(expr) });
        }
        if kinds.iter().all(|kind| *kind == Call::Same) {
            return Ok(Transformed::no(LogicalPlan::Window(window)));
        }
        let plan = LogicalPlan::Window(Window::try_new(calls, window.input)?);
        self.without_keys(plan, &kinds).map(Transformed::yes)
    }

    /// Puts the intervals in place of keys.
    fn without_keys(&self, plan: LogicalPlan, kinds: &[Call]) -> Result<LogicalPlan> {
        if !kinds.contains(&Call::Key) {
            return Ok(plan);
        }
        let columns = plan.schema().iter().zip(kinds).map(|((qualifier, field), kind)| {
            let column = Expr::from((qualifier, field));
            match kind {
                Call::Key => {
                    call(&self.of_key, column).alias_qualified(qualifier.cloned(), field.name())
                }
                Call::Same | Call::Changed => column,
            }
        });
        let columns = columns.collect();
        Projection::try_new(columns, Arc::new(plan)).map(LogicalPlan::Projection)
    }

    fn of_call(&self, expr: &Expr, schema: &DFSchema) -> Result<(Expr, Call)> {
        let Expr::AggregateFunction(written) = unaliased(expr) else {
            return Ok((expr.clone(), Call::Same));
        };
        let AggregateFunction { func, params } = written;
        let mut params = params.clone();
        let sorted = self.sort_keys(&mut params.order_by, schema)?;
        let kind = self.of_arguments(func.name(), params.distinct, &mut params.args, schema)?;
        if kind == Call::Same && !sorted {
            return Ok((expr.clone(), Call::Same));
        }
        let kind = if kind == Call::Same { Call::Changed } else { kind };
        let call = AggregateFunction { func: Arc::clone(func), params };
        Ok((Expr::AggregateFunction(call), kind))
    }

    fn of_window_call(&self, expr: &Expr, schema: &DFSchema) -> Result<(Expr, Call)> {
        let Expr::WindowFunction(written) = unaliased(expr) else {
            return Ok((expr.clone(), Call::Same));
        };
        let WindowFunction { fun, mut params } = written.as_ref().clone();
        let mut changed = false;
        for key in &mut params.partition_by {
            changed |= self.as_compared(key, schema)?;
        }
        let kind = match &fun {
            WindowFunctionDefinition::AggregateUDF(function) => {
                self.of_arguments(function.name(), params.distinct, &mut params.args, schema)?
            }
            WindowFunctionDefinition::WindowUDF(_) => Call::Same,
        };
        let kind = if changed && kind == Call::Same { Call::Changed } else { kind };
        let call = WindowFunction { fun, params };
        Ok(if kind == Call::Same { (expr.clone(), kind) } else { (Expr::from(call), kind) })
    }

    /// Rewrites the arguments of an aggregate that compares them.
    fn of_arguments(
        &self,
        function: &str,
        distinct: bool,
        args: &mut [Expr],
        schema: &DFSchema,
    ) -> Result<Call> {
        let picks = matches!(function, "min" | "max");
        if !picks && !distinct && function != "approx_distinct" {
            return Ok(Call::Same);
        }
        let mut kind = Call::Same;
        for arg in args {
            if !picks {
                if let Some(function) = self.grouping(arg, schema)? {
                    *arg = call(function, std::mem::take(arg));
                    kind = Call::Changed;
                }
            } else if alike(arg, schema)? == Some(Alike::Intervals) {
                *arg = call(&self.key, std::mem::take(arg));
                kind = Call::Key;
            }
        }
        Ok(kind)
    }
}

/// Refuses what would have to be made the same within GROUPING SETS.
fn refuse_in_sets(alike: Option<Alike>) -> Result<()> {
    let what = match alike {
        Some(Alike::Intervals) => "an INTERVAL",
        Some(Alike::NestedFloats) => "rows or arrays of DOUBLE",
        Some(Alike::Floats) | None => return Ok(()),
    };
    let message = format!("GROUPING SETS, ROLLUP or CUBE of {what} is not supported");
    Err(fail(unsupported(Span::empty(), message)))
}
