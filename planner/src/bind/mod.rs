//! From syntax trees to logical plans, through DataFusion's SQL planner.

mod element;
mod group_window;
mod hinted;
mod relation;
mod temporal;
mod window_table;

use std::cell::RefCell;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion::common::{Column, DFSchema, TableReference, not_impl_err, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::planner::{
    ContextProvider, ExprPlanner, RelationPlanner, TypePlanner,
};
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource,
    WindowUDF,
};
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use rainstorm_engine::function::{Registry, WRAPPING_SUM};
use sqlparser::ast::{Expr as SqlExpr, Query, Spanned, Statement};

use self::relation::PlannedRelation;
use crate::catalog::{CatalogTable, ColumnKind, Relation, TableDefinition, ViewDefinition};
use crate::error::{SqlError, SqlErrorCode, ViewError, fail};
use crate::options::options;
use crate::parse::FlinkTypePlanner;
use crate::resolve::resolve_query;
use crate::session::QueryContext;
use crate::settings::Overflow;
use crate::stream::{Watermark, plan_of};

/// Binds a query's names: tables to scans, views to their plans, functions to functions.
///
/// # Errors
/// What DataFusion or the windowing tables complain about.
pub(crate) fn bind_query(context: QueryContext<'_>, query: &Query) -> Result<LogicalPlan> {
    Binder::new(context).query(query)
}

/// Binds a view.
///
/// # Errors
/// What is wrong with it, as a [`ViewError`] since its text is elsewhere.
pub(crate) fn bind_view(context: QueryContext<'_>, view: &ViewDefinition) -> Result<LogicalPlan> {
    Binder::new(context).view_plan(view)
}

/// Binds an expression over columns as those of a table are bound.
///
/// # Errors
/// What DataFusion complains about.
pub(crate) fn bind_expression(
    context: QueryContext<'_>,
    expr: &SqlExpr,
    schema: &DFSchema,
) -> Result<Expr> {
    Binder::new(context).expression(expr, schema)
}

/// Binds an expression without columns.
///
/// # Errors
/// What DataFusion complains about.
pub(crate) fn bind_constant(context: QueryContext<'_>, expr: &SqlExpr) -> Result<Expr> {
    bind_expression(context, expr, &DFSchema::empty())
}

/// Answers DataFusion's questions about names.
struct Binder<'a> {
    context: QueryContext<'a>,
    options: ConfigOptions,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
    relation_planners: Vec<Arc<dyn RelationPlanner>>,
    /// Views that are being bound: one that is built on itself is refused.
    open_views: RefCell<Vec<String>>,
}

impl<'a> Binder<'a> {
    fn new(context: QueryContext<'a>) -> Self {
        Self {
            context,
            options: options(),
            expr_planners: expr_planners(context.functions),
            relation_planners: vec![
                Arc::new(hinted::HintedTablePlanner),
                Arc::new(window_table::WindowTablePlanner),
                Arc::new(temporal::TemporalTablePlanner),
            ],
            open_views: RefCell::default(),
        }
    }

    fn query(&self, query: &Query) -> Result<LogicalPlan> {
        let mut query = query.clone();
        group_window::rewrite(&mut query)?;
        let statement = Statement::Query(Box::new(query));
        let plan = SqlToRel::new(self).sql_statement_to_plan(statement)?;
        temporal::check(&plan)?;
        Ok(plan)
    }

    fn expression(&self, expr: &SqlExpr, schema: &DFSchema) -> Result<Expr> {
        let mut context = PlannerContext::new();
        SqlToRel::new(self).sql_to_expr(expr.clone(), schema, &mut context)
    }

