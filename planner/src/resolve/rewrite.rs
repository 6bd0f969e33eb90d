//! Functions that are another way to write an expression.

use datafusion::logical_expr::Operator;
use rainstorm_engine::function::any_function;
use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, CeilFloorKind, DateTimeField, Expr, ExtractSyntax, Function,
    FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Interval, ObjectName, ObjectNamePart,
    Spanned, UnaryOperator, Value, ValueWithSpan,
};
use sqlparser::tokenizer::Span;

use super::expression::plain_arguments;
use crate::error::{SqlError, SqlErrorCode, counted, suggest};
use crate::parse::call;

/// Names of the functions that become other expressions, each with its number of arguments.
pub(crate) const REWRITTEN_FUNCTIONS: &[(&str, usize)] = &[
    ("CEILING", 1),
    ("DAYOFMONTH", 1),
    ("DAYOFWEEK", 1),
    ("DAYOFYEAR", 1),
    ("HOUR", 1),
    ("IF", 3),
    ("MINUTE", 1),
    ("MOD", 2),
    ("MONTH", 1),
    ("QUARTER", 1),
    ("SECOND", 1),
    ("TIMESTAMPADD", 3),
    ("TRUNCATE", 2),
    ("WEEK", 1),
    ("YEAR", 1),
];

/// Functions that are another function under a name of Flink's.
pub(crate) const RENAMED_FUNCTIONS: &[(&str, &str)] =
    &[("LISTAGG", "string_agg"), ("SIGN", "signum")];

/// Gives a function its other name. LISTAGG puts commas where it is not told what to put.
pub(super) fn rename(function: &mut Function) {
    let Some((name, span)) = upper_name(function) else { return };
    let renamed = RENAMED_FUNCTIONS.iter().find(|(known, _)| *known == name);
    let Some((_, renamed)) = renamed else { return };
    function.name = ObjectName::from(vec![Ident::with_span(span, *renamed)]);
    if let FunctionArguments::List(list) = &mut function.args
        && name == "LISTAGG"
        && list.args.len() == 1
    {
        list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(text(",", span))));
    }
}

/// Returns the name of a function in upper case, where it has a plain one.
fn upper_name(function: &Function) -> Option<(String, Span)> {
    match function.name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => Some((name.value.to_uppercase(), name.span)),
        _ => None,
    }
}

/// Makes the unit of TIMESTAMPDIFF and TIMESTAMPADD a text, so that it is not taken for a column.
pub(super) fn quote_unit(function: &mut Function) {
    let name = upper_name(function).map(|(name, _)| name);
    if !matches!(name.as_deref(), Some("TIMESTAMPDIFF" | "TIMESTAMPADD")) {
        return;
    }
    if let FunctionArguments::List(list) = &mut function.args
        && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(unit))) = list.args.first_mut()
        && let Expr::Identifier(name) = unit
    {
        *unit = text(&name.value, name.span);
    }
}

/// Returns what a call stands for, where it stands for something else.
pub(super) fn rewrite_call(function: &Function) -> Option<Result<Expr, SqlError>> {
    let (name, span) = upper_name(function)?;
    let (_, count) = REWRITTEN_FUNCTIONS.iter().find(|(known, _)| *known == name)?;
    let arguments = plain_arguments(&function.args)?;
    if arguments.len() != *count {
        let takes = counted(*count, "argument");
        let message = format!("{name} takes {takes}, not {}", arguments.len());
        return Some(Err(SqlError::at(SqlErrorCode::Type, span, message)));
    }
    let mut arguments = arguments.into_iter();
    let mut next = || arguments.next().expect("they have been counted");
    let expr = match name.as_str() {
        "MOD" => binary(next(), BinaryOperator::Modulo, next()),
        "IF" => conditional(next(), next(), next()),
        "CEILING" => call("ceil", vec![next()], span),
        "TRUNCATE" => call("trunc", vec![next(), next()], span),
        "TIMESTAMPADD" => return Some(timestamp_add(&next(), next(), next(), span)),
        // SQL counts weekdays from Sunday = 1, Postgres and DataFusion from 0.
        "DAYOFWEEK" => {
            let one = Expr::Value(Value::Number("1".to_owned(), false).with_span(span));
            binary(extract(DateTimeField::Dow, next()), BinaryOperator::Plus, one)
        }
        "YEAR" => extract(DateTimeField::Year, next()),
        "QUARTER" => extract(DateTimeField::Quarter, next()),
        "MONTH" => extract(DateTimeField::Month, next()),
        "WEEK" => extract(DateTimeField::Week(None), next()),
        "DAYOFYEAR" => extract(DateTimeField::Doy, next()),
        "DAYOFMONTH" => extract(DateTimeField::Day, next()),
        "HOUR" => extract(DateTimeField::Hour, next()),
        "MINUTE" => extract(DateTimeField::Minute, next()),
        _ => extract(DateTimeField::Second, next()),
    };
    Some(Ok(expr))
}

