use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::{JoinType, ScalarValue};
use datafusion::execution::TaskContext;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::min_max::max_udaf;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, CastExpr, Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr, ScalarFunctionExpr};
use proptest::prelude::*;
use prost::Message;
use rainstorm_engine::graph::*;
use rainstorm_engine::time::{ClockRef, SimulatedClock};
use rainstorm_engine::{OperatorId, StageId};
use rainstorm_proto::graph as proto;

use super::{decode_graph, encode_graph};

fn functions() -> Arc<TaskContext> {
    super::functions(&(Arc::new(SimulatedClock::new(0)) as ClockRef))
}

fn columns() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let place = DataType::Struct(vec![Field::new("lat", DataType::Float64, true)].into());
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8View, false),
        Field::new("price", DataType::Int64, true),
        Field::new("time", time, true),
        Field::new("place", place, true),
    ]))
}

fn joined() -> SchemaRef {
    let fields = columns().fields().iter().chain(columns().fields()).cloned().collect::<Vec<_>>();
    Arc::new(Schema::new(fields))
}

fn column(index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(columns().field(index).name(), index))
}

fn price_over(limit: i64) -> Arc<dyn PhysicalExpr> {
    let limit = Arc::new(Literal::new(ScalarValue::Int64(Some(limit))));
    Arc::new(BinaryExpr::new(column(1), Operator::Gt, limit))
}

fn upper_key() -> Arc<dyn PhysicalExpr> {
    let upper = datafusion::functions::string::upper();
    let result = Arc::new(Field::new("upper(key)", DataType::Utf8View, true));
    let config = Arc::new(datafusion::config::ConfigOptions::default());
    Arc::new(ScalarFunctionExpr::new("upper", upper, vec![column(0)], result, config))
}

fn operator(id: u64, spec: OperatorSpec, ports: usize) -> OperatorNode {
    let inputs = vec![columns(); ports];
    let output = if ports == 2 { joined() } else { columns() };
    OperatorNode { id: OperatorId(id), spec, inputs, output }
}

fn projection() -> OperatorNode {
    let case = CaseExpr::try_new(
        None,
        vec![(price_over(5), column(1))],
        Some(Arc::new(CastExpr::new(column(1), DataType::Int64, None))),
    );
    let expressions = vec![upper_key(), Arc::new(case.unwrap()), column(2), column(3)];
    operator(1, OperatorSpec::Project(expressions), 1)
}

fn max_price() -> AggregateCall {
    AggregateCall {
        function: max_udaf(),
        args: vec![column(1)],
        filter: Some(price_over(10)),
        distinct: false,
        order_by: vec![PhysicalSortExpr::new_default(column(2)).desc()],
        ignore_nulls: true,
        output: Arc::new(Field::new("highest", DataType::Int64, true)),
    }
}

fn window(window: Window) -> WindowSpec {
    WindowSpec::EventTime { window, time: 2 }
}

/// One operator of every kind, in a chain that no planner would build.
fn chain() -> Vec<OperatorNode> {
    let tumble = Window::Tumble { size_ms: 10, offset_ms: 1 };
    let hop = Window::Hop { size_ms: 10, slide_ms: 5, offset_ms: 0 };
    let cumulate = Window::Cumulate { size_ms: 10, step_ms: 2, offset_ms: -3 };
    let distinct = AggregateCall {
        function: count_udaf(),
        distinct: true,
        filter: None,
        order_by: Vec::new(),
        ..max_price()
    };
    let aggregate = |window| {
        OperatorSpec::WindowAggregate(WindowAggregateSpec {
            window,
            keys: vec![0],
            aggregates: vec![max_price(), distinct.clone()],
            phase: AggregatePhase::Complete,
        })
    };
    let last = OperatorSpec::WindowAggregate(WindowAggregateSpec {
        window: window(hop),
        keys: vec![0],
        aggregates: vec![max_price()],
        phase: AggregatePhase::Final { input: columns() },
    });
    let local = OperatorSpec::WindowAggregate(WindowAggregateSpec {
        window: window(hop),
        keys: vec![0],
        aggregates: vec![max_price()],
        phase: AggregatePhase::Local,
    });
    let group = GroupAggregateSpec {
        keys: vec![0, 3],
        aggregates: vec![distinct.clone()],
        input: ChangelogMode::Retract,
        emit: Emit::Final,
    };
    let new_keys = GroupAggregateSpec {
        keys: vec![0],
        aggregates: vec![],
        input: ChangelogMode::AppendOnly,
        emit: Emit::First,
    };
    let assign = WindowSpec::ProcessingTime { window: tumble };
    vec![
        projection(),
        operator(2, OperatorSpec::Filter(price_over(3)), 1),
        operator(3, OperatorSpec::WindowAssign(assign), 1),
        operator(4, aggregate(window(hop)), 1),
        operator(5, aggregate(window(cumulate)), 1),
        operator(6, aggregate(WindowSpec::Attached { start: 2, end: 2 }), 1),
        operator(7, OperatorSpec::GroupAggregate(group), 1),
        operator(11, local, 1),
        operator(12, last, 1),
        operator(13, OperatorSpec::GroupAggregate(new_keys), 1),
    ]
}

