//! UNION, INTERSECT and EXCEPT.
//!
//! DataFusion joins the sides of the latter on all their columns, where nulls are equal. Such a
//! join keeps or drops all copies of a row and gives it the left side's types. A UNION has its first
//! query's types until they are coerced, which what stands above would take for the whole's.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, JoinType, NullEquality, plan_datafusion_err};
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::type_coercion::binary::type_union_coercion;
use datafusion::logical_expr::{
    Distinct, Expr, ExprFunctionExt, Join, LogicalPlan, LogicalPlanBuilder, Projection, Union,
    WindowFunctionDefinition,
};
use datafusion::optimizer::analyzer::type_coercion::coerce_union_schema;
use rainstorm_engine::function::Registry;
use sqlparser::tokenizer::Span;

use super::agree::{agreed, converted};
use super::check::alike_columns;
use crate::error::{fail, unsupported};

/// Returns the word for what a join of a bound plan stands for. Nothing else that is written makes
/// joins in which nulls are equal.
fn word(join: &Join) -> Option<&'static str> {
    match (join.null_equality, join.join_type) {
        (NullEquality::NullEqualsNull, JoinType::LeftSemi) => Some("INTERSECT"),
        (NullEquality::NullEqualsNull, JoinType::LeftAnti) => Some("EXCEPT"),
        _ => None,
    }
}

/// Gives the queries of a UNION, INTERSECT or EXCEPT the types that their UNION has.
///
/// # Errors
/// Columns that have no common type, or a type whose values are not compared.
pub(super) fn common_types(
    plan: LogicalPlan,
    functions: &Registry,
) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Union(union) => of_union(union, functions),
        LogicalPlan::Join(join) => of_join(join, functions),
        other => Ok(Transformed::no(other)),
    }
}

fn of_union(union: Union, functions: &Registry) -> Result<Transformed<LogicalPlan>> {
    let queries: Vec<&LogicalPlan> = union.inputs.iter().map(AsRef::as_ref).collect();
    alike_columns("UNION", &queries)?;
    let Some(types) = union_types(&queries) else {
        // What has nothing in common is told where types are coerced.
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    };
    let is_typed = has_types(&union.schema, &types);
    if is_typed && queries.iter().all(|query| has_types(query.schema(), &types)) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let of_query = |query: Arc<LogicalPlan>| {
        if has_types(query.schema(), &types) {
            return Ok(query);
        }
        with_types(Arc::unwrap_or_clone(query), &types, functions).map(Arc::new)
    };
    let inputs = union.inputs.into_iter().map(of_query).collect::<Result<Vec<_>>>()?;
    let schema = Arc::new(coerce_union_schema(&inputs)?);
    Ok(Transformed::yes(LogicalPlan::Union(Union { inputs, schema })))
}

fn union_types(queries: &[&LogicalPlan]) -> Option<Vec<DataType>> {
    let types = |query: &LogicalPlan| -> Vec<DataType> {
        query.schema().fields().iter().map(|field| field.data_type().clone()).collect()
    };
    let (first, others) = queries.split_first()?;
    others.iter().map(|query| types(query)).try_fold(types(first), |known, more| {
        let is_as_wide = known.len() == more.len();
        let both = known.iter().zip(&more).filter(|_| is_as_wide);
        both.map(|(left, right)| common_type(left, right)).collect::<Option<Vec<_>>>()
    })
}

/// Returns the type of a UNION's column.
fn common_type(left: &DataType, right: &DataType) -> Option<DataType> {
    let types = [left.clone(), right.clone()];
    let [left, right] = agreed(&types).and_then(|types| types.try_into().ok()).unwrap_or(types);
    type_union_coercion(&left, &right)
}

