//! What must hold of the types and constants of a bound plan, and what binding does not look at.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Aggregate, Between, BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, Volatility,
};
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerContext};
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;
use datafusion::physical_expr::create_physical_expr;
use rainstorm_engine::wording::type_sql;
use sqlparser::tokenizer::Span;

use super::rows::same_shape;
use crate::error::{SqlError, SqlErrorCode, fail, span_from};
use crate::options::options;

/// Checks the types of a plan that is not coerced yet.
///
/// # Errors
/// The first type that does not fit.
pub(super) fn check_types(plan: &LogicalPlan) -> Result<()> {
    each_expression(plan, |expr, schema| expr.apply(|part| of_expression(part, schema)).map(drop))?;
    plan.apply_with_subqueries(|node| match node {
        LogicalPlan::Union(union) => {
            let inputs: Vec<&LogicalPlan> = union.inputs.iter().map(AsRef::as_ref).collect();
            alike_columns("UNION", &inputs)?;
            Ok(TreeNodeRecursion::Continue)
        }
        _ => Ok(TreeNodeRecursion::Continue),
    })
    .map(drop)
}

/// Computes the constants of a coerced plan, so that what would fail on every row fails now.
///
/// # Errors
/// The first constant that cannot be computed.
pub(crate) fn check_constants(plan: &LogicalPlan) -> Result<()> {
    // Without a start time nothing folds the current time into a constant.
    let context = OptimizerContext::new_with_config_options(Arc::new(options()))
        .without_query_execution_start_time();
    let simplify = Optimizer::with_rules(vec![Arc::new(SimplifyExpressions::new())]);
    let simplified = simplify.optimize(plan.clone(), &context, |_, _| {})?;
    each_expression(&simplified, |expr, schema| {
        constants(expr)?;
        options_of_functions(expr, schema)
    })?;
    constants_of_aggregates(&simplified)
}

fn each_expression(
    plan: &LogicalPlan,
    mut look: impl FnMut(&Expr, &DFSchema) -> Result<()>,
) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|expr| {
            look(expr, &schema)?;
            Ok(TreeNodeRecursion::Continue)
        })
    })
    .map(drop)
}

fn of_expression(expr: &Expr, schema: &DFSchema) -> Result<TreeNodeRecursion> {
    match expr {
        Expr::Case(case) => {
            for (when, _) in &case.when_then_expr {
                match &case.expr {
                    Some(operand) => comparable(operand, Operator::Eq, when, schema)?,
                    None => is_condition(when, schema, "WHEN")?,
                }
            }
        }
        Expr::AggregateFunction(call) => {
            if let Some(filter) = &call.params.filter {
                is_condition(filter, schema, "FILTER")?;
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) => {
            comparable(left, *op, right, schema)?;
        }
        Expr::InList(list) => {
            for value in &list.list {
                comparable(&list.expr, Operator::Eq, value, schema)?;
            }
        }
        Expr::Cast(Cast { expr, field }) => {
            let from = expr.get_type(schema)?;
            if !can_cast_types(&from, field.data_type()) || !same_shape(&from, field.data_type()) {
                let types = format!("{} to {}", type_sql(&from), type_sql(field.data_type()));
                let message = format!("cannot cast {types}");
                return Err(fail(SqlError::at(SqlErrorCode::Type, span_of(expr), message)));
            }
            if from.is_temporal() && is_short(field.data_type()) && !is_days(&from) {
                let types = format!("{} to {}", type_sql(&from), type_sql(field.data_type()));
                let error =
                    SqlError::at(SqlErrorCode::Type, span_of(expr), format!("cannot cast {types}"));
                return Err(fail(error.with_help("it does not fit; cast to BIGINT")));
            }
        }
        Expr::ScalarFunction(call) if MAP_ELEMENTS.contains(&call.func.name()) => {
            if let [map, key, ..] = call.args.as_slice() {
                is_key(map, key, schema)?;
            }
        }
        Expr::ScalarFunction(call) if ALIKE.contains(&call.func.name()) => {
            alike(&call.func.name().to_uppercase(), &call.args, schema)?;
        }
        Expr::Between(Between { expr, low, high, .. }) => {
            comparable(expr, Operator::GtEq, low, schema)?;
            comparable(expr, Operator::LtEq, high, schema)?;
        }
        _ => {}
    }
    Ok(TreeNodeRecursion::Continue)
}

/// Refuses texts beside other values in the queries of a set operation: DataFusion turns one into
/// the other.
///
/// # Errors
/// `Type`, where the columns differ first.
pub(crate) fn alike_columns(operation: &str, queries: &[&LogicalPlan]) -> Result<()> {
    let Some((first, others)) = queries.split_first() else { return Ok(()) };
    for other in others {
        let columns = first.schema().fields().iter().zip(other.schema().fields());
        for (index, (before, found)) in columns.enumerate() {
            let (before, found) = (before.data_type(), found.data_type());
            let differ = |text: &DataType, other: &DataType| {
                text.is_string() && !other.is_string() && !other.is_null()
            };
            if differ(before, found) || differ(found, before) {
                let message = format!(
                    "the queries of {operation} differ: column {} is {}, before it is {}",
                    index + 1,
                    type_sql(found),
                    type_sql(before)
                );
                let span = match other {
                    LogicalPlan::Projection(projection) => span_of(&projection.expr[index]),
                    _ => Span::empty(),
                };
                let error = SqlError::at(SqlErrorCode::Type, span, message);
                return Err(fail(error.with_help("write CAST(… AS …) around one of them")));
            }
        }
    }
    Ok(())
}

/// Tells whether an operator compares values in the order of their type.
pub(crate) fn compares(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
    )
}

