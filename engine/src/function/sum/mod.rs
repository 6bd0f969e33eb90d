//! SUM of whole numbers and decimals, held wider than it is: only what is emitted has to fit.
//!
//! DataFusion's sums wrap around, and so would those of partitions and slices that together fit
//! their type. Of other types SUM is DataFusion's.

mod groups;
mod single;
mod total;

use std::sync::Arc;

use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Field, FieldRef, Int64Type, UInt64Type,
};
use datafusion::error::Result;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::{AggregateFunctionParams, WindowFunctionParams};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature,
};

use self::groups::SumGroups;
use self::single::{DistinctSum, SingleSum};
pub(crate) use self::total::{SumResult, Total, total_type};
use crate::wording::aggregate_sql;

/// The name of the SUM whose whole numbers wrap around, which a setting asks for.
pub const WRAPPING_SUM: &str = "wrapping_sum";

/// Returns an aggregate's name in SQL.
#[must_use]
pub fn aggregate_name(function: &str) -> &str {
    if function == WRAPPING_SUM { "sum" } else { function }
}

pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    ["sum", WRAPPING_SUM].map(|name| Arc::new(AggregateUDF::from(Sum { name }))).to_vec()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Sum {
    name: &'static str,
}

/// Makes an accumulator for the type of a sum's argument, `None` for types that are DataFusion's.
macro_rules! with_types {
    ($args:expr, $make:ident) => {
        match $args.expr_fields.first().map(|field| field.data_type()) {
            Some(DataType::Int64) => Some($make!(Int64Type, Decimal128Type)),
            Some(DataType::UInt64) => Some($make!(UInt64Type, Decimal128Type)),
            Some(kind @ DataType::Decimal128(..)) => Some(match total_type(kind) {
                Some(DataType::Decimal256(..)) => $make!(Decimal128Type, Decimal256Type),
                _ => $make!(Decimal128Type, Decimal128Type),
            }),
            _ => None,
        }
    };
}

impl Sum {
    fn result(&self, args: &AccumulatorArgs) -> SumResult {
        let name = aggregate_sql(self.name, args.exprs);
        SumResult::new(self.name, &name, args.return_field.data_type())
    }

    fn single(&self, args: &AccumulatorArgs) -> Option<Box<dyn Accumulator>> {
        macro_rules! plain {
            ($value:ty, $total:ty) => {
                Box::new(SingleSum::<$value, $total>::new(self.result(args)))
                    as Box<dyn Accumulator>
            };
        }
        macro_rules! distinct {
            ($value:ty, $total:ty) => {
                Box::new(DistinctSum::<$value, $total>::new(
                    self.result(args),
                    args.expr_fields[0].data_type(),
                )) as Box<dyn Accumulator>
            };
        }
        if args.is_distinct { with_types!(args, distinct) } else { with_types!(args, plain) }
    }
}

impl AggregateUDFImpl for Sum {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        static SIGNATURE: std::sync::LazyLock<Signature> =
            std::sync::LazyLock::new(|| sum_udaf().signature().clone());
        &SIGNATURE
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        sum_udaf().schema_name(params)
    }

    fn display_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        sum_udaf().display_name(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        sum_udaf().window_function_schema_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        sum_udaf().window_function_display_name(params)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        sum_udaf().return_type(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.single(&args).map_or_else(|| sum_udaf().accumulator(args), Ok)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let total = args.input_fields.first().and_then(|field| total_type(field.data_type()));
        let Some(total) = total else { return sum_udaf().state_fields(args) };
        Ok(vec![Arc::new(if args.is_distinct {
            let item = args.input_fields[0].data_type().clone();
            let name = format_state_name(args.name, "sum distinct");
            Field::new_list(name, Field::new_list_field(item, true), false)
        } else {
            Field::new(format_state_name(args.name, "sum"), total, true)
        })])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        macro_rules! groups {
            ($value:ty, $total:ty) => {
                Box::new(SumGroups::<$value, $total>::new(self.result(&args)))
                    as Box<dyn GroupsAccumulator>
            };
        }
        let groups = with_types!(args, groups);
        groups.map_or_else(|| sum_udaf().create_groups_accumulator(args), Ok)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.single(&args).map_or_else(|| sum_udaf().create_sliding_accumulator(args), Ok)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

#[cfg(test)]
mod tests;
