use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, col, lit};

use super::*;
use crate::connector::{ConnectorContext, Split, SplitState};
use crate::graph::{
    ChangelogMode, Edge, JobGraph, JobSettings, OperatorNode, OperatorSpec, Partitioning,
    SourceSpec, WatermarkSpec,
};
use crate::storage::Storage;
use crate::task::{Message, OutputChannels, Receiver, TaskId, channel};
use crate::time::{Clock, SimulatedClock};
use crate::{Attempt, Generation, JobId, OperatorId, StageId};

const THREE_ROWS: &str = "{\"ts\": \"1970-01-01 00:00:00.010\"}\n
{\"ts\": \"1970-01-01 00:00:00.020\"}\n
{\"ts\": \"1970-01-01 00:00:00.030\"}";

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    Arc::new(Schema::new(vec![Field::new("ts", time, true)]))
}

/// A table of three rows, 100 ms apart, that stays open for ever.
fn source() -> SourceSpec {
    let options = [("rows", THREE_ROWS), ("bounded", "false"), ("batch-interval-ms", "100")];
    let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    SourceSpec {
        id: OperatorId(1),
        table: "t".to_owned(),
        connector: "values".to_owned(),
        options: options.map(own).into(),
        table_schema: schema(),
        schema: schema(),
        filters: Vec::new(),
        limit: None,
        prepare: Vec::new(),
        watermark: Some(WatermarkSpec { time: 0, expr: col("ts", &schema()).expect("a column") }),
        query: None,
    }
}

fn graph() -> JobGraph {
    let stage = |id, source| Stage {
        id: StageId(id),
        parallelism: 1,
        source,
        chain: Vec::new(),
        sink: None,
    };
    let edge = Edge {
        from: StageId(0),
        to: StageId(1),
        port: 0,
        partitioning: Partitioning::Forward,
        schema: schema(),
        changelog: ChangelogMode::AppendOnly,
    };
    let idle_timeout = Some(Duration::from_secs(1));
    JobGraph {
        stages: vec![stage(0, Some(source())), stage(1, None)],
        edges: vec![edge],
        settings: JobSettings { idle_timeout, ..JobSettings::default() },
    }
}

/// A source's task that runs by itself, and what it sends.
struct Case {
    clock: Arc<SimulatedClock>,
    receiver: Receiver,
    _commands: mpsc::UnboundedSender<TaskCommand>,
}

/// Makes the task of the first stage, which sends to one receiver.
fn task(
    graph: JobGraph,
    split: SplitState,
    clock: &Arc<SimulatedClock>,
    capacity_bytes: usize,
) -> (Task, Receiver, mpsc::UnboundedSender<TaskCommand>) {
    let (sender, receiver) = channel(capacity_bytes);
    let (commands, taken) = mpsc::unbounded_channel();
    let task = Task {
        job: JobId::new("test"),
        generation: Generation(1),
        attempt: Attempt(0),
        id: TaskId { stage: StageId(0), subtask: 0 },
        graph: Arc::new(graph),
        inputs: Vec::new(),
        outputs: vec![OutputChannels { edge: 0, senders: vec![sender] }],
        splits: vec![split],
        state: BTreeMap::new(),
        commands: taken,
        connectors: ConnectorContext { storage: Storage::default(), clock: Arc::clone(clock) as _ },
        client: None,
        memory: Arc::new(MemoryBudget::new(1 << 20)),
        metrics: Arc::new(TaskMetrics::default()),
    };
    (task, receiver, commands)
}

impl Case {
    /// Starts the task from a split's state; its channel is full with one message.
    fn start(split: SplitState) -> Self {
        Self::of_graph(graph(), split)
    }

    fn of_graph(graph: JobGraph, split: SplitState) -> Self {
        let clock = Arc::new(SimulatedClock::new(0));
        let (task, receiver, commands) = task(graph, split, &clock, 1);
        tokio::spawn(run(task, mpsc::unbounded_channel().0));
        Self { clock, receiver, _commands: commands }
    }

    /// Lets the task run while the clock goes on, and takes nothing from it.
    async fn block_until(&self, time: TimestampMs) {
        for now in (0..=time).step_by(50) {
            self.clock.advance_to(now);
            settle().await;
        }
    }

    /// Takes what the task sends until it has nothing more, also of what it had gathered.
    async fn take(&mut self) -> Vec<String> {
        let mut taken = Vec::new();
        let mut is_late = false;
        loop {
            settle().await;
            match futures::FutureExt::now_or_never(self.receiver.recv()) {
                Some(Some(Message::Data(batch))) => {
                    taken.push(format!("{} rows", batch.num_rows()));
                }
                Some(Some(Message::Watermark(time))) => taken.push(format!("watermark {}", time.0)),
                Some(Some(other)) => taken.push(format!("{other:?}")),
                Some(None) => panic!("the task has ended"),
                None if is_late => return taken,
                None => {
                    is_late = true;
                    self.clock.advance_to(self.clock.now_ms() + 10);
                }
            }
        }
    }
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn unread() -> Split {
    Split { id: "0".to_owned(), position: "0".to_owned() }
}

#[tokio::test]
async fn a_source_that_was_held_back_is_not_idle() {
    let mut case = Case::start(SplitState::unread(unread()));
    case.block_until(10_000).await;
    let taken = case.take().await;
    let expected = ["1 rows", "watermark 9", "2 rows", "watermark 19", "watermark 29"];
    assert_eq!(taken, expected, "held back for ten timeouts, and not idle");
    case.clock.advance_to(10_900);
    assert_eq!(case.take().await, Vec::<String>::new(), "asked for less than the timeout");
    case.clock.advance_to(11_100);
    assert_eq!(case.take().await, ["Idle"]);
}

#[tokio::test]
async fn a_restored_source_says_how_far_time_was_before_its_first_row() {
    let split = SplitState { split: unread(), watermark: 15, finished: false };
    let mut case = Case::start(split);
    let taken = case.take().await;
    assert_eq!(taken[..2], ["watermark 15", "1 rows"], "{taken:?}");
}

#[tokio::test]
async fn rows_wait_for_no_others_where_those_are_filtered_out() {
    let mut rows = THREE_ROWS.replace(".030", ".020");
    rows.push_str(&"\n\n{\"ts\": \"1970-01-01 00:00:01\"}".repeat(10_000));
    let mut graph = graph();
    let source = graph.stages[0].source.as_mut().expect("a source");
    source.options = [("rows".to_owned(), rows), ("bounded".to_owned(), "false".to_owned())].into();
    let early = lit(ScalarValue::TimestampMillisecond(Some(500), None));
    let early = BinaryExpr::new(col("ts", &schema()).expect("a column"), Operator::Lt, early);
    source.prepare = vec![OperatorNode {
        id: OperatorId(2),
        spec: OperatorSpec::Filter(Arc::new(early)),
        inputs: vec![schema()],
        output: schema(),
    }];
    let mut case = Case::of_graph(graph, SplitState::unread(unread()));
    // Time stands still, and the source has always more to read.
    let mut received = Vec::new();
    for _ in 0..4 {
        settle().await;
        received.extend(futures::FutureExt::now_or_never(case.receiver.recv()).flatten());
    }
    let rows = received.iter().map(|message| match message {
        Message::Data(batch) => batch.num_rows(),
        _ => 0,
    });
    assert_eq!(rows.sum::<usize>(), 3, "{received:?}");
}

#[tokio::test]
async fn many_batches_are_off_the_books_once_they_are_sent() {
    let clock = Arc::new(SimulatedClock::new(0));
    let (task, receiver, _commands) = task(graph(), SplitState::unread(unread()), &clock, 1 << 30);
    let memory = Arc::clone(&task.memory);
    let mut running = Running::start(task).await.expect("starts");
    let times = TimestampMillisecondArray::from_value(0, 8192);
    let rows = RecordBatch::try_new(schema(), vec![Arc::new(times)]).expect("a column");
    running.emitted = vec![Batch::insert(rows); MANY_BATCHES + 1];
    running.hand_on(0).await.expect("is sent");
    assert!(receiver.queued_bytes() >= (MANY_BATCHES + 1) * 8192 * 8);
    assert_eq!(memory.held_bytes(), 0);
}
