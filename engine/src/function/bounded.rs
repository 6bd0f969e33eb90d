//! DataFusion's functions that make values as long as an argument says, kept from making one that
//! does not fit into memory: failing to allocate it would end the process. And those of a place in
//! an array, which fail on places that no array has.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::{ScalarValue, exec_err, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::scalar::{Integers, Texts};
use crate::held::array_bytes;

/// The functions; their second argument is a length.
const BOUNDED: &[&str] = &["array_repeat", "array_resize", "lpad", "repeat", "rpad"];

/// The functions whose second and third arguments are places in an array.
const OF_PLACES: &[&str] = &["array_element", "array_slice"];

/// The most bytes that one value may have.
pub const MAX_LENGTH: i64 = 100_000_000;

/// The most bytes that the values of a batch may have together: their offsets are of 32 bits.
const MAX_TOGETHER: i64 = i32::MAX as i64;

/// Bounds a function, if it is one of these.
pub(super) fn of_scalar(udf: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    if BOUNDED.contains(&udf.name()) || OF_PLACES.contains(&udf.name()) {
        return Arc::new(ScalarUDF::from(Bounded { inner: udf }));
    }
    udf
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(args, info)
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if OF_PLACES.contains(&self.name()) {
            for place in args.args.iter_mut().skip(1).take(2) {
                *place = of_an_array(place)?;
            }
        } else if let Some(lengths) = args.args.get_mut(1) {
            *lengths = from_zero(lengths)?;
            self.check(&args)?;
        }
        self.inner.invoke_with_args(args)
    }
}

impl Bounded {
    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        let text = |index: usize| match args.args.get(index) {
            Some(text) => text.cast_to(&DataType::Utf8View, None),
            None => Ok(ColumnarValue::Scalar(ScalarValue::Utf8View(Some(" ".to_owned())))),
        };
        match self.name() {
            "repeat" => {
                let texts = text(0)?;
                let texts = Texts::of(&texts)?;
                let bytes = |row| texts.get(row).map_or(0, |text| text.len() as i64);
                self.check_rows(args, |row, count| count.saturating_mul(bytes(row)))
            }
            "lpad" | "rpad" => {
                let (texts, fills) = (text(0)?, text(2)?);
                let (texts, fills) = (Texts::of(&texts)?, Texts::of(&fills)?);
                self.check_rows(args, |row, length| {
                    let both = texts.get(row).zip(fills.get(row));
                    both.map_or(0, |(text, fill)| padded_bytes(text, fill, length))
                })
            }
            _ => {
                let bytes = element_bytes(&self.repeated(args)?)?;
                let of_row = |row| bytes.get(row).or(bytes.first()).copied().unwrap_or_default();
                self.check_rows(args, |row, count| count.saturating_mul(of_row(row)))
            }
        }
    }

    /// Returns what an array is filled with.
    fn repeated(&self, args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(match (self.name(), args.args.as_slice()) {
            ("array_resize", [_, _, element]) => element.clone(),
            ("array_resize", [array, ..]) => match array.data_type() {
                DataType::List(field) | DataType::LargeList(field) => {
                    ColumnarValue::Scalar(ScalarValue::try_new_null(field.data_type())?)
                }
                _ => ColumnarValue::Scalar(ScalarValue::Null),
            },
            (_, [element, ..]) => element.clone(),
            (name, []) => return internal_err!("{name} takes arguments"),
        })
    }

    /// Checks the bytes of each row's value, by its length, and of all.
    fn check_rows(
        &self,
        args: &ScalarFunctionArgs,
        bytes: impl Fn(usize, i64) -> i64,
    ) -> Result<()> {
        let lengths = Integers::new(args, 1)?;
        let name = || self.name().to_uppercase();
        let mut together = 0_i64;
        for row in 0..args.number_rows {
            let bytes = lengths.get(row).map_or(0, |length| bytes(row, length));
            together = together.saturating_add(bytes);
            if bytes > MAX_LENGTH {
                return exec_err!(
                    "{} would make a value of {bytes} bytes, at most {MAX_LENGTH} are possible",
                    name()
                );
            }
            if together > MAX_TOGETHER {
                return exec_err!("{} would make values that are too long together", name());
            }
        }
        Ok(())
    }
}

/// Makes lengths below zero zero: not all functions take them as that.
fn from_zero(lengths: &ColumnarValue) -> Result<ColumnarValue> {
    each(lengths, |length| length.max(0))
}

/// Makes places that no array has the nearest ones that none has either and that are of 32 bits.
fn of_an_array(places: &ColumnarValue) -> Result<ColumnarValue> {
    each(places, |place| place.clamp(i64::from(i32::MIN), i64::from(i32::MAX)))
}

fn each(numbers: &ColumnarValue, change: impl Fn(i64) -> i64) -> Result<ColumnarValue> {
    Ok(match numbers.cast_to(&DataType::Int64, None)? {
        ColumnarValue::Scalar(ScalarValue::Int64(number)) => {
            ColumnarValue::Scalar(ScalarValue::Int64(number.map(change)))
        }
        ColumnarValue::Scalar(other) => ColumnarValue::Scalar(other),
        ColumnarValue::Array(numbers) => {
            let numbers = numbers.as_primitive::<Int64Type>();
            ColumnarValue::Array(Arc::new(numbers.unary::<_, Int64Type>(change)))
        }
    })
}

/// Returns the most bytes that a text has which is cut or padded to a number of characters.
fn padded_bytes(text: &str, fill: &str, length: i64) -> i64 {
    const WIDEST: i64 = 4;
    let kept = (text.len() as i64).min(length.saturating_mul(WIDEST));
    let padding = length.saturating_sub(text.chars().count() as i64).max(0);
    let widest = fill.chars().map(char::len_utf8).max().unwrap_or_default();
    padding.saturating_mul(widest as i64).saturating_add(kept)
}

