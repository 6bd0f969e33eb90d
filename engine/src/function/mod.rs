//! Functions by name: DataFusion's, and those of Flink's that it lacks.

mod any;
mod arithmetic;
mod assign;
mod bounded;
mod char_field;
mod char_pattern;
mod clock;
mod coarser;
mod date_pattern;
mod epoch;
mod floats;
mod interval;
mod interval_arithmetic;
mod lately;
mod like;
mod moment;
mod nested;
mod percentile;
mod regexp;
mod registry;
mod rows;
mod scalar;
mod sql_typed;
mod sum;
mod text;
mod time;
mod time_text;

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

use crate::time::ClockRef;
pub use any::{any_function, operator_of};
pub use arithmetic::{Arithmetic, CHECKED_CHAIN, LINK, chain_operators, operators_of_chain};
pub use assign::ASSIGN;
pub use bounded::MAX_LENGTH;
pub(crate) use clock::at;
pub use clock::is_current_time;
pub use coarser::{TO_COARSER, gets_coarser};
pub use floats::{EQUAL_FLOATS, holds_floats};
pub use interval::{
    INTERVAL_IN_DAYS, INTERVAL_KEY, INTERVAL_LENGTH, INTERVAL_OF_KEY, interval_length,
};
pub(crate) use interval_arithmetic::INTERVAL_TIMES;
pub use interval_arithmetic::interval_times;
pub use like::{LIKE_PATTERN, like_pattern};
pub use registry::{Registry, registry};
pub use rows::{RENAME_FIELDS, renamed};
pub use sql_typed::sql_type;
pub(crate) use sum::{SumResult, Total, total_type};
pub use sum::{WRAPPING_SUM, aggregate_name};
pub use time_text::TIMESTAMP_TEXT;

/// Returns the aggregate functions that stand in for DataFusion's.
#[must_use]
pub fn aggregates() -> Vec<Arc<AggregateUDF>> {
    sum::functions()
}

/// Returns the functions that are added to DataFusion's.
#[must_use]
pub fn functions(clock: &ClockRef) -> Vec<Arc<ScalarUDF>> {
    let mut functions = clock::functions(clock);
    functions.extend(coarser::functions());
    functions.extend(epoch::functions());
    functions.extend(time::functions());
    functions.extend(time_text::functions());
    functions.extend(text::functions());
    functions.extend(any::functions());
    functions.extend(regexp::functions());
    functions.extend(rows::functions());
    functions.extend(assign::functions());
    functions.extend(like::functions());
    functions.extend(interval::functions());
    functions.extend(interval_arithmetic::functions());
    functions.extend(floats::functions());
    functions.extend(arithmetic::functions());
    functions
}
