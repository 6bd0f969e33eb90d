//! The functions that expressions refer to by name.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{FunctionRegistry, TaskContext};
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};
use datafusion::prelude::SessionConfig;
use rainstorm_engine::function::registry;
use rainstorm_engine::time::ClockRef;

/// Returns the engine's functions in the form in which [`decode_graph`](super::decode_graph)
/// looks them up. Functions of the current time read `clock`.
#[must_use]
pub fn functions(clock: &ClockRef) -> Arc<TaskContext> {
    let registry = registry(clock);
    let scalar = by_name(registry.udfs(), |name| registry.scalar(name), ScalarUDF::name);
    let names = registry.higher_order_function_names();
    let higher_order = by_name(names, |name| registry.higher_order(name), HigherOrderUDF::name);
    let aggregate = by_name(registry.udafs(), |name| registry.aggregate(name), AggregateUDF::name);
    let config = SessionConfig::default();
    let runtime = Arc::new(RuntimeEnv::default());
    let window = by_name(registry.udwfs(), |name| registry.window(name), WindowUDF::name);
    let session = "rainstorm".to_owned();
    Arc::new(TaskContext::new(
        None,
        session,
        config,
        scalar,
        higher_order,
        aggregate,
        window,
        runtime,
    ))
}

/// The registry knows names in lower case, expressions carry them as their function writes them.
fn by_name<T>(
    names: HashSet<String>,
    find: impl Fn(&str) -> Option<Arc<T>>,
    own_name: impl Fn(&T) -> &str,
) -> HashMap<String, Arc<T>> {
    let found = names.into_iter().filter_map(|name| Some((find(&name)?, name)));
    found
        .flat_map(|(function, name)| {
            let own = own_name(&function).to_owned();
            [(own, Arc::clone(&function)), (name, function)]
        })
        .collect()
}
