//! Types, as SQL writes them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use datafusion::logical_expr::planner::TypePlanner;
use rainstorm_engine::wording::type_sql;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, Tokenizer};

use super::dialect::RainstormDialect;
use super::split::adapt_tokens;
use crate::error::suggest;

/// Names of types, for suggestions.
const TYPE_NAMES: &[&str] = &[
    "ARRAY",
    "BIGINT",
    "BINARY",
    "BOOLEAN",
    "BYTES",
    "CHAR",
    "DATE",
    "DECIMAL",
    "DOUBLE",
    "FLOAT",
    "INT",
    "INTEGER",
    "MAP",
    "NUMERIC",
    "ROW",
    "SMALLINT",
    "STRING",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "TINYINT",
    "VARBINARY",
    "VARCHAR",
];

/// Types of Flink's that columns cannot have.
const UNSUPPORTED_TYPES: &[&str] = &["INTERVAL", "MULTISET", "RAW", "VARIANT"];

/// Makes DataFusion plan Flink's types as tables have them.
#[derive(Debug)]
pub(crate) struct FlinkTypePlanner;

impl TypePlanner for FlinkTypePlanner {
    fn plan_type_field(
        &self,
        sql_type: &sqlparser::ast::DataType,
    ) -> datafusion::error::Result<Option<FieldRef>> {
        let data_type = type_from_text(&sql_type.to_string());
        Ok(data_type.map(|data_type| Arc::new(Field::new("", nullable(&data_type), true))))
    }
}

/// Returns a type whose rows, arrays and maps may have nulls: any value can be cast to it.
fn nullable(data_type: &DataType) -> DataType {
    let inside = |field: &FieldRef, is_nullable: bool| {
        let data_type = nullable(field.data_type());
        Arc::new(Field::new(field.name(), data_type, is_nullable))
    };
    match data_type {
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| inside(field, true)).collect())
        }
        DataType::List(item) => DataType::List(inside(item, true)),
        DataType::Map(entries, sorted) => {
            let DataType::Struct(pair) = entries.data_type() else { return data_type.clone() };
            let pair = Fields::from(vec![inside(&pair[0], false), inside(&pair[1], true)]);
            let entries = Field::new(entries.name(), DataType::Struct(pair), false);
            DataType::Map(Arc::new(entries), *sorted)
        }
        other => other.clone(),
    }
}

/// Reads a type's text; `None` where it is not one of Flink's.
fn type_from_text(text: &str) -> Option<DataType> {
    let tokens = Tokenizer::new(&RainstormDialect, text).tokenize_with_location().ok()?;
    let tokens = adapt_tokens(tokens);
    let mut parser = Parser::new(&RainstormDialect).with_tokens_with_locations(tokens);
    let data_type = parse_type(&mut parser).ok()?;
    (parser.peek_token_ref().token == Token::EOF).then_some(data_type)
}

/// Parses a type, and returns with it a text that says more than [`type_sql`] does: the length of
/// VARCHAR(n), which [`character_limit`](crate::types::character_limit) finds, the digits of a TIMESTAMP and its time zone.
pub(crate) fn parse_declared(parser: &mut Parser) -> Result<(DataType, String), ParserError> {
    let start = parser.get_current_index() + 1;
    let first = parser.peek_token_ref().token.clone();
    let data_type = parse_type(parser)?;
    let last = parser.get_current_index();
    let length = (start..=last).find_map(|index| match &parser.token_at(index).token {
        Token::Number(length, _) => Some(length.clone()),
        _ => None,
    });
    let has = |wanted: Keyword| {
        (start..=last).any(|index| {
            matches!(&parser.token_at(index).token, Token::Word(word) if word.keyword == wanted)
        })
    };
    let plain = type_sql(&data_type);
    let Token::Word(word) = first else { return Ok((data_type, plain)) };
    let text = match (word.value.to_uppercase().as_str(), length) {
        ("CHAR" | "CHARACTER", Some(length)) if !has(Keyword::VARYING) => format!("CHAR({length})"),
        ("VARCHAR" | "CHAR" | "CHARACTER", Some(length)) => format!("VARCHAR({length})"),
        (name @ ("BINARY" | "VARBINARY"), Some(length)) => format!("{name}({length})"),
        ("TIMESTAMP_LTZ", digits) => format!("TIMESTAMP_LTZ({})", digits.as_deref().unwrap_or("6")),
        ("TIMESTAMP", digits) if has(Keyword::LOCAL) => {
            format!("TIMESTAMP_LTZ({})", digits.as_deref().unwrap_or("6"))
        }
        ("TIMESTAMP", Some(digits)) => format!("TIMESTAMP({digits})"),
        _ => plain,
    };
    Ok((data_type, text))
}

