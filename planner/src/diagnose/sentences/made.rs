//! Sentences that depend on what DataFusion puts into its own.
#![expect(clippy::unnecessary_wraps, reason = "entries of a table are of one type")]

use rainstorm_engine::function::operator_of;
use rainstorm_engine::wording::with_sql_types;

use super::CAST;
use super::Place::Clause;
use crate::diagnose::words::Described;
use crate::error::SqlErrorCode::Type;
use crate::error::counted;

fn of_types(message: impl Into<String>) -> Described {
    Described::new(Type, message.into())
}

/// With the function's candidates at the end.
pub(super) fn wrong_arguments(call: &[&str]) -> Option<Described> {
    let [name, types, rest] = call else { return None };
    let mut described = does_not_take(name, types);
    described.help = rest.split_once("Candidate functions:").and_then(|(_, all)| takes(all));
    Some(described)
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

/// What functions are called that people write in another way.
fn sql_name(function: &str) -> String {
    match function {
        "array_element" => "[…]".to_owned(),
        "array_slice" => "[…:…]".to_owned(),
        "btrim" => "TRIM".to_owned(),
        "date_part" => "EXTRACT".to_owned(),
        "strpos" => "POSITION".to_owned(),
        "struct" => "ROW".to_owned(),
        "substr" => "SUBSTRING".to_owned(),
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

pub(super) fn window_function(name: &[&str]) -> Option<Described> {
    let name = name[0].to_uppercase();
    if !["TUMBLE", "HOP", "CUMULATE", "SESSION"].contains(&name.as_str()) {
        return None;
    }
    let help = Some(format!("group by {name}(…), or select from TABLE({name}(…))"));
    Some(Described { help, ..of_types(format!("{name} is no function of single rows")) })
}

pub(super) fn not_grouped(column: &[&str]) -> Option<Described> {
    let column = column[0].rsplit_once('.').map_or(column[0], |(_, name)| name);
    let message = format!("column '{column}' must be in GROUP BY or inside an aggregate");
    let help = format!("add {column} to GROUP BY, or take for example MAX({column})");
    Some(Described { help: Some(help), ..of_types(message) })
}

fn columns(count: &str) -> Option<String> {
    Some(counted(count.trim_end_matches('.').parse().ok()?, "column"))
}

pub(super) fn group_position(of: &[&str]) -> Option<Described> {
    let message = format!("GROUP BY {}, but the query has {}", of[0], columns(of[1])?);
    Some(Described { place: Clause, ..of_types(message) })
}

pub(super) fn order_position(of: &[&str]) -> Option<Described> {
    let message = format!("ORDER BY {}, but the query has {}", of[0], columns(of[1])?);
    Some(Described { place: Clause, ..of_types(message) })
}

pub(super) fn set_columns(kind: &[&str]) -> Option<Described> {
    let kind = kind[0].split_whitespace().last()?;
    let message = format!("the queries of {kind} have different numbers of columns");
    Some(Described { place: Clause, ..of_types(message) })
}

pub(super) fn one_column(found: &[&str]) -> Option<Described> {
    let count = found[0].split(", ").count();
    let message = format!("a subquery that stands for a value has 1 column, this one has {count}");
    Some(of_types(message))
}

pub(super) fn values_types(of: &[&str]) -> Option<Described> {
    let [row, column, before, found] = of else { return None };
    let (row, column) = (row.parse::<usize>().ok()? + 1, column.parse::<usize>().ok()? + 1);
    let types = with_sql_types(&format!("{before}, in row {row} it is {found}"));
    let described = of_types(format!("column {column} of VALUES is {types}"));
    Some(Described { help: Some(CAST.to_owned()), ..described })
}

pub(super) fn case_types(of: &[&str]) -> Option<Described> {
    let types = match of {
        [branches, "None"] => (*branches).to_owned(),
        [branches, otherwise] => format!("{branches} and {otherwise}"),
        _ => return None,
    };
    Some(of_types(format!("the branches of CASE are {}", with_sql_types(&types))))
}

pub(super) fn arithmetic(operation: &[&str]) -> Option<Described> {
    let mut described = of_types(format!("cannot compute {}", with_sql_types(operation[0])));
    if operation[0].contains("Utf8") {
        described.help = Some("write CAST(… AS …) around the text".to_owned());
    }
    Some(described)
}

pub(super) fn logical(operation: &[&str]) -> Option<Described> {
    let operator = if operation[0].contains(" OR ") { "OR" } else { "AND" };
    let types = with_sql_types(operation[0]);
    Some(of_types(format!("{operator} takes BOOLEANs, not {types}")))
}

pub(super) fn no_fields(of: &[&str]) -> Option<Described> {
    Some(of_types(format!("{} has no fields", with_sql_types(of[1]))))
}

pub(super) fn elements(of: &[&str]) -> Option<Described> {
    Some(of_types(format!("{} has no elements", with_sql_types(of[0].split('\n').next()?))))
}
