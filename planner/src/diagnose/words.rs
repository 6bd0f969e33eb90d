//! DataFusion's messages in SQL's words.

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use rainstorm_engine::function::operator_of;
use rainstorm_engine::wording::{reason, tidy, with_sql_types};

use crate::error::{SqlError, SqlErrorCode, suggest};

/// What is said about an error, without its place.
pub(super) struct Described {
    pub(super) code: SqlErrorCode,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Described {
    fn new(code: SqlErrorCode, message: String) -> Self {
        Self { code, message, help: None }
    }
}

pub(super) fn describe(error: &DataFusionError) -> Described {
    match error {
        DataFusionError::SchemaError(error, _) => describe_schema_error(error),
        DataFusionError::NotImplemented(message) => known(message)
            .unwrap_or_else(|| Described::new(SqlErrorCode::Unsupported, tidy(message))),
        DataFusionError::Plan(message)
        | DataFusionError::Execution(message)
        | DataFusionError::Configuration(message) => {
            known(message).unwrap_or_else(|| Described::new(code_of(message), tidy(message)))
        }
        DataFusionError::SQL(error, _) => {
            let SqlError { message, help, .. } = SqlError::from((**error).clone());
            Described { code: SqlErrorCode::Parse, message, help }
        }
        DataFusionError::Internal(message) => {
            known(message).unwrap_or_else(|| Described::new(SqlErrorCode::Internal, tidy(message)))
        }
        other => {
            let message = reason(other);
            known(&message).unwrap_or_else(|| of_types(message))
        }
    }
}

/// Some of DataFusion's plan errors are of other kinds than types.
fn code_of(message: &str) -> SqlErrorCode {
    if message.contains("not supported") || message.contains("Unsupported") {
        SqlErrorCode::Unsupported
    } else if message.contains("mbiguous") {
        SqlErrorCode::Ambiguous
    } else {
        SqlErrorCode::Type
    }
}

fn describe_schema_error(error: &SchemaError) -> Described {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names: Vec<String> = valid_fields.iter().map(|c| c.name().to_owned()).collect();
            let help = suggest(field.name(), names.iter().map(String::as_str))
                .map(|name| format!("did you mean '{name}'?"));
            let message = format!("there is no column '{}'", field.flat_name());
            Described { code: SqlErrorCode::UnknownColumn, message, help }
        }
        SchemaError::AmbiguousReference { field } => Described::new(
            SqlErrorCode::Ambiguous,
            format!("column '{}' is ambiguous", field.flat_name()),
        ),
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => Described {
            code: SqlErrorCode::Ambiguous,
            message: format!("there are two columns '{name}'"),
            help: Some("give one of them another name with AS".to_owned()),
        },
    }
}

/// Messages that DataFusion words for its developers, each with what is said instead.
const KNOWN: &[fn(&str) -> Option<Described>] = &[
    elements,
    unknown_type,
    regular_expression,
    wrong_arguments,
    wrong_coercion,
    null_argument,
    not_grouped,
    having,
    no_condition,
    group_position,
    order_position,
    order_zero,
    negative_limit,
    union_columns,
    union_types,
    values_types,
    case_types,
    arithmetic,
    time_arithmetic,
    comparison,
    no_common_type,
    nested_aggregate,
    negation,
    inversion,
    table_function,
    window_function,
    field,
    no_fields,
    logical,
    alias_columns,
    unique_names,
];

/// Tells whether a message is about a clause, whose place DataFusion does not know: it gives that
/// of the whole query.
pub(super) fn is_about_clause(message: &str) -> bool {
    message.starts_with(DIFFERENT_QUERIES)
}

const DIFFERENT_QUERIES: &str = "the queries of ";

fn known(message: &str) -> Option<Described> {
    KNOWN.iter().find_map(|known| known(message))
}

fn of_types(message: impl Into<String>) -> Described {
    Described::new(SqlErrorCode::Type, message.into())
}

fn between<'m>(message: &'m str, before: &str, after: &str) -> Option<&'m str> {
    message.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