/// Parses a type. Strings are views; times have the unit that their precision asks for.
pub(crate) fn parse_type(parser: &mut Parser) -> Result<DataType, ParserError> {
    let token = parser.next_token();
    let Token::Word(word) = &token.token else { return parser.expected("a type", token) };
    let data_type = match word.value.to_uppercase().as_str() {
        "BOOLEAN" | "BOOL" => DataType::Boolean,
        "TINYINT" => DataType::Int8,
        "SMALLINT" => DataType::Int16,
        "INT" | "INTEGER" => DataType::Int32,
        "BIGINT" => DataType::Int64,
        "FLOAT" | "REAL" => DataType::Float32,
        "DOUBLE" => {
            let _ = parser.parse_keyword(Keyword::PRECISION);
            DataType::Float64
        }
        "DECIMAL" | "DEC" | "NUMERIC" => parse_decimal(parser)?,
        "STRING" | "TEXT" => DataType::Utf8View,
        "VARCHAR" | "CHAR" | "CHARACTER" => {
            let _ = parser.parse_keyword(Keyword::VARYING);
            parse_number(parser)?;
            DataType::Utf8View
        }
        "BYTES" | "VARBINARY" | "BINARY" => {
            parse_number(parser)?;
            DataType::Binary
        }
        "DATE" => DataType::Date32,
        "TIME" => {
            parse_number(parser)?;
            let _ = parser.parse_keywords(&[Keyword::WITHOUT, Keyword::TIME, Keyword::ZONE]);
            DataType::Time32(TimeUnit::Millisecond)
        }
        "TIMESTAMP" => parse_timestamp(parser, token.span.start)?,
        // The session's time zone is UTC, in which both kinds of timestamps are the same.
        "TIMESTAMP_LTZ" => DataType::Timestamp(parse_unit(parser, token.span.start)?, None),
        "ROW" | "STRUCT" => DataType::Struct(parse_fields(parser)?),
        "ARRAY" => {
            parser.expect_token(&Token::Lt)?;
            let (item, nullable) = parse_nested(parser)?;
            parser.expect_token(&Token::Gt)?;
            DataType::List(Arc::new(Field::new_list_field(item, nullable)))
        }
        "MAP" => parse_map(parser)?,
        name if UNSUPPORTED_TYPES.contains(&name) => {
            let place = token.span.start;
            return Err(ParserError::ParserError(format!("type {name} is not supported{place}")));
        }
        _ => return unknown_type(&word.value, token.span.start),
    };
    Ok(data_type)
}

fn unknown_type<T>(name: &str, location: Location) -> Result<T, ParserError> {
    let hint = suggest(name, TYPE_NAMES.iter().copied())
        .map_or_else(String::new, |known| format!("; did you mean '{known}'?"));
    Err(ParserError::ParserError(format!("there is no type '{name}'{hint}{location}")))
}

fn parse_decimal(parser: &mut Parser) -> Result<DataType, ParserError> {
    let location = parser.peek_token_ref().span.start;
    let (mut precision, mut scale) = (10, 0);
    if parser.consume_token(&Token::LParen) {
        precision = parser.parse_literal_uint()?;
        if parser.consume_token(&Token::Comma) {
            scale = parser.parse_literal_uint()?;
        }
        parser.expect_token(&Token::RParen)?;
    }
    if precision == 0 || precision > 38 || scale > precision {
        let reason = format!(
            "DECIMAL({precision}, {scale}): precision is 1 to 38 and scale at most precision"
        );
        return Err(ParserError::ParserError(format!("{reason}{location}")));
    }
    Ok(DataType::Decimal128(precision as u8, scale as i8))
}

fn parse_number(parser: &mut Parser) -> Result<Option<u64>, ParserError> {
    if !parser.consume_token(&Token::LParen) {
        return Ok(None);
    }
    let number = parser.parse_literal_uint()?;
    parser.expect_token(&Token::RParen)?;
    Ok(Some(number))
}

fn parse_timestamp(parser: &mut Parser, location: Location) -> Result<DataType, ParserError> {
    let unit = parse_unit(parser, location)?;
    if parser.parse_keyword(Keyword::WITH) {
        let _ = parser.parse_keyword(Keyword::LOCAL);
        parser.expect_keywords(&[Keyword::TIME, Keyword::ZONE])?;
    } else if parser.parse_keyword(Keyword::WITHOUT) {
        parser.expect_keywords(&[Keyword::TIME, Keyword::ZONE])?;
    }
    Ok(DataType::Timestamp(unit, None))
}

