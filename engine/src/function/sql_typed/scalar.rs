//! Scalar functions with SQL's types.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::{cast_to_planned, sql_type};

/// Wraps a function.
pub(in crate::function) fn sql_scalar(inner: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(SqlScalar { inner }))
}

/// A function whose results get SQL's types.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SqlScalar {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for SqlScalar {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types).map(|returned| sql_type(&returned))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = self.inner.return_field_from_args(args)?;
        Ok(Arc::new(Field::clone(&field).with_data_type(sql_type(field.data_type()))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let planned = args.return_field.data_type().clone();
        let scalars: Vec<Option<&ScalarValue>> = args
            .args
            .iter()
            .map(|arg| match arg {
                ColumnarValue::Scalar(value) => Some(value),
                ColumnarValue::Array(_) => None,
            })
            .collect();
        let return_field = self.inner.return_field_from_args(ReturnFieldArgs {
            arg_fields: &args.arg_fields,
            scalar_arguments: &scalars,
        })?;
        match self.inner.invoke_with_args(ScalarFunctionArgs { return_field, ..args })? {
            ColumnarValue::Array(values) => {
                Ok(ColumnarValue::Array(cast_to_planned(&values, &planned)?))
            }
            ColumnarValue::Scalar(value) => Ok(ColumnarValue::Scalar(value.cast_to(&planned)?)),
        }
    }
}
