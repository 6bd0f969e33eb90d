//! What a logical node has become: columns of a flow's nodes, and windows not yet assigned.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef, TimeUnit};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, internal_datafusion_err};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use rainstorm_engine::graph::{OperatorSpec, Window, WindowSpec};

use super::expr::{condition, physical, renumber};
use super::flow::{Flow, FlowId, schema_of};
use crate::stream::{WINDOW_COLUMNS, WindowPart};

/// Where a column's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a column of the nodes.
    Node(usize),
    /// In a window that is not assigned yet.
    Window(WindowPart),
}

/// Windows that rows are still to be put into: an aggregate does it in passing.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingWindow {
    pub(super) window: Window,
    /// The time's column in the nodes; `None` where the clock decides.
    pub(super) time: Option<usize>,
}

impl PendingWindow {
    /// Returns the window with the time's column at this place.
    pub(super) fn spec(self, time: Option<usize>) -> WindowSpec {
        let window = self.window;
        match time {
            Some(time) => WindowSpec::EventTime { window, time },
            None => WindowSpec::ProcessingTime { window },
        }
    }
}

/// Rows of a logical node. Projections that only rename and drop columns cost nothing: they
/// change `columns` and leave the nodes alone.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    /// Nodes of equal schemas; several are a UNION ALL.
    pub(super) nodes: Vec<FlowId>,
    /// Where each column of the logical node is.
    pub(super) columns: Vec<Place>,
    pub(super) pending: Option<PendingWindow>,
}

impl Relation {
    /// Makes a relation of a node's columns.
    pub(super) fn of_node(node: FlowId, columns: usize) -> Self {
        Self { nodes: vec![node], columns: (0..columns).map(Place::Node).collect(), pending: None }
    }

    pub(super) fn parallelism(&self, flow: &Flow) -> usize {
        self.nodes.iter().map(|node| flow.node(*node).parallelism).max().unwrap_or(1)
    }

    pub(super) fn schema<'a>(&self, flow: &'a Flow) -> Result<&'a SchemaRef> {
        let first = self.nodes.first().ok_or_else(|| internal_datafusion_err!("an empty union"))?;
        Ok(flow.schema(*first))
    }

    /// Returns the node's column of a logical one.
    pub(super) fn node_column(&self, column: usize) -> Option<usize> {
        match self.columns.get(column)? {
            Place::Node(index) => Some(*index),
            Place::Window(_) => None,
        }
    }

    /// Makes an expression over a logical schema one over the nodes' columns.
    pub(super) fn expr(
        &self,
        flow: &Flow,
        expr: &Expr,
        schema: &DFSchema,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        self.over_nodes(flow, physical(expr, schema)?)
    }

    /// Makes a condition over a logical schema one over the nodes' columns.
    pub(super) fn condition(
        &self,
        flow: &Flow,
        expr: &Expr,
        schema: &DFSchema,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        self.over_nodes(flow, condition(expr, schema)?)
    }

    fn over_nodes(
        &self,
        flow: &Flow,
        expr: Arc<dyn PhysicalExpr>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let nodes = self.schema(flow)?;
        renumber(expr, |column| {
            let index = self.node_column(column)?;
            Some((nodes.field(index).name().clone(), index))
        })
    }

    /// Tells whether an expression reads a window that is not assigned yet.
    pub(super) fn reads_pending(&self, expr: &Expr, schema: &DFSchema) -> Result<bool> {
        expr.exists(|part| match part {
            Expr::Column(column) => Ok(self.node_column(schema.index_of_column(column)?).is_none()),
            _ => Ok(false),
        })
    }

    /// Puts rows into their windows where that has not been done.
    pub(super) fn assign_windows(mut self, flow: &mut Flow) -> Result<Self> {
        let Some(pending) = self.pending.take() else { return Ok(self) };
        let spec = pending.spec(pending.time);
        let first = self.schema(flow)?.fields().len();
        self.nodes = self
            .nodes
            .into_iter()
            .map(|node| {
                let fields = flow.schema(node).fields().iter().cloned();
                let schema = schema_of(fields.chain(window_fields()).collect());
                flow.chain(node, OperatorSpec::WindowAssign(spec), schema, Some)
            })
            .collect();
        for column in &mut self.columns {
            if let Place::Window(part) = *column {
                *column = Place::Node(first + part as usize);
            }
        }
        Ok(self)
    }

    /// Computes columns in every node. Given are the expressions over the nodes' columns with
    /// their fields; `place` of what was there before is up to the caller.
    pub(super) fn project(
        &self,
        flow: &mut Flow,
        outputs: &[(Arc<dyn PhysicalExpr>, FieldRef)],
    ) -> Vec<FlowId> {
        let exprs: Vec<_> = outputs.iter().map(|(expr, _)| Arc::clone(expr)).collect();
        let schema = schema_of(outputs.iter().map(|(_, field)| Arc::clone(field)).collect());
        let place_of = |wanted: usize| {
            exprs.iter().position(|expr| {
                expr.downcast_ref::<Column>().is_some_and(|column| column.index() == wanted)
            })
        };
        let nodes = self.nodes.clone();
        nodes
            .into_iter()
            .map(|node| {
                let spec = OperatorSpec::Project(exprs.clone());
                flow.chain(node, spec, Arc::clone(&schema), place_of)
            })
            .collect()
    }

    /// Makes the nodes' columns exactly the logical ones, each once, then `extra` ones over the
    /// nodes' columns. Returns the places of the extra ones.
    pub(super) fn compact(
        mut self,
        flow: &mut Flow,
        extra: &[(Arc<dyn PhysicalExpr>, FieldRef)],
    ) -> Result<(Self, Vec<usize>)> {
        self = self.assign_windows(flow)?;
        let schema = Arc::clone(self.schema(flow)?);
        let mut layout = Layout::default();
        for column in &mut self.columns {
            if let Place::Node(index) = *column {
                *column = Place::Node(layout.keep(index, &schema));
            }
        }
        let places = extra.iter().map(|(expr, field)| layout.add(expr, field)).collect();
        if !layout.is_identity(&schema) {
            self.nodes = self.project(flow, &layout.outputs);
        }
        Ok((self, places))
    }
}

