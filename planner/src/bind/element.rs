//! `map[key]` with a key that differs from row to row, `array[n]` and `array[from:to]`.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, ScalarUDF, lit};
use rainstorm_engine::function::Registry;

/// Plans the first as the first of the values that the map has under the key: DataFusion looks a key
/// up as it does the name of a field, which has to be a literal. Plans the others by the registry's
/// functions, which take any place. Of `ARRAY_AGG(…)[n]` DataFusion makes NTH_VALUE, which takes
/// literals alone and knows no DISTINCT.
#[derive(Debug)]
pub(super) struct ElementPlanner {
    /// Returns the values under a key, as an array.
    values: Arc<ScalarUDF>,
    /// Returns an element of an array.
    element: Arc<ScalarUDF>,
    /// Returns elements of an array.
    slice: Arc<ScalarUDF>,
}

impl ElementPlanner {
    /// Makes a planner, where the functions are known that it plans with.
    pub(super) fn new(functions: &Registry) -> Option<Self> {
        let function = |name| functions.udf(name).ok();
        Some(Self {
            values: function("map_extract")?,
            element: function("array_element")?,
            slice: function("array_slice")?,
        })
    }
}

impl ExprPlanner for ElementPlanner {
    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let RawFieldAccessExpr { expr, field_access } = access;
        Ok(PlannerResult::Planned(match (field_access, expr.get_type(schema)?) {
            (GetFieldAccess::ListIndex { key }, DataType::List(_)) => {
                self.element.call(vec![expr, *key])
            }
            (GetFieldAccess::ListRange { start, stop, stride }, DataType::List(_)) => {
                self.slice.call(vec![expr, *start, *stop, *stride])
            }
            (GetFieldAccess::ListIndex { key }, DataType::Map(..))
                if !matches!(*key, Expr::Literal(..)) =>
            {
                let values = self.values.call(vec![expr, *key]);
                self.element.call(vec![values, lit(1_i64)])
            }
            (field_access, _) => {
                let access = RawFieldAccessExpr { expr, field_access };
                return Ok(PlannerResult::Original(access));
            }
        }))
    }
}
