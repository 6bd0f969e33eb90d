//! What the scalar functions have in common.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringViewArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};

/// Computes a function's results, as many as there are rows.
pub(super) type Body = fn(&ScalarFunctionArgs) -> Result<ArrayRef>;

/// Refuses a text that an argument cannot be in any row, such as a pattern with a mistake in it,
/// beside arguments of these types.
pub(super) type Check = fn(&str, &[FieldRef]) -> Result<()>;

/// What a function returns, by the types of its arguments.
pub(super) type Returns = fn(&[DataType]) -> DataType;

/// A function that depends on nothing but its arguments.
#[derive(Debug)]
pub(super) struct Scalar {
    name: &'static str,
    signature: Signature,
    /// The lists of types that it takes, where nothing else is made one of them.
    strict: Option<Vec<Vec<DataType>>>,
    returns: Returns,
    body: Body,
    /// The argument whose text is looked at when the query is planned, where it is a literal.
    checked: Option<(usize, Check)>,
}

impl Scalar {
    /// Makes a function that takes arguments of any of these lists of types, and what DataFusion
    /// makes one of them.
    pub(super) fn new(
        name: &'static str,
        takes: &[&[DataType]],
        returns: Returns,
        body: Body,
    ) -> Self {
        let signature = Signature::one_of(exact(takes), Volatility::Immutable);
        Self { name, signature, strict: None, returns, body, checked: None }
    }

    /// Makes a function that takes arguments of any of these lists of types and no others: texts
    /// of any kind, whole numbers of any width, and decimals of any scale, each as one.
    pub(super) fn strict(
        name: &'static str,
        takes: &[&[DataType]],
        returns: Returns,
        body: Body,
    ) -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        let strict = Some(takes.iter().map(|types| types.to_vec()).collect());
        Self { name, signature, strict, returns, body, checked: None }
    }

    /// Looks at an argument that is wrong for all rows where it is a wrong literal.
    pub(super) fn checking(self, argument: usize, check: Check) -> Self {
        Self { checked: Some((argument, check)), ..self }
    }

    /// Makes it one of DataFusion's functions.
    pub(super) fn udf(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(self))
    }
}

/// Gives arguments the types of a list of them, where they fit it.
pub(super) fn fitted(found: &[DataType], wanted: &[DataType]) -> Option<Vec<DataType>> {
    let fit = |(found, wanted): (&DataType, &DataType)| {
        let same = match wanted {
            DataType::Utf8View => found.is_string(),
            DataType::Int64 => found.is_integer(),
            DataType::Float64 => found.is_floating(),
            // Its scale is its own.
            DataType::Decimal128(..) if matches!(found, DataType::Decimal128(..)) => {
                return Some(found.clone());
            }
            DataType::Time32(_) => matches!(found, DataType::Time32(_) | DataType::Time64(_)),
            wanted => wanted == found,
        };
        (same || found.is_null()).then(|| wanted.clone())
    };
    (found.len() == wanted.len()).then(|| found.iter().zip(wanted).map(fit).collect()).flatten()
}

/// Returns the signatures of these lists of types.
pub(super) fn exact(takes: &[&[DataType]]) -> Vec<TypeSignature> {
    takes.iter().map(|types| TypeSignature::Exact(types.to_vec())).collect()
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, found: &[DataType]) -> Result<Vec<DataType>> {
        let fits = self.strict.iter().flatten().find_map(|wanted| fitted(found, wanted));
        fits.map_or_else(|| plan_err!("{} does not take these arguments", self.name), Ok)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok((self.returns)(arg_types))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        if let Some((index, check)) = self.checked
            && let Some(Some(literal)) = args.scalar_arguments.get(index)
            && let Some(Some(text)) = literal.try_as_str()
        {
            check(text, args.arg_fields)?;
        }
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name, (self.returns)(&types), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        (self.body)(&args).map(ColumnarValue::Array)
    }
}

