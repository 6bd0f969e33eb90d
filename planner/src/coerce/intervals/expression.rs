//! Comparisons in expressions.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{InSubquery, ScalarFunction, SetComparison};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlanBuilder, Subquery, when};
use rainstorm_engine::function::interval_length;

use super::{Intervals, call, is_compared_interval, is_interval, is_of, refuse_holding};
use crate::coerce::compared::compared;

/// Functions that compare the elements of arrays.
const OF_ELEMENTS: &[&str] = &[
    "array_distinct",
    "array_except",
    "array_has",
    "array_has_all",
    "array_has_any",
    "array_intersect",
    "array_max",
    "array_min",
    "array_position",
    "array_positions",
    "array_remove",
    "array_remove_all",
    "array_remove_n",
    "array_replace",
    "array_replace_all",
    "array_replace_n",
    "array_sort",
    "array_union",
];

impl Intervals {
    /// Rewrites an expression whose parts have been.
    ///
    /// # Errors
    /// `Unsupported` where rows or arrays of intervals are compared.
    pub(in crate::coerce) fn of_expr(
        &self,
        expr: Expr,
        schema: &DFSchema,
    ) -> Result<Transformed<Expr>> {
        match expr {
            Expr::ScalarFunction(function) => self.of_function(function, schema),
            Expr::InSubquery(test) if is_compared_interval(&test.expr, schema)? => {
                let InSubquery { expr, subquery, negated } = test;
                let (expr, subquery) = self.against_query(*expr, &subquery)?;
                Ok(Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery, negated })))
            }
            Expr::SetComparison(test) if is_compared_interval(&test.expr, schema)? => {
                let SetComparison { expr, subquery, op, quantifier } = test;
                let (expr, subquery) = self.against_query(*expr, &subquery)?;
                let test = SetComparison { expr, subquery, op, quantifier };
                Ok(Transformed::yes(Expr::SetComparison(test)))
            }
            mut expr => {
                let changed = self.compare(compared(&mut expr), schema)?;
                Ok(Transformed::new_transformed(expr, changed))
            }
        }
    }

    /// Makes expressions that are compared with each other lengths, where they are intervals.
    fn compare(&self, exprs: Vec<&mut Expr>, schema: &DFSchema) -> Result<bool> {
        for expr in &exprs {
            refuse_holding(expr, schema)?;
        }
        if !exprs.iter().any(|expr| is_interval(expr, schema)) {
            return Ok(false);
        }
        let durations: Option<Vec<Expr>> = unit_of(&exprs, schema)
            .and_then(|unit| exprs.iter().map(|expr| duration(expr, unit, schema)).collect());
        if let Some(durations) = durations {
            for (expr, duration) in exprs.into_iter().zip(durations) {
                *expr = duration;
            }
            return Ok(true);
        }
        for expr in exprs {
            *expr = self.length_of(without_cast(std::mem::take(expr), schema));
        }
        Ok(true)
    }

    fn against_query(&self, expr: Expr, subquery: &Subquery) -> Result<(Box<Expr>, Subquery)> {
        let columns = subquery.subquery.schema().columns();
        let lengths = columns.into_iter().map(|column| {
            let name = column.name.clone();
            self.length_of(Expr::Column(column)).alias(name)
        });
        let lengths: Vec<Expr> = lengths.collect();
        let plan = LogicalPlanBuilder::from(Arc::clone(&subquery.subquery)).project(lengths)?;
        let subquery = subquery.with_plan(Arc::new(plan.build()?));
        Ok((Box::new(self.length_of(expr)), subquery))
    }

    fn of_function(
        &self,
        mut function: ScalarFunction,
        schema: &DFSchema,
    ) -> Result<Transformed<Expr>> {
        let name = function.func.name();
        let is_choice = matches!(name, "nullif" | "greatest" | "least");
        if !is_choice && !OF_ELEMENTS.contains(&name) {
            return Ok(Transformed::no(Expr::ScalarFunction(function)));
        }
        for argument in &function.args {
            refuse_holding(argument, schema)?;
        }
        if !is_choice || !function.args.iter().any(|argument| is_interval(argument, schema)) {
            return Ok(Transformed::no(Expr::ScalarFunction(function)));
        }
        if let ("nullif", [one, other]) = (name, function.args.as_slice()) {
            let null = ScalarValue::try_from(&one.get_type(schema)?)?;
            let equal = self.length_of(one.clone()).eq(self.length_of(other.clone()));
            let case = when(equal, Expr::Literal(null, None)).otherwise(one.clone())?;
            return Ok(Transformed::yes(case));
        }
        for argument in &mut function.args {
            *argument = call(&self.key, std::mem::take(argument));
        }
        Ok(Transformed::yes(call(&self.of_key, Expr::ScalarFunction(function))))
    }
}

/// Returns the duration that an interval was made of: it may be too long for one.
fn without_cast(expr: Expr, schema: &DFSchema) -> Expr {
    match expr {
        Expr::Cast(Cast { expr, .. })
            if matches!(expr.get_type(schema), Ok(DataType::Duration(_))) =>
        {
            *expr
        }
        expr => expr,
    }
}

/// Returns the unit of the first expression that was a duration.
fn unit_of(exprs: &[&mut Expr], schema: &DFSchema) -> Option<TimeUnit> {
    exprs.iter().find_map(|expr| match expr {
        Expr::Cast(Cast { expr, field }) if is_of(field.data_type()) => {
            match expr.get_type(schema) {
                Ok(DataType::Duration(unit)) => Some(unit),
                _ => None,
            }
        }
        _ => None,
    })
}

/// Returns what an expression is as a duration, where it was one or is written down: durations are
/// compared as integers.
fn duration(expr: &Expr, unit: TimeUnit, schema: &DFSchema) -> Option<Expr> {
    match expr {
        Expr::Cast(Cast { expr, .. }) => {
            let is_one = expr.get_type(schema).ok()? == DataType::Duration(unit);
            is_one.then(|| expr.as_ref().clone())
        }
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) => {
            let (nanos_per_unit, make): (i128, fn(Option<i64>) -> ScalarValue) = match unit {
                TimeUnit::Second => (1_000_000_000, ScalarValue::DurationSecond),
                TimeUnit::Millisecond => (1_000_000, ScalarValue::DurationMillisecond),
                TimeUnit::Microsecond => (1000, ScalarValue::DurationMicrosecond),
                TimeUnit::Nanosecond => (1, ScalarValue::DurationNanosecond),
            };
            let length = interval_length(*interval);
            let count = i64::try_from(length / nanos_per_unit).ok()?;
            (length % nanos_per_unit == 0).then(|| Expr::Literal(make(Some(count)), None))
        }
        _ => None,
    }
}
