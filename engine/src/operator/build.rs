//! From an operator's node in the graph to the operator.

use super::filter::Filter;
use super::project::Project;
use super::transform::TransformOperator;
use super::{Operator, OperatorContext};
use crate::graph::{OperatorNode, OperatorSpec};
use crate::{Error, Result};

/// Builds the operator that a node describes, for the subtask of `context`.
///
/// # Errors
/// `Invalid` where the node asks for what the operator cannot do; `Internal` where its columns
/// and expressions do not fit one another.
pub fn build(node: &OperatorNode, context: &OperatorContext) -> Result<Box<dyn Operator>> {
    let _ = context;
    Ok(match &node.spec {
        OperatorSpec::Project(exprs) => {
            Box::new(TransformOperator(Project::new(exprs, &node.output)?))
        }
        OperatorSpec::Filter(predicate) => Box::new(TransformOperator(Filter::new(predicate))),
        OperatorSpec::WindowAssign(_) => return Err(missing("WindowAssign")),
        OperatorSpec::WindowAggregate(_) => return Err(missing("WindowAggregate")),
        OperatorSpec::GroupAggregate(_) => return Err(missing("GroupAggregate")),
        OperatorSpec::WindowJoin(_) => return Err(missing("WindowJoin")),
        OperatorSpec::IntervalJoin(_) => return Err(missing("IntervalJoin")),
        OperatorSpec::LookupJoin(_) => return Err(missing("LookupJoin")),
    })
}

fn missing(operator: &str) -> Error {
    Error::Internal(format!("operator {operator} cannot be built"))
}
