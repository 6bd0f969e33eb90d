//! Scripts, statement by statement.

use std::sync::Arc;

use rainstorm_engine::function::{Registry, registry};
use rainstorm_engine::time::ClockRef;
use sqlparser::ast::Ident;
use sqlparser::tokenizer::Span;

use crate::catalog::{Catalog, Relation};
use crate::define::{self, Definer};
use crate::error::{SqlError, SqlErrorCode, SqlErrors, suggest};
use crate::parse::{self, Template};
use crate::query::{self, BoundInsert};
use crate::resolve::resolve_query;
use crate::restore;
use crate::script::{Script, Step};
use crate::session::{QueryContext, Session};
use crate::settings::InvalidSetting;
use crate::show;
use crate::statement::{Insert, ObjectKind, ParsedStatement, Show, Statement};

/// Plans scripts.
///
/// ```
/// use std::sync::Arc;
/// use rainstorm_engine::time::SystemClock;
/// use rainstorm_planner::{Planner, script::{Script, Step}, session::Session};
///
/// let clock: rainstorm_engine::time::ClockRef = Arc::new(SystemClock);
/// let planner = Planner::new(&clock);
/// let mut session = Session::default();
/// let script = Script {
///     text: "CREATE TABLE t (a INT) WITH ('connector' = 'blackhole')".to_owned(),
///     ..Script::default()
/// };
/// let steps = planner.plan(&mut session, &script)?;
/// assert!(matches!(&steps[..], [Step::Done { .. }]));
/// assert!(session.table("t").is_some());
/// # Ok::<(), rainstorm_planner::error::SqlErrors>(())
/// ```
#[derive(Debug, Clone)]
pub struct Planner {
    functions: Arc<Registry>,
}

impl Planner {
    /// Makes a planner whose functions of the current time read `clock`.
    #[must_use]
    pub fn new(clock: &ClockRef) -> Self {
        Self { functions: Arc::new(registry(clock)) }
    }

    /// Returns the functions that plans refer to by name.
    #[must_use]
    pub fn functions(&self) -> &Arc<Registry> {
        &self.functions
    }

    /// Tells whether a text ends with a complete statement, or has none.
    #[must_use]
    pub fn is_complete(text: &str) -> bool {
        parse::is_complete(text)
    }

    /// Plans a whole script and applies its definitions and settings to the session.
    ///
    /// # Errors
    /// All parse errors of the script, or all complaints about its first statement that has any;
    /// the session is then as it was.
    pub fn plan(&self, session: &mut Session, script: &Script) -> Result<Vec<Step>, SqlErrors> {
        let template = Template::new(&script.text, &script.variables)?;
        let plan = || {
            let statements = parse::parse_script(template.text())?;
            let mut run = ScriptPlanner::new(self, session.clone(), &script.base_directory);
            for statement in &statements {
                let place = |error: SqlError| {
                    let text =
                        || parse::quoted_text(template.text(), statement.span, &error.message);
                    let span = if error.line == 0 { text() } else { None };
                    error.or_at(span.unwrap_or(statement.span))
                };
                run.statement(statement)
                    .map_err(|errors| SqlErrors(errors.0.into_iter().map(place).collect()))?;
            }
            run.finish()
        };
        let (planned, steps) = plan().map_err(|errors| template.locate(errors))?;
        *session = planned;
        Ok(steps)
    }

    /// Makes a catalog of the script that [`Catalog::to_script`] gave. A definition that means
    /// nothing any more keeps no other from being read: see [`Catalog::unreadable`].
    ///
    /// # Errors
    /// Where the script does not consist of CREATE statements.
    pub fn catalog(&self, script: &str) -> Result<Catalog, SqlErrors> {
        restore::catalog(&self.functions, script)
    }
}

/// Plans one script.
struct ScriptPlanner<'a> {
    planner: &'a Planner,
    base_directory: &'a str,
    session: Session,
    steps: Vec<Step>,
    /// INSERTs that will be one job.
    pending: Vec<BoundInsert>,
    /// INSERTs of jobs that never end. They run beside what follows.
    endless: Vec<BoundInsert>,
}

