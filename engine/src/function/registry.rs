//! Which function a name means.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};

use super::arithmetic::{Links, LongQuotients};
use super::interval_arithmetic::{INTERVAL_TIMES, IntervalArithmetic};
use super::{
    ASSIGN, Arithmetic, CHECKED_CHAIN, EQUAL_FLOATS, INTERVAL_IN_DAYS, INTERVAL_KEY,
    INTERVAL_LENGTH, INTERVAL_OF_KEY, LIKE_PATTERN, RENAME_FIELDS, TIMESTAMP_TEXT, TO_COARSER,
    WRAPPING_SUM, bounded, percentile, sql_typed,
};
use crate::time::ClockRef;

/// All functions by name, aliases included. Names are looked up whatever their case.
///
/// The planner finds functions here, and a worker that decodes a shipped expression finds the
/// same ones under the same names.
#[derive(Debug, Clone)]
pub struct Registry {
    scalar: BTreeMap<String, Arc<ScalarUDF>>,
    higher_order: BTreeMap<String, Arc<HigherOrderUDF>>,
    aggregate: BTreeMap<String, Arc<AggregateUDF>>,
    window: BTreeMap<String, Arc<WindowUDF>>,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
}

/// Returns DataFusion's functions with Flink's added; where both have a name, Flink's meaning
/// holds. Functions of the current time read `clock`.
#[must_use]
pub fn registry(clock: &ClockRef) -> Registry {
    let mut expr_planners = SessionStateDefaults::default_expr_planners();
    expr_planners.push(Arc::new(LongQuotients));
    expr_planners.push(Arc::new(IntervalArithmetic));
    expr_planners.push(Arc::new(Links));
    let mut registry = Registry {
        scalar: BTreeMap::new(),
        higher_order: BTreeMap::new(),
        aggregate: BTreeMap::new(),
        window: BTreeMap::new(),
        expr_planners,
    };
    for udf in SessionStateDefaults::default_scalar_functions() {
        registry.add_scalar(&sql_typed::of_scalar(bounded::of_scalar(udf)));
    }
    for udf in SessionStateDefaults::default_higher_order_functions() {
        registry.higher_order.insert(udf.name().to_lowercase(), udf);
    }
    let aggregates = SessionStateDefaults::default_aggregate_functions();
    for udf in aggregates.into_iter().map(sql_typed::of_aggregate).chain(percentile::functions()) {
        insert(&mut registry.aggregate, udf.name(), udf.aliases(), &udf);
    }
    for udf in SessionStateDefaults::default_window_functions() {
        let udf = sql_typed::of_window(udf);
        insert(&mut registry.window, udf.name(), udf.aliases(), &udf);
    }
    for udf in super::aggregates() {
        insert(&mut registry.aggregate, udf.name(), udf.aliases(), &udf);
    }
    for udf in super::functions(clock) {
        registry.add_scalar(&udf);
    }
    registry
}

fn insert<T>(
    map: &mut BTreeMap<String, Arc<T>>,
    name: &str,
    aliases: &[String],
    function: &Arc<T>,
) -> Option<Arc<T>> {
    for alias in aliases {
        map.insert(alias.to_lowercase(), Arc::clone(function));
    }
    map.insert(name.to_lowercase(), Arc::clone(function))
}

/// Functions that plans are made of, and those about Arrow's types: they have no meaning in SQL.
const INTERNAL: &[&str] = &[
    ASSIGN,
    CHECKED_CHAIN,
    EQUAL_FLOATS,
    INTERVAL_IN_DAYS,
    INTERVAL_KEY,
    INTERVAL_LENGTH,
    INTERVAL_OF_KEY,
    INTERVAL_TIMES,
    LIKE_PATTERN,
    RENAME_FIELDS,
    TIMESTAMP_TEXT,
    TO_COARSER,
    WRAPPING_SUM,
    "arrow_cast",
    "arrow_field",
    "arrow_metadata",
    "arrow_try_cast",
    "cast_to_type",
    "eq_any",
    "file_row_index",
    "ge_any",
    "gt_any",
    "input_file_name",
    "le_any",
    "lt_any",
    "ne_any",
    "try_cast_to_type",
    "union_extract",
    "union_tag",
    "version",
    "with_metadata",
];

impl Registry {
    /// Adds a scalar function under its name and aliases, in place of what they meant before.
    pub fn add_scalar(&mut self, udf: &Arc<ScalarUDF>) -> Option<Arc<ScalarUDF>> {
        insert(&mut self.scalar, udf.name(), udf.aliases(), udf)
    }

    /// Finds a scalar function.
    pub fn scalar(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scalar.get(&name.to_lowercase()).cloned()
    }

    /// Finds a function that takes lambdas.
    pub fn higher_order(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.higher_order.get(&name.to_lowercase()).cloned()
    }

    /// Finds an aggregate function.
    pub fn aggregate(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregate.get(&name.to_lowercase()).cloned()
    }

    /// Finds a window function, as in `OVER (…)`.
    pub fn window(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.window.get(&name.to_lowercase()).cloned()
    }

    /// Returns the names of what people call, in lower case, sorted, each once.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .scalar
            .keys()
            .chain(self.higher_order.keys())
            .chain(self.aggregate.keys())
            .chain(self.window.keys())
            .map(String::as_str)
            .filter(|name| !INTERNAL.contains(name) && Arithmetic::of(name).is_none())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl FunctionRegistry for Registry {
    fn udfs(&self) -> HashSet<String> {
        self.scalar.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> HashSet<String> {
        self.higher_order.keys().cloned().collect()
    }

    fn udafs(&self) -> HashSet<String> {
        self.aggregate.keys().cloned().collect()
    }

    fn udwfs(&self) -> HashSet<String> {
        self.window.keys().cloned().collect()
    }

    fn udf(&self, name: &str) -> Result<Arc<ScalarUDF>> {
        self.scalar(name).map_or_else(|| plan_err!("there is no function {name}"), Ok)
    }

    fn higher_order_function(&self, name: &str) -> Result<Arc<HigherOrderUDF>> {
        self.higher_order(name).map_or_else(|| plan_err!("there is no function {name}"), Ok)
    }

    fn udaf(&self, name: &str) -> Result<Arc<AggregateUDF>> {
        self.aggregate(name).map_or_else(|| plan_err!("there is no aggregate {name}"), Ok)
    }

    fn udwf(&self, name: &str) -> Result<Arc<WindowUDF>> {
        self.window(name).map_or_else(|| plan_err!("there is no window function {name}"), Ok)
    }

    fn register_udf(&mut self, udf: Arc<ScalarUDF>) -> Result<Option<Arc<ScalarUDF>>> {
        Ok(self.add_scalar(&udf))
    }

    fn expr_planners(&self) -> Vec<Arc<dyn ExprPlanner>> {
        self.expr_planners.clone()
    }
}

#[cfg(test)]
mod planned_types_tests;
