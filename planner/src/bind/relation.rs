//! Views, and tables with more than physical columns, as DataFusion sees them.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::{LogicalPlan, TableSource, TableType};

/// A relation that stands for a plan: a view, or a table with computed columns or a watermark.
pub(super) struct PlannedRelation {
    plan: LogicalPlan,
    schema: SchemaRef,
}

impl PlannedRelation {
    pub(super) fn new(plan: LogicalPlan) -> Self {
        let schema = Arc::clone(plan.schema().inner());
        Self { plan, schema }
    }
}

impl TableSource for PlannedRelation {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}
