//! The inputs of a task: which channel is read next, how barriers are aligned and watermarks
//! merged.
//!
//! Barriers are aligned as in Flink (after Chandy and Lamport, 1985): a channel that has
//! delivered the barrier waits until all others have. A port that the operator reads to its end
//! before any other never waits: its barrier is noted and reading goes on, since what comes
//! after it belongs to the operator's state all the same.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use super::chain::Ports;
use super::{InputChannel, Message};
use crate::batch::Batch;
use crate::time::Watermark;
use crate::{Epoch, Error, Result};

/// What a task learns from its inputs.
#[derive(Debug)]
pub(crate) enum Event {
    /// Rows have come in on a port.
    Batch(usize, Batch),
    /// The least watermark of all inputs has risen.
    Watermark(Watermark),
    /// No input has rows for now.
    Idle,
    /// The barrier has come in on all channels.
    Barrier(Epoch),
    /// All channels of a port have ended.
    PortEnded(usize),
    /// All channels have ended.
    Ended,
}

/// The input channels of a task.
#[derive(Debug)]
pub(crate) struct Gate {
    channels: Vec<Channel>,
    /// Events that followed from a message besides the first.
    ready: VecDeque<Event>,
    /// The channel that is asked first, so that none starves.
    next: usize,
    aligning: Option<Epoch>,
    watermark: Watermark,
    idle: bool,
}

#[derive(Debug)]
struct Channel {
    input: InputChannel,
    watermark: Watermark,
    idle: bool,
    ended: bool,
    barrier_seen: bool,
}

impl Gate {
    pub(crate) fn new(inputs: Vec<InputChannel>) -> Self {
        let channels = inputs
            .into_iter()
            .map(|input| Channel {
                input,
                watermark: Watermark::MIN,
                idle: false,
                ended: false,
                barrier_seen: false,
            })
            .collect();
        Self {
            channels,
            ready: VecDeque::new(),
            next: 0,
            aligning: None,
            watermark: Watermark::MIN,
            idle: false,
        }
    }

    /// Polls for the next event, reading only from `ports`.
    ///
    /// # Errors
    /// `Closed` where a sender is gone without having ended.
    pub(crate) fn poll_next(
        &mut self,
        context: &Context<'_>,
        ports: Ports,
    ) -> Poll<Result<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Ok(event));
            }
            let (index, message) = match self.poll_message(context, ports) {
                Poll::Ready(Ok(found)) => found,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            };
            self.handle(index, message);
        }
    }

    fn poll_message(
        &mut self,
        context: &Context<'_>,
        ports: Ports,
    ) -> Poll<Result<(usize, Message)>> {
        let count = self.channels.len();
        let held_back = self.channels.iter().any(|channel| !ports.contains(channel.input.port));
        for offset in 0..count {
            let index = (self.next + offset) % count;
            let channel = &mut self.channels[index];
            let waits = channel.barrier_seen && !held_back;
            if channel.ended || waits || !ports.contains(channel.input.port) {
                continue;
            }
            match channel.input.receiver.poll_recv(context) {
                Poll::Ready(Some(message)) => {
                    self.next = (index + 1) % count;
                    return Poll::Ready(Ok((index, message)));
                }
                Poll::Ready(None) => return Poll::Ready(Err(Error::Closed)),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    fn handle(&mut self, index: usize, message: Message) {
        let channel = &mut self.channels[index];
        match message {
            Message::Data(batch) => {
                channel.idle = false;
                let port = channel.input.port;
                // A channel that wakes up holds the watermark back again, from where it is now.
                self.idle = false;
                self.ready.push_back(Event::Batch(port, batch));
            }
            Message::Watermark(watermark) => {
                channel.watermark = channel.watermark.max(watermark);
                channel.idle = false;
                self.merge_watermarks();
            }
            Message::Idle => {
                channel.idle = true;
                self.merge_watermarks();
            }
            Message::Barrier(epoch) => self.barrier(index, epoch),
            Message::End => self.end(index),
        }
    }

    /// Notes a barrier. A newer epoch overrides one whose checkpoint was given up.
    fn barrier(&mut self, index: usize, epoch: Epoch) {
        if self.aligning.is_some_and(|aligning| epoch < aligning) {
            return;
        }
        if self.aligning != Some(epoch) {
            self.channels.iter_mut().for_each(|channel| channel.barrier_seen = false);
            self.aligning = Some(epoch);
        }
        self.channels[index].barrier_seen = true;
        self.align();
    }

    fn end(&mut self, index: usize) {
        self.channels[index].ended = true;
        let port = self.channels[index].input.port;
        self.merge_watermarks();
        if self.channels.iter().all(|channel| channel.ended || channel.input.port != port) {
            self.ready.push_back(Event::PortEnded(port));
        }
        self.align();
        if self.channels.iter().all(|channel| channel.ended) {
            self.ready.push_back(Event::Ended);
        }
    }

    /// Completes the alignment once every channel has delivered the barrier or ended.
    fn align(&mut self) {
        let Some(epoch) = self.aligning else { return };
        if self.channels.iter().all(|channel| channel.barrier_seen || channel.ended) {
            for channel in &mut self.channels {
                channel.barrier_seen = false;
            }
            self.aligning = None;
            self.ready.push_back(Event::Barrier(epoch));
        }
    }

    fn merge_watermarks(&mut self) {
        let open = || self.channels.iter().filter(|channel| !channel.ended);
        let all_idle = open().next().is_some() && open().all(|channel| channel.idle);
        let merged = self
            .channels
            .iter()
            .filter(|channel| !channel.idle || all_idle)
            .map(|channel| channel.watermark)
            .min();
        if let Some(merged) = merged.filter(|merged| *merged > self.watermark) {
            self.watermark = merged;
            self.ready.push_back(Event::Watermark(merged));
        }
        if all_idle && !self.idle {
            self.ready.push_back(Event::Idle);
        }
        self.idle = all_idle;
    }
}