/// An argument of texts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Texts<'a> {
    /// The same in every row.
    Scalar(Option<&'a str>),
    /// One per row.
    Array(&'a StringViewArray),
}

impl<'a> Texts<'a> {
    /// Reads an argument of type Utf8View.
    pub(super) fn new(args: &'a ScalarFunctionArgs, index: usize) -> Result<Self> {
        Self::of(&args.args[index])
    }

    /// Reads a value of type Utf8View.
    pub(super) fn of(value: &'a ColumnarValue) -> Result<Self> {
        match value {
            ColumnarValue::Scalar(
                ScalarValue::Utf8View(text)
                | ScalarValue::Utf8(text)
                | ScalarValue::LargeUtf8(text),
            ) => Ok(Self::Scalar(text.as_deref())),
            ColumnarValue::Array(array) if *array.data_type() == DataType::Utf8View => {
                Ok(Self::Array(array.as_string_view()))
            }
            other => exec_err!("expected a text, not {}", other.data_type()),
        }
    }

    /// Returns a row's text, or `None` where it is null.
    pub(super) fn get(self, row: usize) -> Option<&'a str> {
        match self {
            Self::Scalar(text) => text,
            Self::Array(array) => array.is_valid(row).then(|| array.value(row)),
        }
    }
}

/// An argument of whole numbers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Integers<'a> {
    /// The same in every row.
    Scalar(Option<i64>),
    /// One per row.
    Array(&'a Int64Array),
}

impl<'a> Integers<'a> {
    /// Reads an argument of type Int64.
    pub(super) fn new(args: &'a ScalarFunctionArgs, index: usize) -> Result<Self> {
        match &args.args[index] {
            ColumnarValue::Scalar(ScalarValue::Int64(number)) => Ok(Self::Scalar(*number)),
            ColumnarValue::Array(array) if *array.data_type() == DataType::Int64 => {
                Ok(Self::Array(array.as_primitive::<Int64Type>()))
            }
            other => exec_err!("expected a BIGINT, not {}", other.data_type()),
        }
    }

    /// Returns a row's number, or `None` where it is null.
    pub(super) fn get(self, row: usize) -> Option<i64> {
        match self {
            Self::Scalar(number) => number,
            Self::Array(array) => array.is_valid(row).then(|| array.value(row)),
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    use datafusion::config::ConfigOptions;

    use super::*;

    /// Calls a function on arguments that have their types already.
    pub(in crate::function) fn call(
        functions: &[Arc<ScalarUDF>],
        name: &str,
        args: Vec<ColumnarValue>,
        number_rows: usize,
    ) -> Result<ArrayRef> {
        let udf = functions.iter().find(|udf| udf.name() == name).expect("a function");
        let types: Vec<DataType> = args.iter().map(ColumnarValue::data_type).collect();
        let arg_fields = types.iter().map(|t| Arc::new(Field::new("", t.clone(), true)));
        let returns = udf.return_type(&types)?;
        let args = ScalarFunctionArgs {
            arg_fields: arg_fields.collect(),
            args,
            number_rows,
            return_field: Arc::new(Field::new("", returns, true)),
            config_options: Arc::new(ConfigOptions::default()),
        };
        udf.invoke_with_args(args)?.into_array(number_rows)
    }

    /// Makes a column of texts.
    pub(in crate::function) fn texts(values: &[Option<&str>]) -> ColumnarValue {
        ColumnarValue::Array(Arc::new(values.iter().copied().collect::<StringViewArray>()))
    }

    /// Makes a literal text.
    pub(in crate::function) fn text(value: &str) -> ColumnarValue {
        ColumnarValue::Scalar(ScalarValue::Utf8View(Some(value.to_owned())))
    }

    /// Makes a literal number.
    pub(in crate::function) fn number(value: i64) -> ColumnarValue {
        ColumnarValue::Scalar(ScalarValue::Int64(Some(value)))
    }

    /// Returns a column's texts.
    pub(in crate::function) fn results(array: &ArrayRef) -> Vec<Option<&str>> {
        array.as_string_view().iter().collect()
    }
}
