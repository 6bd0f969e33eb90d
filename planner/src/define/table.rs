//! CREATE TABLE.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use sqlparser::ast::{Expr, Ident, Spanned};

use super::Definer;
use crate::catalog::{Column, ColumnKind, TableDefinition};
use crate::error::{SqlError, SqlErrorCode, SqlErrors, suggest};
use crate::expression::expression_type;
use crate::resolve::resolve_expression;
use crate::session::QueryContext;
use crate::statement::{ColumnClause, ColumnClauseKind, CreateTable, TableOption};
use crate::table_options::{absolute_url, check_options};
use crate::types::type_sql;

impl Definer<'_> {
    pub(super) fn define_table(
        &self,
        context: QueryContext<'_>,
        create: &CreateTable,
    ) -> Result<TableDefinition, SqlErrors> {
        let mut table = template(context, create)?;
        add_columns(context, &mut table, &create.columns)?;
        let schema = table.schema();
        let mut errors = Vec::new();
        if !create.primary_key.is_empty() {
            table.primary_key = physical_names(&table, &create.primary_key, &mut errors);
        }
        if !create.partitioned_by.is_empty() {
            table.partitioned_by = physical_names(&table, &create.partitioned_by, &mut errors);
        }
        SqlErrors::check(errors)?;
        if let Some((time, expr)) = &create.watermark {
            table.watermark = Some(watermark(context, &schema, time, expr)?);
        }
        self.set_options(&mut table, create)?;
        if table.physical_columns().next().is_none() {
            let message = format!("table '{}' has no physical columns", table.name);
            let code = SqlErrorCode::InvalidStatement;
            return Err(SqlError::at(code, create.name.span, message).into());
        }
        if self.checked {
            let CreateTable { name, options, columns, .. } = create;
            check_options(&table, options, columns, name.span)?;
        }
        Ok(table)
    }

    fn set_options(
        &self,
        table: &mut TableDefinition,
        create: &CreateTable,
    ) -> Result<(), SqlErrors> {
        let connector = create.options.iter().find(|option| option.key == "connector");
        if connector.is_some_and(|connector| connector.value != table.connector) {
            // What LIKE copied is for another connector.
            table.options.clear();
        }
        for TableOption { key, value, .. } in &create.options {
            match key.as_str() {
                "connector" => table.connector.clone_from(value),
                "path" => {
                    let url = absolute_url(value, self.base_directory);
                    table.options.insert(key.clone(), url);
                }
                _ => {
                    table.options.insert(key.clone(), value.clone());
                }
            }
        }
        if table.connector.is_empty() {
            let message = format!("table '{}' has no connector", table.name);
            return Err(SqlError::at(SqlErrorCode::InvalidOption, create.name.span, message)
                .with_help("add WITH ('connector' = '…'), such as filesystem, datagen or print")
                .into());
        }
        Ok(())
    }
}

/// Returns the table that LIKE names under the new name, or one without anything.
fn template(context: QueryContext<'_>, create: &CreateTable) -> Result<TableDefinition, SqlErrors> {
    let name = create.name.value.clone();
    let (temporary, comment) = (create.mode.temporary, create.comment.clone());
    let Some(like) = &create.like else {
        return Ok(TableDefinition {
            name,
            columns: Vec::new(),
            watermark: None,
            primary_key: Vec::new(),
            partitioned_by: Vec::new(),
            connector: String::new(),
            options: BTreeMap::new(),
            temporary,
            comment,
        });
    };
    let Some(table) = context.session.table(&like.value) else {
        let message = format!("there is no table '{}'", like.value);
        let error = SqlError::at(SqlErrorCode::UnknownTable, like.span, message);
        let suggestion = suggest(&like.value, context.session.relation_names());
        return Err(error.with_suggestion(suggestion).into());
    };
    Ok(TableDefinition { name, temporary, comment, ..(**table).clone() })
}

fn add_columns(
    context: QueryContext<'_>,
    table: &mut TableDefinition,
    clauses: &[ColumnClause],
) -> Result<(), SqlErrors> {
    let physical = physical_with(table, clauses);
    let mut errors = Vec::new();
    for clause in clauses {
        if table.columns.iter().any(|column| column.name == clause.name.value) {
            let message = format!("there are two columns '{}'", clause.name.value);
            let code = SqlErrorCode::InvalidStatement;
            errors.push(SqlError::at(code, clause.name.span, message));
            continue;
        }
        match column(context, clause, &physical) {
            Ok(column) => table.columns.push(column),
            Err(found) => errors.extend(found.0),
        }
    }
    SqlErrors::check(errors)
}

