//! What OVER sorts by.

use std::sync::Arc;

use datafusion::arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::WindowFunctionParams;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, Window, WindowFrameBound, WindowFrameUnits,
};
use rainstorm_engine::function::interval_length;

use super::{Intervals, is_compared_interval};
use crate::stream::unaliased;

impl Intervals {
    /// Makes OVER sort by lengths, in a plan whose types are not coerced yet: no frame can be
    /// coerced to go with intervals or durations.
    ///
    /// # Errors
    /// `Unsupported` where rows or arrays of intervals are compared.
    pub(in crate::coerce) fn sort_over(
        &self,
        plan: LogicalPlan,
    ) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Window(window) => self.sort_window(window),
            plan => Ok(Transformed::no(plan)),
        }
    }

    fn sort_window(&self, window: Window) -> Result<Transformed<LogicalPlan>> {
        let preserver = NamePreserver::new_for_projection();
        let mut changed = false;
        let mut calls = Vec::with_capacity(window.window_expr.len());
        for expr in &window.window_expr {
            let name = preserver.save(expr);
            let mut call = unaliased(expr).clone();
            let is_sorted = match &mut call {
                Expr::WindowFunction(call) => {
                    self.sort_frame(&mut call.params, window.input.schema())?
                }
                _ => false,
            };
            changed |= is_sorted;
            calls.push(if is_sorted { name.restore(call) } else { expr.clone() });
        }
        if !changed {
            return Ok(Transformed::no(LogicalPlan::Window(window)));
        }
        let window = Window::try_new(calls, Arc::clone(&window.input))?;
        Ok(Transformed::yes(LogicalPlan::Window(window)))
    }

    fn sort_frame(&self, params: &mut WindowFunctionParams, schema: &DFSchema) -> Result<bool> {
        let mut changed = false;
        for key in &mut params.order_by {
            let is_duration = matches!(key.expr.get_type(schema), Ok(DataType::Duration(_)));
            if is_duration || is_compared_interval(&key.expr, schema)? {
                key.expr = self.length_of(std::mem::take(&mut key.expr));
                changed = true;
            }
        }
        if changed && params.window_frame.units == WindowFrameUnits::Range {
            of_bound(&mut params.window_frame.start_bound);
            of_bound(&mut params.window_frame.end_bound);
        }
        Ok(changed)
    }
}

/// Makes a distance of a frame, which is kept as its text, a length.
fn of_bound(bound: &mut WindowFrameBound) {
    let (WindowFrameBound::Preceding(value) | WindowFrameBound::Following(value)) = bound else {
        return;
    };
    let ScalarValue::Utf8(Some(text)) = value else { return };
    if text.contains(char::is_alphabetic)
        && let Ok(interval) = parse_interval_month_day_nano(text)
    {
        *value = ScalarValue::Decimal128(Some(interval_length(interval)), 38, 0);
    }
}
