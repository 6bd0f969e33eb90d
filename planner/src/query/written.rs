//! What the text of a query tells about a column's values, beyond the column's type.
//!
//! What is written down goes into a column that it fits.

use arrow::compute::can_cast_types;
use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan};

use super::assign::fits;
use crate::stream::unaliased;

/// The expressions that a column's values come from: one, or one per row of VALUES.
pub(super) struct Written<'a> {
    exprs: Vec<&'a Expr>,
    /// What they are computed from.
    schema: &'a DFSchema,
}

impl<'a> Written<'a> {
    /// Follows a plan's column to where it is written.
    pub(super) fn of(plan: &'a LogicalPlan, index: usize) -> Option<Self> {
        match plan {
            LogicalPlan::Values(values) => {
                // Where rows differ in their types, DataFusion casts them to a common one.
                let value = |row: &'a Vec<Expr>| match &row[index] {
                    expr if constant(expr).is_some() => expr,
                    Expr::Cast(cast) if is_written_down(&cast.expr) => cast.expr.as_ref(),
                    expr => expr,
                };
                Some(Self {
                    exprs: values.values.iter().map(value).collect(),
                    schema: &values.schema,
                })
            }
            LogicalPlan::SubqueryAlias(alias) => Self::of(&alias.input, index),
            LogicalPlan::Projection(projection) => {
                let expr = unaliased(&projection.expr[index]);
                let schema = projection.input.schema();
                let further = match expr {
                    Expr::Column(column) => schema
                        .maybe_index_of_column(column)
                        .and_then(|index| Self::of(&projection.input, index)),
                    _ => None,
                };
                Some(further.unwrap_or_else(|| Self { exprs: vec![expr], schema }))
            }
            _ => None,
        }
    }

    /// Finds the first expression whose value may not keep what it says as one of another type.
    ///
    /// # Errors
    /// The first constant that is none of that type, by its row.
    pub(super) fn first_misfit(
        &self,
        to: &DataType,
    ) -> Result<Option<usize>, (usize, DataFusionError)> {
        for (row, expr) in self.exprs.iter().enumerate() {
            if let Some(value) = constant(expr).filter(|value| !value.is_null())
                && can_cast_types(&value.data_type(), to)
            {
                value.cast_to(to).map_err(|error| (row, error))?;
            }
        }
        Ok(self.exprs.iter().position(|expr| !keeps(expr, self.schema, to)))
    }
}

fn keeps(expr: &Expr, schema: &DFSchema, to: &DataType) -> bool {
    if let Some(value) = constant(expr) {
        return value_keeps(&value, to);
    }
    if to.is_integer() {
        let bytes = to.primitive_width();
        return bytes_needed(expr, schema).is_some_and(|needed| Some(needed) <= bytes);
    }
    match parts(expr, to) {
        Some(parts) => parts.into_iter().all(|(part, to)| keeps(part, schema, to)),
        None => expr.get_type(schema).is_ok_and(|from| fits(&from, to)),
    }
}

fn is_written_down(expr: &Expr) -> bool {
    let constructors = ["struct", "named_struct", "make_array", "map"];
    let constructs =
        matches!(expr, Expr::ScalarFunction(call) if constructors.contains(&call.func.name()));
    constructs || constant(expr).is_some()
}

/// Tells whether a value can be cast: a number is no time and no truth, and one that becomes an
/// integer must be whole.
fn value_keeps(value: &ScalarValue, to: &DataType) -> bool {
    let from = value.data_type();
    if value.is_null() {
        return true;
    }
    let of_another_kind = (from.is_numeric() && (to.is_temporal() || *to == DataType::Boolean))
        || (from == DataType::Boolean && to.is_numeric());
    if of_another_kind || !can_cast_types(&from, to) {
        return false;
    }
    let Ok(cast) = value.cast_to(to) else { return false };
    let may_lose = to.is_integer() && from.is_numeric() && !from.is_integer();
    !may_lose || cast.cast_to(&from).is_ok_and(|back| back == *value)
}

/// Returns the value of a literal, negated or with an exponent.
fn constant(expr: &Expr) -> Option<ScalarValue> {
    match unaliased(expr) {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Negative(inner) => constant(inner)?.arithmetic_negate().ok(),
        Expr::Cast(Cast { expr, field }) => match expr.as_ref() {
            // A number with an exponent.
            Expr::Literal(text, _)
                if text.data_type().is_string() && *field.data_type() == DataType::Float64 =>
            {
                text.cast_to(&DataType::Float64).ok()
            }
            _ => None,
        },
        _ => None,
    }
}

/// Returns the parts of an ARRAY, MAP or ROW that is written down, each with the type that is
/// wanted of it.
fn parts<'a>(expr: &'a Expr, to: &'a DataType) -> Option<Vec<(&'a Expr, &'a DataType)>> {
    let Expr::ScalarFunction(call) = unaliased(expr) else { return None };
    match (call.func.name(), to) {
        ("make_array", DataType::List(item)) => Some(elements(call, item.data_type()).collect()),
        ("map", DataType::Map(entries, _)) => {
            let DataType::Struct(entry) = entries.data_type() else { return None };
            let [Expr::ScalarFunction(keys), Expr::ScalarFunction(values)] = call.args.as_slice()
            else {
                return None;
            };
            let keys = elements(keys, entry[0].data_type());
            Some(keys.chain(elements(values, entry[1].data_type())).collect())
        }
        ("struct", DataType::Struct(fields)) if fields.len() == call.args.len() => {
            Some(call.args.iter().zip(fields.iter().map(|field| field.data_type())).collect())
        }
        ("named_struct", DataType::Struct(fields)) if fields.len() * 2 == call.args.len() => {
            let values = call.args.iter().skip(1).step_by(2);
            Some(values.zip(fields.iter().map(|field| field.data_type())).collect())
        }
        _ => None,
    }
}

fn elements<'a>(
    array: &'a ScalarFunction,
    to: &'a DataType,
) -> impl Iterator<Item = (&'a Expr, &'a DataType)> {
    array.args.iter().map(move |element| (element, to))
}

/// Returns the width of a whole number, of a CASE that of the widest.
fn bytes_needed(expr: &Expr, schema: &DFSchema) -> Option<usize> {
    match unaliased(expr) {
        Expr::Case(case) => {
            let values = case.when_then_expr.iter().map(|(_, value)| value);
            let mut needed = values
                .chain(&case.else_expr)
                .map(|value| bytes_needed(value, schema))
                .collect::<Option<Vec<_>>>()?
                .into_iter();
            needed.next().map(|first| needed.fold(first, usize::max))
        }
        other => {
            let data_type = other.get_type(schema).ok()?;
            data_type.is_integer().then(|| data_type.primitive_width()).flatten()
        }
    }
}
