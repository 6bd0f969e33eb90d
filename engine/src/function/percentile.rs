//! PERCENTILE_CONT and MEDIAN, interpolated between exact neighbours.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Schema};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::functions_aggregate::median::median_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Signature, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::collect_columns;

pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    let signature = || Signature::user_defined(Volatility::Immutable);
    let names = vec!["expr".to_owned(), "percentile".to_owned()];
    let percentile = Percentile {
        signature: signature().with_parameter_names(names).unwrap_or_else(|_| signature()),
        aliases: vec!["quantile_cont".to_owned()],
    };
    let median = Median { signature: signature() };
    vec![Arc::new(AggregateUDF::from(percentile)), Arc::new(AggregateUDF::from(median))]
}

/// `PERCENTILE_CONT(fraction) WITHIN GROUP (ORDER BY number)`, of numbers of any type a DOUBLE.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Percentile {
    signature: Signature,
    aliases: Vec<String>,
}

impl AggregateUDFImpl for Percentile {
    fn name(&self) -> &'static str {
        "percentile_cont"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if types.len() == 2 && types.iter().all(is_number) {
            return Ok(vec![DataType::Float64; 2]);
        }
        plan_err!("PERCENTILE_CONT takes a number and a fraction")
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_of_numbers(&args))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let fraction = fraction_of(&args.exprs[1])?;
        let descending = args.order_bys.first().is_some_and(|order| order.options.descending);
        Ok(Box::new(Numbers {
            fraction: if descending { fraction.turned() } else { fraction },
            distinct: args.is_distinct,
            values: Vec::new(),
        }))
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }
}

/// `MEDIAN(number)`: a DECIMAL of decimals, else a DOUBLE.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Median {
    signature: Signature,
}

impl AggregateUDFImpl for Median {
    fn name(&self) -> &'static str {
        "median"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(match types {
            [decimal @ DataType::Decimal128(..)] => vec![decimal.clone()],
            [number] if is_number(number) => vec![DataType::Float64],
            _ => return plan_err!("MEDIAN takes a number"),
        })
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(halved(&types[0]))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if args.input_fields[0].data_type().is_decimal() {
            let input_fields = &[halved_field(&args.input_fields[0])];
            return median_udaf().state_fields(StateFieldsArgs { input_fields, ..args });
        }
        Ok(state_of_numbers(&args))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.expr_fields[0].data_type().is_decimal() {
            let field = halved_field(&args.expr_fields[0]);
            let of = field.data_type().clone();
            let expr_fields = &[field];
            let inner = median_udaf().accumulator(AccumulatorArgs { expr_fields, ..args })?;
            return Ok(Box::new(Decimals { inner, of }));
        }
        let distinct = args.is_distinct;
        Ok(Box::new(Numbers { fraction: Fraction::HALF, distinct, values: Vec::new() }))
    }
}

/// With one digit more the middle of two decimals has a value.
fn halved(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Decimal128(precision @ 0..38, scale) => {
            DataType::Decimal128(precision + 1, scale + 1)
        }
        other => other.clone(),
    }
}

fn halved_field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::clone(field).with_data_type(halved(field.data_type())))
}

/// Decimals with that digit, by DataFusion.
#[derive(Debug)]
struct Decimals {
    inner: Box<dyn Accumulator>,
    of: DataType,
}

impl Accumulator for Decimals {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(&[cast(&values[0], &self.of)?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(&[cast(&values[0], &self.of)?])
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric() || data_type.is_null()
}

fn state_of_numbers(args: &StateFieldsArgs) -> Vec<FieldRef> {
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true)));
    vec![Arc::new(Field::new(format!("{}[values]", args.name), list, true))]
}

/// Reads the fraction, which is the same for all rows.
fn fraction_of(expr: &Arc<dyn PhysicalExpr>) -> Result<Fraction> {
    if !collect_columns(expr).is_empty() {
        return plan_err!("PERCENTILE_CONT takes one fraction for all rows");
    }
    let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
    let value = match expr.evaluate(&nothing)? {
        ColumnarValue::Scalar(value) => value,
        ColumnarValue::Array(_) => return plan_err!("PERCENTILE_CONT takes a constant fraction"),
    };
    match value {
        ScalarValue::Float64(Some(fraction)) if (0.0..=1.0).contains(&fraction) => {
            Ok(Fraction::new(fraction))
        }
        value => plan_err!("PERCENTILE_CONT takes a fraction from 0 to 1, not {value}"),
    }
}

/// A fraction as it is written, in decimal digits: 0.9 is nine tenths, which no DOUBLE is.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fraction {
    numerator: i128,
    denominator: i128,
}

/// More digits than these do not matter: they are those of a DOUBLE near 0.
const MAX_DIGITS: usize = 18;

impl Fraction {
    const HALF: Self = Self { numerator: 1, denominator: 2 };

    fn new(value: f64) -> Self {
        let text = format!("{value}");
        let (whole, digits) = text.split_once('.').unwrap_or((&text, ""));
        let digits = digits.get(..MAX_DIGITS).unwrap_or(digits);
        let denominator = 10_i128.pow(digits.len() as u32);
        let number = |text: &str| text.parse::<i128>().unwrap_or_default();
        Self { numerator: number(whole) * denominator + number(digits), denominator }
    }

