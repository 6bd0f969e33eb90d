//! Joins: on the window, within an interval of time, or against a bounded table.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::common::{DFSchemaRef, JoinSide, JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, Join};
use datafusion::physical_expr::PhysicalExpr;
use rainstorm_engine::graph::{
    ChangelogMode, IntervalJoinSpec, LookupJoinSpec, OperatorSpec, WindowJoinSpec,
};

use super::Lowering;
use super::expr::{physical, renumber, unaliased};
use super::flow::{Distribution, Flow, FlowKind, FlowNode, Port, schema_of};
use super::interval::{self, Bounds};
use super::join_words::join_sql;
use super::relation::{Place, Relation, RelationColumn, field_of};
use crate::analysis::{Meaning, WindowPart};
use crate::bind::temporal_table;

/// Both sides of a join, with nothing in them that the join does not need.
struct Sides {
    left: Relation,
    right: Relation,
    /// Equal columns of the nodes, as (left, right).
    on: Vec<(usize, usize)>,
}

impl Lowering<'_> {
    pub(super) fn join(&mut self, join: &Join) -> Result<Relation> {
        if join.null_equality == NullEquality::NullEqualsNull {
            let what = match join.join_type {
                JoinType::LeftSemi => "INTERSECT over streams",
                JoinType::LeftAnti => "EXCEPT over streams",
                _ => "a join on IS NOT DISTINCT FROM",
            };
            return self.unsupported(what, "");
        }
        let is_lookup = temporal_table(&join.right).is_some();
        let left = self.lower(&join.left)?;
        let right = if is_lookup { self.lookup_table(join)? } else { self.lower(&join.right)? };
        if is_lookup {
            return self.lookup_join(join, left, right);
        }
        if let Some(window_pairs) = window_pairs(join, &left, &right)? {
            return self.window_join(join, left, right, &window_pairs);
        }
        self.interval_join(join, left, right)
    }

    /// Lowers the table of a lookup join, past the node that marks it.
    fn lookup_table(&mut self, join: &Join) -> Result<Relation> {
        let plan = crate::bind::without_temporal(&join.right)?;
        let table = self.lower(&plan)?.assign_windows(&mut self.flow)?;
        if !table.is_bounded(&self.flow) {
            return self.unsupported(
                "FOR SYSTEM_TIME AS OF over an unbounded table",
                "a lookup join reads its table to the end first",
            );
        }
        if table.changelog(&self.flow) == ChangelogMode::Retract {
            return self.unsupported("FOR SYSTEM_TIME AS OF over an updating query", "");
        }
        Ok(table)
    }

    /// Lays both sides out, with columns for what is compared. `leave_out` are equalities that
    /// something else takes care of.
    fn sides(
        &mut self,
        join: &Join,
        left: Relation,
        right: Relation,
        leave_out: &[usize],
    ) -> Result<Sides> {
        let left = left.assign_windows(&mut self.flow)?;
        let right = right.assign_windows(&mut self.flow)?;
        let kept = join.on.iter().enumerate().filter(|(index, _)| !leave_out.contains(index));
        let (left_exprs, right_exprs): (Vec<_>, Vec<_>) =
            kept.map(|(_, (left, right))| (unaliased(left), unaliased(right))).unzip();
        let left_keys = self.keys(&left, &left_exprs, join.left.schema())?;
        let right_keys = self.keys(&right, &right_exprs, join.right.schema())?;
        let (left, left_on) = left.compact(&mut self.flow, &left_keys)?;
        let (right, right_on) = right.compact(&mut self.flow, &right_keys)?;
        Ok(Sides { left, right, on: left_on.into_iter().zip(right_on).collect() })
    }

    fn keys(
        &self,
        side: &Relation,
        exprs: &[&Expr],
        schema: &DFSchemaRef,
    ) -> Result<Vec<(Arc<dyn PhysicalExpr>, FieldRef)>> {
        let nodes = side.schema(&self.flow)?;
        let key = |expr: &&Expr| {
            let key = side.expr(&self.flow, expr, schema)?;
            let field = match expr {
                Expr::Column(column) => {
                    let place = side.node_column(schema.index_of_column(column)?);
                    Arc::clone(&nodes.fields()[place.unwrap_or_default()])
                }
                other => field_of(&other.schema_name().to_string(), &key, nodes)?,
            };
            Ok((key, field))
        };
        exprs.iter().map(key).collect()
    }

    /// Makes a join's condition one over the left nodes' columns and then the right ones'.
    fn condition(
        &self,
        join: &Join,
        sides: &Sides,
        conditions: Vec<Expr>,
    ) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let Some(condition) = conjunction(conditions) else { return Ok(None) };
        let both = join.left.schema().join(join.right.schema())?;
        let (left, right) = (sides.left.schema(&self.flow)?, sides.right.schema(&self.flow)?);
        let left_columns = join.left.schema().fields().len();
        renumber(physical(&condition, &both)?, |column| {
            if column < left_columns {
                let index = sides.left.node_column(column)?;
                Some((left.field(index).name().clone(), index))
            } else {
                let index = sides.right.node_column(column - left_columns)?;
                Some((right.field(index).name().clone(), left.fields().len() + index))
            }
        })
        .map(Some)
    }

    fn window_join(
        &mut self,
        join: &Join,
        left: Relation,
        right: Relation,
        pairs: &[usize],
    ) -> Result<Relation> {
        self.append_only(&left, &right, "a window join")?;
        if matches!(join.join_type, JoinType::LeftMark | JoinType::RightMark) {
            return self.unsupported("EXISTS or IN inside OR", "");
        }
        let sides = self.sides(join, left, right, pairs)?;
        let (Some(left_window), Some(right_window)) =
            (window_of(&sides.left), window_of(&sides.right))
        else {
            return self.unsupported(
                "a window join on one end of the window only",
                "select window_start and window_end of both sides and compare both",
            );
        };
        let filter = self.condition(join, &sides, conditions(join))?;
        let spec = OperatorSpec::WindowJoin(WindowJoinSpec {
            join_type: join.join_type,
            on: sides.on.clone(),
            left_window,
            right_window,
            filter,
        });
        self.add_join(spec, join.join_type, &sides, true)
    }

    fn interval_join(&mut self, join: &Join, left: Relation, right: Relation) -> Result<Relation> {
        let interval_types = [JoinType::Inner, JoinType::Left, JoinType::Right, JoinType::Full];
        if !interval_types.contains(&join.join_type) {
            return self.unsupported(
                format!("{} without a window", join_sql(join)),
                "semi and anti joins are supported on the window of both sides, but not within an \
                 interval of time; a join within an interval is",
            );
        }
        let all = conditions(join);
        let both = join.left.schema().join(join.right.schema())?;
        let left_columns = join.left.schema().fields().len();
        let time_of = |column: &datafusion::common::Column| {
            let index = both.maybe_index_of_column(column)?;
            let (side, relation, index) = if index < left_columns {
                (JoinSide::Left, &left, index)
            } else {
                (JoinSide::Right, &right, index - left_columns)
            };
            relation.columns[index].meaning.is_time.then_some((side, index))
        };
        let Some(Bounds { left_time, right_time, lower_ms, upper_ms, rest }) =
            interval::bounds(&all, &join.on, time_of)
        else {
            return self.unsupported(
                format!("{} without a window or a bound on time", join_sql(join)),
                "join on the window of both sides, or bound the distance of their event times \
                 from both sides (a.ts BETWEEN b.ts - INTERVAL … AND b.ts), or look a bounded \
                 table up with FOR SYSTEM_TIME AS OF",
            );
        };
        self.append_only(&left, &right, "an interval join")?;
        let sides = self.sides(join, left, right, &[])?;
        let filter = self.condition(join, &sides, rest)?;
        let place = |side: &Relation, column| side.node_column(column).unwrap_or_default();
        let spec = OperatorSpec::IntervalJoin(IntervalJoinSpec {
            join_type: join.join_type,
            on: sides.on.clone(),
            left_time: place(&sides.left, left_time),
            right_time: place(&sides.right, right_time),
            lower_ms,
            upper_ms,
            filter,
        });
        self.add_join(spec, join.join_type, &sides, false)
    }

    fn lookup_join(&mut self, join: &Join, left: Relation, right: Relation) -> Result<Relation> {
        if !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
            return self.unsupported(
                format!("{} FOR SYSTEM_TIME AS OF", join_sql(join)),
                "use JOIN or LEFT JOIN",
            );
        }
        let sides = self.sides(join, left, right, &[])?;
        let filter = self.condition(join, &sides, conditions(join))?;
        let spec = OperatorSpec::LookupJoin(LookupJoinSpec {
            join_type: join.join_type,
            on: sides.on.clone(),
            filter,
        });
        let Sides { left, right, .. } = &sides;
        let mut partitions =
            left.nodes.iter().map(|node| self.flow.node(*node).partitioned.clone());
        let partitioned = if left.nodes.len() == 1 { partitions.next().flatten() } else { None };
        let node = FlowNode {
            kind: FlowKind::Operator(spec),
            ports: vec![
                Port { from: left.nodes.clone(), distribution: Distribution::Forward },
                Port { from: right.nodes.clone(), distribution: Distribution::Broadcast },
            ],
            schema: joined_schema(
                left.schema(&self.flow)?,
                right.schema(&self.flow)?,
                join.join_type,
            ),
            changelog: left.changelog(&self.flow),
            parallelism: left.parallelism(&self.flow),
            partitioned,
            upsert_key: None,
            bounded: left.is_bounded(&self.flow),
        };
        let columns = joined_columns(&sides, join.join_type, &self.flow)?;
        // The table's columns mean nothing to the stream.
        let left_count = left.columns.len();
        let columns = columns.into_iter().enumerate().map(|(index, column)| RelationColumn {
            meaning: if index < left_count { column.meaning } else { Meaning::default() },
            ..column
        });
        let columns = columns.collect();
        Ok(Relation { nodes: vec![self.flow.add(node)], columns, pending: None })
    }

    fn add_join(
        &mut self,
        spec: OperatorSpec,
        join_type: JoinType,
        sides: &Sides,
        keeps_window: bool,
    ) -> Result<Relation> {
        let Sides { left, right, on } = sides;
        let (left_keys, right_keys): (Vec<_>, Vec<_>) = on.iter().copied().unzip();
        let keyed = !on.is_empty();
        let distribution =
            |keys| if keyed { Distribution::Keys(keys) } else { Distribution::Single };
        // Unmatched rows of the right side have no left keys.
        let keeps_keys = !matches!(
            join_type,
            JoinType::Right | JoinType::Full | JoinType::RightSemi | JoinType::RightAnti
        );
        let node = FlowNode {
            kind: FlowKind::Operator(spec),
            ports: vec![
                Port { from: left.nodes.clone(), distribution: distribution(left_keys.clone()) },
                Port { from: right.nodes.clone(), distribution: distribution(right_keys) },
            ],
            schema: joined_schema(left.schema(&self.flow)?, right.schema(&self.flow)?, join_type),
            changelog: ChangelogMode::AppendOnly,
            parallelism: if keyed { self.parallelism } else { 1 },
            partitioned: (keyed && keeps_keys).then_some(left_keys),
            upsert_key: None,
            bounded: left.is_bounded(&self.flow) && right.is_bounded(&self.flow),
        };
        let mut columns = joined_columns(sides, join_type, &self.flow)?;
        if !keeps_window {
            for column in &mut columns {
                column.meaning.window = None;
            }
        }
        Ok(Relation { nodes: vec![self.flow.add(node)], columns, pending: None })
    }

    fn append_only(&self, left: &Relation, right: &Relation, what: &str) -> Result<()> {
        let updating = |side: &Relation| side.changelog(&self.flow) == ChangelogMode::Retract;
        if updating(left) || updating(right) {
            return self.unsupported(format!("{what} over an updating input"), "");
        }
        Ok(())
    }
}

