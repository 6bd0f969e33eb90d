//! Comparisons in expressions.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlanBuilder, Subquery, when};
use rainstorm_engine::function::interval_length;

use super::{Equality, call, is_interval, is_of, refuse_holding};
use crate::coerce::compared::compared;

/// Functions that compare the elements of arrays.
const OF_ELEMENTS: &[&str] = &[
    "array_contains",
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
    "eq_any",
    "ge_any",
    "gt_any",
    "le_any",
    "lt_any",
    "ne_any",
];

impl Equality {
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
            Expr::InSubquery(mut test) => {
                let changed = self.against_query(&mut test.expr, &mut test.subquery, schema)?;
                Ok(Transformed::new_transformed(Expr::InSubquery(test), changed))
            }
            Expr::SetComparison(mut test) => {
                let changed = self.against_query(&mut test.expr, &mut test.subquery, schema)?;
                Ok(Transformed::new_transformed(Expr::SetComparison(test), changed))
            }
            mut expr => {
                let by_operator = matches!(expr, Expr::BinaryExpr(_) | Expr::Between(_));
                let changed = self.compare(compared(&mut expr), by_operator, schema)?;
                Ok(Transformed::new_transformed(expr, changed))
            }
        }
    }

    /// Makes of expressions that are compared with each other, by an operator or by hashes, such
    /// that equal values are the same.
    fn compare(
        &self,
        mut exprs: Vec<&mut Expr>,
        by_operator: bool,
        schema: &DFSchema,
    ) -> Result<bool> {
        for expr in &exprs {
            refuse_holding(expr, schema)?;
        }
        if !exprs.iter().any(|expr| is_interval(expr, schema)) {
            let mut changed = false;
            for expr in &mut exprs {
                changed |= if by_operator {
                    self.as_operand(expr, schema)?
                } else {
                    self.as_compared(expr, schema)?
                };
            }
            return Ok(changed);
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

    fn against_query(
        &self,
        expr: &mut Expr,
        subquery: &mut Subquery,
        schema: &DFSchema,
    ) -> Result<bool> {
        if !self.as_operand(expr, schema)? {
            return Ok(false);
        }
        let inner = Arc::clone(&subquery.subquery);
        let columns = inner.schema().columns().into_iter().map(|column| {
            let name = column.name.clone();
            let mut column = Expr::Column(column);
            self.as_operand(&mut column, inner.schema())?;
            Ok(column.alias(name))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let plan = LogicalPlanBuilder::from(Arc::clone(&inner)).project(columns)?;
        *subquery = subquery.with_plan(Arc::new(plan.build()?));
        Ok(true)
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
        let has_intervals = function.args.iter().any(|argument| is_interval(argument, schema));
        if !has_intervals {
            // Of numbers that are equal GREATEST and LEAST may take either.
            let compares = name == "nullif" || !is_choice;
            let mut changed = false;
            for argument in function.args.iter_mut().filter(|_| compares) {
                changed |= self.as_compared(argument, schema)?;
            }
            let call = Expr::ScalarFunction(function);
            return Ok(Transformed::new_transformed(call, changed));
        }
        if !is_choice {
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
