//! Calls of RANDOM, UUID and the like: each has values of its own.
//!
//! Plans and graphs compute once what is written twice, and the rules by which they find it compare
//! expressions. So that two calls are not equal, each is given a number that nothing else looks at.
//! Functions of the current time are left alone: they have one value per row.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use rainstorm_engine::function::is_current_time;

use crate::walk::walk;

/// Numbers are never used twice in a process, so that several queries of one job differ too.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Numbers the calls of a plan.
pub(super) fn number(plan: LogicalPlan) -> Result<LogicalPlan> {
    walk(plan, &[], &[&|expr, _| Ok(of_expr(expr))])
}

fn of_expr(expr: Expr) -> Transformed<Expr> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else {
        return Transformed::no(expr);
    };
    let varies =
        func.signature().volatility == Volatility::Volatile && !is_current_time(func.name());
    if !varies {
        return Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args }));
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let func = Arc::new(ScalarUDF::from(NumberedCall { function: func, number }));
    Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args }))
}

/// A function as one call has it. It is shipped by its name, without the number.
#[derive(Debug)]
struct NumberedCall {
    function: Arc<ScalarUDF>,
    number: usize,
}

impl PartialEq for NumberedCall {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for NumberedCall {}

impl Hash for NumberedCall {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl ScalarUDFImpl for NumberedCall {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.function.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.function.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.function.invoke_with_args(args)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.function.coerce_types(arg_types)
    }
}
