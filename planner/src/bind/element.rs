//! `map[key]` with a key that differs from row to row, and `ARRAY_AGG(…)[n]`.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, ScalarUDF, lit};
use rainstorm_engine::function::Registry;

/// Plans the one as the first of the values that the map has under the key: DataFusion looks a key
/// up as it does the name of a field, which has to be a literal. Plans the other as it is written:
/// DataFusion makes it NTH_VALUE, which takes literals alone and knows no DISTINCT.
#[derive(Debug)]
pub(super) struct ElementPlanner {
    /// Returns the values under a key, as an array.
    values: Arc<ScalarUDF>,
    /// Returns an element of an array.
    element: Arc<ScalarUDF>,
}

impl ElementPlanner {
    /// Makes a planner, where the functions are known that it plans with.
    pub(super) fn new(functions: &Registry) -> Option<Self> {
        let (values, element) = (functions.udf("map_extract"), functions.udf("array_element"));
        Some(Self { values: values.ok()?, element: element.ok()? })
    }
}

impl ExprPlanner for ElementPlanner {
    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let GetFieldAccess::ListIndex { key } = &access.field_access else {
            return Ok(PlannerResult::Original(access));
        };
        if is_array_agg(&access.expr) {
            let array = vec![access.expr, key.as_ref().clone()];
            return Ok(PlannerResult::Planned(self.element.call(array)));
        }
        let is_literal = matches!(key.as_ref(), Expr::Literal(..));
        if is_literal || !matches!(access.expr.get_type(schema)?, DataType::Map(..)) {
            return Ok(PlannerResult::Original(access));
        }
        let values = self.values.call(vec![access.expr, key.as_ref().clone()]);
        Ok(PlannerResult::Planned(self.element.call(vec![values, lit(1_i64)])))
    }
}

fn is_array_agg(expr: &Expr) -> bool {
    matches!(expr, Expr::AggregateFunction(call) if call.func.name() == "array_agg")
}
