//! Values that are equal though they are not the same.
//!
//! INTERVALs compare by their length: a month has 30 days and a day 24 hours, as in PostgreSQL.
//! Arrow compares months, then days, then nanoseconds: 36 hours would be less than a day. So what
//! compares or sorts intervals does so with their lengths, what groups them with intervals written
//! in days, which are equal where lengths are, and MIN and MAX with keys that hold the interval.
//!
//! 0.0 and -0.0 are equal, and so are all NaN. Where DataFusion tells them apart, which is wherever
//! it does not compare two numbers by an operator, they are made one value before.
//!
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
    EQUAL_FLOATS, INTERVAL_IN_DAYS, INTERVAL_KEY, INTERVAL_LENGTH, INTERVAL_OF_KEY, Registry,
    holds_floats,
};
use sqlparser::tokenizer::Span;

use crate::error::{fail, unsupported};
use crate::stream::unaliased;

/// The functions that stand around such values.
pub(super) struct Equality {
    length: Arc<ScalarUDF>,
    key: Arc<ScalarUDF>,
    of_key: Arc<ScalarUDF>,
    in_days: Arc<ScalarUDF>,
    floats: Arc<ScalarUDF>,
}

/// Values that may be equal and not the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alike {
    Intervals,
    Floats,
    /// Rows, arrays and maps that hold some.
    NestedFloats,
}

impl Equality {
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
            floats: functions.udf(EQUAL_FLOATS)?,
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

    /// Makes what OVER sorts by a length, where it is an interval or a duration, and equal floats one
    /// value: no frame can be coerced to go with them.
    ///
    /// # Errors
    /// `Unsupported` where rows or arrays of intervals are compared.
    pub(super) fn as_sorted(&self, key: &mut Expr, schema: &DFSchema) -> Result<bool> {
        if matches!(key.get_type(schema), Ok(DataType::Duration(_))) {
            *key = self.length_of(std::mem::take(key));
            return Ok(true);
        }
        self.as_compared(key, schema)
    }

    /// Makes what is sorted by or looked for such that equal values are the same.
    fn as_compared(&self, key: &mut Expr, schema: &DFSchema) -> Result<bool> {
        Ok(self.make_same(key, alike(key, schema)?))
    }

    /// Does the same to one side of a comparison, which takes care of floats that stand alone.
    fn as_operand(&self, key: &mut Expr, schema: &DFSchema) -> Result<bool> {
        let alike = alike(key, schema)?.filter(|alike| *alike != Alike::Floats);
        Ok(self.make_same(key, alike))
    }

    fn make_same(&self, key: &mut Expr, alike: Option<Alike>) -> bool {
        let function = match alike {
            Some(Alike::Intervals) => &self.length,
            Some(Alike::Floats | Alike::NestedFloats) => &self.floats,
            None => return false,
        };
        let changes = !is_call(key, function);
        if changes {
            *key = call(function, std::mem::take(key));
        }
        changes
    }

    /// Returns the function that makes equal values of an expression the same one of them, unless
    /// that has been done.
    fn grouping(&self, expr: &Expr, schema: &DFSchema) -> Result<Option<&Arc<ScalarUDF>>> {
        let function = match alike(expr, schema)? {
            Some(Alike::Intervals) => &self.in_days,
            Some(Alike::Floats | Alike::NestedFloats) => &self.floats,
            None => return Ok(None),
        };
        Ok((!is_call(expr, function)).then_some(function))
    }

    fn sort_keys(&self, keys: &mut [SortExpr], schema: &DFSchema) -> Result<bool> {
        let mut changed = false;
        for key in keys {
            changed |= self.as_compared(&mut key.expr, schema)?;
        }
        Ok(changed)
    }

    fn of_join(&self, mut join: Join) -> Result<Transformed<LogicalPlan>> {
        let mut changed = false;
        for (left, right) in &mut join.on {
            // A duration beside an interval is cast to one before.
            let kinds = [alike(left, join.left.schema())?, alike(right, join.right.schema())?];
            if kinds[0] == kinds[1] {
                changed |= self.as_operand(left, join.left.schema())?;
                changed |= self.as_operand(right, join.right.schema())?;
            }
        }
        Ok(Transformed::new_transformed(LogicalPlan::Join(join), changed))
    }

    /// Makes equal values of what is to be distinct the same.
    fn of_distinct(&self, input: Arc<LogicalPlan>) -> Result<Transformed<LogicalPlan>> {
        let is_done = |index: usize, function: &Arc<ScalarUDF>| match input.as_ref() {
            LogicalPlan::Projection(projection) => is_call(&projection.expr[index], function),
            _ => false,
        };
        let mut changed = false;
        let mut columns = Vec::with_capacity(input.schema().fields().len());
        for (index, (qualifier, field)) in input.schema().iter().enumerate() {
            let column = Expr::from((qualifier, field));
            columns.push(match self.grouping(&column, input.schema())? {
                Some(function) if !is_done(index, function) => {
                    changed = true;
                    call(function, column).alias_qualified(qualifier.cloned(), field.name())
                }
                _ => column,
            });
        }
        if !changed {
            return Ok(Transformed::no(LogicalPlan::Distinct(Distinct::All(input))));
        }
        let projection = Projection::try_new(columns, input)?;
        let input = Arc::new(LogicalPlan::Projection(projection));
        Ok(Transformed::yes(LogicalPlan::Distinct(Distinct::All(input))))
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

/// Tells whether an expression is a call of a function.
fn is_call(expr: &Expr, function: &Arc<ScalarUDF>) -> bool {
    matches!(unaliased(expr), Expr::ScalarFunction(call) if call.func == *function)
}

/// Tells whether an expression is an interval.
fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    // What has no type is complained about elsewhere.
    expr.get_type(schema).is_ok_and(|data_type| is_of(&data_type))
}

/// Tells which values that are compared may be equal and not the same.
///
/// # Errors
/// `Unsupported` where they are rows or arrays that hold intervals.
fn alike(expr: &Expr, schema: &DFSchema) -> Result<Option<Alike>> {
    refuse_holding(expr, schema)?;
    // What has no type is complained about elsewhere.
    let Ok(data_type) = expr.get_type(schema) else { return Ok(None) };
    Ok(match data_type {
        interval if is_of(&interval) => Some(Alike::Intervals),
        simple if simple.is_floating() => Some(Alike::Floats),
        nested if holds_floats(&nested) => Some(Alike::NestedFloats),
        _ => None,
    })
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
