//! Names within long chains of operators.
//!
//! DataFusion makes the name of an operation, which is its whole text, where it asks for a column
//! of it, and of each operation below as well: for a sum of 800 terms that are 320,000 terms, each
//! time. A function in between, whose name is short, ends the text.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DFSchema, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

/// The function that returns its argument. It is dropped once chains have become calls.
pub const LINK: &str = "link";

/// How many operations one name consists of.
const OPERATIONS: usize = 32;

/// Links the left side of an operation where it is a long chain.
#[derive(Debug)]
pub(in crate::function) struct Links;

impl ExprPlanner for Links {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        _schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let is_arithmetic = ["+", "-", "*", "/", "%"].contains(&expr.op.to_string().as_str());
        if is_arithmetic && operations(&expr.left) >= OPERATIONS {
            expr.left = Link::of(&expr.left).call(vec![expr.left]);
        }
        Ok(PlannerResult::Original(expr))
    }
}

/// Counts the operations of a chain that is written from left to right.
fn operations(mut expr: &Expr) -> usize {
    let mut count = 0;
    while let Expr::BinaryExpr(BinaryExpr { left, op, .. }) = expr
        && op.is_numerical_operators()
    {
        count += 1;
        expr = left;
    }
    count
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Link {
    /// Of what it was made around: two columns of one name would be one too many.
    hash: u64,
    signature: Signature,
}

impl Link {
    fn of(linked: &Expr) -> ScalarUDF {
        let mut hasher = DefaultHasher::new();
        linked.hash(&mut hasher);
        let signature = Signature::any(1, Volatility::Immutable);
        ScalarUDF::from(Self { hash: hasher.finish(), signature })
    }
}

impl ScalarUDFImpl for Link {
    fn name(&self) -> &'static str {
        LINK
    }

    fn schema_name(&self, _args: &[Expr]) -> Result<String> {
        Ok(format!("{LINK}({:016x})", self.hash))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [data_type] = types else { return internal_err!("{LINK} takes one argument") };
        Ok(data_type.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let [of] = args.arg_fields else { return internal_err!("{LINK} takes one argument") };
        Ok(Arc::clone(of))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else {
            return internal_err!("{LINK} takes one argument");
        };
        Ok(value.clone())
    }
}
