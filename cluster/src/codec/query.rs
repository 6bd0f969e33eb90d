//! Queries for DataFusion's batch engine, as DataFusion's own messages.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
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
use rainstorm_proto::graph as proto;

use super::graph::{decode_source, encode_source};

pub(super) fn encode(query: &BatchQuery) -> Result<proto::Query> {
    let plan = logical_plan_to_bytes_with_extension_codec(&query.plan, &Tables)
        .map_err(|error| Error::compute("encode a query", error))?;
    Ok(proto::Query { plan, text: text_of(&query.plan) })
}

/// Decodes a query, with functions looked up by name.
///
/// # Errors
/// `Invalid` where something of the plan has no message, or another one.
pub(super) fn decode(query: &proto::Query, functions: &TaskContext) -> Result<BatchQuery> {
    let plan = logical_plan_from_bytes_with_extension_codec(&query.plan, functions, &Tables)
        .map_err(|error| Error::compute("decode a query", error))?;
    let text = text_of(&plan);
    if text != query.text {
        return Err(Error::Invalid(format!(
            "a query was decoded as another one:\n{text}\ninstead of\n{}",
            query.text
        )));
    }
    Ok(BatchQuery { plan })
}

fn text_of(plan: &LogicalPlan) -> String {
    plan.display_indent_schema().to_string()
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
