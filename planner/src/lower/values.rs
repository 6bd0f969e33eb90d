//! VALUES: rows that the query itself holds.
//!
//! They are numbers from 1, generated, and per column a CASE that turns a number into its value:
//! so they need no connector of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{DFSchemaRef, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::{EmptyRelation, Expr, Operator, Values};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{self, Column, Literal};
use rainstorm_engine::OperatorId;
use rainstorm_engine::graph::{ChangelogMode, SourceSpec};

use super::flow::{FlowKind, FlowNode};
use super::relation::Relation;
use super::{Lowering, constant};

const NUMBER: &str = "row_number";

impl Lowering<'_> {
    pub(super) fn values(&mut self, values: &Values) -> Result<Relation> {
        self.generated(&values.values, &values.schema)
    }

    pub(super) fn empty(&mut self, empty: &EmptyRelation) -> Result<Relation> {
        let rows: &[Vec<Expr>] = if empty.produce_one_row { &[Vec::new()] } else { &[] };
        self.generated(rows, &empty.schema)
    }

    fn generated(&mut self, rows: &[Vec<Expr>], schema: &DFSchemaRef) -> Result<Relation> {
        let numbers = self.numbers(rows.len());
        let relation = Relation::of_node(numbers, 0);
        if schema.fields().is_empty() {
            return Ok(relation);
        }
        let mut outputs = Vec::with_capacity(schema.fields().len());
        for (column, field) in schema.fields().iter().enumerate() {
            let values = rows.iter().map(|row| constant(&row[column])).collect::<Result<_>>()?;
            outputs.push((one_of(values, field.data_type())?, Arc::clone(field)));
        }
        let nodes = relation.project(&mut self.flow, &outputs);
        let columns = outputs.len();
        Ok(Relation { nodes, ..Relation::of_node(numbers, columns) })
    }

    /// Adds a source of the numbers from 1.
    fn numbers(&mut self, rows: usize) -> super::FlowId {
        let schema = Arc::new(Schema::new(vec![Field::new(NUMBER, DataType::Int64, false)]));
        let option = |key: &str, value: String| (key.to_owned(), value);
        let options = BTreeMap::from([
            option("rows-per-second", "100000000".to_owned()),
            option("number-of-rows", rows.to_string()),
            option(&format!("fields.{NUMBER}.kind"), "sequence".to_owned()),
            option(&format!("fields.{NUMBER}.start"), "1".to_owned()),
            option(&format!("fields.{NUMBER}.end"), rows.max(1).to_string()),
        ]);
        self.flow.add(FlowNode {
            kind: FlowKind::Source(Box::new(SourceSpec {
                id: OperatorId(0),
                table: "VALUES".to_owned(),
                connector: "datagen".to_owned(),
                options,
                table_schema: Arc::clone(&schema) as _,
                schema: Arc::clone(&schema) as _,
                filters: Vec::new(),
                limit: None,
                prepare: Vec::new(),
                watermark: None,
                query: None,
            })),
            ports: Vec::new(),
            schema,
            changelog: ChangelogMode::AppendOnly,
            parallelism: 1,
            partitioned: None,
        })
    }
}

/// Picks the value of a row by its number.
fn one_of(
    mut values: Vec<Arc<dyn PhysicalExpr>>,
    data_type: &DataType,
) -> Result<Arc<dyn PhysicalExpr>> {
    let Some(last) = values.pop() else {
        return Ok(Arc::new(Literal::new(ScalarValue::try_from(data_type)?)));
    };
    if values.is_empty() {
        return Ok(last);
    }
    let number: Arc<dyn PhysicalExpr> = Arc::new(Column::new(NUMBER, 0));
    let schema = Schema::new(vec![Field::new(NUMBER, DataType::Int64, false)]);
    let cases = values.into_iter().zip(1_i64..).map(|(value, row)| {
        let row: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(ScalarValue::Int64(Some(row))));
        Ok((expressions::binary(Arc::clone(&number), Operator::Eq, row, &schema)?, value))
    });
    expressions::case(None, cases.collect::<Result<Vec<_>>>()?, Some(last))
}
