//! Whether a query streams or is answered in batch.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::LogicalPlan;
use sqlparser::tokenizer::Span;

use crate::analysis::describe;
use crate::catalog::CatalogTable;
use crate::error::{SqlErrorCode, SqlErrors, unsupported};
use crate::settings::RuntimeMode;

/// A plan for either engine.
#[derive(Debug)]
pub(super) enum Planned<S, B> {
    /// As a job of streams.
    Stream(S),
    /// By DataFusion, once all rows are there.
    Batch(B),
}

/// What the choice depends on, beside the mode.
#[derive(Debug)]
pub(super) struct Inputs {
    /// A table that never ends.
    pub(super) endless: Option<String>,
    /// Whether all tables are plain files and nothing of streaming is used.
    pub(super) are_files: bool,
}

impl Inputs {
    /// Looks at the tables of a bound query.
    ///
    /// # Errors
    /// Options of tables that are wrong.
    pub(super) fn of(plan: &LogicalPlan) -> DataFusionResult<Self> {
        let mut inputs = Self { endless: None, are_files: true };
        plan.apply_with_subqueries(|node| {
            match node {
                LogicalPlan::TableScan(scan) => match CatalogTable::definition_of(&scan.source) {
                    Some(table) => {
                        inputs.are_files &= table.connector == "filesystem";
                        if !describe(table)?.bounded {
                            inputs.are_files = false;
                            inputs.endless.get_or_insert_with(|| table.name.clone());
                        }
                    }
                    None => inputs.are_files = false,
                },
                LogicalPlan::Extension(_) => inputs.are_files = false,
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(inputs)
    }
}

/// Plans a query in the way that the mode asks for. Where that is left open, `prefers_batch` tells
/// whether batch comes first; else it takes what streams do not support and what ends.
///
/// # Errors
/// What is wrong with the query or not supported: in the words of streams where both refuse it.
pub(super) fn choose<S, B>(
    mode: RuntimeMode,
    inputs: &Inputs,
    prefers_batch: bool,
    stream: impl FnOnce() -> Result<S, SqlErrors>,
    batch: impl FnOnce() -> Result<B, SqlErrors>,
) -> Result<Planned<S, B>, SqlErrors> {
    match (mode, &inputs.endless) {
        (RuntimeMode::Streaming, _) | (RuntimeMode::Automatic, Some(_)) => {
            stream().map(Planned::Stream).map_err(|refused| with_way_out(refused, inputs, batch))
        }
        (RuntimeMode::Batch, Some(table)) => {
            let message = format!("table '{table}' never ends: in batch mode it is not supported");
            let help = "SET 'execution.runtime-mode' = 'streaming', or bound its number of rows";
            Err(unsupported(Span::empty(), message).with_help(help).into())
        }
        (RuntimeMode::Batch, None) => batch().map(Planned::Batch),
        (RuntimeMode::Automatic, None) if prefers_batch => batch().map(Planned::Batch),
        (RuntimeMode::Automatic, None) => match stream() {
            Err(refused) if is_unsupported(&refused) => {
                batch().map(Planned::Batch).map_err(|_| refused)
            }
            planned => planned.map(Planned::Stream),
        },
    }
}

/// Says of what streams do not support that batch does.
fn with_way_out<B>(
    mut refused: SqlErrors,
    inputs: &Inputs,
    batch: impl FnOnce() -> Result<B, SqlErrors>,
) -> SqlErrors {
    if !is_unsupported(&refused) || batch().is_err() {
        return refused;
    }
    let way_out = match &inputs.endless {
        Some(table) => format!("over tables that end it is supported, but '{table}' never ends"),
        None => "in batch mode it is supported".to_owned(),
    };
    for error in &mut refused.0 {
        error.help = Some(match error.help.take() {
            Some(help) => format!("{help}; {way_out}"),
            None => way_out.clone(),
        });
    }
    refused
}

fn is_unsupported(errors: &SqlErrors) -> bool {
    errors.0.iter().all(|error| error.code == SqlErrorCode::Unsupported)
}
