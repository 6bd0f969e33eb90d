use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::ipc::reader::StreamReader;
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use datafusion::execution::TaskContext;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::logical_expr::{ColumnarValue, Operator, ScalarUDF, Volatility, create_udf};
use datafusion::physical_expr::expressions::{binary, col, lit};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::prelude::SessionContext;
use object_store::memory::InMemory;
use rainstorm_engine::connector::ConnectorContext;
use rainstorm_engine::graph::*;
use rainstorm_engine::storage::Storage;
use rainstorm_engine::time::{ClockRef, SystemClock};
use rainstorm_engine::{OperatorId, StageId};
use rainstorm_proto::master::master_server::{Master, MasterServer};
use rainstorm_proto::master::report_request::Report;
use rainstorm_proto::master::{
    FailureKind, HeartbeatReply, HeartbeatRequest, LeaveReply, LeaveRequest, RegisterReply,
    RegisterRequest, ReportReply, ReportRequest, SnapshotReport,
};
use rainstorm_proto::worker as proto;
use rainstorm_proto::worker::results_event::Event as Received;
use rainstorm_proto::worker::worker_client::WorkerClient;
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::*;
use crate::codec::encode_graph;
use crate::exchange::Peer;
use crate::membership::{Event, HeartbeatConfig, Member, Membership, NodeId, Registration, Role};

impl Worker {
    fn runs_anything(&self) -> bool {
        self.jobs().values().any(|known| known.running.is_some())
    }
}

/// Keeps reports for the test.
struct Reports(mpsc::UnboundedSender<ReportRequest>);

#[async_trait]
impl MasterLink for Reports {
    async fn report(&self, request: ReportRequest) -> Result<(), Status> {
        self.0.send(request).map_err(|_| Status::failed_precondition("the test is over"))
    }
}

/// Workers w0, w1, … on free ports, and what they report.
struct Cluster {
    workers: Vec<Worker>,
    clients: Vec<WorkerClient<Channel>>,
    peers: Vec<proto::Peer>,
    reports: mpsc::UnboundedReceiver<ReportRequest>,
    servers: Vec<tokio::task::JoinHandle<()>>,
}

fn panics() -> ScalarUDF {
    let panics = |_: &[ColumnarValue]| -> datafusion::common::Result<ColumnarValue> {
        panic!("this function always does")
    };
    let (int, boolean) = (DataType::Int32, DataType::Boolean);
    create_udf("panics", vec![int], boolean, Volatility::Volatile, Arc::new(panics))
}

fn functions() -> Arc<TaskContext> {
    let context = SessionContext::new();
    context.register_udf(panics());
    context.task_ctx()
}

impl Cluster {
    async fn start(size: usize) -> Self {
        let (sender, reports) = mpsc::unbounded_channel();
        let master: Arc<dyn MasterLink> = Arc::new(Reports(sender));
        let state: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (mut workers, mut clients, mut peers, mut servers) = (vec![], vec![], vec![], vec![]);
        for n in 0..size {
            let config = WorkerConfig {
                id: format!("w{n}"),
                slots: 2,
                state: Arc::clone(&state),
                connectors: ConnectorContext {
                    storage: Storage::default(),
                    clock: Arc::new(SystemClock),
                },
                functions: functions(),
            };
            let worker = Worker::new(config, Arc::clone(&master)).unwrap();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let server = tuned(tonic::transport::Server::builder()).add_service(worker.service());
            let server = server.serve_with_incoming(incoming(listener));
            servers.push(tokio::spawn(async move { server.await.unwrap() }));
            let peer = Peer { worker: format!("w{n}").into(), address: address.as_str().into() };
            clients.push(Peers::default().client(&peer).unwrap());
            peers.push(proto::Peer { worker_id: format!("w{n}"), address });
            workers.push(worker);
        }
        Self { workers, clients, peers, reports, servers }
    }