impl<'a> ScriptPlanner<'a> {
    fn new(planner: &'a Planner, session: Session, base_directory: &'a str) -> Self {
        Self {
            planner,
            base_directory,
            session,
            steps: Vec::new(),
            pending: Vec::new(),
            endless: Vec::new(),
        }
    }

    fn finish(mut self) -> Result<(Session, Vec<Step>), SqlErrors> {
        self.flush()?;
        Ok((self.session, self.steps))
    }

    fn context(&self) -> QueryContext<'_> {
        QueryContext {
            session: &self.session,
            functions: &self.planner.functions,
            base_directory: Some(self.base_directory),
        }
    }

    fn statement(&mut self, parsed: &ParsedStatement) -> Result<(), SqlErrors> {
        match &parsed.statement {
            Statement::CreateTable(_)
            | Statement::CreateView(_)
            | Statement::CreateFunction(_)
            | Statement::Drop(_) => self.define(&parsed.statement),
            Statement::Insert(inserts) => self.insert(inserts),
            Statement::Query(select) => {
                self.flush()?;
                self.check_reached(parsed.span)?;
                let resolved = resolve_query(self.context(), select)?;
                let step = query::plan_select(self.context(), &resolved)?;
                self.push(step);
                Ok(())
            }
            Statement::Set { .. } | Statement::Reset(_) => self.set(&parsed.statement),
            Statement::Show(Show::Jobs) => {
                self.flush()?;
                self.check_reached(parsed.span)?;
                self.push(Step::ShowJobs);
                Ok(())
            }
            Statement::Show(what) => {
                let rows = show::show(&self.session, &self.planner.functions, *what);
                self.push(Step::Rows(rows));
                Ok(())
            }
            Statement::ShowCreate(name) => {
                let sql = self.relation(name)?.to_sql();
                self.push(Step::Rows(show::text_rows(["sql"], [[sql]])));
                Ok(())
            }
            Statement::Describe(name) => self.describe(name),
            Statement::Explain(statement) => self.explain(statement),
        }
    }

    fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// INSERTs before it are bound already, so that nothing is taken away from them.
    fn define(&mut self, statement: &Statement) -> Result<(), SqlErrors> {
        let definer = Definer {
            functions: &self.planner.functions,
            base_directory: self.base_directory,
            checked: true,
        };
        let session = &mut self.session;
        let message = match statement {
            Statement::CreateTable(create) => definer.create_table(session, create)?,
            Statement::CreateView(create) => definer.create_view(session, create)?,
            Statement::CreateFunction(create) => definer.create_function(session, create)?,
            Statement::Drop(drop) => define::drop(session, drop)?,
            _ => return Ok(()),
        };
        self.push(Step::Done { message });
        Ok(())
    }

    /// A job has one value of each setting, so that one that changes ends the job before it.
    fn set(&mut self, statement: &Statement) -> Result<(), SqlErrors> {
        let refused = |key: &Ident, error: InvalidSetting| SqlError::from(error).or_at(key.span);
        let mut settings = self.session.settings.clone();
        let message = match statement {
            Statement::Set { key, value } => {
                settings.set(&key.value, value).map_err(|error| refused(key, error))?
            }
            Statement::Reset(Some(key)) => {
                settings.reset(&key.value).map_err(|error| refused(key, error))?;
                format!("{} reset", key.value)
            }
            _ => {
                settings.reset_all();
                "all settings reset".to_owned()
            }
        };
        if !settings.list().eq(self.session.settings.list()) {
            self.flush()?;
        }
        self.session.settings = settings;
        self.push(Step::Done { message });
        Ok(())
    }

    fn insert(&mut self, inserts: &[Insert]) -> Result<(), SqlErrors> {
        let bound = self.bind(inserts)?;
        check_set(&bound)?;
        let waits =
            |insert: &BoundInsert| self.pending.iter().any(|before| insert.waits_for(before));
        // One that has enough rows at some time ends then, whatever others do.
        let alone = bound.iter().any(BoundInsert::is_alone);
        if alone || bound.iter().any(waits) {
            self.flush()?;
        }
        for insert in &bound {
            if let Some(before) = self.endless.iter().find(|before| insert.waits_for(before)) {
                return Err(never_reached(insert.span(), before.table_name()));
            }
        }
        self.pending.extend(bound);
        if alone { self.flush() } else { Ok(()) }
    }

    fn bind(&self, inserts: &[Insert]) -> Result<Vec<BoundInsert>, SqlErrors> {
        let mut errors = Vec::new();
        let mut bound = Vec::with_capacity(inserts.len());
        for insert in inserts {
            match BoundInsert::bind(self.context(), insert) {
                Ok(insert) => bound.push(insert),
                Err(found) => errors.extend(found.0),
            }
        }
        SqlErrors::check(errors).map(|()| bound)
    }

    /// Plans the INSERTs that have been gathered as one job.
    fn flush(&mut self) -> Result<(), SqlErrors> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let inserts = std::mem::take(&mut self.pending);
        let job = query::plan_inserts(&self.session.settings, &inserts)?;
        if !job.bounded {
            self.endless.extend(inserts);
        }
        self.push(Step::Job(Box::new(job)));
        Ok(())
    }

    /// Refuses what would wait for all INSERTs before it if one of them never ends.
    fn check_reached(&self, span: Span) -> Result<(), SqlErrors> {
        let tables: Vec<&str> = self.endless.iter().map(BoundInsert::table_name).collect();
        if tables.is_empty() { Ok(()) } else { Err(never_reached(span, &tables.join(", "))) }
    }

    fn relation(&self, name: &Ident) -> Result<&Relation, SqlErrors> {
        self.session.relation(&name.value).ok_or_else(|| {
            let message = format!("there is no table or view '{}'", name.value);
            let suggestion = suggest(&name.value, self.session.relation_names());
            let error = SqlError::at(SqlErrorCode::UnknownTable, name.span, message);
            let unreadable = self.session.unreadable(ObjectKind::Table, &name.value);
            error.with_suggestion(suggestion).with_better_help(unreadable).into()
        })
    }

    fn describe(&mut self, name: &Ident) -> Result<(), SqlErrors> {
        let rows = match self.relation(name)? {
            Relation::Table(table) => show::describe_table(table),
            Relation::View(view) => {
                let schema = query::view_schema(self.context(), view, name.span)?;
                show::describe_schema(&schema)
            }
        };
        self.push(Step::Rows(rows));
        Ok(())
    }

    fn explain(&mut self, statement: &Statement) -> Result<(), SqlErrors> {
        let context = self.context();
        let plans = match statement {
            Statement::Insert(inserts) => {
                query::explain_inserts(&self.session.settings, &self.bind(inserts)?)?
            }
            Statement::Query(select) => {
                query::explain_select(context, &resolve_query(context, select)?)?
            }
            _ => {
                let message = "EXPLAIN takes a SELECT or INSERTs";
                let code = SqlErrorCode::InvalidStatement;
                return Err(SqlError::at(code, Span::empty(), message).into());
            }
        };
        let text: Vec<String> =
            plans.into_iter().map(|(kind, text)| format!("== {kind} ==\n{text}")).collect();
        self.push(Step::Rows(show::lines("plan", &text.join("\n\n"))));
        Ok(())
    }
}

fn never_reached(span: Span, tables: &str) -> SqlErrors {
    let message = format!("this is never reached: the INSERT INTO {tables} before it never ends");
    SqlError::at(SqlErrorCode::InvalidStatement, span, message).into()
}

/// The INSERTs of a statement set start together, so none may wait for another.
fn check_set(inserts: &[BoundInsert]) -> Result<(), SqlErrors> {
    let mut errors = Vec::new();
    for insert in inserts {
        // One alone may read what it writes.
        let mut others = inserts.iter().filter(|_| inserts.len() > 1);
        if let Some(table) = others.find_map(|other| insert.reads_of(other)) {
            let name = &table.name;
            let message =
                format!("this reads '{name}', which another INSERT of the statement set writes");
            errors.push(SqlError::at(SqlErrorCode::InvalidStatement, insert.span(), message));
        }
    }
    SqlErrors::check(errors)
}

#[cfg(test)]
mod catalog_tests;
#[cfg(test)]
mod dialect_tests;
#[cfg(test)]
mod hint_tests;
#[cfg(test)]
mod tests;
