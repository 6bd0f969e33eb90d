//! Every function returns the type that was planned for it, and one that tables have.

use std::collections::BTreeSet;

use arrow::array::{ArrayRef, MapArray, RecordBatch, StructArray, new_null_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use super::*;
use crate::function::sql_type;
use crate::time::SimulatedClock;
use crate::wording::type_sql;

/// Texts that some function or other takes for an option of its own.
const TEXTS: [&str; 3] = ["1", "day", "hex"];

fn registry_of_tests() -> Registry {
    let clock: ClockRef = Arc::new(SimulatedClock::new(0));
    registry(&clock)
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// The types that columns have.
fn types() -> Vec<DataType> {
    let row = Fields::from(vec![Field::new("a", DataType::Int32, true)]);
    let entry = Fields::from(vec![
        Field::new("key", DataType::Utf8View, false),
        Field::new("value", DataType::Int32, true),
    ]);
    let entries = Field::new("entries", DataType::Struct(entry), false);
    let timestamp = |unit| DataType::Timestamp(unit, None);
    vec![
        DataType::Utf8View,
        DataType::Int64,
        DataType::Float64,
        DataType::Decimal128(18, 4),
        timestamp(TimeUnit::Millisecond),
        DataType::Int32,
        DataType::Date32,
        list(DataType::Int64),
        DataType::Boolean,
        DataType::Int8,
        DataType::Int16,
        DataType::Float32,
        DataType::Decimal128(5, 2),
        DataType::Decimal128(38, 10),
        DataType::Decimal128(10, 0),
        timestamp(TimeUnit::Microsecond),
        timestamp(TimeUnit::Nanosecond),
        DataType::Time32(TimeUnit::Millisecond),
        DataType::Binary,
        list(DataType::Utf8View),
        list(list(DataType::Int64)),
        list(DataType::Float64),
        DataType::Struct(row),
        DataType::Map(Arc::new(entries), false),
    ]
}

/// Lists of types, shorter for more arguments.
fn argument_lists() -> Vec<Vec<DataType>> {
    let types = types();
    let mut lists = vec![Vec::new()];
    lists.extend(types.iter().map(|one| vec![one.clone()]));
    for one in &types {
        lists.extend(types.iter().map(|two| vec![one.clone(), two.clone()]));
    }
    for one in &types[..8] {
        for two in &types[..5] {
            lists.extend(
                types[..5].iter().map(|three| vec![one.clone(), two.clone(), three.clone()]),
            );
        }
    }
    lists
}

fn value(data_type: &DataType, text: &str) -> Option<ScalarValue> {
    match data_type {
        DataType::Utf8View => Some(ScalarValue::Utf8View(Some(text.to_owned()))),
        DataType::List(item) => {
            let item = value(item.data_type(), text)?;
            let list = ScalarValue::new_list(std::slice::from_ref(&item), &item.data_type(), true);
            Some(ScalarValue::List(list))
        }
        DataType::Map(entries, _) => {
            let entry = entries_of_one(entries)?;
            let offsets = OffsetBuffer::from_lengths([1]);
            let map = MapArray::try_new(Arc::clone(entries), offsets, entry, None, false).ok()?;
            Some(ScalarValue::Map(Arc::new(map)))
        }
        DataType::Struct(_) => ScalarValue::new_default(data_type).ok(),
        other => ScalarValue::Int64(Some(1)).cast_to(other).ok().or_else(|| {
            let number = ScalarValue::Int32(Some(1)).cast_to(other).ok();
            number.or_else(|| ScalarValue::new_default(other).ok())
        }),
    }
}

fn entries_of_one(entries: &Field) -> Option<StructArray> {
    let DataType::Struct(fields) = entries.data_type() else { return None };
    let column = |field: &FieldRef| value(field.data_type(), "a")?.to_array().ok();
    let columns = fields.iter().map(column).collect::<Option<Vec<_>>>()?;
    StructArray::try_new(fields.clone(), columns, None).ok()
}

/// A call of a function with some arguments literals and some columns.
struct Case {
    types: Vec<DataType>,
    /// Whether an argument is a literal.
    literals: Vec<bool>,
    text: &'static str,
    nullable: bool,
}

impl Case {
    fn values(&self) -> Option<Vec<ScalarValue>> {
        self.types.iter().map(|data_type| value(data_type, self.text)).collect()
    }

    fn rows(&self) -> Option<RecordBatch> {
        let values = self.values()?;
        let columns = values.iter().map(|value| {
            let array = value.to_array_of_size(2).ok()?;
            let null = new_null_array(array.data_type(), 1);
            if self.nullable { concat(&[&array, &null]).ok() } else { Some(array) }
        });
        let columns = columns.collect::<Option<Vec<ArrayRef>>>()?;
        let field = |(index, column): (usize, &ArrayRef)| {
            Field::new(format!("c{index}"), column.data_type().clone(), self.nullable)
        };
        let fields: Vec<Field> = columns.iter().enumerate().map(field).collect();
        let options = arrow::array::RecordBatchOptions::new()
            .with_row_count(Some(if self.nullable { 3 } else { 2 }));
        let schema = Arc::new(Schema::new(fields));
        RecordBatch::try_new_with_options(schema, columns, &options).ok()
    }

    fn args(&self, rows: &RecordBatch) -> Option<Vec<Arc<dyn PhysicalExpr>>> {
        let arg = |(index, value): (usize, ScalarValue)| -> Option<Arc<dyn PhysicalExpr>> {
            if self.literals[index] {
                return Some(Arc::new(Literal::new(value)));
            }
            Some(Arc::new(Column::new(rows.schema().field(index).name(), index)))
        };
        self.values()?.into_iter().enumerate().map(arg).collect()
    }

    fn text(&self, name: &str) -> String {
        let types = self.types.iter().zip(&self.literals);
        let types = types.map(|(data_type, literal)| {
            format!("{}{data_type}", if *literal { "literal " } else { "" })
        });
        format!("{name}({})", types.collect::<Vec<_>>().join(", "))
    }
}

/// Says what is wrong with a column of a planned type.
fn compared(planned: &FieldRef, found: &ArrayRef) -> Result<(), String> {
    if planned.data_type() != found.data_type() {
        return Err(format!("is {}, planned as {}", found.data_type(), planned.data_type()));
    }
    if !planned.is_nullable() && found.logical_null_count() > 0 {
        return Err("has nulls, planned without".to_owned());
    }
    if !is_of_tables(planned.data_type()) {
        return Err(format!("is {}, which no table has", planned.data_type()));
    }
    Ok(())
}

/// Tells whether a table can have a column of a type. All kinds of texts have one name.
fn is_of_tables(data_type: &DataType) -> bool {
    let of_tables = sql_type(data_type);
    let is_time = matches!(data_type, DataType::Time32(_) | DataType::Time64(_));
    type_sql(&of_tables) == type_sql(data_type) && (!is_time || of_tables == *data_type)
}

/// Calls a scalar function; `None` where it does not take the arguments or fails on them.
fn scalar_result(udf: &Arc<ScalarUDF>, case: &Case) -> Option<Result<(), String>> {
    let rows = case.rows()?;
    let args = case.args(&rows)?;
    let call =
        ScalarFunctionExpr::try_new(Arc::clone(udf), args, &rows.schema(), Arc::default()).ok()?;
    let planned = call.return_field(&rows.schema()).ok()?;
    let found = match call.evaluate(&rows).ok()? {
        ColumnarValue::Array(array) => array,
        ColumnarValue::Scalar(value) => value.to_array_of_size(rows.num_rows()).ok()?,
    };
    Some(compared(&planned, &found))
}

fn coerced(udf: &ScalarUDF, types: &[DataType]) -> Option<Vec<DataType>> {
    let field = |data_type: &DataType| Arc::new(Field::new("c", data_type.clone(), true));
    let fields: Vec<FieldRef> = types.iter().map(field).collect();
    let fields = fields_with_udf(&fields, udf).ok()?;
    Some(fields.iter().map(|field| field.data_type().clone()).collect())
}

fn cases(types: &[DataType]) -> Vec<Case> {
    let columns = vec![false; types.len()];
    let mut literals = vec![columns.clone()];
    if !types.is_empty() {
        literals.push(vec![true; types.len()]);
        literals.push((0..types.len()).map(|index| index > 0).collect());
        literals.push((0..types.len()).map(|index| index == 0).collect());
    }
    literals.dedup();
    let has_text = types.contains(&DataType::Utf8View);
    let texts = if has_text { &TEXTS[..] } else { &TEXTS[..1] };
    let case = |literals: &Vec<bool>, text, nullable| Case {
        types: types.to_vec(),
        literals: literals.clone(),
        text,
        nullable,
    };
    let with_texts = |literals| texts.iter().map(move |text| (literals, *text));
    literals
        .iter()
        .flat_map(with_texts)
        .flat_map(|(literals, text)| [case(literals, text, true), case(literals, text, false)])
        .collect()
}

#[test]
fn scalar_functions_return_the_types_that_are_planned() {
    let registry = registry_of_tests();
    let lists = argument_lists();
    let mut faults = BTreeSet::new();
    let mut untried = Vec::new();
    for name in registry.names() {
        let Some(udf) = registry.scalar(name) else { continue };
        let mut calls = 0;
        let mut seen = BTreeSet::new();
        for types in lists.iter().filter_map(|types| coerced(&udf, types)) {
            if !seen.insert(format!("{types:?}")) {
                continue;
            }
            for case in cases(&types) {
                let Some(result) = scalar_result(&udf, &case) else { continue };
                calls += 1;
                faults.extend(result.err().map(|fault| format!("{} {fault}", case.text(name))));
            }
        }
        if calls == 0 {
            untried.push(name.to_owned());
        }
    }
    assert!(faults.is_empty(), "{} faults: {faults:#?}", faults.len());
    // Some take an option that is not tried here.
    assert!(untried.len() < 20, "never called: {untried:?}");
}

/// Computes an aggregate; `None` where it does not take the arguments or fails on them.
fn aggregate_result(udf: &Arc<AggregateUDF>, case: &Case) -> Option<Result<(), String>> {
    let rows = case.rows()?;
    let args = case.args(&rows)?;
    let call = AggregateExprBuilder::new(Arc::clone(udf), args.clone())
        .schema(rows.schema())
        .alias("found")
        .build()
        .ok()?;
    let values = args
        .iter()
        .map(|arg| arg.evaluate(&rows).ok()?.into_array(rows.num_rows()).ok())
        .collect::<Option<Vec<_>>>()?;
    let mut accumulator = call.create_accumulator().ok()?;
    accumulator.update_batch(&values).ok()?;
    let found = accumulator.evaluate().ok()?.to_array().ok()?;
    let planned = call.field();
    let result = compared(&planned, &found);
    if result.is_err() || !call.groups_accumulator_supported() {
        return Some(result);
    }
    let mut groups = call.create_groups_accumulator().ok()?;
    groups.update_batch(&values, &vec![0; rows.num_rows()], None, 1).ok()?;
    let found = groups.evaluate(datafusion::logical_expr::EmitTo::All).ok()?;
    Some(compared(&planned, &found).map_err(|fault| format!("{fault}, in groups")))
}

#[test]
fn aggregate_functions_return_the_types_that_are_planned() {
    let registry = registry_of_tests();
    let mut faults = BTreeSet::new();
    for name in registry.names() {
        let Some(udf) = registry.aggregate(name) else { continue };
        for types in argument_lists().iter().filter(|types| types.len() <= 2) {
            let field = |data_type: &DataType| Arc::new(Field::new("c", data_type.clone(), true));
            let fields: Vec<FieldRef> = types.iter().map(field).collect();
            let Ok(fields) = fields_with_udf(&fields, udf.as_ref()) else { continue };
            let types: Vec<_> = fields.iter().map(|field| field.data_type().clone()).collect();
            for case in cases(&types) {
                if let Some(Err(fault)) = aggregate_result(&udf, &case) {
                    faults.insert(format!("{} {fault}", case.text(name)));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} faults: {faults:#?}", faults.len());
}