    /// Deploys a graph with subtask n on worker n modulo their number.
    async fn deploy(
        &mut self,
        graph: &JobGraph,
        attempt: u32,
        splits: &[proto::TaskSplits],
        state: &[proto::StateReference],
    ) -> Result<(), Status> {
        let subtasks = graph.stages.iter().flat_map(|stage| {
            (0..stage.parallelism as u32)
                .map(|subtask| proto::TaskId { stage: stage.id.0, subtask })
        });
        let size = self.peers.len();
        let place = |task: proto::TaskId| proto::Placement {
            worker_id: format!("w{}", task.subtask as usize % size),
            task: Some(task),
        };
        let request = proto::DeployRequest {
            attempt: Some(id(attempt)),
            graph: Some(encode_graph(graph).unwrap()),
            tasks: subtasks.map(place).collect(),
            workers: self.peers.clone(),
            splits: splits.to_vec(),
            state: state.to_vec(),
            state_directory: "jobs/test/state".into(),
        };
        for client in &mut self.clients {
            client.deploy(request.clone()).await?;
        }
        Ok(())
    }

    async fn start_all(&mut self, attempt: u32) {
        for client in &mut self.clients {
            let request = proto::StartRequest { attempt: Some(id(attempt)) };
            client.start(request).await.unwrap();
        }
    }

    async fn trigger(&mut self, attempt: u32, epoch: u64) {
        for client in &mut self.clients {
            let request = proto::TriggerCheckpointRequest { attempt: Some(id(attempt)), epoch };
            client.trigger_checkpoint(request).await.unwrap();
        }
    }

    async fn cancel(&mut self, attempt: u32) {
        for client in &mut self.clients {
            client.cancel(proto::CancelRequest { attempt: Some(id(attempt)) }).await.unwrap();
        }
    }

    /// Reads the client's rows on the first worker, on the side.
    async fn read_results(
        &mut self,
        attempt: u32,
    ) -> tokio::task::JoinHandle<Result<Vec<RecordBatch>, Status>> {
        let request = proto::ResultsRequest { attempt: Some(id(attempt)) };
        let mut stream = self.clients[0].results(request).await.unwrap().into_inner();
        tokio::spawn(async move {
            let mut rows = Vec::new();
            while let Some(event) = stream.message().await? {
                match event.event.unwrap() {
                    Received::Rows(bytes) => {
                        let reader = StreamReader::try_new(std::io::Cursor::new(bytes), None);
                        rows.extend(reader.unwrap().map(Result::unwrap));
                    }
                    Received::End(_) => return Ok(rows),
                }
            }
            panic!("the rows ended without saying so")
        })
    }

    /// Returns the next report of an attempt that is more than progress.
    async fn report(&mut self, attempt: u32) -> (String, Report) {
        loop {
            let request = self.reports.recv().await.expect("a report");
            if let Some(report) = request.report
                && request.attempt == Some(id(attempt))
            {
                return (request.worker_id, report);
            }
        }
    }

    async fn finished(&mut self, attempt: u32, tasks: usize) {
        for _ in 0..tasks {
            let (_, report) = self.report(attempt).await;
            assert!(matches!(report, Report::Finished(_)), "{report:?}");
        }
    }

    /// Returns the reports of one checkpoint, one per worker.
    async fn snapshots(&mut self, attempt: u32) -> Vec<SnapshotReport> {
        let mut snapshots = BTreeMap::new();
        while snapshots.len() < self.workers.len() {
            let (worker, report) = self.report(attempt).await;
            match report {
                Report::Snapshot(snapshot) => {
                    assert!(snapshots.insert(worker, snapshot).is_none());
                }
                Report::Finished(_) | Report::Satisfied(_) => {}
                failed @ Report::Failed(_) => panic!("{failed:?}"),
            }
        }
        snapshots.into_values().collect()
    }

    async fn shut_down(self) {
        for worker in &self.workers {
            worker.shut_down().await;
        }
        self.servers.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

fn count(rows: &[RecordBatch]) -> usize {
    rows.iter().map(RecordBatch::num_rows).sum()
}

fn id(attempt: u32) -> proto::Attempt {
    proto::Attempt { job_id: "test".into(), generation: 1, attempt }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("event_type", DataType::Int32, false)]))
}

fn is_bid() -> Arc<dyn PhysicalExpr> {
    let kind = col("event_type", &schema()).unwrap();
    binary(kind, Operator::Eq, lit(2), &schema()).unwrap()
}

fn division_by_zero() -> Arc<dyn PhysicalExpr> {
    let kind = col("event_type", &schema()).unwrap();
    let divide = binary(kind, Operator::Divide, lit(0), &schema()).unwrap();
    binary(divide, Operator::Eq, lit(1), &schema()).unwrap()
}