fn unknown_type(message: &str) -> Option<Described> {
    let name = message.strip_prefix("Unsupported SQL type ")?;
    Some(of_types(format!("there is no type '{name}'")))
}

/// "No function matches …", with the function's candidates after it.
fn wrong_arguments(message: &str) -> Option<Described> {
    let call = between(message, "No function matches the given name and argument types '", "'.")?;
    let (name, types) = call.split_once('(')?;
    let mut described = does_not_take(name, types.strip_suffix(')')?);
    described.help = message.split_once("Candidate functions:").and_then(|(_, all)| takes(all));
    Some(described)
}

fn wrong_coercion(message: &str) -> Option<Described> {
    let name = between(message, "ailed to coerce arguments to satisfy a call to '", "' function")?;
    let types = between(message, "function: coercion from ", " to the signature ")?;
    let types = types.trim_start_matches('[').trim_end_matches(']');
    Some(does_not_take(name, types))
}

fn does_not_take(name: &str, types: &str) -> Described {
    let types = with_sql_types(types);
    let types = match types.as_str() {
        "" => return of_types(format!("{} takes arguments, here are none", sql_name(name))),
        _ if has_several(&types) => format!("({types})"),
        _ => types,
    };
    of_types(format!("{} does not take {types}", sql_name(name)))
}

/// Tells whether there is a comma outside of all parentheses.
fn has_several(types: &str) -> bool {
    let mut depth = 0;
    types.chars().any(|character| {
        match character {
            '(' | '<' => depth += 1,
            ')' | '>' => depth -= 1,
            _ => {}
        }
        depth == 0 && character == ','
    })
}

/// What operators are called as functions.
fn sql_name(function: &str) -> String {
    match function {
        "array_element" => "[…]".to_owned(),
        "struct" => "ROW".to_owned(),
        name => match operator_of(name) {
            Some(op) => format!("{op} ANY"),
            None => name.to_uppercase(),
        },
    }
}

/// Says what a function of one argument takes, where that is short and has a name in SQL.
fn takes(candidates: &str) -> Option<String> {
    let mut types: Vec<&str> = Vec::new();
    for candidate in candidates.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let family = match candidate.split_once('(')?.1.strip_suffix(')')? {
            "Decimal" => "DECIMAL",
            "Int64" | "Integer" => "BIGINT",
            "Float64" | "Float" => "DOUBLE",
            "String" => "STRING",
            "Binary" => "BYTES",
            "Boolean" => "BOOLEAN",
            "Date" => "DATE",
            "Timestamp" => "TIMESTAMP",
            "Interval" => "INTERVAL",
            "Numeric(1)" => "a number",
            // Types that nobody writes down in SQL.
            "UInt64" | "Duration" => continue,
            _ => return None,
        };
        if !types.contains(&family) {
            types.push(family);
        }
    }
    let (last, others) = types.split_last()?;
    Some(match others {
        [] => format!("it takes {last}"),
        others => format!("it takes {} or {last}", others.join(", ")),
    })
}

fn null_argument(message: &str) -> Option<Described> {
    let name = between(message, "[return_type] ", " not supported for Null")?;
    Some(of_types(format!("{} does not take NULL", name.to_uppercase())))
}

fn not_grouped(message: &str) -> Option<Described> {
    if !message.contains("must appear in the GROUP BY clause") {
        return None;
    }
    let column = between(message, "olumn \"", "\" must")?;
    let column = column.rsplit_once('.').map_or(column, |(_, name)| name);
    let message = format!("column '{column}' must be in GROUP BY or inside an aggregate");
    let help = format!("add {column} to GROUP BY, or take for example MAX({column})");
    Some(Described { help: Some(help), ..of_types(message) })
}

fn having(message: &str) -> Option<Described> {
    let found = message.starts_with("HAVING clause references: ");
    let described = of_types("HAVING takes aggregates, and what the query groups by");
    found.then(|| Described { help: Some("use WHERE for single rows".to_owned()), ..described })
}