/// Finds the equalities of windows in a join's condition; `None` where they do not name one.
fn window_pairs(join: &Join, left: &Relation, right: &Relation) -> Result<Option<Vec<usize>>> {
    let mut pairs = Vec::new();
    let mut parts = Vec::new();
    let mut one_part_is_enough = false;
    for (index, (left_expr, right_expr)) in join.on.iter().enumerate() {
        let (Expr::Column(left_column), Expr::Column(right_column)) =
            (unaliased(left_expr), unaliased(right_expr))
        else {
            continue;
        };
        let left_column = join.left.schema().index_of_column(left_column)?;
        let right_column = join.right.schema().index_of_column(right_column)?;
        let windows =
            (left.columns[left_column].meaning.window, right.columns[right_column].meaning.window);
        if let (Some((left_part, left_kind)), Some((right_part, right_kind))) = windows
            && left_part == right_part
            && left_kind.event_time == right_kind.event_time
        {
            one_part_is_enough |= left_kind == right_kind && left_kind.one_part_names_it();
            pairs.push(index);
            parts.push(left_part);
        }
    }
    let both = parts.contains(&WindowPart::Start) && parts.contains(&WindowPart::End);
    Ok((both || one_part_is_enough).then_some(pairs))
}

/// Returns the columns of the window that rows belong to.
fn window_of(side: &Relation) -> Option<(usize, usize)> {
    let find = |wanted| {
        side.columns.iter().find_map(|column| match (column.meaning.window, column.place) {
            (Some((part, _)), Place::Node(index)) if part == wanted => Some(index),
            _ => None,
        })
    };
    Some((find(WindowPart::Start)?, find(WindowPart::End)?))
}

