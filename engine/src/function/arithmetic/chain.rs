//! Chains of + and -, or of * and /: one call however long they are.
//!
//! What is nested is typed again at every level and shipped within bounds; a chain is neither.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{ScalarValue, exec_err, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, lit,
};

use super::{Arithmetic, result_type, step};

/// The name of the function. Its first argument has the operators, as they are written; it computes
/// from the left, `a + b - c` of `checked_chain('+-', a, b, c)`.
pub const CHECKED_CHAIN: &str = "checked_chain";

/// Writes the operators of a chain, for its first argument.
#[must_use]
pub fn chain_operators(operators: &[Arithmetic]) -> Expr {
    let written: String = operators.iter().map(|it| it.operator().to_string()).collect();
    lit(written)
}

/// Reads the operators of a chain from its first argument.
#[must_use]
pub fn operators_of_chain(written: &ScalarValue) -> Option<Vec<Arithmetic>> {
    let operator = |written| match written {
        '+' => Some(Arithmetic::Add),
        '-' => Some(Arithmetic::Subtract),
        '*' => Some(Arithmetic::Multiply),
        '/' => Some(Arithmetic::Divide),
        _ => None,
    };
    written.try_as_str().flatten()?.chars().map(operator).collect()
}

pub(super) fn function() -> Arc<ScalarUDF> {
    let signature = Signature::variadic_any(Volatility::Immutable);
    Arc::new(ScalarUDF::from(Chain { signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Chain {
    signature: Signature,
}

/// Writes a call as the operators that it stands for.
fn written(args: &[Expr], name: impl Fn(&Expr) -> String) -> Result<String> {
    let (operators, operands) = match args.split_first() {
        Some((Expr::Literal(written, _), operands)) => (operators_of_chain(written), operands),
        _ => (None, args),
    };
    let Some((operators, (first, others))) = operators.zip(operands.split_first()) else {
        return internal_err!("a chain without operators");
    };
    let mut text = name(first);
    for (arithmetic, operand) in operators.iter().zip(others) {
        for part in [" ", &arithmetic.operator().to_string(), " ", &name(operand)] {
            text.push_str(part);
        }
    }
    Ok(text)
}

impl ScalarUDFImpl for Chain {
    fn name(&self) -> &'static str {
        CHECKED_CHAIN
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        written(args, ToString::to_string)
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        written(args, |arg| arg.schema_name().to_string())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        internal_err!("the type of a chain depends on its operators")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let written = args.scalar_arguments.first().copied().flatten();
        let operators = written.and_then(operators_of_chain);
        let Some((operators, (first, others))) =
            operators.zip(args.arg_fields.get(1..).and_then(<[FieldRef]>::split_first))
        else {
            return internal_err!("a chain without operators");
        };
        let mut data_type = first.data_type().clone();
        for (arithmetic, operand) in operators.iter().zip(others) {
            data_type = result_type(*arithmetic, &data_type, operand.data_type())?;
        }
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), data_type, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some((ColumnarValue::Scalar(written), operands)) = args.args.split_first() else {
            return internal_err!("a chain without operators");
        };
        let operators = operators_of_chain(written).unwrap_or_default();
        if operands.len() != operators.len() + 1 {
            return exec_err!("a chain of {} and {}", operators.len(), operands.len());
        }
        let mut result = operands[0].clone();
        for (arithmetic, operand) in operators.into_iter().zip(&operands[1..]) {
            result = step(arithmetic, &result, operand, args.number_rows)?;
        }
        Ok(result)
    }
}
