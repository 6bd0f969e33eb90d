//! Which pairs join, and what their output looks like.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array,
};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::JoinType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;

use super::keys::equal;
use super::pairs::{Pairs, Picked, Stored};
use super::table::Table;
use crate::batch::Batch;
use crate::graph::OperatorNode;
use crate::operator::Output;
use crate::wording::expression_sql;
use crate::{Error, Result};

/// What becomes of the rows of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::operator) enum Role {
    /// They appear in pairs only.
    Inner,
    /// Those without a partner appear with nulls for the other side.
    Outer,
    /// Those with a partner appear, once and alone.
    Semi,
    /// Those without a partner appear alone.
    Anti,
}

impl Role {
    /// Tells whether it counts whether a row has found a partner.
    pub(in crate::operator) fn is_tracked(self) -> bool {
        self != Self::Inner
    }

    /// Tells whether rows appear because they have found no partner.
    pub(in crate::operator) fn emits_unmatched(self) -> bool {
        matches!(self, Self::Outer | Self::Anti)
    }
}

/// Says of two sides' rows which join, and what comes out.
#[derive(Debug)]
pub(in crate::operator) struct JoinShape {
    /// What becomes of the left and right rows.
    pub(in crate::operator) roles: [Role; 2],
    /// The columns of each side.
    pub(in crate::operator) schemas: [SchemaRef; 2],
    /// The columns of each side that must be equal.
    keys: [Vec<usize>; 2],
    filter: Option<PairFilter>,
    output: SchemaRef,
}

impl JoinShape {
    /// Makes the shape of an operator's join.
    ///
    /// # Errors
    /// `Invalid` for a join type that is not supported, `Internal` where the node does not have
    /// two inputs.
    pub(in crate::operator) fn new(
        node: &OperatorNode,
        join_type: JoinType,
        on: &[(usize, usize)],
        filter: Option<&Arc<dyn PhysicalExpr>>,
    ) -> Result<Self> {
        let [left, right] = node.inputs.as_slice() else {
            let inputs = node.inputs.len();
            return Err(Error::Internal(format!("a join has two inputs, not {inputs}")));
        };
        Ok(Self {
            roles: roles(join_type)?,
            schemas: [left.clone(), right.clone()],
            keys: [
                on.iter().map(|(left, _)| *left).collect(),
                on.iter().map(|(_, right)| *right).collect(),
            ],
            filter: filter.map(|expr| PairFilter::new(expr, left, right)).transpose()?,
            output: node.output.clone(),
        })
    }

    /// Tells whether pairs come out.
    fn emits_pairs(&self) -> bool {
        !self.roles.iter().any(|role| matches!(role, Role::Semi | Role::Anti))
    }

    /// Keeps the candidates that join. `rows` are of side `side`, the tables of the other.
    pub(in crate::operator) fn verify(
        &self,
        side: usize,
        rows: &RecordBatch,
        tables: &[&Table],
        pairs: &mut Pairs,
    ) -> Result<()> {
        for (probe_key, stored_key) in self.keys[side].iter().zip(&self.keys[1 - side]) {
            let probe = Picked::of_batch(rows, &pairs.probe).column(*probe_key)?;
            let stored = Picked::of_tables(tables, &pairs.stored).column(*stored_key)?;
            pairs.retain(&equal(&probe, &stored)?);
        }
        if let Some(filter) = &self.filter
            && !pairs.is_empty()
        {
            let probe = Picked::of_batch(rows, &pairs.probe);
            let stored = Picked::of_tables(tables, &pairs.stored);
            let [left, right] = if side == 0 { [&probe, &stored] } else { [&stored, &probe] };
            pairs.retain(&filter.evaluate(left, right, pairs.len())?);
        }
        Ok(())
    }

    /// Puts pairs together: the left columns, then the right ones.
    pub(in crate::operator) fn assemble(
        &self,
        side: usize,
        rows: &RecordBatch,
        tables: &[&Table],
        pairs: &Pairs,
    ) -> Result<RecordBatch> {
        let probe = Picked::of_batch(rows, &pairs.probe);
        let stored = Picked::of_tables(tables, &pairs.stored);
        let sides = if side == 0 { [&probe, &stored] } else { [&stored, &probe] };
        let mut columns = Vec::with_capacity(self.output.fields().len());
        for (schema, picked) in self.schemas.iter().zip(sides) {
            for index in 0..schema.fields().len() {
                columns.push(picked.column(index)?);
            }
        }
        self.output_rows(columns, pairs.len())
    }