fn conditions(join: &Join) -> Vec<Expr> {
    let all = join.filter.as_ref().map(split_conjunction).unwrap_or_default();
    all.into_iter().cloned().collect()
}

/// Tells whether a join's output has the left and the right columns.
fn outputs(join_type: JoinType) -> (bool, bool) {
    match join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => (true, false),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => (false, true),
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => (true, true),
    }
}

fn fills_left_with_nulls(join_type: JoinType) -> bool {
    matches!(join_type, JoinType::Right | JoinType::Full)
}

fn fills_right_with_nulls(join_type: JoinType) -> bool {
    matches!(join_type, JoinType::Left | JoinType::Full)
}

fn joined_schema(left: &SchemaRef, right: &SchemaRef, join_type: JoinType) -> SchemaRef {
    let side = |schema: &SchemaRef, output: bool, nulls: bool| -> Vec<FieldRef> {
        let fields = schema.fields().iter().filter(|_| output);
        fields
            .map(|field| {
                let nullable = nulls || field.is_nullable();
                Arc::new(field.as_ref().clone().with_nullable(nullable))
            })
            .collect()
    };
    let (has_left, has_right) = outputs(join_type);
    let mut fields = side(left, has_left, fills_left_with_nulls(join_type));
    fields.extend(side(right, has_right, fills_right_with_nulls(join_type)));
    schema_of(fields)
}

/// Returns the columns of a join's output; what may be null has no meaning.
fn joined_columns(sides: &Sides, join_type: JoinType, flow: &Flow) -> Result<Vec<RelationColumn>> {
    let (has_left, has_right) = outputs(join_type);
    let shift = if has_left { sides.left.schema(flow)?.fields().len() } else { 0 };
    let side = |relation: &Relation, shift: usize, nulls: bool| -> Vec<RelationColumn> {
        let columns = relation.columns.iter().map(|column| RelationColumn {
            place: match column.place {
                Place::Node(index) => Place::Node(index + shift),
                window @ Place::Window(_) => window,
            },
            meaning: if nulls { Meaning::default() } else { column.meaning },
        });
        columns.collect()
    };
    let mut columns = Vec::new();
    if has_left {
        columns.extend(side(&sides.left, 0, fills_left_with_nulls(join_type)));
    }
    if has_right {
        columns.extend(side(&sides.right, shift, fills_right_with_nulls(join_type)));
    }
    Ok(columns)
}
