//! Single values as they are held in state.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, PrimitiveArray, StructArray,
    new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, ToByteSlice};
use arrow::row::{RowConverter, SortField};

use crate::held::allocated_bytes;
use crate::{Error, Result};

/// A kind of values: how they are taken out of columns, held, and put into columns again.
pub(super) trait Values: Send + 'static {
    /// A value that is looked at, ordered as SQL orders.
    type Borrowed: ?Sized + Ord + Hash;
    /// A value that is held.
    type Owned: Borrow<Self::Borrowed> + for<'a> From<&'a Self::Borrowed> + Ord + Hash + Send;

    /// Calls `visit` with each row's value, or `None` where an argument is null.
    fn each(
        &self,
        args: &[ArrayRef],
        visit: impl FnMut(usize, Option<&Self::Borrowed>),
    ) -> Result<()>;

    /// Puts values into a column of the argument's type.
    fn array<'a>(&self, values: impl Iterator<Item = Option<&'a Self::Owned>>) -> Result<ArrayRef>
    where
        Self: Sized;

    /// Returns what a value takes beyond its own size, in bytes.
    fn heap_bytes(value: &Self::Borrowed) -> usize;
}

/// Numbers and times, by their native type.
pub(super) struct Natives<T> {
    kind: DataType,
    native: std::marker::PhantomData<fn() -> T>,
}

/// A native value with a total order.
pub(super) struct Native<T: ArrowPrimitiveType>(T::Native);

impl<T> Natives<T> {
    /// Makes values of a type that has this native type.
    pub(super) fn new(kind: &DataType) -> Self {
        Self { kind: kind.clone(), native: std::marker::PhantomData }
    }
}

impl<T: ArrowPrimitiveType> Values for Natives<T> {
    type Borrowed = Native<T>;
    type Owned = Native<T>;

    fn each(
        &self,
        args: &[ArrayRef],
        mut visit: impl FnMut(usize, Option<&Native<T>>),
    ) -> Result<()> {
        let column = match args[0].as_primitive_opt::<T>() {
            Some(column) => column.clone(),
            // Times are numbers of the same width: nothing is copied.
            None => cast(&args[0], &T::DATA_TYPE)
                .map_err(|error| Error::compute("read an aggregate's argument", error))?
                .as_primitive::<T>()
                .clone(),
        };
        for (row, value) in column.values().iter().enumerate() {
            let value = Native(*value);
            visit(row, column.is_valid(row).then_some(&value));
        }
        Ok(())
    }

    fn array<'a>(&self, values: impl Iterator<Item = Option<&'a Native<T>>>) -> Result<ArrayRef> {
        let column: PrimitiveArray<T> = values.map(|value| value.map(|value| value.0)).collect();
        if matches!(self.kind, DataType::Decimal128(..)) {
            return Ok(Arc::new(column.with_data_type(self.kind.clone())));
        }
        cast(&column, &self.kind).map_err(|error| Error::compute("write a result", error))
    }

    fn heap_bytes(_value: &Native<T>) -> usize {
        0
    }
}

impl<T: ArrowPrimitiveType> From<&Self> for Native<T> {
    fn from(value: &Self) -> Self {
        Self(value.0)
    }
}

impl<T: ArrowPrimitiveType> Ord for Native<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.compare(other.0)
    }
}

impl<T: ArrowPrimitiveType> PartialOrd for Native<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: ArrowPrimitiveType> PartialEq for Native<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T: ArrowPrimitiveType> Eq for Native<T> {}

impl<T: ArrowPrimitiveType> Hash for Native<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0.to_byte_slice());
    }
}

/// Values of any other type, in Arrow's row format, which orders them.
pub(super) struct RowValues {
    converter: RowConverter,
    /// The argument's type, a struct where there are several.
    kind: DataType,
    /// Null in the row format.
    null: Box<[u8]>,
}

impl RowValues {
    /// Makes values of arguments of these types.
    ///
    /// # Errors
    /// `Invalid` where they cannot be ordered.
    pub(super) fn new(kinds: &[DataType]) -> Result<Self> {
        let kind = match kinds {
            [DataType::Dictionary(_, kind)] => kind.as_ref().clone(),
            [kind] => kind.clone(),
            kinds => DataType::Struct(fields(kinds.iter().cloned())),
        };
        let unfit = |error| Error::Invalid(format!("an aggregate of {kind}: {error}"));
        let converter = RowConverter::new(vec![SortField::new(kind.clone())]).map_err(unfit)?;
        let rows = converter.convert_columns(&[new_null_array(&kind, 1)]).map_err(unfit)?;
        let null = rows.row(0).as_ref().into();
        Ok(Self { converter, kind, null })
    }

    fn column(&self, args: &[ArrayRef]) -> Result<ArrayRef> {
        if let [column] = args {
            if column.data_type() == &self.kind {
                return Ok(Arc::clone(column));
            }
            return cast(column, &self.kind)
                .map_err(|error| Error::compute("read an aggregate's argument", error));
        }
        // A row with a null in any argument counts as null.
        let nulls = args.iter().fold(None, |nulls, column| {
            NullBuffer::union(nulls.as_ref(), column.logical_nulls().as_ref())
        });
        let fields = fields(args.iter().map(|column| column.data_type().clone()));
        StructArray::try_new(fields, args.to_vec(), nulls)
            .map(|column| Arc::new(column) as ArrayRef)
            .map_err(|error| Error::compute("put an aggregate's arguments together", error))
    }
}

fn fields(kinds: impl Iterator<Item = DataType>) -> Fields {
    kinds.enumerate().map(|(index, kind)| Field::new(format!("c{index}"), kind, true)).collect()
}

impl Values for RowValues {
    type Borrowed = [u8];
    type Owned = Box<[u8]>;

    fn each(&self, args: &[ArrayRef], mut visit: impl FnMut(usize, Option<&[u8]>)) -> Result<()> {
        let column = self.column(args)?;
        let nulls = column.logical_nulls();
        let rows = self
            .converter
            .convert_columns(&[column])
            .map_err(|error| Error::compute("encode an aggregate's argument", error))?;
        for (row, value) in rows.iter().enumerate() {
            let valid = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
            visit(row, valid.then_some(value.as_ref()));
        }
        Ok(())
    }

    fn array<'a>(&self, values: impl Iterator<Item = Option<&'a Box<[u8]>>>) -> Result<ArrayRef> {
        let parser = self.converter.parser();
        let rows = values.map(|value| parser.parse(value.unwrap_or(&self.null)));
        let columns = self
            .converter
            .convert_rows(rows)
            .map_err(|error| Error::compute("decode a result", error))?;
        columns.into_iter().next().ok_or_else(|| Error::Internal("no column decoded".to_owned()))
    }

    fn heap_bytes(value: &[u8]) -> usize {
        allocated_bytes(value.len())
    }
}
