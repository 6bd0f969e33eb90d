//! CREATE FUNCTION … RETURN.

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, Schema};
use sqlparser::ast::Spanned;

use crate::catalog::FunctionDefinition;
use crate::error::{SqlError, SqlErrorCode, SqlErrors};
use crate::expression::expression_type;
use crate::resolve::resolve_expression;
use crate::session::QueryContext;
use crate::statement::CreateFunction;
use crate::types::type_sql;

pub(super) fn define_function(
    context: QueryContext<'_>,
    create: &CreateFunction,
) -> Result<FunctionDefinition, SqlErrors> {
    let mut fields: Vec<Field> = Vec::new();
    for (name, data_type) in &create.args {
        if fields.iter().any(|field| *field.name() == name.value) {
            let message = format!("there are two arguments '{}'", name.value);
            let code = SqlErrorCode::InvalidStatement;
            return Err(SqlError::at(code, name.span, message).into());
        }
        fields.push(Field::new(&name.value, data_type.clone(), true));
    }
    let schema = Schema::new(fields);
    let body = resolve_expression(context, &create.body, &schema)?;
    let result = expression_type(context, &body, &schema)?;
    if !fits(result.data_type(), &create.return_type) {
        let message = format!(
            "function '{}' returns {}, its expression is {}",
            create.name.value,
            type_sql(&create.return_type),
            type_sql(result.data_type())
        );
        return Err(SqlError::at(SqlErrorCode::Type, create.body.span(), message).into());
    }
    let args = create.args.iter().map(|(name, data_type)| (name.value.clone(), data_type.clone()));
    Ok(FunctionDefinition {
        name: create.name.value.clone(),
        args: args.collect(),
        return_type: create.return_type.clone(),
        body,
        temporary: create.mode.temporary,
    })
}

/// Tells whether a body is of the kind that a function returns: numbers are turned into other
/// numbers, but texts into nothing else without a CAST, since they may not be any.
fn fits(from: &DataType, to: &DataType) -> bool {
    let same_kind = (from.is_numeric() && to.is_numeric())
        || (from.is_string() && to.is_string())
        || (from.is_temporal() && to.is_temporal())
        || from.is_nested()
        || from.is_null()
        || from == to;
    same_kind && can_cast_types(from, to)
}
