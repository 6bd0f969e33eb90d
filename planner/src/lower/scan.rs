//! Sources, with what is prepared before their watermark is taken.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, internal_datafusion_err};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use rainstorm_engine::OperatorId;
use rainstorm_engine::graph::{
    ChangelogMode, OperatorNode, OperatorSpec, SourceSpec, WatermarkSpec,
};

use super::Lowering;
use super::expr::physical;
use super::flow::{Flow, FlowId, FlowKind, FlowNode, schema_of};
use super::relation::{Layout, Place, Relation, field_of};
use super::site::{Site, narrowed};
use super::subexpression;
use crate::analysis::{describe, source_options};
use crate::error::{fail, unsupported};
use crate::rewrite::can_fail;

impl Lowering<'_> {
    /// Lowers a place that reads a table.
    pub(super) fn site(&mut self, site: &Site) -> Result<Relation> {
        let index = self
            .sites
            .find(site)
            .ok_or_else(|| internal_datafusion_err!("a table that was not collected"))?;
        let node = if let Some(node) = self.sources.get(&index) {
            *node
        } else {
            let merged = self.sites.merged[index].clone();
            let node = self.source(&merged)?;
            self.sources.insert(index, node);
            node
        };
        let merged = &self.sites.merged[index];
        let place = |expr| {
            let place = merged.columns.iter().position(|known| known == expr);
            place.ok_or_else(|| internal_datafusion_err!("a column was not collected"))
        };
        let (node, places) = if site.later_filters.is_empty() {
            (node, site.columns.iter().map(place).collect::<Result<Vec<_>>>()?)
        } else {
            let steps = later_steps(site, merged, self.flow.schema(node))?;
            (chain(&mut self.flow, node, steps), (0..site.columns.len()).collect())
        };
        let columns = places.into_iter().map(Place::Node).collect();
        Ok(Relation { nodes: vec![node], columns, pending: None })
    }

    fn source(&mut self, site: &Site) -> Result<FlowId> {
        let info = describe(&site.table)?;
        if !info.source {
            return Err(fail(unsupported(
                self.span,
                format!(
                    "reading table '{}': connector '{}' only writes",
                    site.table.name, site.table.connector
                ),
            )));
        }
        let table_schema = site.table.physical_schema();
        let schema = match narrowed(&table_schema, &site.columns)? {
            none if none.fields().is_empty() => cheapest(&table_schema),
            schema => schema,
        };
        let steps = steps(&[], outputs(&site.columns), &schema)?;
        let declared = DFSchema::try_from(Arc::clone(&table_schema))?;
        let mut spec = SourceSpec {
            id: OperatorId(0),
            table: site.table.name.clone(),
            connector: site.table.connector.clone(),
            options: source_options(&site.table),
            table_schema,
            schema: Arc::clone(&schema),
            filters: site
                .filters
                .iter()
                .map(|filter| physical(filter, &declared))
                .collect::<Result<_>>()?,
            limit: None,
            prepare: Vec::new(),
            watermark: None,
            query: None,
        };
        let output = steps.last().map_or(&schema, |(_, output)| output).clone();
        let watermark = watermark(site, &output)?;
        let prepared_at_source = watermark.is_some();
        if prepared_at_source {
            let mut input = Arc::clone(&schema);
            for (step, output) in steps.iter().cloned() {
                let inputs = vec![std::mem::replace(&mut input, Arc::clone(&output))];
                spec.prepare.push(OperatorNode { id: OperatorId(0), spec: step, inputs, output });
            }
            spec.watermark = watermark;
        }
        let node_schema = if prepared_at_source { output } else { schema };
        let node = self.flow.add(FlowNode {
            kind: FlowKind::Source(Box::new(spec)),
            ports: Vec::new(),
            schema: node_schema,
            changelog: ChangelogMode::AppendOnly,
            parallelism: self.parallelism,
            partitioned: None,
        });
        Ok(if prepared_at_source { node } else { chain(&mut self.flow, node, steps) })
    }
}

fn chain(flow: &mut Flow, node: FlowId, steps: Vec<(OperatorSpec, SchemaRef)>) -> FlowId {
    let chained = |node, (step, output)| flow.chain(node, step, output, |_| None);
    steps.into_iter().fold(node, chained)
}

/// Returns a column to read where only the number of rows matters.
fn cheapest(schema: &SchemaRef) -> SchemaRef {
    let width = |field: &&FieldRef| field.data_type().primitive_width().unwrap_or(usize::MAX);
    schema_of(schema.fields().iter().min_by_key(width).into_iter().cloned().collect())
}

/// Returns what is done to a source's rows for one of its sites.
fn later_steps(
    site: &Site,
    source: &Site,
    schema: &SchemaRef,
) -> Result<Vec<(OperatorSpec, SchemaRef)>> {
    let over_source = |expr: Expr| over_columns(expr, &source.columns, schema);
    let filters: Vec<Expr> =
        site.later_filters.iter().cloned().map(over_source).collect::<Result<_>>()?;
    let outputs = outputs(&site.columns)
        .into_iter()
        .map(|(expr, name)| Ok((over_source(expr)?, name)))
        .collect::<Result<_>>()?;
    steps(&filters, outputs, schema)
}

