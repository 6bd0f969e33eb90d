//! Which expression of a query is wrong, found by trying them one by one.
//!
//! DataFusion says what is wrong, but seldom where. The least expression that fails when it is
//! selected by itself from the same tables is the culprit. This runs only for queries that have
//! failed already.

use std::ops::ControlFlow;

use datafusion::error::DataFusionError;
use datafusion::execution::FunctionRegistry;
use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    CastKind, Cte, DataType, Expr, Function, GroupByExpr, JoinConstraint, Query, Select,
    SelectItem, SetExpr, Spanned, Value, Visit, Visitor, With, visit_expressions,
    visit_expressions_mut,
};
use sqlparser::parser::Parser;

use super::{LITERALS, collected, of_literals, place};
use crate::bind::bind_query;
use crate::coerce::{Engine, typed};
use crate::error::{SqlError, SqlErrorCode, SqlErrors};
use crate::parse::RainstormDialect;
use crate::resolve::constraint;
use crate::session::QueryContext;

/// Expressions that are tried at most: each is bound, and queries can be long.
const MAX_TRIES: usize = 300;

/// Finds the least expression that is wrong by itself, and says what is wrong with it.
pub(super) fn find(context: QueryContext<'_>, query: &Query) -> Option<SqlErrors> {
    let mut parser = Parser::new(&RainstormDialect).try_with_sql("SELECT 1").ok()?;
    let template = *parser.parse_query().ok()?;
    let mut trial = Trial { context, template, ctes: Vec::new(), tries: 0 };
    match trial.query(query) {
        ControlFlow::Break(errors) => Some(errors),
        ControlFlow::Continue(()) => None,
    }
}

struct Trial<'a> {
    context: QueryContext<'a>,
    /// A query of nothing but a SELECT.
    template: Query,
    /// WITH queries in scope.
    ctes: Vec<Cte>,
    tries: usize,
}

type Found = ControlFlow<SqlErrors>;

impl Trial<'_> {
    fn query(&mut self, query: &Query) -> Found {
        let outside = self.ctes.len();
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.query(&cte.query)?;
            self.ctes.push(cte.clone());
        }
        let found = self.set_expr(&query.body);
        let found = match (found, query.body.as_ref(), &query.order_by) {
            (Found::Continue(()), SetExpr::Select(select), Some(order_by)) => {
                let select = &without_conditions(select);
                order_by.visit(&mut Expressions { trial: self, select, depth: 0 })
            }
            (found, ..) => found,
        };
        self.ctes.truncate(outside);
        found
    }

    fn set_expr(&mut self, body: &SetExpr) -> Found {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, right, .. } => {
                self.set_expr(left)?;
                self.set_expr(right)
            }
            SetExpr::Values(values) => {
                let SetExpr::Select(select) = self.template.body.as_ref().clone() else {
                    return Found::Continue(());
                };
                values.visit(&mut Expressions { trial: self, select: &select, depth: 0 })
            }
            _ => Found::Continue(()),
        }
    }

    fn select(&mut self, select: &Select) -> Found {
        // What is wrong inside FROM would be wrong with every expression over it.
        select.from.visit(&mut Queries(self))?;
        let plain = without_conditions(select);
        if self.errors(&plain, &one()).is_some() {
            return Found::Continue(());
        }
        let visitor = &mut Expressions { trial: self, select: &plain, depth: 0 };
        select.projection.visit(visitor)?;
        select.from.visit(visitor)?;
        select.selection.visit(visitor)?;
        if let Some(condition) = &select.selection {
            visitor.trial.condition(&plain, condition)?;
        }
        select.group_by.visit(visitor)?;
        select.having.visit(visitor)
    }

    /// Tries an expression that is right by itself as the condition of WHERE.
    fn condition(&mut self, select: &Select, condition: &Expr) -> Found {
        let filtered = Select { selection: Some(condition.clone()), ..select.clone() };
        let mut errors =
            self.errors(&filtered, &one()).map_or_else(Vec::new, |error| collected(&error));
        if errors.is_empty() || !errors.iter().all(is_of_expression) {
            return Found::Continue(());
        }
        let filtered = Select { selection: Some(with_types(condition)), ..filtered };
        if let Some(error) = self.errors(&filtered, &one()) {
            errors = of_literals(errors, &collected(&error));
        }
        let place = |error: SqlError| error.or_at(condition.span());
        Found::Break(SqlErrors(errors.into_iter().map(place).collect()))
    }

    /// Binds an expression by itself, and returns what is wrong with it.
    fn errors(&mut self, select: &Select, expr: &Expr) -> Option<DataFusionError> {
        self.tries += 1;
        if self.tries > MAX_TRIES {
            return None;
        }
        let mut select = select.clone();
        select.projection = vec![SelectItem::UnnamedExpr(expr.clone())];
        let with = With {
            with_token: AttachedToken::empty(),
            recursive: false,
            cte_tables: self.ctes.clone(),
        };
        let query = Query {
            with: Some(with).filter(|with| !with.cte_tables.is_empty()),
            body: Box::new(SetExpr::Select(Box::new(select))),
            ..self.template.clone()
        };
        let plan = bind_query(self.context, &query);
        plan.and_then(|plan| typed(plan, Engine::Streams, self.context)).err()
    }

    fn expression(&mut self, select: &Select, expr: &Expr) -> Found {
        if self.cannot_be_alone(expr) {
            return Found::Continue(());
        }
        let Some(error) = self.errors(select, expr) else { return Found::Continue(()) };
        let mut errors = collected(&error);
        if !errors.iter().all(is_of_expression) {
            return Found::Continue(());
        }
        if errors.iter().any(|error| error.message.contains(LITERALS))
            && let Some(error) = self.errors(select, &with_types(expr))
        {
            errors = of_literals(errors, &collected(&error));
        }
        let place = |error: SqlError| {
            let literal = place::literal_in(&error.message, expr)
                .or_else(|| place::quoted_in(&error.message, expr));
            error.or_at(literal.unwrap_or_else(|| expr.span()))
        };
        Found::Break(SqlErrors(errors.into_iter().map(place).collect()))
    }

    /// Tells whether an expression has another meaning, or none, in a SELECT of its own.
    fn cannot_be_alone(&self, expr: &Expr) -> bool {
        let known = |call: &Function| {
            let name = call.name.to_string();
            let functions = self.context.functions;
            functions.udf(&name).is_ok()
                || functions.udaf(&name).is_ok()
                || functions.udwf(&name).is_ok()
        };
        let found = visit_expressions(expr, |part| match part {
            Expr::Function(call) if !known(call) => ControlFlow::Break(()),
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        });
        found.is_break()
    }
}

