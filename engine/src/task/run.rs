//! The loop of one task.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use super::chain::{Chain, Ports};
use super::gate::{Event, Gate};
use super::outlet::Outlet;
use super::output::FlushWhen;
use super::source::{SourceDriver, SourceEvent};
use super::{Task, TaskCommand, TaskEvent, TaskMetrics};
use crate::batch::Batch;
use crate::batch_query::source_of;
use crate::graph::Stage;
use crate::hash::key_groups_of;
use crate::memory::{Holding, MemoryBudget};
use crate::operator::OperatorContext;
use crate::state::TaskSnapshot;
use crate::time::{ClockRef, TimestampMs, Watermark};
use crate::{Epoch, Error, Result};

/// Under load gathered changes are held back this many buffer timeouts, so that a key that
/// changes often is emitted seldom; a task whose input pauses emits after one.
const BUSY_TIMEOUTS: i64 = 10;
/// Events between two looks at the memory that operators hold, and what their rows may take.
const EVENTS_PER_ACCOUNT: u32 = 16;
const BYTES_PER_ACCOUNT: usize = 4 << 20;
/// More batches than this that are emitted at once count before they are sent.
const MANY_BATCHES: usize = 8;
/// Events after which a task lets others run.
const EVENTS_PER_YIELD: u32 = 8;

/// Runs a task to its end and reports on `events`; the last one is `Finished` or `Failed`.
///
/// The future never blocks its thread for longer than a batch takes. Dropping it stops the task
/// without a report.
pub async fn run(mut task: Task, events: mpsc::UnboundedSender<TaskEvent>) {
    let (order_sender, orders) = mpsc::unbounded_channel();
    let mut commands = std::mem::replace(&mut task.commands, mpsc::unbounded_channel().1);
    let cancelled = async move {
        loop {
            let order = match commands.recv().await {
                Some(TaskCommand::Checkpoint(epoch)) => Order::Barrier(epoch),
                Some(TaskCommand::End) => Order::End,
                Some(TaskCommand::Cancel) | None => break,
            };
            // The task has ended where an order has no receiver: it has reported so.
            let _ = order_sender.send(order);
        }
    };
    let result = tokio::select! {
        result = run_to_end(task, orders, &events) => result,
        () = cancelled => Err(Error::Cancelled),
    };
    // Without a receiver nobody wants to know.
    let _ = match result {
        Ok(finished) => events.send(finished),
        Err(error) => events.send(TaskEvent::Failed(error)),
    };
}

async fn run_to_end(
    task: Task,
    mut orders: Orders,
    events: &mpsc::UnboundedSender<TaskEvent>,
) -> Result<TaskEvent> {
    let mut running = Running::start(task).await?;
    running.resume().await?;
    let mut is_satisfied = false;
    loop {
        if !is_satisfied && running.chain.is_satisfied() {
            is_satisfied = true;
            let _ = events.send(TaskEvent::Satisfied);
        }
        let happening = running.wait(&mut orders).await?;
        match happening {
            Happening::Order(Order::End) => return running.finish().await,
            Happening::Order(Order::Barrier(epoch)) => {
                let snapshot = running.barrier(epoch).await?;
                // Without a receiver the worker is gone, and commands end as well.
                let _ = events.send(snapshot);
            }
            Happening::Input(event) => {
                if let Some(snapshot) = running.input(event).await? {
                    let _ = events.send(snapshot);
                }
            }
            Happening::Source(SourceEvent::Ended) => return running.finish().await,
            Happening::Source(event) => running.source_event(event).await?,
            Happening::InputEnded => return running.finish().await,
            Happening::Tick => running.tick().await?,
        }
        running.breathe().await?;
    }
}

/// What a source is told to do.
enum Order {
    /// Send this barrier.
    Barrier(Epoch),
    /// End where it is.
    End,
}

type Orders = mpsc::UnboundedReceiver<Order>;

enum Happening {
    Order(Order),
    Input(Event),
    InputEnded,
    Source(SourceEvent),
    /// A deadline has come.
    Tick,
}

enum Inlet {
    Gate(Gate),
    Source(Box<SourceDriver>),
}

struct Running {
    inlet: Inlet,
    chain: Chain,
    outlet: Outlet,
    clock: ClockRef,
    memory: Arc<MemoryBudget>,
    metrics: Arc<TaskMetrics>,
    buffer_timeout_ms: i64,
    emitted: Vec<Batch>,
    /// Since when operators may hold gathered changes, which rows, watermarks and timers bring, and
    /// when the last rows came.
    dirty_since: Option<TimestampMs>,
    last_rows_at: TimestampMs,
    watermark: Watermark,
    last_epoch: Epoch,
    held: Vec<Holding>,
    /// What rows took that have come since the last look at memory.
    unaccounted_bytes: usize,
    events: u32,
}