    fn turned(self) -> Self {
        Self { numerator: self.denominator - self.numerator, ..self }
    }

    /// Returns what lies so far between the first and the last of these values.
    fn of(self, values: &mut [f64]) -> Option<f64> {
        let steps = values.len().checked_sub(1)? as i128 * self.numerator;
        let (below, rest) = (steps / self.denominator, steps % self.denominator);
        let (_, below, above) = values.select_nth_unstable_by(below as usize, f64::total_cmp);
        let below = *below;
        if rest == 0 {
            return Some(below);
        }
        let above = above.iter().copied().min_by(f64::total_cmp)?;
        if above.total_cmp(&below).is_eq() {
            return Some(below);
        }
        let part = rest as f64 / self.denominator as f64;
        let width = above - below;
        // The width of very large numbers is too large.
        let far = width.is_infinite() && below.is_finite() && above.is_finite();
        Some(if far { below * (1.0 - part) + above * part } else { below + width * part })
    }
}

/// The numbers of a group.
#[derive(Debug)]
struct Numbers {
    fraction: Fraction,
    distinct: bool,
    values: Vec<f64>,
}

impl Accumulator for Numbers {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(numbers) = values[0].as_primitive_opt::<Float64Type>() else {
            return exec_err!("expected numbers, not {}", values[0].data_type());
        };
        match numbers.null_count() {
            0 => self.values.extend_from_slice(numbers.values()),
            _ => self.values.extend(numbers.iter().flatten()),
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut values = self.values.clone();
        if self.distinct {
            // As grouping has it: every NaN is the same, and so are both zeros.
            values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = f64::NAN);
            values.sort_unstable_by(f64::total_cmp);
            values.dedup_by(|value, kept| {
                value.total_cmp(kept).is_eq() || (*value == 0.0 && *kept == 0.0)
            });
        }
        Ok(ScalarValue::Float64(self.fraction.of(&mut values)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = Float64Array::from(std::mem::take(&mut self.values));
        let offsets = OffsetBuffer::from_lengths([values.len()]);
        let field = Arc::new(Field::new_list_field(DataType::Float64, true));
        let list = ListArray::try_new(field, offsets, Arc::new(values), None)?;
        Ok(vec![ScalarValue::List(Arc::new(list))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for list in states[0].as_list::<i32>().iter().flatten() {
            self.update_batch(&[list])?;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        // They leave in the order in which they came.
        let leaving = values[0].len() - values[0].null_count();
        self.values.drain(..leaving.min(self.values.len()));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_between_are_interpolated_as_the_fraction_is_written() {
        let nines = |last: f64| [vec![0.0; 9], vec![last]].concat();
        for (fraction, mut values, expected) in [
            (0.9, nines(1e9), 100_000_000.0),
            (0.9, nines(1e300), 1e299),
            (0.5, vec![4.0, 1.0, 2.0, 3.0], 2.5),
            (0.0, vec![3.0, 1.0], 1.0),
            (1.0, vec![3.0, 1.0], 3.0),
            (0.3, vec![7.0], 7.0),
            (0.5, vec![-1.7e308, 1.7e308], 0.0),
        ] {
            assert_eq!(Fraction::new(fraction).of(&mut values), Some(expected), "{fraction}");
        }
        let mut tenths: Vec<f64> = (0..=10).map(f64::from).collect();
        for tenth in 0..=10 {
            let fraction = Fraction::new(f64::from(tenth) / 10.0);
            assert_eq!(fraction.of(&mut tenths), Some(f64::from(tenth)));
            assert_eq!(fraction.turned().of(&mut tenths), Some(f64::from(10 - tenth)));
        }
        assert_eq!(Fraction::HALF.of(&mut []), None);
        assert_eq!(Fraction::new(1e-300), Fraction { numerator: 0, denominator: 10_i128.pow(18) });
    }

    #[test]
    fn a_state_goes_on_where_another_has_stopped() {
        let numbers = |distinct| Numbers { fraction: Fraction::HALF, distinct, values: Vec::new() };
        let values: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None, Some(1.0)]));
        let more: ArrayRef = Arc::new(Float64Array::from(vec![4.0]));
        for (distinct, expected) in [(false, 1.0), (true, 2.5)] {
            let mut first = numbers(distinct);
            first.update_batch(&[Arc::clone(&values)]).expect("takes numbers");
            let state = first.state().expect("has a state")[0].to_array().expect("an array");
            let mut second = numbers(distinct);
            second.merge_batch(&[state]).expect("merges");
            second.update_batch(&[Arc::clone(&more)]).expect("takes numbers");
            assert_eq!(second.evaluate().expect("a value"), ScalarValue::Float64(Some(expected)));
        }
    }

    #[test]
    fn distinct_numbers_are_those_that_grouping_tells_apart() {
        let values = vec![1.0, 1.0, 0.0, -0.0, f64::NAN, -f64::NAN, f64::NAN];
        let mut numbers = Numbers { fraction: Fraction::HALF, distinct: true, values };
        assert_eq!(numbers.evaluate().expect("a value"), ScalarValue::Float64(Some(1.0)));
    }
}
