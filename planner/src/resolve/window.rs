//! Windows that are built on named ones: `OVER (w ORDER BY …)`, `WINDOW w2 AS (w1 ROWS …)`.
//!
//! DataFusion knows named windows, and passes over what is built on one.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, NamedWindowDefinition, NamedWindowExpr, OrderBy, Query, Select, VisitMut,
    VisitorMut, WindowSpec, WindowType,
};

use crate::error::{SqlError, SqlErrorCode};

/// Writes what such windows take over into them.
///
/// # Errors
/// All windows that are not there, and parts that two windows have.
pub(super) fn expand(select: &mut Select, order_by: Option<&mut OrderBy>) -> Vec<SqlError> {
    let mut windows = Windows::default();
    for NamedWindowDefinition(name, definition) in &mut select.named_window {
        if let NamedWindowExpr::NamedWindow(other) = definition {
            let spec = windows.find(other).cloned().map_err(|error| windows.errors.push(error));
            let Ok(spec) = spec else { continue };
            *definition = NamedWindowExpr::WindowSpec(spec);
        }
        if let NamedWindowExpr::WindowSpec(spec) = definition {
            windows.expand(spec);
            windows.known.push((name.clone(), spec.clone()));
        }
    }
    let _ = select.projection.visit(&mut windows);
    let _ = select.qualify.visit(&mut windows);
    let _ = select.sort_by.visit(&mut windows);
    if let Some(order_by) = order_by {
        let _ = order_by.visit(&mut windows);
    }
    windows.errors
}

/// The named windows of a SELECT.
#[derive(Default)]
struct Windows {
    known: Vec<(Ident, WindowSpec)>,
    /// How many queries the visit is inside of; they have windows of their own.
    depth: usize,
    errors: Vec<SqlError>,
}

impl Windows {
    fn find(&self, name: &Ident) -> Result<&WindowSpec, SqlError> {
        let known = self.known.iter().find(|(known, _)| known.value == name.value);
        known.map(|(_, spec)| spec).ok_or_else(|| {
            let message = format!("there is no window '{}'", name.value);
            SqlError::at(SqlErrorCode::InvalidStatement, name.span, message)
        })
    }

    fn expand(&mut self, spec: &mut WindowSpec) {
        let Some(name) = spec.window_name.take() else { return };
        let merged = self.find(&name).and_then(|base| merge(&name, base, spec));
        self.errors.extend(merged.err());
    }
}

/// Adds what a window takes over from another: as in the standard its partitions, and its order
/// and frame where it has none of its own.
fn merge(name: &Ident, base: &WindowSpec, spec: &mut WindowSpec) -> Result<(), SqlError> {
    let refuse = |what: &str| {
        let message = format!("window '{}' {what}", name.value);
        Err(SqlError::at(SqlErrorCode::InvalidStatement, name.span, message))
    };
    if !spec.partition_by.is_empty() {
        return refuse("says what is partitioned by; PARTITION BY cannot be given again");
    }
    if !spec.order_by.is_empty() && !base.order_by.is_empty() {
        return refuse("has an ORDER BY already");
    }
    if base.window_frame.is_some() {
        return refuse(
            "has a frame, and nothing can be built on it; write OVER without parentheses",
        );
    }
    spec.partition_by.clone_from(&base.partition_by);
    if spec.order_by.is_empty() {
        spec.order_by.clone_from(&base.order_by);
    }
    Ok(())
}

impl VisitorMut for Windows {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0
            && let Expr::Function(call) = expr
            && let Some(WindowType::WindowSpec(spec)) = &mut call.over
        {
            self.expand(spec);
        }
        ControlFlow::Continue(())
    }
}
