//! `TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL …))` and its relatives.

use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlan};
use rainstorm_engine::graph::Window;
use sqlparser::ast::{
    Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    Spanned, TableAlias, TableFactor,
};
use sqlparser::tokenizer::Span;

use crate::error::{SqlError, SqlErrorCode, fail, unsupported};
use crate::hint;
use crate::interval::interval_ms;
use crate::stream::{
    Domain, Results, TimeColumn, WindowPart, WindowTable, derive, plan_of, time_of,
};

/// Plans windowing table functions, with `TABLE(…)` around them or not, with `TABLE` and
/// `DESCRIPTOR` inside or, as RisingWave has it, not.
#[derive(Debug)]
pub(super) struct WindowTablePlanner;

/// The windowing table functions with the names of their arguments.
const FUNCTIONS: &[(&str, &[&str])] = &[
    ("TUMBLE", &["DATA", "TIMECOL", "SIZE", "OFFSET"]),
    ("HOP", &["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"]),
    ("CUMULATE", &["DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"]),
    ("SESSION", &[]),
];

struct Call {
    function: &'static str,
    names: &'static [&'static str],
    args: Vec<FunctionArg>,
    alias: Option<TableAlias>,
    /// Where the function's name stands.
    span: Span,
}

/// Names of arguments by which a group window says what else it needs; nobody can write them.
pub(super) const GROUPED: &str = "GROUP BY";
/// The window's time must be an event time: TUMBLE_ROWTIME is asked for.
pub(super) const ROWTIME: &str = "its ROWTIME";
/// The window's time must be a processing time: TUMBLE_PROCTIME is asked for.
pub(super) const PROCTIME: &str = "its PROCTIME";

/// Returns the names of a windowing function's arguments.
pub(super) fn argument_names(function: &str) -> &'static [&'static str] {
    FUNCTIONS.iter().find(|(known, _)| *known == function).map_or(&[], |(_, names)| *names)
}

impl RelationPlanner for WindowTablePlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let Some(call) = call_of(&relation) else {
            if let TableFactor::TableFunction { expr, .. } = &relation {
                let message = format!("table function {expr} is not supported");
                return Err(fail(unsupported(expr.span(), message)));
            }
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        if call.function == "SESSION" {
            return Err(fail(unsupported(call.span, "SESSION windows are not supported")));
        }
        let plan = call.plan(context)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, call.alias))))
    }
}

fn call_of(relation: &TableFactor) -> Option<Call> {
    let (name, args, alias, span) = match relation {
        TableFactor::TableFunction { expr: SqlExpr::Function(call), alias } => {
            let FunctionArguments::List(list) = &call.args else { return None };
            (&call.name, &list.args, alias, call.name.span())
        }
        TableFactor::Table { name, alias, args: Some(args), .. } => {
            (name, &args.args, alias, name.span())
        }
        TableFactor::Function { name, args, alias, .. } => (name, args, alias, name.span()),
        _ => return None,
    };
    let wanted = name.to_string().to_uppercase();
    let (function, names) = FUNCTIONS.iter().copied().find(|(known, _)| *known == wanted)?;
    Some(Call { function, names, args: args.clone(), alias: alias.clone(), span })
}

impl Call {
    fn plan(&self, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
        let input = context.plan(self.data()?)?;
        let (time, domain) = self.time(&input)?;
        self.check_kind(domain == Domain::Event)?;
        let length = |name, context: &mut dyn RelationPlannerContext| match self.argument(name)? {
            Some(expr) => milliseconds(expr, context),
            None => Err(self.wrong(format!("{} lacks {name}", self.function))),
        };
        let offset_ms = match self.argument("OFFSET")? {
            Some(expr) => milliseconds(expr, context)?,
            None => 0,
        };
        let size_ms = length("SIZE", context)?;
        let window = match self.function {
            "TUMBLE" => Window::Tumble { size_ms, offset_ms },
            "HOP" => Window::Hop { size_ms, slide_ms: length("SLIDE", context)?, offset_ms },
            _ => Window::Cumulate { size_ms, step_ms: length("STEP", context)?, offset_ms },
        };
        self.check(&window)?;
        Ok(plan_of(WindowTable::try_new(input, window, time.map(Expr::Column))?))
    }