/// Says of whole numbers that are written down which type they have in SQL, where that is INT.
fn with_types(expr: &Expr) -> Expr {
    let mut expr = expr.clone();
    let _ = visit_expressions_mut(&mut expr, |part| {
        if let Expr::Value(value) = part
            && let Value::Number(digits, _) = &value.value
            && digits.parse::<i32>().is_ok()
        {
            *part = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(part.clone()),
                data_type: DataType::Int(None),
                array: false,
                format: None,
            };
        }
        ControlFlow::<()>::Continue(())
    });
    expr
}

fn one() -> Expr {
    Expr::Value(Value::Number("1".to_owned(), false).into())
}

/// Errors that are not because the expression stands alone.
fn is_of_expression(error: &SqlError) -> bool {
    matches!(error.code, SqlErrorCode::Type | SqlErrorCode::Unsupported)
        && !error.message.contains("GROUP BY")
}

/// Returns a SELECT of nothing from the same tables, with every condition left out.
fn without_conditions(select: &Select) -> Select {
    let mut plain = select.clone();
    plain.distinct = None;
    plain.projection.clear();
    plain.selection = None;
    plain.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
    plain.having = None;
    plain.qualify = None;
    for join in plain.from.iter_mut().flat_map(|from| &mut from.joins) {
        if let Some(JoinConstraint::On(condition)) = constraint(&mut join.join_operator) {
            *condition = Expr::Value(Value::Boolean(true).into());
        }
    }
    plain
}

/// Visits the queries inside a part of a statement.
struct Queries<'t, 'a>(&'t mut Trial<'a>);

impl Visitor for Queries<'_, '_> {
    type Break = SqlErrors;

    fn pre_visit_query(&mut self, query: &Query) -> Found {
        self.0.query(query)
    }
}

/// Visits expressions, inner ones first.
struct Expressions<'t, 'a, 's> {
    trial: &'t mut Trial<'a>,
    select: &'s Select,
    /// How many queries the visit is inside of.
    depth: usize,
}

impl Visitor for Expressions<'_, '_, '_> {
    type Break = SqlErrors;

    fn pre_visit_query(&mut self, query: &Query) -> Found {
        self.depth += 1;
        if self.depth == 1 { self.trial.query(query) } else { Found::Continue(()) }
    }

    fn post_visit_query(&mut self, _query: &Query) -> Found {
        self.depth -= 1;
        Found::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> Found {
        if self.depth > 0 || matches!(expr, Expr::Identifier(_)) {
            return Found::Continue(());
        }
        self.trial.expression(self.select, expr)
    }
}
