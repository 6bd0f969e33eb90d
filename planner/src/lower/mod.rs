//! From a rewritten plan to a job graph.

mod aggregate;
mod distribution;
mod expr;
mod flow;
mod identity;
mod join;
mod join_words;
mod relation;
mod scan;
mod sink;
mod site;
mod sort;
mod stages;
mod subexpression;
mod subquery;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::{DFSchemaRef, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Distinct, Expr, Filter, LogicalPlan, Projection, Union};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use rainstorm_engine::graph::{ChangelogMode, JobGraph, JobSettings, LimitSpec, OperatorSpec};
use rainstorm_engine::operator::split_window_aggregates;
use sqlparser::tokenizer::Span;

use self::expr::physical;
use self::flow::{Flow, FlowId};
use self::relation::{Layout, PendingWindow, Place, Relation, field_of};
pub(crate) use self::sink::{results_for, results_of};
use self::site::{Site, Sites};
use crate::error::{fail, unsupported};
use crate::stream::{
    Derived, Results, TemporalTable, Watermark, WindowPart, WindowTable, derive, node_of, unaliased,
};

/// Lowers plans, one after the other, into one graph.
pub(crate) struct Lowering<'a> {
    flow: Flow,
    sites: Sites,
    /// The node of each source that has been made.
    sources: BTreeMap<usize, FlowId>,
    settings: &'a JobSettings,
    parallelism: usize,
    /// What is asked of the query that is lowered.
    results: Results,
    /// How many lookup joins' tables what is lowered is part of.
    lookups: usize,
    /// Whether all queries end.
    bounded: bool,
    /// Whether a failure starts the job anew: a query in batch has no checkpoints.
    restarts: bool,
    /// Where complaints without a place are shown.
    span: Span,
    warnings: Vec<String>,
}

