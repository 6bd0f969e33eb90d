//! One output column per expression.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

use super::Transform;
use crate::batch::Batch;
use crate::time::TimestampMs;
use crate::wording::expression_sql;
use crate::{Error, Result};

/// Computes the columns of its output from those of its input. A plain column costs nothing.
pub(super) struct Project {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

impl Project {
    /// Makes a projection.
    ///
    /// # Errors
    /// `Internal` unless there is one expression per column of `schema`.
    pub(super) fn new(exprs: &[Arc<dyn PhysicalExpr>], schema: &SchemaRef) -> Result<Self> {
        if exprs.len() != schema.fields().len() {
            let columns = schema.fields().len();
            return Err(Error::Internal(format!("{} expressions, {columns} columns", exprs.len())));
        }
        Ok(Self { exprs: exprs.to_vec(), schema: Arc::clone(schema) })
    }
}

impl Transform for Project {
    fn name(&self) -> &'static str {
        "Project"
    }

    fn transform(&mut self, batch: Batch, _now: TimestampMs) -> Result<Batch> {
        let rows = batch.rows();
        let mut columns = Vec::with_capacity(self.exprs.len());
        for expr in &self.exprs {
            let column =
                expr.evaluate(rows).and_then(|value| value.into_array(rows.num_rows())).map_err(
                    |error| Error::compute(format!("compute {}", expression_sql(expr)), error),
                )?;
            columns.push(column);
        }
        // The count is stated, since there may be no column that would tell it.
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| Error::compute("put projected columns together", error))?;
        batch.with_rows(rows)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::Operator::Plus;
    use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};

    use super::super::testing::{Harness, schema};
    use super::*;
    use crate::graph::OperatorSpec;

    #[test]
    fn columns_are_computed_and_weights_kept() {
        let next = BinaryExpr::new(Arc::new(Column::new("a", 0)), Plus, lit(1_i64));
        let exprs: Vec<Arc<dyn PhysicalExpr>> = vec![Arc::new(Column::new("b", 1)), Arc::new(next)];
        let spec = OperatorSpec::Project(exprs);
        let mut test = Harness::new(spec, &["a:int b:text"], "b:text next:int");
        test.rows(
            "+ 1 x
             - 2 ~",
        );
        test.expect(
            "+ x 2
             - ~ 3",
        );
    }

    #[test]
    fn no_columns_are_still_as_many_rows() {
        let mut project = Project::new(&[], &schema("")).unwrap();
        let rows = super::super::testing::batch(&schema("a:int"), "+ 1\n+ 2");
        let projected = project.transform(rows, 0).unwrap();
        assert_eq!(projected.num_rows(), 2);
        assert_eq!(projected.rows().num_columns(), 0);
    }
}