/// Returns what `FLOOR(time TO unit)` or `CEIL(time TO unit)` stands for.
pub(super) fn rewrite_rounding(expr: &Expr) -> Option<Expr> {
    let (Expr::Floor { expr: time, field: CeilFloorKind::DateTimeField(field) }
    | Expr::Ceil { expr: time, field: CeilFloorKind::DateTimeField(field) }) = expr
    else {
        return None;
    };
    if *field == DateTimeField::NoDateTime {
        return None;
    }
    let unit = field.to_string().to_lowercase();
    let arguments = vec![text(&unit, Span::empty()), (**time).clone()];
    let floor = call("date_trunc", arguments, Span::empty());
    if matches!(expr, Expr::Floor { .. }) {
        return Some(floor);
    }
    let unit = if unit == "quarter" { "3 months".to_owned() } else { format!("1 {unit}") };
    let next = binary(floor.clone(), BinaryOperator::Plus, interval(&unit, Span::empty()));
    let is_whole = binary(floor, BinaryOperator::Eq, (**time).clone());
    Some(conditional(is_whole, (**time).clone(), next))
}

/// Returns what a comparison with ANY or ALL elements of an array stands for. With those of a query
/// it stays what it is.
pub(super) fn rewrite_quantified(expr: &Expr) -> Option<Expr> {
    let (value, op, array, all) = match expr {
        Expr::AnyOp { left, compare_op, right, .. } => (left, compare_op, right, false),
        Expr::AllOp { left, compare_op, right } => (left, compare_op, right, true),
        _ => return None,
    };
    if matches!(**array, Expr::Subquery(_)) {
        return None;
    }
    let op = match op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        _ => return None,
    };
    // All elements fulfil a comparison where none fulfils its opposite.
    let op = if all { op.negate()? } else { op };
    let arguments = vec![(**value).clone(), (**array).clone()];
    let any = call(any_function(op)?, arguments, value.span());
    let none = |any| Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(any) };
    Some(Expr::Nested(Box::new(if all { none(any) } else { any })))
}

fn text(value: &str, span: Span) -> Expr {
    let value = Value::SingleQuotedString(value.to_owned());
    Expr::Value(ValueWithSpan { value, span })
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    let nested = |expr| Box::new(Expr::Nested(Box::new(expr)));
    let operation = Expr::BinaryOp { left: nested(left), op, right: nested(right) };
    Expr::Nested(Box::new(operation))
}

fn conditional(condition: Expr, result: Expr, otherwise: Expr) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result }],
        else_result: Some(Box::new(otherwise)),
    }
}

fn extract(field: DateTimeField, expr: Expr) -> Expr {
    Expr::Extract { field, syntax: ExtractSyntax::From, expr: Box::new(expr) }
}

/// Units of TIMESTAMPADD.
const UNITS: &[&str] = &["SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR"];

/// TIMESTAMPADD(unit, number, time): the number is a literal, since it becomes an interval.
fn timestamp_add(unit: &Expr, number: Expr, time: Expr, span: Span) -> Result<Expr, SqlError> {
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(unit), .. }) = unit else {
        let message = "TIMESTAMPADD takes a unit such as SECOND";
        return Err(SqlError::at(SqlErrorCode::Type, span, message));
    };
    if !UNITS.iter().any(|known| unit.eq_ignore_ascii_case(known)) {
        let message = format!("TIMESTAMPADD does not know the unit {unit}");
        let error = SqlError::at(SqlErrorCode::Type, span, message);
        let units = format!("it takes {}", UNITS.join(", "));
        return Err(error.with_help(units).with_suggestion(suggest(unit, UNITS.iter().copied())));
    }
    let (digits, op) = match number {
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => {
            (digits, BinaryOperator::Plus)
        }
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match *expr {
            Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => {
                (digits, BinaryOperator::Minus)
            }
            _ => return Err(not_literal(span)),
        },
        _ => return Err(not_literal(span)),
    };
    Ok(binary(time, op, interval(&format!("{digits} {unit}"), span)))
}

pub(super) fn interval(value: &str, span: Span) -> Expr {
    Expr::Interval(Interval {
        value: Box::new(text(value, span)),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    })
}

fn not_literal(span: Span) -> SqlError {
    let message = "TIMESTAMPADD with a number that is not a literal is not supported";
    SqlError::at(SqlErrorCode::Unsupported, span, message)
        .with_help("add an interval, as in time + x * INTERVAL '1' SECOND")
}
