//! Pieces of syntax trees.

use sqlparser::ast::{
    DataType as SqlType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName,
};
use sqlparser::tokenizer::Span;

use crate::types::type_sql;

/// Makes a call of a function.
pub(crate) fn call(name: &str, arguments: Vec<Expr>, span: Span) -> Expr {
    let args = arguments.into_iter().map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)));
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::with_span(span, name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// Returns a type as one of sqlparser's.
pub(crate) fn named_type(data_type: &arrow::datatypes::DataType) -> SqlType {
    custom_type(type_sql(data_type))
}

/// Wraps the text of a type as a type of sqlparser's.
pub(super) fn custom_type(text: String) -> SqlType {
    SqlType::Custom(ObjectName::from(vec![Ident::new(text)]), Vec::new())
}
