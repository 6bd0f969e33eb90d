use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::functions::core::get_field;
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::min_max::max_udaf;
use datafusion::logical_expr::Operator::Eq;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use super::super::testing::{call, schema, text};
use super::*;
use crate::JobId;
use crate::batch::Batch;
use crate::connector::ConnectorContext;
use crate::graph::{Edge, JobSettings, SinkSpec, SinkTarget, SourceSpec, WatermarkSpec, Window};
use crate::storage::Storage;
use crate::task::run_local;
use crate::time::SimulatedClock;

fn stage(id: u32, parallelism: usize, chain: Vec<OperatorNode>) -> Stage {
    let source = chain.is_empty().then(|| SourceSpec {
        id: OperatorId(u64::from(id)),
        table: "t".to_owned(),
        connector: "datagen".to_owned(),
        options: BTreeMap::new(),
        table_schema: schema("v:int k:text t:ts"),
        schema: schema("v:int k:text t:ts"),
        filters: vec![],
        limit: None,
        prepare: vec![],
        watermark: None,
        query: None,
    });
    Stage { id: StageId(id), parallelism, source, chain, sink: None }
}

fn graph(distinct: bool, parallelism: usize) -> JobGraph {
    let window = Window::Tumble { size_ms: 10, offset_ms: 0 };
    let mut count = call("n:int", count_udaf(), &[("v", 0)]);
    count.distinct = distinct;
    let spec = WindowAggregateSpec {
        window: WindowSpec::EventTime { window, time: 2 },
        keys: vec![1],
        aggregates: vec![count],
        phase: AggregatePhase::Complete,
    };
    let node = OperatorNode {
        id: OperatorId(7),
        spec: OperatorSpec::WindowAggregate(spec),
        inputs: vec![schema("v:int k:text t:ts")],
        output: schema("k:text n:int window_start:ts window_end:ts window_time:ts"),
    };
    let edge = |from| Edge {
        from: StageId(from),
        to: StageId(2),
        port: 0,
        partitioning: Partitioning::Hash(vec![1]),
        schema: schema("v:int k:text t:ts"),
        changelog: ChangelogMode::AppendOnly,
    };
    JobGraph {
        stages: vec![
            stage(0, parallelism, vec![]),
            stage(1, parallelism, vec![]),
            stage(2, parallelism, vec![node]),
        ],
        edges: vec![edge(0), edge(1)],
        settings: JobSettings::default(),
    }
}

fn phases(graph: &JobGraph) -> Vec<&AggregatePhase> {
    let nodes = graph.stages.iter().flat_map(|stage| &stage.chain);
    let phase = |node| match node {
        &OperatorNode { spec: OperatorSpec::WindowAggregate(ref spec), .. } => &spec.phase,
        _ => panic!("another operator"),
    };
    nodes.map(phase).collect()
}

#[test]
fn each_sender_gets_a_half() {
    let mut graph = graph(false, 2);
    split_window_aggregates(&mut graph).unwrap();
    let last = AggregatePhase::Final { input: schema("v:int k:text t:ts") };
    assert_eq!(phases(&graph), [&AggregatePhase::Local, &AggregatePhase::Local, &last]);
    assert_ne!(graph.stages[0].chain[0].id, graph.stages[1].chain[0].id);
    for edge in &graph.edges {
        assert_eq!(edge.partitioning, Partitioning::Hash(vec![0]));
        assert_eq!(edge.schema, graph.stages[2].chain[0].inputs[0]);
        assert_eq!(edge.schema, graph.stages[0].chain[0].output);
    }
    let once = format!("{graph:?}");
    split_window_aggregates(&mut graph).unwrap();
    assert_eq!(format!("{graph:?}"), once);
}

#[test]
fn what_does_not_pay_is_left_whole() {
    for mut graph in [graph(true, 2), graph(false, 1)] {
        split_window_aggregates(&mut graph).unwrap();
        assert_eq!(phases(&graph), [&AggregatePhase::Complete]);
    }
    let mut shared = graph(false, 2);
    let mut edge = shared.edges[0].clone();
    edge.to = StageId(1);
    shared.edges.push(edge);
    split_window_aggregates(&mut shared).unwrap();
    assert_eq!(phases(&shared), [&AggregatePhase::Complete]);
}

const BID: &str = "auction:int price:float t:ts";

fn field_of_bid(table: &SchemaRef, name: &str) -> Arc<dyn PhysicalExpr> {
    let args: Vec<Arc<dyn PhysicalExpr>> = vec![Arc::new(Column::new("bid", 1)), lit(name)];
    let options = Arc::new(ConfigOptions::default());
    Arc::new(ScalarFunctionExpr::try_new(get_field(), args, table, options).unwrap())
}