impl Running {
    async fn start(mut task: Task) -> Result<Self> {
        let graph = Arc::clone(&task.graph);
        let stage = graph.stage(task.id.stage);
        let count = graph.settings.key_groups;
        let context = OperatorContext {
            subtask: task.id.subtask,
            parallelism: stage.parallelism,
            key_groups: key_groups_of(task.id.subtask, stage.parallelism, count),
            key_group_count: count,
            state_ttl: graph.settings.state_ttl,
        };
        let clock = Arc::clone(&task.connectors.clock);
        let chain = Chain::build(&stage.chain, &context, &mut task.state, &task.memory)?;
        let inlet = open_inlet(&mut task, stage, &context)?;
        let outlet = Outlet::open(&mut task, stage).await?;
        Ok(Self {
            inlet,
            chain,
            outlet,
            last_rows_at: clock.now_ms(),
            clock,
            memory: task.memory,
            metrics: task.metrics,
            buffer_timeout_ms: graph.settings.buffer_timeout.as_millis() as i64,
            emitted: Vec::new(),
            dirty_since: None,
            watermark: Watermark::MIN,
            last_epoch: Epoch::default(),
            held: Vec::new(),
            unaccounted_bytes: 0,
            events: 0,
        })
    }

    /// Tells the others, after a restore, how far event time was: before the first row.
    async fn resume(&mut self) -> Result<()> {
        let Inlet::Source(source) = &mut self.inlet else { return Ok(()) };
        match source.risen_watermark() {
            Some(watermark) => self.rise(watermark, self.clock.now_ms()).await,
            None => Ok(()),
        }
    }

    /// Waits for what happens next. Before it waits for real, receivers that have nothing to do
    /// get what has been gathered for them.
    async fn wait(&mut self, orders: &mut Orders) -> Result<Happening> {
        if let Some(happening) = self.poll_once(orders).await? {
            return Ok(happening);
        }
        self.outlet.flush(FlushWhen::Drained).await?;
        let deadline = self.next_deadline();
        let sleep = sleep_until(&self.clock, deadline);
        let ports = self.chain.accepted_ports();
        tokio::select! {
            biased;
            Some(order) = orders.recv(), if self.inlet.is_source() => Ok(Happening::Order(order)),
            happening = self.inlet.next(ports) => happening,
            () = sleep => Ok(Happening::Tick),
        }
    }

    /// Returns what has already happened.
    async fn poll_once(&mut self, orders: &mut Orders) -> Result<Option<Happening>> {
        if self.next_deadline().is_some_and(|deadline| deadline <= self.clock.now_ms()) {
            return Ok(Some(Happening::Tick));
        }
        let ports = self.chain.accepted_ports();
        tokio::select! {
            biased;
            Some(order) = orders.recv(), if self.inlet.is_source() => {
                Ok(Some(Happening::Order(order)))
            }
            happening = self.inlet.next(ports) => happening.map(Some),
            () = std::future::ready(()) => Ok(None),
        }
    }

    fn next_deadline(&self) -> Option<TimestampMs> {
        let flush = self.dirty_since.map(|since| {
            let busy = since + BUSY_TIMEOUTS * self.buffer_timeout_ms;
            busy.min(self.last_rows_at + self.buffer_timeout_ms)
        });
        let send = self.outlet.waiting_since().map(|since| since + self.buffer_timeout_ms);
        [self.chain.next_timer(), flush, send].into_iter().flatten().min()
    }

    async fn tick(&mut self) -> Result<()> {
        let now = self.clock.now_ms();
        if self.chain.next_timer().is_some_and(|timer| timer <= now) {
            self.dirty_since.get_or_insert(now);
        }
        let risen = self.chain.processing_time(now, &mut self.emitted)?;
        self.pass_on(risen, now).await?;
        let quiet = now - self.last_rows_at >= self.buffer_timeout_ms;
        let busy = |since| now - since >= BUSY_TIMEOUTS * self.buffer_timeout_ms;
        if self.dirty_since.is_some_and(|since| quiet || busy(since)) {
            self.dirty_since = None;
            self.chain.flush(now, &mut self.emitted)?;
            self.hand_on(now).await?;
            if quiet {
                self.outlet.show().await?;
            }
        }
        self.outlet.flush(FlushWhen::WaitingSince(now - self.buffer_timeout_ms)).await
    }

