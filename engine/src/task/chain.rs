//! The operators of one task, run one after the other without queues between them.

use std::collections::BTreeMap;

use crate::batch::Batch;
use crate::function;
use crate::graph::OperatorNode;
use crate::operator::{self, Operator, OperatorContext, Output};
use crate::state::{StateReader, StateTable, StateWriter, TaskSnapshot};
use crate::time::{TimestampMs, Watermark};
use crate::{OperatorId, Result};

/// A chain of operators; only the first may have several input ports.
pub(crate) struct Chain {
    links: Vec<Link>,
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
}

impl Chain {
    /// Builds the operators and gives each its state back.
    pub(crate) fn build(
        nodes: &[OperatorNode],
        context: &OperatorContext,
        state: &mut BTreeMap<OperatorId, Vec<StateTable>>,
    ) -> Result<Self> {
        let mut links = Vec::with_capacity(nodes.len());
        for node in nodes {
            let mut operator = operator::build(node, context)?;
            if let Some(tables) = state.remove(&node.id) {
                operator.restore(&StateReader::new(tables, context.key_groups.clone()))?;
            }
            links.push(Link { id: node.id, operator, output: Output::default() });
        }
        Ok(Self { links })
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

    /// Pushes a watermark through and returns the one that comes out.
    pub(crate) fn watermark(
        &mut self,
        watermark: Watermark,
        now: TimestampMs,
        emitted: &mut Vec<Batch>,
    ) -> Result<Watermark> {
        let mut current = watermark;
        self.each(now, emitted, |operator, output| {
            current = operator.watermark(current, output)?;
            Ok(())
        })?;
        Ok(current)
    }

    /// Fires the processing-time timers that are due.
    pub(crate) fn processing_time(
        &mut self,
        now: TimestampMs,
        emitted: &mut Vec<Batch>,
    ) -> Result<()> {
        self.each(now, emitted, |operator, output| match operator.next_timer() {
            Some(due) if due <= now => operator.processing_time(now, output),
            _ => Ok(()),
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
        self.each(now, emitted, |operator, output| operator.flush(output))
    }

    /// Returns the processing time at which a timer is due next.
    pub(crate) fn next_timer(&self) -> Option<TimestampMs> {
        self.links.iter().filter_map(|link| link.operator.next_timer()).min()
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

    /// Returns the bytes that the operators hold, and the name of the one that holds most.
    pub(crate) fn memory(&self) -> (usize, &'static str) {
        let sizes =
            self.links.iter().map(|link| (link.operator.memory_bytes(), link.operator.name()));
        let (mut total, mut largest) = (0, (0, "none"));
        for (bytes, name) in sizes {
            total += bytes;
            largest = largest.max((bytes, name));
        }
        (total, largest.1)
    }

    /// Returns the number of rows dropped for being late.
    pub(crate) fn late_rows(&self) -> u64 {
        self.links.iter().map(|link| link.operator.late_rows()).sum()
    }

    /// Returns the number of rows that were dropped for having no event time.
    pub(crate) fn untimed_rows(&self) -> u64 {
        self.links.iter().map(|link| link.operator.untimed_rows()).sum()
    }

    fn each(
        &mut self,
        now: TimestampMs,
        emitted: &mut Vec<Batch>,
        mut call: impl FnMut(&mut dyn Operator, &mut Output) -> Result<()>,
    ) -> Result<()> {
        for index in 0..self.links.len() {
            let Some((link, rest)) = self.links[index..].split_first_mut() else { continue };
            call(link.operator.as_mut(), &mut link.output)?;
            drain(link, rest, now, emitted)?;
        }
        Ok(())
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
