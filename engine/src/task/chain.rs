//! The operators of one task, run one after the other without queues between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::batch::Batch;
use crate::function;
use crate::graph::OperatorNode;
use crate::memory::{Holding, MemoryBudget};
use crate::operator::{self, Operator, OperatorContext, Output};
use crate::state::{StateReader, StateTable, StateWriter, TaskSnapshot};
use crate::time::{TimestampMs, Watermark};
use crate::{OperatorId, Result};

/// A chain of operators; only the first may have several input ports.
pub(crate) struct Chain {
    links: Vec<Link>,
    follows_clock: bool,
}

/// A set of input ports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports(pub(crate) u8);

impl Ports {
    /// No operator has more ports than this.
    const LIMIT: usize = 2;

    pub(crate) fn contains(self, port: usize) -> bool {
        self.0 & (1 << port) != 0
    }
}

struct Link {
    id: OperatorId,
    operator: Box<dyn Operator>,
    output: Output,
    /// The watermark of the output.
    watermark: Watermark,
}

impl Chain {
    /// Builds the operators and gives each its state back.
    pub(crate) fn build(
        nodes: &[OperatorNode],
        context: &OperatorContext,
        state: &mut BTreeMap<OperatorId, Vec<StateTable>>,
        memory: &Arc<MemoryBudget>,
    ) -> Result<Self> {
        let mut links = Vec::with_capacity(nodes.len());
        for node in nodes {
            let mut operator = operator::build(node, context)?;
            if let Some(tables) = state.remove(&node.id) {
                operator.restore(&StateReader::new(tables, context.key_groups.clone()))?;
            }
            let output = Output::of(operator.name(), Arc::clone(memory));
            links.push(Link { id: node.id, operator, output, watermark: Watermark::MIN });
        }
        Ok(Self { links, follows_clock: nodes.iter().any(|node| node.spec.follows_clock()) })
    }

    /// Returns the input ports whose rows may be pushed now.
    pub(crate) fn accepted_ports(&self) -> Ports {
        let Some(first) = self.links.first() else { return Ports(u8::MAX) };
        let accepted = (0..Ports::LIMIT).filter(|port| first.operator.accepts(*port));
        Ports(accepted.fold(0, |ports, port| ports | 1 << port))
    }

    /// Pushes a batch through; what comes out is appended to `emitted`.
    pub(crate) fn push(
        &mut self,
        port: usize,
        batch: Batch,
        now: TimestampMs,
        emitted: &mut Vec<Batch>,
    ) -> Result<()> {
        feed(&mut self.links, port, batch, now, emitted)
    }

    /// Tells whether the watermark that comes out follows from the clock: it rises also where the
    /// input is idle.
    pub(crate) fn follows_clock(&self) -> bool {
        self.follows_clock
    }

    /// Pushes a watermark through and returns the one that comes out, where it has risen.
    pub(crate) fn watermark(
        &mut self,
        watermark: Watermark,
        now: TimestampMs,
        emitted: &mut Vec<Batch>,
    ) -> Result<Option<Watermark>> {
        self.each(Some(watermark), now, emitted, |_, _| Ok(None))
    }

    /// Fires the processing-time timers that are due; returns the watermark that comes out, where
    /// it has risen.
    pub(crate) fn processing_time(
        &mut self,
        now: TimestampMs,
        emitted: &mut Vec<Batch>,
    ) -> Result<Option<Watermark>> {
        self.each(None, now, emitted, |operator, output| match operator.next_timer() {
            Some(due) if due <= now => operator.processing_time(now, output),
            _ => Ok(None),
        })
    }

    /// Tells the first operator that an input port has ended.
    pub(crate) fn end(
        &mut self,
        port: usize,
        now: TimestampMs,
        emitted: &mut Vec<Batch>,
    ) -> Result<()> {
        let Some((first, rest)) = self.links.split_first_mut() else { return Ok(()) };
        first.operator.end(port, &mut first.output)?;
        drain(first, rest, now, emitted)
    }

