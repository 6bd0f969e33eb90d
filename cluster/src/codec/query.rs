//! Queries for DataFusion's batch engine, as DataFusion's own messages.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{TableReference, internal_err};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Extension, LogicalPlan};
use datafusion_proto::bytes::{
    logical_plan_from_bytes_with_extension_codec, logical_plan_to_bytes_with_extension_codec,
};
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use prost::Message;
use rainstorm_engine::batch_query::QueryTable;
use rainstorm_engine::graph::BatchQuery;
use rainstorm_engine::{Error, Result};
use rainstorm_planner::STACK_BYTES;
use rainstorm_proto::graph as proto;

use super::graph::{decode_source, encode_source};

pub(super) fn encode(query: &BatchQuery) -> Result<proto::Query> {
    on_deep_stack(|| {
        let plan = logical_plan_to_bytes_with_extension_codec(&query.plan, &Tables)
            .map_err(|error| Error::compute("encode a query", error))?;
        Ok(proto::Query { plan, shape: shape_of(&query.plan)? })
    })
}

/// Decodes a query, with functions looked up by name.
///
/// # Errors
/// `Invalid` where something of the plan has no message, or another one, or where it is nested too
/// deeply.
pub(super) fn decode(query: &proto::Query, functions: &TaskContext) -> Result<BatchQuery> {
    on_deep_stack(|| {
        let plan = logical_plan_from_bytes_with_extension_codec(&query.plan, functions, &Tables)
            .map_err(not_decoded)?;
        let shape = shape_of(&plan)?;
        if shape != query.shape {
            return Err(Error::Invalid(format!(
                "a query was decoded as another one:\n{shape}instead of\n{}",
                query.shape
            )));
        }
        Ok(BatchQuery { plan })
    })
}

fn not_decoded(error: DataFusionError) -> Error {
    if error.to_string().contains("recursion limit") {
        let message = "an expression or a query that is nested so deeply is not supported";
        return Error::Invalid(format!("{message} in batch mode"));
    }
    Error::compute("decode a query", error)
}

/// Writes the nodes of a plan with their columns, by which one is known that has lost something.
fn shape_of(plan: &LogicalPlan) -> Result<String> {
    let mut shape = String::new();
    plan.apply_with_subqueries(|node| {
        let text = node.display().to_string();
        let name = text.split([':', ' ']).next().unwrap_or_default();
        let types = node.schema().fields().iter().map(|field| field.data_type().to_string());
        let line = [name, " [", &types.collect::<Vec<_>>().join(", "), "]\n"].concat();
        shape.push_str(&line);
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(|error| Error::compute("look at a query", error))?;
    Ok(shape)
}

/// Plans are trees that are walked recursively; the threads that answer requests have stacks for
/// less than what is planned.
fn on_deep_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let thread = thread.spawn_scoped(scope, work);
        let done = thread.map_err(|error| Error::io("start a thread", error))?.join();
        done.map_err(|_| Error::Internal("a plan could not be walked".to_owned()))?
    })
}

/// The tables of a plan.
#[derive(Debug)]
struct Tables;

impl LogicalExtensionCodec for Tables {
    fn try_decode(
        &self,
        _: &[u8],
        _: &[LogicalPlan],
        _: &TaskContext,
    ) -> DataFusionResult<Extension> {
        internal_err!("a query has no nodes of streams")
    }

    fn try_encode(&self, node: &Extension, _: &mut Vec<u8>) -> DataFusionResult<()> {
        internal_err!("{} is a node of streams", node.node.name())
    }

    fn try_decode_table_provider(
        &self,
        bytes: &[u8],
        name: &TableReference,
        _: SchemaRef,
        functions: &TaskContext,
    ) -> DataFusionResult<Arc<dyn TableProvider>> {
        let external = |error: Error| DataFusionError::External(Box::new(error));
        let source = proto::Source::decode(bytes)
            .map_err(|error| external(Error::Invalid(format!("table '{name}': {error}"))))?;
        let spec = decode_source(&source, functions).map_err(external)?;
        Ok(Arc::new(QueryTable::new(spec)))
    }

    fn try_encode_table_provider(
        &self,
        name: &TableReference,
        table: Arc<dyn TableProvider>,
        bytes: &mut Vec<u8>,
    ) -> DataFusionResult<()> {
        let Some(table) = table.downcast_ref::<QueryTable>() else {
            return internal_err!("table '{name}' is none of a query's");
        };
        let source = encode_source(table.spec())
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        source.encode(bytes).map_err(|error| DataFusionError::External(Box::new(error)))
    }
}