    /// Says that nothing comes for now, after what has been gathered. A watermark that follows
    /// from the clock comes all the same, and windows that have rows hold it back until they fire.
    async fn idle(&mut self, now: TimestampMs) -> Result<()> {
        self.chain.flush(now, &mut self.emitted)?;
        self.hand_on(now).await?;
        if self.chain.follows_clock() { Ok(()) } else { self.outlet.idle().await }
    }

    async fn source_event(&mut self, event: SourceEvent) -> Result<()> {
        match event {
            SourceEvent::Rows(batch, watermark) => {
                self.push(0, batch).await?;
                if let Some(watermark) = watermark {
                    self.rise(watermark, self.clock.now_ms()).await?;
                }
                // A source is never out of work, so its receivers are looked after here.
                self.outlet.flush(FlushWhen::Drained).await
            }
            SourceEvent::NoRows { watermark, idle } => {
                let now = self.clock.now_ms();
                if let Some(watermark) = watermark {
                    self.rise(watermark, now).await?;
                }
                if idle {
                    self.idle(now).await?;
                }
                // Rows that are all filtered out keep a source as busy as others.
                self.outlet.flush(FlushWhen::Drained).await
            }
            SourceEvent::Ended => Ok(()),
        }
    }

    /// Takes an event of the gate; returns a snapshot where it was the barrier.
    async fn input(&mut self, event: Event) -> Result<Option<TaskEvent>> {
        let now = self.clock.now_ms();
        match event {
            Event::Batch(port, batch) => self.push(port, batch).await?,
            Event::Watermark(watermark) => self.rise(watermark, now).await?,
            Event::Idle => self.idle(now).await?,
            Event::Barrier(epoch) => return self.barrier(epoch).await.map(Some),
            Event::PortEnded(port) => {
                self.dirty_since.get_or_insert(now);
                self.chain.end(port, now, &mut self.emitted)?;
                self.hand_on(now).await?;
            }
            Event::Ended => {}
        }
        Ok(None)
    }

    async fn push(&mut self, port: usize, batch: Batch) -> Result<()> {
        let now = self.clock.now_ms();
        self.metrics.rows_in.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        self.unaccounted_bytes += batch.memory_bytes();
        self.last_rows_at = now;
        self.dirty_since.get_or_insert(now);
        self.chain.push(port, batch, now, &mut self.emitted)?;
        self.hand_on(now).await
    }

    async fn rise(&mut self, watermark: Watermark, now: TimestampMs) -> Result<()> {
        self.watermark = watermark;
        self.metrics.watermark_ms.store(watermark.0, Ordering::Relaxed);
        // A window that fires may hand its rows to an operator that gathers changes.
        self.dirty_since.get_or_insert(now);
        let risen = self.chain.watermark(watermark, now, &mut self.emitted)?;
        self.pass_on(risen, now).await
    }

    /// Hands on what the chain has emitted, and then the watermark that came out of it.
    async fn pass_on(&mut self, risen: Option<Watermark>, now: TimestampMs) -> Result<()> {
        self.hand_on(now).await?;
        match risen {
            Some(watermark) => self.outlet.watermark(watermark, now).await,
            None => Ok(()),
        }
    }

    async fn barrier(&mut self, epoch: Epoch) -> Result<TaskEvent> {
        let now = self.clock.now_ms();
        self.last_epoch = epoch;
        self.dirty_since = None;
        self.chain.flush(now, &mut self.emitted)?;
        self.hand_on(now).await?;
        let snapshot = self.snapshot()?;
        let committables = self.outlet.barrier(epoch).await?;
        self.account()?;
        Ok(TaskEvent::Snapshot { epoch, snapshot, committables })
    }

    /// Drives the end of the input through the chain and makes the last report.
    async fn finish(&mut self) -> Result<TaskEvent> {
        let now = self.clock.now_ms();
        if self.watermark < Watermark::MAX {
            self.rise(Watermark::MAX, now).await?;
        }
        if self.inlet.is_source() {
            self.chain.end(0, now, &mut self.emitted)?;
        }
        self.chain.end_rest(now, &mut self.emitted)?;
        self.chain.flush(now, &mut self.emitted)?;
        self.hand_on(now).await?;
        let snapshot = self.snapshot()?;
        let committables = self.outlet.end(Epoch(self.last_epoch.0 + 1)).await?;
        self.count();
        self.memory.change(&std::mem::take(&mut self.held), &[])?;
        Ok(TaskEvent::Finished { snapshot, committables })
    }

