//! Constants, computed before anything runs.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, Volatility,
};
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;
use datafusion::physical_expr::create_physical_expr;
use rainstorm_engine::function::MAX_LENGTH;
use sqlparser::tokenizer::Span;

use crate::error::{SqlError, SqlErrorCode, fail};

/// Computes what is constant and could not be folded. What CASE, AND, OR and COALESCE may never
/// get to is left alone.
pub(super) fn constants(expr: &Expr) -> Result<()> {
    expr.apply(|part| {
        if is_lazy(part) {
            return Ok(TreeNodeRecursion::Jump);
        }
        let folds = !matches!(part, Expr::Literal(..) | Expr::Alias(_)) && is_constant(part)?;
        if !folds {
            return Ok(TreeNodeRecursion::Continue);
        }
        compute(part)?;
        Ok(TreeNodeRecursion::Jump)
    })
    .map(drop)
}

/// Returns the value of an expression that has the same in every row, if it has one.
pub(crate) fn constant_value(expr: &Expr) -> Option<ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value.clone()),
        expr if is_constant(expr).is_ok_and(|is_constant| is_constant) => compute(expr).ok()?,
        _ => None,
    }
}

/// Computes an expression without columns; `None` where it cannot be planned.
fn compute(expr: &Expr) -> Result<Option<ScalarValue>> {
    let empty = DFSchema::empty();
    let planning = PhysicalPlanningContext::default();
    let Ok(physical) = create_physical_expr(expr, &empty, &ExecutionProps::new(), &planning) else {
        return Ok(None);
    };
    let row = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &row)?;
    Ok(Some(match physical.evaluate(&row)? {
        ColumnarValue::Scalar(value) => value,
        ColumnarValue::Array(values) => ScalarValue::try_from_array(&values, 0)?,
    }))
}

/// Functions with an argument that is the name of a unit or the like, and its place.
const WITH_OPTIONS: &[(&str, usize)] = &[
    ("date_trunc", 0),
    ("date_part", 0),
    ("date_bin", 0),
    ("encode", 1),
    ("decode", 1),
    ("regexp_count", 1),
    ("regexp_instr", 1),
    ("regexp_like", 1),
    ("regexp_match", 1),
    ("regexp_replace", 1),
    ("timestampdiff", 0),
];

/// Calls functions whose options are constants with some value in place of the columns.
pub(super) fn options_of_functions(expr: &Expr, schema: &DFSchema) -> Result<()> {
    expr.apply(|part| {
        if is_lazy(part) {
            return Ok(TreeNodeRecursion::Jump);
        }
        let Expr::ScalarFunction(call) = part else { return Ok(TreeNodeRecursion::Continue) };
        let is_known = |(name, place): &(&str, usize)| {
            *name == call.func.name() && matches!(call.args.get(*place), Some(Expr::Literal(..)))
        };
        if WITH_OPTIONS.iter().any(is_known) {
            let mut call = call.clone();
            for argument in &mut call.args {
                if !matches!(argument, Expr::Literal(..)) {
                    let value = ScalarValue::new_default(&argument.get_type(schema)?)?;
                    *argument = Expr::Literal(value, None);
                }
            }
            compute(&Expr::ScalarFunction(call))?;
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map(drop)
}

/// Creates every aggregate function, which is where they look at their constants.
pub(super) fn constants_of_aggregates(plan: &LogicalPlan) -> Result<()> {
    let (props, planning) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    plan.apply_with_subqueries(|node| {
        let LogicalPlan::Aggregate(Aggregate { input, aggr_expr, .. }) = node else {
            return Ok(TreeNodeRecursion::Continue);
        };
        let schema = input.schema();
        for expr in aggr_expr {
            let call =
                LoweredAggregateBuilder::new(expr, schema, schema.as_arrow(), &props, &planning);
            // What cannot be planned is told in better words where the job is.
            if let Ok(lowered) = call.build() {
                lowered.aggregate.create_accumulator()?;
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map(drop)
}

/// Functions that make a text as long as their second argument says.
pub(super) const MAKES_TEXT: &[&str] = &["lpad", "repeat", "rpad"];

/// Refuses texts that are too long to be made, which would be tried while planning already.
pub(super) fn made_text(name: &str, args: &[Expr]) -> Result<()> {
    let [text, length, ..] = args else { return Ok(()) };
    let number = constant_value(length).filter(|value| value.data_type().is_integer());
    let Some(times) = number.and_then(|value| value.to_string().parse::<i128>().ok()) else {
        return Ok(());
    };
    let each = match constant_value(text) {
        Some(text) if name == "repeat" => text.try_as_str().flatten().map_or(1, str::len),
        _ => 1,
    };
    if times.saturating_mul(each as i128) <= i128::from(MAX_LENGTH) {
        return Ok(());
    }
    let name = name.to_uppercase();
    let message = format!("{name} would make a text of more than {MAX_LENGTH} bytes");
    Err(fail(SqlError::at(SqlErrorCode::Type, Span::empty(), message)))
}

/// Functions over rows with an argument that is the same number for all of them: its place, and
/// what it may be.
const NUMBERS_OF_ROWS: &[(&str, usize, Takes)] = &[
    ("nth_value", 1, Takes::OtherThanZero),
    ("ntile", 0, Takes::Positive),
    ("lag", 1, Takes::Any),
    ("lead", 1, Takes::Any),
];

#[derive(Clone, Copy, PartialEq)]
enum Takes {
    Any,
    OtherThanZero,
    Positive,
}

/// Refuses numbers of rows that no row has, where DataFusion would fail on the first one or answer
/// with nulls.
pub(super) fn numbers_of_rows(name: &str, args: &[Expr]) -> Result<()> {
    let Some((_, place, takes)) = NUMBERS_OF_ROWS.iter().find(|(known, ..)| *known == name) else {
        return Ok(());
    };
    let Some(argument) = args.get(*place) else { return Ok(()) };
    let value = constant_value(argument);
    let number = value.as_ref().filter(|value| value.data_type().is_integer() && !value.is_null());
    let number = number.and_then(|value| value.to_string().parse::<i128>().ok());
    let wanted = match takes {
        Takes::Any => "a whole number",
        Takes::OtherThanZero => "a whole number other than 0",
        Takes::Positive => "a positive whole number",
    };
    let fits = number.is_some_and(|number| match takes {
        Takes::Any => true,
        Takes::OtherThanZero => number != 0,
        Takes::Positive => number > 0,
    });
    if fits {
        return Ok(());
    }
    let found = value.map_or_else(|| "an expression of rows".to_owned(), |value| value.to_string());
    let message = format!("{} takes {wanted}, not {found}", name.to_uppercase());
    Err(fail(SqlError::at(SqlErrorCode::Type, Span::empty(), message)))
}

fn is_lazy(expr: &Expr) -> bool {
    match expr {
        Expr::Case(_) | Expr::TryCast(_) => true,
        Expr::BinaryExpr(binary) => matches!(binary.op, Operator::And | Operator::Or),
        Expr::ScalarFunction(call) => call.func.short_circuits(),
        _ => false,
    }
}

fn is_constant(expr: &Expr) -> Result<bool> {
    let varies = expr.exists(|part| {
        Ok(match part {
            Expr::ScalarFunction(call) => call.func.signature().volatility != Volatility::Immutable,
            Expr::Literal(..)
            | Expr::BinaryExpr(_)
            | Expr::Negative(_)
            | Expr::Not(_)
            | Expr::Cast(_)
            | Expr::Alias(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_) => false,
            _ => true,
        })
    })?;
    Ok(!varies)
}
