//! Reading tables: what is read, pushed into the source and prepared there.
//!
//! A site is a table with the filters, projections and the watermark right above it. Sites of
//! one table, of the same options, that filter alike at the source are one source, which produces what any of them
//! needs: two sources of one stream would have two watermarks and do the work twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::analysis::enforces;
use crate::catalog::CatalogTable;
use crate::catalog::TableDefinition;
use crate::stream::{TemporalTable, Watermark, is_lookup, node_of, unaliased};

/// One place of a plan that reads a table.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) table: Arc<TableDefinition>,
    /// How many lookup joins' tables it is part of. Such a table is read to its end before the
    /// other side is, so that a source of both would wait for itself.
    pub(super) lookups: usize,
    /// Conditions that the source applies itself, over the table's columns.
    pub(super) filters: Vec<Expr>,
    /// The event time and the watermark, over the table's columns.
    pub(super) watermark: Option<(Expr, Expr)>,
    /// Other conditions, over the table's columns. They come after the watermark, wherever they
    /// stand: DataFusion puts those without columns, such as `NOW() > …`, below it.
    pub(super) later_filters: Vec<Expr>,
    /// The columns of the plan, over the table's columns.
    pub(super) columns: Vec<Expr>,
}

impl Site {
    /// Reads a plan as a site, `None` where it is more than that.
    pub(super) fn of(plan: &LogicalPlan) -> Option<Self> {
        match plan {
            LogicalPlan::TableScan(scan) => {
                let table = Arc::clone(CatalogTable::definition_of(&scan.source)?);
                let columns = scan.projected_schema.columns();
                let bare = |column: Column| Expr::Column(Column::new_unqualified(column.name));
                let plain = scan.filters.is_empty() && scan.fetch.is_none();
                plain.then(|| Self {
                    table,
                    lookups: 0,
                    filters: Vec::new(),
                    watermark: None,
                    later_filters: Vec::new(),
                    columns: columns.into_iter().map(bare).collect(),
                })
            }
            LogicalPlan::SubqueryAlias(alias) => Self::of(&alias.input),
            LogicalPlan::Filter(filter) => {
                let mut site = Self::of(&filter.input)?;
                for condition in split_conjunction(&filter.predicate) {
                    let schema = filter.input.schema();
                    // What is another value each time must not be computed a second time.
                    let is_volatile = |column: &Column| {
                        let index = schema.index_of_column(column);
                        index.is_ok_and(|index| site.columns[index].is_volatile())
                    };
                    if holds_subquery(condition)
                        || condition.column_refs().into_iter().any(is_volatile)
                    {
                        return None;
                    }
                    let condition = site.substitute(condition, schema)?;
                    let at_source = site.watermark.is_none() && enforces(&site.table, &condition);
                    let filters =
                        if at_source { &mut site.filters } else { &mut site.later_filters };
                    filters.push(condition);
                }
                Some(site)
            }
            LogicalPlan::Projection(projection) => {
                let mut site = Self::of(&projection.input)?;
                let schema = projection.input.schema();
                if site.repeats_work(&projection.expr, schema) {
                    return None;
                }
                let columns = projection.expr.iter();
                site.columns = columns
                    .map(|expr| site.substitute(unaliased(expr), schema))
                    .collect::<Option<_>>()?;
                Some(site)
            }
            plan => {
                if let Some(table) = node_of::<TemporalTable>(plan) {
                    return Self::of(&table.input);
                }
                let watermark = node_of::<Watermark>(plan)?;
                let mut site = Self::of(&watermark.input)?;
                let schema = watermark.input.schema();
                let time = site.substitute(&watermark.time, schema)?;
                let expr = site.substitute(&watermark.expr, schema)?;
                let first = site.watermark.is_none();
                site.watermark = Some((time, expr));
                first.then_some(site)
            }
        }
    }

    /// Puts the table's columns in place of the plan's.
    fn substitute(&self, expr: &Expr, schema: &DFSchema) -> Option<Expr> {
        let substituted = expr.clone().transform_up(|expr| match &expr {
            Expr::Column(column) => {
                let index = schema.index_of_column(column)?;
                Ok(Transformed::yes(self.columns[index].clone()))
            }
            _ => Ok(Transformed::no(expr)),
        });
        // Names inside, as those of functions that were expanded, would make equal things differ.
        substituted.ok().map(|expr| expr.data.unalias_nested().data)
    }

    /// Tells whether something costly would be computed more than once, were these expressions
    /// written over the table's columns.
    fn repeats_work(&self, exprs: &[Expr], schema: &DFSchema) -> bool {
        let mut uses = vec![0_usize; self.columns.len()];
        for expr in exprs {
            let counted = expr.apply(|expr| {
                if let Expr::Column(column) = expr {
                    uses[schema.index_of_column(column)?] += 1;
                }
                Ok(TreeNodeRecursion::Continue)
            });
            if counted.is_err() {
                return true;
            }
        }
        self.columns.iter().zip(uses).any(|(column, uses)| uses > 1 && !is_cheap(column))
    }

    /// Returns what the source has to produce. What is computed of rows that a later filter leaves
    /// out is computed after it.
    fn source_columns(&self) -> Vec<Expr> {
        let time = self.watermark.as_ref().map(|(time, _)| time);
        let read = |exprs: &[Expr]| -> Vec<Expr> {
            exprs.iter().flat_map(|expr| leaves(expr, time)).collect()
        };
        let mut columns = if self.later_filters.is_empty() {
            self.columns.clone()
        } else {
            [read(&self.columns), read(&self.later_filters)].concat()
        };
        if let Some((time, expr)) = &self.watermark {
            columns.push(time.clone());
            columns.extend(leaves(expr, Some(time)));
        }
        columns
    }

