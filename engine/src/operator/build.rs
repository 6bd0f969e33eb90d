//! From an operator's node in the graph to the operator.

use super::filter::Filter;
use super::group_aggregate::GroupAggregate;
use super::interval_join::IntervalJoin;
use super::limit::Limit;
use super::local_window_aggregate::LocalWindowAggregate;
use super::lookup_join::LookupJoin;
use super::project::Project;
use super::sort::Sort;
use super::transform::TransformOperator;
use super::window_aggregate::WindowAggregate;
use super::window_assign::WindowAssign;
use super::window_join::WindowJoin;
use super::{Operator, OperatorContext};
use crate::Result;
use crate::graph::{AggregatePhase, OperatorNode, OperatorSpec};

/// Builds the operator that a node describes, for the subtask of `context`.
///
/// # Errors
/// `Invalid` where the node asks for what the operator cannot do; `Internal` where its columns
/// and expressions do not fit one another.
pub fn build(node: &OperatorNode, context: &OperatorContext) -> Result<Box<dyn Operator>> {
    Ok(match &node.spec {
        OperatorSpec::Project(exprs) => {
            Box::new(TransformOperator(Project::new(exprs, &node.output)?))
        }
        OperatorSpec::Filter(predicate) => Box::new(TransformOperator(Filter::new(predicate))),
        OperatorSpec::WindowAssign(window) => Box::new(WindowAssign::new(window, &node.output)?),
        OperatorSpec::WindowAggregate(spec) if spec.phase == AggregatePhase::Local => {
            Box::new(LocalWindowAggregate::new(spec, node)?)
        }
        OperatorSpec::WindowAggregate(spec) => Box::new(WindowAggregate::new(spec, node, context)?),
        OperatorSpec::GroupAggregate(spec) => Box::new(GroupAggregate::new(spec, node, context)?),
        OperatorSpec::WindowJoin(spec) => Box::new(WindowJoin::new(spec, node, context)?),
        OperatorSpec::IntervalJoin(spec) => Box::new(IntervalJoin::new(spec, node, context)?),
        OperatorSpec::LookupJoin(spec) => Box::new(LookupJoin::new(spec, node, context)?),
        OperatorSpec::Limit(spec) => Box::new(Limit::new(*spec)),
        OperatorSpec::Sort(spec) => Box::new(Sort::new(spec, &node.inputs[0])?),
    })
}
