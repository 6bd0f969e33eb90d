//! Physical expressions as DataFusion's own messages.

use std::sync::Arc;

use arrow::datatypes::Schema;
use bytes::Bytes;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, Column};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use datafusion_proto::physical_plan::DefaultPhysicalExtensionCodec;
use datafusion_proto::physical_plan::from_proto::parse_physical_expr;
use datafusion_proto::physical_plan::to_proto::serialize_physical_expr;
use datafusion_proto::protobuf::PhysicalExprNode;
use prost::Message;
use rainstorm_engine::{Error, Result};
use rainstorm_proto::graph as proto;

pub(super) fn encode(expression: &Arc<dyn PhysicalExpr>) -> Result<Bytes> {
    if messages(expression) > MESSAGES_MAX {
        let operations = MESSAGES_MAX / 2;
        let message = format!("an expression of more than {operations} operations in each other");
        return Err(Error::Invalid(format!("{message} is not supported")));
    }
    serialize_physical_expr(expression, &DefaultPhysicalExtensionCodec {})
        .map(|node| node.encode_to_vec().into())
        .map_err(|error| Error::compute(format!("encode expression {expression}"), error))
}

/// Deeper expressions are not written: whoever reads them refuses more than 100 messages in each
/// other, and a literal has up to four of its own.
const MESSAGES_MAX: usize = 96;

/// Returns how many messages are in each other: two for an operation and three for a CASE, whose
/// conditions and results come in pairs. A chain of one operator is written as one.
fn messages(expression: &Arc<dyn PhysicalExpr>) -> usize {
    let operator = |expression: &Arc<dyn PhysicalExpr>| {
        expression.downcast_ref::<BinaryExpr>().map(|it| *it.op())
    };
    let (mut open, mut deepest) = (vec![(expression, 1)], 0);
    while let Some((expression, depth)) = open.pop() {
        deepest = deepest.max(depth);
        let own = operator(expression);
        let below = depth + if expression.is::<CaseExpr>() { 3 } else { 2 };
        open.extend(expression.children().into_iter().map(|child| {
            let is_of_chain = own.is_some() && operator(child) == own;
            (child, if is_of_chain { depth } else { below })
        }));
    }
    deepest
}

pub(super) fn encode_all(expressions: &[Arc<dyn PhysicalExpr>]) -> Result<Vec<Bytes>> {
    expressions.iter().map(encode).collect()
}

pub(super) fn encode_optional(expression: Option<&Arc<dyn PhysicalExpr>>) -> Result<Option<Bytes>> {
    expression.map(encode).transpose()
}

pub(super) fn encode_sort(sort: &PhysicalSortExpr) -> Result<proto::SortExpression> {
    Ok(proto::SortExpression {
        expression: encode(&sort.expr)?,
        descending: sort.options.descending,
        nulls_first: sort.options.nulls_first,
    })
}

/// Decodes expressions over one schema.
#[derive(Clone, Copy)]
pub(super) struct Decoder<'a> {
    pub(super) functions: &'a TaskContext,
    pub(super) schema: &'a Schema,
}

impl Decoder<'_> {
    pub(super) fn expression(&self, bytes: &[u8]) -> Result<Arc<dyn PhysicalExpr>> {
        let node = PhysicalExprNode::decode(bytes)
            .map_err(|error| Error::Invalid(format!("unreadable expression: {error}")))?;
        let codec = DefaultPhysicalExtensionCodec {};
        let expression = parse_physical_expr(&node, self.functions, self.schema, &codec)
            .map_err(|error| Error::compute("decode an expression", error))?;
        self.check_columns(&expression)?;
        Ok(expression)
    }

    pub(super) fn all(&self, expressions: &[Bytes]) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        expressions.iter().map(|bytes| self.expression(bytes)).collect()
    }

    pub(super) fn optional(&self, bytes: Option<&Bytes>) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        bytes.map(|bytes| self.expression(bytes)).transpose()
    }

    pub(super) fn sort(&self, sort: &proto::SortExpression) -> Result<PhysicalSortExpr> {
        let options = arrow::compute::SortOptions {
            descending: sort.descending,
            nulls_first: sort.nulls_first,
        };
        Ok(PhysicalSortExpr::new(self.expression(&sort.expression)?, options))
    }

    /// A column's index is only looked at when it is evaluated, by which time the job runs.
    fn check_columns(&self, expression: &Arc<dyn PhysicalExpr>) -> Result<()> {
        let columns = self.schema.fields().len();
        let mut outside = None;
        expression
            .apply(|node| match node.downcast_ref::<Column>() {
                Some(column) if column.index() >= columns => {
                    outside = Some(column.to_string());
                    Ok(TreeNodeRecursion::Stop)
                }
                _ => Ok(TreeNodeRecursion::Continue),
            })
            .map_err(|error| Error::compute("check an expression's columns", error))?;
        match outside {
            None => Ok(()),
            Some(column) => Err(Error::Invalid(format!("column {column} of {columns} columns"))),
        }
    }
}
