//! INTERVALs compare by their length: a month has 30 days and a day 24 hours, as in PostgreSQL.
//!
//! Arrow compares months, then days, then nanoseconds: 36 hours would be less than a day. So what
//! compares or sorts intervals does so with their lengths, what groups them with intervals written
//! in days, which are equal where lengths are, and MIN and MAX with keys that hold the interval.
//! Nothing is done twice to a plan that has been through here.

mod aggregate;
mod expression;

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    Distinct, Expr, ExprSchemable, Join, LogicalPlan, Projection, ScalarUDF, SortExpr,
};
use rainstorm_engine::function::{
    INTERVAL_IN_DAYS, INTERVAL_KEY, INTERVAL_LENGTH, INTERVAL_OF_KEY, Registry,
};
use sqlparser::tokenizer::Span;

use crate::error::{fail, unsupported};
use crate::stream::unaliased;

/// The functions that stand around intervals.
pub(super) struct Intervals {
    length: Arc<ScalarUDF>,
    key: Arc<ScalarUDF>,
    of_key: Arc<ScalarUDF>,
    in_days: Arc<ScalarUDF>,
}

impl Intervals {
    /// Finds the functions.
    ///
    /// # Errors
    /// Where the registry lacks them.
    pub(super) fn new(functions: &Registry) -> Result<Self> {
        Ok(Self {
            length: functions.udf(INTERVAL_LENGTH)?,
            key: functions.udf(INTERVAL_KEY)?,
            of_key: functions.udf(INTERVAL_OF_KEY)?,
            in_days: functions.udf(INTERVAL_IN_DAYS)?,
        })
    }

    /// Rewrites a node whose expressions have been, in a plan whose types are coerced.
    ///
    /// # Errors
    /// `Unsupported` where rows or arrays of intervals are compared.
    pub(super) fn of_node(&self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Aggregate(aggregate) => self.of_aggregate(aggregate),
            LogicalPlan::Window(window) => self.of_window(window),
            LogicalPlan::Sort(mut sort) => {
                let changed = self.sort_keys(&mut sort.expr, sort.input.schema())?;
                Ok(Transformed::new_transformed(LogicalPlan::Sort(sort), changed))
            }
            LogicalPlan::Join(join) => self.of_join(join),
            LogicalPlan::Distinct(Distinct::All(input)) => self.of_distinct(input),
            plan => Ok(Transformed::no(plan)),
        }
    }

    /// Makes what OVER sorts by a length, where it is an interval or a duration: no frame can be
    /// coerced to go with them.
    ///
    /// # Errors
    /// `Unsupported` where rows or arrays of intervals are compared.
    pub(super) fn as_length(&self, key: &mut Expr, schema: &DFSchema) -> Result<bool> {
        let is_duration = matches!(key.get_type(schema), Ok(DataType::Duration(_)));
        let changes = is_duration || is_compared_interval(key, schema)?;
        if changes {
            *key = self.length_of(std::mem::take(key));
        }
        Ok(changes)
    }

    /// Sorts by lengths.
    fn sort_keys(&self, keys: &mut [SortExpr], schema: &DFSchema) -> Result<bool> {
        let mut changed = false;
        for key in keys {
            if is_compared_interval(&key.expr, schema)? {
                key.expr = self.length_of(std::mem::take(&mut key.expr));
                changed = true;
            }
        }
        Ok(changed)
    }

    fn of_join(&self, mut join: Join) -> Result<Transformed<LogicalPlan>> {
        let mut changed = false;
        for (left, right) in &mut join.on {
            if is_compared_interval(left, join.left.schema())?
                && is_compared_interval(right, join.right.schema())?
            {
                *left = self.length_of(std::mem::take(left));
                *right = self.length_of(std::mem::take(right));
                changed = true;
            }
        }
        Ok(Transformed::new_transformed(LogicalPlan::Join(join), changed))
    }

    /// Writes the intervals of what is to be distinct in days.
    fn of_distinct(&self, input: Arc<LogicalPlan>) -> Result<Transformed<LogicalPlan>> {
        let known = |index: usize| match input.as_ref() {
            LogicalPlan::Projection(projection) => self.is_in_days(&projection.expr[index]),
            _ => false,
        };
        let mut changed = false;
        let mut columns = Vec::with_capacity(input.schema().fields().len());
        for (index, (qualifier, field)) in input.schema().iter().enumerate() {
            let column = Expr::from((qualifier, field));
            if is_compared_interval(&column, input.schema())? && !known(index) {
                let in_days = call(&self.in_days, column);
                columns.push(in_days.alias_qualified(qualifier.cloned(), field.name()));
                changed = true;
            } else {
                columns.push(column);
            }
        }
        if !changed {
            return Ok(Transformed::no(LogicalPlan::Distinct(Distinct::All(input))));
        }
        let projection = Projection::try_new(columns, input)?;
        let input = Arc::new(LogicalPlan::Projection(projection));
        Ok(Transformed::yes(LogicalPlan::Distinct(Distinct::All(input))))
    }

    fn is_in_days(&self, expr: &Expr) -> bool {
        matches!(unaliased(expr), Expr::ScalarFunction(call) if call.func == self.in_days)
    }

    fn length_of(&self, expr: Expr) -> Expr {
        call(&self.length, expr)
    }
}

fn call(function: &Arc<ScalarUDF>, expr: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), vec![expr]))
}

fn is_of(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(IntervalUnit::MonthDayNano))
}

/// Tells whether an expression is an interval.
fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    // What has no type is complained about elsewhere.
    expr.get_type(schema).is_ok_and(|data_type| is_of(&data_type))
}

/// Tells whether an expression that is compared is an interval.
///
/// # Errors
/// `Unsupported` where it is a row or an array that holds one.
fn is_compared_interval(expr: &Expr, schema: &DFSchema) -> Result<bool> {
    refuse_holding(expr, schema)?;
    Ok(is_interval(expr, schema))
}

/// Refuses rows and arrays that hold intervals, where they would be compared.
///
/// # Errors
/// `Unsupported`.
fn refuse_holding(expr: &Expr, schema: &DFSchema) -> Result<()> {
    if !expr.get_type(schema).is_ok_and(|data_type| holds_interval(&data_type)) {
        return Ok(());
    }
    let message = "comparing rows or arrays that hold an INTERVAL is not supported";
    let error = unsupported(Span::empty(), message);
    Err(fail(error.with_help("compare the INTERVAL by itself")))
}

fn holds_interval(data_type: &DataType) -> bool {
    let holds = |inner: &DataType| matches!(inner, DataType::Interval(_)) || holds_interval(inner);
    match data_type {
        DataType::Struct(fields) => fields.iter().any(|field| holds(field.data_type())),
        DataType::List(item) | DataType::Map(item, _) => holds(item.data_type()),
        _ => false,
    }
}