fn is_condition(expr: &Expr, schema: &DFSchema, clause: &str) -> Result<()> {
    match expr.get_type(schema)? {
        DataType::Boolean | DataType::Null => Ok(()),
        other => {
            let message = format!("{clause} takes a BOOLEAN, not {}", type_sql(&other));
            Err(fail(SqlError::at(SqlErrorCode::Type, span_of(expr), message)))
        }
    }
}

/// DataFusion compares a text with a number by reading the text as one, row by row, and fails on
/// the first that is none. A literal is read when the query is planned; for others that is asked
/// for with CAST.
fn comparable(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Result<()> {
    if matches!(left, Expr::Literal(..)) && matches!(right, Expr::Literal(..)) {
        return Ok(());
    }
    let (left_type, right_type) = (left.get_type(schema)?, right.get_type(schema)?);
    for (text, of, other) in [(left, &left_type, &right_type), (right, &right_type, &left_type)] {
        if of.is_string() && other.is_numeric() && !matches!(text, Expr::Literal(..)) {
            let message =
                format!("cannot compare {} {op} {}", type_sql(&left_type), type_sql(&right_type));
            let span = span_of(text);
            let error = SqlError::at(SqlErrorCode::Type, span, message);
            return Err(fail(error.with_help(cast_help(text, other))));
        }
    }
    Ok(())
}

/// Tells whether a type of numbers is too short for times.
fn is_short(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int8 | DataType::Int16 | DataType::Int32)
}

fn is_days(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Time32(_))
}

/// Functions of a map and a key.
const MAP_ELEMENTS: &[&str] = &["get_field", "map_extract"];

/// DataFusion looks a key of another type up as a text, and finds nothing.
fn is_key(map: &Expr, key: &Expr, schema: &DFSchema) -> Result<()> {
    let DataType::Map(entries, _) = map.get_type(schema)? else { return Ok(()) };
    let DataType::Struct(pair) = entries.data_type() else { return Ok(()) };
    let (wanted, found) = (pair[0].data_type(), key.get_type(schema)?);
    if wanted.is_string() == found.is_string() || found.is_null() {
        return Ok(());
    }
    let message = format!("keys of this map are {}, not {}", type_sql(wanted), type_sql(&found));
    Err(fail(SqlError::at(SqlErrorCode::Type, span_of(map), message)))
}

/// Functions that return one of their arguments, for which these must have a common type.
const ALIKE: &[&str] = &["coalesce", "greatest", "least", "nullif", "nvl"];

/// Refuses texts beside numbers: DataFusion would read the texts as numbers, row by row. Literals
/// are read when the query is planned.
fn alike(function: &str, args: &[Expr], schema: &DFSchema) -> Result<()> {
    let types = args.iter().map(|arg| arg.get_type(schema)).collect::<Result<Vec<_>>>()?;
    let Some(number) = types.iter().find(|data_type| data_type.is_numeric()) else {
        return Ok(());
    };
    let text = args
        .iter()
        .zip(&types)
        .find(|(arg, data_type)| data_type.is_string() && !matches!(arg, Expr::Literal(..)));
    let Some((text, _)) = text else { return Ok(()) };
    let names: Vec<String> = types.iter().map(type_sql).collect();
    let message = format!("{function} does not take ({})", names.join(", "));
    let error = SqlError::at(SqlErrorCode::Type, span_of(text), message);
    Err(fail(error.with_help(cast_help(text, number))))
}

fn cast_help(text: &Expr, to: &DataType) -> String {
    match text {
        Expr::Column(column) => format!("write CAST({} AS {})", column.name, type_sql(to)),
        _ => format!("write CAST(… AS {})", type_sql(to)),
    }
}

/// Returns where a column stands; other expressions do not say it.
fn span_of(expr: &Expr) -> Span {
    let span = match expr {
        Expr::Column(column) => column.spans().first(),
        _ => None,
    };
    span.as_ref().map_or_else(Span::empty, span_from)
}

/// Computes what is constant and could not be folded. What CASE, AND, OR and COALESCE may never
/// get to is left alone.
fn constants(expr: &Expr) -> Result<()> {
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

/// Computes an expression without columns.
fn compute(expr: &Expr) -> Result<()> {
    let empty = DFSchema::empty();
    let planning = PhysicalPlanningContext::default();
    let Ok(physical) = create_physical_expr(expr, &empty, &ExecutionProps::new(), &planning) else {
        return Ok(());
    };
    let row = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &row)?;
    physical.evaluate(&row).map(drop)
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
];

/// Calls functions whose options are constants with some value in place of the columns.
fn options_of_functions(expr: &Expr, schema: &DFSchema) -> Result<()> {
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
fn constants_of_aggregates(plan: &LogicalPlan) -> Result<()> {
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
