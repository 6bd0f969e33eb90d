//! DataFusion's functions that make values as long as an argument says, kept from making one that
//! does not fit into memory: failing to allocate it would end the process.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// The functions; their second argument is a length.
const BOUNDED: &[&str] = &["array_repeat", "array_resize", "lpad", "repeat", "rpad"];

/// The greatest length of one value.
pub const MAX_LENGTH: i64 = 100_000_000;

/// What the values of a batch may have together.
const MAX_TOGETHER: i64 = i32::MAX as i64;

/// Bounds a function, if it is one of these.
pub(super) fn of_scalar(udf: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    if BOUNDED.contains(&udf.name()) {
        return Arc::new(ScalarUDF::from(Bounded { inner: udf }));
    }
    udf
}

#[derive(Debug)]
struct Bounded {
    inner: Arc<ScalarUDF>,
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.name().hash(state);
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(args, info)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args)?;
        self.inner.invoke_with_args(args)
    }
}

impl Bounded {
    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        let Some(lengths) = args.args.get(1) else { return Ok(()) };
        let lengths = cast(&lengths.to_array(args.number_rows)?, &DataType::Int64)?;
        let mut together = 0_i64;
        for length in lengths.as_primitive::<Int64Type>().iter().flatten().map(|found| found.max(0))
        {
            together = together.saturating_add(length);
            let name = || self.name().to_uppercase();
            if length > MAX_LENGTH {
                return exec_err!(
                    "{} would make a value of length {length}, at most {MAX_LENGTH} is possible",
                    name()
                );
            }
            if together > MAX_TOGETHER {
                return exec_err!("{} would make values that are too long together", name());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::functions::unicode;

    use super::super::scalar::testing::{call, number, text};
    use super::*;

    #[test]
    fn a_value_that_fits_no_memory_is_refused() {
        let functions = [of_scalar(unicode::rpad())];
        let args = |length| vec![text("a"), number(length), text("b")];
        assert!(call(&functions, "rpad", args(3), 1).is_ok());
        for wrong in [MAX_LENGTH + 1, i64::MAX] {
            let error = call(&functions, "rpad", args(wrong), 1).expect_err("is refused");
            assert!(error.to_string().contains("RPAD would make a value of length"), "{error}");
        }
        let error = call(&functions, "rpad", args(MAX_LENGTH), 100).expect_err("is refused");
        assert!(error.to_string().contains("too long together"), "{error}");
    }
}