fn no_condition(message: &str) -> Option<Described> {
    let rest = message.split_once("annot create filter with non-boolean predicate '")?.1;
    let (_, found) = rest.rsplit_once("' returning ")?;
    Some(of_types(format!("a condition is a BOOLEAN, this is {}", with_sql_types(found))))
}

fn columns(count: &str) -> String {
    if count == "1" { "1 column".to_owned() } else { format!("{count} columns") }
}

fn group_position(message: &str) -> Option<Described> {
    let position = between(message, "annot find column with position ", " in SELECT clause")?;
    let count = message.rsplit_once("to ")?.1.trim_end_matches('.');
    Some(of_types(format!("GROUP BY {position}, but the query has {}", columns(count))))
}

fn order_position(message: &str) -> Option<Described> {
    let position = between(message, "column out of bounds, specified: ", ",")?;
    let count = message.rsplit_once("max: ")?.1;
    Some(of_types(format!("ORDER BY {position}, but the query has {}", columns(count))))
}

fn order_zero(message: &str) -> Option<Described> {
    let found = message.starts_with("Order by index starts at 1");
    found.then(|| of_types("ORDER BY 0, but columns are numbered from 1"))
}

fn negative_limit(message: &str) -> Option<Described> {
    let clause = ["LIMIT", "OFFSET"].into_iter().find(|clause| message.starts_with(clause))?;
    message.contains("must be >=").then(|| of_types(format!("{clause} must not be negative")))
}

fn union_columns(message: &str) -> Option<Described> {
    let found = message.contains("queries have different number of columns");
    let kind = message.split_whitespace().next()?;
    found.then(|| of_types(format!("{DIFFERENT_QUERIES}{kind} have different numbers of columns")))
}

fn union_types(message: &str) -> Option<Described> {
    let before = between(message, "Previous inputs were of type ", ", but got incompatible type ")?;
    let (_, rest) = message.split_once("incompatible type ")?;
    let (found, column) = rest.split_once(" on column ")?;
    let types = with_sql_types(&format!("{found}, before it is {before}"));
    Some(of_types(format!("{DIFFERENT_QUERIES}UNION differ: column {column} is {types}")))
}

fn values_types(message: &str) -> Option<Described> {
    let (_, rest) = message.split_once("data type across values list at row ")?;
    let (row, rest) = rest.split_once(" column ")?;
    let (column, rest) = rest.split_once(". Was ")?;
    let (before, found) = rest.split_once(" but found ")?;
    let (row, column) = (row.parse::<usize>().ok()? + 1, column.parse::<usize>().ok()? + 1);
    let types = with_sql_types(&format!("{before}, in row {row} it is {found}"));
    let described = of_types(format!("column {column} of VALUES is {types}"));
    Some(Described {
        help: Some("write CAST(… AS …) around one of them".to_owned()), ..described
    })
}

fn case_types(message: &str) -> Option<Described> {
    let (_, rest) = message.split_once("ailed to coerce then (")?;
    let (branches, rest) = rest.split_once(") and else (")?;
    let (otherwise, _) = rest.rsplit_once(") to common types")?;
    let types = match otherwise {
        "None" => branches.to_owned(),
        otherwise => format!("{branches} and {otherwise}"),
    };
    Some(of_types(format!("the branches of CASE are {}", with_sql_types(&types))))
}

fn arithmetic(message: &str) -> Option<Described> {
    let operation = between(message, "annot coerce arithmetic expression ", " to valid types")?;
    let mut described = of_types(format!("cannot compute {}", with_sql_types(operation)));
    if operation.contains("Utf8") {
        described.help = Some("write CAST(… AS …) around the text".to_owned());
    }
    Some(described)
}

fn time_arithmetic(message: &str) -> Option<Described> {
    let operation = between(message, "annot get result type for temporal operation ", ": ")?;
    Some(of_types(format!("cannot compute {}", with_sql_types(operation))))
}

