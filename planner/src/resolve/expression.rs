//! Columns and functions in expressions.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use rainstorm_engine::function::{Arithmetic, CHECKED_CHAIN, Registry, WRAPPING_SUM};
use sqlparser::ast::{
    AccessExpr, CastKind, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, ObjectNamePart, Query, Spanned, Value, ValueWithSpan, VisitMut,
    VisitorMut,
};
use sqlparser::tokenizer::Span;

use super::Resolver;
use super::frame;
use super::like::rewrite_escape;
use super::literal::rewrite_literal;
use super::names::column_of_relation;
use super::rewrite::{
    RENAMED_FUNCTIONS, REWRITTEN_FUNCTIONS, quote_unit, rename, rewrite_call, rewrite_quantified,
    rewrite_rounding,
};
use super::scope::Scope;
use crate::catalog::FunctionDefinition;
use crate::error::{SqlError, SqlErrorCode, counted, suggest};
use crate::parse::{interval, named_type};
use crate::statement::ObjectKind;

/// Windowing table functions, which are also the group windows of older Flink SQL.
pub(super) const WINDOW_FUNCTIONS: &[&str] = &["TUMBLE", "HOP", "CUMULATE", "SESSION"];

/// Other functions that binding knows without a registry.
const SPECIAL_FUNCTIONS: &[&str] = &[
    "TUMBLE_START",
    "TUMBLE_END",
    "TUMBLE_ROWTIME",
    "TUMBLE_PROCTIME",
    "HOP_START",
    "HOP_END",
    "HOP_ROWTIME",
    "HOP_PROCTIME",
    "SESSION_START",
    "SESSION_END",
    "SESSION_ROWTIME",
    "SESSION_PROCTIME",
    "GROUPING",
    "UNNEST",
    "STRUCT",
    "ROW",
];

/// Resolves the expressions of a part of a statement in one scope; queries inside are resolved in
/// scopes of their own.
pub(super) struct ExpressionVisitor<'r, 'a, 's> {
    resolver: &'r mut Resolver<'a>,
    scope: &'s Scope<'s>,
    /// How many queries the visit is inside of; they are resolved already.
    depth: usize,
    /// Places of names that are fields of an expression and not columns.
    fields: BTreeSet<(u64, u64)>,
}

impl<'r, 'a, 's> ExpressionVisitor<'r, 'a, 's> {
    pub(super) fn new(resolver: &'r mut Resolver<'a>, scope: &'s Scope<'s>) -> Self {
        Self { resolver, scope, depth: 0, fields: BTreeSet::new() }
    }
}

impl VisitorMut for ExpressionVisitor<'_, '_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if self.depth == 0 {
            self.resolver.query(query, Some(self.scope));
        }
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        match expr {
            Expr::Identifier(name) if !self.fields.contains(&place(name.span)) => {
                self.resolver.identifier(name, self.scope);
            }
            Expr::CompoundIdentifier(_) => {
                self.resolver.compound_identifier(expr, self.scope);
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                column_of_relation(root, access_chain, self.scope);
                for access in access_chain {
                    if let AccessExpr::Dot(Expr::Identifier(name)) = access {
                        self.fields.insert(place(name.span));
                    }
                }
            }
            Expr::InSubquery { expr, .. } => self.resolver.no_outer_operand(expr, self.scope),
            Expr::Like { .. } | Expr::ILike { .. } => {
                self.resolver.errors.extend(rewrite_escape(expr).err());
            }
            Expr::Function(function) => {
                if self.resolver.context.session.function(&function.name.to_string()).is_none() {
                    rename(function);
                }
                self.resolver.function_name(function);
                self.resolver.distinct_rows(function);
                self.resolver.of_single_values(function);
                quote_unit(function);
                self.resolver.errors.extend(frame::of_call(function).err());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        if let Expr::CompoundFieldAccess { access_chain, .. } = expr {
            access_chain.iter_mut().for_each(quote_field);
        }
        let rewritten = match &*expr {
            Expr::Function(function) => self.resolver.rewrite(function),
            other => rewrite_rounding(other)
                .or_else(|| rewrite_quantified(other))
                .or_else(|| rewrite_literal(other))
                .or_else(|| interval::multiply(other)),
        };
        if let Some(rewritten) = rewritten {
            *expr = rewritten;
        }
        ControlFlow::Continue(())
    }
}

