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
    pub(crate) fn poll_next(&mut self, context: &Context<'_>, ports: Ports) -> Poll<Result<Event>> {
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

    /// Returns the bytes of the messages that wait.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.channels.iter().map(|channel| channel.input.receiver.queued_bytes()).sum()
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

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, RecordBatch};
    use futures::FutureExt;
    use std::sync::Arc;

    use super::*;
    use crate::task::{Sender, channel};

    const ALL: Ports = Ports(u8::MAX);

    /// Runs `script`, lines of `<channel> <message>`, and returns the events after each line.
    fn check(ports_of_channels: &[usize], open: Ports, script: &str) -> Vec<String> {
        let (mut senders, inputs): (Vec<Sender>, Vec<InputChannel>) = ports_of_channels
            .iter()
            .map(|port| {
                let (sender, receiver) = channel(1 << 20);
                (sender, InputChannel { port: *port, receiver })
            })
            .unzip();
        let mut gate = Gate::new(inputs);
        script
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(|line| {
                let (index, message) = line.split_once(' ').expect("channel and message");
                let index: usize = index.parse().expect("channel");
                senders[index].send(parse(message)).now_or_never().expect("room").expect("open");
                format!("{line} -> {}", events(&mut gate, open).join(", "))
            })
            .collect()
    }

    fn parse(message: &str) -> Message {
        let (kind, value) = message.split_once(' ').unwrap_or((message, "0"));
        let value: i64 = value.parse().expect("number");
        match kind {
            "row" => {
                let column = Arc::new(Int64Array::from(vec![value])) as _;
                let rows = RecordBatch::try_from_iter([("a", column)]).expect("batch");
                Message::Data(Batch::insert(rows))
            }
            "watermark" => Message::Watermark(Watermark(value)),
            "idle" => Message::Idle,
            "barrier" => Message::Barrier(Epoch(value as u64)),
            "end" => Message::End,
            other => panic!("unknown message {other}"),
        }
    }

    fn events(gate: &mut Gate, open: Ports) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(event) =
            std::future::poll_fn(|context| gate.poll_next(context, open)).now_or_never()
        {
            let event = event.expect("senders live");
            let ended = matches!(event, Event::Ended);
            found.push(match event {
                Event::Batch(port, batch) => format!("{} row on {port}", batch.num_rows()),
                Event::Watermark(watermark) => format!("watermark {}", watermark.0),
                Event::Idle => "idle".to_owned(),
                Event::Barrier(epoch) => format!("barrier {epoch}"),
                Event::PortEnded(port) => format!("port {port} ended"),
                Event::Ended => "ended".to_owned(),
            });
            if ended {
                break;
            }
        }
        found
    }

    #[test]
    fn a_channel_waits_after_its_barrier_until_all_have_delivered_it() {
        let events = check(&[0, 0], ALL, "0 barrier 1\n 0 row 5\n 1 row 6\n 1 barrier 1");
        assert_eq!(
            events,
            [
                "0 barrier 1 -> ",
                "0 row 5 -> ",
                "1 row 6 -> 1 row on 0",
                "1 barrier 1 -> barrier 1, 1 row on 0",
            ]
        );
    }

    #[test]
    fn an_ended_channel_counts_as_aligned() {
        let events = check(&[0, 0], ALL, "0 barrier 1\n 1 end\n 0 end");
        assert_eq!(
            events,
            ["0 barrier 1 -> ", "1 end -> barrier 1", "0 end -> port 0 ended, ended"]
        );
    }

    #[test]
    fn a_newer_barrier_overrides_one_that_was_given_up() {
        let script = "0 barrier 1\n 1 barrier 2\n 0 barrier 2\n 0 row 1";
        let events = check(&[0, 0], ALL, script);
        assert_eq!(
            events[1..],
            ["1 barrier 2 -> ", "0 barrier 2 -> barrier 2", "0 row 1 -> 1 row on 0"]
        );
    }

    #[test]
    fn the_watermark_is_the_least_of_the_inputs_that_are_not_idle() {
        let script =
            "0 watermark 10\n 1 watermark 4\n 1 idle\n 1 row 1\n 0 watermark 12\n 1 watermark 20";
        let events = check(&[0, 1], ALL, script);
        assert_eq!(
            events,
            [
                "0 watermark 10 -> ",
                "1 watermark 4 -> watermark 4",
                "1 idle -> watermark 10",
                "1 row 1 -> 1 row on 1",
                "0 watermark 12 -> ",
                "1 watermark 20 -> watermark 12",
            ]
        );
    }

    #[test]
    fn a_port_that_is_read_to_its_end_first_does_not_wait_at_barriers() {
        let build_only = Ports(0b10);
        let events = check(&[0, 1], build_only, "1 barrier 1\n 0 row 1\n 1 row 2\n 1 end");
        assert_eq!(
            events,
            ["1 barrier 1 -> ", "0 row 1 -> ", "1 row 2 -> 1 row on 1", "1 end -> port 1 ended"]
        );
    }
}
