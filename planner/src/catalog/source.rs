//! Tables of the catalog as DataFusion sees them.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::TableSource;

use super::TableDefinition;

/// What a `TableScan` in a plan of ours reads: the physical columns of a table.
///
/// Lowering, and the plan of a query in batch, find the table's definition here.
#[derive(Debug)]
pub struct CatalogTable {
    definition: Arc<TableDefinition>,
    schema: SchemaRef,
}

impl CatalogTable {
    pub(crate) fn new(definition: Arc<TableDefinition>) -> Self {
        let schema = definition.physical_schema();
        Self { definition, schema }
    }

    /// Returns the table's definition.
    #[must_use]
    pub fn definition(&self) -> &Arc<TableDefinition> {
        &self.definition
    }

    /// Returns the definition of the table that a scan's source stands for.
    #[must_use]
    pub fn definition_of(source: &Arc<dyn TableSource>) -> Option<&Arc<TableDefinition>> {
        let source: &dyn Any = source.as_ref();
        source.downcast_ref::<Self>().map(Self::definition)
    }
}

impl TableSource for CatalogTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