/// Writes a field of an expression as DataFusion takes it: as a text.
pub(super) fn quote_field(access: &mut AccessExpr) {
    if let AccessExpr::Dot(field) = access
        && let Expr::Identifier(name) = field
    {
        let value = Value::SingleQuotedString(name.value.clone());
        *field = Expr::Value(ValueWithSpan { value, span: name.span });
    }
}

fn place(span: Span) -> (u64, u64) {
    (span.start.line, span.start.column)
}

impl Resolver<'_> {
    /// Reports a function that does not exist.
    fn function_name(&mut self, function: &Function) {
        let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return };
        let functions = self.context.functions;
        let known = self.context.session.function(&name.value).is_some()
            || is_built_in(functions, &name.value);
        if has_wildcard(&function.args) && !name.value.eq_ignore_ascii_case("count") {
            let message = format!("{} does not take *", name.value.to_uppercase());
            let error = SqlError::at(SqlErrorCode::Type, name.span, message);
            self.errors.push(error.with_help("only COUNT takes *"));
        }
        let ranks = self.context.session.function(&name.value).is_none()
            && functions.window(&name.value).is_some()
            && functions.scalar(&name.value).is_none()
            && functions.aggregate(&name.value).is_none();
        if ranks && function.over.is_none() {
            let message = format!("{} without OVER is not supported", name.value.to_uppercase());
            self.errors.push(SqlError::at(SqlErrorCode::Unsupported, name.span, message));
        }
        if known {
            return;
        }
        let upper: Vec<String> = functions.names().iter().map(|name| name.to_uppercase()).collect();
        let own: Vec<String> =
            self.context.session.functions().map(|function| function.name.clone()).collect();
        let candidates = upper.iter().chain(&own).map(String::as_str).chain(special_functions());
        let message = format!("there is no function '{}'", name.value);
        let error = SqlError::at(SqlErrorCode::UnknownFunction, name.span, message);
        let unreadable = self.context.session.unreadable(ObjectKind::Function, &name.value);
        let error = error.with_suggestion(suggest(&name.value, candidates));
        self.errors.push(error.with_better_help(unreadable));
    }

    /// Refuses `count(DISTINCT *)`, which DataFusion takes for a constant's number of values.
    fn distinct_rows(&mut self, function: &Function) {
        let FunctionArguments::List(list) = &function.args else { return };
        let rows = list.args.iter().find_map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(_)) => None,
            FunctionArg::Unnamed(rows) => Some(rows),
            _ => None,
        });
        if let (Some(DuplicateTreatment::Distinct), Some(rows)) = (list.duplicate_treatment, rows) {
            let message = format!("{}(DISTINCT {rows}) is not supported", function.name);
            let error = SqlError::at(SqlErrorCode::Unsupported, function.name.span(), message);
            self.errors.push(error.with_help("name one column"));
        }
    }

    /// Refuses FILTER and DISTINCT of functions that are no aggregates, which DataFusion ignores.
    fn of_single_values(&mut self, function: &Function) {
        let name = function.name.to_string();
        let functions = self.context.functions;
        if functions.aggregate(&name).is_some() || functions.window(&name).is_some() {
            return;
        }
        let is_distinct = matches!(&function.args, FunctionArguments::List(list)
            if list.duplicate_treatment == Some(DuplicateTreatment::Distinct));
        let clause = match (&function.filter, is_distinct) {
            (Some(_), _) => "FILTER",
            (None, true) => "DISTINCT",
            (None, false) => return,
        };
        let message = format!("{} is no aggregate and takes no {clause}", name.to_uppercase());
        self.errors.push(SqlError::at(SqlErrorCode::Type, function.name.span(), message));
    }

    /// Returns what a call stands for, where it stands for another expression.
    fn rewrite(&mut self, function: &Function) -> Option<Expr> {
        if let Some(expanded) = self.expand(function) {
            return Some(expanded);
        }
        rewrite_call(function)?.map_err(|error| self.errors.push(error)).ok()
    }

    /// Returns what a call of a function that is written as an expression stands for.
    fn expand(&mut self, function: &Function) -> Option<Expr> {
        let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return None };
        let definition = self.context.session.function(&name.value)?;
        let arguments = plain_arguments(&function.args)?;
        if arguments.len() != definition.args.len() {
            let message = format!(
                "function '{}' takes {}, not {}",
                definition.name,
                counted(definition.args.len(), "argument"),
                arguments.len()
            );
            self.errors.push(SqlError::at(SqlErrorCode::Type, name.span, message));
            return None;
        }
        let mut body = definition.body.clone();
        let _ = VisitMut::visit(&mut body, &mut Substitution { definition, arguments: &arguments });
        Some(cast(body, &definition.return_type))
    }
}