fn joins() -> [OperatorSpec; 3] {
    let filter: Arc<dyn PhysicalExpr> =
        Arc::new(BinaryExpr::new(column(1), Operator::Lt, Arc::new(Column::new("price", 5))));
    [
        OperatorSpec::WindowJoin(WindowJoinSpec {
            join_type: JoinType::LeftAnti,
            on: vec![(0, 0)],
            left_window: (2, 2),
            right_window: (2, 2),
            filter: Some(Arc::clone(&filter)),
        }),
        OperatorSpec::IntervalJoin(IntervalJoinSpec {
            join_type: JoinType::Full,
            on: vec![(0, 0), (1, 1)],
            left_time: 2,
            right_time: 2,
            lower_ms: -5,
            upper_ms: 7,
            filter: None,
        }),
        OperatorSpec::LookupJoin(LookupJoinSpec {
            join_type: JoinType::Left,
            on: vec![(0, 0)],
            filter: Some(filter),
        }),
    ]
}

fn source() -> SourceSpec {
    SourceSpec {
        id: OperatorId(u64::MAX),
        table: "bids".into(),
        connector: "datagen".into(),
        options: [("rows-per-second".to_owned(), "5".to_owned())].into(),
        table_schema: columns(),
        schema: columns(),
        filters: vec![price_over(1)],
        limit: Some(7),
        prepare: vec![projection()],
        watermark: Some(WatermarkSpec { time: 2, expr: column(2) }),
        query: None,
    }
}

fn sink(target: SinkTarget) -> SinkSpec {
    SinkSpec {
        id: OperatorId(99),
        table: "out".into(),
        target,
        schema: columns(),
        changelog: ChangelogMode::Retract,
        upsert_key: Some(vec![0]),
    }
}

fn edge(from: u32, to: u32, port: usize, partitioning: Partitioning) -> Edge {
    let changelog = ChangelogMode::AppendOnly;
    let (from, to) = (StageId(from), StageId(to));
    Edge { from, to, port, partitioning, schema: columns(), changelog }
}

fn stage(id: u32, parallelism: usize) -> Stage {
    Stage { id: StageId(id), parallelism, source: None, chain: Vec::new(), sink: None }
}

fn graph() -> JobGraph {
    let table = SinkTarget::Connector {
        connector: "filesystem".into(),
        options: [("path".to_owned(), "file:///out".to_owned())].into(),
        overwrite: true,
        partition_by: vec![0],
        primary_key: vec![1, 2],
    };
    let mut stages = vec![
        Stage { source: Some(source()), ..stage(0, 2) },
        Stage { chain: chain(), ..stage(1, 2) },
    ];
    for (id, join) in (2..).zip(joins()) {
        stages.push(Stage { chain: vec![operator(20 + u64::from(id), join, 2)], ..stage(id, 4) });
    }
    stages[2].sink = Some(sink(table));
    stages[3].sink = Some(sink(SinkTarget::Client));
    stages[4].sink = Some(sink(SinkTarget::Client));
    let mut edges = vec![edge(0, 1, 0, Partitioning::Forward)];
    for join in 2..5 {
        edges.push(edge(1, join, 0, Partitioning::Hash(vec![0])));
        edges.push(edge(1, join, 1, Partitioning::Broadcast));
    }
    edges.push(Edge {
        changelog: ChangelogMode::Retract,
        ..edge(1, 2, 1, Partitioning::RoundRobin)
    });
    let settings = JobSettings {
        idle_timeout: Some(std::time::Duration::from_millis(1500)),
        stays_open: Some(std::time::Duration::from_millis(2500)),
        ..JobSettings::default()
    };
    JobGraph { stages, edges, settings }
}