    fn check(&self, window: &Window) -> Result<()> {
        let (size, part, part_name) = match *window {
            Window::Tumble { size_ms, .. } => (size_ms, size_ms, "size"),
            Window::Hop { size_ms, slide_ms, .. } => (size_ms, slide_ms, "slide"),
            Window::Cumulate { size_ms, step_ms, .. } => (size_ms, step_ms, "step"),
        };
        if size <= 0 || part <= 0 {
            return Err(self.wrong(format!("{} needs positive lengths of time", self.function)));
        }
        if size % part != 0 {
            return Err(self.wrong(format!(
                "{} needs a size that is a multiple of its {part_name}",
                self.function
            )));
        }
        Ok(())
    }

    fn wrong(&self, message: String) -> datafusion::error::DataFusionError {
        let names = if self.is_grouped() { &self.names[1..] } else { self.names };
        let forms = format!("{}({})", self.function, names.join(", "));
        fail(
            SqlError::at(SqlErrorCode::InvalidStatement, self.span, message)
                .with_help(format!("the arguments are {forms}; OFFSET may be left out")),
        )
    }

    /// Tells whether it was written in GROUP BY.
    fn is_grouped(&self) -> bool {
        self.asked(GROUPED).is_some()
    }

    /// Returns where a group window asks for something.
    fn asked(&self, wanted: &str) -> Option<Span> {
        self.args.iter().find_map(|arg| match arg {
            FunctionArg::Named { name, .. } if name.value == wanted => Some(name.span),
            _ => None,
        })
    }

    /// Refuses TUMBLE_ROWTIME and its relatives where the window's time is of the other kind.
    fn check_kind(&self, is_event_time: bool) -> Result<()> {
        let (wrong, kind, right) = if is_event_time {
            (PROCTIME, "event", "ROWTIME")
        } else {
            (ROWTIME, "processing", "PROCTIME")
        };
        let Some(span) = self.asked(wrong) else { return Ok(()) };
        let asked = wrong.trim_start_matches("its ");
        let function = self.function;
        let message = format!("{function}_{asked} of a window over {kind} time");
        let error = SqlError::at(SqlErrorCode::InvalidStatement, span, message);
        Err(fail(error.with_help(format!("write {function}_{right}"))))
    }

    /// Finds an argument by its name or its place.
    fn argument(&self, wanted: &str) -> Result<Option<&SqlExpr>> {
        let place = self.names.iter().position(|name| *name == wanted);
        for (index, arg) in self.args.iter().enumerate() {
            let (matches, value) = match arg {
                FunctionArg::Named { name, arg, .. } => {
                    (name.value.eq_ignore_ascii_case(wanted), arg)
                }
                FunctionArg::ExprNamed { name, arg, .. } => {
                    (name.to_string().eq_ignore_ascii_case(wanted), arg)
                }
                FunctionArg::Unnamed(arg) => (Some(index) == place, arg),
            };
            if matches {
                return match value {
                    FunctionArgExpr::Expr(expr) => Ok(Some(expr)),
                    other => Err(self.wrong(format!("{other} is no argument"))),
                };
            }
        }
        Ok(None)
    }

    /// Returns the table that is cut into windows.
    fn data(&self) -> Result<TableFactor> {
        let (data, hints) = match self.argument("DATA")? {
            Some(SqlExpr::Prefixed { value, .. }) => {
                let (table, hints) = hint::parts(value);
                (Some(table), hints)
            }
            other => (other, &[] as &[SqlExpr]),
        };
        match data {
            Some(SqlExpr::Identifier(name)) => Ok(named(vec![name.clone()], hints)),
            Some(SqlExpr::CompoundIdentifier(names)) => Ok(named(names.clone(), hints)),
            Some(SqlExpr::Subquery(query)) => Ok(TableFactor::Derived {
                lateral: false,
                subquery: query.clone(),
                alias: None,
                sample: None,
            }),
            Some(SqlExpr::Nested(inner)) => match inner.as_ref() {
                SqlExpr::Subquery(query) => Ok(TableFactor::Derived {
                    lateral: false,
                    subquery: query.clone(),
                    alias: None,
                    sample: None,
                }),
                _ => Err(self.wrong(format!("{} needs a table", self.function))),
            },
            _ => Err(self.wrong(format!("{} needs a table", self.function))),
        }
    }