impl<'a> Lowering<'a> {
    /// Prepares for lowering these plans.
    pub(crate) fn new<'b>(
        plans: impl IntoIterator<Item = &'b LogicalPlan>,
        settings: &'a JobSettings,
        parallelism: usize,
    ) -> Result<Self> {
        let mut sites = Sites::default();
        for plan in plans {
            subquery::refuse(plan)?;
            sites.collect(plan, 0);
        }
        Ok(Self {
            flow: Flow::default(),
            sites,
            sources: BTreeMap::new(),
            settings,
            parallelism,
            results: Results::Changes,
            lookups: 0,
            bounded: true,
            restarts: false,
            span: Span::empty(),
            warnings: Vec::new(),
        })
    }

    /// Sets where the query stands that is lowered next.
    pub(crate) fn at(&mut self, span: Span) {
        self.span = span;
    }

    /// Cuts the flow into stages. Returns the graph, whether it ends, and what to warn of.
    pub(crate) fn finish(self) -> Result<(JobGraph, bool, Vec<String>)> {
        let mut nodes = self.flow.into_nodes();
        stages::tidy(&mut nodes)?;
        let mut settings = self.settings.clone();
        if self.restarts {
            settings.checkpoint_interval = None;
        }
        let mut graph = stages::cut(&nodes, settings);
        split_window_aggregates(&mut graph)
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        distribution::check(&graph)?;
        Ok((graph, self.bounded, self.warnings))
    }

    /// Refuses something by its name in SQL, by which its place is found.
    #[expect(clippy::unused_self, reason = "every refusal reads the same")]
    fn unsupported<T>(&self, what: impl Into<String>, help: &str) -> Result<T> {
        let error = unsupported(Span::empty(), format!("{} is not supported", what.into()));
        Err(fail(if help.is_empty() { error } else { error.with_help(help) }))
    }

    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Lowers a whole query, of which `results` are wanted, of rows that are never taken back the
    /// first ones that come.
    fn root<'p>(
        &mut self,
        plan: &'p LogicalPlan,
        results: Results,
        first_rows: Option<LimitSpec>,
    ) -> Result<(Relation, Derived<'p>)> {
        let derived = derive(plan, results)?;
        self.results = results;
        let first_rows =
            first_rows.filter(|_| derived.properties.changes == ChangelogMode::AppendOnly);
        let is_enough = first_rows.is_some_and(|limit| limit.count < u64::MAX);
        self.bounded &= derived.properties.bounded || is_enough;
        let relation = self.lower(&derived)?.assign_windows(&mut self.flow)?;
        let relation = match first_rows {
            Some(limit) => self.limit(relation, limit)?,
            None => relation,
        };
        Ok((relation, derived))
    }

    /// Lowers a plan whose rows go on to something else.
    fn lower(&mut self, node: &Derived<'_>) -> Result<Relation> {
        if let Some(site) = Site::of(node.plan) {
            return self.site(&Site { lookups: self.lookups, ..site });
        }
        match (node.plan, node.inputs.as_slice()) {
            (LogicalPlan::Projection(projection), [input]) => self.projection(projection, input),
            (LogicalPlan::Filter(filter), [input]) => self.filter(filter, input),
            (LogicalPlan::SubqueryAlias(_), [input]) => self.lower(input),
            (LogicalPlan::Aggregate(aggregate), [input]) => self.aggregate(aggregate, node, input),
            (LogicalPlan::Join(join), [left, right]) => self.join(join, left, right),
            (LogicalPlan::Union(union), inputs) => self.union(union, inputs),
            (LogicalPlan::Values(values), _) => self.values(values),
            (LogicalPlan::EmptyRelation(empty), _) => self.empty(empty),
            (LogicalPlan::Extension(_), [input]) => self.extension(node.plan, input),
            (LogicalPlan::Sort(sort), [input]) => self.sort(sort, input, u64::MAX),
            (LogicalPlan::Limit(limit), [input]) => self.first(limit, input),
            (other, _) => self.refuse(other),
        }
    }

    fn extension(&mut self, plan: &LogicalPlan, input: &Derived<'_>) -> Result<Relation> {
        if let Some(table) = node_of::<WindowTable>(plan) {
            return self.window_table(table, input);
        }
        // A lookup join knows its table. A watermark above more than a table is there already.
        let is_passed =
            node_of::<TemporalTable>(plan).is_some() || node_of::<Watermark>(plan).is_some();
        if !is_passed {
            return internal_err!("an unknown node: {}", plan.display());
        }
        self.lower(input)
    }

    fn refuse(&self, plan: &LogicalPlan) -> Result<Relation> {
        match plan {
            LogicalPlan::Window(window) => {
                let call = window.window_expr.first().map(|expr| unaliased(expr).to_string());
                let name = call.unwrap_or_default().split('(').next().unwrap_or("").to_uppercase();
                self.unsupported(format!("{name} OVER (…)"), "")
            }
            LogicalPlan::Distinct(Distinct::On(_)) => self.unsupported("DISTINCT ON", ""),
            LogicalPlan::Unnest(_) => self.unsupported("UNNEST", ""),
            LogicalPlan::Subquery(_) => self.unsupported("a subquery as a value", ""),
            LogicalPlan::RecursiveQuery(_) => self.unsupported("WITH RECURSIVE", ""),
            _ => self.unsupported("a query of this kind", ""),
        }
    }

    fn projection(&mut self, projection: &Projection, below: &Derived<'_>) -> Result<Relation> {
        let input = self.lower(below)?;
        self.projected(projection, input)
    }

    fn projected(&mut self, projection: &Projection, mut input: Relation) -> Result<Relation> {
        let exprs: Vec<&Expr> = projection.expr.iter().map(unaliased).collect();
        let schema = projection.input.schema();
        let computes = |expr: &Expr| !matches!(expr, Expr::Column(_));
        if !exprs.iter().any(|expr| computes(expr)) {
            input.columns = plain_columns(&input, &exprs, schema)?;
            return Ok(input);
        }
        for expr in exprs.iter().filter(|expr| computes(expr)) {
            if input.reads_pending(expr, schema)? {
                input = input.assign_windows(&mut self.flow)?;
            }
        }
        let node_schema = Arc::clone(input.schema(&self.flow)?);
        let mut layout = Layout::default();
        let mut columns = Vec::with_capacity(exprs.len());
        for (expr, field) in exprs.iter().zip(projection.schema.fields()) {
            columns.push(if let Expr::Column(column) = expr {
                match input.columns[schema.index_of_column(column)?] {
                    Place::Node(index) => Place::Node(layout.keep(index, &node_schema)),
                    window @ Place::Window(_) => window,
                }
            } else {
                let expr = input.expr(&self.flow, expr, schema)?;
                let field = field_of(field.name(), &expr, &node_schema)?;
                Place::Node(layout.add(&expr, &field))
            });
        }
        let pending = input.pending.map(|pending| PendingWindow {
            time: pending.time.map(|time| layout.keep(time, &node_schema)),
            ..pending
        });
        let nodes = input.project(&mut self.flow, &layout.outputs);
        Ok(Relation { nodes, columns, pending })
    }

    fn filter(&mut self, filter: &Filter, below: &Derived<'_>) -> Result<Relation> {
        let mut input = self.lower(below)?;
        let schema = filter.input.schema();
        if input.reads_pending(&filter.predicate, schema)? {
            input = input.assign_windows(&mut self.flow)?;
        }
        let predicate = input.condition(&self.flow, &filter.predicate, schema)?;
        for node in &mut input.nodes {
            let schema = Arc::clone(self.flow.schema(*node));
            let spec = OperatorSpec::Filter(Arc::clone(&predicate));
            *node = self.flow.chain(*node, spec, schema, Some);
        }
        Ok(input)
    }

    fn window_table(&mut self, table: &WindowTable, below: &Derived<'_>) -> Result<Relation> {
        let mut input = self.lower(below)?.assign_windows(&mut self.flow)?;
        let time = match &table.time {
            Some(Expr::Column(column)) => {
                input.node_column(table.input.schema().index_of_column(column)?)
            }
            Some(other) => return internal_err!("event time {other} is no column"),
            None => None,
        };
        input.columns.extend(WindowPart::ALL.map(Place::Window));
        input.pending = Some(PendingWindow { window: table.window, time });
        Ok(input)
    }

    fn union(&mut self, union: &Union, inputs: &[Derived<'_>]) -> Result<Relation> {
        let mut nodes = Vec::new();
        for input in inputs {
            let input = self.lower(input)?.assign_windows(&mut self.flow)?;
            nodes.extend(self.laid_out(&input, &union.schema)?);
        }
        let columns = (0..union.schema.fields().len()).map(Place::Node).collect();
        Ok(Relation { nodes, columns, pending: None })
    }

    /// Makes the nodes' columns exactly those of a schema, with its names.
    fn laid_out(&mut self, input: &Relation, schema: &DFSchemaRef) -> Result<Vec<FlowId>> {
        let node_schema = Arc::clone(input.schema(&self.flow)?);
        let mut layout = Layout::default();
        for (index, field) in schema.fields().iter().enumerate() {
            let Some(column) = input.node_column(index) else {
                return internal_err!("column {} is not there", field.name());
            };
            let known = node_schema.field(column);
            let expr: Arc<dyn PhysicalExpr> = Arc::new(Column::new(known.name(), column));
            let field = known.clone().with_name(field.name()).with_nullable(field.is_nullable());
            layout.outputs.push((expr, Arc::new(field)));
        }
        if layout.is_identity(&node_schema) {
            return Ok(input.nodes.clone());
        }
        Ok(input.project(&mut self.flow, &layout.outputs))
    }
}

fn plain_columns(input: &Relation, exprs: &[&Expr], schema: &DFSchemaRef) -> Result<Vec<Place>> {
    let place = |expr: &&Expr| match expr {
        Expr::Column(column) => Ok(input.columns[schema.index_of_column(column)?]),
        other => internal_err!("{other} is no column"),
    };
    exprs.iter().map(place).collect()
}

/// Makes a physical expression without columns.
fn constant(expr: &Expr) -> Result<Arc<dyn PhysicalExpr>> {
    physical(expr, datafusion::common::DFSchema::empty_ref())
}
