//! What joins are called in SQL.

use datafusion::common::JoinType;
use datafusion::logical_expr::{Join, LogicalPlan};

/// Returns a join as whoever wrote the query knows it.
pub(super) fn join_sql(join: &Join) -> &'static str {
    let of_subquery = is_subquery(&join.right) || is_subquery(&join.left);
    match join.join_type {
        JoinType::LeftSemi | JoinType::RightSemi if of_subquery => "EXISTS or IN with a query",
        JoinType::LeftAnti | JoinType::RightAnti if of_subquery => {
            "NOT EXISTS or NOT IN with a query"
        }
        JoinType::LeftMark | JoinType::RightMark => "EXISTS or IN inside of another condition",
        JoinType::Inner => "a join",
        JoinType::Left => "a LEFT JOIN",
        JoinType::Right => "a RIGHT JOIN",
        JoinType::Full => "a FULL JOIN",
        JoinType::LeftSemi => "LEFT SEMI JOIN",
        JoinType::RightSemi => "RIGHT SEMI JOIN",
        JoinType::LeftAnti => "LEFT ANTI JOIN",
        JoinType::RightAnti => "RIGHT ANTI JOIN",
    }
}

/// Tells whether a side of a join is what DataFusion makes of a subquery.
fn is_subquery(side: &LogicalPlan) -> bool {
    match side {
        LogicalPlan::SubqueryAlias(alias) => alias.alias.table().starts_with("__correlated_sq"),
        LogicalPlan::Projection(projection) => is_subquery(&projection.input),
        _ => false,
    }
}