fn panicking() -> Arc<dyn PhysicalExpr> {
    let result = Arc::new(Field::new("panics", DataType::Boolean, true));
    let config = Arc::new(datafusion::config::ConfigOptions::default());
    let args = vec![col("event_type", &schema()).unwrap()];
    Arc::new(ScalarFunctionExpr::new("panics", Arc::new(panics()), args, result, config))
}

fn stage(id: u32, parallelism: usize) -> Stage {
    Stage { id: StageId(id), parallelism, source: None, chain: Vec::new(), sink: None }
}

fn edge(from: u32, to: u32, partitioning: Partitioning) -> Edge {
    let changelog = ChangelogMode::AppendOnly;
    let (from, to) = (StageId(from), StageId(to));
    Edge { from, to, port: 0, partitioning, schema: schema(), changelog }
}

/// Two sources, a filter over the exchanged rows, the client.
fn bids(events: u64, condition: Arc<dyn PhysicalExpr>) -> JobGraph {
    let source = SourceSpec {
        id: OperatorId(1),
        table: "events".into(),
        connector: "nexmark".into(),
        options: BTreeMap::from([("events".to_owned(), events.to_string())]),
        table_schema: schema(),
        schema: schema(),
        filters: Vec::new(),
        limit: None,
        prepare: Vec::new(),
        watermark: None,
        query: None,
    };
    let filter = OperatorNode {
        id: OperatorId(2),
        spec: OperatorSpec::Filter(condition),
        inputs: vec![schema()],
        output: schema(),
    };
    let sink = SinkSpec {
        id: OperatorId(3),
        table: "client".into(),
        target: SinkTarget::Client,
        schema: schema(),
        changelog: ChangelogMode::AppendOnly,
        upsert_key: None,
    };
    JobGraph {
        stages: vec![
            Stage { source: Some(source), ..stage(0, 2) },
            Stage { chain: vec![filter], ..stage(1, 2) },
            Stage { sink: Some(sink), ..stage(2, 1) },
        ],
        edges: vec![edge(0, 1, Partitioning::RoundRobin), edge(1, 2, Partitioning::RoundRobin)],
        settings: JobSettings::default(),
    }
}

const KEYS: i64 = 200_000;

/// Counts how often each of the numbers up to [`KEYS`] comes, in one window that fires at the end.
fn counts(aggregates: usize) -> JobGraph {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let field = |name: &str, data_type: &DataType| Field::new(name, data_type.clone(), true);
    let id = field("id", &DataType::Int64);
    let numbers: SchemaRef = Arc::new(Schema::new(vec![id.clone()]));
    let timed: SchemaRef = Arc::new(Schema::new(vec![id.clone(), field("time", &time)]));
    let count = field("count", &DataType::Int64);
    let window = ["window_start", "window_end", "window_time"].map(|name| field(name, &time));
    let fields: Vec<_> = [id, count.clone()].into_iter().chain(window).collect();
    let counted: SchemaRef = Arc::new(Schema::new(fields));

    let mut graph = bids(0, is_bid());
    let source = graph.stages[0].source.as_mut().unwrap();
    source.connector = "datagen".into();
    source.options = [("kind", "sequence"), ("start", "1"), ("end", &KEYS.to_string())]
        .map(|(option, value)| (format!("fields.id.{option}"), value.to_owned()))
        .into();
    source.options.insert("rows-per-second".into(), "100000".into());
    (source.table_schema, source.schema) = (Arc::clone(&numbers), Arc::clone(&numbers));
    let column = |schema: &SchemaRef| col("id", schema).unwrap();
    let zero = lit(ScalarValue::TimestampMillisecond(Some(0), None));
    graph.stages[0].chain = vec![OperatorNode {
        id: OperatorId(4),
        spec: OperatorSpec::Project(vec![column(&numbers), zero]),
        inputs: vec![numbers],
        output: Arc::clone(&timed),
    }];
    let window = Window::Tumble { size_ms: 3_600_000, offset_ms: 0 };
    let call = AggregateCall {
        function: count_udaf(),
        args: vec![column(&timed)],
        filter: None,
        distinct: false,
        order_by: Vec::new(),
        ignore_nulls: false,
        output: Arc::new(count),
    };
    graph.stages[1].parallelism = aggregates;
    graph.stages[1].chain = vec![OperatorNode {
        id: OperatorId(5),
        spec: OperatorSpec::WindowAggregate(WindowAggregateSpec {
            window: WindowSpec::EventTime { window, time: 1 },
            keys: vec![0],
            aggregates: vec![call],
            phase: AggregatePhase::Complete,
        }),
        inputs: vec![Arc::clone(&timed)],
        output: Arc::clone(&counted),
    }];
    graph.stages[2].sink.as_mut().unwrap().schema = Arc::clone(&counted);
    graph.edges[0].partitioning = Partitioning::Hash(vec![0]);
    graph.edges[0].schema = timed;
    graph.edges[1].schema = counted;
    graph
}

