//! The rows for which a condition is true.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use datafusion::physical_expr::PhysicalExpr;

use super::Transform;
use crate::batch::Batch;
use crate::time::TimestampMs;
use crate::wording::expression_sql;
use crate::{Error, Result};

/// Keeps the rows for which an expression is true, with their weights. A batch of which all rows
/// are kept is passed on untouched.
pub(super) struct Filter {
    predicate: Arc<dyn PhysicalExpr>,
}

impl Filter {
    /// Makes a filter by a boolean expression.
    pub(super) fn new(predicate: &Arc<dyn PhysicalExpr>) -> Self {
        Self { predicate: Arc::clone(predicate) }
    }
}

impl Transform for Filter {
    fn name(&self) -> &'static str {
        "Filter"
    }

    fn transform(&mut self, batch: Batch, _now: TimestampMs) -> Result<Batch> {
        let mask = self
            .predicate
            .evaluate(batch.rows())
            .and_then(|value| value.into_array(batch.num_rows()))
            .map_err(|error| {
                Error::compute(format!("compute {}", expression_sql(&self.predicate)), error)
            })?;
        let Some(mask) = mask.as_boolean_opt() else {
            let kind = mask.data_type();
            return Err(Error::Internal(format!("the filter {} is a {kind}", self.predicate)));
        };
        match mask.true_count() {
            count if count == batch.num_rows() => Ok(batch),
            0 => Ok(batch.slice(0, 0)),
            _ => batch.filter(mask),
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::Operator::Gt;
    use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};

    use super::super::testing::{Harness, batch, schema};
    use super::*;
    use crate::graph::OperatorSpec;

    fn above_one() -> Arc<dyn PhysicalExpr> {
        Arc::new(BinaryExpr::new(Arc::new(Column::new("a", 0)), Gt, lit(1_i64)))
    }

    #[test]
    fn rows_are_kept_where_the_condition_is_true() {
        let mut test =
            Harness::new(OperatorSpec::Filter(above_one()), &["a:int b:text"], "a:int b:text");
        test.rows(
            "+ 1 one
             - 2 two
             + ~ null
             + 3 three",
        );
        test.expect(
            "- 2 two
             + 3 three",
        );
        test.rows("+ 0 none");
        test.expect("");
    }

    #[test]
    fn a_batch_that_is_kept_whole_is_not_copied() {
        let rows = batch(&schema("a:int"), "+ 2\n+ 3");
        let column = Arc::clone(rows.column(0));
        let kept = Filter::new(&above_one()).transform(rows, 0).unwrap();
        assert!(Arc::ptr_eq(kept.column(0), &column));
    }
}