    fn snapshot(&mut self) -> Result<TaskSnapshot> {
        let mut snapshot = self.chain.snapshot()?;
        if !snapshot.operators.is_empty() {
            let bytes = snapshot.memory_bytes();
            let largest = self.chain.memory().max_by_key(|holding| holding.1);
            let (holder, _) = largest.unwrap_or_default();
            snapshot.hold = Some(Arc::new(self.memory.hold(holder, bytes)?));
        }
        if let Inlet::Source(source) = &self.inlet {
            snapshot.splits = source.snapshot();
        }
        Ok(snapshot)
    }

    async fn hand_on(&mut self, now: TimestampMs) -> Result<()> {
        if self.emitted.is_empty() {
            return Ok(());
        }
        // A window that fires may emit as much as it held.
        let is_many = self.emitted.len() > MANY_BATCHES;
        if is_many {
            self.account_with(self.emitted.iter().map(Batch::memory_bytes).sum())?;
        }
        self.outlet.write(&mut self.emitted, now, &self.metrics).await?;
        if is_many {
            // They are on the books of those that have them now.
            self.account()?;
        }
        Ok(())
    }

    /// Lets other tasks run and keeps the books, every few events.
    async fn breathe(&mut self) -> Result<()> {
        self.events = self.events.wrapping_add(1);
        let is_much = self.unaccounted_bytes > BYTES_PER_ACCOUNT;
        if is_much || self.events.is_multiple_of(EVENTS_PER_ACCOUNT) {
            self.account()?;
        }
        if self.events.is_multiple_of(EVENTS_PER_YIELD) {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn account(&mut self) -> Result<()> {
        self.account_with(0)
    }

    /// Keeps the books of what operators hold and what waits before and after them, with
    /// `emitted_bytes` that are on their way between.
    fn account_with(&mut self, emitted_bytes: usize) -> Result<()> {
        self.count();
        self.unaccounted_bytes = 0;
        let mut now = vec![self.inlet.memory(), self.outlet.memory(), ("Output", emitted_bytes)];
        now.extend(self.chain.memory());
        let bytes = now.iter().map(|holding| holding.1).sum();
        self.metrics.state_bytes.store(bytes, Ordering::Relaxed);
        let before = std::mem::replace(&mut self.held, now);
        self.memory.change(&before, &self.held)
    }

    fn count(&self) {
        self.metrics.late_rows.store(self.chain.late_rows(), Ordering::Relaxed);
        self.metrics.untimed_rows.store(self.chain.untimed_rows(), Ordering::Relaxed);
        if let Inlet::Source(source) = &self.inlet {
            self.metrics.skipped_rows.store(source.skipped_rows(), Ordering::Relaxed);
        }
    }
}

impl Inlet {
    /// Returns the bytes that wait to be read, and what they are called.
    fn memory(&self) -> Holding {
        match self {
            Self::Gate(gate) => ("Exchange", gate.queued_bytes()),
            Self::Source(source) => ("Source", source.memory_bytes()),
        }
    }

    fn is_source(&self) -> bool {
        matches!(self, Self::Source(..))
    }

    /// Returns the next event. Dropping the future before it is done loses nothing.
    async fn next(&mut self, ports: Ports) -> Result<Happening> {
        match self {
            Self::Gate(gate) => {
                let event = poll_fn(|context| gate.poll_next(context, ports)).await?;
                Ok(match event {
                    Event::Ended => Happening::InputEnded,
                    event => Happening::Input(event),
                })
            }
            Self::Source(source) => source.next().await.map(Happening::Source),
        }
    }
}

fn open_inlet(task: &mut Task, stage: &Stage, context: &OperatorContext) -> Result<Inlet> {
    let Some(spec) = &stage.source else {
        return Ok(Inlet::Gate(Gate::new(std::mem::take(&mut task.inputs))));
    };
    let source = source_of(spec, &task.connectors, &task.memory)?;
    let prepare = Chain::build(&spec.prepare, context, &mut task.state, &task.memory)?;
    let (clock, splits) = (Arc::clone(&task.connectors.clock), std::mem::take(&mut task.splits));
    let idle_timeout = task.graph.settings.idle_timeout;
    let driver = SourceDriver::new(source, clock, splits, prepare, spec, idle_timeout)
        .staying_open(task.graph.stays_open(stage.id));
    Ok(Inlet::Source(Box::new(driver)))
}

async fn sleep_until(clock: &ClockRef, deadline: Option<TimestampMs>) {
    match deadline {
        Some(deadline) => clock.sleep_until(deadline).await,
        None => pending().await,
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