/// Functions that the registry does not have.
fn special_functions<'a>() -> impl Iterator<Item = &'a str> {
    let rewritten = REWRITTEN_FUNCTIONS.iter().map(|(name, _)| *name);
    let renamed = RENAMED_FUNCTIONS.iter().map(|(name, _)| *name);
    WINDOW_FUNCTIONS.iter().chain(SPECIAL_FUNCTIONS).copied().chain(rewritten).chain(renamed)
}

/// Tells whether there is a function that nobody has created.
pub(crate) fn is_built_in(functions: &Registry, name: &str) -> bool {
    // What plans are made of in the place of operators has no meaning in SQL.
    let name = &name.to_lowercase();
    if Arithmetic::of(name).is_some() || [CHECKED_CHAIN, WRAPPING_SUM].contains(&name.as_str()) {
        return false;
    }
    functions.scalar(name).is_some()
        || functions.aggregate(name).is_some()
        || functions.window(name).is_some()
        || functions.higher_order(name).is_some()
        || special_functions().any(|known| known.eq_ignore_ascii_case(name))
}

fn has_wildcard(arguments: &FunctionArguments) -> bool {
    let FunctionArguments::List(list) = arguments else { return false };
    let is_wildcard = |argument: &FunctionArg| {
        matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Wildcard))
    };
    list.args.iter().any(is_wildcard)
}

pub(super) fn plain_arguments(arguments: &FunctionArguments) -> Option<Vec<Expr>> {
    match arguments {
        FunctionArguments::None => Some(Vec::new()),
        FunctionArguments::Subquery(_) => None,
        FunctionArguments::List(list) => list
            .args
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
                _ => None,
            })
            .collect(),
    }
}

fn cast(expr: Expr, data_type: &DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Nested(Box::new(expr))),
        data_type: named_type(data_type),
        array: false,
        format: None,
    }
}

/// Puts arguments in the place of a function's parameters.
struct Substitution<'a> {
    definition: &'a FunctionDefinition,
    arguments: &'a [Expr],
}

impl VisitorMut for Substitution<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let names = match &*expr {
            Expr::Identifier(name) => vec![name.clone()],
            Expr::CompoundIdentifier(names) => names.clone(),
            _ => Vec::new(),
        };
        let parameter =
            |name: &Ident| self.definition.args.iter().position(|(known, _)| *known == name.value);
        if let [first, fields @ ..] = names.as_slice()
            && let Some(index) = parameter(first)
        {
            let argument = cast(self.arguments[index].clone(), &self.definition.args[index].1);
            *expr = with_fields(argument, fields);
        }
        ControlFlow::Continue(())
    }
}

pub(super) fn with_fields(root: Expr, fields: &[Ident]) -> Expr {
    if fields.is_empty() {
        return root;
    }
    let dot = |field: &Ident| {
        let mut access = AccessExpr::Dot(Expr::Identifier(field.clone()));
        quote_field(&mut access);
        access
    };
    Expr::CompoundFieldAccess {
        root: Box::new(root),
        access_chain: fields.iter().map(dot).collect(),
    }
}
