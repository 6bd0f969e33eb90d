//! What a client is told while its script runs.

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use rainstorm_engine::graph::ChangelogMode;
use rainstorm_engine::{Error, JobId};
use rainstorm_planner::error::{SqlError, SqlErrors};
use rainstorm_planner::script::QueryOutput;
use rainstorm_proto::client::execute_event::Event;
use rainstorm_proto::client::{
    ExecuteEvent, Failed, Rows, RowsFinished, RowsStarted, SortColumn, UpsertKey,
};
use tokio::sync::mpsc;
use tonic::Status;

use crate::exchange::encode_streams;
use crate::job::Failure;

/// Where a client's events go.
pub(super) type Events = mpsc::Sender<Result<ExecuteEvent, Status>>;

/// Why a script stops. What was published before stays.
pub(super) enum Stop {
    Failed(Failed),
    /// Somebody cancelled this job.
    Cancelled(JobId),
    /// The client is gone.
    Gone,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        let Failure { message, causes, .. } = failure;
        Self::Failed(Failed { sql_errors: Vec::new(), message, causes })
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Failure::from(error).into()
    }
}

impl From<SqlErrors> for Stop {
    fn from(errors: SqlErrors) -> Self {
        let message = errors.to_string();
        let sql_errors = errors.0.into_iter().map(to_wire).collect();
        Self::Failed(Failed { sql_errors, message, causes: Vec::new() })
    }
}

/// Tells the client something.
pub(super) async fn send(events: &Events, event: Event) -> Result<(), Stop> {
    events.send(Ok(ExecuteEvent { event: Some(event) })).await.map_err(|_| Stop::Gone)
}

/// Shows rows that are all known.
pub(super) async fn show(
    events: &Events,
    schema: SchemaRef,
    rows: Vec<RecordBatch>,
) -> Result<(), Stop> {
    send(events, rows_started(&schema, None, true)?).await?;
    for batch in rows {
        send_rows(events, &batch).await?;
    }
    send(events, Event::RowsFinished(RowsFinished {})).await
}

/// Sends rows in messages of a bounded size. Where the client is slow, this waits for it.
pub(super) async fn send_rows(events: &Events, rows: &RecordBatch) -> Result<(), Stop> {
    for batches in encode_streams(rows)? {
        send(events, Event::Rows(Rows { batches })).await?;
    }
    Ok(())
}

pub(super) fn rows_started(
    schema: &Schema,
    query: Option<&QueryOutput>,
    bounded: bool,
) -> Result<Event, Stop> {
    let mut started = RowsStarted {
        schema: encode_schema(schema)?,
        visible: schema.fields().len() as u32,
        bounded,
        ..RowsStarted::default()
    };
    if let Some(query) = query {
        started.visible = query.visible as u32;
        started.retracts = query.changelog == ChangelogMode::Retract;
        started.order_by = query
            .order_by
            .iter()
            .map(|sort| SortColumn {
                index: sort.index as u32,
                descending: sort.descending,
                nulls_first: sort.nulls_first,
            })
            .collect();
        started.upsert_key = query
            .upsert_key
            .as_ref()
            .map(|key| UpsertKey { columns: key.iter().map(|column| *column as u32).collect() });
        started.offset = query.offset as u64;
        started.limit = query.limit.map(|limit| limit as u64);
    }
    Ok(Event::RowsStarted(started))
}

fn encode_schema(schema: &Schema) -> Result<Bytes, Stop> {
    let bytes = StreamWriter::try_new(Vec::new(), schema).and_then(StreamWriter::into_inner);
    Ok(bytes.map_err(|error| Error::compute("encode a schema", error))?.into())
}

fn to_wire(error: SqlError) -> rainstorm_proto::client::SqlError {
    rainstorm_proto::client::SqlError {
        code: error.code.as_str().to_owned(),
        message: error.message,
        line: error.line as u32,
        column: error.column as u32,
        length: error.length as u32,
        help: error.help.unwrap_or_default(),
    }
}
