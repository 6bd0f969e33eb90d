//! Joins: on the window, within an interval of time, or against a bounded table.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::common::{DFSchemaRef, JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Join};
use datafusion::physical_expr::PhysicalExpr;
use rainstorm_engine::graph::{
    ChangelogMode, IntervalJoinSpec, LookupJoinSpec, OperatorSpec, WindowJoinSpec,
};

use super::Lowering;
use super::expr::renumber;
use super::flow::{Distribution, Flow, FlowKind, FlowNode, Port, schema_of};
use super::join_words::join_sql;
use super::relation::{Place, Relation, field_of};
use crate::stream::{Bounds, Derived, JoinMethod, WindowPairs, WindowPart, conditions, unaliased};

/// Both sides of a join, with nothing in them that the join does not need.
struct Sides {
    left: Relation,
    right: Relation,
    /// Equal columns of the nodes, as (left, right).
    on: Vec<(usize, usize)>,
}

impl Lowering<'_> {
    pub(super) fn join(
        &mut self,
        join: &Join,
        left: &Derived<'_>,
        right: &Derived<'_>,
    ) -> Result<Relation> {
        if join.null_equality == NullEquality::NullEqualsNull {
            let what = match join.join_type {
                JoinType::LeftSemi => "INTERSECT over streams",
                JoinType::LeftAnti => "EXCEPT over streams",
                _ => "a join on IS NOT DISTINCT FROM",
            };
            return self.unsupported(what, "");
        }
        let method = JoinMethod::of(join, &left.properties, &right.properties)?;
        if matches!(method, JoinMethod::Lookup) {
            let stream = self.lower(left)?;
            let table = self.lookup_table(right)?;
            return self.lookup_join(join, stream, table, left.properties.changes);
        }
        match &method {
            JoinMethod::Window(_) => self.append_only([left, right], "a window join")?,
            JoinMethod::Interval(_) => self.append_only([left, right], "an interval join")?,
            JoinMethod::Unbounded | JoinMethod::Lookup => return self.refuse_join(join),
        }
        let inputs = (self.lower(left)?, self.lower(right)?);
        match method {
            JoinMethod::Window(pairs) => self.window_join(join, [left, right], inputs, &pairs),
            JoinMethod::Interval(bounds) => self.interval_join(join, inputs, bounds),
            JoinMethod::Unbounded | JoinMethod::Lookup => self.refuse_join(join),
        }
    }

    /// Lowers the table of a lookup join, past the node that marks it.
    fn lookup_table(&mut self, right: &Derived<'_>) -> Result<Relation> {
        if !right.properties.bounded {
            return self.unsupported(
                "FOR SYSTEM_TIME AS OF over an unbounded table",
                "a lookup join reads its table to the end first",
            );
        }
        if right.properties.changes == ChangelogMode::Retract {
            return self.unsupported("FOR SYSTEM_TIME AS OF over an updating query", "");
        }
        self.lookups += 1;
        let table = self.lower(right);
        self.lookups -= 1;
        table?.assign_windows(&mut self.flow)
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
        renumber(super::expr::condition(&condition, &both)?, |column| {
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
        known: [&Derived<'_>; 2],
        (left, right): (Relation, Relation),
        pairs: &WindowPairs,
    ) -> Result<Relation> {
        if matches!(join.join_type, JoinType::LeftMark | JoinType::RightMark) {
            return self.unsupported("EXISTS or IN inside OR", "");
        }
        let sides = self.sides(join, left, right, &pairs.on)?;
        let window_of = |side: &Relation, known: &Derived<'_>, window| {
            let find = |part| side.node_column(known.properties.window_column(part, window)?);
            Some((find(WindowPart::Start)?, find(WindowPart::End)?))
        };
        let windows = (
            window_of(&sides.left, known[0], pairs.left),
            window_of(&sides.right, known[1], pairs.right),
        );
        let (Some(left_window), Some(right_window)) = windows else {
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
        self.add_join(spec, join.join_type, &sides)
    }

    fn refuse_join<T>(&self, join: &Join) -> Result<T> {
        let interval_types = [JoinType::Inner, JoinType::Left, JoinType::Right, JoinType::Full];
        if !interval_types.contains(&join.join_type) {
            return self.unsupported(
                format!("{} without a window", join_sql(join)),
                "semi and anti joins are supported on the window of both sides, but not within an \
                 interval of time; a join within an interval is",
            );
        }
        self.unsupported(
            format!("{} without a window or a bound on time", join_sql(join)),
            "join on the window of both sides, or bound the distance of their event times \
             from both sides (a.ts BETWEEN b.ts - INTERVAL … AND b.ts), or look a bounded \
             table up with FOR SYSTEM_TIME AS OF",
        )
    }

    fn interval_join(
        &mut self,
        join: &Join,
        (left, right): (Relation, Relation),
        bounds: Bounds,
    ) -> Result<Relation> {
        let interval_types = [JoinType::Inner, JoinType::Left, JoinType::Right, JoinType::Full];
        if !interval_types.contains(&join.join_type) {
            return self.refuse_join(join);
        }
        let Bounds { left_time, right_time, lower_ms, upper_ms, rest } = bounds;
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
        self.add_join(spec, join.join_type, &sides)
    }

    fn lookup_join(
        &mut self,
        join: &Join,
        left: Relation,
        right: Relation,
        changelog: ChangelogMode,
    ) -> Result<Relation> {
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
            changelog,
            parallelism: left.parallelism(&self.flow),
            partitioned,
        };
        let columns = joined_columns(&sides, join.join_type, &self.flow)?;
        Ok(Relation { nodes: vec![self.flow.add(node)], columns, pending: None })
    }

    fn add_join(
        &mut self,
        spec: OperatorSpec,
        join_type: JoinType,
        sides: &Sides,
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
        };
        let columns = joined_columns(sides, join_type, &self.flow)?;
        Ok(Relation { nodes: vec![self.flow.add(node)], columns, pending: None })
    }

    fn append_only(&self, sides: [&Derived<'_>; 2], what: &str) -> Result<()> {
        if sides.iter().any(|side| side.properties.changes == ChangelogMode::Retract) {
            return self.unsupported(format!("{what} over an updating input"), "");
        }
        Ok(())
    }
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

/// Returns the columns of a join's output.
fn joined_columns(sides: &Sides, join_type: JoinType, flow: &Flow) -> Result<Vec<Place>> {
    let (has_left, has_right) = outputs(join_type);
    let shift = if has_left { sides.left.schema(flow)?.fields().len() } else { 0 };
    let shifted = |column: &Place| match *column {
        Place::Node(index) => Place::Node(index + shift),
        window @ Place::Window(_) => window,
    };
    let mut columns = Vec::new();
    if has_left {
        columns.extend(&sides.left.columns);
    }
    if has_right {
        columns.extend(sides.right.columns.iter().map(shifted));
    }
    Ok(columns)
}
