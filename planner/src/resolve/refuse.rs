//! Syntax that the parser knows and the planner does not: DataFusion would take it for something
//! else, ignore it, or complain without a place.

use std::ops::ControlFlow;

use rainstorm_engine::function::Registry;
use sqlparser::ast::{
    Distinct, Expr, Fetch, LimitClause, Query, Select, SelectItem, Spanned, TableFactor,
    TopQuantity, Value, ValueWithSpan, Visit, Visitor,
};
use sqlparser::tokenizer::Span;

use crate::error::{SqlError, SqlErrorCode};
use crate::parse::PARTITION;

/// Returns a complaint for each part of a statement that is not supported, by its name.
pub(super) fn unsupported<T: Visit>(node: &T) -> Vec<SqlError> {
    let mut refusals = Refusals::default();
    let _ = node.visit(&mut refusals);
    refusals.0
}

/// Returns a complaint for each aggregate or window function in a clause, but for those in queries
/// inside of it.
pub(super) fn of_several_rows<T: Visit>(
    node: &T,
    clause: &str,
    functions: &Registry,
) -> Vec<SqlError> {
    let mut found = OfSeveralRows { clause, functions, depth: 0, errors: Vec::new() };
    let _ = node.visit(&mut found);
    found.errors
}

struct OfSeveralRows<'a> {
    clause: &'a str,
    functions: &'a Registry,
    /// How many queries the visit is inside of.
    depth: usize,
    errors: Vec<SqlError>,
}

impl Visitor for OfSeveralRows<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let (kind, help) = if call.over.is_some() {
            ("window", "compute it in a query of its own, in FROM")
        } else if self.functions.aggregate(&call.name.to_string()).is_none() {
            return ControlFlow::Continue(());
        } else if self.clause == "WHERE" {
            ("aggregate", "use HAVING")
        } else {
            ("aggregate", "compute it in a query of its own, in FROM")
        };
        if self.depth == 0 {
            let message = format!("{kind} functions are not allowed in {}", self.clause);
            let error = SqlError::at(SqlErrorCode::Type, call.name.span(), message);
            self.errors.push(error.with_help(help));
        }
        ControlFlow::Continue(())
    }
}

#[derive(Default)]
struct Refusals(Vec<SqlError>);

impl Refusals {
    fn add(&mut self, span: Span, what: &str) {
        self.0.push(refusal(span, what));
    }

    fn add_with_help(&mut self, span: Span, what: &str, help: &str) {
        self.0.push(refusal(span, what).with_help(help));
    }
}

fn refusal(span: Span, what: &str) -> SqlError {
    SqlError::at(SqlErrorCode::Unsupported, span, format!("{what} is not supported"))
}