/// Returns the bytes of each row's element that is repeated, or those of the one for all rows, as
/// if texts were copied too: they are when rows are gathered.
fn element_bytes(elements: &ColumnarValue) -> Result<Vec<i64>> {
    // Elements are picked by numbers that are as wide.
    const LEAST: usize = size_of::<u64>();
    let array = match elements {
        ColumnarValue::Scalar(one) => one.to_array()?,
        ColumnarValue::Array(array) => Arc::clone(array),
    };
    let bytes = |bytes: usize| i64::try_from(bytes.max(LEAST)).unwrap_or(i64::MAX);
    Ok(match array.data_type().primitive_width() {
        Some(width) => vec![bytes(width); array.len()],
        None => (0..array.len()).map(|row| bytes(array_bytes(&array.slice(row, 1)))).collect(),
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use datafusion::functions::{string, unicode};
    use datafusion::functions_nested::extract::array_element_udf;
    use datafusion::functions_nested::{repeat::array_repeat_udf, resize::array_resize_udf};

    use super::super::scalar::testing::{call, number, text, texts};
    use super::*;

    fn run(name: &str, args: Vec<ColumnarValue>, rows: usize) -> Result<ArrayRef> {
        let functions = [
            unicode::rpad(),
            unicode::lpad(),
            string::repeat(),
            array_repeat_udf(),
            array_resize_udf(),
            array_element_udf(),
        ];
        call(&functions.map(of_scalar), name, args, rows)
    }

    #[track_caller]
    fn check_refused(name: &str, args: Vec<ColumnarValue>, rows: usize, expected: &str) {
        let error = run(name, args, rows).expect_err("is refused").to_string();
        assert!(error.contains(expected), "{error}");
    }

    fn numbers(values: &[Option<i64>]) -> ColumnarValue {
        ColumnarValue::Array(Arc::new(values.iter().copied().collect::<Int64Array>()))
    }

    #[test]
    fn a_value_that_fits_no_memory_is_refused() {
        let args = |length| vec![text("a"), number(length), text("b")];
        assert!(run("rpad", args(3), 1).is_ok());
        check_refused(
            "rpad",
            args(MAX_LENGTH + 1),
            1,
            "RPAD would make a value of 100000001 bytes",
        );
        check_refused("rpad", args(i64::MAX), 1, "RPAD would make a value of");
        check_refused("rpad", args(MAX_LENGTH), 100, "too long together");
    }

    #[test]
    fn lengths_weigh_what_is_repeated() {
        let args = |count| vec![text("20 characters, twice"), number(count)];
        check_refused("repeat", args(MAX_LENGTH / 20 + 1), 1, "a value of 100000020 bytes");
        check_refused("repeat", args(MAX_LENGTH / 20), 22, "too long together");
        let wide = vec![text("a"), numbers(&[Some(2), Some(MAX_LENGTH / 2)]), text("é€")];
        check_refused("lpad", wide, 2, "a value of 149999998 bytes");
        let eight = vec![number(1), number(MAX_LENGTH / 8 + 1)];
        check_refused("array_repeat", eight, 1, "a value of 100000008 bytes");
        let long = "x".repeat(1_000_000);
        let long = vec![texts(&[Some("x"), Some(&long)]), number(101)];
        check_refused(
            "array_repeat",
            long,
            2,
            "ARRAY_REPEAT would make a value of 101001616 bytes",
        );
        let list = run("array_repeat", vec![number(1), number(3)], 1).expect("an array");
        let more = vec![ColumnarValue::Array(list), number(MAX_LENGTH / 8 + 1)];
        check_refused(
            "array_resize",
            more,
            1,
            "ARRAY_RESIZE would make a value of 100000008 bytes",
        );
    }

    #[test]
    fn what_is_as_long_as_less_than_nothing_is_empty() {
        let lengths = || numbers(&[Some(-1), Some(2), Some(i64::MIN), None]);
        for name in ["lpad", "rpad"] {
            let array = run(name, vec![text("xyz"), lengths()], 4).expect("texts");
            let found = array.as_string::<i32>().iter().collect::<Vec<_>>();
            assert_eq!(found, [Some(""), Some("xy"), Some(""), None], "{name}");
        }
        let array = run("repeat", vec![text("xy"), lengths()], 4).expect("texts");
        let found = array.as_string_view().iter().collect::<Vec<_>>();
        assert_eq!(found, [Some(""), Some("xyxy"), Some(""), None]);
        let array = run("array_repeat", vec![number(7), lengths()], 4).expect("arrays");
        let resized = run("array_resize", vec![ColumnarValue::Array(array), number(-1)], 4);
        assert_eq!(resized.expect("arrays").as_list::<i32>().values().len(), 0);
    }

    #[test]
    fn places_that_no_array_has_hold_nothing() {
        let array = run("array_repeat", vec![number(7), number(3)], 1).expect("an array");
        let far = i64::from(u32::MAX) + 2;
        for (place, expected) in
            [(1, Some(7)), (-3, Some(7)), (0, None), (4, None), (far, None), (-far, None)]
        {
            let args = vec![ColumnarValue::Array(Arc::clone(&array)), number(place)];
            let found = run("array_element", args, 1).expect("an element");
            let found = found.as_primitive::<Int64Type>();
            let found = found.is_valid(0).then(|| found.value(0));
            assert_eq!(found, expected, "{place}");
        }
    }
}