    /// Returns the column by which rows fall into windows, `None` where the clock decides, and
    /// whose time it is.
    fn time(&self, input: &LogicalPlan) -> Result<(Option<Column>, Domain)> {
        let Some(argument) = self.argument("TIMECOL")? else {
            if self.is_grouped() && self.argument("SIZE")?.is_some() {
                return Ok((Some(self.only_event_time(input)?), Domain::Event));
            }
            return Err(self.wrong(format!("{} lacks its time's column", self.function)));
        };
        let (names, span) = match argument {
            SqlExpr::Function(call) => (descriptor(call), call.span()),
            SqlExpr::Identifier(name) => (Some(vec![name.clone()]), name.span),
            SqlExpr::CompoundIdentifier(names) => (Some(names.clone()), argument.span()),
            other => (None, other.span()),
        };
        let Some(names) = names else {
            return Err(self.wrong(format!("{} needs DESCRIPTOR(column)", self.function)));
        };
        let column = resolve(input.schema(), &names)?;
        let time = time_of(input, &column)?;
        if time == Some(TimeColumn::Processing) {
            return Ok((None, Domain::Clock));
        }
        match time.and_then(cut_by) {
            Some(domain) => Ok((Some(column), domain)),
            None => Err(fail(
                SqlError::at(
                    SqlErrorCode::InvalidStatement,
                    span,
                    format!("{} over '{}', which is no time attribute", self.function, column.name),
                )
                .with_help(format!(
                    "declare WATERMARK FOR {} in CREATE TABLE, or a column AS PROCTIME()",
                    column.name
                )),
            )),
        }
    }
}

impl Call {
    /// Returns the event time of a table that has one: `GROUP BY tumble(interval …)`, as Arroyo has
    /// it, does not name it.
    fn only_event_time(&self, input: &LogicalPlan) -> Result<Column> {
        let times = derive(input, Results::Changes)?.properties.times;
        let columns = input.schema().columns().into_iter().zip(times);
        let columns: Vec<Column> = columns
            .filter(|(_, time)| time.and_then(cut_by) == Some(Domain::Event))
            .map(|(column, _)| column)
            .collect();
        let [time] = columns.as_slice() else {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            let found = match names.as_slice() {
                [] => "has no event time".to_owned(),
                names => format!("has several event times: {}", names.join(", ")),
            };
            return Err(self.wrong(format!("{} over a table that {found}", self.function)));
        };
        Ok(time.clone())
    }
}

/// Returns whose time it is, where windows can be cut by a column of this time. Of a window only its
/// time goes on being one; start and end are data.
fn cut_by(time: TimeColumn) -> Option<Domain> {
    match time {
        TimeColumn::Event => Some(Domain::Event),
        TimeColumn::Window(WindowPart::Time, window) => Some(window.kind.domain),
        TimeColumn::Window(..) | TimeColumn::Processing => None,
    }
}

fn descriptor(call: &Function) -> Option<Vec<Ident>> {
    let FunctionArguments::List(list) = &call.args else { return None };
    if !call.name.to_string().eq_ignore_ascii_case("descriptor") {
        return None;
    }
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(SqlExpr::Identifier(name)))] => {
            Some(vec![name.clone()])
        }
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(SqlExpr::CompoundIdentifier(names)))] => {
            Some(names.clone())
        }
        _ => None,
    }
}

fn named(names: Vec<Ident>, hints: &[SqlExpr]) -> TableFactor {
    TableFactor::Table {
        name: ObjectName::from(names),
        alias: None,
        args: None,
        with_hints: hints.to_vec(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

fn resolve(schema: &DFSchema, names: &[Ident]) -> Result<Column> {
    let wanted = names.last().map(|name| name.value.as_str()).unwrap_or_default();
    let found = schema.columns().into_iter().find(|column| column.name == wanted);
    found.ok_or_else(|| {
        let span = names.last().map_or_else(Span::empty, |name| name.span);
        let candidates: Vec<&str> =
            schema.fields().iter().map(|field| field.name().as_str()).collect();
        fail(
            SqlError::at(
                SqlErrorCode::UnknownColumn,
                span,
                format!("there is no column '{wanted}'"),
            )
            .with_suggestion(crate::error::suggest(wanted, candidates)),
        )
    })
}

/// Evaluates an INTERVAL to milliseconds.
fn milliseconds(expr: &SqlExpr, context: &mut dyn RelationPlannerContext) -> Result<i64> {
    let value = context.sql_to_expr(expr.clone(), &DFSchema::empty())?;
    let length = match &value {
        Expr::Literal(value, _) => interval_ms(value),
        _ => None,
    };
    length.ok_or_else(|| {
        let message = format!("expected a length of time, found {expr}");
        fail(
            SqlError::at(SqlErrorCode::Type, expr.span(), message).with_help(
                "write it as INTERVAL '10' SECOND; months and years have no fixed length",
            ),
        )
    })
}
