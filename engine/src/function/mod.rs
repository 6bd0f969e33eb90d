//! Functions by name: DataFusion's, and those of Flink's that it lacks.

mod clock;
mod date_pattern;
mod interval;
mod like;
mod regexp;
mod registry;
mod rows;
mod scalar;
mod text;
mod time;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

use crate::time::ClockRef;
pub(crate) use clock::at;
pub use clock::is_current_time;
pub use interval::{
    INTERVAL_IN_DAYS, INTERVAL_KEY, INTERVAL_LENGTH, INTERVAL_OF_KEY, interval_length,
};
pub use like::{LIKE_PATTERN, like_pattern};
pub use registry::{Registry, registry};
pub use rows::{RENAME_FIELDS, renamed};
pub use time::TIMESTAMP_TEXT;

/// Returns the functions that are added to DataFusion's.
#[must_use]
pub fn functions(clock: &ClockRef) -> Vec<Arc<ScalarUDF>> {
    let mut functions = clock::functions(clock);
    functions.extend(time::functions());
    functions.extend(text::functions());
    functions.extend(regexp::functions());
    functions.extend(rows::functions());
    functions.extend(like::functions());
    functions.extend(interval::functions());
    functions
}
