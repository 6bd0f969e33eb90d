//! DataFusion's functions of seconds, milliseconds and finer units since 1970, where they cut
//! digits off: before 1970 that goes up.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::plan_err;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::functions::datetime;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::coarser::to_coarser;
use super::moment::counts_of_numbers;
use crate::wording::type_sql;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let config = ConfigOptions::default();
    [
        (datetime::to_timestamp_seconds(&config), TimeUnit::Second),
        (datetime::to_timestamp_millis(&config), TimeUnit::Millisecond),
        (datetime::to_timestamp_micros(&config), TimeUnit::Microsecond),
        (datetime::to_timestamp_nanos(&config), TimeUnit::Nanosecond),
    ]
    .into_iter()
    .map(|(inner, unit)| {
        // No table has times of whole seconds.
        let returned = if unit == TimeUnit::Second { TimeUnit::Millisecond } else { unit };
        let returns = DataType::Timestamp(returned, None);
        Arc::new(ScalarUDF::from(Epoch { inner, unit, returns }))
    })
    .chain([Arc::new(ScalarUDF::from(Epoch {
        inner: datetime::to_unixtime(),
        unit: TimeUnit::Second,
        returns: DataType::Int64,
    }))])
    .collect()
}

/// A function to or from a number of units since 1970.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Epoch {
    /// Reads texts.
    inner: Arc<ScalarUDF>,
    /// What numbers count.
    unit: TimeUnit,
    returns: DataType,
}

impl ScalarUDFImpl for Epoch {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let Some(first) = args.arg_fields.first().map(|field| field.data_type()) else {
            return plan_err!("{} takes a number, a time or a text", self.name().to_uppercase());
        };
        let takes = first.is_numeric()
            || first.is_string()
            || first.is_null()
            || matches!(first, DataType::Date32 | DataType::Timestamp(..));
        if !takes {
            let name = self.name().to_uppercase();
            return plan_err!("{name} does not take {}", type_sql(first));
        }
        Ok(Arc::new(Field::new(self.name(), self.returns.clone(), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let found = args.args[0].data_type();
        if found.is_string() {
            return self.of_texts(args);
        }
        let array = args.args[0].to_array(args.number_rows)?;
        let counts = if found.is_numeric() {
            cast(&counts_of_numbers(&array, self.unit, |_| Some(1))?, &self.counted())?
        } else {
            to_coarser(&cast_date(&array)?, &self.counted())?
        };
        Ok(ColumnarValue::Array(checked_cast(&counts, &self.returns)?))
    }
}

impl Epoch {
    fn counted(&self) -> DataType {
        DataType::Timestamp(self.unit, None)
    }

    fn of_texts(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let types: Vec<_> = args.args.iter().map(ColumnarValue::data_type).collect();
        let returned = self.inner.return_type(&types)?;
        let return_field = Arc::new(Field::new(self.name(), returned, true));
        let times = self.inner.invoke_with_args(ScalarFunctionArgs { return_field, ..args })?;
        Ok(ColumnarValue::Array(to_coarser(&times.into_array(rows)?, &self.returns)?))
    }
}

fn cast_date(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Timestamp(..) => Arc::clone(array),
        _ => checked_cast(array, &DataType::Timestamp(TimeUnit::Second, None))?,
    })
}

fn checked_cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(array, to, &options)?)
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{Int64Type, TimestampMillisecondType};
    use datafusion::common::ScalarValue;

    use super::super::scalar::testing::{call, number, text};
    use super::*;

    #[test]
    fn numbers_and_times_go_down_and_what_is_no_time_is_refused() {
        let functions = functions();
        let run = |name, value: ColumnarValue| call(&functions, name, vec![value], 1);
        let millis = |name, value| {
            let array = run(name, value).unwrap_or_else(|error| panic!("{error}"));
            array.as_primitive::<TimestampMillisecondType>().value(0)
        };
        let double = |value| ColumnarValue::Scalar(ScalarValue::Float64(Some(value)));
        let micros =
            |value| ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(Some(value), None));
        assert_eq!(millis("to_timestamp_seconds", number(-2)), -2000);
        assert_eq!(millis("to_timestamp_seconds", double(-1.5)), -2000);
        assert_eq!(millis("to_timestamp_seconds", text("1969-12-31 23:59:59")), -1000);
        assert_eq!(millis("to_timestamp_millis", micros(-1)), -1);
        let seconds = run("to_unixtime", micros(-1)).expect("a number");
        assert_eq!(seconds.as_primitive::<Int64Type>().value(0), -1);
        for wrong in [number(i64::MAX), double(f64::NAN), text("x")] {
            assert!(run("to_timestamp_seconds", wrong).is_err());
        }
        for function in &functions[..4] {
            let error = run(function.name(), double(1e300)).expect_err("is refused").to_string();
            assert!(error.contains("is no time: it is too far from 1970"), "{error}");
        }
    }
}