/// Encodes the graph after `change` and returns why it is refused.
fn refused(change: impl FnOnce(&mut proto::JobGraph)) -> String {
    let mut encoded = encode_graph(&graph()).unwrap();
    change(&mut encoded);
    decode_graph(&encoded, &functions()).expect_err("the graph is not valid").to_string()
}

#[test]
fn a_graph_comes_back_as_it_was_sent() {
    let encoded = encode_graph(&graph()).unwrap();
    let bytes = encoded.encode_to_vec();
    let received = proto::JobGraph::decode(bytes.as_slice()).unwrap();
    let decoded = decode_graph(&received, &functions()).unwrap();
    assert_eq!(format!("{decoded:?}"), format!("{:?}", graph()));
    assert_eq!(encode_graph(&decoded).unwrap(), encoded);
}

#[test]
fn arithmetic_is_checked_after_shipping() {
    let functions = functions();
    let add = Arc::clone(&functions.scalar_functions()["checked_add"]);
    let result = Arc::new(Field::new("sum", DataType::Int64, true));
    let config = Arc::new(datafusion::config::ConfigOptions::default());
    let args = vec![column(1), column(1)];
    let sum = ScalarFunctionExpr::new("checked_add", add, args, result, config);
    let mut sent = graph();
    sent.stages[1].chain[0].spec =
        OperatorSpec::Project(vec![upper_key(), Arc::new(sum), column(2), column(3)]);
    let decoded = decode_graph(&encode_graph(&sent).unwrap(), &functions).unwrap();
    let OperatorSpec::Project(exprs) = &decoded.stages[1].chain[0].spec else { panic!("changed") };
    let keys: ArrayRef = Arc::new(StringViewArray::from(vec!["a"]));
    let prices: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX]));
    let rows = RecordBatch::try_from_iter([("key", keys), ("price", prices)]).unwrap();
    let error = exprs[1].evaluate(&rows).unwrap_err();
    assert_eq!(
        rainstorm_engine::wording::reason(&error),
        "9223372036854775807 + 9223372036854775807 does not fit BIGINT"
    );
}

#[test]
fn graphs_that_cannot_run_are_refused_with_the_reason() {
    assert_eq!(refused(|graph| graph.stages.clear()), "job graph: no stages");
    assert_eq!(refused(|graph| graph.settings = None), "job graph without settings");
    assert_eq!(
        refused(|graph| graph.edges[0].to = 0),
        "job graph: an edge from stage 0 to stage 0 of 5"
    );
    assert_eq!(refused(|graph| graph.edges[1].port = 2), "job graph: an edge into port 2 of 2");
    assert_eq!(
        refused(|graph| graph.stages[1].parallelism = 3),
        "job graph: a forward edge from 2 to 3 subtasks"
    );
    assert_eq!(
        refused(|graph| graph.stages[4].parallelism = 300),
        "job graph: stage 4 has 300 subtasks, with 256 key groups"
    );
    assert_eq!(
        refused(|graph| graph.stages[2].sink = None),
        "job graph: stage 2 needs either a sink or outputs"
    );
    let keys = proto::Columns { indices: vec![9] };
    assert_eq!(
        refused(|graph| {
            graph.edges[0].partitioning = Some(proto::edge::Partitioning::Hash(keys));
        }),
        "job graph: column 9 of 4 as a key of an edge"
    );
}

#[test]
fn an_expression_over_a_column_that_is_not_there_is_refused() {
    let mut bad = graph();
    let far: Arc<dyn PhysicalExpr> = Arc::new(Column::new("far", 17));
    bad.stages[1].chain[1].spec = OperatorSpec::Filter(far);
    let encoded = encode_graph(&bad).unwrap();
    let error = decode_graph(&encoded, &functions()).expect_err("column 17 of 4");
    assert_eq!(error.kind(), rainstorm_engine::ErrorKind::Invalid, "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn damaged_messages_are_refused_or_decoded_and_never_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let mut bytes = encode_graph(&graph()).unwrap().encode_to_vec();
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Ok(message) = proto::JobGraph::decode(bytes.as_slice()) {
            let _ = decode_graph(&message, &functions());
        }
    }
}
