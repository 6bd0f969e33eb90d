//! A master whose answers are given.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use arrow::array::{Int8Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use futures::stream::{self, Stream, StreamExt};
use rainstorm_proto::client as proto;
use rainstorm_proto::client::client_server::{Client, ClientServer};
use rainstorm_proto::client::execute_event::Event;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

type Events = Pin<Box<dyn Stream<Item = Result<proto::ExecuteEvent, Status>> + Send>>;

/// How an answer goes on after its events.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    End,
    /// More may come, but does not.
    Wait,
    /// The last event is repeated for ever.
    Repeat,
}

pub(crate) struct FakeMaster {
    events: Vec<Event>,
    then: Then,
    /// Cancelling takes for ever.
    stuck: bool,
    seen: Arc<Seen>,
}

/// What the master was asked.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) requests: Mutex<Vec<proto::ExecuteRequest>>,
    pub(crate) cancelled: Mutex<Vec<String>>,
}

/// Starts a master that answers every request with `events`; returns its address.
pub(crate) async fn start(events: Vec<Event>, then: Then, stuck: bool) -> (String, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let master = FakeMaster { events, then, stuck, seen: Arc::clone(&seen) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tonic::transport::Server::builder().add_service(ClientServer::new(master));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (address, seen)
}

#[tonic::async_trait]
impl Client for FakeMaster {
    type ExecuteStream = Events;

    async fn execute(
        &self,
        request: Request<proto::ExecuteRequest>,
    ) -> Result<Response<Events>, Status> {
        self.seen.requests.lock().unwrap().push(request.into_inner());
        let event = |event| Ok(proto::ExecuteEvent { event: Some(event) });
        let first = stream::iter(self.events.clone()).map(event);
        let rest: Events = match self.then {
            Then::End => stream::empty().boxed(),
            Then::Wait => stream::pending().boxed(),
            Then::Repeat => stream::repeat(self.events.last().unwrap().clone()).map(event).boxed(),
        };
        Ok(Response::new(first.chain(rest).boxed()))
    }

    async fn list_jobs(
        &self,
        _: Request<proto::ListJobsRequest>,
    ) -> Result<Response<proto::ListJobsReply>, Status> {
        let job = proto::Job {
            id: "copy-1".into(),
            name: "copy".into(),
            state: "running".into(),
            started_ms: 978_307_200_000,
            rows_in: 5,
            ..proto::Job::default()
        };
        Ok(Response::new(proto::ListJobsReply { jobs: vec![job] }))
    }

    async fn cancel_job(
        &self,
        request: Request<proto::CancelJobRequest>,
    ) -> Result<Response<proto::CancelJobReply>, Status> {
        let job_id = request.into_inner().job_id;
        if job_id == "unknown" {
            return Err(Status::not_found("job unknown does not exist"));
        }
        self.seen.cancelled.lock().unwrap().push(job_id);
        if self.stuck {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(proto::CancelJobReply {}))
    }
}

pub(crate) fn job_started() -> Event {
    let (job_id, bounded) = ("job-1".into(), true);
    Event::JobStarted(proto::JobStarted { job_id, bounded, ..proto::JobStarted::default() })
}

/// Announces rows of a table's columns.
pub(crate) fn rows_started(
    rows: &RecordBatch,
    retracts: bool,
    bounded: bool,
) -> proto::RowsStarted {
    let schema = rows.schema();
    proto::RowsStarted {
        schema: ipc(&schema, &[]),
        visible: schema.fields().len() as u32,
        retracts,
        bounded,
        ..proto::RowsStarted::default()
    }
}

/// Gives rows, with their weights where there are any.
pub(crate) fn rows(rows: &RecordBatch, weights: Option<Vec<i8>>) -> Event {
    let rows = match weights {
        None => rows.clone(),
        Some(weights) => {
            let weight = Arc::new(Field::new("__weight", DataType::Int8, false));
            let fields = rows.schema().fields().iter().cloned().chain([weight]).collect::<Vec<_>>();
            let weights = Arc::new(Int8Array::from(weights)) as _;
            let columns = rows.columns().iter().cloned().chain([weights]).collect();
            RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
        }
    };
    Event::Rows(proto::Rows { batches: ipc(&rows.schema(), std::slice::from_ref(&rows)) })
}

fn ipc(schema: &SchemaRef, batches: &[RecordBatch]) -> bytes::Bytes {
    let mut writer = StreamWriter::try_new(Vec::new(), schema).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner().unwrap().into()
}