    /// Tells the operators after the first that their input has ended: they see the end only
    /// once the first has said its last word.
    pub(crate) fn end_rest(&mut self, now: TimestampMs, emitted: &mut Vec<Batch>) -> Result<()> {
        for index in 1..self.links.len() {
            let Some((link, rest)) = self.links[index..].split_first_mut() else { continue };
            link.operator.end(0, &mut link.output)?;
            drain(link, rest, now, emitted)?;
        }
        Ok(())
    }

    /// Makes the operators emit what they have gathered.
    pub(crate) fn flush(&mut self, now: TimestampMs, emitted: &mut Vec<Batch>) -> Result<()> {
        let flushed = self.each(None, now, emitted, |operator, output| {
            operator.flush(output)?;
            Ok(None)
        });
        flushed.map(|_| ())
    }

    /// Returns the processing time at which a timer is due next.
    pub(crate) fn next_timer(&self) -> Option<TimestampMs> {
        self.links.iter().filter_map(|link| link.operator.next_timer()).min()
    }

    /// Tells whether no further row makes a difference to what comes out.
    pub(crate) fn is_satisfied(&self) -> bool {
        self.links.iter().any(|link| link.operator.is_satisfied())
    }

    /// Collects the state of all operators.
    pub(crate) fn snapshot(&mut self) -> Result<TaskSnapshot> {
        let mut snapshot = TaskSnapshot::default();
        for link in &mut self.links {
            let mut writer = StateWriter::default();
            link.operator.snapshot(&mut writer)?;
            let tables = writer.finish();
            if !tables.is_empty() {
                snapshot.operators.insert(link.id, tables);
            }
        }
        Ok(snapshot)
    }

    /// Returns what each operator holds.
    pub(crate) fn memory(&self) -> impl Iterator<Item = Holding> {
        self.links.iter().map(|link| (link.operator.name(), link.operator.memory_bytes()))
    }

    /// Returns the number of rows dropped for being late.
    pub(crate) fn late_rows(&self) -> u64 {
        self.links.iter().map(|link| link.operator.late_rows()).sum()
    }

    /// Returns the number of rows that were dropped for having no event time.
    pub(crate) fn untimed_rows(&self) -> u64 {
        self.links.iter().map(|link| link.operator.untimed_rows()).sum()
    }

    /// Gives each operator the watermark that came out of the one before, the first one
    /// `watermark`, and then calls it, which may give it another. Returns what comes out of the
    /// last, where it has risen.
    fn each(
        &mut self,
        mut watermark: Option<Watermark>,
        now: TimestampMs,
        emitted: &mut Vec<Batch>,
        mut call: impl FnMut(&mut dyn Operator, &mut Output) -> Result<Option<Watermark>>,
    ) -> Result<Option<Watermark>> {
        for index in 0..self.links.len() {
            let Some((link, rest)) = self.links[index..].split_first_mut() else { continue };
            let (operator, output) = (link.operator.as_mut(), &mut link.output);
            let passed_on =
                watermark.map(|watermark| operator.watermark(watermark, output)).transpose()?;
            let own = call(operator, output)?;
            drain(link, rest, now, emitted)?;
            watermark = link.rise(passed_on.max(own));
        }
        Ok(watermark)
    }
}

impl Link {
    /// Returns a watermark of the output where it is above those before.
    fn rise(&mut self, to: Option<Watermark>) -> Option<Watermark> {
        let risen = to.filter(|watermark| *watermark > self.watermark)?;
        self.watermark = risen;
        Some(risen)
    }
}

fn feed(
    links: &mut [Link],
    port: usize,
    batch: Batch,
    now: TimestampMs,
    emitted: &mut Vec<Batch>,
) -> Result<()> {
    let Some((first, rest)) = links.split_first_mut() else {
        emitted.push(batch);
        return Ok(());
    };
    function::at(now, || first.operator.process(port, batch, now, &mut first.output))?;
    drain(first, rest, now, emitted)
}

/// Hands what `link` has emitted to the operators after it.
fn drain(
    link: &mut Link,
    rest: &mut [Link],
    now: TimestampMs,
    emitted: &mut Vec<Batch>,
) -> Result<()> {
    for batch in link.output.drain() {
        feed(rest, 0, batch, now, emitted)?;
    }
    Ok(())
}
