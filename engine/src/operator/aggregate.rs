//! Calls of DataFusion's aggregate functions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{Field, FieldRef, SchemaRef};
use datafusion::logical_expr::{Accumulator, GroupsAccumulator};
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::{Literal, lit};
use datafusion::physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr};

use super::window::Rows;
use crate::batch::TARGET_BATCH_ROWS;
use crate::graph::AggregateCall;
use crate::wording::{aggregate_sql, expression_sql};
use crate::{Error, Result};

/// An aggregate function with its arguments, ready to be computed.
pub(super) struct Aggregate {
    function: Arc<AggregateFunctionExpr>,
    /// Arguments, then the expressions of ORDER BY: what accumulators expect.
    args: Vec<Arc<dyn PhysicalExpr>>,
    /// The values of arguments that are the same for all rows, as in COUNT(*), made once.
    constants: Vec<Option<ArrayRef>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    /// The columns of its state.
    state: Vec<FieldRef>,
}

/// The arguments of an aggregate, computed for the rows of a batch.
pub(super) struct Arguments {
    pub(super) values: Vec<ArrayRef>,
    /// FILTER's result; null counts as false.
    pub(super) filter: Option<BooleanArray>,
}

impl Arguments {
    /// Picks some rows.
    pub(super) fn pick(&self, rows: &Rows) -> Result<Self> {
        let values = self.values.iter().map(|value| rows.pick(value)).collect::<Result<_>>()?;
        let filter = match &self.filter {
            None => None,
            Some(filter) => {
                let filter: ArrayRef = Arc::new(filter.clone());
                Some(rows.pick(&filter)?.as_boolean().clone())
            }
        };
        Ok(Self { values, filter })
    }
}

impl Aggregate {
    /// Prepares a call over rows of `input`.
    ///
    /// # Errors
    /// `Compute` where the function does not take these arguments.
    pub(super) fn new(call: &AggregateCall, input: &SchemaRef) -> Result<Self> {
        let failed = |error| Error::compute(format!("prepare {}", call.output.name()), error);
        // COUNT without arguments counts rows, and a builder wants an argument.
        let args = if call.args.is_empty() { vec![lit(1_i64)] } else { call.args.clone() };
        let function = AggregateExprBuilder::new(Arc::clone(&call.function), args)
            .schema(Arc::clone(input))
            .alias(call.output.name())
            .with_distinct(call.distinct)
            .with_ignore_nulls(call.ignore_nulls)
            .order_by(call.order_by.clone())
            .build()
            .map_err(failed)?;
        let mut args = function.expressions();
        args.extend(function.order_bys().iter().map(|order| Arc::clone(&order.expr)));
        let state = function.state_fields().map_err(failed)?;
        let constants = args.iter().map(constant).collect::<Result<_, _>>().map_err(failed)?;
        let filter = call.filter.clone();
        Ok(Self { function: Arc::new(function), args, constants, filter, state })
    }

    /// Computes the arguments for all rows of a batch.
    pub(super) fn arguments(&self, rows: &RecordBatch) -> Result<Arguments> {
        let evaluate = |expr: &Arc<dyn PhysicalExpr>| {
            expr.evaluate(rows)
                .and_then(|value| value.into_array(rows.num_rows()))
                .map_err(|error| Error::compute(format!("compute {}", expression_sql(expr)), error))
        };
        let value = |(arg, constant): (_, &Option<ArrayRef>)| match constant {
            Some(values) if rows.num_rows() <= values.len() => Ok(values.slice(0, rows.num_rows())),
            _ => evaluate(arg),
        };
        let values = self.args.iter().zip(&self.constants).map(value).collect::<Result<_>>()?;
        let filter = match &self.filter {
            None => None,
            Some(filter) => Some(evaluate(filter)?.as_boolean().clone()),
        };
        Ok(Arguments { values, filter })
    }

    /// Tells whether its state is the number of rows: COUNT(*).
    pub(super) fn counts_rows(&self) -> bool {
        let is_present = |value: &Option<ArrayRef>| {
            value.as_ref().is_some_and(|values| values.logical_null_count() == 0)
        };
        self.function.fun().name() == "count"
            && !self.function.is_distinct()
            && self.filter.is_none()
            && self.constants.iter().all(is_present)
    }

    /// Returns the number of columns of its state.
    pub(super) fn state_columns(&self) -> usize {
        self.state.len()
    }

    /// Returns the columns of its state.
    pub(super) fn state_fields(&self) -> &[FieldRef] {
        &self.state
    }

    /// Makes an accumulator of one group.
    pub(super) fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        self.function.create_accumulator().map_err(|error| self.failed(error))
    }

    /// Makes an accumulator of many groups.
    pub(super) fn groups_accumulator(&self) -> Result<Box<dyn GroupsAccumulator>> {
        if self.function.groups_accumulator_supported() {
            self.function.create_groups_accumulator().map_err(|error| self.failed(error))
        } else {
            let function = Arc::clone(&self.function);
            let factory = move || function.create_accumulator();
            Ok(Box::new(GroupsAccumulatorAdapter::new(factory)))
        }
    }

    /// Wraps an error of this aggregate.
    pub(super) fn failed(&self, error: datafusion::error::DataFusionError) -> Error {
        let of = &self.function;
        let call = aggregate_sql(of.fun().name(), &of.expressions());
        Error::compute(format!("compute {call}"), error)
    }
}

/// Returns as many values of a literal as a batch has rows, or `None` for other expressions.
fn constant(expr: &Arc<dyn PhysicalExpr>) -> datafusion::error::Result<Option<ArrayRef>> {
    let literal = expr.downcast_ref::<Literal>();
    literal.map(|literal| literal.value().to_array_of_size(TARGET_BATCH_ROWS)).transpose()
}

/// Gives a result the type that its column declares. Mostly it has it already; nested types may
/// differ in the names of their parts.
pub(super) fn conform(column: ArrayRef, field: &Field) -> Result<ArrayRef> {
    if column.data_type() == field.data_type() {
        return Ok(column);
    }
    cast(&column, field.data_type())
        .map_err(|error| Error::compute(format!("give {} its type", field.name()), error))
}
