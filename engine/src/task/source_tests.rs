use std::collections::BTreeMap;

use arrow::datatypes::{Field, Schema};
use async_trait::async_trait;
use datafusion::physical_expr::expressions::col;
use futures::FutureExt;

use super::*;
use crate::OperatorId;
use crate::connector::Source;
use crate::graph::SourceSpec;
use crate::memory::MemoryBudget;
use crate::operator::testing::context;
use crate::time::{Clock, SimulatedClock};

/// What a reader has: rows of these event times from a processing time on.
type Script = &'static [(TimestampMs, &'static [TimestampMs])];

/// A source whose splits are scripts. They end after their last rows, unless these never come.
#[derive(Debug)]
struct Scripted {
    splits: Vec<Script>,
    /// Whether readers wait until they have rows, or say when they will.
    waits: bool,
    clock: Arc<SimulatedClock>,
}

#[async_trait]
impl Source for Scripted {
    fn bounded(&self) -> bool {
        true
    }

    async fn splits(&self, _parallelism: usize) -> Result<Vec<Split>> {
        let split = |index: usize| Split { id: index.to_string(), position: "0".to_owned() };
        Ok((0..self.splits.len()).map(split).collect())
    }

    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>> {
        let script = self.splits[split.id.parse::<usize>().expect("an index")];
        let (clock, next) = (Arc::clone(&self.clock), split.position.parse().expect("a number"));
        Ok(Box::new(ScriptedReader { script, next, waits: self.waits, clock }))
    }
}

struct ScriptedReader {
    script: Script,
    next: usize,
    waits: bool,
    clock: Arc<SimulatedClock>,
}

#[async_trait]
impl SplitReader for ScriptedReader {
    async fn read(&mut self) -> Result<Read> {
        let Some((due, times)) = self.script.get(self.next) else { return Ok(Read::End) };
        if self.waits {
            self.clock.sleep_until(*due).await;
        } else if *due > self.clock.now_ms() {
            return Ok(Read::NotBefore(*due));
        }
        self.next += 1;
        let times = TimestampMillisecondArray::from(times.to_vec());
        Ok(Read::Rows(RecordBatch::try_new(schema(), vec![Arc::new(times)]).expect("one column")))
    }

    fn position(&self) -> String {
        self.next.to_string()
    }

    fn skipped_rows(&self) -> u64 {
        0
    }

    fn memory_bytes(&self) -> usize {
        READER_BYTES
    }
}

const NEVER: TimestampMs = TimestampMs::MAX;
const IDLE_MS: u64 = 1000;
const READER_BYTES: usize = 1 << 20;

fn schema() -> Arc<Schema> {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    Arc::new(Schema::new(vec![Field::new("ts", time, true)]))
}

fn spec() -> SourceSpec {
    SourceSpec {
        id: OperatorId(1),
        table: "t".to_owned(),
        connector: "scripted".to_owned(),
        options: BTreeMap::new(),
        table_schema: schema(),
        schema: schema(),
        filters: Vec::new(),
        limit: None,
        prepare: Vec::new(),
        watermark: Some(WatermarkSpec { time: 0, expr: col("ts", &schema()).expect("a column") }),
        query: None,
    }
}

struct Case {
    driver: SourceDriver,
    clock: Arc<SimulatedClock>,
}

impl Case {
    fn new(splits: &[Script], waits: bool) -> Self {
        let split = |id: usize| Split { id: id.to_string(), position: "0".to_owned() };
        let states = (0..splits.len()).map(split).map(SplitState::unread).collect();
        Self::at(states, splits, waits)
    }

    fn at(states: Vec<SplitState>, splits: &[Script], waits: bool) -> Self {
        let clock = Arc::new(SimulatedClock::new(0));
        let (splits, own) = (splits.to_vec(), Arc::clone(&clock));
        let source = Arc::new(Scripted { splits, waits, clock: own });
        let memory = Arc::new(MemoryBudget::new(usize::MAX));
        let prepare = Chain::build(&[], &context(0, 1), &mut BTreeMap::new(), &memory);
        let prepare = prepare.expect("no operator");
        let timeout = Some(Duration::from_millis(IDLE_MS));
        let shown = Arc::clone(&clock) as _;
        let driver = SourceDriver::new(source, shown, states, prepare, &spec(), timeout);
        Self { driver, clock }
    }

    /// Asks for what comes next at a time.
    fn at_time(&mut self, now: TimestampMs) -> String {
        self.clock.advance_to(now);
        match self.driver.next().now_or_never() {
            None => "nothing".to_owned(),
            Some(event) => match event.expect("no error") {
                SourceEvent::Rows(batch, watermark) => {
                    format!("{} rows, watermark {:?}", batch.num_rows(), watermark.map(|w| w.0))
                }
                SourceEvent::NoRows { watermark, idle } => {
                    format!("no rows, watermark {:?}, idle {idle}", watermark.map(|w| w.0))
                }
                SourceEvent::Ended => "ended".to_owned(),
            },
        }
    }
}