/// The columns of a node to be.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) outputs: Vec<(Arc<dyn PhysicalExpr>, FieldRef)>,
}

impl Layout {
    /// Keeps a column and returns its new place.
    pub(super) fn keep(&mut self, index: usize, schema: &SchemaRef) -> usize {
        let field = &schema.fields()[index];
        let expr: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), index));
        self.add(&expr, field)
    }

    /// Adds an expression, unless it is there, and returns its place.
    pub(super) fn add(&mut self, expr: &Arc<dyn PhysicalExpr>, field: &FieldRef) -> usize {
        let found = self.outputs.iter().position(|(known, _)| known == expr);
        found.unwrap_or_else(|| {
            self.outputs.push((Arc::clone(expr), Arc::clone(field)));
            self.outputs.len() - 1
        })
    }

    /// Returns where a column of the input is kept.
    pub(super) fn place(&self, index: usize) -> Option<usize> {
        self.outputs.iter().position(|(expr, _)| {
            expr.downcast_ref::<Column>().is_some_and(|column| column.index() == index)
        })
    }

    /// Tells whether nothing is computed, dropped, renamed or moved.
    pub(super) fn is_identity(&self, schema: &SchemaRef) -> bool {
        let columns = schema.fields();
        self.outputs.len() == columns.len()
            && self.outputs.iter().enumerate().all(|(place, (expr, field))| {
                expr.downcast_ref::<Column>().is_some_and(|column| column.index() == place)
                    && field.name() == columns[place].name()
            })
    }
}

/// Returns the columns that windows add.
pub(super) fn window_fields() -> [FieldRef; 3] {
    let data_type = DataType::Timestamp(TimeUnit::Millisecond, None);
    WINDOW_COLUMNS.map(|name| Arc::new(Field::new(name, data_type.clone(), false)))
}

/// Returns the field of a computed column.
pub(super) fn field_of(
    name: &str,
    expr: &Arc<dyn PhysicalExpr>,
    schema: &SchemaRef,
) -> Result<FieldRef> {
    Ok(Arc::new(Field::new(name, expr.data_type(schema)?, expr.nullable(schema)?)))
}
