//! Arithmetic of whole numbers and decimals that fails where a result does not fit its type.
//!
//! The planner puts these functions in the place of operators, so that both engines have them and
//! they keep their meaning when they are shipped, which is by name. People see the operators. A
//! chain of one operator is one call, as is one of operators of one rank: messages are nested as
//! deep as calls are, within bounds.

mod chain;
mod decimals;
mod integers;
mod links;
mod quotient;

use std::sync::Arc;

use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, exec_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;

pub use self::chain::{CHECKED_CHAIN, chain_operators, operators_of_chain};
pub use self::links::LINK;
pub(super) use self::links::Links;
pub(super) use self::quotient::LongQuotients;
use crate::wording::type_sql;

/// What is computed, and checked to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// `a + b`
    Add,
    /// `a - b`
    Subtract,
    /// `a * b`
    Multiply,
    /// `a / b`, of decimals.
    Divide,
    /// `-a`
    Negate,
}

impl Arithmetic {
    const ALL: [Self; 5] = [Self::Add, Self::Subtract, Self::Multiply, Self::Divide, Self::Negate];

    /// Returns the arithmetic that a function does.
    #[must_use]
    pub fn of(function: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|arithmetic| arithmetic.name() == function)
    }

    /// Returns what an operator between two values of these types is, `None` where it needs no
    /// check: whole numbers are divided with one already, and times have their own.
    #[must_use]
    pub fn of_operator(op: Operator, left: &DataType, right: &DataType) -> Option<Self> {
        let integers = left.is_integer() && left == right;
        let decimals = is_decimal(left) && is_decimal(right);
        let is_checked = decimals || (integers && op != Operator::Divide);
        Self::of_symbol(op).filter(|_| is_checked)
    }

    /// Returns what an operator is in a chain, whatever it is between.
    #[must_use]
    pub const fn of_symbol(op: Operator) -> Option<Self> {
        match op {
            Operator::Plus => Some(Self::Add),
            Operator::Minus => Some(Self::Subtract),
            Operator::Multiply => Some(Self::Multiply),
            Operator::Divide => Some(Self::Divide),
            _ => None,
        }
    }

    /// Returns the name of the function that does it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "checked_add",
            Self::Subtract => "checked_subtract",
            Self::Multiply => "checked_multiply",
            Self::Divide => "checked_divide",
            Self::Negate => "checked_negate",
        }
    }

    /// Tells whether a chain may have both, computed from the left.
    #[must_use]
    pub const fn chains_with(self, other: Self) -> bool {
        use Arithmetic::{Add, Divide, Multiply, Subtract};
        matches!(
            (self, other),
            (Add | Subtract, Add | Subtract) | (Multiply | Divide, Multiply | Divide)
        )
    }

    /// Returns its operator between two values; negation is between nothing and a value.
    #[must_use]
    pub const fn operator(self) -> Operator {
        match self {
            Self::Add => Operator::Plus,
            Self::Subtract | Self::Negate => Operator::Minus,
            Self::Multiply => Operator::Multiply,
            Self::Divide => Operator::Divide,
        }
    }

    /// Says that a result does not fit.
    fn misfit(self, left: &str, right: &str, data_type: &DataType) -> DataFusionError {
        let right = if right.starts_with('-') { format!("({right})") } else { right.to_owned() };
        let computed = match self {
            Self::Negate => format!("-{right}"),
            _ => format!("{left} {} {right}", self.operator()),
        };
        exec_datafusion_err!("{computed} does not fit {}", type_sql(data_type))
    }
}

fn is_decimal(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal128(..))
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let each = Arithmetic::ALL.map(|it| Arc::new(ScalarUDF::from(Checked::new(it))));
    each.into_iter().chain([chain::function()]).collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    arithmetic: Arithmetic,
    signature: Signature,
}

impl Checked {
    fn new(arithmetic: Arithmetic) -> Self {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Self { arithmetic, signature }
    }

    /// Writes a call as the operators that it stands for.
    fn written(&self, args: &[Expr], name: impl Fn(&Expr) -> String) -> String {
        match args {
            [operand] => format!("(- {})", name(operand)),
            operands => {
                let operands: Vec<String> = operands.iter().map(name).collect();
                operands.join(&format!(" {} ", self.arithmetic.operator()))
            }
        }
    }
}

/// Computes one operation.
fn step(
    arithmetic: Arithmetic,
    left: &ColumnarValue,
    right: &ColumnarValue,
    number_rows: usize,
) -> Result<ColumnarValue> {
    let data_type = left.data_type();
    if is_decimal(&data_type) {
        decimals::compute(arithmetic, left, right, number_rows)
    } else if data_type.is_floating() {
        floats(arithmetic, left, right)
    } else {
        integers::compute(arithmetic, left, right, &data_type)
    }
}

/// Computes one operation of floating point numbers, as IEEE 754 has it.
fn floats(
    arithmetic: Arithmetic,
    left: &ColumnarValue,
    right: &ColumnarValue,
) -> Result<ColumnarValue> {
    match arithmetic {
        Arithmetic::Add => apply(left, right, numeric::add),
        Arithmetic::Subtract => apply(left, right, numeric::sub),
        Arithmetic::Multiply => apply(left, right, numeric::mul),
        Arithmetic::Divide => apply(left, right, numeric::div),
        Arithmetic::Negate => internal_err!("a negation of two values"),
    }
}

/// Returns the type of one operation's results.
fn result_type(arithmetic: Arithmetic, left: &DataType, right: &DataType) -> Result<DataType> {
    if is_decimal(left) && is_decimal(right) {
        return decimals::result_type(arithmetic, left, right);
    }
    BinaryTypeCoercer::new(left, &arithmetic.operator(), right).get_result_type()
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &'static str {
        self.arithmetic.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        Ok(self.written(args, ToString::to_string))
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(self.written(args, |arg| arg.schema_name().to_string()))
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let Some((first, others)) = types.split_first() else {
            return internal_err!("{} takes arguments", self.name());
        };
        let step = |left: DataType, right| result_type(self.arithmetic, &left, right);
        others.iter().try_fold(first.clone(), step)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> =
            args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [] => internal_err!("{} takes arguments", self.name()),
            [operand] if is_decimal(&operand.data_type()) => decimals::negate(operand),
            [operand] => integers::negate(operand, &operand.data_type()),
            [first, second, others @ ..] => {
                let step = |left: &_, right| step(self.arithmetic, left, right, args.number_rows);
                let start = step(first, second)?;
                others.iter().try_fold(start, |left, right| step(&left, right))
            }
        }
    }
}

#[cfg(test)]
mod tests;