fn of_join(join: Join, functions: &Registry) -> Result<Transformed<LogicalPlan>> {
    let Some(word) = word(&join) else {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    };
    alike_columns(word, &[&join.left, &join.right])?;
    let types = types(&join, word)?;
    if [&join.left, &join.right].into_iter().all(|side| has_types(side.schema(), &types)) {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    let left = match Arc::unwrap_or_clone(join.left) {
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let input = with_types(Arc::unwrap_or_clone(input), &types, functions)?;
            LogicalPlan::Distinct(Distinct::All(Arc::new(input)))
        }
        left => with_types(left, &types, functions)?,
    };
    let right = with_types(Arc::unwrap_or_clone(join.right), &types, functions)?;
    let join = Join { left: Arc::new(left), right: Arc::new(right), ..join };
    LogicalPlan::Join(join).recompute_schema().map(Transformed::yes)
}

fn types(join: &Join, word: &str) -> Result<Vec<DataType>> {
    let columns = join.left.schema().fields().iter().zip(join.right.schema().fields());
    columns
        .map(|(left, right)| {
            let (left, right) = (left.data_type(), right.data_type());
            if [left, right].into_iter().any(holds_map) {
                let message = format!("{word} of a MAP is not supported");
                return Err(fail(unsupported(Span::empty(), message)));
            }
            common_type(left, right).ok_or_else(|| {
                plan_datafusion_err!("{word} of columns that have no common type: {left}, {right}")
            })
        })
        .collect()
}

/// Which entry of a map comes first depends on how it was made.
fn holds_map(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(..) => true,
        DataType::Struct(fields) => fields.iter().any(|field| holds_map(field.data_type())),
        DataType::List(item) => holds_map(item.data_type()),
        _ => false,
    }
}

fn has_types(schema: &DFSchema, types: &[DataType]) -> bool {
    schema.fields().iter().zip(types).all(|(field, to)| field.data_type() == to)
}

fn with_types(side: LogicalPlan, types: &[DataType], functions: &Registry) -> Result<LogicalPlan> {
    let columns = side.schema().iter().zip(types).map(|((qualifier, field), to)| {
        let column = Expr::from((qualifier, field));
        if field.data_type() == to {
            return Ok(column);
        }
        let converted = converted(column, field.data_type(), to, functions)?;
        Ok(converted.alias_qualified(qualifier.cloned(), field.name()))
    });
    let columns = columns.collect::<Result<_>>()?;
    Projection::try_new(columns, Arc::new(side)).map(LogicalPlan::Projection)
}

/// Makes INTERSECT ALL and EXCEPT ALL count the copies of a row, of rows that end: the first copy
/// on one side goes with the first on the other.
///
/// # Errors
/// None of its own.
pub(super) fn count_copies(
    plan: LogicalPlan,
    functions: &Registry,
) -> Result<Transformed<LogicalPlan>> {
    match plan {
        // Of what is DISTINCT there is one copy.
        LogicalPlan::Join(join)
            if word(&join).is_some() && !matches!(*join.left, LogicalPlan::Distinct(_)) =>
        {
            let columns: Vec<Column> = join.left.schema().columns();
            let (left, left_copy) = numbered(join.left, "left copy", functions)?;
            let (right, right_copy) = numbered(join.right, "right copy", functions)?;
            let on = join.on.into_iter().chain([(left_copy, right_copy)]).collect();
            let (left, right) = (Arc::new(left), Arc::new(right));
            let join = LogicalPlan::Join(Join { left, right, on, ..join }).recompute_schema()?;
            let columns = columns.into_iter().map(Expr::Column);
            LogicalPlanBuilder::from(join).project(columns)?.build().map(Transformed::yes)
        }
        plan => Ok(Transformed::no(plan)),
    }
}

/// Numbers the copies of each row. Returns the column of numbers, too.
fn numbered(
    side: Arc<LogicalPlan>,
    name: &str,
    functions: &Registry,
) -> Result<(LogicalPlan, Expr)> {
    let columns = side.schema().columns().into_iter().map(Expr::Column).collect();
    let function = WindowFunctionDefinition::WindowUDF(functions.udwf("row_number")?);
    let number = Expr::from(WindowFunction::new(function, Vec::new()));
    let number = number.partition_by(columns).build()?.alias(name);
    let plan = LogicalPlanBuilder::from(side).window(vec![number])?.build()?;
    Ok((plan, Expr::Column(Column::new_unqualified(name))))
}