    /// Makes output of rows of one side that come out alone: with nulls for the other side in an
    /// outer join, as they are in a semi or anti join.
    pub(in crate::operator) fn alone(
        &self,
        side: usize,
        rows: &RecordBatch,
    ) -> Result<RecordBatch> {
        let count = rows.num_rows();
        let mut columns = rows.columns().to_vec();
        if self.roles[side] == Role::Outer {
            let other = self.schemas[1 - side].fields();
            let nulls = other.iter().map(|field| new_null_array(field.data_type(), count));
            columns = if side == 0 {
                columns.into_iter().chain(nulls).collect()
            } else {
                nulls.chain(columns).collect()
            };
        }
        self.output_rows(columns, count)
    }

    /// Gathers rows of tables that come out alone.
    pub(in crate::operator) fn stored_alone(
        &self,
        side: usize,
        tables: &[&Table],
        stored: &[Stored],
    ) -> Result<RecordBatch> {
        let picked = Picked::of_tables(tables, stored);
        let fields = self.schemas[side].fields().len();
        let columns = (0..fields).map(|index| picked.column(index)).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(stored.len()));
        let rows = RecordBatch::try_new_with_options(self.schemas[side].clone(), columns, &options)
            .map_err(|error| Error::compute("gather the rows of a join", error))?;
        self.alone(side, &rows)
    }

    fn output_rows(&self, columns: Vec<ArrayRef>, count: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(self.output.clone(), columns, &options)
            .map_err(|error| Error::compute("put joined rows together", error))
    }

    /// Settles candidates: keeps those that join, emits what comes of them, and notes who has
    /// found a partner. `rows` are of side `side`; `tables` with their marks are of the other.
    /// The pairs are used up.
    pub(in crate::operator) fn settle(
        &self,
        side: usize,
        rows: &RecordBatch,
        tables: &mut [Marked<'_>],
        pairs: &mut Pairs,
        found: &mut [bool],
        out: &mut Output,
    ) -> Result<()> {
        if pairs.is_empty() {
            return Ok(());
        }
        let views: Vec<&Table> = tables.iter().map(|marked| marked.table).collect();
        self.verify(side, rows, &views, pairs)?;
        if self.emits_pairs() && !pairs.is_empty() {
            out.push(Batch::insert(self.assemble(side, rows, &views, pairs)?))?;
        }
        if self.roles[side].is_tracked() {
            pairs.probe.iter().for_each(|row| found[*row as usize] = true);
        }
        if self.roles[1 - side].is_tracked() {
            let newly = mark(tables, &pairs.stored);
            if self.roles[1 - side] == Role::Semi && !newly.is_empty() {
                out.push(Batch::insert(self.stored_alone(1 - side, &views, &newly)?))?;
            }
        }
        pairs.clear();
        Ok(())
    }

    /// Emits the probing rows that come out alone, now that it is known which found a partner:
    /// semi rows with one, and where no partner can come any more (`is_final`) outer and anti
    /// rows without one.
    pub(in crate::operator) fn settle_alone(
        &self,
        side: usize,
        rows: &RecordBatch,
        found: &[bool],
        is_final: impl Fn(usize) -> bool,
        out: &mut Output,
    ) -> Result<()> {
        let role = self.roles[side];
        let comes_out = |row: usize| match role {
            Role::Inner => false,
            Role::Semi => found[row],
            Role::Outer | Role::Anti => !found[row] && is_final(row),
        };
        if role == Role::Inner {
            return Ok(());
        }
        let mask: BooleanArray = (0..rows.num_rows()).map(|row| Some(comes_out(row))).collect();
        if mask.true_count() > 0 {
            let rows = arrow::compute::filter_record_batch(rows, &mask)
                .map_err(|error| Error::compute("divide the rows of a join", error))?;
            out.push(Batch::insert(self.alone(side, &rows)?))?;
        }
        Ok(())
    }

    /// Emits the rows of a table that never found a partner, where the join shows them.
    pub(in crate::operator) fn settle_table(
        &self,
        side: usize,
        table: &Table,
        marks: &[bool],
        out: &mut Output,
    ) -> Result<()> {
        if !self.roles[side].emits_unmatched() {
            return Ok(());
        }
        let unmatched = marks.iter().enumerate().filter(|(_, found)| !**found);
        let stored: Vec<Stored> =
            unmatched.map(|(row, _)| Stored { table: 0, row: row as u32 }).collect();
        if !stored.is_empty() {
            out.push(Batch::insert(self.stored_alone(side, &[table], &stored)?))?;
        }
        Ok(())
    }
}

