//! Whole numbers that are written down: INT where they fit, as in Flink.
//!
//! DataFusion has each as BIGINT.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Values};

use crate::stream::unaliased;

/// Gives the literals of a bound plan the types that they have in Flink.
///
/// # Errors
/// Rows of VALUES whose types have nothing in common.
pub(super) fn of_plan(plan: LogicalPlan) -> Result<LogicalPlan> {
    let typed = plan.transform_up_with_subqueries(|node| match node {
        // Numbers of rows are looked at as they are.
        LogicalPlan::Limit(_) => Ok(Transformed::no(node)),
        LogicalPlan::Values(Values { schema, values }) => {
            let rebuilt = with_literals(values, &schema)?;
            let is_named_so = rebuilt.schema().field_names() == schema.field_names();
            Ok(Transformed::yes(if is_named_so {
                rebuilt
            } else {
                let names = schema.fields().iter().map(|field| field.name());
                let exprs = rebuilt.schema().columns().into_iter().zip(names);
                let exprs = exprs.map(|(column, name)| Expr::Column(column).alias(name));
                LogicalPlanBuilder::from(rebuilt).project(exprs)?.build()?
            }))
        }
        node => {
            let preserver = NamePreserver::new(&node);
            let named = |expr: Expr| {
                let name = preserver.save(&expr);
                Ok(of_expr(expr)?.update_data(|expr| name.restore(expr)))
            };
            let node = node.map_expressions(|expr| match expr {
                // Each of its parts is a column.
                Expr::GroupingSet(_) => expr.map_children(named),
                expr => named(expr),
            })?;
            node.map_data(|node| with_groupings(node)?.recompute_schema())
        }
    })?;
    Ok(typed.data)
}

/// Makes the arguments of GROUPING, which are found among the grouping columns, be these columns:
/// what has got another type has an alias there.
///
/// # Errors
/// Grouping sets beside other columns, which there are none of.
fn with_groupings(node: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Aggregate(mut aggregate) = node else { return Ok(node) };
    let columns = grouping_set_to_exprlist(&aggregate.group_expr)?;
    let column = |argument: Expr| {
        let column = columns.iter().find(|column| *unaliased(column) == argument);
        column.map_or(argument, |column| (*column).clone())
    };
    for expr in &mut aggregate.aggr_expr {
        let replaced = std::mem::take(expr).transform_up(|part| match part {
            Expr::AggregateFunction(mut call) if call.func.name() == "grouping" => {
                call.params.args = call.params.args.into_iter().map(column).collect();
                Ok(Transformed::yes(Expr::AggregateFunction(call)))
            }
            part => Ok(Transformed::no(part)),
        })?;
        *expr = replaced.data;
    }
    Ok(LogicalPlan::Aggregate(aggregate))
}

/// Builds the rows of a VALUES with literals of their types.
///
/// # Errors
/// Rows whose types have nothing in common.
fn with_literals(rows: Vec<Vec<Expr>>, schema: &DFSchema) -> Result<LogicalPlan> {
    let row = |row: Vec<Expr>| {
        let typed = row.into_iter().map(|expr| Ok(of_expr(expr)?.data));
        typed.collect::<Result<Vec<_>>>()
    };
    let rows = rows.into_iter().map(row).collect::<Result<Vec<_>>>()?;
    let types = || schema.fields().iter().map(|field| field.data_type());
    let written = |row: &Vec<Expr>| row.iter().zip(types()).map(written).collect();
    let rebuilt = LogicalPlanBuilder::values(rows.iter().map(written).collect());
    rebuilt.or_else(|_| LogicalPlanBuilder::values(rows))?.build()
}

/// Returns a value of a VALUES without what binding has made of it to give it its column's type,
/// which is that of before the literals had theirs.
fn written((value, column): (&Expr, &DataType)) -> Expr {
    match value {
        // What is written with a type is a cast.
        Expr::Literal(value, metadata) if value.is_null() => {
            Expr::Literal(ScalarValue::Null, metadata.clone())
        }
        Expr::Cast(cast) if cast.field.data_type() == column => {
            let inner = cast.expr.get_type(&DFSchema::empty());
            let is_widened = |inner: DataType| inner.is_integer() && *column == DataType::Int64;
            // A literal is cast to BIGINT only where that is written.
            let is_literal = matches!(&*cast.expr, Expr::Literal(..));
            let strip = !is_literal && inner.is_ok_and(is_widened);
            if strip { (*cast.expr).clone() } else { value.clone() }
        }
        value => value.clone(),
    }
}

fn of_expr(expr: Expr) -> Result<Transformed<Expr>> {
    expr.transform_up(|mut expr| {
        Ok(match &mut expr {
            // It takes no other whole number.
            Expr::AggregateFunction(call) if call.func.name() == "nth_value" => {
                for argument in call.params.args.iter_mut().skip(1) {
                    if let Expr::Literal(value, _) = argument {
                        *value = value.cast_to(&DataType::Int64)?;
                    }
                }
                Transformed::yes(expr)
            }
            Expr::Literal(ScalarValue::Int64(Some(value)), metadata) => {
                match i32::try_from(*value) {
                    Ok(value) => {
                        let value = ScalarValue::Int32(Some(value));
                        Transformed::yes(Expr::Literal(value, metadata.clone()))
                    }
                    Err(_) => Transformed::no(expr),
                }
            }
            _ => Transformed::no(expr),
        })
    })
}
