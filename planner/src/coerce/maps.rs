//! Keys of maps, given the type that the map's keys have.
//!
//! DataFusion leaves a key as it is written, and then fails to compare it with keys of another
//! type, be it only another representation of text.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Expr, ExprSchemable};

/// Rewrites `map['key']`, also where more follows: `map['key'].field`.
pub(super) fn of_expr(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::ScalarFunction(call) = &mut expr else { return Transformed::no(expr) };
    let Some((base, names)) = call.args.split_first_mut() else {
        return Transformed::no(expr);
    };
    if call.func.name() != "get_field" {
        return Transformed::no(expr);
    }
    let mut found = base.get_type(schema).ok();
    let mut transformed = false;
    for name in names {
        let (Some(data_type), Expr::Literal(value, _)) = (&found, name) else { break };
        if let DataType::Map(entries, _) = data_type
            && let DataType::Struct(fields) = entries.data_type()
            && let Ok(key) = value.cast_to(fields[0].data_type())
        {
            transformed |= key.data_type() != value.data_type();
            *value = key;
        }
        let name = value.try_as_str().flatten();
        found = inner(data_type, name).cloned();
    }
    if transformed { Transformed::yes(expr) } else { Transformed::no(expr) }
}

/// Returns the type of a map's values, or of a struct's field.
fn inner<'a>(data_type: &'a DataType, name: Option<&str>) -> Option<&'a DataType> {
    match data_type {
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => Some(fields[1].data_type()),
            _ => None,
        },
        DataType::Struct(fields) => fields.find(name?).map(|(_, field)| field.data_type()),
        _ => None,
    }
}