async fn splits(graph: &JobGraph) -> Vec<proto::TaskSplits> {
    let source = graph.stages[0].source.as_ref().unwrap();
    let connectors = ConnectorContext { storage: Storage::default(), clock: Arc::new(SystemClock) };
    let source = rainstorm_engine::connector::source(source, &connectors).unwrap();
    let splits = source.splits(2).await.unwrap().into_iter().map(|split| proto::SplitState {
        id: split.id,
        position: split.position,
        watermark_ms: i64::MIN,
        finished: false,
    });
    deal(splits)
}

fn deal(splits: impl Iterator<Item = proto::SplitState>) -> Vec<proto::TaskSplits> {
    let mut dealt: Vec<_> = (0..2)
        .map(|subtask| proto::TaskSplits {
            task: Some(proto::TaskId { stage: 0, subtask }),
            splits: Vec::new(),
        })
        .collect();
    for (n, split) in splits.enumerate() {
        dealt[n % 2].splits.push(split);
    }
    dealt
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_run_a_job_to_its_end_and_hand_in_the_final_checkpoint() {
    let mut cluster = Cluster::start(2).await;
    let graph = bids(100_000, is_bid());
    let splits = splits(&graph).await;
    cluster.deploy(&graph, 0, &splits, &[]).await.unwrap();
    let rows = cluster.read_results(0).await;
    cluster.start_all(0).await;
    assert_eq!(count(&rows.await.unwrap().unwrap()), 92_000);
    cluster.finished(0, 5).await;
    cluster.trigger(0, 1).await;
    let snapshots = cluster.snapshots(0).await;
    let splits = snapshots.iter().flat_map(|snapshot| &snapshot.sources);
    let splits: Vec<_> = splits.flat_map(|source| &source.splits).collect();
    assert!(!splits.is_empty() && splits.iter().all(|split| split.finished), "{splits:?}");
    cluster.cancel(0).await;
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_of_a_running_job_is_where_the_next_attempt_goes_on() {
    let mut cluster = Cluster::start(2).await;
    let graph = bids(500_000_000, is_bid());
    let first = splits(&graph).await;
    cluster.deploy(&graph, 0, &first, &[]).await.unwrap();
    let rows = cluster.read_results(0).await;
    cluster.start_all(0).await;
    cluster.trigger(0, 1).await;
    let snapshots = cluster.snapshots(0).await;
    assert!(snapshots.iter().all(|snapshot| snapshot.epoch == 1));
    cluster.cancel(0).await;
    assert_eq!(rows.await.unwrap().unwrap_err().code(), Code::Aborted);
    let refused = cluster.deploy(&graph, 0, &first, &[]).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");

    let state: Vec<_> = snapshots.iter().filter_map(|snapshot| snapshot.state.clone()).collect();
    let sources = snapshots.iter().flat_map(|snapshot| &snapshot.sources);
    let restored = deal(sources.flat_map(|source| source.splits.clone()));
    assert_ne!(restored, first, "rows had been read before the barrier");
    cluster.deploy(&graph, 1, &restored, &state).await.unwrap();
    let older = proto::StartRequest { attempt: Some(id(0)) };
    assert_eq!(cluster.clients[0].start(older).await.unwrap_err().code(), Code::FailedPrecondition);
    let _rows = cluster.read_results(1).await;
    cluster.start_all(1).await;
    cluster.trigger(1, 2).await;
    assert!(cluster.snapshots(1).await.iter().all(|snapshot| snapshot.epoch == 2));
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_that_comes_after_the_end_leaves_no_attempt_behind() {
    let mut cluster = Cluster::start(1).await;
    let graph = bids(500_000_000, is_bid());
    let splits = splits(&graph).await;
    cluster.cancel(0).await;
    let refused = cluster.deploy(&graph, 0, &splits, &[]).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(!cluster.workers[0].runs_anything());
    // Whichever of them comes first.
    for attempt in 1..20 {
        let mut client = cluster.clients[0].clone();
        let end = proto::CancelRequest { attempt: Some(id(attempt)) };
        let deployed = cluster.deploy(&graph, attempt, &splits, &[]);
        let (ended, deployed) = tokio::join!(client.cancel(end), deployed);
        ended.unwrap();
        let code = deployed.map_err(|refused| refused.code());
        assert!(matches!(code, Ok(()) | Err(Code::FailedPrecondition)), "{code:?}");
        assert!(!cluster.workers[0].runs_anything(), "attempt {attempt}: {code:?}");
    }
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_is_restored_exactly_at_another_parallelism() {
    let mut cluster = Cluster::start(2).await;
    let graph = counts(2);
    let first = splits(&graph).await;
    cluster.deploy(&graph, 0, &first, &[]).await.unwrap();
    let _rows = cluster.read_results(0).await;
    cluster.start_all(0).await;
    let is_file = |state: &proto::StateReference| {
        matches!(state.location, Some(proto::state_reference::Location::Path(_)))
    };
    // Let rows pass until there is so much state that it goes into files.
    let mut epoch = 0;
    let snapshots = loop {
        epoch += 1;
        cluster.trigger(0, epoch).await;
        let snapshots = cluster.snapshots(0).await;
        if snapshots.iter().all(|snapshot| snapshot.state.as_ref().is_some_and(is_file)) {
            break snapshots;
        }
    };
    cluster.cancel(0).await;
    let state: Vec<_> = snapshots.iter().filter_map(|snapshot| snapshot.state.clone()).collect();
    let sources = snapshots.iter().flat_map(|snapshot| &snapshot.sources);
    let restored = deal(sources.flat_map(|source| source.splits.clone()));

    cluster.deploy(&counts(3), 1, &restored, &state).await.unwrap();
    let rows = cluster.read_results(1).await;
    cluster.start_all(1).await;
    let rows = rows.await.unwrap().unwrap();
    let column = |batch: &RecordBatch, index: usize| {
        batch.column(index).as_primitive::<Int64Type>().values().to_vec()
    };
    let mut ids: Vec<i64> = rows.iter().flat_map(|batch| column(batch, 0)).collect();
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(1..=KEYS), "{} of {KEYS} keys", ids.len());
    assert!(rows.iter().flat_map(|batch| column(batch, 1)).all(|count| count == 1));
    cluster.shut_down().await;
}

async fn check_failure(condition: Arc<dyn PhysicalExpr>, message: &str, kind: FailureKind) {
    let mut cluster = Cluster::start(2).await;
    let mut graph = bids(500_000_000, condition);
    // Only one of the two workers meets the failure.
    let filter = graph.stages[1].chain.remove(0);
    graph.stages[1].parallelism = 1;
    graph.stages[1].chain.push(filter);
    let splits = splits(&graph).await;
    cluster.deploy(&graph, 0, &splits, &[]).await.unwrap();
    let rows = cluster.read_results(0).await;
    cluster.start_all(0).await;
    let (worker, report) = cluster.report(0).await;
    let Report::Failed(failed) = report else { panic!("{report:?}") };
    let text = format!("{}: {}", failed.message, failed.causes.join(": "));
    assert!(text.contains(message), "{text}");
    assert_eq!((worker.as_str(), failed.kind()), ("w0", kind));
    assert!(rows.await.unwrap().is_err());
    // The other worker keeps quiet and is free for the next attempt.
    cluster.cancel(0).await;
    let fine = bids(1000, is_bid());
    cluster.deploy(&fine, 1, &splits, &[]).await.unwrap();
    let rows = cluster.read_results(1).await;
    cluster.start_all(1).await;
    cluster.finished(1, 5).await;
    assert!(count(&rows.await.unwrap().unwrap()) > 0);
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_task_is_reported_once_with_its_own_cause() {
    check_failure(division_by_zero(), "division by zero", FailureKind::Data).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panicking_task_fails_the_attempt_and_not_the_worker() {
    let message = "a task panicked: this function always does";
    check_failure(panicking(), message, FailureKind::Bug).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_is_named_by_the_one_that_talked_to_it() {
    let mut cluster = Cluster::start(2).await;
    let graph = bids(500_000_000, is_bid());
    let splits = splits(&graph).await;
    cluster.deploy(&graph, 0, &splits, &[]).await.unwrap();
    let _rows = cluster.read_results(0).await;
    cluster.start_all(0).await;
    cluster.trigger(0, 1).await;
    cluster.snapshots(0).await;
    // As seen from w0 this is a death: connections close without a word.
    let worker = cluster.workers[1].clone();
    tokio::spawn(async move { worker.shut_down().await });
    let (worker, report) = cluster.report(0).await;
    let Report::Failed(failed) = report else { panic!("{report:?}") };
    assert_eq!(worker, "w0");
    assert!(failed.message.contains("worker w1"), "{failed:?}");
    cluster.shut_down().await;
}

/// A master that knows nothing but its members.
struct Members {
    registration: Arc<Registration>,
    forget: AtomicBool,
}

#[tonic::async_trait]
impl Master for Members {
    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterReply>, Status> {
        let RegisterRequest { worker_id, address, slots, incarnation } = request.into_inner();
        let (id, slots) = (NodeId::new(&worker_id), slots as usize);
        let roles = vec![Role::Worker];
        self.registration.register(Member { id, incarnation, address, slots, roles });
        Ok(Response::new(RegisterReply { heartbeat_interval_ms: 1 }))
    }

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatReply>, Status> {
        let HeartbeatRequest { worker_id, incarnation } = request.into_inner();
        let known = self.registration.heartbeat(&NodeId::new(&worker_id), incarnation);
        let unknown = !known || self.forget.swap(false, Ordering::SeqCst);
        Ok(Response::new(HeartbeatReply { unknown }))
    }

    async fn leave(&self, request: Request<LeaveRequest>) -> Result<Response<LeaveReply>, Status> {
        let LeaveRequest { worker_id, incarnation } = request.into_inner();
        self.registration.leave(&NodeId::new(&worker_id), incarnation);
        Ok(Response::new(LeaveReply {}))
    }

    async fn report(&self, _: Request<ReportRequest>) -> Result<Response<ReportReply>, Status> {
        Err(Status::not_found("no such job"))
    }
}

#[tokio::test]
async fn a_worker_registers_again_when_the_master_has_forgotten_it() {
    let clock: ClockRef = Arc::new(SystemClock);
    let config = HeartbeatConfig::default();
    let registration = Arc::new(Registration::new(config, Arc::clone(&clock)));
    let (_, mut events) = registration.subscribe();
    let forget = AtomicBool::new(true);
    let master = Members { registration: Arc::clone(&registration), forget };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = crate::worker::tuned(tonic::transport::Server::builder())
        .add_service(MasterServer::new(master))
        .serve_with_incoming(incoming(listener));
    let server = tokio::spawn(async move { server.await.unwrap() });

    let link = GrpcMaster::new(&address, clock).unwrap();
    let request = RegisterRequest {
        worker_id: "w1".into(),
        address: "127.0.0.1:1".into(),
        slots: 2,
        incarnation: 7,
    };
    let (registered, mut registrations) = mpsc::unbounded_channel();
    let keeping = tokio::spawn({
        let (link, request) = (link.clone(), request.clone());
        async move {
            link.keep_registered(request, move || registered.send(()).unwrap_or_default()).await;
        }
    });
    registrations.recv().await.expect("the first registration");
    registrations.recv().await.expect("a second one, since the master said so");
    assert_eq!(registration.members()[0].0.slots, 2);
    keeping.abort();
    let over = link.report(ReportRequest::default()).await.unwrap_err();
    assert_eq!(over.code(), Code::FailedPrecondition, "a job it does not know is over");
    link.leave("w1", 7).await.unwrap();
    assert!(matches!(events.recv().await, Some(Event::Joined(_))));
    assert_eq!(events.recv().await, Some(Event::Left(NodeId::new("w1"))));
    server.abort();
}