    fn table(&self, table: &Arc<TableDefinition>) -> Result<Arc<dyn TableSource>> {
        let source = Arc::new(CatalogTable::new(Arc::clone(table)));
        let computed = table.columns.iter().any(|column| column.kind != ColumnKind::Physical);
        if !computed && table.watermark.is_none() {
            return Ok(source);
        }
        let name = TableReference::bare(table.name.as_str());
        let scan = LogicalPlanBuilder::scan(name, source, None)?.build()?;
        let mut columns = Vec::with_capacity(table.columns.len());
        for column in &table.columns {
            columns.push(match &column.kind {
                ColumnKind::Physical => physical(&column.name),
                ColumnKind::Computed(expr) => {
                    self.expression(expr, scan.schema())?.alias(&column.name)
                }
            });
        }
        let mut builder = LogicalPlanBuilder::from(scan);
        if computed {
            builder = builder.project(columns)?;
        }
        let mut plan = builder.build()?;
        if let Some((time, expr)) = &table.watermark {
            let expr = self.expression(expr, plan.schema())?;
            let column = plan.schema().columns().into_iter().find(|column| column.name == *time);
            let Some(column) = column else {
                return plan_err!("the watermark's column '{time}' is not there");
            };
            plan = plan_of(Watermark { input: plan, time: Expr::Column(column), expr });
        }
        Ok(Arc::new(PlannedRelation::new(plan)))
    }

    fn view(&self, view: &ViewDefinition) -> Result<Arc<dyn TableSource>> {
        let name = view.name.clone();
        if self.open_views.borrow().contains(&name) {
            let message = format!("view '{name}' is built on itself");
            let span = view.query.span();
            return Err(fail(SqlError::at(SqlErrorCode::InvalidStatement, span, message)));
        }
        self.open_views.borrow_mut().push(name);
        let plan = self.view_plan(view);
        self.open_views.borrow_mut().pop();
        Ok(Arc::new(PlannedRelation::new(plan?)))
    }

    fn view_plan(&self, view: &ViewDefinition) -> Result<LogicalPlan> {
        let in_view = |cause| fail(ViewError { view: view.name.clone(), cause });
        let context = QueryContext { base_directory: None, ..self.context };
        let resolved = resolve_query(context, &view.query).map_err(fail).map_err(in_view)?;
        let plan = self.query(&resolved).map_err(in_view)?;
        if view.columns.is_empty() {
            return Ok(plan);
        }
        let columns = plan.schema().columns();
        if columns.len() != view.columns.len() {
            return plan_err!(
                "view '{}' names {} columns, its query has {}",
                view.name,
                view.columns.len(),
                columns.len()
            );
        }
        let renamed = columns
            .into_iter()
            .zip(&view.columns)
            .map(|(column, name)| Expr::Column(column).alias(name));
        LogicalPlanBuilder::from(plan).project(renamed)?.build()
    }
}

/// Returns what plans syntax that stands for functions; our own comes first.
fn expr_planners(functions: &Registry) -> Vec<Arc<dyn ExprPlanner>> {
    let own = element::ElementPlanner::new(functions);
    let own = own.map(|planner| Arc::new(planner) as Arc<dyn ExprPlanner>);
    own.into_iter().chain(functions.expr_planners()).collect()
}

/// Returns a column by its name alone, whatever dots and capitals are in it.
fn physical(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

impl ContextProvider for Binder<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match self.context.session.relation(name.table()) {
            Some(Relation::Table(table)) => self.table(table),
            Some(Relation::View(view)) => self.view(view),
            None => plan_err!("there is no table or view '{name}'"),
        }
    }

    fn create_cte_work_table(&self, _: &str, _: SchemaRef) -> Result<Arc<dyn TableSource>> {
        not_impl_err!("WITH RECURSIVE is not supported")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expr_planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relation_planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(FlinkTypePlanner))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.context.functions.scalar(name)
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.context.functions.higher_order(name)
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        let wraps = self.context.session.settings.overflow() == Overflow::Wrap;
        let name = if wraps && name.eq_ignore_ascii_case("sum") { WRAPPING_SUM } else { name };
        self.context.functions.aggregate(name)
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.context.functions.window(name)
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn get_variable_field(&self, _: &[String]) -> Option<FieldRef> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.context.functions.udfs().into_iter().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.context.functions.higher_order_function_names().into_iter().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.context.functions.udafs().into_iter().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.context.functions.udwfs().into_iter().collect()
    }
}
