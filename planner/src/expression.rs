//! Expressions bound on their own: computed columns, watermarks and bodies of functions.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, TableReference, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion::logical_expr::{
    AggregateUDF, Expr as BoundExpr, ExprSchemable, HigherOrderUDF, ScalarUDF, TableSource,
    WindowUDF,
};
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use rainstorm_engine::function::Registry;
use sqlparser::ast::{Expr, Spanned};

use crate::diagnose::from_datafusion_in;
use crate::error::{SqlError, SqlErrorCode, SqlErrors};
use crate::session::QueryContext;
use crate::types::FlinkTypePlanner;

/// How SQL text is read by DataFusion, here and in queries.
pub(crate) fn parser_options() -> ParserOptions {
    ParserOptions {
        parse_float_as_decimal: true,
        enable_ident_normalization: false,
        collect_spans: true,
        map_string_types_to_utf8view: true,
        ..ParserOptions::default()
    }
}

/// Returns the type of an expression over columns, and whether it may be null.
///
/// # Errors
/// The first type error, or that it is not an expression of one row.
pub(crate) fn expression_type(
    context: QueryContext<'_>,
    expr: &Expr,
    schema: &Schema,
) -> Result<FieldRef, SqlErrors> {
    let provider = FunctionProvider::new(context.functions);
    let bind = || {
        let schema = DFSchema::try_from(schema.clone())?;
        let planner = SqlToRel::new_with_options(&provider, parser_options());
        let bound = planner.sql_to_expr(expr.clone(), &schema, &mut PlannerContext::new())?;
        let (data_type, nullable) = (bound.get_type(&schema)?, bound.nullable(&schema)?);
        Ok((bound, Arc::new(Field::new("", data_type, nullable))))
    };
    let (bound, field) = bind().map_err(|error| from_datafusion_in(&error, expr))?;
    let spans_rows = bound.exists(|part| Ok(is_not_of_one_row(part))).unwrap_or(false);
    if spans_rows {
        let message = format!("'{expr}' is not an expression of one row");
        return Err(SqlError::at(SqlErrorCode::InvalidStatement, expr.span(), message)
            .with_help("aggregates, OVER and subqueries cannot stand here")
            .into());
    }
    Ok(field)
}

fn is_not_of_one_row(expr: &BoundExpr) -> bool {
    matches!(
        expr,
        BoundExpr::AggregateFunction(_)
            | BoundExpr::WindowFunction(_)
            | BoundExpr::ScalarSubquery(_)
            | BoundExpr::InSubquery(_)
            | BoundExpr::Exists(_)
    )
}

/// Knows functions and types, but no tables.
struct FunctionProvider<'a> {
    functions: &'a Registry,
    options: ConfigOptions,
}

impl<'a> FunctionProvider<'a> {
    fn new(functions: &'a Registry) -> Self {
        Self { functions, options: ConfigOptions::default() }
    }
}

impl ContextProvider for FunctionProvider<'_> {
    fn get_table_source(
        &self,
        name: TableReference,
    ) -> datafusion::error::Result<Arc<dyn TableSource>> {
        plan_err!("there is no table or view '{name}' here")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.functions.planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(FlinkTypePlanner))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.scalar(name)
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.functions.higher_order(name)
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.aggregate(name)
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.window(name)
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests;