/// Returns the physical columns of a table and of clauses that are added to it.
fn physical_with(table: &TableDefinition, clauses: &[ColumnClause]) -> Schema {
    let mut with = TableDefinition { columns: table.columns.clone(), ..table.clone() };
    for clause in clauses {
        if let ColumnClauseKind::Physical { data_type, declared, nullable } = &clause.kind {
            with.columns.push(Column {
                name: clause.name.value.clone(),
                data_type: data_type.clone(),
                declared: declared.clone(),
                nullable: *nullable,
                kind: ColumnKind::Physical,
                comment: None,
            });
        }
    }
    (*with.physical_schema()).clone()
}

fn column(
    context: QueryContext<'_>,
    clause: &ColumnClause,
    physical: &Schema,
) -> Result<Column, SqlErrors> {
    let (data_type, declared, nullable, kind) = match &clause.kind {
        ColumnClauseKind::Physical { data_type, declared, nullable } => {
            (data_type.clone(), declared.clone(), *nullable, ColumnKind::Physical)
        }
        ColumnClauseKind::Computed(expr) => {
            let expr = resolve_expression(context, expr, physical)?;
            let field = expression_type(context, &expr, physical)?;
            let data_type = field.data_type().clone();
            let declared = type_sql(&data_type);
            (data_type, declared, field.is_nullable(), ColumnKind::Computed(expr))
        }
    };
    let (name, comment) = (clause.name.value.clone(), clause.comment.clone());
    Ok(Column { name, data_type, declared, nullable, kind, comment })
}

/// Resolves names of columns that the connector reads and writes.
fn physical_names(
    table: &TableDefinition,
    names: &[Ident],
    errors: &mut Vec<SqlError>,
) -> Vec<String> {
    let known: Vec<&str> = table.physical_columns().map(|column| column.name.as_str()).collect();
    let mut found = Vec::new();
    for name in names {
        let exact = known.iter().find(|known| **known == name.value);
        let folded = || known.iter().find(|known| known.eq_ignore_ascii_case(&name.value));
        if let Some(known) = exact.or_else(folded) {
            found.push((*known).to_owned());
        } else {
            let message = format!("there is no physical column '{}'", name.value);
            let error = SqlError::at(SqlErrorCode::UnknownColumn, name.span, message);
            errors.push(error.with_suggestion(suggest(&name.value, known.iter().copied())));
        }
    }
    found
}

fn watermark(
    context: QueryContext<'_>,
    schema: &SchemaRef,
    time: &Ident,
    expr: &Expr,
) -> Result<(String, Expr), SqlErrors> {
    let resolved = resolve_expression(context, &Expr::Identifier(time.clone()), schema)?;
    let Expr::Identifier(column) = resolved else {
        return Err(SqlError::at(SqlErrorCode::Internal, time.span, "no column").into());
    };
    let data_type = schema.field_with_name(&column.value).map(|field| field.data_type().clone());
    check_time(data_type.ok(), &format!("column '{}'", column.value), time)?;
    let expr = resolve_expression(context, expr, schema)?;
    let field = expression_type(context, &expr, schema)?;
    if !matches!(field.data_type(), DataType::Timestamp(_, None)) {
        let message =
            format!("a watermark is a TIMESTAMP, this is {}", type_sql(field.data_type()));
        return Err(SqlError::at(SqlErrorCode::Type, expr.span(), message).into());
    }
    Ok((column.value, expr))
}

fn check_time(data_type: Option<DataType>, what: &str, name: &Ident) -> Result<(), SqlErrors> {
    match data_type {
        Some(DataType::Timestamp(_, None)) => Ok(()),
        Some(DataType::Timestamp(_, Some(_))) => {
            let message = format!("{what}: event time of type TIMESTAMP_LTZ is not supported");
            Err(SqlError::at(SqlErrorCode::Unsupported, name.span, message).into())
        }
        other => {
            let found = other.map_or_else(|| "unknown".to_owned(), |found| type_sql(&found));
            let message = format!("{what} is {found}, event time is a TIMESTAMP");
            Err(SqlError::at(SqlErrorCode::Type, name.span, message).into())
        }
    }
}
