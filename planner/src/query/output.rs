//! What a SELECT's client does with the rows: ORDER BY, OFFSET and LIMIT.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::logical_expr::{
    Expr, FetchType, Limit, LogicalPlan, LogicalPlanBuilder, SkipType, Sort,
};
use rainstorm_engine::graph::LimitSpec;
use sqlparser::tokenizer::Span;

use crate::error::{fail, unsupported};
use crate::script::SortColumn;
use crate::stream::unaliased;

/// A query with its outermost ORDER BY, OFFSET and LIMIT taken off.
#[derive(Debug)]
pub(super) struct Output {
    /// The rows, with further columns for what they are sorted by.
    pub(super) plan: LogicalPlan,
    /// How many columns the query has.
    pub(super) visible: usize,
    pub(super) order_by: Vec<SortColumn>,
    pub(super) offset: usize,
    pub(super) limit: Option<usize>,
}

impl Output {
    /// Returns LIMIT and OFFSET where rows need not be sorted before.
    pub(super) fn first_rows(&self) -> Option<LimitSpec> {
        let limits = self.limit.is_some() || self.offset > 0;
        (limits && self.order_by.is_empty()).then(|| LimitSpec {
            offset: self.offset as u64,
            count: self.limit.map_or(u64::MAX, |count| count as u64),
        })
    }

    pub(super) fn of(plan: LogicalPlan) -> Result<Self> {
        let (offset, limit, plan) = match plan {
            LogicalPlan::Limit(limit) => take_limit(limit)?,
            plan => (0, None, plan),
        };
        let visible = plan.schema().fields().len();
        let (plan, order_by) = match plan {
            LogicalPlan::Sort(sort) => {
                let columns = sort.input.schema().columns();
                take_sort(sort, columns.into_iter().map(Expr::Column).collect())?
            }
            LogicalPlan::Projection(projection)
                if matches!(projection.input.as_ref(), LogicalPlan::Sort(_)) =>
            {
                let LogicalPlan::Sort(sort) = Arc::unwrap_or_clone(projection.input) else {
                    unreachable!("the guard has looked")
                };
                take_sort(sort, projection.expr)?
            }
            plan => (plan, Vec::new()),
        };
        Ok(Self { plan, visible, order_by, offset, limit })
    }
}

fn take_limit(limit: Limit) -> Result<(usize, Option<usize>, LogicalPlan)> {
    match (limit.get_skip_type()?, limit.get_fetch_type()?) {
        (SkipType::Literal(offset), FetchType::Literal(count)) => {
            Ok((offset, count, Arc::unwrap_or_clone(limit.input)))
        }
        _ => Err(fail(unsupported(Span::empty(), "LIMIT of an expression is not supported"))),
    }
}

/// Puts columns for what rows are sorted by behind the visible ones.
fn take_sort(sort: Sort, mut columns: Vec<Expr>) -> Result<(LogicalPlan, Vec<SortColumn>)> {
    let visible = columns.len();
    let mut order_by = Vec::with_capacity(sort.expr.len());
    for by in &sort.expr {
        let wanted = unaliased(&by.expr);
        let known = columns.iter().position(|column| unaliased(column) == wanted);
        let index = known.unwrap_or_else(|| {
            columns.push(wanted.clone().alias(format!("order_by_{}", order_by.len())));
            columns.len() - 1
        });
        order_by.push(SortColumn { index, descending: !by.asc, nulls_first: by.nulls_first });
    }
    let input = Arc::unwrap_or_clone(sort.input);
    if columns.len() == visible && columns.len() == input.schema().fields().len() {
        let same = input.schema().columns().into_iter().map(Expr::Column);
        if same.eq(columns.iter().cloned()) {
            return Ok((input, order_by));
        }
    }
    let plan = LogicalPlanBuilder::from(input).project(columns)?.build()?;
    Ok((plan, order_by))
}
