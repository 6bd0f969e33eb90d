//! ORDER BY and LIMIT of rows that end, as part of a query.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::logical_expr::{FetchType, Limit, LogicalPlan, SkipType, Sort};
use rainstorm_engine::graph::{ChangelogMode, LimitSpec, OperatorSpec, SortKey, SortSpec};

use super::Lowering;
use super::flow::{Distribution, FlowKind, FlowNode, Port};
use super::relation::{Relation, field_of};
use crate::stream::Derived;

impl Lowering<'_> {
    /// Brings rows together and takes the first ones.
    pub(super) fn limit(&mut self, input: Relation, limit: LimitSpec) -> Result<Relation> {
        let (input, _) = input.compact(&mut self.flow, &[])?;
        self.single(input, OperatorSpec::Limit(limit))
    }

    /// Lowers a LIMIT; where it is one of rows in order, no more of them are kept.
    pub(super) fn first(&mut self, limit: &Limit, input: &Derived<'_>) -> Result<Relation> {
        if !Self::ends(input) {
            return self.unsupported(
                "LIMIT inside a streaming query",
                "LIMIT works at the end of a query",
            );
        }
        let (SkipType::Literal(offset), FetchType::Literal(count)) =
            (limit.get_skip_type()?, limit.get_fetch_type()?)
        else {
            return self.unsupported("LIMIT of an expression", "");
        };
        let limit = LimitSpec {
            offset: offset as u64,
            count: count.map_or(u64::MAX, |count| count as u64),
        };
        let rows = self.wanted(input, limit.offset.saturating_add(limit.count))?;
        self.limit(rows, limit)
    }

    /// Lowers what the first `count` rows are wanted of, also where they are computed from those in
    /// order.
    fn wanted(&mut self, input: &Derived<'_>, count: u64) -> Result<Relation> {
        match (input.plan, input.inputs.as_slice()) {
            (LogicalPlan::Sort(sort), [input]) => self.sort(sort, input, count),
            (LogicalPlan::Projection(projection), [input]) => {
                let rows = self.wanted(input, count)?;
                self.projected(projection, rows)
            }
            _ => self.lower(input),
        }
    }

    /// Lowers an ORDER BY of which the first `count` rows are wanted.
    pub(super) fn sort(
        &mut self,
        sort: &Sort,
        input: &Derived<'_>,
        count: u64,
    ) -> Result<Relation> {
        if !Self::ends(input) {
            return self.unsupported(
                "ORDER BY inside a streaming query",
                "ORDER BY works on the result of a SELECT over bounded tables",
            );
        }
        let rows = self.lower(input)?.assign_windows(&mut self.flow)?;
        let schema = Arc::clone(rows.schema(&self.flow)?);
        let mut by = Vec::with_capacity(sort.expr.len());
        for (number, key) in sort.expr.iter().enumerate() {
            let expr = rows.expr(&self.flow, &key.expr, sort.input.schema())?;
            let field = field_of(&format!("order_by_{number}"), &expr, &schema)?;
            by.push((expr, field));
        }
        let (rows, places) = rows.compact(&mut self.flow, &by)?;
        let keys = sort.expr.iter().zip(places).map(|(key, column)| SortKey {
            column,
            descending: !key.asc,
            nulls_first: key.nulls_first,
        });
        let spec = SortSpec { keys: keys.collect(), count };
        self.single(rows, OperatorSpec::Sort(spec))
    }

    /// Tells whether rows end and none is taken back.
    fn ends(input: &Derived<'_>) -> bool {
        let known = &input.properties;
        known.bounded && known.changes == ChangelogMode::AppendOnly
    }

    /// Adds an operator in one subtask that leaves columns as they are.
    fn single(&mut self, input: Relation, spec: OperatorSpec) -> Result<Relation> {
        let schema = Arc::clone(input.schema(&self.flow)?);
        let node = self.flow.add(FlowNode {
            kind: FlowKind::Operator(spec),
            ports: vec![Port { from: input.nodes, distribution: Distribution::Single }],
            schema,
            changelog: ChangelogMode::AppendOnly,
            parallelism: 1,
            partitioned: None,
        });
        Ok(Relation { nodes: vec![node], ..input })
    }
}
