//! Functions by name: DataFusion's, and those of Flink's that it lacks.

mod registry;

pub use registry::{Registry, registry};

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

use crate::time::ClockRef;

/// Returns the functions that are added to DataFusion's.
#[must_use]
pub fn functions(_clock: &ClockRef) -> Vec<Arc<ScalarUDF>> {
    Vec::new()
}