fn comparison(message: &str) -> Option<Described> {
    let (_, operation) = message.split_once("argument type for comparison operation ")?;
    Some(of_types(format!("cannot compare {}", with_sql_types(operation))))
}

fn no_common_type(message: &str) -> Option<Described> {
    let types = between(message, "isn't a common type to coerce ", " in ")
        .or_else(|| between(message, "ailed to coerce types ", " in "))?;
    let what = between(message, " in ", " expression")?;
    Some(of_types(format!("{what} does not take {}", with_sql_types(types))))
}

fn nested_aggregate(message: &str) -> Option<Described> {
    let found = message.contains("ggregate function calls cannot be nested");
    let described = of_types("aggregate functions cannot be nested");
    let help = Some("compute the inner one in a query of its own, in FROM".to_owned());
    found.then_some(Described { help, ..described })
}

fn negation(message: &str) -> Option<Described> {
    let found = message.starts_with("Unary operator '-' only supports");
    found.then(|| of_types("- takes a number or an interval"))
}

fn inversion(message: &str) -> Option<Described> {
    let (_, found) =
        message.split_once("nary operator 'NOT' requires a boolean expression, got ")?;
    Some(of_types(format!("NOT takes a BOOLEAN, not {}", with_sql_types(found))))
}

fn window_function(message: &str) -> Option<Described> {
    let name = between(message, "nvalid function '", "'")?.to_uppercase();
    if !["TUMBLE", "HOP", "CUMULATE", "SESSION"].contains(&name.as_str()) {
        return None;
    }
    let help = Some(format!("group by {name}(…), or select from TABLE({name}(…))"));
    Some(Described { help, ..of_types(format!("{name} is no function of single rows")) })
}

fn field(message: &str) -> Option<Described> {
    let name = between(message, "ield ", " not found in struct")?;
    Some(of_types(format!("there is no field '{name}'")))
}

fn no_fields(message: &str) -> Option<Described> {
    let found = between(message, "access field at argument ", " is not Struct")?;
    let (_, found) = found.split_once("type ")?;
    Some(of_types(format!("{} has no fields", with_sql_types(found))))
}

fn logical(message: &str) -> Option<Described> {
    let (_, operation) = message.split_once("for logical boolean operation ")?;
    let operator = if operation.contains(" OR ") { "OR" } else { "AND" };
    Some(of_types(format!("{operator} takes BOOLEANs, not {}", with_sql_types(operation))))
}

fn alias_columns(message: &str) -> Option<Described> {
    let (_, rest) = message.split_once("ource table contains ")?;
    let (count, rest) = rest.split_once(" columns but only ")?;
    let (given, _) = rest.split_once(" names given")?;
    Some(of_types(format!("the table has {}, its alias names {given}", columns(count))))
}

fn unique_names(message: &str) -> Option<Described> {
    let name = between(message, "require unique expression names but the expression \"", "\"")?;
    let name = name.rsplit_once('.').map_or(name, |(_, name)| name);
    let described =
        Described::new(SqlErrorCode::Ambiguous, format!("there are two columns '{name}'"));
    let help = Some("give one of them another name with AS".to_owned());
    Some(Described { help, ..described })
}

fn table_function(message: &str) -> Option<Described> {
    let found = message.starts_with("Table Functions are not supported");
    let what = "table functions other than TUMBLE, HOP and CUMULATE are not supported";
    found.then(|| Described::new(SqlErrorCode::Unsupported, what.to_owned()))
}

/// The expression itself, drawn over several lines, is in the query.
fn regular_expression(message: &str) -> Option<Described> {
    let (_, drawn) = message.split_once("regex parse error:")?;
    let cause = drawn.lines().find_map(|line| line.strip_prefix("error: "))?;
    Some(of_types(format!("this is no regular expression: {cause}")))
}

fn elements(message: &str) -> Option<Described> {
    let found = message.split_once("array_element does not support type ")?.1;
    let found = found.split(['.', '\n']).next()?;
    Some(of_types(format!("{} has no elements", with_sql_types(found))))
}