impl Visitor for Refusals {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if let Some(Fetch { quantity, with_ties, percent }) = &query.fetch {
            let span = quantity.as_ref().map_or_else(|| query.span(), Spanned::span);
            let has_limit = match &query.limit_clause {
                Some(LimitClause::LimitOffset { limit, .. }) => limit.is_some(),
                Some(LimitClause::OffsetCommaLimit { .. }) => true,
                None => false,
            };
            if *with_ties {
                self.add(span, "FETCH … WITH TIES");
            } else if *percent {
                self.add(span, "FETCH … PERCENT");
            } else if has_limit {
                self.add_with_help(span, "LIMIT together with FETCH", "write one of them");
            }
        }
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
            for (clause, count) in
                [("LIMIT", limit.as_ref()), ("OFFSET", offset.as_ref().map(|offset| &offset.value))]
            {
                if let Some(count @ Expr::Subquery(_)) = count {
                    self.add(count.span(), &format!("{clause} of a query"));
                }
            }
        }
        if !query.locks.is_empty() || query.for_clause.is_some() {
            self.add(query.body.span(), "SELECT … FOR");
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let token = select.select_token.0.span;
        if let Some(top) = &select.top {
            let rows = match &top.quantity {
                Some(TopQuantity::Constant(rows)) => rows.to_string(),
                Some(TopQuantity::Expr(rows)) => rows.to_string(),
                None => "n".to_owned(),
            };
            self.add_with_help(token, "TOP", &format!("write LIMIT {rows} at the end"));
        }
        if let Some(into) = &select.into {
            self.add_with_help(into.name.span(), "SELECT INTO", "write INSERT INTO … SELECT");
        }
        // Which of several rows is the first depends on an order that streams do not have, and
        // DataFusion's rule for it panics on plans of ours.
        if let Some(Distinct::On(exprs)) = &select.distinct {
            let span = exprs.first().map_or(token, Spanned::span);
            let help = "use GROUP BY, with FIRST_VALUE or MIN for the others";
            self.add_with_help(span, "DISTINCT ON", help);
        }
        for item in &select.projection {
            let (SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options)) = item
            else {
                continue;
            };
            let except = if options.opt_except.is_some() {
                "* EXCEPT"
            } else if options.opt_exclude.is_some() {
                "* EXCLUDE"
            } else {
                continue;
            };
            self.add_with_help(item.span(), except, "name the columns");
        }
        let clauses = [
            ("CLUSTER BY", select.cluster_by.first().map(Spanned::span)),
            ("DISTRIBUTE BY", select.distribute_by.first().map(Spanned::span)),
            ("SORT BY", select.sort_by.first().map(|sort| sort.expr.span())),
            ("LATERAL VIEW", select.lateral_views.first().map(|view| view.lateral_view.span())),
            ("PREWHERE", select.prewhere.as_ref().map(Spanned::span)),
            ("CONNECT BY", select.connect_by.first().map(|_| token)),
        ];
        for (clause, span) in clauses {
            if let Some(span) = span {
                self.add(span, clause);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let (what, span) = match factor {
            TableFactor::Pivot { table, .. } => ("PIVOT", table.span()),
            TableFactor::Unpivot { table, .. } => ("UNPIVOT", table.span()),
            TableFactor::MatchRecognize { table, .. } => ("MATCH_RECOGNIZE", table.span()),
            TableFactor::JsonTable { json_expr, .. } => ("JSON_TABLE", json_expr.span()),
            TableFactor::OpenJsonTable { json_expr, .. } => ("OPENJSON", json_expr.span()),
            TableFactor::XmlTable { row_expression, .. } => ("XMLTABLE", row_expression.span()),
            TableFactor::SemanticView { name, .. } => ("SEMANTIC_VIEW", name.span()),
            TableFactor::Table { name, sample: Some(_), .. } => ("TABLESAMPLE", name.span()),
            TableFactor::Derived { subquery, sample: Some(_), .. } => {
                ("TABLESAMPLE", subquery.span())
            }
            TableFactor::Function { lateral: true, name, .. } => {
                self.add(name.span(), &format!("LATERAL {name}"));
                return ControlFlow::Continue(());
            }
            _ => return ControlFlow::Continue(()),
        };
        self.add(span, what);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let (what, span, help) = match expr {
            Expr::SimilarTo { expr, .. } => ("SIMILAR TO", expr.span(), "use REGEXP_LIKE"),
            Expr::Value(ValueWithSpan { value: Value::Placeholder(_), span }) => {
                ("a parameter", *span, "write the value, or ${NAME} and -D NAME=value")
            }
            Expr::Prefixed { prefix, value }
                if prefix.value == PARTITION && matches!(**value, Expr::Identifier(_)) =>
            {
                ("PARTITION BY of a session window", value.span(), "use TUMBLE or HOP")
            }
            Expr::InSubquery { expr, .. } if matches!(**expr, Expr::Tuple(_)) => {
                let help = "write EXISTS (SELECT … WHERE …), or join";
                ("IN (SELECT …) of several columns", expr.span(), help)
            }
            Expr::Substring { expr, substring_from: None, substring_for: None, .. } => {
                ("SUBSTRING of one argument", expr.span(), "say from where: SUBSTRING(text, 1, 3)")
            }
            _ => return ControlFlow::Continue(()),
        };
        self.add_with_help(span, what, help);
        ControlFlow::Continue(())
    }
}