#[test]
fn a_split_is_idle_once_its_reader_was_asked_for_rows_and_had_none_for_the_timeout() {
    for waits in [false, true] {
        let mut case = Case::new(&[&[(0, &[10]), (1500, &[20]), (NEVER, &[])]], waits);
        assert_eq!(case.at_time(0), "1 rows, watermark Some(9)");
        assert_eq!(case.at_time(0), "nothing");
        // The future is polled on while it waits, as a task does.
        {
            let next = case.driver.next();
            tokio::pin!(next);
            assert!((&mut next).now_or_never().is_none());
            case.clock.advance_to(1000);
            let event = next.now_or_never().expect("the time has come").expect("no error");
            assert!(matches!(event, SourceEvent::NoRows { idle: true, .. }), "{event:?}");
        }
        assert_eq!(case.at_time(1000), "nothing", "it is said once");
        assert_eq!(case.at_time(1500), "1 rows, watermark Some(19)");
    }
}

#[test]
fn splits_stay_open_after_their_last_row_and_hold_no_reader_once_they_have_ended() {
    let Case { driver, clock } = Case::new(&[&[(0, &[10])]], false);
    let driver = driver.staying_open(Some(Duration::from_millis(500)));
    let mut case = Case { driver, clock };
    assert_eq!(case.at_time(0), "1 rows, watermark Some(9)");
    assert_eq!(case.driver.memory_bytes(), READER_BYTES);
    assert_eq!(case.at_time(0), "nothing");
    assert_eq!(case.at_time(499), "nothing");
    assert_eq!(case.at_time(500), "ended");
    assert_eq!(case.driver.memory_bytes(), 0);
}

#[test]
fn time_in_which_nobody_asks_makes_no_split_idle() {
    for waits in [false, true] {
        let mut case = Case::new(&[&[(0, &[10]), (100, &[20]), (200, &[30]), (NEVER, &[])]], waits);
        assert_eq!(case.at_time(0), "1 rows, watermark Some(9)");
        assert_eq!(case.at_time(50), "nothing");
        assert_eq!(case.at_time(5000), "1 rows, watermark Some(19)", "the task was held back");
        assert_eq!(case.at_time(9000), "1 rows, watermark Some(29)");
        assert_eq!(case.at_time(9000), "nothing");
    }
}

#[test]
fn a_read_that_takes_long_since_nobody_polls_it_does_not_make_its_split_idle() {
    let mut case = Case::new(&[&[(0, &[10]), (6000, &[20])]], true);
    assert_eq!(case.at_time(0), "1 rows, watermark Some(9)");
    assert_eq!(case.at_time(0), "nothing");
    assert_eq!(case.at_time(5000), "nothing", "it has just been asked again");
    assert_eq!(case.at_time(6000), "1 rows, watermark Some(19)");
}

#[test]
fn a_split_that_waits_for_its_sibling_holds_the_watermark() {
    let behind: Script = &[(0, &[10]), (0, &[20]), (0, &[30]), (0, &[90]), (NEVER, &[])];
    let ahead: Script = &[(0, &[50]), (0, &[60]), (0, &[99]), (NEVER, &[])];
    let mut case = Case::new(&[behind, ahead], false);
    let found: Vec<String> = (0..7).map(|turn| case.at_time(turn * 700)).collect();
    let watermarks =
        ["None", "Some(9)", "Some(19)", "Some(29)", "Some(49)", "Some(59)", "Some(89)"];
    let expected = watermarks.map(|watermark| format!("1 rows, watermark {watermark}"));
    assert_eq!(found, expected, "rows at 10, 50, 20, 30, 90, 60 and 99: none is late");
}

#[test]
fn the_watermark_rises_past_a_split_that_has_become_idle_or_ended() {
    let slow: Script = &[(0, &[10]), (NEVER, &[])];
    let fast: Script = &[(0, &[50]), (900, &[60]), (1800, &[70]), (1900, &[80])];
    let mut case = Case::new(&[slow, fast], false);
    assert_eq!(case.at_time(0), "1 rows, watermark None");
    assert_eq!(case.at_time(0), "1 rows, watermark Some(9)");
    assert_eq!(case.at_time(0), "nothing");
    assert_eq!(case.at_time(900), "1 rows, watermark None");
    assert_eq!(case.at_time(900), "nothing");
    assert_eq!(case.at_time(1000), "no rows, watermark Some(59), idle false");
    assert_eq!(case.at_time(1800), "1 rows, watermark Some(69)");
    assert_eq!(case.at_time(1900), "1 rows, watermark Some(79)");
    assert_eq!(case.at_time(1900), "no rows, watermark None, idle true");
    assert_eq!(case.at_time(9000), "nothing", "it is said once");
}
