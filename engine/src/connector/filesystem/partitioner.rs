//! Sorts rows into partition folders.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{Row, RowConverter, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use hashbrown::HashMap;

use super::partition;
use crate::format::column_as_text;
use crate::{Error, Result};

/// Sorts rows into folders by their partition columns, which are then left out.
pub(super) struct Partitioner {
    /// The partition columns, in the order of the folders.
    columns: Vec<usize>,
    /// The others.
    kept: Vec<usize>,
    names: Vec<String>,
    schema: SchemaRef,
    converter: RowConverter,
}

impl Partitioner {
    /// Makes one for rows of `schema`.
    pub(super) fn new(schema: &SchemaRef, columns: &[usize]) -> Result<Self> {
        let kept = (0..schema.fields().len()).filter(|index| !columns.contains(index));
        let kept = kept.collect::<Vec<_>>();
        if kept.is_empty() {
            return Err(Error::Invalid("PARTITIONED BY leaves no column for the files".to_owned()));
        }
        let sort_field = |index: &usize| SortField::new(schema.field(*index).data_type().clone());
        Ok(Self {
            converter: RowConverter::new(columns.iter().map(sort_field).collect())
                .map_err(failed)?,
            columns: columns.to_vec(),
            names: columns.iter().map(|index| schema.field(*index).name().clone()).collect(),
            schema: Arc::new(schema.project(&kept).map_err(failed)?),
            kept,
        })
    }

    /// Returns the schema of the files.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Returns the rows of each folder; the folder is empty for tables without partitions.
    pub(super) fn split(&mut self, rows: &RecordBatch) -> Result<Vec<(String, RecordBatch)>> {
        if self.columns.is_empty() {
            return Ok(vec![(String::new(), rows.clone())]);
        }
        self.try_split(rows).map_err(failed)
    }

    fn try_split(&mut self, rows: &RecordBatch) -> Result<Vec<(String, RecordBatch)>, ArrowError> {
        let keys = self.columns.iter().map(|index| Arc::clone(rows.column(*index)));
        let keys = keys.collect::<Vec<_>>();
        let groups = self.group(&keys)?;
        let texts = keys.iter().map(column_as_text).collect::<Result<Vec<_>, _>>()?;
        let kept = rows.project(&self.kept)?;
        let mut split = Vec::with_capacity(groups.len());
        for indices in groups {
            let folder = self.folder(&texts, indices[0] as usize)?;
            let rows = if indices.len() == kept.num_rows() {
                kept.clone()
            } else {
                take_record_batch(&kept, &UInt32Array::from(indices))?
            };
            split.push((folder, rows));
        }
        Ok(split)
    }

    /// Returns the rows with equal keys.
    fn group(&self, keys: &[ArrayRef]) -> Result<Vec<Vec<u32>>, ArrowError> {
        let keys = self.converter.convert_columns(keys)?;
        let mut groups: Vec<Vec<u32>> = Vec::new();
        let mut group_of: HashMap<Row<'_>, usize> = HashMap::new();
        let mut last: Option<(Row<'_>, usize)> = None;
        for (index, key) in (0_u32..).zip(keys.iter()) {
            // Rows of one partition mostly come together.
            let group = match last {
                Some((last, group)) if last == key => group,
                _ => *group_of.entry(key).or_insert(groups.len()),
            };
            if group == groups.len() {
                groups.push(Vec::new());
            }
            groups[group].push(index);
            last = Some((key, group));
        }
        Ok(groups)
    }

    fn folder(&self, texts: &[ArrayRef], row: usize) -> Result<String, ArrowError> {
        let mut folders = Vec::with_capacity(texts.len());
        for (values, column) in texts.iter().zip(&self.names) {
            let text = if values.is_null(row) {
                None
            } else {
                let formatter = ArrayFormatter::try_new(values, &FormatOptions::new())?;
                Some(formatter.value(row).to_string())
            };
            folders.push(partition::folder(column, text.as_deref()));
        }
        Ok(folders.join("/"))
    }
}

fn failed(error: ArrowError) -> Error {
    Error::compute("sort rows into partitions", error)
}
