//! Functions of the current time.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::scalar::fitted;
use super::time::{MICROS, MILLIS, NANOS, TEXT, seconds_of_moments};
use crate::time::{ClockRef, TimestampMs};

const MS_PER_DAY: i64 = 86_400_000;

/// What part of the current time a function returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    /// TIMESTAMP(3)
    Timestamp,
    /// DATE
    Date,
    /// TIME
    Time,
    /// Seconds since 1970; with arguments, of a text.
    Seconds,
}

/// Names and what they return.
const FUNCTIONS: &[(&str, Part)] = &[
    ("current_timestamp", Part::Timestamp),
    ("now", Part::Timestamp),
    ("localtimestamp", Part::Timestamp),
    ("current_row_timestamp", Part::Timestamp),
    ("proctime", Part::Timestamp),
    ("current_date", Part::Date),
    ("today", Part::Date),
    ("current_time", Part::Time),
    ("localtime", Part::Time),
    ("unix_timestamp", Part::Seconds),
];

/// Of what UNIX_TIMESTAMP gives the seconds, if not of the current time.
const SECONDS_OF: &[&[DataType]] =
    &[&[TEXT], &[TEXT, TEXT], &[MILLIS], &[MICROS], &[NANOS], &[DataType::Date32]];

/// Tells whether a function is one of the current time. All of them have one value per row,
/// however often they are written.
#[must_use]
pub fn is_current_time(name: &str) -> bool {
    FUNCTIONS.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
}

thread_local! {
    /// The time at which the rows were taken that this thread computes on.
    static TAKEN_AT: Cell<Option<TimestampMs>> = const { Cell::new(None) };
}

/// Computes on rows that were taken at a time, which is the current time for their expressions.
pub(crate) fn at<T>(taken_at: TimestampMs, compute: impl FnOnce() -> T) -> T {
    let _restored = Restored(TAKEN_AT.replace(Some(taken_at)));
    compute()
}

/// Sets the time back when it is dropped, also where an expression panics.
struct Restored(Option<TimestampMs>);

impl Drop for Restored {
    fn drop(&mut self) {
        TAKEN_AT.set(self.0);
    }
}

pub(super) fn functions(clock: &ClockRef) -> Vec<Arc<ScalarUDF>> {
    let function = |(name, part): &(&'static str, Part)| {
        let signature = match part {
            Part::Seconds => {
                let takes = vec![TypeSignature::Nullary, TypeSignature::UserDefined];
                Signature::one_of(takes, Volatility::Volatile)
            }
            _ => Signature::nullary(Volatility::Volatile),
        };
        let function = CurrentTime { name, part: *part, signature, clock: Arc::clone(clock) };
        Arc::new(ScalarUDF::from(function))
    };
    FUNCTIONS.iter().map(function).collect()
}

/// Returns the time at which rows were taken, outside of an operator the injected clock's. Volatile:
/// it is never folded into a plan.
#[derive(Debug)]
struct CurrentTime {
    name: &'static str,
    part: Part,
    signature: Signature,
    clock: ClockRef,
}

impl PartialEq for CurrentTime {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for CurrentTime {}

impl Hash for CurrentTime {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for CurrentTime {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, found: &[DataType]) -> Result<Vec<DataType>> {
        let fits = SECONDS_OF.iter().find_map(|wanted| fitted(found, wanted));
        fits.map_or_else(|| plan_err!("{} does not take these arguments", self.name), Ok)
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(match self.part {
            Part::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, None),
            Part::Date => DataType::Date32,
            Part::Time => DataType::Time32(TimeUnit::Millisecond),
            Part::Seconds => DataType::Int64,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if !args.args.is_empty() {
            return seconds_of_moments(&args).map(ColumnarValue::Array);
        }
        let now_ms = TAKEN_AT.get().unwrap_or_else(|| self.clock.now_ms());
        Ok(ColumnarValue::Scalar(match self.part {
            Part::Timestamp => ScalarValue::TimestampMillisecond(Some(now_ms), None),
            Part::Date => ScalarValue::Date32(Some(now_ms.div_euclid(MS_PER_DAY) as i32)),
            Part::Time => {
                ScalarValue::Time32Millisecond(Some(now_ms.rem_euclid(MS_PER_DAY) as i32))
            }
            Part::Seconds => ScalarValue::Int64(Some(now_ms.div_euclid(1000))),
        }))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{Date32Type, Int64Type, TimestampMillisecondType};

    use super::super::scalar::testing::{call, text};
    use super::*;
    use crate::time::SimulatedClock;

    #[test]
    fn functions_of_the_current_time_read_the_clock_that_is_given() {
        let clock = Arc::new(SimulatedClock::new(86_400_000 + 1_234));
        let clock_ref: ClockRef = clock.clone();
        let functions = functions(&clock_ref);
        let now = |name| {
            let array = call(&functions, name, vec![], 3).unwrap();
            array.as_primitive::<TimestampMillisecondType>().values().to_vec()
        };
        assert_eq!(now("proctime"), [86_401_234; 3]);
        clock.advance_to(86_402_000);
        assert_eq!(now("current_timestamp"), [86_402_000; 3]);
        let date = call(&functions, "current_date", vec![], 1).unwrap();
        assert_eq!(date.as_primitive::<Date32Type>().value(0), 1);
        let seconds = call(&functions, "unix_timestamp", vec![], 1).unwrap();
        assert_eq!(seconds.as_primitive::<Int64Type>().value(0), 86_402);
    }

    #[test]
    fn rows_of_an_operator_have_the_time_at_which_they_were_taken() {
        let clock: ClockRef = Arc::new(SimulatedClock::new(5));
        let functions = functions(&clock);
        let now = || {
            let array = call(&functions, "now", vec![], 1).unwrap();
            array.as_primitive::<TimestampMillisecondType>().value(0)
        };
        assert_eq!(at(3, || (now(), at(4, now), now())), (3, 4, 3));
        assert_eq!(now(), 5);
    }

    #[test]
    fn unix_timestamp_of_a_text_is_its_second() {
        let clock: ClockRef = Arc::new(SimulatedClock::new(0));
        let functions = functions(&clock);
        let args = vec![text("2024-01-01 00:00:10")];
        let seconds = call(&functions, "unix_timestamp", args, 1).unwrap();
        assert_eq!(seconds.as_primitive::<Int64Type>().value(0), 1_704_067_210);
    }
}
