//! What LEAD and LAG return where there is no row.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExprSchemable};
use rainstorm_engine::wording::type_sql;
use sqlparser::tokenizer::Span;

use super::constant_value;
use crate::error::{SqlError, SqlErrorCode, fail};

/// Refuses a default that is none of the values of its column: DataFusion casts it when it meets
/// the first row without another, and cuts off what does not fit.
///
/// # Errors
/// `Type`
pub(super) fn default_value(name: &str, args: &[Expr], schema: &DFSchema) -> Result<()> {
    let [value, _, default] = args else { return Ok(()) };
    if !matches!(name, "lead" | "lag") {
        return Ok(());
    }
    let name = name.to_uppercase();
    let refused = |message: String, help: String| {
        Err(fail(SqlError::at(SqlErrorCode::Type, Span::empty(), message).with_help(help)))
    };
    let (to, from) = (value.get_type(schema)?, default.get_type(schema)?);
    let Some(constant) = constant_value(default) else {
        let message = format!("{name} takes a default that is the same for all rows");
        return refused(message, format!("write COALESCE({name}(…), …)"));
    };
    if from == to || constant.is_null() || keeps(&constant, &to) {
        return Ok(());
    }
    let (from, to) = (type_sql(&from), type_sql(&to));
    let message = format!("{name} is of {to} here, its default is {from}");
    refused(message, "give both one type with CAST".to_owned())
}

/// Tells whether a constant says the same as a value of another type.
fn keeps(constant: &ScalarValue, to: &DataType) -> bool {
    let from = constant.data_type();
    let is_number =
        |data_type: &DataType| data_type.is_numeric() || *data_type == DataType::Boolean;
    if from.is_string() != to.is_string() && (is_number(&from) || is_number(to)) {
        return false;
    }
    let Ok(cast) = constant.cast_to(to) else { return false };
    !is_number(&from) || cast.cast_to(&from).is_ok_and(|back| back == *constant)
}
