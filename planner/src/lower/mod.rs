//! From a rewritten plan to a job graph.

mod aggregate;
mod expr;
mod flow;
mod identity;
mod interval;
mod join;
mod join_words;
mod relation;
mod scan;
mod sink;
mod site;
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
use rainstorm_engine::graph::{JobGraph, JobSettings, OperatorSpec};
use rainstorm_engine::operator::split_window_aggregates;
use sqlparser::tokenizer::Span;

use self::expr::{physical, unaliased};
use self::flow::{Flow, FlowId};
use self::relation::{Layout, PendingWindow, Place, Relation, RelationColumn, field_of};
use self::site::{Site, Sites};
use crate::analysis::{Meaning, WindowKind, WindowPart};
use crate::bind::{TemporalTable, Watermark, WindowTable, fail, node_of, unsupported};

/// Lowers plans, one after the other, into one graph.
pub(crate) struct Lowering<'a> {
    flow: Flow,
    sites: Sites,
    /// The node of each source that has been made.
    sources: BTreeMap<usize, FlowId>,
    settings: &'a JobSettings,
    parallelism: usize,
    /// Whether a query's bounded parts emit final rows alone, because its table takes insertions
    /// only.
    final_rows: bool,
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
            sites.collect(plan)?;
        }
        Ok(Self {
            flow: Flow::default(),
            sites,
            sources: BTreeMap::new(),
            settings,
            parallelism,
            final_rows: false,
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
        let bounded = nodes.iter().all(|node| node.bounded);
        let mut graph = stages::cut(&nodes, self.settings.clone());
        split_window_aggregates(&mut graph)
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok((graph, bounded, self.warnings))
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

    /// Lowers a plan whose rows go on to something else.
    fn lower(&mut self, plan: &LogicalPlan) -> Result<Relation> {
        if let Some(site) = Site::of(plan) {
            return self.site(&site);
        }
        match plan {
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::SubqueryAlias(alias) => self.lower(&alias.input),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Values(values) => self.values(values),
            LogicalPlan::EmptyRelation(empty) => self.empty(empty),
            LogicalPlan::Extension(_) => self.extension(plan),
            other => self.refuse(other),
        }
    }

    fn extension(&mut self, plan: &LogicalPlan) -> Result<Relation> {
        if let Some(table) = node_of::<WindowTable>(plan) {
            return self.window_table(table);
        }
        if node_of::<TemporalTable>(plan).is_some() {
            let what = "FOR SYSTEM_TIME AS OF outside the right side of a join";
            return self.unsupported(what, "");
        }
        // A watermark above something that is more than a table: it is there already.
        let Some(watermark) = node_of::<Watermark>(plan) else {
            return internal_err!("an unknown node: {}", plan.display());
        };
        self.lower(&watermark.input)
    }

    fn refuse(&self, plan: &LogicalPlan) -> Result<Relation> {
        match plan {
            LogicalPlan::Sort(_) => self.unsupported(
                "ORDER BY inside a streaming query",
                "ORDER BY works on the result of a SELECT over bounded tables",
            ),
            LogicalPlan::Limit(_) => self.unsupported(
                "LIMIT inside a streaming query",
                "LIMIT works on the result of a SELECT over bounded tables",
            ),
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

    fn projection(&mut self, projection: &Projection) -> Result<Relation> {
        let exprs: Vec<&Expr> = projection.expr.iter().map(unaliased).collect();
        let mut input = self.lower(&projection.input)?;
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
                let column = input.columns[schema.index_of_column(column)?];
                match column.place {
                    Place::Node(index) => RelationColumn {
                        place: Place::Node(layout.keep(index, &node_schema)),
                        ..column
                    },
                    Place::Window(_) => column,
                }
            } else {
                let expr = input.expr(&self.flow, expr, schema)?;
                let field = field_of(field.name(), &expr, &node_schema)?;
                let place = Place::Node(layout.add(&expr, &field));
                RelationColumn { place, meaning: Meaning::default() }
            });
        }
        let pending = input.pending.map(|pending| PendingWindow {
            time: pending.time.map(|time| layout.keep(time, &node_schema)),
            ..pending
        });
        let nodes = input.project(&mut self.flow, &layout.outputs);
        Ok(Relation { nodes, columns, pending })
    }

    fn filter(&mut self, filter: &Filter) -> Result<Relation> {
        let mut input = self.lower(&filter.input)?;
        let schema = filter.input.schema();
        if input.reads_pending(&filter.predicate, schema)? {
            input = input.assign_windows(&mut self.flow)?;
        }
        let predicate = input.expr(&self.flow, &filter.predicate, schema)?;
        for node in &mut input.nodes {
            let schema = Arc::clone(self.flow.schema(*node));
            let spec = OperatorSpec::Filter(Arc::clone(&predicate));
            *node = self.flow.chain(*node, spec, schema, Some);
        }
        Ok(input)
    }

    fn window_table(&mut self, table: &WindowTable) -> Result<Relation> {
        let mut input = self.lower(&table.input)?.assign_windows(&mut self.flow)?;
        let time = match &table.time {
            Some(Expr::Column(column)) => {
                input.node_column(table.input.schema().index_of_column(column)?)
            }
            Some(other) => return internal_err!("event time {other} is no column"),
            None => None,
        };
        let kind = WindowKind { window: table.window, event_time: table.time.is_some() };
        for part in WindowPart::ALL {
            // A window's end and its time are greater than the watermark while it is open.
            let is_time = kind.event_time && part != WindowPart::Start;
            let meaning = Meaning { is_time, window: Some((part, kind)) };
            input.columns.push(RelationColumn { place: Place::Window(part), meaning });
        }
        input.pending = Some(PendingWindow { kind, time });
        Ok(input)
    }

    fn union(&mut self, union: &Union) -> Result<Relation> {
        let mut nodes = Vec::new();
        let mut meanings: Option<Vec<Meaning>> = None;
        for input in &union.inputs {
            let input = self.lower(input)?.assign_windows(&mut self.flow)?;
            let found: Vec<Meaning> = input.columns.iter().map(|column| column.meaning).collect();
            meanings = Some(match meanings {
                None => found,
                Some(known) => known.into_iter().zip(found).map(common).collect(),
            });
            nodes.extend(self.laid_out(&input, &union.schema)?);
        }
        let meanings = meanings.unwrap_or_default();
        let columns = meanings
            .into_iter()
            .enumerate()
            .map(|(index, meaning)| RelationColumn { place: Place::Node(index), meaning });
        Ok(Relation { nodes, columns: columns.collect(), pending: None })
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

fn plain_columns(
    input: &Relation,
    exprs: &[&Expr],
    schema: &DFSchemaRef,
) -> Result<Vec<RelationColumn>> {
    let place = |expr: &&Expr| match expr {
        Expr::Column(column) => Ok(input.columns[schema.index_of_column(column)?]),
        other => internal_err!("{other} is no column"),
    };
    exprs.iter().map(place).collect()
}

/// A union's column means what it means in all its inputs.
fn common((left, right): (Meaning, Meaning)) -> Meaning {
    Meaning {
        is_time: left.is_time && right.is_time,
        window: left.window.filter(|window| right.window == Some(*window)),
    }
}

/// Makes a physical expression without columns.
fn constant(expr: &Expr) -> Result<Arc<dyn PhysicalExpr>> {
    physical(expr, datafusion::common::DFSchema::empty_ref())
}
