//! `table FOR SYSTEM_TIME AS OF time`: the right side of a lookup join.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use sqlparser::ast::{Expr as SqlExpr, Spanned, TableFactor, TableVersion};
use sqlparser::tokenizer::Span;

use crate::error::{fail, unsupported};
use crate::stream::{TemporalTable, TimeColumn, as_of, plan_of, time_of};

/// Plans tables with a time, which DataFusion would read without it.
#[derive(Debug)]
pub(super) struct TemporalTablePlanner;

impl RelationPlanner for TemporalTablePlanner {
    fn plan_relation(
        &self,
        mut relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let span = relation.span();
        let TableFactor::Table { alias, version, .. } = &mut relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let time = match version.take() {
            None => return Ok(RelationPlanning::Original(Box::new(relation))),
            Some(TableVersion::ForSystemTimeAsOf(time)) => time_name(&time)?,
            Some(other) => {
                return Err(fail(
                    unsupported(span, format!("{other} is not supported"))
                        .with_help("FOR SYSTEM_TIME AS OF takes a processing time"),
                ));
            }
        };
        let alias = alias.take();
        let input = context.plan(relation)?;
        let plan = plan_of(TemporalTable { input, time });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

fn time_name(time: &SqlExpr) -> Result<String> {
    match time {
        SqlExpr::Identifier(name) => Ok(name.value.clone()),
        SqlExpr::CompoundIdentifier(names) => {
            Ok(names.iter().map(|name| name.value.as_str()).collect::<Vec<_>>().join("."))
        }
        SqlExpr::Function(call) if call.name.to_string().eq_ignore_ascii_case("proctime") => {
            Ok("PROCTIME()".to_owned())
        }
        other => Err(fail(
            unsupported(other.span(), "FOR SYSTEM_TIME AS OF an expression is not supported")
                .with_help("give a column that is PROCTIME()"),
        )),
    }
}

/// Checks that tables as of a time stand on the right of a join and that the time is a processing
/// time of its left side.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    plan.apply(|node| {
        if let LogicalPlan::Join(join) = node
            && let Some(time) = as_of(&join.right)
            && time != "PROCTIME()"
        {
            check_time(&join.left, time)?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn check_time(left: &LogicalPlan, time: &str) -> Result<()> {
    let column = match time.rsplit_once('.') {
        Some((relation, name)) => Column::new(Some(TableReference::bare(relation)), name),
        None => match left.schema().columns().into_iter().find(|column| column.name == time) {
            Some(column) => column,
            None => Column::new_unqualified(time),
        },
    };
    match time_of(left, &column)? {
        Some(TimeColumn::Processing) => Ok(()),
        Some(TimeColumn::Event) => Err(fail(
            unsupported(Span::empty(), "a temporal join by event time is not supported")
                .with_help("join as of a column that is PROCTIME()"),
        )),
        Some(TimeColumn::Window(..)) | None => Err(fail(
            unsupported(
                Span::empty(),
                format!("FOR SYSTEM_TIME AS OF {time}, which is no processing time"),
            )
            .with_help("declare a column AS PROCTIME() and join as of that"),
        )),
    }
}