/// Returns what is left to do to rows: a filter, a projection. What several expressions compute
/// alike gets a projection of its own before that.
fn steps(
    filters: &[Expr],
    outputs: Vec<(Expr, String)>,
    schema: &SchemaRef,
) -> Result<Vec<(OperatorSpec, SchemaRef)>> {
    let mut steps = Steps { steps: Vec::new(), schema: Arc::clone(schema) };
    // One expression, so that what stands behind an AND counts as guarded by what is before it.
    let declared = DFSchema::try_from(Arc::clone(schema))?;
    let (may_fail, first): (Vec<Expr>, Vec<Expr>) =
        filters.iter().cloned().partition(|filter| can_fail(filter, &declared));
    let mut conditions: Vec<Expr> = conjunction([first, may_fail].concat()).into_iter().collect();
    let (mut columns, names): (Vec<Expr>, Vec<String>) = outputs.into_iter().unzip();
    let parts =
        subexpression::extract(&mut conditions, &mut columns, |part| format!("common_{part}"))?;
    steps.widen(parts, "common_")?;
    for condition in conditions {
        let read = DFSchema::try_from(Arc::clone(&steps.schema))?;
        steps.push(OperatorSpec::Filter(super::expr::condition(&condition, &read)?), None);
    }
    let parts = subexpression::extract(&mut columns, &mut [], |part| format!("selected_{part}"))?;
    steps.widen(parts, "selected_")?;
    let outputs: Vec<(Expr, String)> = columns.into_iter().zip(names).collect();
    if !outputs.is_empty() {
        steps.project(&outputs)?;
    }
    Ok(steps.steps)
}

/// Operators, each over the columns that the one before leaves.
struct Steps {
    steps: Vec<(OperatorSpec, SchemaRef)>,
    schema: SchemaRef,
}

impl Steps {
    fn push(&mut self, spec: OperatorSpec, output: Option<SchemaRef>) {
        self.schema = output.unwrap_or_else(|| Arc::clone(&self.schema));
        self.steps.push((spec, Arc::clone(&self.schema)));
    }

    /// Adds columns for common parts, named `prefix` and their number. What they compute alike
    /// themselves comes before.
    fn widen(&mut self, mut parts: Vec<Expr>, prefix: &str) -> Result<()> {
        if parts.is_empty() {
            return Ok(());
        }
        let inner = format!("{prefix}in_");
        let inner_parts =
            subexpression::extract(&mut parts, &mut [], |part| format!("{inner}{part}"))?;
        self.widen(inner_parts, &inner)?;
        let kept = self.schema.fields().iter().map(|field| {
            (Expr::Column(Column::new_unqualified(field.name())), field.name().clone())
        });
        let added =
            parts.iter().enumerate().map(|(part, expr)| (expr.clone(), format!("{prefix}{part}")));
        let outputs: Vec<(Expr, String)> = kept.chain(added).collect();
        self.project(&outputs)
    }

    fn project(&mut self, outputs: &[(Expr, String)]) -> Result<()> {
        let read = DFSchema::try_from(Arc::clone(&self.schema))?;
        let mut layout = Layout::default();
        for (expr, name) in outputs {
            let expr = physical(expr, &read)?;
            let field = field_of(name, &expr, &self.schema)?;
            layout.outputs.push((expr, field));
        }
        if !layout.is_identity(&self.schema) {
            let (exprs, fields) = layout.outputs.into_iter().unzip();
            self.push(OperatorSpec::Project(exprs), Some(schema_of(fields)));
        }
        Ok(())
    }
}

/// Names columns for people: a field by its own name, with a number where that is taken.
fn outputs(columns: &[Expr]) -> Vec<(Expr, String)> {
    let mut outputs: Vec<(Expr, String)> = Vec::with_capacity(columns.len());
    for column in columns {
        let name = name_of(column);
        let is_free = |tried: &String| outputs.iter().all(|(_, known)| known != tried);
        let numbered = (1..).map(|number| format!("{name}_{number}"));
        let name = std::iter::once(name.clone()).chain(numbered).find(is_free).unwrap_or(name);
        outputs.push((column.clone(), name));
    }
    outputs
}

fn name_of(expr: &Expr) -> String {
    match expr {
        Expr::Column(column) => column.name.clone(),
        Expr::ScalarFunction(call) if call.func.name() == "get_field" => match call.args.last() {
            Some(Expr::Literal(value, _)) => {
                value.try_as_str().flatten().unwrap_or("field").to_owned()
            }
            _ => expr.schema_name().to_string(),
        },
        other => other.schema_name().to_string(),
    }
}

/// Writes the watermark over the prepared columns.
fn watermark(site: &Site, prepared: &SchemaRef) -> Result<Option<WatermarkSpec>> {
    let Some((time, expr)) = &site.watermark else { return Ok(None) };
    let place = |expr: &Expr| site.columns.iter().position(|column| column == expr);
    let time = place(time).ok_or_else(|| internal_datafusion_err!("the event time is not read"))?;
    let expr = over_columns(expr.clone(), &site.columns, prepared)?;
    let expr = physical(&expr, &DFSchema::try_from(Arc::clone(prepared))?)?;
    Ok(Some(WatermarkSpec { time, expr }))
}

/// Writes an expression over a table's columns over those of `schema`, which hold `columns`.
fn over_columns(expr: Expr, columns: &[Expr], schema: &SchemaRef) -> Result<Expr> {
    let over = expr.transform_down(|expr| {
        Ok(match columns.iter().position(|column| *column == expr) {
            Some(index) => Transformed::new(
                Expr::Column(Column::new_unqualified(schema.field(index).name())),
                true,
                TreeNodeRecursion::Jump,
            ),
            None => Transformed::no(expr),
        })
    })?;
    Ok(over.data)
}