/// A table that is probed, with a mark for each row that has found a partner; without marks
/// where that does not count.
#[derive(Debug)]
pub(in crate::operator) struct Marked<'a> {
    pub(in crate::operator) table: &'a Table,
    pub(in crate::operator) marks: &'a mut [bool],
}

/// Marks rows and returns those that were not marked before.
fn mark(tables: &mut [Marked<'_>], stored: &[Stored]) -> Vec<Stored> {
    let mut newly = Vec::new();
    for stored in stored {
        let mark = &mut tables[stored.table as usize].marks[stored.row as usize];
        if !*mark {
            *mark = true;
            newly.push(*stored);
        }
    }
    newly
}

fn roles(join_type: JoinType) -> Result<[Role; 2]> {
    use Role::{Anti, Inner, Outer, Semi};
    match join_type {
        JoinType::Inner => Ok([Inner, Inner]),
        JoinType::Left => Ok([Outer, Inner]),
        JoinType::Right => Ok([Inner, Outer]),
        JoinType::Full => Ok([Outer, Outer]),
        JoinType::LeftSemi => Ok([Semi, Inner]),
        JoinType::RightSemi => Ok([Inner, Semi]),
        JoinType::LeftAnti => Ok([Anti, Inner]),
        JoinType::RightAnti => Ok([Inner, Anti]),
        other => Err(Error::Invalid(format!("{other} joins are not supported"))),
    }
}

/// A condition over left ++ right columns, of which only those that it reads are gathered.
#[derive(Debug)]
struct PairFilter {
    expr: Arc<dyn PhysicalExpr>,
    /// The columns that it reads, as indices into left ++ right.
    columns: Vec<usize>,
    left_columns: usize,
    schema: SchemaRef,
}

impl PairFilter {
    fn new(expr: &Arc<dyn PhysicalExpr>, left: &SchemaRef, right: &SchemaRef) -> Result<Self> {
        let mut columns: Vec<usize> =
            collect_columns(expr).into_iter().map(|column| column.index()).collect();
        columns.sort_unstable();
        columns.dedup();
        let both: Vec<_> = left.fields().iter().chain(right.fields()).cloned().collect();
        if columns.last().is_some_and(|last| *last >= both.len()) {
            return Err(Error::Internal(format!("{expr} reads beyond {} columns", both.len())));
        }
        let narrowed = Arc::clone(expr).transform_down(|expr| {
            let Some(column) = expr.downcast_ref::<Column>() else {
                return Ok(Transformed::no(expr));
            };
            let index = columns.binary_search(&column.index()).expect("columns were collected");
            Ok(Transformed::yes(Arc::new(Column::new(column.name(), index)) as _))
        });
        let expr =
            narrowed.map_err(|error| Error::compute("narrow the condition of a join", error))?.data;
        let fields: Vec<_> = columns.iter().map(|column| both[*column].clone()).collect();
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { expr, columns, left_columns: left.fields().len(), schema })
    }

    fn evaluate(
        &self,
        left: &Picked<'_>,
        right: &Picked<'_>,
        count: usize,
    ) -> Result<BooleanArray> {
        let columns = self.columns.iter().map(|index| match index.checked_sub(self.left_columns) {
            None => left.column(*index),
            Some(index) => right.column(index),
        });
        let failed =
            |error| Error::compute(format!("compute {}", expression_sql(&self.expr)), error);
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|error| Error::compute("gather the rows of a join", error))?;
        let result = self.expr.evaluate(&rows).and_then(|value| value.into_array(count));
        Ok(result.map_err(failed)?.as_boolean().clone())
    }
}