/// Bids of nexmark, made to be `BID`, with their time as the watermark.
fn bids(events: u64) -> SourceSpec {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let bid = DataType::Struct(
        vec![
            Field::new("auction", DataType::Int64, false),
            Field::new("price", DataType::Int64, false),
            Field::new("dateTime", time, false),
        ]
        .into(),
    );
    let table: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("event_type", DataType::Int32, false),
        Field::new("bid", bid, true),
    ]));
    let price = field_of_bid(&table, "price");
    let price =
        datafusion::physical_expr::expressions::cast(price, &table, DataType::Float64).unwrap();
    let is_bid = BinaryExpr::new(Arc::new(Column::new("event_type", 0)), Eq, lit(2));
    let exprs = vec![field_of_bid(&table, "auction"), price, field_of_bid(&table, "dateTime")];
    let step = |id, spec, output: &SchemaRef| OperatorNode {
        id: OperatorId(id),
        spec,
        inputs: vec![Arc::clone(&table)],
        output: Arc::clone(output),
    };
    SourceSpec {
        id: OperatorId(1),
        table: "events".to_owned(),
        connector: "nexmark".to_owned(),
        options: BTreeMap::from([("events".to_owned(), events.to_string())]),
        table_schema: Arc::clone(&table),
        schema: Arc::clone(&table),
        filters: Vec::new(),
        limit: None,
        prepare: vec![
            step(2, OperatorSpec::Filter(Arc::new(is_bid)), &table),
            step(3, OperatorSpec::Project(exprs), &schema(BID)),
        ],
        watermark: Some(WatermarkSpec { time: 2, expr: Arc::new(Column::new("t", 2)) }),
        query: None,
    }
}

/// Bids per auction and window, to the client.
fn job(window: Window, parallelism: usize) -> JobGraph {
    let output = "auction:int n:int hi:float a:float window_start:ts window_end:ts window_time:ts";
    let spec = WindowAggregateSpec {
        window: WindowSpec::EventTime { window, time: 2 },
        keys: vec![0],
        aggregates: vec![
            call("n:int", count_udaf(), &[]),
            call("hi:float", max_udaf(), &[("price", 1)]),
            call("a:float", avg_udaf(), &[("price", 1)]),
        ],
        phase: AggregatePhase::Complete,
    };
    let node = OperatorNode {
        id: OperatorId(7),
        spec: OperatorSpec::WindowAggregate(spec),
        inputs: vec![schema(BID)],
        output: schema(output),
    };
    let sink = SinkSpec {
        id: OperatorId(8),
        table: "client".to_owned(),
        target: SinkTarget::Client,
        schema: schema(output),
        changelog: ChangelogMode::AppendOnly,
        upsert_key: None,
    };
    let edge = |from, to, partitioning, columns: &str| Edge {
        from: StageId(from),
        to: StageId(to),
        port: 0,
        partitioning,
        schema: schema(columns),
        changelog: ChangelogMode::AppendOnly,
    };
    let first = Stage { source: Some(bids(100_000)), ..stage(0, parallelism, vec![]) };
    let last = Stage { source: None, sink: Some(sink), ..stage(2, 1, vec![]) };
    JobGraph {
        stages: vec![first, stage(1, parallelism, vec![node]), last],
        edges: vec![
            edge(0, 1, Partitioning::Hash(vec![0]), BID),
            edge(1, 2, Partitioning::RoundRobin, output),
        ],
        settings: JobSettings::default(),
    }
}

async fn rows(graph: JobGraph) -> Vec<String> {
    let connectors =
        ConnectorContext { storage: Storage::default(), clock: Arc::new(SimulatedClock::new(0)) };
    let batches: Vec<Batch> =
        run_local(JobId::new("split"), Arc::new(graph), connectors).await.unwrap();
    let mut rows: Vec<String> = batches.iter().flat_map(text).collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn a_job_gives_the_same_rows_split_or_whole() {
    let hop = Window::Hop { size_ms: 4_000, slide_ms: 1_000, offset_ms: 0 };
    for window in [hop, Window::Tumble { size_ms: 2_000, offset_ms: 0 }] {
        let whole = rows(job(window, 1)).await;
        assert!(whole.len() > 5_000, "{} rows", whole.len());
        assert!(rows(job(window, 2)).await == whole, "whole, with an exchange");
        let mut split = job(window, 3);
        split_window_aggregates(&mut split).unwrap();
        assert_eq!(split.stages[0].chain.len(), 1);
        assert!(rows(split).await == whole, "split");
    }
}