fn parse_unit(parser: &mut Parser, location: Location) -> Result<TimeUnit, ParserError> {
    match parse_number(parser)?.unwrap_or(6) {
        0..=3 => Ok(TimeUnit::Millisecond),
        4..=6 => Ok(TimeUnit::Microsecond),
        7..=9 => Ok(TimeUnit::Nanosecond),
        precision => Err(ParserError::ParserError(format!(
            "TIMESTAMP({precision}): precision is 0 to 9{location}"
        ))),
    }
}

fn parse_fields(parser: &mut Parser) -> Result<Fields, ParserError> {
    let end = if parser.consume_token(&Token::LParen) {
        Token::RParen
    } else {
        parser.expect_token(&Token::Lt)?;
        Token::Gt
    };
    let fields = parser.parse_comma_separated(|parser| {
        let name = parser.parse_identifier()?;
        let (data_type, nullable) = parse_nested(parser)?;
        if parser.parse_keyword(Keyword::COMMENT) {
            parser.parse_literal_string()?;
        }
        Ok(Field::new(name.value, data_type, nullable))
    })?;
    parser.expect_token(&end)?;
    Ok(fields.into())
}

fn parse_map(parser: &mut Parser) -> Result<DataType, ParserError> {
    parser.expect_token(&Token::Lt)?;
    let (key, _) = parse_nested(parser)?;
    parser.expect_token(&Token::Comma)?;
    let (value, nullable) = parse_nested(parser)?;
    parser.expect_token(&Token::Gt)?;
    let entries =
        Fields::from(vec![Field::new("key", key, false), Field::new("value", value, nullable)]);
    Ok(DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false))
}

fn parse_nested(parser: &mut Parser) -> Result<(DataType, bool), ParserError> {
    let data_type = parse_type(parser)?;
    Ok((data_type, parse_nullable(parser)))
}

/// Parses `NOT NULL` or `NULL`, and tells whether nulls may be.
pub(crate) fn parse_nullable(parser: &mut Parser) -> bool {
    let not_null = parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]);
    if !not_null {
        let _ = parser.parse_keyword(Keyword::NULL);
    }
    !not_null
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &DataType, sql: &str) {
        let data_type = type_from_text(text).expect("a type");
        assert_eq!(data_type, *expected);
        assert_eq!(type_sql(&data_type), sql);
        assert_eq!(type_from_text(sql), Some(data_type), "does not survive its own text");
    }

    #[test]
    fn simple_types_map_to_arrow() {
        check("int", &DataType::Int32, "INT");
        check("Varchar(20)", &DataType::Utf8View, "STRING");
        check("DOUBLE PRECISION", &DataType::Float64, "DOUBLE");
        check("DECIMAL(23,3)", &DataType::Decimal128(23, 3), "DECIMAL(23, 3)");
        check("NUMERIC", &DataType::Decimal128(10, 0), "DECIMAL(10, 0)");
        check("BYTES", &DataType::Binary, "BYTES");
    }

    #[test]
    fn timestamps_have_the_unit_of_their_precision() {
        let timestamp = |unit| DataType::Timestamp(unit, None);
        check("TIMESTAMP(3)", &timestamp(TimeUnit::Millisecond), "TIMESTAMP(3)");
        check("TIMESTAMP", &timestamp(TimeUnit::Microsecond), "TIMESTAMP(6)");
        check("TIMESTAMP(9)", &timestamp(TimeUnit::Nanosecond), "TIMESTAMP(9)");
        for local in ["TIMESTAMP_LTZ(3)", "TIMESTAMP(3) WITH LOCAL TIME ZONE"] {
            check(local, &timestamp(TimeUnit::Millisecond), "TIMESTAMP(3)");
        }
        assert_eq!(type_from_text("TIMESTAMP(10)"), None);
    }

    #[test]
    fn nested_types_close_with_shift_tokens() {
        let inner = DataType::Struct(Fields::from(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Utf8View, false),
        ]));
        let list = DataType::List(Arc::new(Field::new_list_field(inner, true)));
        check(
            "ARRAY<ROW<a BIGINT, `b` STRING NOT NULL>>",
            &list,
            "ARRAY<ROW<`a` BIGINT, `b` STRING NOT NULL>>",
        );
        let text = "MAP<STRING, ARRAY<ROW<x INT>>>";
        let map = type_from_text(text).expect("a type");
        assert_eq!(type_sql(&map), "MAP<STRING, ARRAY<ROW<`x` INT>>>");
    }
}