    /// Tells whether two sites can be one source.
    fn reads_same_rows(&self, other: &Self) -> bool {
        self.table == other.table
            && self.lookups == other.lookups
            && self.filters.len() == other.filters.len()
            && self.filters.iter().all(|filter| other.filters.contains(filter))
    }
}

fn holds_subquery(expr: &Expr) -> bool {
    let is_subquery = |expr: &Expr| {
        matches!(
            expr,
            Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::ScalarSubquery(_)
                | Expr::SetComparison(_)
        )
    };
    expr.exists(|expr| Ok(is_subquery(expr))).unwrap_or(true)
}

/// Tells whether an expression costs nothing: a column, a literal or a field of a struct.
pub(super) fn is_cheap(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(_) | Expr::Literal(..)) || leaf(expr).is_some()
}

/// Reads a column, or a field of a field … of a struct column, as its path of names.
fn leaf(expr: &Expr) -> Option<Vec<String>> {
    match expr {
        Expr::Column(column) => Some(vec![column.name.clone()]),
        Expr::ScalarFunction(call) if call.func.name() == "get_field" => {
            let (base, names) = call.args.split_first()?;
            let mut path = leaf(base)?;
            for name in names {
                let Expr::Literal(value, _) = name else { return None };
                path.push(text(value)?);
            }
            Some(path)
        }
        _ => None,
    }
}

fn text(value: &ScalarValue) -> Option<String> {
    value.try_as_str().flatten().map(str::to_owned)
}

/// Returns what an expression reads of a table: its columns, fields of them, and the event time.
fn leaves(expr: &Expr, time: Option<&Expr>) -> Vec<Expr> {
    let mut columns = Vec::new();
    // Walking an expression fails only where the visitor does.
    let _ = expr.apply(|expr| {
        if Some(expr) == time || leaf(expr).is_some() {
            columns.push(expr.clone());
            return Ok(TreeNodeRecursion::Jump);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    columns
}

/// The sources of the plans that become one graph, each with what any of its sites needs.
#[derive(Debug, Default)]
pub(super) struct Sites {
    pub(super) merged: Vec<Site>,
}

impl Sites {
    /// Finds the sites of a plan that is part of so many lookup joins' tables.
    pub(super) fn collect(&mut self, plan: &LogicalPlan, lookups: usize) {
        if let Some(site) = Site::of(plan) {
            self.add(Site { lookups, ..site });
            return;
        }
        let is_lookup = matches!(plan, LogicalPlan::Join(join) if is_lookup(join));
        for (place, input) in plan.inputs().into_iter().enumerate() {
            self.collect(input, lookups + usize::from(is_lookup && place == 1));
        }
    }

    fn add(&mut self, site: Site) {
        let index = self.find(&site).unwrap_or_else(|| {
            self.merged.push(Site {
                columns: Vec::new(),
                watermark: None,
                later_filters: Vec::new(),
                ..site.clone()
            });
            self.merged.len() - 1
        });
        let known = &mut self.merged[index];
        for column in site.source_columns() {
            if !known.columns.contains(&column) {
                known.columns.push(column);
            }
        }
        sort(&mut known.columns, &known.table);
        known.watermark = known.watermark.take().or(site.watermark);
    }

    /// Returns the index of the source that a site has become part of.
    pub(super) fn find(&self, site: &Site) -> Option<usize> {
        self.merged.iter().position(|merged| merged.reads_same_rows(site))
    }
}

/// Orders columns as the table has them, what is computed last.
fn sort(columns: &mut [Expr], table: &TableDefinition) {
    let schema = table.physical_schema();
    columns.sort_by_key(|column| match leaf(column) {
        Some(path) => {
            let place = schema.index_of(&path[0]).unwrap_or(usize::MAX);
            (0, place, field_places(&schema, &path))
        }
        None => (1, 0, Vec::new()),
    });
}

fn field_places(schema: &Schema, path: &[String]) -> Vec<usize> {
    let mut fields = schema.fields();
    let mut places = Vec::new();
    for name in path {
        let Some((place, field)) = fields.find(name) else { break };
        places.push(place);
        match field.data_type() {
            DataType::Struct(inner) => fields = inner,
            _ => break,
        }
    }
    places
}

/// The fields of a column that are used; none of a struct's fields listed means all of it.
#[derive(Debug, Default)]
struct Used {
    whole: bool,
    fields: BTreeMap<String, Used>,
}

impl Used {
    fn add(&mut self, path: &[String]) {
        match path.split_first() {
            None => self.whole = true,
            Some((name, rest)) => self.fields.entry(name.clone()).or_default().add(rest),
        }
    }

    fn narrow(&self, field: &FieldRef) -> FieldRef {
        let DataType::Struct(fields) = field.data_type() else { return Arc::clone(field) };
        if self.whole {
            return Arc::clone(field);
        }
        let kept = fields
            .iter()
            .filter_map(|inner| self.fields.get(inner.name()).map(|used| used.narrow(inner)));
        let data_type = DataType::Struct(kept.collect());
        Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
    }
}

/// Narrows a table's columns to those that expressions use, structs to the fields used.
pub(super) fn narrowed<'a>(
    schema: &SchemaRef,
    exprs: impl IntoIterator<Item = &'a Expr>,
) -> Result<SchemaRef> {
    let mut used = Used::default();
    for expr in exprs {
        expr.apply(|expr| match leaf(expr) {
            Some(path) => {
                used.add(&path);
                Ok(TreeNodeRecursion::Jump)
            }
            None => Ok(TreeNodeRecursion::Continue),
        })?;
    }
    let kept = schema
        .fields()
        .iter()
        .filter_map(|field| used.fields.get(field.name()).map(|used| used.narrow(field)));
    Ok(Arc::new(Schema::new(kept.collect::<Vec<_>>())))
}
