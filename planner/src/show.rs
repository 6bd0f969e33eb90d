//! SHOW, DESCRIBE and the texts of definitions.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};
use rainstorm_engine::function::Registry;

use crate::catalog::{
    Catalog, Column, ColumnKind, FunctionDefinition, Relation, TableDefinition, ViewDefinition,
};
use crate::resolve::{RENAMED_FUNCTIONS, REWRITTEN_FUNCTIONS};
use crate::session::Session;
use crate::statement::Show;
use crate::types::{identifier_sql, type_sql};

/// Returns rows of texts.
pub(crate) fn text_rows<const N: usize>(
    names: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> RecordBatch {
    let rows: Vec<[String; N]> = rows.into_iter().collect();
    let schema =
        Schema::new(names.map(|name| Field::new(name, DataType::Utf8View, false)).to_vec());
    let columns = (0..N).map(|index| {
        let values = rows.iter().map(|row| row[index].as_str());
        Arc::new(StringViewArray::from_iter_values(values)) as ArrayRef
    });
    RecordBatch::try_new(Arc::new(schema), columns.collect())
        .expect("columns have the schema's types and one length")
}

/// Returns a text of several lines, one per row.
pub(crate) fn lines(name: &str, text: &str) -> RecordBatch {
    text_rows([name], text.lines().map(|line| [line.to_owned()]))
}

/// Answers a SHOW that the planner can answer.
pub(crate) fn show(session: &Session, functions: &Registry, show: Show) -> RecordBatch {
    let relations = || session.relation_names().into_iter().filter_map(|n| session.relation(n));
    match show {
        Show::Tables => text_rows(
            ["name", "kind", "connector"],
            relations().map(|relation| match relation {
                Relation::Table(table) => {
                    [table.name.clone(), "table".to_owned(), table.connector.clone()]
                }
                Relation::View(view) => [view.name.clone(), "view".to_owned(), String::new()],
            }),
        ),
        Show::Views => text_rows(
            ["name"],
            relations()
                .filter(|relation| matches!(relation, Relation::View(_)))
                .map(|relation| [relation.name().to_owned()]),
        ),
        Show::Functions => {
            let mut names: Vec<String> =
                functions.names().into_iter().map(str::to_uppercase).collect();
            names.extend(REWRITTEN_FUNCTIONS.iter().map(|(name, _)| (*name).to_owned()));
            names.extend(RENAMED_FUNCTIONS.iter().map(|(name, _)| (*name).to_owned()));
            names.extend(session.functions().map(|function| function.name.clone()));
            names.sort_unstable();
            names.dedup();
            text_rows(["name"], names.into_iter().map(|name| [name]))
        }
        Show::Settings => text_rows(
            ["key", "value", "description"],
            session
                .settings
                .list()
                .map(|(key, value, text)| [key.to_owned(), value.to_owned(), text.to_owned()]),
        ),
        Show::Jobs => text_rows(["id"], []),
    }
}

/// Describes a table's columns.
pub(crate) fn describe_table(table: &TableDefinition) -> RecordBatch {
    let extras = |column: &Column| match &column.kind {
        ColumnKind::Physical => String::new(),
        ColumnKind::Computed(expr) => format!("AS {expr}"),
    };
    let key = |column: &Column| {
        let is_key = table.primary_key.contains(&column.name);
        if is_key { format!("PRI({})", table.primary_key.join(", ")) } else { String::new() }
    };
    let watermark = |column: &Column| match &table.watermark {
        Some((name, expr)) if *name == column.name => expr.to_string(),
        _ => String::new(),
    };
    let rows = table.columns.iter().map(|column| {
        let nullable = column.nullable.to_string().to_uppercase();
        let data_type = column.declared.clone();
        [column.name.clone(), data_type, nullable, key(column), extras(column), watermark(column)]
    });
    text_rows(["name", "type", "null", "key", "extras", "watermark"], rows)
}

/// Describes a view's columns.
pub(crate) fn describe_schema(schema: &Schema) -> RecordBatch {
    let rows = schema.fields().iter().map(|field| {
        let nullable = field.is_nullable().to_string().to_uppercase();
        [field.name().clone(), type_sql(field.data_type()), nullable]
    });
    text_rows(["name", "type", "null"], rows)
}

impl Catalog {
    /// Returns the script that makes this catalog again: its CREATE statements in the order in
    /// which they were made, with absolute paths.
    #[must_use]
    pub fn to_script(&self) -> String {
        let mut texts: Vec<(u64, String)> =
            self.ordered_relations().map(|(order, relation)| (order, relation.to_sql())).collect();
        texts.extend(self.ordered_functions().map(|(order, function)| (order, function.to_sql())));
        texts.extend(self.ordered_unreadable().map(|(order, kept)| (order, kept.sql.clone())));
        texts.sort_unstable();
        texts.into_iter().fold(String::new(), |script, (_, text)| script + &text + ";\n\n")
    }
}

impl Relation {
    /// Returns the statement that makes it.
    #[must_use]
    pub fn to_sql(&self) -> String {
        match self {
            Self::Table(table) => table.to_sql(),
            Self::View(view) => view.to_sql(),
        }
    }
}

impl TableDefinition {
    /// Returns the CREATE TABLE statement that makes it, with absolute paths.
    #[must_use]
    pub fn to_sql(&self) -> String {
        let mut lines: Vec<String> = self.columns.iter().map(column_sql).collect();
        if let Some((column, expr)) = &self.watermark {
            lines.push(format!("WATERMARK FOR {} AS {expr}", identifier_sql(column)));
        }
        if !self.primary_key.is_empty() {
            lines.push(format!("PRIMARY KEY ({}) NOT ENFORCED", names_sql(&self.primary_key)));
        }
        let mut sql = format!(
            "CREATE {}TABLE {} (\n  {}\n)",
            temporary(self.temporary),
            identifier_sql(&self.name),
            lines.join(",\n  ")
        );
        if let Some(comment) = &self.comment {
            let _ = write!(sql, " COMMENT {}", text_sql(comment));
        }
        if !self.partitioned_by.is_empty() {
            let _ = write!(sql, "\nPARTITIONED BY ({})", names_sql(&self.partitioned_by));
        }
        let connector = std::iter::once(("connector", self.connector.as_str()));
        let others = self.options.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let options: Vec<String> = connector
            .chain(others)
            .map(|(key, value)| format!("{} = {}", text_sql(key), text_sql(value)))
            .collect();
        let _ = write!(sql, "\nWITH (\n  {}\n)", options.join(",\n  "));
        sql
    }
}

fn column_sql(column: &Column) -> String {
    let name = identifier_sql(&column.name);
    let mut sql = match &column.kind {
        ColumnKind::Computed(expr) => format!("{name} AS {expr}"),
        ColumnKind::Physical if column.nullable => format!("{name} {}", column.declared),
        ColumnKind::Physical => format!("{name} {} NOT NULL", column.declared),
    };
    if let Some(comment) = &column.comment {
        let _ = write!(sql, " COMMENT {}", text_sql(comment));
    }
    sql
}

impl ViewDefinition {
    /// Returns the CREATE VIEW statement that makes it.
    #[must_use]
    pub fn to_sql(&self) -> String {
        let mut sql =
            format!("CREATE {}VIEW {}", temporary(self.temporary), identifier_sql(&self.name));
        if !self.columns.is_empty() {
            let _ = write!(sql, " ({})", names_sql(&self.columns));
        }
        if let Some(comment) = &self.comment {
            let _ = write!(sql, " COMMENT {}", text_sql(comment));
        }
        let _ = write!(sql, " AS\n{}", self.query_sql);
        sql
    }
}

impl FunctionDefinition {
    /// Returns the CREATE FUNCTION statement that makes it.
    #[must_use]
    pub fn to_sql(&self) -> String {
        let args: Vec<String> = self
            .args
            .iter()
            .map(|(name, data_type)| format!("{} {}", identifier_sql(name), type_sql(data_type)))
            .collect();
        format!(
            "CREATE {}FUNCTION {}({}) RETURNS {}\nRETURN {}",
            temporary(self.temporary),
            identifier_sql(&self.name),
            args.join(", "),
            type_sql(&self.return_type),
            self.body
        )
    }
}

fn temporary(temporary: bool) -> &'static str {
    if temporary { "TEMPORARY " } else { "" }
}

fn names_sql(names: &[String]) -> String {
    names.iter().map(|name| identifier_sql(name)).collect::<Vec<_>>().join(", ")
}

fn text_sql(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
